package authority

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"iter"

	"igor.dev/verifier"
)

// A Kind says what a blob is.
type Kind uint8

// The kinds. Of the last four a position names one each, the rest is named by them.
const (
	Program    Kind = iota + 1 // by its SHA-256
	Manifest                   // likewise
	Payload                    // of the event log; likewise
	Checkpoint                 // by Position.Head; without its signature
	Log                        // by Position.Log; a part of a segment
	Journal                    // by Position.Journal; records of a journal, without signatures
	Paid                       // by Position.Paid; payment receipts, without signatures
)

var kindNames = [...]string{Program: "program", Manifest: "manifest", Payload: "payload", Checkpoint: "checkpoint", Log: "log", Journal: "journal", Paid: "paid"}

// String returns the kind in a word.
func (k Kind) String() string {
	if k < Program || k > Paid {
		return fmt.Sprintf("kind %d", uint8(k))
	}
	return kindNames[k]
}

// A Name names a blob.
type Name struct {
	Kind Kind
	Hash verifier.Hash
}

const nameSize = 1 + 32

// String returns the name as replicas write it, such as log-0123…
func (n Name) String() string { return n.Kind.String() + "-" + n.Hash.String() }

// A Blob is a piece of what a position names. It carries no signature of the agent of
// anything that was not appended before: what an append that lost named is worth nothing. A successor has the key, signs
// again, and has to come to the same hashes.
type Blob struct {
	Name
	Before verifier.Hash // the blob of this kind that it continues, zero = none
	Needs  []Name        // that a successor needs with it
	Data   []byte
}

const blobContext = "igor/blob/v1\x00"

// Limits of a blob.
const (
	MaxNeeds = 1 << 16
	MaxData  = 96 << 20 // a checkpoint with all that may be
)

// Limits of what a position names, with all that a successor needs. Who has it says himself
// what a piece of a log continues; so he could go on for ever.
const (
	MaxChain = 1 << 16 // blobs that continue, or need, each other
	MaxBlobs = 1 << 20
	MaxTotal = 2 << 30 // bytes of data, and of names that are needed
)

// These are the limits of one gathering. A test has smaller ones.
type limits struct {
	chain, blobs int
	total        int64
}

const blobHeader = len(blobContext) + 1 + 32 + 32 + 4

// Append appends the blob's bytes.
func (b *Blob) Append(dst []byte) []byte {
	dst = append(dst, blobContext...)
	dst = append(dst, byte(b.Kind))
	dst = append(dst, b.Hash[:]...)
	dst = append(dst, b.Before[:]...)
	dst = le.AppendUint32(dst, uint32(len(b.Needs)))
	for _, n := range b.Needs {
		dst = append(dst, byte(n.Kind))
		dst = append(dst, n.Hash[:]...)
	}
	return append(dst, b.Data...)
}

// ParseBlob reads a blob. Its Data aliases raw.
func ParseBlob(raw []byte) (b Blob, err error) {
	if len(raw) < blobHeader || !bytes.HasPrefix(raw, []byte(blobContext)) {
		return b, errors.New("not a blob of version 1")
	}
	rest := raw[len(blobContext):]
	b.Kind = Kind(rest[0])
	copy(b.Hash[:], rest[1:])
	copy(b.Before[:], rest[33:])
	count := le.Uint32(rest[65:])
	rest = rest[69:]
	if count > MaxNeeds || len(rest) < nameSize*int(count) {
		return b, errors.New("a blob that is cut short, or names too many others")
	}
	for range count {
		n := Name{Kind: Kind(rest[0])}
		copy(n.Hash[:], rest[1:])
		b.Needs = append(b.Needs, n)
		rest = rest[nameSize:]
	}
	b.Data = rest
	return b, b.check()
}

func (b *Blob) check() error {
	names := append([]Name{b.Name}, b.Needs...)
	for _, n := range names {
		if n.Kind < Program || n.Kind > Paid || n.Hash.IsZero() {
			return errors.New("a blob with a name that is none")
		}
	}
	switch {
	case len(b.Needs) > MaxNeeds || len(b.Data) > MaxData:
		return errors.New("a blob that is too large")
	case b.Kind <= Payload && (!b.Before.IsZero() || sha256.Sum256(b.Data) != b.Hash):
		return fmt.Errorf("a %s that does not have the content of its name", b.Kind)
	case b.Kind == Checkpoint && !b.Before.IsZero(), b.Before == b.Hash:
		return errors.New("a blob that continues what it cannot")
	}
	return nil
}

// A Replica keeps what positions name. It is safe for concurrent use.
type Replica interface {
	// Put keeps blobs for the append of a sequence number, durably when it returns. What
	// it has it takes again.
	Put(ctx context.Context, agent verifier.PublicKey, sequence uint64, blobs ...Blob) error

	// Get returns a blob that the agent's position names, or that one of those needs. Its
	// error is [ErrNotNamed] if the position does not, or [ErrMissing] if it is not there.
	Get(ctx context.Context, agent verifier.PublicKey, of Position, name Name) (Blob, error)

	// Accept says that a position was appended. Blobs that were put for it or before, and
	// that it does not name, are dropped.
	Accept(ctx context.Context, agent verifier.PublicKey, p Position) error
}

