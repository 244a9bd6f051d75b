// Package protocol is /igor/authority/1: what a node asks a member of a fleet, and what
// that answers, in bytes. See docs/spec/authority.md.
//
//	r := protocol.Request{Kind: protocol.Read, Agent: agent}
//	answer, err := protocol.ParseAnswer(protocol.Read, ask(r.Append(nil)))
//
// Who asks is not in a request: the transport knows the caller's key, since the caller
// proved to have it ([igor.dev/authority/https], or libp2p). One stream has one request
// and one answer.
package protocol

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"igor.dev/authority"
	"igor.dev/verifier"
)

// ID names the protocol and its version.
const ID = "/igor/authority/1"

const (
	requestContext = "igor/authority/request/v1\x00"
	answerContext  = "igor/authority/answer/v1\x00"
)

// A Kind says what is asked.
type Kind uint8

// The kinds.
const (
	Read    Kind = iota + 1 // an agent's position
	Append                  // the next one
	Renew                   // the leases of a session
	Release                 // the leases of a session, before they run out
	Put                     // keep blobs
	Get                     // a blob that the position names
	Accept                  // drop what lost
	List                    // the positions that the store has
	Seen                    // what the node of the member knows itself: of each agent the newest position, and the one that it found
	Restore                 // put a position into a store that lost it
	Seal                    // keep an agent's key, sealed to nodes
	Sealed                  // that
	Plan                    // keep the fleet's desired state
	Planned                 // that
	Members                 // the fleet's members, and who leads them, as this one knows it
	lastKind
)

var kindNames = [...]string{Read: "read", Append: "append", Renew: "renew", Release: "release", Put: "put", Get: "get", Accept: "accept", List: "list", Seen: "seen", Restore: "restore", Seal: "seal", Sealed: "sealed", Plan: "plan", Planned: "planned", Members: "members"}

// String returns the kind in a word.
func (k Kind) String() string {
	if k < Read || k >= lastKind {
		return fmt.Sprintf("kind %d", uint8(k))
	}
	return kindNames[k]
}

// A Session is the random number of a process that holds leases. Together with the key of
// the node that asks it names them: no other node can renew or release them.
type Session [16]byte

// Limits.
const (
	// MaxBlob is how many bytes a blob has with its names.
	MaxBlob = authority.MaxData + 33*authority.MaxNeeds + 1024

	// MaxBlobs is how many blobs one request has. Together they have MaxPut bytes.
	MaxBlobs = 1024
	MaxPut   = MaxBlob + 4

	// MaxList is how many entries one answer has.
	MaxList = 64

	// MaxMembers is how many members one answer has.
	MaxMembers = 64

	// MaxText is how many bytes a reason has.
	MaxText = 512

	prefix      = len(requestContext) + 1
	maxEntry    = authority.PositionSize + 64 + 2 + authority.MaxTerms + 4 + authority.MaxRecord
	maxRequest  = prefix + 1 + authority.PositionSize + 16 + 1 + maxEntry
	maxAnswer   = len(answerContext) + 1 + 2 + MaxList*(maxEntry+4)
	maxPlan     = prefix + authority.MaxPlan
	maxPut      = prefix + 32 + 8 + MaxPut
	maxStanding = len(answerContext) + 1 + 32 + 8 + 8 + 1 + 33*MaxMembers
	maxGet      = len(answerContext) + 1 + MaxBlob
)

// PrefixSize is how much of a request tells how long it may be.
const PrefixSize = prefix

// MaxRequest returns how many bytes a request may have, of its first [PrefixSize]; 0 = it
// is none.
func MaxRequest(first []byte) int {
	if len(first) < prefix || !bytes.HasPrefix(first, []byte(requestContext)) {
		return 0
	}
	switch k := Kind(first[prefix-1]); {
	case k == Put:
		return maxPut
	case k == Plan:
		return maxPlan
	}
	return maxRequest // of a kind that is not known, too: it is answered that it is not
}

