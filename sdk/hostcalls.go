package sdk

import (
	"encoding/binary"
	"errors"
	"strconv"
	"strings"
	"time"

	"igor.dev/sdk/internal/host"
)

// Now returns the time of the machine that the agent lives on, in UTC. It needs
// the capability clock.
func Now() time.Time { return time.Unix(0, clockNow()).UTC() }

// MaxRand is the most bytes that one call of [Rand] fills.
const MaxRand = host.MaxRand

// Rand fills b, of at most [MaxRand] bytes, with randomness of the machine that
// the agent lives on. It needs the capability rand.
func Rand(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	return hostError("rand_bytes", randBytes(b), 0)
}

// MaxLog is how many bytes of a [Log] line are kept.
const MaxLog = host.MaxLog

// Log writes a line to the agent's log. It needs the capability log.
func Log(line string) {
	if line != "" {
		logEmit(line)
	}
}

// Balance returns the budget that is left, in microcents. It needs the
// capability wallet.
func Balance() int64 { return walletBalance() }

// Price returns what a second of tick time costs, in microcents. It needs the
// capability pricing.
func Price() int64 { return nodePrice() }

// Receipts returns the number of receipts of the agent's payments. It needs the
// capability wallet.
func Receipts() int { return int(walletReceiptCount()) }

// Receipt returns one of them, from 0 on, as docs/spec/receipts.md has it. It
// needs the capability wallet.
func Receipt(index int) ([]byte, error) {
	buf := make([]byte, host.MaxReceipt)
	n := walletReceipt(int32(index), buf)
	if n < 0 {
		return nil, hostError("wallet_receipt", n, inWallet)
	}
	return buf[:n], nil
}

// A Request is an HTTP request.
type Request struct {
	Method string   // "" = GET
	URL    string   // absolute, of a host that the manifest allows
	Header []string // lines "Name: value"
	Body   []byte

	// Room is how large the response's body may be. If it is 0, a GET or HEAD
	// gets what it needs, and any other request the most that there is.
	Room int
}

// A Response is what came back, whatever its status.
type Response struct {
	Status int
	Body   []byte

	effect bool // of a request that is neither GET nor HEAD
}

// Err returns nil if the status is one of success (2xx), and else an [*Error]. It
// fits [EffectLog.Act]: what a server refuses (4xx) did not happen, and after any
// other status, as of a server that failed midway (5xx), it may have.
func (r Response) Err() error {
	switch {
	case r.Status >= 200 && r.Status < 300:
		return nil
	case r.Status >= 400 && r.Status < 500 && r.Status != 408: // which a proxy sends after the fact, too
		return &Error{"http_request", int32(r.Status), ErrProcessing}
	case r.effect:
		return &Error{"http_request", int32(r.Status), ErrUnresolved}
	}
	return &Error{"http_request", int32(r.Status), ErrFailed}
}

const (
	firstRoom = 16 << 10
	sizeSize  = 4 // of the length before a body or a receipt
)

// The kinds of side effects, as a [Finding] has them.
const (
	kindHTTP = 8
	kindPay  = 9
)

// Do sends a request. It needs the capability http.
//
// A request that is neither GET nor HEAD is a side effect: see [EffectLog], and
// [MayHaveHappened] for what an error says. So is one that the manifest lets be paid
// (x402), of any method; give it the Room that its answer needs, since to ask again is
// to pay again.
func Do(r Request) (Response, error) {
	method := r.Method
	if method == "" {
		method = "GET"
	}
	room, grow := r.Room, false
	if room == 0 {
		if grow = method == "GET" || method == "HEAD"; grow {
			room = firstRoom
		} else {
			room = host.MaxResponse
		}
	}
	headers := strings.Join(r.Header, "\n")
	effect := method != "GET" && method != "HEAD"
	request := func() []byte {
		return appendPart(appendPart(appendPart(appendPart(nil, method), r.URL), headers), r.Body)
	}
	for {
		buf := make([]byte, sizeSize+room)
		send := func() int32 { return httpRequest(method, r.URL, headers, r.Body, buf) }
		status := sideEffect(kindHTTP, effect, request, buf, send)
		if status >= 0 {
			body, ok := sized(buf)
			if !ok {
				return Response{}, &Error{"http_request", host.Processing, ErrProcessing}
			}
			return Response{int(status), body, effect}, nil
		}
		needed := int(min(binary.LittleEndian.Uint32(buf), 1<<30)) - sizeSize
		if !grow || status != host.TooLarge || needed <= room || needed > host.MaxResponse {
			return Response{}, hostError("http_request", status, inHTTP)
		}
		room, grow = needed, false
	}
}

