package journal

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"unicode/utf8"

	"igor.dev/runtime/internal/wal"
	"igor.dev/verifier"
)

// Limits of what a journal holds, in bytes, and in effects.
const (
	MaxRequest = 4 << 20
	MaxResult  = 16 << 20
	MaxNote    = 4 << 10
	MaxEffects = 1 << 16

	maxRecord = 1 + idSize + 8 + MaxResult // an end, the largest kind
)

const (
	magic     = "igor/journal/v1\x00"
	effectTag = "igor/effect/v1\x00"

	idSize = sha256.Size
)

// An ID names one effect, on every node that ever runs the agent.
type ID [idSize]byte

// String returns the ID in lower-case hexadecimal, as in Idempotency-Key.
func (id ID) String() string { return verifier.Hash(id).String() }

// EffectID returns the name of the effect that an agent's tick causes by its
// call with the given ordinal. It depends neither on the node nor on the lease.
func EffectID(agent verifier.PublicKey, genesis verifier.Hash, tick uint64, ordinal uint32) ID {
	b := make([]byte, 0, len(effectTag)+32+32+8+4)
	b = append(b, effectTag...)
	b = append(b, agent[:]...)
	b = append(b, genesis[:]...)
	b = binary.LittleEndian.AppendUint64(b, tick)
	b = binary.LittleEndian.AppendUint32(b, ordinal)
	return sha256.Sum256(b)
}

// A Kind is the hostcall that causes an effect, by its number.
type Kind uint8

// The kinds.
const (
	HTTP    Kind = 8  // http_request
	Payment Kind = 9  // wallet_pay
	Paid    Kind = 10 // http_request again, with a payment by x402
)

func (k Kind) valid() bool { return k == HTTP || k == Payment || k == Paid }

// An Epoch is under which authority an effect was begun: the fields of the same
// names in a checkpoint.
type Epoch struct {
	MajorVersion    uint64
	LeaseGeneration uint64
}

// A Life says whose journal it is.
type Life struct {
	Agent   verifier.PublicKey
	Genesis verifier.Hash // never zero: no effect comes before the genesis
}

// A Base is the checkpoint from which on the journal is whole.
type Base struct {
	Tick uint64
	Hash verifier.Hash
}

// An Outcome is what an operator found out about an effect without an end.
type Outcome uint8

// The outcomes.
const (
	Confirmed   Outcome = 1 // it happened; what was held is spent
	Compensated Outcome = 2 // it did not happen, or was undone; what was held goes back
)

// The kinds of records.
const (
	recordHeader  = 0
	recordBegin   = 1 // without a time, as earlier journals have it
	recordEnd     = 2
	recordResolve = 3
	recordBeginAt = 4
	recordRelease = 5
	recordFailed  = 6
	recordTold    = 7
)

const (
	headerSize     = 1 + len(magic) + 32 + 32 + 8 + 32
	beginFixed     = 1 + idSize + 8 + 4 + 1 + 8 + 8 + 8
	beginAtFixed   = beginFixed + 8
	endFixed       = 1 + idSize + 8
	resolveFixed   = 1 + idSize + 1 + 8
	releaseSize    = 1 + idSize + 8
	failedSize     = 1 + idSize
	toldSize       = 1 + idSize + 8
	resultInRecord = endFixed
)

var (
	le       = binary.LittleEndian
	errShort = errors.New("a record is shorter than its kind")
)

func appendHeader(dst []byte, l Life, b Base) []byte {
	dst = append(dst, recordHeader)
	dst = append(dst, magic...)
	dst = append(dst, l.Agent[:]...)
	dst = append(dst, l.Genesis[:]...)
	dst = le.AppendUint64(dst, b.Tick)
	return append(dst, b.Hash[:]...)
}

