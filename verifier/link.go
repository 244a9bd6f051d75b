package verifier

import (
	"cmp"
	"slices"
)

// Pins is what the caller knows of the history beforehand. Without pins a
// verdict speaks of whoever's history it is, up to wherever it was cut.
type Pins struct {
	DID  *PublicKey // the identity expected
	Head *Hash      // a checkpoint that has to be among those supplied
}

// ParsePins reads pins in text form; an empty string pins nothing.
func ParsePins(did, head string) (Pins, error) {
	var pins Pins
	if did != "" {
		k, err := ParseDID(did)
		if err != nil {
			return Pins{}, err
		}
		pins.DID = &k
	}
	if head != "" {
		h, err := ParseCID(head)
		if err != nil {
			return Pins{}, err
		}
		pins.Head = &h
	}
	return pins, nil
}

// problem is a found problem, in a size that allows one for every checkpoint.
type problem struct {
	code  Code
	at    uint32 // the record that it is found at, or none
	other uint32 // the record that it is found against, or none
}

const none = ^uint32(0)

// linker holds the working state of Link. Its arrays are by record number.
type linker struct {
	*Report
	rank  []uint32 // position in order
	child []uint32 // the first authentic successor, or none

	geneses int // authentic ones
}

// Link links the findings on the pile and reports. It is a function of the set
// of findings and names on it, not of their order.
// The rules are those of docs/spec/lineage.md, "Link", by number.
func Link(p *Pile, pins Pins) *Report { return LinkAs(SpecVersion, p, pins) }

// LinkAs links as an earlier version of the spec has it, of which 1 is the only one,
// and reports in its format. The verdict is that of Link.
func LinkAs(spec int, p *Pile, pins Pins) *Report {
	if spec != 1 {
		spec = SpecVersion
	}
	l := linker{
		Report: &Report{spec: spec, pile: p, pins: pins, genesis: none, head: none, keyAt: none},
		rank:   make([]uint32, p.n),
		child:  make([]uint32, p.n),
	}
	l.sort()
	l.count()
	l.findKey()
	l.examination()
	l.identity()
	claimedGenesis, orphans := l.edges()
	l.missing(claimedGenesis, orphans)
	l.ends()
	found := l.problems
	l.problems = make([]problem, 0, len(found))
	for _, i := range sorted(len(found), func(i, j uint32) int {
		a, b := found[i], found[j]
		return cmp.Or(cmp.Compare(phase(a.code), phase(b.code)), cmp.Compare(l.rankOf(a.at), l.rankOf(b.at)))
	}) {
		l.problems = append(l.problems, found[i])
	}
	l.judge()
	l.judgeHandOvers()
	return l.Report
}

// phase groups the codes in the order in which problems are reported: causes
// before their effects.
func phase(c Code) Code { return max(c, NegativePrice) }

// sorted returns the numbers below n in an order, and what compares equal as it was. Numbers
// alone are sorted in this package: another type would bring a copy of the code into web pages.
func sorted(n int, compare func(i, j uint32) int) []uint32 {
	order := make([]uint32, n)
	for i := range order {
		order[i] = uint32(i)
	}
	slices.SortFunc(order, func(i, j uint32) int {
		if c := compare(i, j); c != 0 {
			return c
		}
		return cmp.Compare(i, j)
	})
	return order
}

// rankOf returns the rank of a record, where none comes first.
func (l *linker) rankOf(i uint32) int {
	if i == none {
		return -1
	}
	return int(l.rank[i])
}

// judge gives the verdict.
func (r *Report) judge() {
	r.verdict = Verified
	if r.pile.n == 0 {
		r.verdict = Invalid // no input makes an empty pass
	}
	for _, q := range r.problems {
		if !q.code.Incomplete() {
			r.verdict = Invalid
			return
		}
		r.verdict = Incomplete
	}
}

// sort orders the records by tick, then content hash (rule 2). Those without a
// readable tick come first, by name.
func (l *linker) sort() {
	p := l.pile
	l.order = make([]uint32, p.n)
	for i := range l.order {
		l.order[i] = uint32(i)
	}
	slices.SortFunc(l.order, func(i, j uint32) int {
		a, b := p.at(i), p.at(j)
		if ap, bp := a.problems.parsed(), b.problems.parsed(); !ap || !bp {
			if ap != bp {
				if bp {
					return -1
				}
				return 1
			}
			if c := cmp.Compare(p.name(a), p.name(b)); c != 0 {
				return c
			}
		} else if a.tick != b.tick {
			return cmp.Compare(a.tick, b.tick)
		}
		return slices.Compare(a.contentHash[:], b.contentHash[:])
	})
	for rank, i := range l.order {
		l.rank[i] = uint32(rank)
	}
}