// Get is a [Do] of a GET.
func Get(url string) (Response, error) { return Do(Request{URL: url}) }

// sized returns what is in a buffer behind its length.
func sized(buf []byte) ([]byte, bool) {
	n := binary.LittleEndian.Uint32(buf)
	if uint64(n) > uint64(len(buf)-sizeSize) {
		return nil, false
	}
	return buf[sizeSize : sizeSize+n : sizeSize+n], true
}

// Pay pays an amount of microcents to a recipient that the manifest allows, and
// returns the receipt (docs/spec/receipts.md). It needs the capability x402.
//
// A payment is a side effect: see [EffectLog].
func Pay(amount int64, recipient, memo string) (receipt []byte, err error) {
	buf := make([]byte, sizeSize+host.MaxReceipt)
	n := sideEffect(kindPay, true, func() []byte {
		return appendPart(appendPart(binary.LittleEndian.AppendUint64(nil, uint64(amount)), recipient), memo)
	}, buf, func() int32 { return walletPay(amount, recipient, memo, buf) })
	if n < 0 {
		return nil, hostError("wallet_pay", n, inPay)
	}
	receipt, ok := sized(buf)
	if !ok {
		return nil, &Error{"wallet_pay", host.Processing, ErrProcessing}
	}
	return receipt, nil
}

// Limits of the agent's store, in bytes.
const (
	MaxKey   = host.MaxKey
	MaxValue = host.MaxValue
)

// Load returns a value of the agent's store, or [ErrNotFound]. It needs the
// capability kv. The store is part of the agent's state, without being in the
// bytes that Marshal returns.
func Load(key string) ([]byte, error) {
	room := firstRoom
	for {
		buf := make([]byte, room)
		n := kvGet(key, buf)
		if n >= 0 {
			return buf[:n:n], nil
		}
		needed := int(min(binary.LittleEndian.Uint32(buf), 1<<30))
		if n != host.NoRoom || needed <= room || needed > host.MaxValue {
			return nil, hostError("kv_get", n, inKV)
		}
		room = needed
	}
}

// Store sets a value of the agent's store. It needs the capability kv.
func Store(key string, value []byte) error {
	return hostError("kv_put", kvPut(key, value), inKV)
}

// Delete removes a value from the agent's store, or returns [ErrNotFound]. It
// needs the capability kv.
func Delete(key string) error {
	return hostError("kv_delete", kvDelete(key), inKV)
}

// NodeID returns the DID of the node that the agent lives on, or [ErrNotOnNode].
// Like the rest of what is about nodes, it needs the capability node.
func NodeID() (string, error) {
	b, err := grown("node_id", 128, maxDID, nodeID)
	return string(b), err
}

const (
	maxDID   = 4 << 10
	maxOffer = 64 << 10
)

// Peers returns how many peers have an offer that the manifest allows.
func Peers() (int, error) {
	n := peerCount()
	return int(max(n, 0)), hostError("peer_count", n, inNode)
}

// PeerOffer returns the signed offer of one of them, from 0 on. It stays the same
// for the tick.
func PeerOffer(index int) ([]byte, error) {
	return grown("peer_offer", 1<<10, maxOffer, func(buf []byte) int32 { return peerOffer(int32(index), buf) })
}

// grown calls with a buffer, and again with a larger one where that is needed.
func grown(call string, room, limit int, f func(buf []byte) int32) ([]byte, error) {
	for {
		buf := make([]byte, room)
		n := f(buf)
		if n >= 0 {
			return buf[:n:n], nil
		}
		needed := int(min(binary.LittleEndian.Uint32(buf), 1<<30))
		if n != host.NoRoom || needed <= room || needed > limit {
			return nil, hostError(call, n, inNode)
		}
		room = needed
	}
}

