package hostcall

import (
	"sync/atomic"
	"time"
)

// A Meter counts what hostcalls cost, by capability. Its zero value is ready,
// and it is safe for concurrent use.
type Meter struct {
	counters [len(meterOrder)]counter
}

var meterOrder = [...]string{"clock", "rand", "log", "kv", "wallet", "pricing", "http", "x402"}

// Usage is what the hostcalls of one capability cost.
type Usage struct {
	Capability string
	Calls      uint64
	Bytes      uint64 // in and out of the agent's memory
	Time       time.Duration
}

type counter struct{ calls, bytes, ns atomic.Uint64 }

func (m *Meter) of(capability string) *counter {
	if m == nil {
		return nil
	}
	for i, name := range meterOrder {
		if name == capability {
			return &m.counters[i]
		}
	}
	return nil
}

func (c *counter) add(bytes int, d time.Duration) {
	if c != nil {
		c.calls.Add(1)
		c.bytes.Add(uint64(bytes))
		c.ns.Add(uint64(max(0, d)))
	}
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
