package witness

import (
	"bytes"
	"errors"
	"slices"
	"strconv"

	"igor.dev/verifier"
	"igor.dev/verifier/internal/le"
)

const forkTag = "igor/fork-proof/v1\x00"

// MaxForkProof is how many bytes a fork proof has at most: room for two of the largest
// checkpoints.
const MaxForkProof = 2*verifier.MaxCheckpointSize + 1<<20

// A ForkKind says what a fork proof is made of.
type ForkKind byte

// The kinds.
const (
	TwoHeads       ForkKind = 1 // two statements of one tick, with two checkpoints
	TwoCheckpoints ForkKind = 2 // two checkpoints with one predecessor
	HeadOffChain   ForkKind = 3 // two statements, and the way back from the later one, which does not pass the earlier
)

// String returns the kind as it stands in a report.
func (k ForkKind) String() string {
	switch k {
	case TwoHeads:
		return "two-heads"
	case TwoCheckpoints:
		return "two-checkpoints"
	case HeadOffChain:
		return "head-off-chain"
	}
	return ""
}

// A Logged is a head statement, and a proof that it is in a log if there is one.
type Logged struct {
	Head  Head
	Proof []byte // c2sp.org/tlog-proof
}

// A ForkProof shows that a key signed what no single life has. It is valid without a log.
type ForkProof struct {
	Kind        ForkKind
	Heads       []Logged // two, or none; of HeadOffChain, the earlier one first
	Checkpoints [][]byte // whole ones; of HeadOffChain, from the later statement's back
}

// A Fork is what a fork proof proves.
type Fork struct {
	Kind      ForkKind
	Agent     verifier.PublicKey
	Sides     [2]ForkSide
	Witnessed [2]*Witnessed // of the statements, where a policy has it so
}

// A ForkSide is one of the two that no single life has.
type ForkSide struct {
	Checkpoint  verifier.Hash
	Epoch, Tick uint64
	Log         string // whose proof lies with the statement, "" = none; claimed, unless it is witnessed
}

// NewForkProof makes a proof of two statements, in whichever order, of the checkpoints on
// the way back from the later one if they are of different ticks.
func NewForkProof(a, b Logged, back ...[]byte) *ForkProof {
	if a.Head.Tick == b.Head.Tick {
		if bytes.Compare(a.Head.Append(nil), b.Head.Append(nil)) > 0 {
			a, b = b, a
		}
		return &ForkProof{Kind: TwoHeads, Heads: []Logged{a, b}}
	}
	if a.Head.Tick > b.Head.Tick {
		a, b = b, a
	}
	return &ForkProof{Kind: HeadOffChain, Heads: []Logged{a, b}, Checkpoints: back}
}

// NewCheckpointsProof makes a proof of two checkpoints with one predecessor.
func NewCheckpointsProof(a, b []byte) *ForkProof {
	x, y := verifier.Examine(a), verifier.Examine(b)
	if bytes.Compare(x.ContentHash[:], y.ContentHash[:]) > 0 {
		a, b = b, a
	}
	return &ForkProof{Kind: TwoCheckpoints, Checkpoints: [][]byte{a, b}}
}

// Append appends the proof's bytes.
func (p *ForkProof) Append(dst []byte) []byte {
	dst = append(append(dst, forkTag...), byte(p.Kind))
	for i := range p.Heads {
		dst = p.Heads[i].Head.Append(dst)
		dst = le.AppendUint32(dst, uint32(len(p.Heads[i].Proof)))
		dst = append(dst, p.Heads[i].Proof...)
	}
	for _, c := range p.Checkpoints {
		dst = le.AppendUint32(dst, uint32(len(c)))
		dst = append(dst, c...)
	}
	return dst
}

