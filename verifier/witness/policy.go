package witness

import (
	"errors"
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
	Logs      []string // their names
	Witnesses []string // their names in the policy

	// URLs of logs and witnesses, by their names here, where the policy has them.
	URLs map[string]string

	// Hash is SHA-256 of the policy's text.
	Hash verifier.Hash

	logs      []key
	witnesses []key
	groups    []group
	quorum    string
}

type group struct {
	name    string
	need    int
	members []string
}

// A PolicyError says what is wrong with a policy, and in which line.
type PolicyError struct {
	Line int // 0 = of the whole
	Text string
}

func (e *PolicyError) Error() string {
	if e.Line == 0 {
		return "policy: " + e.Text
	}
	return "policy line " + strconv.Itoa(e.Line) + ": " + e.Text
}

// none is the quorum that every checkpoint has.
const none = "none"

// ParsePolicy reads a policy.
func ParsePolicy(b []byte) (*Policy, error) {
	if len(b) > MaxPolicy {
		return nil, &PolicyError{0, "longer than " + strconv.Itoa(MaxPolicy) + " bytes"}
	}
	p := &Policy{URLs: map[string]string{}, Hash: sha2.Sum256(b)}
	named, member := map[string]bool{none: true}, map[string]bool{}
	keys := map[[32]byte]bool{}
	for i, line := range strings.Split(string(b), "\n") {
		fail := func(text string) (*Policy, error) { return nil, &PolicyError{i + 1, text} }
		for _, c := range []byte(line) {
			if c < ' ' && c != '\t' || c == 0x7f {
				return fail("a control character")
			}
		}
		words := strings.FieldsFunc(line, func(r rune) bool { return r == ' ' || r == '\t' })
		if len(words) == 0 || strings.HasPrefix(words[0], "#") {
			continue
		}
		take := func(k key) error {
			if keys[k.key] {
				return errors.New("a key that another line has")
			}
			keys[k.key] = true
			return nil
		}
		switch word := words[0]; {
		case word == "log" && (len(words) == 2 || len(words) == 3):
			k, err := parseKey(words[1], typeLog)
			if err == nil {
				err = take(k)
			}
			if err != nil {
				return fail(err.Error())
			}
			p.logs, p.Logs = append(p.logs, k), append(p.Logs, k.name)
			if len(words) == 3 {
				p.URLs[k.name] = words[2]
			}
		case word == "witness" && (len(words) == 3 || len(words) == 4):
			if named[words[1]] {
				return fail("the name " + words[1] + " is taken")
			}
			named[words[1]] = true
			k, err := parseKey(words[2], typeCosigning)
			if err == nil {
				err = take(k)
			}
			if err != nil {
				return fail(err.Error())
			}
			p.witnesses, p.Witnesses = append(p.witnesses, k), append(p.Witnesses, words[1])
			if len(words) == 4 {
				p.URLs[words[1]] = words[3]
			}
		case word == "group" && len(words) >= 4:
			g := group{name: words[1], members: words[3:]}
			if named[g.name] {
				return fail("the name " + g.name + " is taken")
			}
			switch words[2] {
			case "all":
				g.need = len(g.members)
			case "any":
				g.need = 1
			default:
				n, err := decimal(words[2])
				if err != nil || n < 1 || n > uint64(len(g.members)) {
					return fail("a group needs all, any, or from 1 to " + strconv.Itoa(len(g.members)) + " of its members")
				}
				g.need = int(n)
			}
			for _, m := range g.members {
				switch {
				case m == none || !named[m]:
					return fail(m + " is no witness or group of a line before")
				case member[m]:
					return fail(m + " is in a group already")
				}
				member[m] = true
			}
			named[g.name] = true
			p.groups = append(p.groups, g)
		case word == "quorum" && len(words) == 2:
			switch {
			case p.quorum != "":
				return fail("a second quorum")
			case !named[words[1]]:
				return fail(words[1] + " is no witness or group of a line before")
			}
			p.quorum = words[1]
		default:
			return fail("not log KEY [URL], witness NAME KEY [URL], group NAME all|any|N NAME…, or quorum NAME")
		}
		if max(len(p.logs), len(p.witnesses), len(p.groups)) > maxNamed {
			return fail("more than " + strconv.Itoa(maxNamed) + " logs, witnesses or groups")
		}
	}
	switch {
	case p.quorum == "":
		return nil, &PolicyError{0, "it has no quorum line"}
	case len(p.logs) == 0:
		return nil, &PolicyError{0, "it names no log"}
	}
	return p, nil
}

