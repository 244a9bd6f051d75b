package witness

import (
	"strconv"
	"strings"

	"igor.dev/verifier"
	"igor.dev/verifier/internal/sha2"
)

// Limits of a policy.
const (
	MaxPolicy = 64 << 10 // bytes

	maxNamed = 64 // logs, witnesses, groups: each
)

// A Policy says which logs count, and which of their witnesses have to agree
// (c2sp.org/tlog-policy).
type Policy struct {
	// Hash is SHA-256 of the policy's text.
	Hash verifier.Hash

	signers []*signer // logs, and witnesses in the policy's order
	names   []named   // none, then witnesses and groups as they come
	quorum  string
}

// A named is what a quorum and a group can ask for: a witness, or so many of a group's
// members.
type named struct {
	name    string
	need    int
	members []int // of a group, which of the names before it
	grouped bool  // it is in a group
}

// Logs returns the names of the logs.
func (p *Policy) Logs() (names []string) {
	for _, s := range p.signers {
		if s.kind == typeLog {
			names = append(names, s.name)
		}
	}
	return names
}

// URLs returns the addresses of the logs, "" where the policy has none.
func (p *Policy) URLs() (urls []string) {
	for _, s := range p.signers {
		if s.kind == typeLog {
			urls = append(urls, s.url)
		}
	}
	return urls
}

// none is the quorum that every checkpoint has.
const none = "none"

// ParsePolicy reads a policy.
func ParsePolicy(b []byte) (*Policy, error) {
	if len(b) > MaxPolicy {
		return nil, problem("policy: longer than " + strconv.Itoa(MaxPolicy) + " bytes")
	}
	p := &Policy{Hash: sha2.Sum256(b), names: []named{{name: none}}}
	rest := string(b)
	for n := 1; rest != ""; n++ {
		var line string
		line, rest, _ = strings.Cut(rest, "\n")
		if why := p.line(line); why != "" {
			return nil, problem("policy line " + strconv.Itoa(n) + ": " + why)
		}
	}
	if p.quorum == "" {
		return nil, problem("policy: it has no quorum line")
	}
	if p.count(typeLog) == 0 {
		return nil, problem("policy: it names no log")
	}
	return p, nil
}

// fields appends the words of a line, which blanks and tabs part.
func fields(words []string, line string) (_ []string, ok bool) {
	start := 0
	for i := range len(line) + 1 {
		c := byte(' ')
		if i < len(line) {
			c = line[i]
		}
		if c == ' ' || c == '\t' {
			if start < i {
				words = append(words, line[start:i])
			}
			start = i + 1
		} else if c < ' ' || c == 0x7f {
			return nil, false
		}
	}
	return words, true
}

const (
	errLine    = "not log KEY [URL], witness NAME KEY [URL], group NAME all|any|N NAME…, or quorum NAME"
	errUnknown = " is no witness or group of a line before"
)

// line takes a line of a policy, or says what is wrong with it.
func (p *Policy) line(line string) (why string) {
	words, ok := fields(make([]string, 0, len(line)/2+1), line)
	if !ok {
		return "a control character"
	}
	n := len(words)
	if n == 0 || words[0][0] == '#' {
		return ""
	}
	if n == 1 {
		return errLine
	}
	name := words[1]
	switch words[0] {
	case "log":
		why = p.signer("", words[1:], typeLog)
	case "witness":
		if why = p.name(name, 1, nil); why == "" {
			why = p.signer(name, words[2:], typeCosigning)
		}
	case "group":
		if n < 4 {
			return errLine
		}
		members := words[3:]
		n = len(members)
		need := n
		switch words[2] {
		case "all":
		case "any":
			need = 1
		default:
			got, _ := number(words[2], maxSize)
			if got < 1 || got > uint64(n) {
				return "a group needs all, any, or from 1 to " + strconv.Itoa(n) + " of its members"
			}
			need = int(got)
		}
		which := make([]int, n)
		for i, m := range members {
			which[i] = p.find(m)
			if which[i] <= 0 {
				return m + errUnknown
			}
			member := &p.names[which[i]]
			if member.grouped {
				return m + " is in a group already"
			}
			member.grouped = true
		}
		why = p.name(name, need, which)
	case "quorum":
		switch {
		case n != 2:
			return errLine
		case p.quorum != "":
			return "a second quorum"
		case p.find(name) < 0:
			return name + errUnknown
		}
		p.quorum = name
	default:
		return errLine
	}
	witnesses := p.count(typeCosigning)
	if why == "" && max(p.count(typeLog), witnesses, len(p.names)-1-witnesses) > maxNamed {
		why = "more than " + strconv.Itoa(maxNamed) + " logs, witnesses or groups"
	}
	return why
}

