package witness

import (
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
	Kind  ForkKind
	Agent verifier.PublicKey
	Sides [2]ForkSide
}

// A ForkSide is one of the two that no single life has.
type ForkSide struct {
	_           incomparable
	Checkpoint  verifier.Hash
	Epoch, Tick uint64
	Log         string              // whose proof lies with the statement, "" = none; claimed, unless it is witnessed
	Witnessed   *verifier.Witnessed // what the policy makes of that proof, nil = nothing
}

// NewForkProof makes a proof of two statements, in whichever order, of the checkpoints on
// the way back from the later one if they are of different ticks.
func NewForkProof(a, b Logged, back ...[]byte) *ForkProof {
	if a.Head.Tick == b.Head.Tick {
		if !inOrder(a.Head.Append(nil), b.Head.Append(nil)) {
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
	if !inOrder(x.ContentHash[:], y.ContentHash[:]) {
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
		return nil, problem("longer than a fork proof is")
	}
	if len(b) <= len(forkTag) || string(b[:len(forkTag)]) != forkTag {
		return nil, problem("not a fork proof of version 1")
	}
	p := &ForkProof{Kind: ForkKind(b[len(forkTag)])}
	b = b[len(forkTag)+1:]
	statements, least, most := 0, 0, 0 // checkpoints
	switch p.Kind {
	case TwoHeads:
		statements = 2
	case TwoCheckpoints:
		least, most = 2, 2
	case HeadOffChain:
		statements, least, most = 2, 1, MaxForkProof
	default:
		return nil, problem("a fork proof of a kind that is not known: " + strconv.Itoa(int(p.Kind)))
	}
	p.Heads = make([]Logged, statements)
	for i := range p.Heads {
		h, err := ParseHead(b[:min(HeadSize, len(b))])
		if err != nil {
			return nil, err
		}
		l := &p.Heads[i]
		l.Head = *h
		if l.Proof, b, err = piece(b[HeadSize:], MaxProof); err != nil {
			return nil, err
		}
	}
	for len(b) > 0 {
		var c []byte
		var err error
		if c, b, err = piece(b, verifier.MaxCheckpointSize); err != nil {
			return nil, err
		}
		p.Checkpoints = append(p.Checkpoints, c)
	}
	if n := len(p.Checkpoints); n < least || n > most {
		return nil, problem("a fork proof with " + strconv.Itoa(n) + " checkpoints, which its kind does not have")
	}
	return p, nil
}

// piece takes a piece, its size before it, from what is left.
func piece(b []byte, most int) (piece, rest []byte, err error) {
	if len(b) < 4 || uint64(le.Uint32(b)) > uint64(len(b)-4) {
		return nil, nil, problem("a fork proof that is cut short")
	}
	n := int(le.Uint32(b))
	if n > most {
		return nil, nil, problem("a fork proof with a piece that is too long")
	}
	return b[4 : 4+n], b[4+n:], nil
}

// Check says what a proof proves; an error says why it proves nothing. The proofs that its
// statements are in a log are held against the policy, if one is given; they need not meet it.
// Without a policy it is only seen that they are of these statements.
func (p *ForkProof) Check(policy *Policy) (*Fork, error) {
	f := &Fork{Kind: p.Kind}
	for i := range p.Heads {
		if why := f.logged(i, &p.Heads[i], policy); why != "" {
			return nil, problem(why)
		}
	}
	var why string
	switch p.Kind {
	case TwoHeads:
		why = p.twoHeads()
	case TwoCheckpoints:
		why = p.twoCheckpoints(f)
	case HeadOffChain:
		why = p.offChain()
	default:
		why = "it is of a kind that is not known"
	}
	if why != "" {
		return nil, problem(why)
	}
	return f, nil
}

// logged notes a statement, or says what is wrong with it.
func (f *Fork) logged(i int, l *Logged, policy *Policy) (why string) {
	h := &l.Head
	if i > 0 && h.Agent != f.Agent {
		return "its two statements are by different keys"
	}
	f.Agent = h.Agent
	at := "its statement " + strconv.Itoa(i+1)
	if !h.Authentic() {
		return at + " is not signed by the key that it names"
	}
	s := &f.Sides[i]
	s.Checkpoint, s.Epoch, s.Tick = h.Checkpoint, h.Epoch, h.Tick
	if len(l.Proof) == 0 {
		return ""
	}
	proof, err := ParseProof(l.Proof)
	entry := h.Append(nil)
	switch {
	case err != nil:
		why = err.Error()
	case !proof.includes(entry):
		why = "it is not of that statement"
	case proof.Extra != nil:
		why = "it has extra data"
	default:
		s.Log = proof.origin
		if policy != nil {
			s.Witnessed, _ = policy.Check(entry, proof)
		}
		return ""
	}
	return "the proof that " + at + " was logged: " + why
}

func (p *ForkProof) twoHeads() (why string) {
	a, b := &p.Heads[0].Head, &p.Heads[1].Head
	switch {
	case a.Tick != b.Tick:
		return "its two statements are of different ticks"
	case a.Checkpoint == b.Checkpoint:
		return "its two statements are of one checkpoint"
	case !inOrder(a.Append(nil), b.Append(nil)):
		return "its statements are in the wrong order"
	}
	return ""
}

// inOrder reports whether the first comes first, or they are the same.
func inOrder(a, b []byte) bool { return string(a) <= string(b) }

func (p *ForkProof) twoCheckpoints(f *Fork) (why string) {
	var x verifier.Examiner
	found := x.AppendFindings(nil, p.Checkpoints...)
	for i := range found {
		c := &found[i]
		if !c.Authentic() {
			return "its checkpoint " + strconv.Itoa(i+1) + " has no valid signature"
		}
		f.Sides[i].Checkpoint, f.Sides[i].Tick = c.ContentHash, c.TickNumber
	}
	a, b := &found[0], &found[1]
	f.Agent = a.AgentPubKey
	switch {
	case a.AgentPubKey != b.AgentPubKey:
		return "its two checkpoints are by different keys"
	case a.ContentHash == b.ContentHash:
		return "its two checkpoints are one"
	case a.PrevHash != b.PrevHash:
		return "its two checkpoints have different predecessors"
	case !inOrder(a.ContentHash[:], b.ContentHash[:]):
		return "its checkpoints are in the wrong order"
	}
	return ""
}

func (p *ForkProof) offChain() (why string) {
	earlier, later := &p.Heads[0].Head, &p.Heads[1].Head
	if earlier.Tick >= later.Tick {
		return "its earlier statement is not of an earlier tick"
	}
	var x verifier.Examiner
	want := later.Checkpoint
	for i, b := range p.Checkpoints {
		c := x.Examine(b)
		at := "its checkpoint " + strconv.Itoa(i+1)
		below := c.TickNumber < earlier.Tick
		last := i == len(p.Checkpoints)-1
		ends := below || c.PrevHash.IsZero()
		switch {
		case c.ContentHash != want && i == 0:
			return "its first checkpoint is not that of the later statement"
		case c.ContentHash != want:
			return at + " is not the one before"
		case !c.Authentic() || c.AgentPubKey != later.Agent:
			return at + " is not signed by the key of the statements"
		case c.ContentHash == earlier.Checkpoint:
			return "the earlier statement's checkpoint is on the way: that is one life"
		case i == 0 && below:
			return "its first checkpoint is of an earlier tick than the earlier statement"
		case last && !ends:
			return "the way back ends too early: it has to go to below tick " + decimal(earlier.Tick) + ", or to a genesis"
		case ends && !last:
			return "the way back goes on after its end"
		}
		want = c.PrevHash
	}
	return ""
}

// Proves says in one sentence what it proves.
func (f *Fork) Proves() string {
	a, b := &f.Sides[0], &f.Sides[1]
	head, and := "that after tick "+decimal(a.Tick)+" it is at ", ", and that it is at "
	switch f.Kind {
	case TwoCheckpoints:
		head, and = "two checkpoints that go on from the same one, ", " and "
	case HeadOffChain:
		and = ", and a later life to "
	}
	s := "The holder of the key of " + f.Agent.DID() + " signed " + head + a.Checkpoint.CID() + and + b.Checkpoint.CID()
	if f.Kind == HeadOffChain {
		s += " that never was there"
	}
	return s + ": no single life has both."
}

// DoesNotProve says in one sentence what it does not prove.
func (f *Fork) DoesNotProve() string {
	return "It does not prove which of the two is the one to believe, who signed it (a stolen key signs as well), or when, unless witnesses of a policy saw it."
}
