package authority

import (
	"bytes"
	"cmp"
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"
)

// Seen is what a node remembers of an agent, so that a store that lost data does not go
// unnoticed.
type Seen struct {
	Newest Entry // that the node appended, or took; without terms and record
	Found  Entry // that it went on from when it began; a zero position = it was the first
}

const seenContext = "igor/seen/v1\x00"

// MaxSeen is how many bytes it has at most.
const MaxSeen = len(seenContext) + 2*(PositionSize+ed25519.SignatureSize) + 1

// Append appends its bytes. What is kept after them is of no account.
func (s *Seen) Append(dst []byte) []byte {
	dst = append(dst, seenContext...)
	dst = append(s.Newest.Position.Append(dst, s.Newest.Agent), s.Newest.Signature[:]...)
	if s.Found.Position.IsZero() {
		return append(dst, 0)
	}
	dst = append(dst, 1)
	return append(s.Found.Position.Append(dst, s.Found.Agent), s.Found.Signature[:]...)
}

// ParseSeen reads it, and verifies the agent's signatures.
func ParseSeen(b []byte) (s Seen, err error) {
	const signed = PositionSize + ed25519.SignatureSize
	if !bytes.HasPrefix(b, []byte(seenContext)) || len(b) < len(seenContext)+signed+1 || len(b) > MaxSeen {
		return s, errors.New("not what a node remembers, of version 1")
	}
	b = b[len(seenContext):]
	read := func(e *Entry) (err error) {
		if e.Agent, e.Position, err = ParsePosition(b[:PositionSize]); err == nil {
			copy(e.Signature[:], b[PositionSize:signed])
			err = e.Check()
		}
		return err
	}
	if err := read(&s.Newest); err != nil {
		return Seen{}, err
	}
	b = b[signed:]
	switch {
	case b[0] == 0 && len(b) == 1:
		return s, nil
	case b[0] != 1 || len(b) != 1+signed:
		return Seen{}, errors.New("it is cut short")
	}
	b = b[1:]
	if err := read(&s.Found); err != nil {
		return Seen{}, err
	}
	if s.Found.Agent != s.Newest.Agent || s.Found.Position.Sequence > s.Newest.Position.Sequence {
		return Seen{}, errors.New("what was found does not come before what came of it")
	}
	return s, nil
}

// Check says whether a store that has a position lost data: this node knows better.
func (s *Seen) Check(have Position) error {
	newest := &s.Newest.Position
	if newest.IsZero() || have.Sequence > newest.Sequence || have == *newest {
		return nil
	}
	return &LostError{Have: have, Seen: *newest}
}

// A LostError says that a store lost data.
type LostError struct{ Have, Seen Position }

func (e *LostError) Error() string {
	switch {
	case e.Have.IsZero():
		return fmt.Sprintf("the agent's home does not know it any more, and this node knows append %d: the home lost data", e.Seen.Sequence)
	case e.Have.Sequence == e.Seen.Sequence:
		return fmt.Sprintf("the agent's home has another append %d than this node: it lost data, and somebody went on without", e.Seen.Sequence)
	}
	return fmt.Sprintf("the agent's home has append %d, and this node knows append %d: the home lost data", e.Have.Sequence, e.Seen.Sequence)
}

// A Candidate is a position that may be the newest one of an agent, and who knows it.
type Candidate struct {
	Entry
	Nodes []string // as they are called
}

// TheStore is what the store itself is called among those that know a position. What it
// went on from nobody knows.
const TheStore = "the store"

// Newest returns the newest of what nodes remember of one agent, or, if they contradict
// each other, all that it might be: an operator has to say which counts. Nodes contradict
// each other if two positions have one number, or if one of them went on from an older one
// than another knows, which it would have found.
func Newest(seen map[string]Seen) (one *Candidate, all []Candidate) {
	byPosition := map[Position]int{}
	for node, s := range seen {
		i, ok := byPosition[s.Newest.Position]
		if !ok {
			i = len(all)
			byPosition[s.Newest.Position] = i
			all = append(all, Candidate{Entry: s.Newest})
		}
		all[i].Nodes = append(all[i].Nodes, node)
	}
	sortCandidates(all)
	if len(all) == 0 {
		return nil, nil
	}
	newest := &all[len(all)-1]
	for _, s := range seen {
		p := &s.Newest.Position
		if p.Sequence == newest.Position.Sequence && *p != newest.Position {
			return nil, all
		}
		// Who lives it now went on from found. What another one knows came before that, or
		// is the same.
		for name, other := range seen {
			if name == TheStore {
				continue
			}
			found := &other.Found.Position
			if *p == other.Newest.Position || p.Sequence >= other.Newest.Position.Sequence {
				continue
			}
			if p.Writer == other.Newest.Position.Writer {
				continue // the same process, later
			}
			if found.Sequence < p.Sequence || found.Sequence == p.Sequence && *found != *p {
				return nil, all
			}
			// Counts only grow.
			if p.Major > other.Newest.Position.Major || p.Generation > other.Newest.Position.Generation {
				return nil, all
			}
		}
	}
	// Where the store is older than what its newest owner found, nobody can say whether that
	// is what was, or whether somebody went on from there without knowing better.
	if s, ok := seen[TheStore]; ok && s.Newest.Position != newest.Position && s.Newest.Position.Writer != newest.Position.Writer {
		known := false
		for name, other := range seen {
			known = known || name != TheStore && other.Newest.Position == newest.Position && other.Found.Position == s.Newest.Position
		}
		if !known {
			return nil, all
		}
	}
	return newest, all
}

func sortCandidates(all []Candidate) {
	slices.SortFunc(all, func(a, b Candidate) int {
		if c := cmp.Compare(a.Position.Sequence, b.Position.Sequence); c != 0 {
			return c
		}
		return bytes.Compare(a.Position.Append(nil, a.Agent), b.Position.Append(nil, b.Agent))
	})
	for _, c := range all {
		slices.Sort(c.Nodes)
	}
}
