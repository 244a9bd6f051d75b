package authority_test

import (
	"bytes"
	"crypto/ed25519"
	"testing"

	"igor.dev/authority"
	"igor.dev/verifier"
)

// fuzzed are an agent's key and its first entry.
func fuzzed(f *testing.F) (ed25519.PrivateKey, authority.Entry) {
	f.Helper()
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, 32))
	e := authority.Entry{Agent: verifier.PublicKey(key.Public().(ed25519.PublicKey)), Position: begin(1, 1)}
	if err := e.Sign(key); err != nil {
		f.Fatal(err)
	}
	return key, e
}

// FuzzTerms reads terms that anybody may have sent: what is read is signed by the agent,
// and is the same bytes again.
func FuzzTerms(f *testing.F) {
	key, e := fuzzed(f)
	for _, nodes := range [][]verifier.PublicKey{nil, {{1}}, {{1}, {2}}} {
		b, err := (&authority.Terms{Agent: e.Agent, Nodes: nodes}).Sign(key)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		terms, err := authority.ParseTerms(raw)
		if err != nil {
			return
		}
		if again, err := terms.Sign(key); err != nil || terms.Agent == e.Agent && !bytes.Equal(again, raw) {
			t.Errorf("%x is %x, %v", raw, again, err)
		}
	})
}

// FuzzSeen reads what a node remembers, as another one may send it.
func FuzzSeen(f *testing.F) {
	_, e := fuzzed(f)
	f.Add((&authority.Seen{Newest: e}).Append(nil))
	f.Add((&authority.Seen{Newest: e, Found: e}).Append(nil))
	f.Fuzz(func(t *testing.T, raw []byte) {
		s, err := authority.ParseSeen(raw)
		if err == nil && !bytes.Equal(s.Append(nil), raw) {
			t.Errorf("%x is %x", raw, s.Append(nil))
		}
	})
}

// FuzzWith reads a position with its record, as unguarded stores have them.
func FuzzWith(f *testing.F) {
	p := begin(1, 1)
	f.Add(p.AppendWith(nil, agent, nil))
	p.Record = hash("record")
	f.Add(p.AppendWith(nil, agent, []byte("record")))
	f.Fuzz(func(t *testing.T, raw []byte) {
		of, p, record, err := authority.ParseWith(raw)
		if err == nil && !bytes.Equal(p.AppendWith(nil, of, record), raw) {
			t.Errorf("%x is another one again", raw)
		}
	})
}
