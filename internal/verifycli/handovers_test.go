package verifycli

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"igor.dev/verifier"
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

// TestBesideByItself gives what lies beside a history by itself, under other names: it is
// looked at once, and only what is not is said to be not.
func TestBesideByItself(t *testing.T) {
	var hands struct {
		Checkpoints []string
		HandOvers   string
	}
	var heads struct {
		Checkpoints   []string
		Policy, Proof string
	}
	dir := t.TempDir()
	for name, v := range map[string]any{"handovers/three": &hands, "witness/head-good": &heads} {
		raw, err := os.ReadFile("../../testdata/" + name + ".json")
		if err == nil {
			err = json.Unmarshal(raw, v)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	put := func(name string, b []byte) string {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, b, 0o644)); err != nil {
			t.Fatal(err)
		}
		return path
	}
	bin := func(text string) []byte {
		b, err := hex.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	var moved, logged []string
	for i, c := range hands.Checkpoints {
		moved = append(moved, put("moved/"+string(rune('a'+i))+".ckpt", bin(c)))
	}
	for i, c := range heads.Checkpoints {
		logged = append(logged, put("logged/"+string(rune('a'+i))+".ckpt", bin(c)))
	}
	records := put("records.bin", bin(hands.HandOvers))
	again := put("again/records (1).bin", bin(hands.HandOvers))
	cut := put("cut.handovers", bin(hands.HandOvers)[1:])
	large := put("large.handovers", make([]byte, verifier.RoleHandOvers.MaxSize()+int64(verifier.HandOverSize)))
	policy := put("rules/heads.policy", []byte(heads.Policy))
	proof := put("download/proof (1)", []byte(heads.Proof))
	other := put("download/other.tlog-proof", []byte(strings.Replace(heads.Proof, "index ", "index 1", 1)))
	word := put("download/life.monitor", []byte("igor/monitor/v1\n"))

	for _, test := range []struct {
		name      string
		args      []string
		code      int
		want, not []string // in the report, and not in it
	}{
		{"records", append(moved, records), 0, []string{`"handovers": [`}, []string{"notLookedAt", "problem"}},
		{"records twice", append(moved, records, again, records), 0, []string{`"handovers": [`}, []string{"notLookedAt", `"number": "4"`}},
		{"cut records", append(moved, records, cut), 0, []string{`"handovers": [`, `{"kind": "handovers", "files": 1, "name": "cut.handovers"}`}, nil},
		{"too many records", append(moved, large), 0, []string{`"notLookedAt"`}, []string{`"handovers": [`}},
		{"a proof", append(logged, proof, "--require-witness", policy), 0, []string{`"witnessed": {`, "W1"}, []string{"notLookedAt"}},
		{"a proof, first of two", append(logged, proof, other, "--require-witness", policy), 0, []string{"W1", `"name": "other.tlog-proof"`}, nil},
		{"no policy", append(logged, proof), 0, []string{`{"kind": "witness", "files": 1, "name": "proof (1)"}`}, []string{"witnessed\""}},
		{"a word, no monitor", append(logged, proof, word, "--witness", policy), 0, []string{"W1", `"name": "life.monitor"`}, nil},
		{"nothing else", []string{proof, "--witness", policy}, 2, nil, nil},
	} {
		var stdout, stderr bytes.Buffer
		code := Main("igor-verify", append([]string{"--format", "json"}, test.args...), strings.NewReader(""), &stdout, &stderr)
		out := strings.Replace(stdout.String(), `"problems": []`, "", 1)
		if code != test.code {
			t.Errorf("%s: exit %d, want %d: %s", test.name, code, test.code, stderr.String())
		}
		for _, s := range test.want {
			if !strings.Contains(out, s) {
				t.Errorf("%s: no %s in\n%s%s", test.name, s, out, stderr.String())
			}
		}
		for _, s := range test.not {
			if strings.Contains(out, s) {
				t.Errorf("%s: %s in\n%s", test.name, s, out)
			}
		}
	}
}
