package main

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"igor.dev/verifier"
)

// aVector is a history with what lies beside it.
type aVector struct {
	Checkpoints                  []string
	HandOvers                    string // hex
	Policy, Proof, Monitor, Word string
}

// write writes its checkpoints into a new folder, and its other files by their names.
func (v *aVector) write(t *testing.T) (dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "watcher")
	put := func(name string, b []byte) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	bin := func(text string) []byte {
		b, err := hex.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for _, text := range v.Checkpoints {
		c, err := verifier.Parse(bin(text))
		if err != nil {
			t.Fatal(err)
		}
		put(fmt.Sprintf("history/%010d.ckpt", c.TickNumber), bin(text))
	}
	if v.HandOvers != "" {
		put("handovers", bin(v.HandOvers))
	}
	if v.Proof != "" {
		put("head.tlog-proof", []byte(v.Proof))
	}
	put("../heads.policy", []byte(v.Policy))
	return dir
}

func readVector(t *testing.T, name string) *aVector {
	t.Helper()
	b, err := os.ReadFile("../../testdata/" + name + ".json")
	v := new(aVector)
	if err == nil {
		err = json.Unmarshal(b, v)
	}
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func (v *aVector) did(t *testing.T) string {
	t.Helper()
	b, err := hex.DecodeString(v.Checkpoints[0])
	if err != nil {
		t.Fatal(err)
	}
	c, err := verifier.Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	return c.AgentPubKey.DID()
}

func runIgor(args ...string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	code = run(args, strings.NewReader(""), &out, &errs)
	return code, out.String(), errs.String()
}

// TestHandOversTravel shares and publishes a life with its hand-overs: they come with it
// everywhere, and everywhere the report says the same of them.
func TestHandOversTravel(t *testing.T) {
	v := readVector(t, "handovers/three")
	dir := v.write(t)
	tmp := t.TempDir()
	want := reportOf(t, dir)
	if !strings.Contains(want, `"handovers": [`) || strings.Contains(want, "notLookedAt") && strings.Contains(want, `"kind": "handovers"`) {
		t.Fatal(want)
	}

	car := filepath.Join(tmp, "life.car")
	code, out, errs := runIgor("history", "export", dir, "-o", car)
	if code != 0 || !strings.Contains(out, "life.handovers, 3 hand-overs") {
		t.Fatal(code, out, errs)
	}
	if handOvers(t, reportOf(t, car)) != handOvers(t, want) {
		t.Errorf("exported:\n%s", reportOf(t, car))
	}
	// Given by itself, it counts once, and is not said to be not looked at.
	if report := reportOf(t, car, filepath.Join(tmp, "life.handovers")); report != reportOf(t, car) {
		t.Errorf("given too:\n%s", report)
	}
	if code, _, errs := runIgor("history", "export", dir, "-o", filepath.Join(tmp, "life.CAR")); code != 1 || !strings.Contains(errs, "life.handovers is there already") {
		t.Error(code, errs)
	}
	copied := filepath.Join(tmp, "copy")
	if code, out, errs := runIgor("history", "import", car, copied); code != 0 || !strings.Contains(out, "3 hand-overs") {
		t.Fatal(code, out, errs)
	}
	if handOvers(t, reportOf(t, copied)) != handOvers(t, want) {
		t.Errorf("imported:\n%s", reportOf(t, copied))
	}

	public := filepath.Join(tmp, "public")
	if code, out, errs := runIgor("publish", dir, public); code != 0 {
		t.Fatal(code, out, errs)
	}
	code, out, errs = runIgor("verify", v.did(t), "--from", public, "--format", "json")
	if code != 0 || handOvers(t, out) != handOvers(t, want) {
		t.Error(code, out, errs)
	}
	fetched := filepath.Join(tmp, "fetched.car")
	if code, out, errs := runIgor("fetch", v.did(t), "--from", public, "-o", fetched); code != 0 {
		t.Fatal(code, out, errs)
	}
	if handOvers(t, reportOf(t, fetched)) != handOvers(t, want) {
		t.Errorf("fetched:\n%s", reportOf(t, fetched))
	}

	// What no key signed is not published, nor exported if it is no record at all.
	path := filepath.Join(dir, "handovers")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[100] ^= 1
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
	if code, _, errs := runIgor("publish", dir, public); code != 1 || !strings.Contains(errs, "hand-over 1 does not count") {
		t.Error(code, errs)
	}
	if err := os.WriteFile(path, b[1:], 0o644); err != nil {
		t.Fatal(err)
	}
	if code, _, errs := runIgor("history", "export", dir, "-o", filepath.Join(tmp, "other.car")); code != 1 || !strings.Contains(errs, "handovers") {
		t.Error(code, errs)
	}
	if _, err := os.Stat(filepath.Join(tmp, "other.car")); err == nil {
		t.Error("a part was written")
	}
}

func reportOf(t *testing.T, paths ...string) string {
	t.Helper()
	code, out, errs := runIgor(append([]string{"verify", "--format", "json"}, paths...)...)
	if code != 0 {
		t.Fatal(code, out, errs)
	}
	return out
}

// handOvers is what a report says of them.
func handOvers(t *testing.T, report string) string {
	t.Helper()
	_, rest, ok := strings.Cut(report, `"handovers": [`)
	records, _, _ := strings.Cut(rest, "]")
	if !ok {
		t.Errorf("no hand-overs in %s", report)
	}
	return records
}

// TestWitnessedFromServer verifies and fetches by name, with the proof that the server has.
func TestWitnessedFromServer(t *testing.T) {
	v := readVector(t, "witness/head-good")
	dir := v.write(t)
	policy := filepath.Join(filepath.Dir(dir), "heads.policy")
	tmp := t.TempDir()
	public, silent := filepath.Join(tmp, "public"), filepath.Join(tmp, "silent")
	for _, to := range []string{public, silent} {
		if code, out, errs := runIgor("publish", dir, to); code != 0 {
			t.Fatal(code, out, errs)
		}
	}
	did := v.did(t)
	if err := os.Remove(filepath.Join(silent, "igor", did, "head.tlog-proof")); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name string
		args []string
		code int
		want string // in what is said
	}{
		{"said", []string{"verify", did, "--from", public, "--witness", policy}, 0, "cosigned by W1, W3"},
		{"demanded", []string{"verify", did, "--from", public, "--require-witness", policy}, 0, "cosigned by W1, W3"},
		{"no proof", []string{"verify", did, "--from", silent, "--witness", policy}, 0, "not shown to be logged"},
		{"no proof, demanded", []string{"verify", did, "--from", silent, "--require-witness", policy}, 3, "not witnessed as demanded"},
		{"fetched", []string{"fetch", did, "--from", public, "--witness", policy, "-o", filepath.Join(tmp, "a.car")}, 0, "existed before 2027-01-15T08:00:03Z"},
		{"fetched, no proof", []string{"fetch", did, "--from", silent, "--witness", policy, "-o", filepath.Join(tmp, "b.car")}, 0, "not witnessed"},
		{"fetched, demanded", []string{"fetch", did, "--from", public, "--require-witness", policy, "-o", filepath.Join(tmp, "c.car")}, 0, "existed before"},
		{"fetched, no proof, demanded", []string{"fetch", did, "--from", silent, "--require-witness", policy, "-o", filepath.Join(tmp, "d.car")}, 1, "not witnessed as"},
		{"piped, no proof, demanded", []string{"fetch", did, "--from", silent, "--require-witness", policy}, 1, "not witnessed as"},
		{"what was fetched", []string{"verify", filepath.Join(tmp, "c.car"), "--require-witness", policy}, 0, "cosigned by W1, W3"},
		{"no policy", []string{"fetch", did, "--from", public, "--witness", filepath.Join(tmp, "c.car"), "-o", filepath.Join(tmp, "e.car")}, 1, "policy"},
	} {
		code, out, errs := runIgor(test.args...)
		if code != test.code || !strings.Contains(strings.Join(strings.Fields(out+errs), " "), test.want) {
			t.Errorf("%s: exit code %d, want %d\n%s%s", test.name, code, test.code, out, errs)
		}
		if test.name == "piped, no proof, demanded" && out != "" {
			t.Errorf("%s: %d bytes were written", test.name, len(out))
		}
	}
	for _, name := range []string{"d.car", "d.car.part", "d.tlog-proof", "e.car"} {
		if _, err := os.Lstat(filepath.Join(tmp, name)); err == nil {
			t.Errorf("%s is there", name)
		}
	}
	// Piped it comes whole, once it is known to be witnessed.
	code, out, errs := runIgor("fetch", did, "--from", public, "--require-witness", policy)
	if b, err := os.ReadFile(filepath.Join(tmp, "c.car")); code != 0 || err != nil || out != string(b) {
		t.Error(code, len(out), errs, err)
	}
}