// count returns how many logs or witnesses there are.
func (p *Policy) count(kind byte) (n int) {
	for _, s := range p.signers {
		if s.kind == kind {
			n++
		}
	}
	return n
}

// find returns which of the names it is, and -1 if it is none.
func (p *Policy) find(name string) int {
	for i := range p.names {
		if p.names[i].name == name {
			return i
		}
	}
	return -1
}

// name gives out a name, or says what is wrong with that.
func (p *Policy) name(name string, need int, members []int) (why string) {
	if p.find(name) >= 0 {
		return "the name " + name + " is taken"
	}
	p.names = append(p.names, named{name: name, need: need, members: members})
	return ""
}

// signer takes a log or a witness, its key and address, or says what is wrong with it. No two
// have one key.
func (p *Policy) signer(local string, words []string, kind byte) (why string) {
	if len(words) != 1 && len(words) != 2 {
		return errLine
	}
	s := &signer{local: local, url: words[len(words)-1]}
	if len(words) == 1 {
		s.url = ""
	}
	if why = s.parse(words[0], kind); why != "" {
		return why
	}
	for _, other := range p.signers {
		if other.key == s.key {
			return "a key that another line has"
		}
	}
	p.signers = append(p.signers, s)
	return ""
}

// Check holds a proof against the policy: the entry is in the log, a log of the policy
// signed that, and the quorum of its witnesses cosigned. What it returns has nothing of the
// entry itself.
func (p *Policy) Check(entry []byte, proof *Proof) (*verifier.Witnessed, error) {
	if !proof.includes(entry) {
		return nil, problem("the entry is not in the log where the proof says that it is")
	}
	cosigners, why := p.cosigners(proof.origin, proof.note)
	if why != "" {
		return nil, problem(why)
	}
	w := &verifier.Witnessed{Log: proof.origin, Index: proof.Index, Size: proof.size, Cosigners: cosigners, Policy: p.Hash}
	if !p.met(nil, 0) {
		w.Before = p.before(cosigners)
	}
	return w, nil
}

// cosigners returns who cosigned a note of that log: as many as the quorum wants, or it says
// why that is not so.
func (p *Policy) cosigners(origin string, n *note) (cosigners []verifier.Cosigner, why string) {
	logged := false
	for _, s := range p.signers {
		if s.kind == typeLog && s.name != origin {
			continue
		}
		time, ok, why := n.signed(s)
		switch {
		case why != "":
			return nil, why
		case !ok:
		case s.kind == typeLog:
			logged = true
		default:
			cosigners = append(cosigners, verifier.Cosigner{Name: s.local, Key: s.name, Time: time})
		}
	}
	if !logged {
		return nil, "no log of the policy signed it"
	}
	if !p.met(cosigners, 1<<64-1) {
		return nil, "too few witnesses cosigned it: " + strconv.Itoa(len(cosigners)) + " of " + strconv.Itoa(p.count(typeCosigning)) + ", and the policy wants " + p.quorum
	}
	return cosigners, ""
}

// met reports whether those who cosigned until a time are as many as the quorum wants.
func (p *Policy) met(cosigners []verifier.Cosigner, until uint64) bool {
	has := make([]bool, len(p.names))
	for i := range p.names {
		n := &p.names[i]
		count := 0
		for j := range cosigners {
			if cosigners[j].Name == n.name && cosigners[j].Time <= until {
				count++
			}
		}
		for _, m := range n.members {
			if has[m] {
				count++
			}
		}
		has[i] = count >= n.need
	}
	return has[p.find(p.quorum)]
}

// before returns by when the quorum was met: the others may have come later. It is the
// earliest time at which those that had come are enough.
func (p *Policy) before(cosigners []verifier.Cosigner) (when uint64) {
	for i := range cosigners {
		if at := cosigners[i].Time; (when == 0 || at < when) && p.met(cosigners, at) {
			when = at
		}
	}
	return when
}

// CheckTree holds a log's signed checkpoint against the policy: a log of the policy signed
// it, and the quorum of its witnesses cosigned.
func (p *Policy) CheckTree(signed []byte) (origin string, size uint64, root [32]byte, err error) {
	if len(signed) > MaxProof {
		return "", 0, root, problem("longer than a log's checkpoint is")
	}
	n, err := parseNote(string(signed))
	if err != nil {
		return "", 0, root, err
	}
	var t tree
	why := t.parse(n.text)
	if why == "" {
		_, why = p.cosigners(t.origin, n)
	}
	if why != "" {
		return "", 0, root, problem(why)
	}
	return t.origin, t.size, t.root, nil
}