func (l *linker) count() {
	for _, i := range l.order {
		r := l.pile.at(i)
		switch {
		case r.authentic():
			if l.valid == 0 {
				l.firstTick = r.tick
			}
			l.lastTick = r.tick
			l.valid++
		case r.signed():
			l.invalid++
		}
	}
}

// findKey chooses the history's key (rule 3).
func (l *linker) findKey() {
	if l.spec > 1 {
		l.countKeys()
		for _, k := range l.keys {
			if l.pins.DID != nil && l.keyOf(l.pile.at(k.first)) == *l.pins.DID {
				l.keyAt = k.first
				return
			}
		}
		if len(l.keys) > 0 {
			l.keyAt = l.keys[0].first
			return
		}
	}
	const worst = 5
	best := worst
	for _, i := range l.order {
		r := l.pile.at(i)
		if !r.signed() {
			continue
		}
		rank := 0
		switch {
		case r.authentic() && l.pins.DID != nil && l.keyOf(r) == *l.pins.DID:
		case r.authentic() && r.prevHash.IsZero():
			rank = 1
		case r.authentic():
			rank = 2
		case r.prevHash.IsZero():
			rank = 3
		default:
			rank = 4
		}
		if rank < best {
			best, l.keyAt = rank, i
		}
	}
}

// countKeys lists the keys of the authentic checkpoints, those with most of them first.
func (l *linker) countKeys() {
	numbers := make([]uint32, len(l.pile.keys.values)) // of key numbers, their place in l.keys + 1
	places := make(map[PublicKey]uint32)               // of keys, the same
	for _, i := range l.order {
		r := l.pile.at(i)
		if !r.authentic() {
			continue
		}
		at := numbers[r.key]
		if at == 0 {
			key := l.keyOf(r)
			if at = places[key]; at == 0 {
				l.keys = append(l.keys, keyCount{first: i})
				at = uint32(len(l.keys))
				places[key] = at
			}
			numbers[r.key] = at
		}
		k := &l.keys[at-1]
		k.last = i
		k.checkpoints++
	}
	keys := l.keys
	l.keys = make([]keyCount, 0, len(keys))
	for _, i := range sorted(len(keys), func(i, j uint32) int { return cmp.Compare(keys[j].checkpoints, keys[i].checkpoints) }) {
		l.keys = append(l.keys, keys[i])
	}
}

func (l *linker) found(c Code, at, other uint32) {
	l.problems = append(l.problems, problem{c, at, other})
}

// examination lists what examining the checkpoints found.
func (l *linker) examination() {
	for _, i := range l.order {
		set := l.pile.at(i).problems
		for c := Empty; set != 0 && c <= NegativePrice; c++ {
			if set.has(c) {
				l.found(c, i, none)
			}
		}
	}
}

// identity holds the signers against the history's key and the pin (rule 4).
func (l *linker) identity() {
	if l.pins.DID != nil && (l.keyAt == none || l.keyOf(l.pile.at(l.keyAt)) != *l.pins.DID) {
		at := none
		if l.keyAt != none && l.pile.at(l.keyAt).authentic() {
			key := l.keyOf(l.pile.at(l.keyAt))
			at = l.firstAuthentic(&key)
		}
		l.found(IdentityMismatch, at, none)
	}
	for _, i := range l.order {
		r := l.pile.at(i)
		if r.authentic() && l.keyOf(r) != l.keyOf(l.pile.at(l.keyAt)) {
			l.found(IdentityMismatch, i, l.keyAt)
		}
	}
}

// firstAuthentic returns the first authentic record, by the key if one is given.
func (l *linker) firstAuthentic(key *PublicKey) uint32 {
	for _, i := range l.order {
		if r := l.pile.at(i); r.authentic() && (key == nil || l.keyOf(r) == *key) {
			return i
		}
	}
	return none
}

