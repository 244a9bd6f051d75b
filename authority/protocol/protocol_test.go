package protocol_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"strings"
	"testing"
	"time"

	"igor.dev/authority"
	. "igor.dev/authority/protocol"
	"igor.dev/internal/testkit"
	"igor.dev/verifier"
)

func hash(s string) verifier.Hash { return sha256.Sum256([]byte(s)) }

// specimens are requests and answers of every kind. The agent is the one of RFC 8032, test
// 1, and the node that of test 2.
func specimens() (requests map[string]Request, answers map[string]struct {
	Kind
	Answer
}) {
	seed := [32]byte{0x9d, 0x61, 0xb1, 0x9d, 0xef, 0xfd, 0x5a, 0x60, 0xba, 0x84, 0x4a, 0xf4, 0x92, 0xec, 0x2c, 0xc4, 0x44, 0x49, 0xc5, 0x69, 0x7b, 0x32, 0x69, 0x19, 0x70, 0x3b, 0xac, 0x03, 0x1c, 0xae, 0x7f, 0x60}
	key := ed25519.NewKeyFromSeed(seed[:])
	agent := verifier.PublicKey(key.Public().(ed25519.PublicKey))
	var node verifier.PublicKey
	for i := range node {
		node[i] = byte(0x80 + i)
	}
	prev := authority.Position{Sequence: 1, State: authority.Active, Owner: node, Writer: authority.WriterID{1}, Head: hash("head"), Journal: hash("journal"), Log: hash("log")}
	terms := authority.Terms{Agent: agent, Manifest: hash("manifest"), Nodes: []verifier.PublicKey{node}}
	signedTerms, err := terms.Sign(key)
	if err != nil {
		panic(err)
	}
	next := authority.Entry{Agent: agent, Position: prev, Terms: signedTerms}
	next.Position.Sequence, next.Position.Log = 2, hash("log 2")
	if err := next.Sign(key); err != nil {
		panic(err)
	}
	last := next
	last.Terms, last.Record = nil, []byte("record")
	last.Position.State, last.Position.Record = authority.Retired, hash("record")
	if err := last.Sign(key); err != nil {
		panic(err)
	}
	session := Session{0x50, 0x51, 0x52, 0x53, 15: 0x5f}
	blob := authority.Blob{Name: authority.Name{Kind: authority.Log, Hash: hash("log")}, Data: []byte("log")}
	keys := authority.SealedKeys{Agent: agent, Number: 1, Manifest: hash("manifest"), Keys: []authority.SealedKey{{Node: node}}}
	sealed, err := keys.Sign(key)
	if err != nil {
		panic(err)
	}
	plan := authority.Plan{Number: 1, Nodes: []verifier.PublicKey{node}, Text: []byte("{}")}
	requests = map[string]Request{
		"read":    {Kind: Read, Agent: agent},
		"append":  {Kind: Append, Prev: prev, Next: next, Session: session},
		"begin":   {Kind: Append, Next: authority.Entry{Agent: agent, Position: prev}},
		"renew":   {Kind: Renew, Session: session, TTL: 15 * time.Second},
		"release": {Kind: Release, Session: session},
		"put":     {Kind: Put, Agent: agent, Sequence: 2, Blobs: []authority.Blob{blob, blob}},
		"get":     {Kind: Get, Agent: agent, Of: prev.Hash(agent), Name: blob.Name},
		"accept":  {Kind: Accept, Agent: agent},
		"list":    {Kind: List, Count: 64},
		"seen":    {Kind: Seen, Agent: agent, Count: 1},
		"members": {Kind: Members},
		"restore": {Kind: Restore, Replace: prev.Hash(agent), Next: last},
		"seal":    {Kind: Seal, Value: sealed},
		"sealed":  {Kind: Sealed, Agent: agent},
		"plan":    {Kind: Plan, Value: plan.Append(nil)},
		"planned": {Kind: Planned, Known: 1},
	}
	type a = struct {
		Kind
		Answer
	}
	answers = map[string]a{
		"read":        {Read, Answer{Status: Done, Lease: 12 * time.Second, Entries: []authority.Entry{last}}},
		"appended":    {Append, Answer{Status: Done, Lease: 15 * time.Second}},
		"conflict":    {Append, Answer{Status: Conflict, Have: authority.Entry{Agent: agent, Position: next.Position, Signature: next.Signature}}},
		"no conflict": {Append, Answer{Status: Conflict}},
		"refused":     {Append, Answer{Status: Refused, Code: authority.NotOwner, Reason: "only its owner"}},
		"rule":        {Append, Answer{Status: Rule, Reason: "its number is not the next one"}},
		"unknown":     {Append, Answer{Status: Unknown}},
		"none":        {Read, Answer{Status: None}},
		"blob":        {Get, Answer{Status: Done, Blob: blob}},
		"list":        {List, Answer{Status: Done, More: true, Entries: []authority.Entry{next, last}}},
		"sealed":      {Sealed, Answer{Status: Done, Value: sealed}},
		"planned":     {Planned, Answer{Status: Done, Value: plan.Append(nil)}},
		"members":     {Members, Answer{Status: Done, Standing: Standing{Leader: node, Version: 3, Bytes: 65536, Members: []StandingMember{{node, true}, {agent, false}}}}},
		"unavailable": {Read, Answer{Status: Unavailable, Reason: "no majority"}},
	}
	return requests, answers
}

