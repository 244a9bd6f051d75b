package eventlog

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"igor.dev/verifier"
)

// Limits, in bytes.
const (
	// MaxInline is how long a payload may be that stands in its record. A longer
	// one is a file of its own, and the record has its content hash.
	MaxInline = 1 << 12

	// MaxPayload is the longest payload, of a request or of a result.
	MaxPayload = 16 << 20

	maxRecord = 1 + 8 + 8 + 8 + 2*(4+MaxInline) // a call with both payloads inline
)

const (
	magic   = "igor/events/v1\x00"
	sealTag = "igor/event-segment/v1\x00"
)

// A Kind says what a record is of: a hostcall by its number, or something that
// the host did.
type Kind uint8

// The kinds.
const (
	ClockNow           Kind = 1
	RandBytes          Kind = 2
	LogEmit            Kind = 3
	WalletBalance      Kind = 4
	WalletReceiptCount Kind = 5
	WalletReceipt      Kind = 6
	NodePrice          Kind = 7
	HTTPRequest        Kind = 8
	WalletPay          Kind = 9
	KVGet              Kind = 10
	KVPut              Kind = 11
	KVDelete           Kind = 12

	TickEnd Kind = 128 // a tick is over
	Account Kind = 129 // money came in, or the price changed
	Origin  Kind = 130 // the life is a fork, and begins with a state of another

	header Kind = 0
	footer Kind = 255
)

// What a hostcall's record has beside the return value.
const (
	hasRequest = 1 << iota
	hasResult
	hasSpent
	known
)

var shapes = [256]uint8{
	ClockNow:           known,
	RandBytes:          known | hasRequest | hasResult,
	LogEmit:            known | hasRequest,
	WalletBalance:      known,
	WalletReceiptCount: known,
	WalletReceipt:      known | hasRequest | hasResult,
	NodePrice:          known,
	HTTPRequest:        known | hasRequest | hasResult | hasSpent,
	WalletPay:          known | hasRequest | hasResult | hasSpent,
	KVGet:              known | hasRequest | hasResult,
	KVPut:              known | hasRequest,
	KVDelete:           known | hasRequest,
}

var names = [256]string{
	ClockNow: "clock_now", RandBytes: "rand_bytes", LogEmit: "log_emit", WalletBalance: "wallet_balance",
	WalletReceiptCount: "wallet_receipt_count", WalletReceipt: "wallet_receipt", NodePrice: "node_price",
	HTTPRequest: "http_request", WalletPay: "wallet_pay", KVGet: "kv_get", KVPut: "kv_put", KVDelete: "kv_delete",
	TickEnd: "tick end", Account: "account", Origin: "origin",
}

// String returns the name of a hostcall, or that of another kind.
func (k Kind) String() string {
	if names[k] == "" {
		return fmt.Sprintf("kind %d", uint8(k))
	}
	return names[k]
}

// Hostcall reports whether k is one.
func (k Kind) Hostcall() bool { return shapes[k]&known != 0 }

// Data is the payload of a record: the bytes themselves, or their name where
// they are a file of their own (see [Log.Content]).
type Data struct {
	inline []byte
	size   uint32
	hash   verifier.Hash // of more than MaxInline bytes
}

// Bytes makes b a payload. It does not copy b.
func Bytes(b []byte) Data {
	d := Data{inline: b, size: uint32(min(len(b), math.MaxUint32))}
	if len(b) > MaxInline {
		d.hash = sha256.Sum256(b)
	}
	return d
}

// Size returns the length of the payload.
func (d Data) Size() int { return int(d.size) }

// Is reports whether b is the payload.
func (d Data) Is(b []byte) bool {
	if int(d.size) != len(b) {
		return false
	}
	if d.size > MaxInline {
		return d.hash == sha256.Sum256(b)
	}
	return string(d.inline) == string(b)
}

// A Reason says why a record of kind Account is there.
type Reason uint8

// The reasons.
const (
	Birth    Reason = 1 // the budget that the agent begins with
	TopUp    Reason = 2 // money was added
	Release  Reason = 3 // what a compensated effect held goes back
	NewPrice Reason = 4 // a second costs something else from now on
)

// A Record is one observation, or one thing that the host did.
type Record struct {
	Kind Kind
	Tick uint64 // the tick that runs, or is the next to run; 0 is agent_init

	// Of hostcalls, in the way of the table in docs/spec/eventlog.md; Return is
	// also what agent_tick returned, in a TickEnd.
	Return  int64
	Spent   int64 // microcents that the call took from the budget: HTTPRequest, WalletPay
	Request Data
	Result  Data

	// Of TickEnd.
	Elapsed uint64 // nanoseconds
	Cost    int64  // microcents that the tick's time took from the budget

	// Of Account.
	Reason Reason
	Amount int64         // microcents that came in; 0 for NewPrice
	Price  int64         // microcents per second, from now on
	Effect verifier.Hash // whose hold goes back, for Release

	// Of Origin.
	Agent      verifier.PublicKey // the origin's
	Checkpoint verifier.Hash      // of the origin, from which its state was had
}