// MaxAnswer returns how many bytes an answer may have.
func MaxAnswer(k Kind) int {
	switch k {
	case Get:
		return maxGet
	case List, Seen:
		return maxAnswer
	case Planned:
		return len(answerContext) + 1 + authority.MaxPlan
	case Members:
		return maxStanding
	}
	return len(answerContext) + 1 + 8 + maxEntry + MaxText
}

// A Request is what a node asks. Which fields it has, its kind says.
type Request struct {
	Kind  Kind
	Agent verifier.PublicKey // Read, Put, Get, Accept, Sealed; List, Seen: the one after which to begin

	Prev    authority.Position // Append; zero = there is none
	Next    authority.Entry    // Append, Restore
	Session Session            // Append, Renew, Release; zero = without a lease
	TTL     time.Duration      // Renew; in whole ms

	Sequence uint64           // Put
	Blobs    []authority.Blob // Put
	Of       verifier.Hash    // Get: the position's hash
	Name     authority.Name   // Get

	Replace verifier.Hash // Restore: the hash of the position in its place, zero = there is none
	Count   uint16        // List, Seen: at most so many entries

	Value []byte // Seal: sealed keys; Plan: a plan
	Known uint64 // Planned: the number of the plan that the caller has; 0 = none
}

var le = binary.LittleEndian

// Append appends the request's bytes.
func (r *Request) Append(dst []byte) []byte {
	dst = append(dst, requestContext...)
	dst = append(dst, byte(r.Kind))
	switch r.Kind {
	case Read, Accept, Sealed:
		dst = append(dst, r.Agent[:]...)
	case Seal, Plan:
		dst = append(dst, r.Value...)
	case Planned:
		dst = le.AppendUint64(dst, r.Known)
	case Append:
		dst = appendPosition(dst, r.Next.Agent, &r.Prev)
		dst = append(dst, r.Session[:]...)
		dst = appendEntry(dst, &r.Next)
	case Renew:
		dst = append(dst, r.Session[:]...)
		dst = le.AppendUint32(dst, uint32(r.TTL.Milliseconds()))
	case Release:
		dst = append(dst, r.Session[:]...)
	case Put:
		dst = append(dst, r.Agent[:]...)
		dst = le.AppendUint64(dst, r.Sequence)
		for i := range r.Blobs {
			at := len(dst)
			dst = r.Blobs[i].Append(append(dst, 0, 0, 0, 0))
			le.PutUint32(dst[at:], uint32(len(dst)-at-4))
		}
	case Get:
		dst = append(dst, r.Agent[:]...)
		dst = append(dst, r.Of[:]...)
		dst = append(dst, byte(r.Name.Kind))
		dst = append(dst, r.Name.Hash[:]...)
	case List, Seen:
		dst = append(dst, r.Agent[:]...)
		dst = le.AppendUint16(dst, r.Count)
	case Restore:
		dst = append(dst, r.Replace[:]...)
		dst = appendEntry(dst, &r.Next)
	}
	return dst
}

