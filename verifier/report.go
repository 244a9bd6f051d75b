package verifier

import (
	"io"
	"iter"
	"strconv"
	"unicode/utf8"
)

// ReportFormat names the report's JSON format.
const ReportFormat = "igor-lineage-report/1"

// SpecVersion is the version of docs/spec/lineage.md that this package implements.
const SpecVersion = 1

const release = "0.1.0"

// commit is set at link time: -ldflags "-X igor.dev/verifier.commit=…".
var commit = "unknown"

// Version names this verifier, its commit and the version of its spec.
func Version() string {
	return "igor " + release + " (commit " + commit + ", spec " + strconv.Itoa(SpecVersion) + ")"
}

// A Verdict is the outcome of verification. The zero Verdict is none of them.
type Verdict uint8

// The verdicts. Only Verified is green.
const (
	_ Verdict = iota
	Verified
	Incomplete
	Invalid
)

func (v Verdict) String() string {
	switch v {
	case Verified:
		return "verified"
	case Incomplete:
		return "incomplete"
	case Invalid:
		return "invalid"
	}
	return "none"
}

// ExitCode returns the exit code of a program that reports v.
func (v Verdict) ExitCode() int {
	switch v {
	case Verified:
		return 0
	case Incomplete:
		return 3
	case Invalid:
		return 1
	}
	return 2
}

// A Report is what linking a [Pile] gave. It reads from the pile, which must
// not be added to any more.
type Report struct {
	pile                *Pile
	pins                Pins
	verdict             Verdict
	order               []uint32
	problems            []problem
	keyAt               uint32 // a record with the history's key
	genesis, head       uint32
	valid, invalid      int
	firstTick, lastTick uint64 // of the authentic ones, if valid > 0
}

// Verdict returns the verdict.
func (r *Report) Verdict() Verdict { return r.verdict }

// Key returns the key that the history is by, if it has one. It is merely
// claimed unless the verdict is Verified or Incomplete.
func (r *Report) Key() (k PublicKey, ok bool) {
	if r.keyAt == none {
		return k, false
	}
	return r.keyOf(r.pile.at(r.keyAt)), true
}

// Pinned reports whether the caller pinned the DID, and the head.
func (r *Report) Pinned() (did, head bool) { return r.pins.DID != nil, r.pins.Head != nil }

// Checkpoints returns how many distinct checkpoints there are, and how many
// duplicates of them were ignored.
func (r *Report) Checkpoints() (distinct, duplicates int) { return r.pile.n, r.pile.duplicates }

// Bytes returns the size of the distinct checkpoints.
func (r *Report) Bytes() uint64 { return r.pile.bytes }

// Signatures returns how many checkpoints are authentic and how many have a
// signature that is not valid. Those without one are in neither count.
func (r *Report) Signatures() (valid, invalid int) { return r.valid, r.invalid }

// Ticks returns the first and last tick of the authentic checkpoints, if any.
func (r *Report) Ticks() (first, last uint64, ok bool) {
	return r.firstTick, r.lastTick, r.valid > 0
}

// Genesis returns the content hash of the only authentic genesis.
func (r *Report) Genesis() (Hash, bool) { return r.hashAt(r.genesis) }

// Head returns the content hash of the newest checkpoint, unless the history forks.
func (r *Report) Head() (Hash, bool) { return r.hashAt(r.head) }

func (r *Report) hashAt(i uint32) (Hash, bool) {
	if i == none {
		return Hash{}, false
	}
	return r.pile.at(i).contentHash, true
}

// A Segment is a run of authentic checkpoints by the same WASM binary.
type Segment struct {
	WASMHash            Hash
	FirstTick, LastTick uint64
	Checkpoints         int
}

// Segments returns the runs, in order.
func (r *Report) Segments() iter.Seq[Segment] {
	return func(yield func(Segment) bool) {
		var s Segment
		for _, i := range r.order {
			c := r.pile.at(i)
			if !c.authentic() {
				continue
			}
			if wasm := r.pile.wasms.values[c.wasm]; s.Checkpoints == 0 || wasm != s.WASMHash {
				if s.Checkpoints > 0 && !yield(s) {
					return
				}
				s = Segment{WASMHash: wasm, FirstTick: c.tick}
			}
			s.LastTick = c.tick
			s.Checkpoints++
		}
		if s.Checkpoints > 0 {
			yield(s)
		}
	}
}

