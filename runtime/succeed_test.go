package runtime

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"igor.dev/runtime/internal/wasmtest"
	"igor.dev/verifier"
	said "igor.dev/verifier/witness"
)

// TestSucceed: both lives verify alone, both keys signed, the budget and the name stay with
// the old one, and to do it again changes nothing.
func TestSucceed(t *testing.T) {
	old, log := filepath.Join(t.TempDir(), "old"), new(publicLog)
	b := birth(wasmtest.Agent{})
	first, err := Start(t.Context(), old, b, ticks(7, 3))
	if err != nil {
		t.Fatal(err)
	}
	key, err := ReadKey(filepath.Join(old, "key"))
	if err != nil {
		t.Fatal(err)
	}
	next := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{9}, 32))
	successor := verifier.PublicKey(next.Public().(ed25519.PublicKey))
	log.any = true
	if _, err := Commit(t.Context(), old, key, successor, log); err != nil {
		t.Fatal(err)
	}
	c := quiet()
	e, err := c.engine()
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	dir := filepath.Join(t.TempDir(), "new")
	config := SuccessionConfig{Fork: ForkConfig{Origin: Past{WASM: b.WASM, Manifest: b.Manifest, Events: filepath.Join(old, "events")}, Budget: 500, Key: next}}
	s, err := e.Succeed(t.Context(), old, dir, config)
	if err != nil {
		t.Fatal(err)
	}
	if s.DID != successor.DID() || s.Origin != first.DID || s.Old.Head != first.Head || s.Old.Budget != first.Budget || !s.Committed {
		t.Errorf("%+v", s)
	}
	check := func() {
		t.Helper()
		file, err := os.ReadFile(filepath.Join(dir, successionFile))
		if err != nil {
			t.Fatal(err)
		}
		statement, err := said.ParseSuccession(file)
		if err != nil || !statement.Authentic() || statement.Head != first.Head || statement.Genesis != s.Forked.Head {
			t.Errorf("%+v, %v", statement, err)
		}
	}
	check()
	counts(t, old)
	counts(t, dir)
	if _, err := Resume(t.Context(), old, ticks(1, 1)); !errors.Is(err, ErrRetired) {
		t.Errorf("the old one lives on: %v", err)
	}
	r, err := Resume(t.Context(), dir, ticks(3, 1))
	if err != nil || r.Tick != 10 || r.Budget > 500 {
		t.Errorf("%+v, %v", r, err)
	}
	counts(t, dir)
	if _, err := e.Succeed(t.Context(), old, dir, config); err == nil {
		t.Error("it succeeds twice")
	}

	// It ended before it was signed.
	os.Remove(filepath.Join(dir, successionFile))
	if again, err := e.Succeed(t.Context(), old, dir, config); err != nil || again.DID != s.DID {
		t.Errorf("%+v, %v", again, err)
	}
	check()

	// Another agent's folder is no successor.
	other := filepath.Join(t.TempDir(), "other")
	if _, err := Start(t.Context(), other, b, ticks(7, 3)); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Succeed(context.Background(), old, other, config); err == nil {
		t.Error("an agent that lives already succeeds it")
	} else if _, err := os.Stat(filepath.Join(other, successionFile)); err == nil {
		t.Error("and it was signed")
	}
}