// ParseRequest reads a request. What it has may alias raw. The entries in it are well
// formed; whether their agent signed them is not looked at.
func ParseRequest(raw []byte) (r Request, err error) {
	most := MaxRequest(raw)
	switch {
	case most == 0:
		return r, errors.New("not a request of " + ID)
	case len(raw) > most:
		return r, fmt.Errorf("a request of %d bytes, and at most %d are read", len(raw), most)
	}
	r.Kind = Kind(raw[prefix-1])
	d := decoder{rest: raw[prefix:]}
	switch r.Kind {
	case Read, Accept, Sealed:
		d.bytes(r.Agent[:])
	case Seal, Plan:
		r.Value, d.rest = d.rest, nil
		if r.Kind == Seal && len(r.Value) > authority.MaxSealedKeys {
			d.err = errors.New("sealed keys that are too long")
		}
	case Planned:
		r.Known = d.u64()
	case Append:
		var of verifier.PublicKey
		of, r.Prev = d.position()
		d.bytes(r.Session[:])
		if r.Next = d.entry(); d.err == nil && !r.Prev.IsZero() && of != r.Next.Agent {
			d.err = errors.New("the positions of two agents")
		}
	case Renew:
		d.bytes(r.Session[:])
		r.TTL = time.Duration(d.u32()) * time.Millisecond
	case Release:
		d.bytes(r.Session[:])
	case Put:
		d.bytes(r.Agent[:])
		r.Sequence = d.u64()
		for d.err == nil && len(d.rest) > 0 {
			r.Blobs = append(r.Blobs, d.blob())
			if len(r.Blobs) > MaxBlobs {
				d.err = errors.New("too many blobs")
			}
		}
	case Get:
		d.bytes(r.Agent[:])
		d.bytes(r.Of[:])
		r.Name.Kind = authority.Kind(d.u8())
		d.bytes(r.Name.Hash[:])
	case List, Seen:
		d.bytes(r.Agent[:])
		if r.Count = d.u16(); d.err == nil && (r.Count == 0 || r.Count > MaxList) {
			d.err = fmt.Errorf("a list of %d, and it may be 1 to %d", r.Count, MaxList)
		}
	case Restore:
		d.bytes(r.Replace[:])
		r.Next = d.entry()
	}
	if d.err == nil && len(d.rest) > 0 {
		d.err = errors.New("something comes after it")
	}
	if d.err != nil {
		return Request{}, fmt.Errorf("%s: %w", r.Kind, d.err)
	}
	return r, nil
}

// A Status says what came of a request.
type Status uint8

// The statuses.
const (
	Done        Status = iota + 1
	None               // the agent has no position
	Conflict           // it has another one
	Unknown            // whether it was appended is not known
	Rule               // it may not follow
	Refused            // not to this node
	Missing            // the blob is not there
	NotNamed           // the position does not name the blob
	Unavailable        // the member cannot say, now; another one may
	Malformed          // not a request of this version
	lastStatus
)

var statusNames = [...]string{Done: "done", None: "none", Conflict: "conflict", Unknown: "unknown", Rule: "rule", Refused: "refused", Missing: "missing", NotNamed: "not named", Unavailable: "unavailable", Malformed: "malformed"}

// String returns the status in words.
func (s Status) String() string {
	if s < Done || s >= lastStatus {
		return fmt.Sprintf("status %d", uint8(s))
	}
	return statusNames[s]
}

// A Standing is how a fleet is, as one of its members knows it.
type Standing struct {
	Leader  verifier.PublicKey // zero = none is known: no majority is there
	Version uint64             // of the fleet's description; 0 = none is known
	Bytes   uint64             // of the member's store
	Members []StandingMember
}

// A StandingMember is a member of a fleet's store.
type StandingMember struct {
	Key  verifier.PublicKey // zero = this member does not know
	Came bool               // it was there, once
}

// An Answer is what a member says. Which fields it has, its status and the kind of the
// request say.
type Answer struct {
	Status Status

	Entries []authority.Entry // Read: one; List, Seen
	More    bool              // List, Seen: there are more
	Lease   time.Duration     // Append, Renew: from when it was asked; Read: what is left at most; in whole ms
	Blob    authority.Blob    // Get
	Value   []byte            // Sealed: sealed keys; Planned: a plan, none = the one that the caller knows

	Standing Standing // Members

	Have   authority.Entry // Conflict: without terms and record; a zero position = none
	Code   authority.RefusalCode
	Reason string // Rule, Refused, Unavailable, Malformed
}