// edges follows every authentic checkpoint to its predecessor: forks (rule 5),
// ticks (rule 6), and those whose predecessor was not supplied (rule 7),
// each but the first that names it left out.
func (l *linker) edges() (claimedGenesis bool, orphans []uint32) {
	p := l.pile
	for i := range l.child {
		l.child[i] = none
	}
	if len(l.keys) > 1 {
		// Where several checkpoints follow one, those by the history's key are first.
		for _, i := range l.order {
			r := p.at(i)
			if !r.authentic() || !l.own(r) {
				continue
			}
			if r.prevHash.IsZero() {
				if l.genesis == none {
					l.genesis = i
				}
			} else if pred, ok := p.find(r.prevHash); ok && l.child[pred] == none {
				l.child[pred] = i
			}
		}
	}
	for _, i := range l.order {
		r := p.at(i)
		if r.signed() && r.prevHash.IsZero() {
			claimedGenesis = true
		}
		if !r.authentic() {
			continue
		}
		if r.prevHash.IsZero() {
			l.geneses++
			if l.genesis == none {
				l.genesis = i
			}
			if l.genesis != i {
				l.found(Fork, i, l.genesis)
			}
			continue
		}
		pred, ok := p.find(r.prevHash)
		if !ok {
			orphans = append(orphans, i)
			continue
		}
		if l.child[pred] == none {
			l.child[pred] = i
		}
		if first := l.child[pred]; first != i {
			l.found(Fork, i, first)
		}
		if q := p.at(pred); q.problems.parsed() && q.tick >= r.tick {
			l.found(TickOrder, i, pred)
		}
	}
	return claimedGenesis, l.siblings(orphans)
}

// own reports whether r is by the history's key.
func (l *linker) own(r *record) bool { return l.keyOf(r) == l.keyOf(l.pile.at(l.keyAt)) }

// siblings reports forks among orphans that name the same predecessor and
// returns the first of each family, in order.
func (l *linker) siblings(orphans []uint32) []uint32 {
	prev := func(i uint32) *Hash { return &l.pile.at(i).prevHash }
	foreign := func(i uint32) int {
		if len(l.keys) > 1 && !l.own(l.pile.at(i)) {
			return 1
		}
		return 0
	}
	slices.SortFunc(orphans, func(i, j uint32) int {
		return cmp.Or(slices.Compare(prev(i)[:], prev(j)[:]), cmp.Compare(foreign(i), foreign(j)), cmp.Compare(l.rank[i], l.rank[j]))
	})
	firsts := orphans[:0]
	for _, i := range orphans {
		if n := len(firsts); n > 0 && *prev(firsts[n-1]) == *prev(i) {
			l.found(Fork, i, firsts[n-1])
			continue
		}
		firsts = append(firsts, i)
	}
	slices.SortFunc(firsts, func(i, j uint32) int { return cmp.Compare(l.rank[i], l.rank[j]) })
	return firsts
}

// missing reports what was not supplied (rules 7 to 9).
func (l *linker) missing(claimedGenesis bool, orphans []uint32) {
	if !claimedGenesis && l.valid > 0 {
		if len(orphans) > 0 {
			l.found(MissingGenesis, orphans[0], none)
			orphans = orphans[1:]
		} else {
			l.found(MissingGenesis, l.firstAuthentic(nil), none)
		}
	}
	for _, i := range orphans {
		l.found(Gap, i, none)
	}
	if l.pins.Head != nil {
		if _, ok := l.pile.find(*l.pins.Head); !ok {
			l.found(HeadNotFound, none, none)
		}
	}
}

// ends finds the ends of the path, and whether it is one.
func (l *linker) ends() {
	forked := slices.ContainsFunc(l.problems, func(q problem) bool { return q.code == Fork })
	if forked {
		if l.geneses > 1 {
			l.genesis = none
		}
		return
	}
	for _, i := range slices.Backward(l.order) {
		if l.pile.at(i).authentic() && l.child[i] == none {
			l.head = i
			break
		}
	}
	if len(l.problems) > 0 {
		return
	}
	// Without a problem this is one path, unless somebody found a cycle in
	// SHA-256. Walk it all the same: green is nothing that was not seen.
	steps := 0
	for i := l.genesis; i != none && steps < l.pile.n; i = l.child[i] {
		steps++
	}
	if steps != l.pile.n {
		l.found(Gap, l.firstAuthentic(nil), none)
	}
}
