package node

import (
	"os/exec"
	"strings"
	"testing"
)

// TestImports keeps libp2p out of the programs that everybody has.
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
			if strings.Contains(dep, "libp2p") || strings.HasPrefix(dep, "go.etcd.io") {
				t.Errorf("%s links %s", program, strings.TrimSpace(dep))
			}
		}
	}
}
