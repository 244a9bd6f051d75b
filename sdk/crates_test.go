package sdk

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestCrates builds two crates of one name in turn, as the tests of an agent do with
// their copies of it, and wants each time what the crate says.
func TestCrates(t *testing.T) {
	if out, err := exec.Command("make", "-s", "has-rust").CombinedOutput(); err != nil {
		t.Skipf("rust is not here: tools/needs.sh languages gets it\n%s", out)
	}
	tmp := t.TempDir()
	crate := func(from, says string) {
		for name, content := range map[string]string{
			"Cargo.toml": "[package]\nname = \"twin\"\nversion = \"0.1.0\"\nedition = \"2021\"\n[lib]\ncrate-type = [\"cdylib\"]\npath = \"twin.rs\"\n",
			"twin.rs":    "#[no_mangle]\npub extern \"C\" fn " + says + "() -> u32 { 1 }\n",
		} {
			if err := os.MkdirAll(filepath.Join(tmp, from), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(tmp, from, name), []byte(content), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	crate("one", "first_of_them")
	crate("two", "second_of_them")
	for _, from := range []string{"one", "two", "one", "one", "two"} {
		wasm := filepath.Join(tmp, "twin.wasm")
		if out, err := exec.Command("make", "-s", "program-rust", "FROM="+filepath.Join(tmp, from), "NAME=twin", "TO="+wasm, "TARGETS="+filepath.Join(tmp, "targets")).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		b, err := os.ReadFile(wasm)
		if err != nil {
			t.Fatal(err)
		}
		if first := bytes.Contains(b, []byte("first_of_them")); first != (from == "one") || first == bytes.Contains(b, []byte("second_of_them")) {
			t.Errorf("what was built of %s is another program", from)
		}
	}
}