// Migrate asks to be moved to a node, after this tick's checkpoint.
func Migrate(did string) error { return hostError("migrate", migrate(did), inNode) }

// A Migration is where the newest wish to [Migrate] stands.
type Migration int

const (
	NoMigration Migration = iota // nothing was asked for
	Asked
	Moved
)

// MigrateStatus returns where the newest wish stands, or why it failed.
func MigrateStatus() (Migration, error) {
	n := migrateStatus()
	return Migration(max(n, 0)), hostError("migrate_status", n, inNode)
}

// DrainDeadline returns when the node wants to be empty, the zero Time if it does not.
func DrainDeadline() (time.Time, error) {
	ns := drainDeadline()
	if ns <= 0 {
		return time.Time{}, hostError("drain_deadline", int32(ns), inNode)
	}
	return time.Unix(0, ns).UTC(), nil
}

// What an [Error] wraps.
var (
	ErrFailed       = errors.New("failed")
	ErrTooLong      = errors.New("input too long")
	ErrNotAllowed   = errors.New("not allowed")
	ErrTimeout      = errors.New("timeout")                     // of http
	ErrOverCap      = errors.New("amount over the cap")         // of payments
	ErrTooLarge     = errors.New("what came back is too large") // of http and payments
	ErrNotFound     = errors.New("not found")                   // of the store
	ErrFull         = errors.New("the store is full")
	ErrProcessing   = errors.New("refused or malformed")
	ErrUnresolved   = errors.New("unresolved: it may have happened") // of side effects
	ErrNotDelivered = errors.New("paid, not delivered")              // of http: it happened, and the receipt is in the wallet
	ErrNotSettled   = errors.New("payment not settled")              // of http: it was never paid, and never will be
	ErrNotOnNode    = errors.New("not on a node")
	errNoRoom       = errors.New("buffer too small")
)

// An Error is a hostcall that failed, or whose answer says so.
type Error struct {
	Call string
	Code int32 // what the hostcall returned: negative, or the status of a [Response]
	Err  error
}

func (e *Error) Error() string {
	if e.Code > 0 {
		return e.Call + ": status " + strconv.Itoa(int(e.Code)) + ": " + e.Err.Error()
	}
	return e.Call + ": " + e.Err.Error()
}

// Unwrap returns one of the causes above.
func (e *Error) Unwrap() error { return e.Err }

const (
	inWallet = iota + 1
	inHTTP
	inPay
	inKV
	inNode
)

// hostError makes an error of a hostcall's negative result. Package fmt would
// make every agent half a megabyte larger.
func hostError(call string, code int32, capability int) error {
	if code >= 0 {
		return nil
	}
	err := ErrFailed
	switch code {
	case host.NotOnNode:
		if capability == inNode {
			err = ErrNotOnNode
		}
	case host.TooLong:
		err = ErrTooLong
	case host.NotAllowed:
		err = ErrNotAllowed
	case -4:
		err = [...]error{ErrFailed, errNoRoom, ErrTimeout, ErrOverCap, errNoRoom, errNoRoom}[capability]
	case -5:
		err = [...]error{ErrFailed, ErrFailed, ErrTooLarge, ErrTooLarge, ErrNotFound, ErrFailed}[capability]
	case host.Processing:
		if err = ErrProcessing; capability == inKV {
			err = ErrFull
		}
	case host.Unresolved:
		err = ErrUnresolved
	case host.NotDelivered:
		if capability == inHTTP {
			err = ErrNotDelivered
		}
	case host.NotSettled:
		if capability == inHTTP {
			err = ErrNotSettled
		}
	}
	return &Error{call, code, err}
}

// MayHaveHappened reports whether a side effect that returned err may have
// happened all the same: the answer is lost, or was too large. Of [ErrNotDelivered]
// it certainly did. Other errors say that it certainly did not.
func MayHaveHappened(err error) bool {
	var e *Error
	if !errors.As(err, &e) {
		return false
	}
	switch e.Err {
	case ErrUnresolved, ErrNotDelivered, ErrTooLarge, ErrTimeout:
		return true
	case ErrFailed:
		return e.Call == "http_request"
	}
	return false
}
