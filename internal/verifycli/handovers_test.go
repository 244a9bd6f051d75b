package verifycli

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestHandOversBeside finds the records where they lie, and changes no verdict by them.
func TestHandOversBeside(t *testing.T) {
	raw, err := os.ReadFile("../../testdata/handovers/three.json")
	if err != nil {
		t.Fatal(err)
	}
	var v struct {
		Checkpoints []string
		HandOvers   string
	}
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "agent")
	if err := os.MkdirAll(filepath.Join(dir, "history"), 0o755); err != nil {
		t.Fatal(err)
	}
	write := func(name, text string) {
		b, err := hex.DecodeString(text)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), b, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for i, c := range v.Checkpoints {
		write(filepath.Join("history", string(rune('a'+i))+".ckpt"), c)
	}
	run := func(args ...string) (code int, out, errs string) {
		var stdout, stderr bytes.Buffer
		code = Main("igor-verify", args, strings.NewReader(""), &stdout, &stderr)
		return code, stdout.String(), stderr.String()
	}
	if _, out, _ := run(dir); strings.Contains(out, "hand-over") {
		t.Errorf("there are none:\n%s", out)
	}
	write("handovers", v.HandOvers)
	for _, path := range []string{dir, filepath.Join(dir, "history")} {
		if code, out, _ := run(path); code != 0 || !strings.Contains(out, "3 hand-overs that both nodes signed") {
			t.Errorf("%s: exit %d\n%s", path, code, out)
		}
		if code, out, _ := run("--format", "json", path); code != 0 || !strings.Contains(out, "\"handovers\": [") {
			t.Errorf("%s: exit %d\n%s", path, code, out)
		}
	}
	if code, out, _ := run("--report", "1", "--format", "json", dir); code != 0 || strings.Contains(out, "handovers") {
		t.Errorf("version 1: exit %d\n%s", code, out)
	}
	write("handovers", v.HandOvers[2:])
	if code, _, errs := run(dir); code != 0 || !strings.Contains(errs, "is not looked at") {
		t.Errorf("a damaged file: exit %d, %s", code, errs)
	}
}
