package main

import (
	"os/exec"
	"strings"
	"testing"
)

// TestImports: payments need a curve, a hash and JSON-RPC, and igor links no client of a chain,
// no node of a network and no log's server.
func TestImports(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	deps := strings.Fields(string(out))
	paying := false
	for _, p := range deps {
		paying = paying || p == "github.com/decred/dcrd/dcrec/secp256k1/v4"
		for _, heavy := range []string{"github.com/ethereum/", "github.com/btcsuite/", "igor.dev/x402/x402test"} {
			if strings.HasPrefix(p, heavy) {
				t.Errorf("igor links %s", p)
			}
		}
	}
	if len(deps) < 20 || !paying {
		t.Fatalf("too few imports to be true: %v", deps)
	}
}
