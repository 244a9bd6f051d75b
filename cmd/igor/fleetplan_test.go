package main

import (
	"crypto/ed25519"
	"encoding/json"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"igor.dev/authority/fleet"
	"igor.dev/authority/https"
	"igor.dev/authority/member"
	"igor.dev/runtime"
	"igor.dev/verifier"
)

// TestFleetPlan applies desired states to a fleet, good ones and others, and drains a node
// of it.
func TestFleetPlan(t *testing.T) {
	config := t.TempDir()
	t.Setenv("XDG_CONFIG_HOME", config)
	t.Setenv("XDG_CACHE_HOME", config)
	t.Setenv("IGOR_NODE", filepath.Join(config, "none"))
	node, err := runtime.NodeKey(filepath.Join(config, "igor", "node.key"))
	if err != nil {
		t.Fatal(err)
	}
	m, err := member.New(member.Config{Engine: member.NewMemory(), Operators: []verifier.PublicKey{verifier.PublicKey(node.Public().(ed25519.PublicKey))}})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	key := ed25519.NewKeyFromSeed(slices.Repeat([]byte{3}, 32))
	s, err := https.Serve(l, key, m, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	public := verifier.PublicKey(key.Public().(ed25519.PublicKey))
	name := fleet.Prefix + fleet.Member{Key: public, Address: s.Addr().String()}.String()
	file := filepath.Join(t.TempDir(), "agents.json")
	do := expects(t)
	write := func(s string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(s), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	did := public.DID()
	do(1, "igor fleet apply FILE", "fleet", "plan", name)
	do(1, "igor fleet apply FILE", "fleet", "drain", did, name)
	do(66, "no such file", "fleet", "apply", file, name)
	for text, says := range map[string]string{
		`{`: "docs/spec/desired-state.md", `{"nodes": [], "agents": []}`: "a fleet has 1 to 256", `{"nodes": ["me"], "agents": []}`: `"me" is no node`,
		`{"nodes": ["` + did + `", "` + did + `"], "agents": []}`: "is there twice", `{"nodes": ["` + did + `"], "agents": [], "agent": 1}`: "unknown field",
		`{"nodes": ["` + did + `"], "agents": [{"agent": "` + did + `", "group": "A B"}]}`:                                   "is no name",
		`{"nodes": ["` + did + `"], "agents": [{"agent": "` + did + `", "nodes": ["` + verifier.PublicKey{9}.DID() + `"]}]}`: "is not among the nodes",
	} {
		write(text)
		do(1, says, "fleet", "apply", file, name)
	}
	write(`{"nodes": ["` + did + `"], "agents": [{"agent": "` + did + `", "group": "watchers"}]}`)
	do(0, "nothing is changed", "fleet", "apply", file, name, "--dry-run")
	do(1, "igor fleet apply FILE", "fleet", "plan", name)
	do(0, "+ agent  "+did, "fleet", "apply", file, name)
	do(0, "it is so already", "fleet", "apply", file, name)
	do(0, "did not begin yet", "fleet", "plan", name)
	do(0, "is empty", "fleet", "drain", did, name)
	do(0, "drains  "+did, "fleet", "plan", name)
	write(do(0, `"drain"`, "fleet", "plan", name, "--file"))
	do(0, "it is so already", "fleet", "apply", file, name)
	do(0, "takes agents", "fleet", "drain", did, name, "--end")
	do(1, "is not among the nodes", "fleet", "drain", verifier.PublicKey{9}.DID(), name)
	do(2, "is no node", "fleet", "drain", "me", name)
	var shown planJSON
	if err := json.Unmarshal([]byte(do(0, "", "fleet", "plan", name, "--json")), &shown); err != nil || shown.Number != 3 || len(shown.Agents) != 1 || shown.Agents[0].State != "absent" || len(shown.Drain) > 0 {
		t.Errorf("%+v, %v", shown, err)
	}
	other := filepath.Join(t.TempDir(), "other.key")
	do(1, "operators of the fleet's members", "fleet", "apply", file, name, "--node-key", other)
}
