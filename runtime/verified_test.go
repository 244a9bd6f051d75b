package runtime

import (
	"crypto/sha256"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"igor.dev/runtime/internal/store"
	"igor.dev/verifier"
)

// TestVerified goes on from a checkpoint that was verified just now: to the same as where
// all is verified, packed or not, and without reading what leads to it. Where another one is
// the newest, all is verified as ever.
func TestVerified(t *testing.T) {
	b := logger()
	loose := unpacked(t, b, 40)
	packed := copyOf(t, loose)
	if err := packAll(t.Context(), packed, nil); err != nil {
		t.Fatal(err)
	}
	recovered := func(dir string, verified verifier.Hash) (store.Recovery, error) {
		t.Helper()
		s, err := store.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		s.Verified = verified
		key, err := store.Key(dir)
		if err != nil {
			t.Fatal(err)
		}
		public := publicOf(key)
		return s.Recover(t.Context(), public[:])
	}
	for name, dir := range map[string]string{"loose": loose, "packed": packed} {
		want, err := recovered(dir, verifier.Hash{})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := recovered(dir, want.Hash); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: tick %d from %s, %v", name, got.Tick, got.First, err)
		}
		// A byte of one before it is another.
		ticks, err := filepath.Glob(filepath.Join(dir, "history", "*.ckpt"))
		if err != nil || len(ticks) < 3 {
			t.Fatal(ticks, err)
		}
		file := ticks[len(ticks)-3]
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		b[len(b)-1] ^= 1
		if err := os.WriteFile(file, b, 0o644); err != nil {
			t.Fatal(err)
		}
		if got, err := recovered(dir, want.Hash); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: what was verified is read again: %v", name, err)
		}
		for _, other := range []verifier.Hash{{}, sha256.Sum256(nil)} {
			if _, err := recovered(dir, other); err == nil {
				t.Errorf("%s: what nobody verified is believed", name)
			}
		}
	}
}