func parseHeader(b []byte) (l Life, base Base, err error) {
	if len(b) != headerSize || b[0] != recordHeader || string(b[1:1+len(magic)]) != magic {
		return l, base, errors.New("it does not begin with the header of a journal, version 1")
	}
	b = b[1+len(magic):]
	b = b[copy(l.Agent[:], b):]
	b = b[copy(l.Genesis[:], b):]
	base.Tick = le.Uint64(b)
	copy(base.Hash[:], b[8:])
	if l.Genesis.IsZero() || base.Hash.IsZero() {
		return l, base, errors.New("its header names no checkpoint")
	}
	return l, base, nil
}

// A Begin is what is written before an effect leaves the machine.
type Begin struct {
	Tick    uint64
	Ordinal uint32 // of the effect in its tick, from 0
	Kind    Kind
	Epoch   Epoch
	Held    int64  // microcents taken from the budget until the end
	Time    int64  // of this machine's clock, in nanoseconds since 1970; 0 = not known
	Request []byte // the exact bytes that are sent
}

func appendBegin(dst []byte, id ID, b *Begin) []byte {
	kind := byte(recordBeginAt)
	if b.Time == 0 {
		kind = recordBegin
	}
	dst = append(dst, kind)
	dst = append(dst, id[:]...)
	dst = le.AppendUint64(dst, b.Tick)
	dst = le.AppendUint32(dst, b.Ordinal)
	dst = append(dst, byte(b.Kind))
	dst = le.AppendUint64(dst, b.Epoch.MajorVersion)
	dst = le.AppendUint64(dst, b.Epoch.LeaseGeneration)
	dst = le.AppendUint64(dst, uint64(b.Held))
	if kind == recordBeginAt {
		dst = le.AppendUint64(dst, uint64(b.Time))
	}
	return append(dst, b.Request...)
}

func parseBegin(p []byte) (id ID, b Begin, err error) {
	if len(p) < beginFixed {
		return id, b, errShort
	}
	kind := p[0]
	p = p[1:]
	p = p[copy(id[:], p):]
	b = Begin{
		Tick:    le.Uint64(p),
		Ordinal: le.Uint32(p[8:]),
		Kind:    Kind(p[12]),
		Epoch:   Epoch{le.Uint64(p[13:]), le.Uint64(p[21:])},
		Held:    int64(le.Uint64(p[29:])),
		Request: p[37:],
	}
	if kind == recordBeginAt {
		if len(b.Request) < 8 {
			return id, b, errShort
		}
		if b.Time = int64(le.Uint64(b.Request)); b.Time == 0 {
			return id, b, errors.New("an effect that began at no time")
		}
		b.Request = b.Request[8:]
	}
	return id, b, b.check()
}

func (b *Begin) check() error {
	switch {
	case b.Tick == 0:
		return errors.New("an effect of tick 0, and no effect comes before the first tick")
	case !b.Kind.valid():
		return fmt.Errorf("an effect of the unknown kind %d", b.Kind)
	case b.Held < 0:
		return errors.New("an effect holds a negative amount")
	case len(b.Request) > MaxRequest:
		return fmt.Errorf("a request of %d bytes, and at most %d are allowed", len(b.Request), MaxRequest)
	}
	return nil
}

func appendEnd(dst []byte, id ID, spent int64, result []byte) []byte {
	dst = append(dst, recordEnd)
	dst = append(dst, id[:]...)
	dst = le.AppendUint64(dst, uint64(spent))
	return append(dst, result...)
}

func parseEnd(p []byte) (id ID, spent int64, result []byte, err error) {
	if len(p) < endFixed {
		return id, 0, nil, errShort
	}
	copy(id[:], p[1:])
	return id, int64(le.Uint64(p[1+idSize:])), p[endFixed:], nil
}

func appendResolve(dst []byte, id ID, o Outcome, tick uint64, note string) []byte {
	dst = append(dst, recordResolve)
	dst = append(dst, id[:]...)
	dst = append(dst, byte(o))
	dst = le.AppendUint64(dst, tick)
	return append(dst, note...)
}