// ParseForkProof reads a fork proof. What it says is unverified: see [ForkProof.Check]. It
// keeps b.
func ParseForkProof(b []byte) (*ForkProof, error) {
	if len(b) > MaxForkProof {
		return nil, errors.New("longer than a fork proof is")
	}
	if len(b) <= len(forkTag) || string(b[:len(forkTag)]) != forkTag {
		return nil, errors.New("not a fork proof of version 1")
	}
	p := &ForkProof{Kind: ForkKind(b[len(forkTag)])}
	b = b[len(forkTag)+1:]
	cut := errors.New("a fork proof that is cut short")
	piece := func(most int) ([]byte, error) {
		if len(b) < 4 {
			return nil, cut
		}
		n := le.Uint32(b)
		if uint64(n) > uint64(len(b)-4) {
			return nil, cut
		}
		if uint64(n) > uint64(most) {
			return nil, errors.New("a fork proof with a piece that is too long")
		}
		got := b[4 : 4+n : 4+n]
		b = b[4+n:]
		return got, nil
	}
	switch p.Kind {
	case TwoHeads, HeadOffChain:
		for range 2 {
			if len(b) < HeadSize {
				return nil, cut
			}
			h, err := ParseHead(b[:HeadSize])
			if err != nil {
				return nil, err
			}
			b = b[HeadSize:]
			proof, err := piece(MaxProof)
			if err != nil {
				return nil, err
			}
			p.Heads = append(p.Heads, Logged{*h, proof})
		}
	case TwoCheckpoints:
	default:
		return nil, errors.New("a fork proof of a kind that is not known: " + strconv.Itoa(int(p.Kind)))
	}
	for len(b) > 0 {
		c, err := piece(verifier.MaxCheckpointSize)
		if err != nil {
			return nil, err
		}
		p.Checkpoints = append(p.Checkpoints, c)
	}
	switch n := len(p.Checkpoints); {
	case p.Kind == TwoHeads && n != 0, p.Kind == TwoCheckpoints && n != 2, p.Kind == HeadOffChain && n == 0:
		return nil, errors.New("a fork proof with " + strconv.Itoa(n) + " checkpoints, which its kind does not have")
	}
	return p, nil
}

// Check says what a proof proves; an error says why it proves nothing. The proofs that its
// statements are in a log are held against the policy, if one is given; they need not meet it.
// Without a policy it is only seen that they are of these statements.
func (p *ForkProof) Check(policy *Policy) (*Fork, error) {
	f := &Fork{Kind: p.Kind}
	for i := range p.Heads {
		h := &p.Heads[i].Head
		if h.Agent != p.Heads[0].Head.Agent {
			return nil, errors.New("its two statements are by different keys")
		}
		if !h.Authentic() {
			return nil, errors.New("its statement " + strconv.Itoa(i+1) + " is not signed by the key that it names")
		}
		f.Agent = h.Agent
		f.Sides[i] = ForkSide{Checkpoint: h.Checkpoint, Epoch: h.Epoch, Tick: h.Tick}
		if len(p.Heads[i].Proof) == 0 {
			continue
		}
		proof, err := ParseProof(p.Heads[i].Proof)
		if err == nil && !proof.includes(h.Append(nil)) {
			err = errors.New("it is not of that statement")
		}
		if err == nil && proof.Extra != nil {
			err = errors.New("it has extra data")
		}
		if err != nil {
			return nil, errors.New("the proof that its statement " + strconv.Itoa(i+1) + " was logged: " + err.Error())
		}
		f.Sides[i].Log = proof.Origin
		if policy != nil {
			f.Witnessed[i], _ = policy.Check(h.Append(nil), proof)
		}
	}
	switch p.Kind {
	case TwoHeads:
		return f, p.twoHeads()
	case TwoCheckpoints:
		return f, p.twoCheckpoints(f)
	case HeadOffChain:
		return f, p.offChain()
	}
	return nil, errors.New("it is of a kind that is not known")
}

