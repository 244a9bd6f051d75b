package node

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// heavy is what igor-node alone may link: libp2p with its QUIC, etcd with its log and its
// transport, and the laboratory's YAML.
var heavy = []string{"libp2p", "multiformats", "go.etcd.io/", "quic-go", "go.uber.org/", "google.golang.org/grpc", "igor.dev/node$", "igor.dev/lab$"}

// linked is what of nodes, fleets and the laboratory the programs that everybody has link:
// messages and rules, 12 KB, and the clients of homes, 140 KB.
var linked = map[string][]string{
	"igor.dev/cmd/igor": {"igor.dev/authority", "igor.dev/authority/bucket", "igor.dev/authority/dir", "igor.dev/authority/fleet", "igor.dev/authority/https",
		"igor.dev/authority/protocol", "igor.dev/node/api", "igor.dev/node/keeper", "igor.dev/node/price", "igor.dev/node/wire"},
	"igor.dev/cmd/igor-verify": nil,
}

// TestImports keeps what nodes need out of the programs that everybody has, which do not grow
// by it.
func TestImports(t *testing.T) {
	for _, program := range []string{"igor.dev/cmd/igor", "igor.dev/cmd/igor-verify", "igor.dev/cmd/igor-log", "igor.dev/node/api", "igor.dev/node/wire", "igor.dev/node/price"} {
		out, err := exec.Command("go", "list", "-deps", program).Output()
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(out), program) {
			t.Errorf("%s: no dependencies are listed", program)
		}
		var ours []string
		for dep := range strings.Lines(string(out)) {
			dep = strings.TrimSpace(dep)
			for _, of := range []string{"igor.dev/node", "igor.dev/authority", "igor.dev/lab"} {
				if dep == of || strings.HasPrefix(dep, of+"/") {
					ours = append(ours, dep)
				}
			}
			for _, h := range heavy {
				if strings.Contains(dep+"$", h) {
					t.Errorf("%s links %s", program, dep)
				}
			}
		}
		slices.Sort(ours)
		if want, ok := linked[program]; ok && !slices.Equal(ours, want) {
			t.Errorf("%s links %q, want %q", program, ours, want)
		}
	}
}

// TestVerifySize has igor-verify stay the small program that it is: 3.3 MB on this
// platform, stripped.
func TestVerifySize(t *testing.T) {
	const most = 3_600_000
	path := filepath.Join(t.TempDir(), "igor-verify")
	build := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", path, "igor.dev/cmd/igor-verify")
	build.Env = append(os.Environ(), "GOOS=linux", "GOARCH=amd64", "CGO_ENABLED=0", "GOFLAGS=")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() > most {
		t.Errorf("igor-verify has %d bytes, and should have %d at most: what made it grow?", info.Size(), most)
	}
}