var (
	le       = binary.LittleEndian
	errShort = errors.New("a record is shorter than its kind")
	errLong  = errors.New("a record is longer than its kind")
)

func (d Data) append(dst []byte) []byte {
	dst = le.AppendUint32(dst, d.size)
	if d.size > MaxInline {
		return append(dst, d.hash[:]...)
	}
	return append(dst, d.inline...)
}

func (r *Record) append(dst []byte) []byte {
	dst = append(dst, byte(r.Kind))
	dst = le.AppendUint64(dst, r.Tick)
	switch shape := shapes[r.Kind]; {
	case r.Kind == TickEnd:
		dst = le.AppendUint64(dst, uint64(r.Return))
		dst = le.AppendUint64(dst, r.Elapsed)
		dst = le.AppendUint64(dst, uint64(r.Cost))
	case r.Kind == Account:
		dst = append(dst, byte(r.Reason))
		dst = le.AppendUint64(dst, uint64(r.Amount))
		dst = le.AppendUint64(dst, uint64(r.Price))
		dst = append(dst, r.Effect[:]...)
	case r.Kind == Origin:
		dst = append(dst, r.Agent[:]...)
		dst = append(dst, r.Checkpoint[:]...)
	default:
		dst = le.AppendUint64(dst, uint64(r.Return))
		if shape&hasSpent != 0 {
			dst = le.AppendUint64(dst, uint64(r.Spent))
		}
		if shape&hasRequest != 0 {
			dst = r.Request.append(dst)
		}
		if shape&hasResult != 0 {
			dst = r.Result.append(dst)
		}
	}
	return dst
}

// A decoder takes fields off the front of a record. It remembers that there
// were too few bytes.
type decoder struct {
	b     []byte
	short bool
}

func (d *decoder) take(n int) []byte {
	if n > len(d.b) {
		d.short, d.b = true, nil
		return nil
	}
	b := d.b[:n]
	d.b = d.b[n:]
	return b
}

