package eventlog

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"igor.dev/runtime/internal/account"
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

	// Of version 2 on.
	NodeID        Kind = 13
	PeerCount     Kind = 14
	PeerOffer     Kind = 15
	Migrate       Kind = 16
	MigrateStatus Kind = 17
	DrainDeadline Kind = 18

	// Not calls of their own: they come directly after the http_request whose answer
	// asked for a payment. Of version 2 on.
	PaymentRequired Kind = 19 // what it asked for
	PaidRequest     Kind = 20 // what came of the request with the payment

	TickEnd Kind = 128 // a tick is over
	Account Kind = 129 // money came in, or the price changed
	Origin  Kind = 130 // the life is a fork, and begins with a state of another

	// Of version 2 on.
	again      Kind = 131 // a tick went as the one before it: see [repeat]
	TickFailed Kind = 132 // a tick failed by its own doing
	Upgrade    Kind = 133 // the program or the manifest is another one from here on
	Finding    Kind = 134 // what the host tells the agent about a side effect
	// 135 retirement, 136 to 139 what nodes agree on: kept free, see docs/spec/eventlog.md

	header       Kind = 0
	footerStored Kind = 254 // where bytes that are stored have a price; of version 2
	footer       Kind = 255
)

// What a hostcall's record has beside the return value.
const (
	hasRequest = 1 << iota
	hasResult
	hasSpent
	known
	isNew // in version 2
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
	NodeID:             known | hasRequest | hasResult | isNew,
	PeerCount:          known | isNew,
	PeerOffer:          known | hasRequest | hasResult | isNew,
	Migrate:            known | hasRequest | isNew,
	MigrateStatus:      known | isNew,
	DrainDeadline:      known | isNew,
	PaymentRequired:    known | hasRequest | isNew,
	PaidRequest:        known | hasResult | hasSpent | isNew,
}

var names = [256]string{
	ClockNow: "clock_now", RandBytes: "rand_bytes", LogEmit: "log_emit", WalletBalance: "wallet_balance",
	WalletReceiptCount: "wallet_receipt_count", WalletReceipt: "wallet_receipt", NodePrice: "node_price",
	HTTPRequest: "http_request", WalletPay: "wallet_pay", KVGet: "kv_get", KVPut: "kv_put", KVDelete: "kv_delete",
	NodeID: "node_id", PeerCount: "peer_count", PeerOffer: "peer_offer",
	Migrate: "migrate", MigrateStatus: "migrate_status", DrainDeadline: "drain_deadline",
	PaymentRequired: "payment required", PaidRequest: "paid request",
	TickEnd: "tick end", Account: "account", Origin: "origin",
	again: "tick end", TickFailed: "tick failed", Upgrade: "upgrade", Finding: "finding",
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
	d := Data{inline: b, size: uint32(min(uint64(len(b)), math.MaxUint32))}
	if len(b) > MaxInline {
		d.hash = sha256.Sum256(b)
	}
	return d
}

// Size returns the length of the payload.
func (d Data) Size() int { return int(d.size) }

// file is how large the file is that has the payload, 0 if it stands in its record.
func (d Data) file() uint64 {
	if d.size > MaxInline {
		return uint64(d.size)
	}
	return 0
}

// Inline returns the bytes themselves, unless they are a file of their own that was
// not read: nil.
func (d Data) Inline() []byte { return d.inline }

// Payload returns the hash of bytes that are a file of their own, by which it is named.
func (d Data) Payload() (hash verifier.Hash, ok bool) { return d.hash, d.size > MaxInline }

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

// A Failure says how a call into the agent failed by its own doing.
type Failure uint8

// The failures.
const (
	Trap  Failure = 1 // the code trapped, or the agent did what it must not
	Fuel  Failure = 2 // the call used up its fuel
	Depth Failure = 3 // the calls went too deep
	Exit  Failure = 4 // the agent ended itself

	lastFailure = Exit
)

var failures = [...]string{Trap: "trap", Fuel: "out of fuel", Depth: "calls too deep", Exit: "exit"}

func (f Failure) String() string {
	if f == 0 || f > lastFailure {
		return fmt.Sprintf("failure %d", uint8(f))
	}
	return failures[f]
}

// A Call is one of those that make a tick, in their order.
type Call uint8

// The calls.
const (
	Initialize Call = 1
	Malloc     Call = 2
	Resume     Call = 3
	Observe    Call = 4
	Tick       Call = 5

	lastCall = Tick
)

var exports = [...]string{Initialize: "_initialize", Malloc: "malloc", Resume: "agent_resume", Observe: "agent_observe", Tick: "agent_tick"}

// String returns the name of the export that is called.
func (c Call) String() string {
	if c == 0 || c > lastCall {
		return fmt.Sprintf("call %d", uint8(c))
	}
	return exports[c]
}

