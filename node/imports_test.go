package node

import (
	"os/exec"
	"strings"
	"testing"
)

// heavy is what igor-node alone may link: libp2p with its QUIC, etcd with its log and its
// transport, and the laboratory's YAML.
var heavy = []string{"libp2p", "multiformats", "go.etcd.io/", "quic-go", "go.uber.org/", "google.golang.org/grpc", "igor.dev/node$", "igor.dev/lab$"}

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
		for dep := range strings.Lines(string(out)) {
			dep = strings.TrimSpace(dep)
			for _, h := range heavy {
				if strings.Contains(dep+"$", h) {
					t.Errorf("%s links %s", program, dep)
				}
			}
		}
	}
}