func parseResolve(p []byte) (id ID, o Outcome, tick uint64, note string, err error) {
	if len(p) < resolveFixed {
		return id, 0, 0, "", errShort
	}
	copy(id[:], p[1:])
	p = p[1+idSize:]
	o, tick, note = Outcome(p[0]), le.Uint64(p[1:]), string(p[9:])
	return id, o, tick, note, checkResolve(o, note)
}

func checkResolve(o Outcome, note string) error {
	switch {
	case o != Confirmed && o != Compensated:
		return fmt.Errorf("a resolution with the unknown outcome %d", o)
	case len(note) > MaxNote:
		return fmt.Errorf("a note of %d bytes, and at most %d are allowed", len(note), MaxNote)
	case !utf8.ValidString(note):
		return errors.New("a note that is not UTF-8")
	}
	return nil
}

func appendRelease(dst []byte, id ID, tick uint64) []byte {
	dst = append(dst, recordRelease)
	dst = append(dst, id[:]...)
	return le.AppendUint64(dst, tick)
}

func parseRelease(p []byte) (id ID, tick uint64, err error) {
	if len(p) != releaseSize {
		return id, 0, errors.New("a release of another length")
	}
	copy(id[:], p[1:])
	if tick = le.Uint64(p[1+idSize:]); tick == 0 {
		return id, 0, errors.New("a release before the first tick")
	}
	return id, tick, nil
}

func appendFailed(dst []byte, id ID) []byte {
	dst = append(dst, recordFailed)
	return append(dst, id[:]...)
}

func parseFailed(p []byte) (id ID, err error) {
	if len(p) != failedSize {
		return id, errors.New("a failed tick's effect of another length")
	}
	copy(id[:], p[1:])
	return id, nil
}

func appendTold(dst []byte, id ID, tick uint64) []byte {
	dst = append(dst, recordTold)
	dst = append(dst, id[:]...)
	return le.AppendUint64(dst, tick)
}

func parseTold(p []byte) (id ID, tick uint64, err error) {
	if len(p) != toldSize {
		return id, 0, errors.New("what was told, of another length")
	}
	copy(id[:], p[1:])
	if tick = le.Uint64(p[1+idSize:]); tick == 0 {
		return id, 0, errors.New("what was told before the first tick")
	}
	return id, tick, nil
}

const signatureSize = 64

// payment reports whether a record begins a payment whose receipt has room for a signature
// of that size.
func payment(record []byte, signature int) (ok bool) {
	if len(record) == 0 || record[0] != recordBegin && record[0] != recordBeginAt {
		return false
	}
	_, b, err := parseBegin(record)
	return err == nil && b.Kind == Payment && len(b.Request) >= signature
}

// Unsigned returns a record without the signature that the payment has which it begins,
// if it does: the last bytes of its receipt. It aliases record.
func Unsigned(record []byte) []byte {
	if payment(record, signatureSize) {
		return record[:len(record)-signatureSize]
	}
	return record
}

// Signed returns what [Unsigned] was made of. sign signs a receipt that has all but its
// signature.
func Signed(record []byte, sign func(receipt []byte) ([]byte, error)) ([]byte, error) {
	if !payment(record, 0) {
		return record, nil
	}
	_, b, err := parseBegin(record)
	if err != nil {
		return nil, err
	}
	signature, err := sign(b.Request)
	return append(record[:len(record):len(record)], signature...), err
}

// HeadOf returns the head of a journal of these records, its header first, and whose it is.
func HeadOf(records [][]byte) (head verifier.Hash, of Life, err error) {
	if len(records) == 0 {
		return head, of, &DamageError{errShort}
	}
	if of, _, err = parseHeader(records[0]); err != nil {
		return head, of, &DamageError{err}
	}
	for _, r := range records {
		head = next(head, r)
	}
	return head, of, nil
}

// Restore makes a journal of its records.
func Restore(folder wal.Folder, records [][]byte) error {
	var content []byte
	for _, r := range records {
		content = wal.AppendRecord(content, r)
	}
	return wrap(wal.WriteFile(folder, nextName, Name, bytes.NewReader(content), false))
}
