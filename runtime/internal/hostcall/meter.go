package hostcall

import (
	"slices"
	"sync/atomic"
	"time"
)

// A Meter counts what hostcalls cost, by capability. Its zero value is ready,
// and it is safe for concurrent use.
type Meter struct {
	counters [len(meterOrder)]counter
}

var meterOrder = [...]string{"clock", "rand", "log", "kv", "wallet", "pricing", "http", "x402", "node"}

// Usage is what the hostcalls of one capability cost.
type Usage struct {
	Capability string        `json:"capability"`
	Calls      uint64        `json:"calls"`
	Bytes      uint64        `json:"bytes"` // in and out of the agent's memory
	Time       time.Duration `json:"ns"`
}

type counter struct{ calls, bytes, ns atomic.Uint64 }

// Metered is a [Host] whose calls are counted, if it has a meter.
type Metered interface{ Meter() *Meter }

func meterIndex(capability string) int { return slices.Index(meterOrder[:], capability) }

func (m *Meter) add(index, bytes int, d time.Duration) {
	if m == nil {
		return
	}
	c := &m.counters[index]
	c.calls.Add(1)
	c.bytes.Add(uint64(bytes))
	c.ns.Add(uint64(max(0, d)))
}

// Usage returns the capabilities that were called, in the order of the ABI.
func (m *Meter) Usage() []Usage {
	var all []Usage
	for i, name := range meterOrder {
		c := &m.counters[i]
		if n := c.calls.Load(); n > 0 {
			all = append(all, Usage{name, n, c.bytes.Load(), time.Duration(c.ns.Load())})
		}
	}
	return all
}
