// Heartbeat is an agent that counts its ticks, and says so every tenth time:
// the smallest life worth verifying.
package main

import (
	"encoding/binary"
	"errors"
	"strconv"
	"time"

	"igor.dev/sdk"
)

// A heart beats once a tick. Its state is 16 bytes, little-endian: how often it
// beat, and when it did last, in Unix nanoseconds.
type heart struct {
	beats uint64
	last  time.Time
}

const sayEvery = 10

func (h *heart) Init() { sdk.Log("alive") }

func (h *heart) Tick() (more bool) {
	h.beats++
	h.last = sdk.Now()
	if h.beats%sayEvery == 0 {
		sdk.Log("beat " + strconv.FormatUint(h.beats, 10))
	}
	return false
}

const stateSize = 16

func (h *heart) Marshal() []byte {
	b := make([]byte, 0, stateSize)
	b = binary.LittleEndian.AppendUint64(b, h.beats)
	return binary.LittleEndian.AppendUint64(b, uint64(h.last.UnixNano()))
}

func (h *heart) Unmarshal(b []byte) error {
	if len(b) != stateSize {
		return errors.New("not the state of a heartbeat")
	}
	h.beats = binary.LittleEndian.Uint64(b)
	h.last = time.Unix(0, int64(binary.LittleEndian.Uint64(b[8:]))).UTC()
	return nil
}

func init() { sdk.Run(&heart{last: time.Unix(0, 0).UTC()}) }

func main() {}
