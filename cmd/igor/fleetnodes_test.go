package main

import (
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"igor.dev/authority/fleet"
	"igor.dev/runtime"
	"igor.dev/verifier"
)

// TestFleetDescribed describes a fleet, has nodes join it, and changes it; and says what is
// wrong where something is.
func TestFleetDescribed(t *testing.T) {
	tmp := t.TempDir()
	t.Setenv("XDG_CONFIG_HOME", tmp)
	t.Chdir(tmp)
	do := expects(t, "fleet")
	node := func(name, listen string) (dir, did string) {
		t.Helper()
		dir = filepath.Join(tmp, name)
		key, err := runtime.NodeKey(filepath.Join(dir, "node.key"))
		if err != nil {
			t.Fatal(err)
		}
		b, _ := json.Marshal(map[string]any{"key": filepath.Join(dir, "node.key"), "listen": []string{listen}})
		if err := os.WriteFile(filepath.Join(dir, "node.json"), b, 0o600); err != nil {
			t.Fatal(err)
		}
		return dir, verifier.PublicKey(key.Public().(ed25519.PublicKey)).DID()
	}
	a, didA := node("a", "/ip4/0.0.0.0/tcp/7447")
	b, didB := node("b", "/ip4/127.0.0.1/tcp/7447")
	c, didC := node("c", "/ip4/192.0.2.3/tcp/7447")

	do(2, "want a NAME", "init", "acme")
	do(2, "is no node: want DID@HOST", "init", "acme", didA)
	do(2, "a-z, 0-9, dots", "init", "Acme", didA+"@192.0.2.1")
	do(2, "is there twice", "init", "acme", didA+"@192.0.2.1", didA+"@192.0.2.2")
	do(66, "is no node's folder", "init", "acme", didA+"@192.0.2.1", "--dir", filepath.Join(tmp, "none"))
	do(0, "copy acme.json to the other machines", "init", "acme", didA+"@192.0.2.1", didB+"@192.0.2.2", "--dir", a)
	do(1, "acme.json exists", "init", "acme", didA+"@192.0.2.1", "--dir", a)
	d, err := fleet.ReadDescription("acme.json")
	if err != nil {
		t.Fatal(err)
	}
	here, err := fleet.DescriptionIn(a)
	if err != nil || fmt.Sprint(here) != fmt.Sprint(d) || len(d.Operators) != 1 || d.Operators[0].DID() != didA {
		t.Errorf("%+v, %v", here, err)
	}
	do(0, "/ip4/192.0.2.2/tcp/7447: change listen in its node.json", "join", "acme.json", "--dir", b)
	do(0, "a member, at 192.0.2.2:7450", "join", "acme.json", "--dir", b) // again
	do(1, "is not in the fleet acme", "join", "acme.json", "--dir", c)
	do(66, "no such file", "join", "other.json", "--dir", c)

	do(2, "want --add", "change", "acme.json")
	do(1, "is not in the fleet acme", "change", "acme.json", "--remove", didC)
	do(1, "in the same command takes it out first", "change", "acme.json", "--add", didA+"@192.0.2.1")
	do(0, "version     2", "change", "acme.json", "--remove", didB, "--add-node", didC+"@192.0.2.3")
	do(0, "a node that runs agents", "join", "acme.json", "--dir", c)
	do(0, "a member", "join", "acme.json", "--dir", a)
	var done fleetDone
	if err := json.Unmarshal([]byte(do(0, "", "join", "acme.json", "--dir", a, "--json")), &done); err != nil || done.Version != 2 || done.Note != "" || done.Next != "igor node start" {
		t.Errorf("%+v, %v", done, err)
	}

	// What would take a step back, or be another fleet, is refused.
	if err := d.Write("old.json"); err != nil {
		t.Fatal(err)
	}
	do(1, "and this is version 1", "join", "old.json", "--dir", a)
	other := *d
	other.Version, other.Operators = 2, nil
	if err := other.Write("other.json"); err != nil {
		t.Fatal(err)
	}
	do(1, "another description of version 2", "join", "other.json", "--dir", a)
	other.Name, other.Version = "zeta", 9
	if err := other.Write("zeta.json"); err != nil {
		t.Fatal(err)
	}
	do(1, "takes part in the fleet acme already", "join", "zeta.json", "--dir", a)
	t.Setenv("IGOR_NODE", filepath.Join(tmp, "none"))
	do(1, "is in no fleet", "status")
	if err := os.WriteFile("bad.json", []byte(`{"fleet": "acme", "member": []}`), 0o600); err != nil {
		t.Fatal(err)
	}
	do(1, "unknown field", "status", "bad.json")
}
