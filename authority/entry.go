package authority

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"

	"igor.dev/verifier"
)

// An Entry is what a store that is guarded keeps of an agent: its position, signed by the
// agent, and what goes with it.
type Entry struct {
	Agent     verifier.PublicKey
	Position  Position
	Signature [ed25519.SignatureSize]byte // over the position's bytes
	Terms     []byte                      // who else may go on with the agent; nil = nobody ([ParseTerms])
	Record    []byte                      // of which Position.Record is the SHA-256; nil = it is elsewhere
}

// MaxRecord is how many bytes may go with an append.
const MaxRecord = 64 << 10

// Sign signs the position.
func (e *Entry) Sign(key crypto.Signer) error {
	s, err := key.Sign(nil, e.Position.Append(make([]byte, 0, PositionSize), e.Agent), crypto.Hash(0))
	if err == nil && copy(e.Signature[:], s) != len(s) {
		err = errors.New("the agent's key is no Ed25519 key")
	}
	return err
}

// Check says what is wrong with an entry by itself: it is no position, its agent did not
// sign it, or what goes with it is another's.
func (e *Entry) Check() error {
	if err := e.Position.check(); err != nil {
		return err
	}
	if !good.verify(e.Agent, e.Position.Append(make([]byte, 0, PositionSize), e.Agent), e.Signature[:]) {
		return errors.New("the agent did not sign the position")
	}
	if len(e.Record) > 0 && (len(e.Record) > MaxRecord || sha256.Sum256(e.Record) != e.Position.Record) {
		return errors.New("the position does not name the record that goes with it")
	}
	if len(e.Terms) > 0 {
		t, err := ParseTerms(e.Terms)
		if err == nil && t.Agent != e.Agent {
			err = errors.New("the terms are another agent's")
		}
		return err
	}
	return nil
}

// Clone returns a copy that shares no memory.
func (e Entry) Clone() Entry {
	e.Terms, e.Record = slices.Clone(e.Terms), slices.Clone(e.Record)
	return e
}

// Terms say which nodes may go on with an agent whose owner is gone. They are what its
// manifest says, signed by the agent.
type Terms struct {
	Agent    verifier.PublicKey
	Manifest verifier.Hash        // of which they are
	Nodes    []verifier.PublicKey // in ascending order, each once
}

const termsContext = "igor/terms/v1\x00"

// Limits of terms.
const (
	MaxNodes = 256
	MaxTerms = len(termsContext) + 32 + 32 + 2 + 32*MaxNodes + ed25519.SignatureSize
)

// Append appends the terms' bytes without their signature.
func (t *Terms) append(dst []byte) []byte {
	dst = append(dst, termsContext...)
	dst = append(dst, t.Agent[:]...)
	dst = append(dst, t.Manifest[:]...)
	dst = le.AppendUint16(dst, uint16(len(t.Nodes)))
	for _, n := range t.Nodes {
		dst = append(dst, n[:]...)
	}
	return dst
}

// Sign returns the terms' bytes, signed with the agent's key.
func (t *Terms) Sign(key crypto.Signer) ([]byte, error) {
	if err := t.check(); err != nil {
		return nil, err
	}
	b := t.append(nil)
	s, err := key.Sign(nil, b, crypto.Hash(0))
	return append(b, s...), err
}

func (t *Terms) check() error {
	for i := range t.Nodes {
		if i > 0 && bytes.Compare(t.Nodes[i-1][:], t.Nodes[i][:]) >= 0 {
			return errors.New("terms whose nodes are not in order, each once")
		}
	}
	if len(t.Nodes) > MaxNodes {
		return fmt.Errorf("terms of %d nodes, and at most %d are read", len(t.Nodes), MaxNodes)
	}
	return nil
}