// A Witnessed is what a proof proves under a policy.
type Witnessed struct {
	Log       string // its name
	Index     uint64
	Size      uint64
	Root      [32]byte
	Before    uint64              // by when the quorum had cosigned, seconds since 1970; 0 = the policy wants none
	Cosigners []verifier.Cosigner // in the policy's order
}

// Check holds a proof against the policy: the entry is in the log, a log of the policy
// signed that, and the quorum of its witnesses cosigned.
func (p *Policy) Check(entry []byte, proof *Proof) (*Witnessed, error) {
	if !proof.includes(entry) {
		return nil, errors.New("the entry is not in the log where the proof says that it is")
	}
	cosigners, err := p.signers(proof.Origin, proof.note)
	if err != nil {
		return nil, err
	}
	w := &Witnessed{Log: proof.Origin, Index: proof.Index, Size: proof.Size, Root: proof.root, Cosigners: cosigners}
	if !p.met(nil) {
		w.Before = p.before(w.Cosigners)
	}
	return w, nil
}

// signers returns who cosigned a note of that log: as many as the quorum wants.
func (p *Policy) signers(origin string, n *note) (cosigners []verifier.Cosigner, err error) {
	logged := false
	for i := range p.logs {
		k := &p.logs[i]
		if k.name != origin {
			continue
		}
		_, ok, err := n.signed(k)
		if err != nil {
			return nil, err
		}
		logged = logged || ok
	}
	if !logged {
		return nil, errors.New("no log of the policy signed it")
	}
	for i := range p.witnesses {
		time, ok, err := n.signed(&p.witnesses[i])
		if err != nil {
			return nil, err
		}
		if ok {
			cosigners = append(cosigners, verifier.Cosigner{Name: p.Witnesses[i], Key: p.witnesses[i].name, Time: time})
		}
	}
	if !p.met(cosigners) {
		return nil, errors.New("too few witnesses cosigned it: " + strconv.Itoa(len(cosigners)) + " of " + strconv.Itoa(len(p.witnesses)) + ", and the policy wants " + p.quorum)
	}
	return cosigners, nil
}

// met reports whether these are as many as the quorum wants.
func (p *Policy) met(cosigners []verifier.Cosigner) bool {
	has := map[string]bool{none: true}
	for _, c := range cosigners {
		has[c.Name] = true
	}
	for _, g := range p.groups {
		n := 0
		for _, m := range g.members {
			if has[m] {
				n++
			}
		}
		has[g.name] = n >= g.need
	}
	return has[p.quorum]
}

// before returns by when the quorum was met: the others may have come later. It is the
// earliest time at which those that had come are enough.
func (p *Policy) before(cosigners []verifier.Cosigner) (when uint64) {
	for i := range cosigners {
		at := cosigners[i].Time
		if when != 0 && at >= when {
			continue
		}
		var came []verifier.Cosigner
		for _, c := range cosigners {
			if c.Time <= at {
				came = append(came, c)
			}
		}
		if p.met(came) {
			when = at
		}
	}
	return when
}

// CheckTree holds a log's signed checkpoint against the policy: a log of the policy signed
// it, and the quorum of its witnesses cosigned.
func (p *Policy) CheckTree(signed []byte) (origin string, size uint64, root [32]byte, err error) {
	if len(signed) > MaxProof {
		return "", 0, root, errors.New("longer than a log's checkpoint is")
	}
	n, err := parseNote(string(signed))
	if err != nil {
		return "", 0, root, err
	}
	t, err := parseTree(n.text)
	if err != nil {
		return "", 0, root, err
	}
	if _, err := p.signers(t.origin, n); err != nil {
		return "", 0, root, err
	}
	return t.origin, t.size, t.root, nil
}