func (p *ForkProof) twoHeads() error {
	a, b := &p.Heads[0].Head, &p.Heads[1].Head
	switch {
	case a.Tick != b.Tick:
		return errors.New("its two statements are of different ticks")
	case a.Checkpoint == b.Checkpoint:
		return errors.New("its two statements are of one checkpoint")
	case bytes.Compare(a.Append(nil), b.Append(nil)) > 0:
		return errors.New("its statements are in the wrong order")
	}
	return nil
}

func (p *ForkProof) twoCheckpoints(f *Fork) error {
	var x verifier.Examiner
	found := x.AppendFindings(nil, p.Checkpoints...)
	for i := range found {
		c := &found[i]
		if !c.Authentic() {
			return errors.New("its checkpoint " + strconv.Itoa(i+1) + " has no valid signature")
		}
		f.Sides[i] = ForkSide{Checkpoint: c.ContentHash, Tick: c.TickNumber}
	}
	a, b := &found[0], &found[1]
	f.Agent = a.AgentPubKey
	switch order := slices.Compare(a.ContentHash[:], b.ContentHash[:]); {
	case a.AgentPubKey != b.AgentPubKey:
		return errors.New("its two checkpoints are by different keys")
	case order == 0:
		return errors.New("its two checkpoints are one")
	case a.PrevHash != b.PrevHash:
		return errors.New("its two checkpoints have different predecessors")
	case order > 0:
		return errors.New("its checkpoints are in the wrong order")
	}
	return nil
}

func (p *ForkProof) offChain() error {
	earlier, later := &p.Heads[0].Head, &p.Heads[1].Head
	if earlier.Tick >= later.Tick {
		return errors.New("its earlier statement is not of an earlier tick")
	}
	var x verifier.Examiner
	want := later.Checkpoint
	for i, b := range p.Checkpoints {
		c := x.Examine(b)
		at := "its checkpoint " + strconv.Itoa(i+1)
		below := c.TickNumber < earlier.Tick
		last := i == len(p.Checkpoints)-1
		switch {
		case c.ContentHash != want && i == 0:
			return errors.New("its first checkpoint is not that of the later statement")
		case c.ContentHash != want:
			return errors.New(at + " is not the one before")
		case !c.Authentic() || c.AgentPubKey != later.Agent:
			return errors.New(at + " is not signed by the key of the statements")
		case c.ContentHash == earlier.Checkpoint:
			return errors.New("the earlier statement's checkpoint is on the way: that is one life")
		case i == 0 && below:
			return errors.New("its first checkpoint is of an earlier tick than the earlier statement")
		case last != (below || c.PrevHash.IsZero()):
			if last {
				return errors.New("the way back ends too early: it has to go to below tick " + strconv.FormatUint(earlier.Tick, 10) + ", or to a genesis")
			}
			return errors.New("the way back goes on after its end")
		}
		want = c.PrevHash
	}
	return nil
}

// Proves says in one sentence what it proves.
func (f *Fork) Proves() string {
	s := "The holder of the key of " + f.Agent.DID() + " signed "
	a, b := &f.Sides[0], &f.Sides[1]
	switch f.Kind {
	case TwoHeads:
		s += "that after tick " + strconv.FormatUint(a.Tick, 10) + " it is at " + a.Checkpoint.CID() + ", and that it is at " + b.Checkpoint.CID()
	case TwoCheckpoints:
		s += "two checkpoints that go on from the same one, " + a.Checkpoint.CID() + " and " + b.Checkpoint.CID()
	case HeadOffChain:
		s += "that after tick " + strconv.FormatUint(a.Tick, 10) + " it is at " + a.Checkpoint.CID() + ", and a later life to " + b.Checkpoint.CID() + " that never was there"
	}
	return s + ": no single life has both."
}

// DoesNotProve says in one sentence what it does not prove.
func (f *Fork) DoesNotProve() string {
	return "It does not prove which of the two is the one to believe, who signed it (a stolen key signs as well), or when, unless witnesses of a policy saw it."
}
