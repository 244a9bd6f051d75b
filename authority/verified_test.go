package authority

import (
	"bytes"
	"crypto/ed25519"
	"encoding/binary"
	"testing"

	"pgregory.net/rapid"

	"igor.dev/verifier"
)

// TestRemembered holds a memory of signatures to what the check says, whatever it was asked
// before, and to its bounds.
func TestRemembered(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var m memory
		good := 0
		for range rapid.IntRange(1, 20).Draw(t, "asked") {
			secret := ed25519.NewKeyFromSeed(append(make([]byte, 31), byte(rapid.IntRange(0, 1).Draw(t, "key"))))
			key := verifier.PublicKey(secret.Public().(ed25519.PublicKey))
			message := bytes.Repeat([]byte{1}, rapid.IntRange(0, 3).Draw(t, "message"))
			signature := ed25519.Sign(secret, message)
			switch rapid.SampledFrom([]string{"", "", "message", "signature", "key", "short", "shift"}).Draw(t, "changed") {
			case "message":
				message = append(message, 2)
			case "signature":
				signature[rapid.IntRange(0, len(signature)-1).Draw(t, "byte")] ^= 1
			case "key":
				key[31] ^= 1
			case "short":
				signature = signature[:rapid.IntRange(0, 63).Draw(t, "length")]
			case "shift": // the same bytes, cut elsewhere
				all := append(bytes.Clone(signature), message...)
				signature, message = all[:len(all)-1], all[len(all)-1:]
			}
			want := len(signature) == ed25519.SignatureSize && ed25519.Verify(key[:], message, signature)
			if want {
				good++
			}
			if got := m.verify(key, message, signature); got != want {
				t.Fatalf("%v, and the check says %v", got, want)
			}
			if len(m.newer) > good {
				t.Fatalf("%d are remembered, and %d were good", len(m.newer), good)
			}
		}
	})
	var m memory
	name := func(i int) (n [32]byte) { binary.LittleEndian.PutUint64(n[:], uint64(i)); return n }
	for i := range 3 * remembered {
		if m.keep(name(i)); len(m.newer) > remembered || len(m.last) > remembered {
			t.Fatalf("%d and %d are remembered", len(m.newer), len(m.last))
		}
		if !m.has(name(0)) {
			t.Fatal("one that is asked for all the time was forgotten")
		}
	}
	if m.has(name(1)) || !m.has(name(3*remembered-1)) {
		t.Error("the oldest is remembered, or the newest was forgotten")
	}
}

// BenchmarkEntry reads an entry that was read before, against a check of its two signatures.
func BenchmarkEntry(b *testing.B) {
	secret := ed25519.NewKeyFromSeed(make([]byte, 32))
	agent := verifier.PublicKey(secret.Public().(ed25519.PublicKey))
	e := Entry{Agent: agent, Position: Position{Sequence: 1, State: Active, Owner: agent, Writer: WriterID{1}, Head: verifier.Hash{1}, Journal: verifier.Hash{1}, Log: verifier.Hash{1}}}
	terms := Terms{Agent: agent, Nodes: make([]verifier.PublicKey, 8)}
	for i := range terms.Nodes {
		terms.Nodes[i][0] = byte(i)
	}
	err := e.Sign(secret)
	if err == nil {
		e.Terms, err = terms.Sign(secret)
	}
	if err != nil {
		b.Fatal(err)
	}
	for _, again := range []bool{false, true} {
		b.Run(map[bool]string{false: "first", true: "again"}[again], func(b *testing.B) {
			for b.Loop() {
				if !again {
					good = memory{}
				}
				if err := e.Check(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
