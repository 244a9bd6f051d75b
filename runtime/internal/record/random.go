package record

import (
	"crypto/sha256"
	"slices"

	"igor.dev/runtime/internal/eventlog"
	"igor.dev/runtime/internal/request"
)

// seedSize is how many bytes of randomness a tick gets from the world; all that it
// draws is made from them.
const seedSize = 32

const streamContext = "igor/rand/v2\x00"

// A stream is a tick's randomness: SHA-256(context || seed || i u64) for i = 0, 1, 2
// and so on, one after the other. Each call takes what comes next.
type stream struct {
	seed []byte
	next uint64 // block
	left []byte // of the last one
}

func (s *stream) read(b []byte) {
	for len(b) > 0 {
		if len(s.left) == 0 {
			block := le.AppendUint64(append([]byte(streamContext), s.seed...), s.next)
			sum := sha256.Sum256(block)
			s.next++
			s.left = sum[:]
		}
		n := copy(b, s.left)
		b, s.left = b[n:], s.left[n:]
	}
}

// RandBytes implements [hostcall.Host]. In version 1 of the event log each call has
// its bytes there; later the first call of a tick has the seed.
func (h *Host) RandBytes(b []byte) {
	asked := request.Size(len(b)).Append(nil)
	each := h.version() == eventlog.Version1
	recorded := eventlog.Record{Kind: eventlog.RandBytes, Tick: h.tick, Request: eventlog.Bytes(asked)}
	result, _, again := h.given(eventlog.RandBytes, asked)
	want := 0
	switch {
	case each:
		want = len(b)
	case h.random == nil:
		want = seedSize
	}
	if again && len(result) != want {
		h.fail(h.diverge("rand_bytes", "rand_bytes", le.AppendUint32(nil, uint32(len(result))), le.AppendUint32(nil, uint32(want))))
	}
	if !again {
		result = make([]byte, want)
		if want > 0 {
			h.world.Live.RandBytes(result)
		}
		recorded.Result = eventlog.Bytes(result)
		h.pending = append(h.pending, recorded)
		h.calls++
	}
	if each {
		copy(b, result)
	} else {
		if h.random == nil {
			h.random = &stream{seed: slices.Clone(result)}
		}
		h.random.read(b)
	}
	if h.Observe != nil { // what was drawn, wherever it comes from
		recorded.Result = eventlog.Bytes(slices.Clone(b))
		h.Observe(&recorded)
	}
}