var (
	// ErrNotNamed says that an accepted position does not name what was asked for.
	ErrNotNamed = errors.New("the agent's position does not name it")

	// ErrMissing says that a blob is not there.
	ErrMissing = errors.New("the blob is missing")
)

// Names returns what a position names itself.
func (p *Position) Names() []Name {
	names := []Name{{Checkpoint, p.Head}, {Log, p.Log}, {Journal, p.Journal}}
	if !p.Paid.IsZero() {
		names = append(names, Name{Paid, p.Paid})
	}
	return names
}

// Walk calls each with all blobs that a successor needs, as get has them: those that the
// position names, those that they continue, and those that they need. Each is there once.
func (p *Position) Walk(get func(Name) (Blob, error), each func(*Blob) error) error {
	return p.walk(limits{blobs: MaxBlobs}, get, each)
}

func (p *Position) walk(most limits, get func(Name) (Blob, error), each func(*Blob) error) error {
	var todo []Name
	seen := map[Name]bool{}
	add := func(name Name) {
		if !seen[name] {
			seen[name], todo = true, append(todo, name)
		}
	}
	for _, name := range p.Names() {
		add(name)
	}
	for len(todo) > 0 {
		name := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		b, err := get(name)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if b.Name != name {
			return fmt.Errorf("%s: it is %s", name, b.Name)
		}
		if err := each(&b); err != nil {
			return err
		}
		if !b.Before.IsZero() {
			add(Name{b.Kind, b.Before})
		}
		for _, n := range b.Needs {
			add(n)
		}
		if len(seen) > most.blobs {
			return errTooMany
		}
	}
	return nil
}

// Gather returns what [Position.Walk] walks, where there may be several blobs of one name
// that continue different ones: a process that goes on with an agent puts whole what the one
// before it put in pieces, and none of the replicas need have all of both. Of each name it
// takes the first version of which all else is there, too.
func (p *Position) Gather(versions func(Name) iter.Seq2[Blob, error]) (map[Name]Blob, error) {
	return p.gather(limits{MaxChain, MaxBlobs, MaxTotal}, versions)
}

func (p *Position) gather(most limits, versions func(Name) iter.Seq2[Blob, error]) (map[Name]Blob, error) {
	g := gathering{limits: most, versions: versions, taken: map[Name]Blob{}, known: map[Name]error{}, circles: map[Name]bool{}}
	for _, name := range p.Names() {
		if err := g.whole(name); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	// Of what is whole some may be needed by nothing that was taken.
	all := map[Name]Blob{}
	err := p.walk(most, func(n Name) (Blob, error) { return g.taken[n], nil }, func(b *Blob) error { all[b.Name] = *b; return nil })
	return all, err
}

type gathering struct {
	limits
	versions func(Name) iter.Seq2[Blob, error]
	taken    map[Name]Blob
	known    map[Name]error // why it is not whole; nil = it is
	circles  map[Name]bool  // that are not, and lead to what was not known yet
	depth    int
	asked    int   // how many blobs were asked for
	bytes    int64 // that came
}

var (
	errCircle  = errors.New("a blob that continues, or needs, itself")
	errTooMany = errors.New("more than a position may name")
)

// whole takes a version of a blob of which all is there, or says why there is none.
func (g *gathering) whole(name Name) error {
	if err, ok := g.known[name]; ok {
		return err
	}
	if g.depth == g.chain || g.asked == g.blobs {
		return errTooMany
	}
	g.depth++
	g.asked++
	defer func() { g.depth-- }()
	g.known[name] = errCircle // until it is known
	why, circle := ErrMissing, false
	need := func(n Name) error {
		err := g.whole(n)
		circle = circle || err == errCircle || g.circles[n]
		return err
	}
	for b, err := range g.versions(name) {
		if err == nil && b.Name != name {
			err = fmt.Errorf("it is %s", b.Name)
		}
		g.bytes += int64(len(b.Data) + nameSize*len(b.Needs))
		if err == nil && g.bytes > g.total {
			err = errTooMany
		}
		if err == nil && !b.Before.IsZero() {
			err = need(Name{b.Kind, b.Before})
		}
		for i := 0; i < len(b.Needs) && err == nil; i++ {
			err = need(b.Needs[i])
		}
		if why = err; err == nil {
			g.taken[name] = b
			break
		}
		if err == errTooMany {
			return err // somebody made it up, and whoever is asked first has to be another one
		}
	}
	switch {
	case why == nil:
		// What led to it is looked at again, if it is needed: it may be whole after all.
		for n := range g.circles {
			delete(g.known, n)
		}
		clear(g.circles)
	case circle:
		g.circles[name] = true
	}
	g.known[name] = why
	return why
}
