package fleet

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"igor.dev/verifier"
)

// page returns the description that the spec has.
func page(t testing.TB) []byte {
	t.Helper()
	b, err := os.ReadFile("../../docs/spec/authority.md")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile("(?s)```json fleet\n(.*?)```").FindSubmatch(b)
	if m == nil {
		t.Fatal("the page has no description")
	}
	return m[1]
}

func TestDescription(t *testing.T) {
	d, err := ParseDescription(page(t))
	if err != nil {
		t.Fatal(err)
	}
	if d.Name != "acme" || d.Version != 1 || len(d.Nodes) != 1 || d.Nodes[0].Domain != "rack-1" {
		t.Errorf("%+v", d)
	}
	if want := Prefix + d.Nodes[0].Key.DID() + "@192.0.2.1:7450"; d.Home() != want {
		t.Errorf("its home is %s, and not %s", d.Home(), want)
	}
	d.Version, d.Store = 3, 2
	path := filepath.Join(t.TempDir(), FileDescription)
	if err := d.Write(path); err != nil {
		t.Fatal(err)
	}
	again, err := DescriptionIn(filepath.Dir(path))
	if err != nil || fmt.Sprint(again) != fmt.Sprint(d) {
		t.Errorf("%+v, %v", again, err)
	}
	if none, err := DescriptionIn(t.TempDir()); none != nil || err != nil {
		t.Errorf("%+v, %v", none, err)
	}
	members, err := ParseMembers(strings.TrimPrefix(d.Home(), Prefix))
	if err != nil || !d.Same(members) || d.Same([]Member{{verifier.PublicKey{9}, "192.0.2.1:7450"}}) {
		t.Errorf("%v, %v", members, err)
	}
}

func TestDescriptionRefused(t *testing.T) {
	var good map[string]any
	for says, change := range map[string]func(d, node map[string]any){
		"a-z, 0-9, dots":             func(d, _ map[string]any) { d["fleet"] = "Acme/.." },
		"the fleet's name":           func(d, _ map[string]any) { d["fleet"] = "." },
		"its version is 1 or more":   func(d, _ map[string]any) { d["version"] = 0 },
		"from 2 to its own":          func(d, _ map[string]any) { d["store"] = 2 },
		"or absent":                  func(d, _ map[string]any) { d["store"] = 1 },
		"1 to 256 nodes":             func(d, _ map[string]any) { d["nodes"] = []any{} },
		"unknown field":              func(d, _ map[string]any) { d["operator"] = "x" },
		"operator \"me\"":            func(d, _ map[string]any) { d["operators"] = []string{"me"} },
		"node \"\"":                  func(_, n map[string]any) { delete(n, "did") },
		"1 to 16 members, and not 0": func(_, n map[string]any) { delete(n, "member") },
		"is neither HOST:PORT nor":   func(_, n map[string]any) { n["member"] = "192.0.2.1" },
		"want one from 1 to 65534":   func(_, n map[string]any) { n["member"] = "192.0.2.1:65535" },
		"no address such as":         func(_, n map[string]any) { n["addresses"] = []string{"192.0.2.1:7447"} },
		"the domain":                 func(_, n map[string]any) { n["domain"] = "a b" },
		"is there twice":             func(d, n map[string]any) { d["nodes"] = []any{n, n} },
		"more than 16 addresses": func(_, n map[string]any) {
			n["addresses"] = strings.Split(strings.Repeat("/ip4/192.0.2.1/tcp/1,", 16)+"/ip4/192.0.2.1/tcp/1", ",")
		},
		"192.0.2.1:7450 is the address of": func(d, n map[string]any) {
			d["nodes"] = []any{n, map[string]any{"did": verifier.PublicKey{7}.DID(), "member": "192.0.2.1:7449"}}
		},
	} {
		if err := json.Unmarshal(page(t), &good); err != nil {
			t.Fatal(err)
		}
		change(good, good["nodes"].([]any)[0].(map[string]any))
		b, err := json.Marshal(good)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ParseDescription(b); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q was due, and it says: %v", says, err)
		}
		good = nil
	}
	if _, err := ParseDescription(append(page(t), '{')); err == nil {
		t.Error("something may come after it")
	}
}

