package verifier

import (
	"io"
	"iter"
	"slices"
	"strconv"
	"unicode/utf8"
)

// ReportFormat names the report's JSON format.
const ReportFormat = "igor-lineage-report/2"

// SpecVersion is the version of docs/spec/lineage.md that this package implements.
const SpecVersion = 2

// reportFormat1 is the format of spec version 1, which [LinkAs] still gives.
const reportFormat1 = "igor-lineage-report/1"

const release = "0.1.0"

// commit is set at link time: -ldflags "-X igor.dev/verifier.commit=…".
var commit = "unknown"

// SetCommit names the commit, for a program that knows it otherwise than from its linking.
// It is to be called before anything else.
func SetCommit(c string) {
	if commit == "unknown" && c != "" {
		commit = c
	}
}

// Version names this verifier, its commit and the version of its spec.
func Version() string { return version(SpecVersion) }

func version(spec int) string {
	return "igor " + release + " (commit " + commit + ", spec " + strconv.Itoa(spec) + ")"
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
	spec                int
	pile                *Pile
	pins                Pins
	verdict             Verdict
	order               []uint32
	problems            []problem
	keyAt               uint32 // a record with the history's key
	genesis, head       uint32
	valid, invalid      int
	firstTick, lastTick uint64 // of the authentic ones, if valid > 0
	keys                []keyCount
	handOvers           []JudgedHandOver

	witnessed           *Witnessed
	succeeds            *Succession
	demanded, byMonitor bool // a witness, and a monitor's word
}

// A keyCount is a key and its authentic checkpoints, by their records.
type keyCount struct {
	first, last uint32
	checkpoints int
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

// A Life is what is authentic by one key.
type Life struct {
	Key                 PublicKey
	Checkpoints         int
	FirstTick, LastTick uint64
}

// Lives returns what is authentic by each key, the key with most checkpoints first.
func (r *Report) Lives() iter.Seq[Life] {
	return func(yield func(Life) bool) {
		for _, k := range r.keys {
			first, last := r.pile.at(k.first), r.pile.at(k.last)
			if !yield(Life{r.keyOf(first), k.checkpoints, first.tick, last.tick}) {
				return
			}
		}
	}
}

// NumLives returns how many keys have authentic checkpoints.
func (r *Report) NumLives() int { return len(r.keys) }

// maxLives is how many lives a report lists; the others are counted.
const maxLives = 100

// A LeftOut says that files of a kind lay with the history and were not looked at.
type LeftOut struct {
	Kind  Kind
	Files int
	Name  string // of one of them, the smallest in byte order
}

// NotLookedAt returns what was not looked at, by the names of the kinds.
func (r *Report) NotLookedAt() iter.Seq[LeftOut] {
	var all []LeftOut
	for k, l := range r.pile.left {
		if l.files == 0 {
			continue
		}
		// Put in where it belongs: they are few, and each type that is sorted by package slices
		// brings 4 KB into web pages.
		all = append(all, LeftOut{Kind(k), l.files, l.name})
		for i := len(all) - 1; i > 0 && all[i].Kind.String() < all[i-1].Kind.String(); i-- {
			all[i], all[i-1] = all[i-1], all[i]
		}
	}
	return slices.Values(all)
}

// WriteJSON writes the report as the JSON of docs/spec/lineage.md, "Report".
func (r *Report) WriteJSON(w io.Writer) error {
	j := jsonWriter{w: w}
	j.raw("{\n")
	j.field("format", either(r.spec == 1, reportFormat1, ReportFormat))
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
	if r.spec > 1 {
		r.writeLives(&j)
		r.writeNotLookedAt(&j)
		r.writeHandOvers(&j)
		r.writeBeside(&j)
	}
	j.raw(`  "verifier": `)
	j.string(version(r.spec))
	j.raw("\n}\n")
	return j.flush()
}

// writeLives writes whose checkpoints these are, where they are not all by one key.
func (r *Report) writeLives(j *jsonWriter) {
	if len(r.keys) < 2 {
		return
	}
	j.array("lives")
	n, others, checkpoints := 0, 0, 0
	for life := range r.Lives() {
		if n++; n > maxLives {
			others++
			checkpoints += life.Checkpoints
			continue
		}
		j.element()
		j.member("did", life.Key.DID())
		j.count("checkpoints", life.Checkpoints)
		j.member("firstTick", strconv.FormatUint(life.FirstTick, 10))
		j.member("lastTick", strconv.FormatUint(life.LastTick, 10))
		j.raw("}")
	}
	if others > 0 {
		j.element()
		j.count("others", others)
		j.count("checkpoints", checkpoints)
		j.raw("}")
	}
	j.endArray()
}

func (r *Report) writeNotLookedAt(j *jsonWriter) {
	some := false
	for l := range r.NotLookedAt() {
		if !some {
			j.array("notLookedAt")
			some = true
		}
		j.element()
		j.member("kind", l.Kind.String())
		j.count("files", l.Files)
		j.member("name", l.Name)
		j.raw("}")
	}
	if some {
		j.endArray()
	}
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

// object begins a member that is an object, in one line.
func (j *jsonWriter) object(name string) {
	j.raw(`  "`)
	j.raw(name)
	j.raw(`": {`)
	j.members = false
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

// count writes a number member of an array's element.
func (j *jsonWriter) count(name string, value int) {
	j.raw(either(j.members, `, "`, `"`))
	j.members = true
	j.raw(name)
	j.raw(`": `)
	j.raw(strconv.Itoa(value))
}

// string writes s as [AppendJSONString] does.
func (j *jsonWriter) string(s string) {
	j.buf = AppendJSONString(j.buf, s)
	j.raw("")
}

// AppendJSONString appends s as RFC 8259 wants it. What is not UTF-8 becomes U+FFFD. What a
// reader would not see, or would see elsewhere, is escaped, and so is what a CI system
// takes for a command in its log, "::" and "##[".
func AppendJSONString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	for i := 0; i < len(s); {
		c := s[i]
		switch {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c < 0x20,
			c == ':' && i > 0 && s[i-1] == ':',
			c == '#' && i > 0 && s[i-1] == '#' && i+1 < len(s) && s[i+1] == '[':
			dst = appendUnit(dst, uint32(c))
		case c < utf8.RuneSelf && c != 0x7f:
			dst = append(dst, c)
		default:
			r, size := utf8.DecodeRuneInString(s[i:])
			switch {
			case !Invisible(r):
				dst = utf8.AppendRune(dst, r) // RuneError is U+FFFD
			case r < 0x10000:
				dst = appendUnit(dst, uint32(r))
			default:
				dst = appendUnit(dst, 0xd800+uint32(r-0x10000)>>10)
				dst = appendUnit(dst, 0xdc00+uint32(r-0x10000)&0x3ff)
			}
			i += size
			continue
		}
		i++
	}
	return append(dst, '"')
}

// appendUnit appends a UTF-16 code unit as JSON escapes it.
func appendUnit(dst []byte, u uint32) []byte {
	const hex = "0123456789abcdef"
	return append(dst, '\\', 'u', hex[u>>12&15], hex[u>>8&15], hex[u>>4&15], hex[u&15])
}