// ParseTerms reads terms, and verifies their signature.
func ParseTerms(b []byte) (t Terms, err error) {
	head := len(termsContext) + 32 + 32 + 2
	if len(b) < head+ed25519.SignatureSize || len(b) > MaxTerms || !bytes.HasPrefix(b, []byte(termsContext)) {
		return t, errors.New("not terms of version 1")
	}
	signed, signature := b[:len(b)-ed25519.SignatureSize], b[len(b)-ed25519.SignatureSize:]
	rest := b[len(termsContext):]
	copy(t.Agent[:], rest)
	copy(t.Manifest[:], rest[32:])
	count := int(le.Uint16(rest[64:]))
	if count > MaxNodes || len(signed) != head+32*count {
		return t, errors.New("terms that are cut short, or name too many nodes")
	}
	for i := range count {
		t.Nodes = append(t.Nodes, verifier.PublicKey(signed[head+32*i:][:32]))
	}
	if err := t.check(); err != nil {
		return t, err
	}
	if !good.verify(t.Agent, signed, signature) {
		return t, errors.New("the agent did not sign the terms")
	}
	return t, nil
}

// Allow reports whether a node may go on with the agent.
func (t *Terms) Allow(node verifier.PublicKey) bool { return slices.Contains(t.Nodes, node) }

// A Signing authority is guarded: it takes what the agent's key signed.
type Signing interface {
	Authority

	// SignedBy returns the authority for the agent whose key this is. The terms, which may
	// be nil, go with the first append that may change them.
	SignedBy(agent crypto.Signer, terms *Terms) (Recording, error)

	// Held says whether this process may try, as far as its lease goes: the append decides.
	Held() error

	// WaitHeld waits until it may.
	WaitHeld(ctx context.Context) error
}

// A Recording authority keeps what goes with an append, until the next one.
type Recording interface {
	Records

	// AppendRecord is Append with the record that next names.
	AppendRecord(ctx context.Context, agent verifier.PublicKey, prev, next Position, record []byte) error
}

// Records is an authority that has what goes with an append.
type Records interface {
	Authority

	// Record returns the position of an agent and what goes with it, to its owner: others
	// are given the position.
	Record(ctx context.Context, agent verifier.PublicKey) (Position, []byte, error)
}

// AppendWith appends an agent's position and its record as one value, as stores keep it
// that are not guarded. Without a record it is the position.
func (p *Position) AppendWith(dst []byte, agent verifier.PublicKey, record []byte) []byte {
	return append(p.Append(dst, agent), record...)
}

// ParseWith reads such a value. The record is the one that the position names.
func ParseWith(b []byte) (agent verifier.PublicKey, p Position, record []byte, err error) {
	if len(b) > PositionSize+MaxRecord {
		return agent, p, nil, fmt.Errorf("a position with %d bytes behind it", len(b)-PositionSize)
	}
	n := min(len(b), PositionSize)
	if agent, p, err = ParsePosition(b[:n]); err != nil {
		return agent, Position{}, nil, err
	}
	if record = b[n:]; len(record) == 0 {
		return agent, p, nil, nil
	}
	if sha256.Sum256(record) != p.Record {
		return agent, Position{}, nil, errors.New("the position does not name what is behind it")
	}
	return agent, p, record, nil
}

// A Refusal says why a store that is guarded does not do what it is asked by this node. It
// is final: to ask again is of no use before something else has changed.
type Refusal struct {
	Code   RefusalCode
	Reason string
}

func (e *Refusal) Error() string { return "the agent's home refuses: " + e.Reason }

// A RefusalCode says which kind of refusal it is.
type RefusalCode uint8

// The codes.
const (
	NotOwner    RefusalCode = iota + 1 // only the agent's owner may
	NotAllowed                         // the terms do not name the node, or the store does not serve it
	Leased                             // the owner's lease has not run out
	NotSigned                          // the agent did not sign it
	TooMuch                            // a quota is reached
	NotOperator                        // only an operator of the store may
	InTheWay                           // there is what would be replaced
	lastRefusal
)

// Known reports whether this version knows the code.
func (c RefusalCode) Known() bool { return c >= NotOwner && c < lastRefusal }

// Held reports whether an operator, and not the agent, says that its position is in
// recovery: a store lost it, and more than one might be it.
func (e *Entry) Held() bool {
	return e.Position.State == Recovery && e.Signature == [ed25519.SignatureSize]byte{} && e.Position.check() == nil
}