// Append appends the bytes of the answer to a request of a kind.
func (a *Answer) Append(dst []byte, k Kind) []byte {
	dst = append(dst, answerContext...)
	dst = append(dst, byte(a.Status))
	switch a.Status {
	case Done:
		switch k {
		case Read:
			dst = le.AppendUint32(dst, uint32(a.Lease.Milliseconds()))
			dst = appendEntry(dst, &a.Entries[0])
		case Append, Renew:
			dst = le.AppendUint32(dst, uint32(a.Lease.Milliseconds()))
		case Get:
			dst = a.Blob.Append(dst)
		case Sealed, Planned:
			dst = append(dst, a.Value...)
		case Members:
			s := &a.Standing
			dst = append(dst, s.Leader[:]...)
			dst = le.AppendUint64(le.AppendUint64(dst, s.Version), s.Bytes)
			dst = append(dst, byte(len(s.Members)))
			for i := range s.Members {
				dst = append(append(dst, s.Members[i].Key[:]...), flag(s.Members[i].Came))
			}
		case List, Seen:
			dst = append(dst, flag(a.More))
			dst = append(dst, byte(len(a.Entries)))
			for i := range a.Entries {
				dst = appendEntry(dst, &a.Entries[i])
			}
		}
	case Conflict:
		if dst = appendPosition(dst, a.Have.Agent, &a.Have.Position); !a.Have.Position.IsZero() {
			dst = append(dst, a.Have.Signature[:]...)
		}
	case Refused:
		dst = append(dst, byte(a.Code))
		dst = append(dst, clip(a.Reason)...)
	case Rule, Unavailable, Malformed:
		dst = append(dst, clip(a.Reason)...)
	}
	return dst
}

// ParseAnswer reads the answer to a request of a kind.
func ParseAnswer(k Kind, raw []byte) (a Answer, err error) {
	if len(raw) <= len(answerContext) || !bytes.HasPrefix(raw, []byte(answerContext)) || len(raw) > MaxAnswer(k) {
		return a, errors.New("not an answer of " + ID)
	}
	a.Status = Status(raw[len(answerContext)])
	d := decoder{rest: raw[len(answerContext)+1:]}
	switch a.Status {
	case Done:
		switch k {
		case Read:
			a.Lease = time.Duration(d.u32()) * time.Millisecond
			a.Entries = []authority.Entry{d.entry()}
		case Append, Renew:
			a.Lease = time.Duration(d.u32()) * time.Millisecond
		case Get:
			if d.err == nil {
				a.Blob, d.err = authority.ParseBlob(d.rest)
				d.rest = nil
			}
		case Sealed, Planned:
			a.Value, d.rest = d.rest, nil
		case Members:
			s := &a.Standing
			d.bytes(s.Leader[:])
			s.Version, s.Bytes = d.u64(), d.u64()
			for range d.u8() {
				var m StandingMember
				d.bytes(m.Key[:])
				m.Came = d.flag()
				s.Members = append(s.Members, m)
			}
			if d.err == nil && len(s.Members) > MaxMembers {
				d.err = errors.New("a list that is too long")
			}
		case List, Seen:
			a.More = d.flag()
			for range d.u8() {
				if d.err == nil {
					a.Entries = append(a.Entries, d.entry())
				}
			}
			if len(a.Entries) > MaxList {
				d.err = errors.New("a list that is too long")
			}
		}
	case Conflict:
		if a.Have.Agent, a.Have.Position = d.position(); !a.Have.Position.IsZero() {
			d.bytes(a.Have.Signature[:])
		}
	case Refused:
		if a.Code = authority.RefusalCode(d.u8()); d.err == nil && !a.Code.Known() {
			d.err = fmt.Errorf("the unknown code %d", a.Code)
		}
		a.Reason = d.text()
	case Rule, Unavailable, Malformed:
		a.Reason = d.text()
	case None, Unknown, Missing, NotNamed:
	default:
		d.err = errors.New("not known to this version")
	}
	if d.err == nil && len(d.rest) > 0 {
		d.err = errors.New("something comes after it")
	}
	if d.err != nil {
		return Answer{}, fmt.Errorf("the answer %s to %s: %w", a.Status, k, d.err)
	}
	return a, nil
}