func TestRoundTrip(t *testing.T) {
	requests, answers := specimens()
	for name, r := range requests {
		raw := r.Append(nil)
		got, err := ParseRequest(raw)
		if err != nil || !bytes.Equal(got.Append(nil), raw) || got.Kind != r.Kind {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
		everyByte(t, name, raw, func(b []byte) ([]byte, error) { r, err := ParseRequest(b); return r.Append(nil), err })
	}
	for name, a := range answers {
		raw := a.Answer.Append(nil, a.Kind)
		got, err := ParseAnswer(a.Kind, raw)
		if err != nil || !bytes.Equal(got.Append(nil, a.Kind), raw) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
		everyByte(t, name, raw, func(b []byte) ([]byte, error) { g, err := ParseAnswer(a.Kind, b); return g.Append(nil, a.Kind), err })
	}
}

// lasts have something at their end that is whatever it is: those who look into it say
// whether it is well formed.
var lasts = map[string]bool{"blob": true, "seal": true, "sealed": true, "plan": true, "planned": true}

// everyByte changes every byte, and cuts everywhere: what comes of it is an error, or reads
// as what it is.
func everyByte(t *testing.T, name string, raw []byte, again func([]byte) ([]byte, error)) {
	t.Helper()
	for i := range raw {
		changed := bytes.Clone(raw)
		changed[i] ^= 1
		for _, b := range [][]byte{changed, raw[:i]} {
			if got, err := again(b); err == nil && !bytes.Equal(got, b) {
				t.Fatalf("%s, byte %d: %x reads as %x", name, i, b, got)
			}
		}
	}
	if _, err := again(append(bytes.Clone(raw), 0xff)); err == nil && !lasts[name] {
		t.Errorf("%s: something may come after it", name)
	}
}

func TestLimits(t *testing.T) {
	if n := MaxRequest([]byte("GET / HTTP/1.1\r\nHost: igor.dev\r\n")); n != 0 {
		t.Errorf("a stranger may send %d bytes", n)
	}
	later := Request{Kind: Members + 1}
	if raw := append(later.Append(nil), "what a later version asks"...); MaxRequest(raw) < len(raw) {
		t.Error("a request of a later kind is not read, so that it is not answered that it is not known")
	} else if _, err := ParseRequest(raw); err == nil || !strings.Contains(err.Error(), "kind 16") {
		t.Errorf("a request of a later kind: %v", err)
	}
	requests, _ := specimens()
	r := requests["append"]
	r.Next.Record = make([]byte, authority.MaxRecord)
	r.Next.Terms = make([]byte, authority.MaxTerms)
	raw := r.Append(nil)
	if n := MaxRequest(raw[:PrefixSize]); n < len(raw) || n > 2*len(raw) {
		t.Errorf("the largest append has %d bytes, and %d are read", len(raw), n)
	}
	if _, err := ParseRequest(raw); err != nil {
		t.Error(err)
	}
	long := Answer{Status: Unavailable, Reason: string(bytes.Repeat([]byte("ä\n"), 1000))}
	if _, err := ParseAnswer(Read, long.Append(nil, Read)); err != nil {
		t.Error(err)
	}
}

func TestSpec(t *testing.T) {
	requests, answers := specimens()
	for _, name := range []string{"read", "append", "renew", "get", "members"} {
		r := requests[name]
		if got, want := r.Append(nil), testkit.SpecBytes(t, "../../docs/spec", "authority.md", "hex request "+name); !bytes.Equal(got, want) {
			t.Errorf("%s: the page has\n%x, and it is\n%x", name, want, got)
		}
	}
	for _, name := range []string{"appended", "conflict", "refused", "members"} {
		a := answers[name]
		if got, want := a.Answer.Append(nil, a.Kind), testkit.SpecBytes(t, "../../docs/spec", "authority.md", "hex answer "+name); !bytes.Equal(got, want) {
			t.Errorf("%s: the page has\n%x, and it is\n%x", name, want, got)
		}
	}
	r := requests["append"]
	if got, want := r.Next.Terms, testkit.SpecBytes(t, "../../docs/spec", "authority.md", "hex terms"); !bytes.Equal(got, want) {
		t.Errorf("the page has the terms\n%x, and they are\n%x", want, got)
	}
}

func FuzzRequest(f *testing.F) {
	requests, _ := specimens()
	for _, r := range requests {
		f.Add(r.Append(nil))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := ParseRequest(b); err == nil && !bytes.Equal(r.Append(nil), b) {
			t.Errorf("%x is %x", b, r.Append(nil))
		}
	})
}

func FuzzAnswer(f *testing.F) {
	_, answers := specimens()
	for _, a := range answers {
		f.Add(byte(a.Kind), a.Answer.Append(nil, a.Kind))
	}
	f.Fuzz(func(t *testing.T, kind byte, b []byte) {
		if a, err := ParseAnswer(Kind(kind), b); err == nil && !bytes.Equal(a.Append(nil, Kind(kind)), b) {
			t.Errorf("%x is %x", b, a.Append(nil, Kind(kind)))
		}
	})
}