// WriteJSON writes the report as the JSON of docs/spec/lineage.md, "Report".
func (r *Report) WriteJSON(w io.Writer) error {
	j := jsonWriter{w: w}
	j.raw("{\n")
	j.field("format", ReportFormat)
	j.field("verdict", r.verdict.String())
	if k, ok := r.Key(); ok {
		j.field("did", k.DID())
	}
	did, head := r.Pinned()
	j.field("identity", either(did, "pinned", "self-asserted"))
	j.field("completeness", either(head, "head-pinned", "unpinned"))
	if k, ok := r.Key(); ok {
		j.field("publicKey", k.String())
	}
	j.number("checkpoints", uint64(r.pile.n))
	j.number("duplicates", uint64(r.pile.duplicates))
	if first, last, ok := r.Ticks(); ok {
		j.field("firstTick", strconv.FormatUint(first, 10))
		j.field("lastTick", strconv.FormatUint(last, 10))
	}
	if h, ok := r.Genesis(); ok {
		j.field("genesis", h.CID())
	}
	if h, ok := r.Head(); ok {
		j.field("head", h.CID())
	}
	j.number("bytes", r.pile.bytes)
	j.raw(`  "signatures": {"valid": `)
	j.raw(strconv.Itoa(r.valid))
	j.raw(`, "invalid": `)
	j.raw(strconv.Itoa(r.invalid))
	j.raw("},\n")
	j.array("segments")
	for s := range r.Segments() {
		j.element()
		j.member("wasmHash", s.WASMHash.String())
		j.member("firstTick", strconv.FormatUint(s.FirstTick, 10))
		j.member("lastTick", strconv.FormatUint(s.LastTick, 10))
		j.raw(`, "checkpoints": `)
		j.raw(strconv.Itoa(s.Checkpoints))
		j.raw("}")
	}
	j.endArray()
	j.array("problems")
	for q := range r.Problems() {
		j.element()
		j.member("code", q.Code.String())
		j.member("name", q.Name)
		j.member("tick", q.Tick)
		j.member("message", q.Message)
		j.member("expected", q.Expected)
		j.member("found", q.Found)
		j.raw("}")
	}
	j.endArray()
	j.field("proves", r.Proves())
	j.field("doesNotProve", r.DoesNotProve())
	j.raw(`  "verifier": `)
	j.string(Version())
	j.raw("\n}\n")
	return j.flush()
}

func either(b bool, yes, no string) string {
	if b {
		return yes
	}
	return no
}

// A jsonWriter writes the few shapes that a report has, a buffer at a time, so
// that a report of any length needs little memory. Package encoding/json would
// add a third to the browser's WASM.
type jsonWriter struct {
	w       io.Writer
	buf     []byte
	err     error
	more    bool // the array has an element
	members bool // the element has a member
}

const jsonBuffer = 32 << 10

func (j *jsonWriter) raw(s string) {
	j.buf = append(j.buf, s...)
	if len(j.buf) >= jsonBuffer {
		j.flush()
	}
}

func (j *jsonWriter) flush() error {
	if j.err == nil {
		_, j.err = j.w.Write(j.buf)
	}
	j.buf = j.buf[:0]
	return j.err
}

func (j *jsonWriter) field(name, value string) {
	j.raw(`  "`)
	j.raw(name)
	j.raw(`": `)
	j.string(value)
	j.raw(",\n")
}

func (j *jsonWriter) number(name string, value uint64) {
	j.raw(`  "`)
	j.raw(name)
	j.raw(`": `)
	j.raw(strconv.FormatUint(value, 10))
	j.raw(",\n")
}

func (j *jsonWriter) array(name string) {
	j.raw(`  "`)
	j.raw(name)
	j.raw(`": [`)
	j.more = false
}

func (j *jsonWriter) element() {
	j.raw(either(j.more, ",\n    {", "\n    {"))
	j.more, j.members = true, false
}

func (j *jsonWriter) endArray() {
	j.raw(either(j.more, "\n  ],\n", "],\n"))
}

// member writes a string member of an array's element, if it has a value.
func (j *jsonWriter) member(name, value string) {
	if value == "" {
		return
	}
	j.raw(either(j.members, `, "`, `"`))
	j.members = true
	j.raw(name)
	j.raw(`": `)
	j.string(value)
}

// string writes s as RFC 8259 wants it and escapes no more than that. What is
// not UTF-8 becomes U+FFFD.
func (j *jsonWriter) string(s string) {
	const hex = "0123456789abcdef"
	j.buf = append(j.buf, '"')
	for i := 0; i < len(s); {
		c := s[i]
		switch {
		case c == '"' || c == '\\':
			j.buf = append(j.buf, '\\', c)
		case c < 0x20:
			j.buf = append(j.buf, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		case c < utf8.RuneSelf:
			j.buf = append(j.buf, c)
		default:
			r, size := utf8.DecodeRuneInString(s[i:])
			j.buf = utf8.AppendRune(j.buf, r) // RuneError is U+FFFD
			i += size
			continue
		}
		i++
	}
	j.raw(`"`)
}
