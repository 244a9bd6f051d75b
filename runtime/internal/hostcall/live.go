package hostcall

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"log/slog"
	"strings"
	"time"

	"igor.dev/runtime/internal/kv"
)

// AgentMessage is the message under which the agent's own lines are logged.
const AgentMessage = "agent"

// Live is the world as it is: the machine's clock, the system's randomness, a
// log, and the parts that it is given. A call for which there is no part fails
// with CodeFailed, or gives 0.
type Live struct {
	Log      *slog.Logger
	Now      func() time.Time // nil = the machine's clock
	Random   io.Reader        // nil = the system's; it never fails
	Balance  func() int64     // the budget left, microcents
	Price    func() int64     // microcents per second
	Receipts func() [][]byte  // payment receipts, the oldest first
	Web      Doer
	Payer    Payer
	KV       *kv.Map
	Node     Node // nil = this is none
}

// ClockNow implements [Host].
func (l Live) ClockNow() int64 {
	if l.Now != nil {
		return l.Now().UnixNano()
	}
	return time.Now().UnixNano()
}

// RandBytes implements [Host].
func (l Live) RandBytes(b []byte) {
	if l.Random != nil {
		l.Random.Read(b)
		return
	}
	rand.Read(b) // never fails
}

// LogEmit implements [Host].
func (l Live) LogEmit(line []byte) {
	if l.Log.Enabled(context.Background(), slog.LevelInfo) {
		l.Log.Info(AgentMessage, "says", strings.ToValidUTF8(string(line), "\uFFFD"))
	}
}

// WalletBalance implements [Host].
func (l Live) WalletBalance() int64 {
	if l.Balance == nil {
		return 0
	}
	return l.Balance()
}

// NodePrice implements [Host].
func (l Live) NodePrice() int64 {
	if l.Price == nil {
		return 0
	}
	return l.Price()
}

// ReceiptCount implements [Host].
func (l Live) ReceiptCount() int32 {
	if l.Receipts == nil {
		return 0
	}
	return int32(len(l.Receipts()))
}

// Receipt implements [Host].
func (l Live) Receipt(index, room uint32) ([]byte, int32) {
	if l.Receipts == nil {
		return nil, CodeFailed
	}
	all := l.Receipts()
	if uint64(index) >= uint64(len(all)) {
		return nil, CodeFailed
	}
	return fitPlain(all[index], room)
}

// HTTP implements [Host].
func (l Live) HTTP(ctx context.Context, r *HTTPRequest) ([]byte, int32) {
	if l.Web == nil {
		return nil, CodeFailed
	}
	body, code := l.Web.Do(ctx, r)
	if code < 0 {
		if code != CodeTooLarge || len(body) != 4 || r.Room < 4 {
			body = nil
		}
		return body, code
	}
	return Fit(body, code, r.Room)
}

// Pay implements [Host].
func (l Live) Pay(ctx context.Context, p *Payment) ([]byte, int32) {
	if l.Payer == nil {
		return nil, CodeFailed
	}
	receipt, code := l.Payer.Pay(ctx, p)
	if code < 0 {
		return nil, code
	}
	return Fit(receipt, int32(4+len(receipt)), p.Room)
}

// KVGet implements [Host].
func (l Live) KVGet(key []byte, room uint32) ([]byte, int32) {
	if l.KV == nil {
		return nil, CodeFailed
	}
	value, ok := l.KV.Get(key)
	if !ok {
		return nil, CodeNotFound
	}
	return fitPlain(value, room)
}

// KVPut implements [Host].
func (l Live) KVPut(key, value []byte) int32 {
	if l.KV == nil {
		return CodeFailed
	}
	switch err := l.KV.Put(key, value); {
	case errors.Is(err, kv.ErrTooLong):
		return CodeTooLong
	case err != nil:
		return CodeProcessing
	}
	return 0
}

// KVDelete implements [Host].
func (l Live) KVDelete(key []byte) int32 {
	switch {
	case l.KV == nil:
		return CodeFailed
	case !l.KV.Delete(key):
		return CodeNotFound
	}
	return 0
}
