package interop

import (
	"crypto/ed25519"
	"fmt"
	"strings"
	"testing"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"igor.dev/verifier/witness"
)

// TestWitness checks proofs that others make: trees and proofs of golang.org/x/mod/sumdb/tlog,
// notes of its note, cosignatures of torchwood.
func TestWitness(t *testing.T) {
	skey, vkey, err := note.GenerateKey(nil, "log.example/heads")
	if err != nil {
		t.Fatal(err)
	}
	log, err := note.NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	policy := "log " + vkey + "\n"
	var signers []note.Signer
	for i := range 3 {
		_, key, _ := ed25519.GenerateKey(nil)
		s, err := torchwood.NewCosignatureSigner(fmt.Sprintf("w%d.example", i), key)
		if err != nil {
			t.Fatal(err)
		}
		signers = append(signers, s)
		policy += fmt.Sprintf("witness W%d %s\n", i, s.Verifier())
	}
	p, err := witness.ParsePolicy([]byte(policy + "group g 2 W0 W1 W2\nquorum g\n"))
	if err != nil {
		t.Fatal(err)
	}
	var hashes []tlog.Hash
	reader := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		var out []tlog.Hash
		for _, i := range indexes {
			out = append(out, hashes[i])
		}
		return out, nil
	})
	entry := func(i int64) []byte { return fmt.Appendf(nil, "entry %d", i) }
	for n := int64(1); n <= 70; n++ {
		more, err := tlog.StoredHashes(n-1, entry(n-1), reader)
		if err != nil {
			t.Fatal(err)
		}
		hashes = append(hashes, more...)
		root, err := tlog.TreeHash(n, reader)
		if err != nil {
			t.Fatal(err)
		}
		text := torchwood.Checkpoint{Origin: "log.example/heads", Tree: tlog.Tree{N: n, Hash: root}}.String()
		signed, err := note.Sign(&note.Note{Text: text}, log, signers[n%3], signers[(n+1)%3])
		if err != nil {
			t.Fatal(err)
		}
		for i := range n {
			proof, err := tlog.ProveRecord(n, i, reader)
			if err != nil {
				t.Fatal(err)
			}
			var b strings.Builder
			fmt.Fprintf(&b, "c2sp.org/tlog-proof@v1\nindex %d\n", i)
			for _, h := range proof {
				fmt.Fprintln(&b, h)
			}
			fmt.Fprintf(&b, "\n%s", signed)
			parsed, err := witness.ParseProof([]byte(b.String()))
			if err != nil {
				t.Fatal(err)
			}
			got, err := p.Check(entry(i), parsed)
			if err != nil || got.Size != uint64(n) || got.Index != uint64(i) || len(got.Cosigners) != 2 {
				t.Fatalf("entry %d of %d: %+v, %v", i, n, got, err)
			}
			if _, err := p.Check(entry(i+1), parsed); err == nil {
				t.Fatalf("another entry is proved by the proof of %d of %d", i, n)
			}
			if n > 20 {
				break
			}
		}
	}
}