// Err returns what an answer says as the error that an [authority.Authority] or an
// [authority.Replica] has.
func (a *Answer) Err() error {
	switch a.Status {
	case Done:
		return nil
	case None:
		return authority.ErrNone
	case Conflict:
		return &authority.Conflict{Have: a.Have.Position}
	case Unknown:
		return authority.ErrUnknown
	case Rule:
		return &authority.RuleError{Reason: a.Reason}
	case Refused:
		return &authority.Refusal{Code: a.Code, Reason: a.Reason}
	case Missing:
		return authority.ErrMissing
	case NotNamed:
		return authority.ErrNotNamed
	}
	return fmt.Errorf("%s: %s", a.Status, a.Reason)
}

func flag(b bool) byte {
	if b {
		return 1
	}
	return 0
}

// clip makes of an error's text what may stand in an answer.
func clip(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == utf8.RuneError {
			return '?'
		}
		return r
	}, s)
	for len(s) > MaxText {
		_, n := utf8.DecodeLastRuneInString(s)
		s = s[:len(s)-n]
	}
	return s
}

func appendPosition(dst []byte, agent verifier.PublicKey, p *authority.Position) []byte {
	if p.IsZero() {
		return append(dst, 0)
	}
	return p.Append(append(dst, 1), agent)
}

func appendEntry(dst []byte, e *authority.Entry) []byte {
	dst = e.Position.Append(dst, e.Agent)
	dst = append(dst, e.Signature[:]...)
	dst = append(le.AppendUint16(dst, uint16(len(e.Terms))), e.Terms...)
	return append(le.AppendUint32(dst, uint32(len(e.Record))), e.Record...)
}

// A decoder reads what is there, and remembers the first thing that is wrong.
type decoder struct {
	rest []byte
	err  error
}

func (d *decoder) take(n int) []byte {
	if d.err == nil && len(d.rest) < n {
		d.err = errors.New("it is cut short")
	}
	if d.err != nil {
		return make([]byte, min(n, 8))
	}
	b := d.rest[:n:n]
	d.rest = d.rest[n:]
	return b
}

func (d *decoder) bytes(dst []byte) { copy(dst, d.take(len(dst))) }
func (d *decoder) u8() uint8        { return d.take(1)[0] }
func (d *decoder) u16() uint16      { return le.Uint16(d.take(2)) }
func (d *decoder) u32() uint32      { return le.Uint32(d.take(4)) }
func (d *decoder) u64() uint64      { return le.Uint64(d.take(8)) }

func (d *decoder) flag() bool {
	b := d.u8()
	if d.err == nil && b > 1 {
		d.err = errors.New("a flag that is neither 0 nor 1")
	}
	return b == 1
}

func (d *decoder) position() (agent verifier.PublicKey, p authority.Position) {
	if !d.flag() || d.err != nil {
		return agent, p
	}
	raw := d.take(authority.PositionSize)
	if d.err == nil {
		agent, p, d.err = authority.ParsePosition(raw)
	}
	return agent, p
}

func (d *decoder) entry() (e authority.Entry) {
	raw := d.take(authority.PositionSize)
	if d.err != nil {
		return e
	}
	if e.Agent, e.Position, d.err = authority.ParsePosition(raw); d.err != nil {
		return e
	}
	d.bytes(e.Signature[:])
	if n := int(d.u16()); n > 0 {
		if e.Terms = d.take(n); d.err == nil && n > authority.MaxTerms {
			d.err = errors.New("terms that are too long")
		}
	}
	if n := d.u32(); n > 0 {
		if d.err == nil && n > authority.MaxRecord {
			d.err = errors.New("a record that is too long")
		}
		if d.err == nil {
			e.Record = d.take(int(n))
		}
	}
	return e
}

func (d *decoder) blob() (b authority.Blob) {
	n := uint64(d.u32())
	if d.err == nil && n > uint64(len(d.rest)) {
		d.err = errors.New("it is cut short")
	}
	if d.err == nil {
		b, d.err = authority.ParseBlob(d.take(int(n)))
	}
	return b
}

func (d *decoder) text() string {
	s := string(d.rest)
	d.rest = nil
	if d.err == nil && clip(s) != s {
		d.err = errors.New("a reason that is no text, or too long")
	}
	return s
}