func TestAddresses(t *testing.T) {
	for address, peer := range map[string]string{
		"node1.example:7450":                 "node1.example:7451",
		"[2001:db8::1]:7450":                 "[2001:db8::1]:7451",
		"/ip4/192.0.2.7/tcp/7447":            "192.0.2.7:7448",
		"/ip6/2001:db8::1/tcp/7447":          "[2001:db8::1]:7448",
		"/dns/node1.example/tcp/7447":        "node1.example:7448",
		"/ip4/192.0.2.7/udp/7447/quic-v1":    "192.0.2.7:7448",
		"/ip4/192.0.2.7/udp/7447":            "",
		"/ip4/2001:db8::1/tcp/1":             "",
		"/ip6/192.0.2.7/tcp/1":               "",
		"/ip4/192.0.2.7/tcp/7447/p2p/12D3Ko": "",
		"/ip4/192.0.2.7/tcp/0":               "",
		"/unix/x":                            "",
		"//tcp/1":                            "",
		"node1.example":                      "",
		"node1.example:99999":                "",
		"a/b:1":                              "",
		":7450":                              "",
	} {
		got, err := PeerAddress(address)
		if got != peer || (err == nil) != (peer != "") {
			t.Errorf("%s: %q, %v", address, got, err)
		}
	}
}

func TestParseNode(t *testing.T) {
	did := verifier.PublicKey{7}.DID()
	for in, want := range map[string]string{
		"192.0.2.1":          "/ip4/192.0.2.1/tcp/7447 192.0.2.1:7450",
		"192.0.2.1:9000":     "/ip4/192.0.2.1/tcp/9000 192.0.2.1:9003",
		"node1.example":      "/dns/node1.example/tcp/7447 node1.example:7450",
		"2001:db8::1":        "/ip6/2001:db8::1/tcp/7447 [2001:db8::1]:7450",
		"[2001:db8::1]":      "/ip6/2001:db8::1/tcp/7447 [2001:db8::1]:7450",
		"[2001:db8::1]:80":   "/ip6/2001:db8::1/tcp/80 [2001:db8::1]:83",
		"":                   "",
		"192.0.2.1:0":        "",
		"192.0.2.1:65535":    "",
		"/ip4/1.2.3.4/tcp/1": "",
		"a b":                "",
	} {
		n, err := ParseNode(did+"@"+in, true)
		got := ""
		if err == nil {
			got = n.Addresses[0] + " " + n.Member
		}
		if got != want {
			t.Errorf("%s: %q, %v", in, got, err)
		}
	}
	if n, err := ParseNode(did+"@192.0.2.1", false); err != nil || n.Member != "" {
		t.Errorf("%+v, %v", n, err)
	}
}

func FuzzDescription(f *testing.F) {
	f.Add(page(f))
	f.Add([]byte(`{"fleet":"a","version":2,"nodes":[{"did":"did:key:z6MkehRgf7yJbgaGfYsdoAsKdBPE3dj2CYhowQdcjqSJgvVd","addresses":[],"member":"/ip6/::1/tcp/1"}],"operators":[]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := ParseDescription(b)
		if err != nil {
			return
		}
		one, err := d.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParseDescription(one)
		if err != nil {
			t.Fatalf("%s: %v", one, err)
		}
		if two, _ := again.Bytes(); !bytes.Equal(one, two) {
			t.Errorf("%s is %s", one, two)
		}
		if _, err := ParseMembers(strings.TrimPrefix(d.Home(), Prefix)); err != nil {
			t.Errorf("%s: %v", d.Home(), err)
		}
	})
}