// CallOf returns the call of an export, 0 if it is none of those.
func CallOf(export string) Call {
	for c, name := range exports {
		if name == export && c > 0 {
			return Call(c)
		}
	}
	return 0
}

// MaxUnits is the most that a record has of fuel, and of waited nanoseconds.
const MaxUnits = 1 << 53

// A Record is one observation, or one thing that the host did.
type Record struct {
	Kind Kind
	Tick uint64 // the tick that runs, or is the next to run; 0 is agent_init

	// Of hostcalls, in the way of the table in docs/spec/eventlog.md; Return is
	// also what agent_tick returned, in a TickEnd. Request is also what a Finding says.
	Return  int64
	Spent   int64 // microcents that the call took from the budget: HTTPRequest, WalletPay
	Request Data
	Result  Data

	// Of TickEnd and TickFailed.
	Cost    int64  // microcents that the tick took from the budget
	Elapsed uint64 // nanoseconds, of version 1 alone
	Fuel    uint64 // units of docs/spec/metering.md; this and the next of version 2
	Waited  uint64 // nanoseconds that hostcalls waited for the world; also of each that does: those with Spent
	Rest    uint64 // of a microcent, in 1e-9, that is owed after it

	again bool // it went as the tick before it

	// Of TickFailed.
	Failure Failure
	Call    Call

	// Of Account.
	Reason Reason
	Amount int64         // microcents that came in; 0 for NewPrice
	Price  int64         // microcents per second, from now on
	Effect verifier.Hash // whose hold goes back, for Release

	// Of Origin.
	Agent      verifier.PublicKey // the origin's
	Checkpoint verifier.Hash      // of the origin, from which its state was had

	// Of Upgrade: what there was before.
	WASM     verifier.Hash
	Manifest verifier.Hash
}

var (
	le         = binary.LittleEndian
	errShort   = errors.New("a record is shorter than its kind")
	errLong    = errors.New("a record is longer than its kind")
	errVarint  = errors.New("a record has a number that is not written as short as it can be, or is too large")
	errOldKind = errors.New("a record of a kind that version 1 does not have")
)

// append writes a record's payload in the form of a version.
func (r *Record) append(dst []byte, version uint8) []byte {
	if version == Version1 {
		return r.append1(dst)
	}
	return r.append2(dst)
}

// parse reads a record. Its payloads alias b. In version 2 the tick is not in it.
func parse(b []byte, version uint8) (r Record, err error) {
	if len(b) == 0 {
		return r, errShort
	}
	d := decoder{b: b[1:]}
	r.Kind = Kind(b[0])
	var ok bool
	if version == Version1 {
		ok = r.parse1(&d)
	} else {
		ok = r.parse2(&d)
	}
	switch {
	case !ok:
		return r, fmt.Errorf("a record of the unknown kind %d", b[0])
	case d.short:
		return r, errShort
	case d.bad:
		return r, errVarint
	case len(d.b) > 0:
		return r, errLong
	}
	return r, r.check(version)
}

// check refuses what no writer writes.
func (r *Record) check(version uint8) error {
	switch {
	case r.Request.size > MaxPayload || r.Result.size > MaxPayload:
		return fmt.Errorf("a payload of %d bytes, and at most %d are allowed", max(r.Request.size, r.Result.size), MaxPayload)
	case r.Spent < 0 || r.Cost < 0 || r.Amount < 0 || r.Price < 0:
		return errors.New("a negative amount of money")
	case version == Version1 && (r.Kind >= again || shapes[r.Kind]&isNew != 0):
		return errOldKind
	case version == Version1 && (r.Fuel != 0 || r.Waited != 0 || r.Rest != 0), version != Version1 && r.Elapsed != 0:
		return errors.New("a time of another version")
	case r.Fuel > MaxUnits || r.Waited > MaxUnits:
		return fmt.Errorf("more than %d units of fuel or nanoseconds", uint64(MaxUnits))
	case r.Rest >= account.Microcent:
		return errors.New("a rest of a microcent or more")
	}
	switch r.Kind {
	case TickFailed:
		if r.Failure == 0 || r.Failure > lastFailure || r.Call == 0 || r.Call > lastCall {
			return fmt.Errorf("a tick that failed in the unknown way %d, in the unknown call %d", r.Failure, r.Call)
		}
	case Account:
		switch {
		case r.Reason < Birth || r.Reason > NewPrice:
			return fmt.Errorf("an account record with the unknown reason %d", r.Reason)
		case r.Reason == NewPrice && r.Amount != 0:
			return errors.New("a new price with an amount")
		case (r.Reason == Release) == r.Effect.IsZero():
			return errors.New("an account record that names an effect and is no release, or the other way round")
		}
	}
	return nil
}
