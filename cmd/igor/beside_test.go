package main

import (
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
	got := tell("history", "export", dir, "-o", car)
	if got.code != 0 || !strings.Contains(got.out, "life.handovers, 3 hand-overs") {
		t.Fatal(got.code, got.out, got.stderr)
	}
	if handOvers(t, reportOf(t, car)) != handOvers(t, want) {
		t.Errorf("exported:\n%s", reportOf(t, car))
	}
	// Given by itself, it counts once, and is not said to be not looked at.
	if report := reportOf(t, car, filepath.Join(tmp, "life.handovers")); report != reportOf(t, car) {
		t.Errorf("given too:\n%s", report)
	}
	if got := tell("history", "export", dir, "-o", filepath.Join(tmp, "life.CAR")); got.code != 1 || !strings.Contains(got.stderr, "life.handovers is there already") {
		t.Error(got.code, got.stderr)
	}
	copied := filepath.Join(tmp, "copy")
	if got := tell("history", "import", car, copied); got.code != 0 || !strings.Contains(got.out, "3 hand-overs") {
		t.Fatal(got.code, got.out, got.stderr)
	}
	if handOvers(t, reportOf(t, copied)) != handOvers(t, want) {
		t.Errorf("imported:\n%s", reportOf(t, copied))
	}

	public := filepath.Join(tmp, "public")
	if got := tell("publish", dir, public); got.code != 0 {
		t.Fatal(got.code, got.out, got.stderr)
	}
	got = tell("verify", v.did(t), "--from", public, "--format", "json")
	if got.code != 0 || handOvers(t, got.out) != handOvers(t, want) {
		t.Error(got.code, got.out, got.stderr)
	}
	fetched := filepath.Join(tmp, "fetched.car")
	if got := tell("fetch", v.did(t), "--from", public, "-o", fetched); got.code != 0 {
		t.Fatal(got.code, got.out, got.stderr)
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
	if got := tell("publish", dir, public); got.code != 1 || !strings.Contains(got.stderr, "hand-over 1 does not count") {
		t.Error(got.code, got.stderr)
	}
	if err := os.WriteFile(path, b[1:], 0o644); err != nil {
		t.Fatal(err)
	}
	if got := tell("history", "export", dir, "-o", filepath.Join(tmp, "other.car")); got.code != 1 || !strings.Contains(got.stderr, "handovers") {
		t.Error(got.code, got.stderr)
	}
	if _, err := os.Stat(filepath.Join(tmp, "other.car")); err == nil {
		t.Error("a part was written")
	}
}

func reportOf(t *testing.T, paths ...string) string {
	t.Helper()
	got := tell(append([]string{"verify", "--format", "json"}, paths...)...)
	if got.code != 0 {
		t.Fatal(got.code, got.out, got.stderr)
	}
	return got.out
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
		if got := tell("publish", dir, to); got.code != 0 {
			t.Fatal(got.code, got.out, got.stderr)
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
		got := tell(test.args...)
		if got.code != test.code || !strings.Contains(strings.Join(strings.Fields(got.out+got.stderr), " "), test.want) {
			t.Errorf("%s: exit code %d, want %d\n%s%s", test.name, got.code, test.code, got.out, got.stderr)
		}
		if test.name == "piped, no proof, demanded" && got.out != "" {
			t.Errorf("%s: %d bytes were written", test.name, len(got.out))
		}
	}
	for _, name := range []string{"d.car", "d.car.part", "d.tlog-proof", "e.car"} {
		if _, err := os.Lstat(filepath.Join(tmp, name)); err == nil {
			t.Errorf("%s is there", name)
		}
	}
	// Piped it comes whole, once it is known to be witnessed.
	got := tell("fetch", did, "--from", public, "--require-witness", policy)
	if b, err := os.ReadFile(filepath.Join(tmp, "c.car")); got.code != 0 || err != nil || got.out != string(b) {
		t.Error(got.code, len(got.out), got.stderr, err)
	}
}
