package hostcall

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"strings"
	"time"

	"igor.dev/runtime/internal/kv"
)

// Live is the world as it is: the machine's clock, the system's randomness, a
// log, and what it is given. What it is not given fails.
type Live struct {
	Log      *slog.Logger
	Balance  func() int64           // the budget left, microcents
	Price    func() int64           // microcents per second
	Receipts func() [][]byte        // the payment receipts, oldest first
	HTTP_    Doer                   //
	Payer    Payer                  //
	KV       *kv.Map                //
}
