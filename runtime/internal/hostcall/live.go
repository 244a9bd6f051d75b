package hostcall

import (
	"context"
	"crypto/rand"
	"log/slog"
	"strings"
	"time"
)

// Live is the world as it is: the machine's clock, the system's randomness,
// and a log.
type Live struct {
	Log *slog.Logger
}

// ClockNow implements [Host].
func (Live) ClockNow() int64 { return time.Now().UnixNano() }

// RandBytes implements [Host].
func (Live) RandBytes(b []byte) { rand.Read(b) } // never fails

// LogEmit implements [Host].
func (l Live) LogEmit(line []byte) {
	if l.Log.Enabled(context.Background(), slog.LevelInfo) {
		l.Log.Info("agent", "says", strings.ToValidUTF8(string(line), "\uFFFD"))
	}
}
