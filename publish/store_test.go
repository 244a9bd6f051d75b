package publish

import (
	"bytes"
	"crypto/sha256"
	"os"
	"path/filepath"
	"testing"

	"igor.dev/verifier"
)

// TestStore keeps blocks, and flips each byte of one of them: an interrupted fetch goes on
// without what is not what it is filed under, and what is flipped meanwhile is an error.
func TestStore(t *testing.T) {
	f := &fetch{dir: t.TempDir()}
	s, err := f.newStore()
	if err != nil {
		t.Fatal(err)
	}
	blocks := [][]byte{[]byte("one"), []byte("two, which is longer"), []byte("three")}
	hashes := make([]verifier.Hash, len(blocks))
	for i, b := range blocks {
		hashes[i] = sha256.Sum256(b)
		if err := s.put(hashes[i], b); err != nil {
			t.Fatal(err)
		}
	}
	at := s.at[hashes[1]]
	s.close()
	file := filepath.Join(f.dir, "blocks")
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for i := range at.size {
		flipped := bytes.Clone(whole)
		flipped[at.offset+int64(i)] ^= 1
		if err := os.WriteFile(file, flipped, 0o644); err != nil {
			t.Fatal(err)
		}
		s, err := f.newStore()
		if err != nil {
			t.Fatal(err)
		}
		if !s.has(hashes[0]) || s.has(hashes[1]) || s.size >= at.offset {
			t.Errorf("byte %d of the second block: %d bytes are used", i, s.size)
		}
		// It is fetched again.
		for i, b := range blocks {
			if err := s.put(hashes[i], b); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := s.get(hashes[1]); err != nil || !bytes.Equal(got, blocks[1]) {
			t.Errorf("fetched again: %q, %v", got, err)
		}
		if _, err := s.f.WriteAt(flipped[at.offset:at.offset+int64(at.size)], at.offset); err != nil {
			t.Fatal(err)
		}
		if got, err := s.get(hashes[1]); err == nil {
			t.Errorf("changed while it is used: %q", got)
		}
		s.close()
	}
}