func (d *decoder) u8() uint8 {
	if b := d.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (d *decoder) u32() uint32 {
	if b := d.take(4); b != nil {
		return le.Uint32(b)
	}
	return 0
}

func (d *decoder) u64() uint64 {
	if b := d.take(8); b != nil {
		return le.Uint64(b)
	}
	return 0
}

func (d *decoder) hash() (h verifier.Hash) {
	copy(h[:], d.take(len(h)))
	return h
}

func (d *decoder) data() (v Data) {
	v.size = d.u32()
	if v.size > MaxInline {
		v.hash = d.hash()
	} else {
		v.inline = d.take(int(v.size))
	}
	return v
}

// parse reads a record. Its payloads alias b.
func parse(b []byte) (r Record, err error) {
	d := decoder{b: b}
	r.Kind = Kind(d.u8())
	r.Tick = d.u64()
	switch shape := shapes[r.Kind]; {
	case r.Kind == TickEnd:
		r.Return = int64(d.u64())
		r.Elapsed = d.u64()
		r.Cost = int64(d.u64())
	case r.Kind == Account:
		r.Reason = Reason(d.u8())
		r.Amount = int64(d.u64())
		r.Price = int64(d.u64())
		r.Effect = d.hash()
	case r.Kind == Origin:
		copy(r.Agent[:], d.take(len(r.Agent)))
		r.Checkpoint = d.hash()
	case shape&known != 0:
		r.Return = int64(d.u64())
		if shape&hasSpent != 0 {
			r.Spent = int64(d.u64())
		}
		if shape&hasRequest != 0 {
			r.Request = d.data()
		}
		if shape&hasResult != 0 {
			r.Result = d.data()
		}
	default:
		return r, fmt.Errorf("a record of the unknown kind %d", r.Kind)
	}
	switch {
	case d.short:
		return r, errShort
	case len(d.b) > 0:
		return r, errLong
	}
	return r, r.check()
}

// check refuses what no writer writes.
func (r *Record) check() error {
	switch {
	case r.Request.size > MaxPayload || r.Result.size > MaxPayload:
		return fmt.Errorf("a payload of %d bytes, and at most %d are allowed", max(r.Request.size, r.Result.size), MaxPayload)
	case r.Spent < 0 || r.Cost < 0 || r.Amount < 0 || r.Price < 0:
		return errors.New("a negative amount of money")
	case r.Kind != Account:
		return nil
	case r.Reason < Birth || r.Reason > NewPrice:
		return fmt.Errorf("an account record with the unknown reason %d", r.Reason)
	case r.Reason == NewPrice && r.Amount != 0:
		return errors.New("a new price with an amount")
	case (r.Reason == Release) == r.Effect.IsZero():
		return errors.New("an account record that names an effect and is no release, or the other way round")
	}
	return nil
}

// A Header says between what a segment stands.
type Header struct {
	Prev     verifier.Hash // the checkpoint before it, zero before the genesis
	WASM     verifier.Hash // the program that runs
	Manifest verifier.Hash // SHA-256 of the manifest's bytes
}

const headerSize = 1 + len(magic) + 3*32

func (h *Header) append(dst []byte) []byte {
	dst = append(dst, byte(header))
	dst = append(dst, magic...)
	dst = append(dst, h.Prev[:]...)
	dst = append(dst, h.WASM[:]...)
	return append(dst, h.Manifest[:]...)
}

func parseHeader(b []byte) (h Header, err error) {
	if len(b) != headerSize || Kind(b[0]) != header || string(b[1:1+len(magic)]) != magic {
		return h, errors.New("it does not begin with the header of an event segment, version 1")
	}
	d := decoder{b: b[1+len(magic):]}
	h.Prev, h.WASM, h.Manifest = d.hash(), d.hash(), d.hash()
	return h, nil
}

// A Seal is the end of a segment.
type Seal struct {
	Root      verifier.Hash // SHA-256 of all bytes before
	Next      verifier.Hash // the checkpoint after it
	Signature [64]byte      // by the agent's key
}

const sealSize = 1 + 32 + 32 + 64

func (s *Seal) append(dst []byte) []byte {
	dst = append(dst, byte(footer))
	dst = append(dst, s.Root[:]...)
	dst = append(dst, s.Next[:]...)
	return append(dst, s.Signature[:]...)
}

func parseSeal(b []byte) (s Seal, err error) {
	if len(b) != sealSize {
		return s, errors.New("a footer of another length")
	}
	d := decoder{b: b[1:]}
	s.Root, s.Next = d.hash(), d.hash()
	copy(s.Signature[:], d.take(64))
	return s, nil
}

// message returns the bytes that the agent's key signs.
func (s *Seal) message(prev verifier.Hash) []byte {
	b := make([]byte, 0, len(sealTag)+3*32)
	b = append(b, sealTag...)
	b = append(b, prev[:]...)
	b = append(b, s.Next[:]...)
	return append(b, s.Root[:]...)
}

// Totals are what the records of a segment come to, in microcents.
type Totals struct {
	Ticks   uint64 // that ended; agent_init is none
	Last    uint64 // the tick that ended last
	Elapsed uint64 // nanoseconds
	Added   int64  // to the budget
	Cost    int64  // of the ticks' time
	Spent   int64  // by calls
	Price   int64  // per second, if Priced
	Priced  bool   // an account record says the price
	Records uint64
	Origin  *Record // of a fork

	born  bool   // the first record is a birth
	ended bool   // a tick ended
	tick  uint64 // of the last record
}

// add counts a record. The ticks are to come in order, and a tick's end last. The
// origin of a fork stands for all ticks up to its own, and comes after its birth.
func (t *Totals) add(r *Record) error {
	switch {
	case r.Kind == Origin && !(t.born && t.Records == 1):
		return errors.New("an origin that does not come directly after a birth")
	case t.Records > 0 && r.Tick < t.tick:
		return fmt.Errorf("a record of tick %d after one of tick %d", r.Tick, t.tick)
	case t.ended && r.Tick != t.Last+1:
		return fmt.Errorf("a record of tick %d after the end of tick %d", r.Tick, t.Last)
	case t.Records > 0 && !t.ended && r.Tick != t.tick:
		return fmt.Errorf("tick %d has no end", t.tick)
	}
	sum := *t
	var over [4]bool
	sum.Added, over[0] = plus(t.Added, r.Amount)
	sum.Cost, over[1] = plus(t.Cost, r.Cost)
	sum.Spent, over[2] = plus(t.Spent, r.Spent)
	over[3] = r.Elapsed > math.MaxUint64-t.Elapsed
	if over != [4]bool{} {
		return errors.New("the sums are too large")
	}
	sum.Records, sum.tick = t.Records+1, r.Tick
	switch r.Kind {
	case TickEnd:
		sum.Elapsed += r.Elapsed
		sum.Last, sum.ended = r.Tick, true
		if r.Tick > 0 {
			sum.Ticks++
		}
	case Account:
		sum.Price, sum.Priced = r.Price, true
		if t.Records == 0 {
			sum.born = r.Reason == Birth
		}
	case Origin:
		origin := *r
		sum.Origin, sum.Last, sum.ended = &origin, r.Tick, true
	}
	*t = sum
	return nil
}

func plus(a, b int64) (sum int64, over bool) { return a + b, b > math.MaxInt64-a }

// Budget returns what is left of a budget.
func (t *Totals) Budget(before int64) (int64, error) {
	// Added first, and each step checked: a tick never spends what is not there.
	budget, over := plus(before, t.Added)
	if over || budget < t.Cost || budget-t.Cost < t.Spent {
		return 0, errors.New("the records spend more than there was")
	}
	return budget - t.Cost - t.Spent, nil
}
