package authority

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	"igor.dev/verifier"
)

// A State says what an owner may do with an agent.
type State uint8

// The states.
const (
	Active      State = iota + 1 // its owner lives its life
	HandingOver                  // its owner gives it away, and does not live on
	Retired                      // it is not lived on, here
	Recovery                     // an operator has to say which position counts
)

var stateNames = map[State]string{Active: "active", HandingOver: "handing over", Retired: "retired", Recovery: "recovery"}

// String returns the state in words.
func (s State) String() string {
	if name, ok := stateNames[s]; ok {
		return name
	}
	return fmt.Sprintf("state %d", uint8(s))
}

// A WriterID tells the processes apart that append. Each makes one, at random.
type WriterID [16]byte

// A Position is how far an agent's life has come, and who goes on with it. It names all
// that a successor needs, by hash. The zero Position is that there is none.
type Position struct {
	Sequence   uint64 // of the append, from 1
	State      State
	Major      uint64 // hand-overs
	Generation uint64 // takeovers
	Owner      verifier.PublicKey
	Writer     WriterID

	Head    verifier.Hash // the newest checkpoint: SHA-256 of its signed bytes
	Journal verifier.Hash // the journal so far: its head
	Log     verifier.Hash // the open segment so far: SHA-256 of its bytes
	Paid    verifier.Hash // the payment receipts so far: [ChainPaid]; zero = none

	// Record is the SHA-256 of what goes with the append: a hand-over, a retirement; zero
	// = nothing does.
	Record verifier.Hash
}

// IsZero reports whether there is no position.
func (p *Position) IsZero() bool { return *p == Position{} }

const positionContext = "igor/position/v1\x00"

// PositionSize is how many bytes a position has.
const PositionSize = len(positionContext) + 32 + 8 + 1 + 8 + 8 + 32 + 16 + 5*32

var le = binary.LittleEndian

// Append appends the canonical bytes of an agent's position. They are what is signed,
// kept and compared.
func (p *Position) Append(dst []byte, agent verifier.PublicKey) []byte {
	dst = append(dst, positionContext...)
	dst = append(dst, agent[:]...)
	dst = le.AppendUint64(dst, p.Sequence)
	dst = append(dst, byte(p.State))
	dst = le.AppendUint64(dst, p.Major)
	dst = le.AppendUint64(dst, p.Generation)
	dst = append(dst, p.Owner[:]...)
	dst = append(dst, p.Writer[:]...)
	for _, h := range []*verifier.Hash{&p.Head, &p.Journal, &p.Log, &p.Paid, &p.Record} {
		dst = append(dst, h[:]...)
	}
	return dst
}

// Hash is the SHA-256 of those bytes.
func (p *Position) Hash(agent verifier.PublicKey) verifier.Hash {
	return sha256.Sum256(p.Append(make([]byte, 0, PositionSize), agent))
}

// ParsePosition reads the canonical bytes of a position.
func ParsePosition(b []byte) (agent verifier.PublicKey, p Position, err error) {
	switch {
	case !bytes.HasPrefix(b, []byte(positionContext)):
		return agent, p, errors.New("not a position of version 1")
	case len(b) != PositionSize:
		return agent, p, fmt.Errorf("a position of %d bytes, and it has %d", len(b), PositionSize)
	}
	b = b[len(positionContext):]
	take := func(dst []byte) { b = b[copy(dst, b):] }
	number := func() uint64 { n := le.Uint64(b); b = b[8:]; return n }
	take(agent[:])
	p.Sequence = number()
	p.State = State(b[0])
	b = b[1:]
	p.Major, p.Generation = number(), number()
	take(p.Owner[:])
	take(p.Writer[:])
	for _, h := range []*verifier.Hash{&p.Head, &p.Journal, &p.Log, &p.Paid, &p.Record} {
		take(h[:])
	}
	return agent, p, p.check()
}

// check refuses what is no position whatever came before.
func (p *Position) check() error {
	switch {
	case p.Sequence == 0:
		return errors.New("a position without a sequence number")
	case p.State < Active || p.State > Recovery:
		return fmt.Errorf("a position in the unknown state %d", p.State)
	case p.Head.IsZero() || p.Journal.IsZero() || p.Log.IsZero():
		return errors.New("a position without a checkpoint, a journal or an event log")
	case p.Owner == verifier.PublicKey{} || p.Writer == WriterID{}:
		return errors.New("a position without an owner or a writer")
	case (p.State == HandingOver || p.State == Retired) && p.Record.IsZero():
		return fmt.Errorf("a position that is %s, without a record of that", p.State)
	}
	return nil
}

// ChainPaid returns the Paid of a position after one more payment receipt.
func ChainPaid(before verifier.Hash, receipt []byte) verifier.Hash {
	h := sha256.New()
	h.Write(before[:])
	h.Write(receipt)
	return verifier.Hash(h.Sum(nil))
}
