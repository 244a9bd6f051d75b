package runtime

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	money "igor.dev/runtime/internal/account"
	"igor.dev/runtime/internal/eventlog"
	"igor.dev/runtime/internal/progress"
	"igor.dev/runtime/internal/request"
	"igor.dev/runtime/internal/store"
	"igor.dev/verifier"
)

// Costs is what a part of a life cost, as its event log has it, signed by the
// agent's key.
type Costs struct {
	FirstTick uint64        `json:"firstTick,string"`
	LastTick  uint64        `json:"lastTick,string"`
	Ticks     uint64        `json:"ticks,string"`
	Time      time.Duration `json:"ns,string"`              // of the ticks
	TimeCost  int64         `json:"timeMicrocents,string"`  // what that took from the budget
	Spent     int64         `json:"spentMicrocents,string"` // by hostcalls

	// Of ticks that were metered: their units of fuel, the most in one, and in which.
	Fuel         uint64 `json:"fuel,string,omitempty"`
	MostFuel     uint64 `json:"mostFuel,string,omitempty"`
	MostFuelTick uint64 `json:"mostFuelTick,string,omitempty"`

	// What was stored at a price: bytes, and what that took from the budget.
	Stored     uint64 `json:"storedBytes,string,omitempty"`
	StoredCost int64  `json:"storedMicrocents,string,omitempty"`

	Added     int64       `json:"addedMicrocents,string"`     // to the budget
	Hostcalls []CallCosts `json:"hostcalls"`                  // of the capabilities that were called
	Intervals int         `json:"intervals"`                  // between checkpoints
	Missing   []CostsGap  `json:"missingIntervals,omitempty"` // of which nothing is counted
}

// CallCosts is what the hostcalls of one capability cost.
type CallCosts struct {
	Capability string `json:"capability"`
	Calls      uint64 `json:"calls,string"`
	Bytes      uint64 `json:"bytes,string"` // in and out of the agent's memory
	Spent      int64  `json:"spentMicrocents,string"`
}

// A CostsGap is an interval between checkpoints whose costs are not known.
type CostsGap struct {
	FirstTick uint64 `json:"firstTick,string"`
	LastTick  uint64 `json:"lastTick,string"`
	Reason    string `json:"reason"`
}

// ErrNoEventLog says that there is no event log beside a checkpoint.
var ErrNoEventLog = errors.New("there is no event log beside it")

// NewestCheckpoint returns the path of the newest checkpoint in an agent's folder,
// by its name.
func NewestCheckpoint(dir string) (string, error) {
	found, err := checkpointNames(dir)
	if err != nil {
		return "", err
	}
	if len(found) == 0 {
		return "", fmt.Errorf("%s has no checkpoint", dir)
	}
	return filepath.Join(dir, "history", found[len(found)-1]), nil
}

// CostsOf returns what the interval cost that ended with a checkpoint in an agent's
// folder, and what its life cost until then. What an event log says counts only if
// it is what the agent signed for the checkpoints.
func CostsOf(ctx context.Context, checkpoint string) (interval, life Costs, err error) {
	dir, err := filepath.Abs(filepath.Dir(checkpoint))
	if err != nil {
		return interval, life, err
	}
	events := filepath.Join(filepath.Dir(dir), "events")
	if _, err := os.Stat(events); filepath.Base(dir) != "history" || errors.Is(err, fs.ErrNotExist) {
		return interval, life, ErrNoEventLog
	}
	_, files, err := store.Checkpoints(ctx, dir)
	if err != nil {
		return interval, life, err
	}
	log, done, err := openReadOnly(events)
	if err != nil {
		return interval, life, err
	}
	defer done()
	all := 0
	for i, f := range files {
		if filepath.Base(f.Path) == filepath.Base(checkpoint) {
			all = i + 1
		}
	}
	if all == 0 {
		return interval, life, fmt.Errorf("%s is not in the history", checkpoint)
	}
	var counted atomic.Int64
	defer progress.Begin(ctx, func() string {
		return fmt.Sprintf("counted %d of %s", counted.Load(), plural(all, "interval"))
	})()
	var prev *verifier.Finding
	for i, f := range files[:all] {
		if ctx.Err() != nil {
			return interval, life, ctx.Err()
		}
		b, err := f.Read()
		if err != nil {
			return interval, life, err
		}
		next := verifier.Examine(b)
		interval = Costs{LastTick: f.Tick, Intervals: 1}
		if prev != nil {
			interval.FirstTick = prev.TickNumber + 1
		}
		err = interval.count(log, prev, &next)
		if err != nil && err != errNoPrev && err != errNoEvents && !eventlog.Bad(err) {
			return interval, life, err
		}
		if err != nil {
			interval.Missing = []CostsGap{{interval.FirstTick, interval.LastTick, err.Error()}}
		}
		life.add(&interval)
		prev = &next
		counted.Store(int64(i + 1))
	}
	return interval, life, nil
}

// The reasons why there is nothing to count.
var (
	errNoPrev   = errors.New("the checkpoint before it is not there")
	errNoEvents = errors.New("it has no event log")
)

// count takes the records between two checkpoints, all or none.
func (c *Costs) count(log *eventlog.Log, prev, next *verifier.Finding) error {
	if prev == nil && !next.PrevHash.IsZero() {
		return errNoPrev
	}
	f, err := log.Raw(c.FirstTick)
	if errors.Is(err, fs.ErrNotExist) {
		return errNoEvents
	}
	if err != nil {
		return err
	}
	defer f.Close()
	segment := func() io.Reader { return io.NewSectionReader(f, 0, math.MaxInt64) }
	totals, err := eventlog.Verify(segment(), prev, next)
	if err != nil {
		return err
	}
	for r := eventlog.NewReader(segment()); ; {
		record, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err // somebody writes to it
		}
		if record.Fuel > c.MostFuel {
			c.MostFuel, c.MostFuelTick = record.Fuel, record.Tick
		}
		if capability, bytes := moved(&record); capability != "" {
			c.call(CallCosts{capability, 1, uint64(bytes), record.Spent})
		}
	}
	c.Fuel = totals.Fuel
	c.Ticks, c.Time, c.TimeCost, c.Spent, c.Added = totals.Ticks, time.Duration(totals.Elapsed), totals.Cost, totals.Spent, totals.Added
	seal := &totals.Seal
	at := money.Account{Budget: seal.Cost}
	c.Stored, c.StoredCost = seal.Stored, at.Store(0, seal.Stored, seal.StoredPrice).Cost
	c.TimeCost -= c.StoredCost
	return nil
}

// call adds to what a capability cost.
func (c *Costs) call(u CallCosts) {
	i, found := slices.BinarySearchFunc(c.Hostcalls, u.Capability, func(h CallCosts, name string) int { return cmp.Compare(h.Capability, name) })
	if !found {
		c.Hostcalls = slices.Insert(c.Hostcalls, i, u)
		return
	}
	h := &c.Hostcalls[i]
	h.Calls += u.Calls
	h.Bytes += u.Bytes
	h.Spent += u.Spent
}

// add adds the interval that comes after c.
func (c *Costs) add(next *Costs) {
	if c.Intervals == 0 {
		c.FirstTick = next.FirstTick
	}
	c.LastTick = next.LastTick
	c.Ticks += next.Ticks
	c.Time += next.Time
	c.TimeCost += next.TimeCost
	c.Fuel += next.Fuel
	if next.MostFuel > c.MostFuel {
		c.MostFuel, c.MostFuelTick = next.MostFuel, next.MostFuelTick
	}
	c.Stored += next.Stored
	c.StoredCost += next.StoredCost
	c.Spent += next.Spent
	c.Added += next.Added
	for _, u := range next.Hostcalls {
		c.call(u)
	}
	c.Intervals += next.Intervals
	c.Missing = append(c.Missing, next.Missing...)
}

// moved returns of a hostcall its capability, and how many bytes it moved in and out
// of the agent's memory, as [Result] counts them. Of anything else, it returns "".
func moved(r *eventlog.Record) (capability string, bytes int) {
	in, out := r.Request.Size(), r.Result.Size()
	switch r.Kind {
	case eventlog.ClockNow:
		return "clock", 8
	case eventlog.RandBytes:
		n, _ := request.ParseSize(r.Request.Inline())
		return "rand", int(n)
	case eventlog.LogEmit:
		return "log", in
	case eventlog.WalletBalance:
		return "wallet", 8
	case eventlog.WalletReceiptCount:
		return "wallet", 4
	case eventlog.WalletReceipt:
		return "wallet", out
	case eventlog.NodePrice:
		return "pricing", 8
	case eventlog.HTTPRequest:
		return "http", in - request.HTTPOverhead + out
	case eventlog.WalletPay:
		return "x402", in - request.PayOverhead + out
	case eventlog.KVGet:
		return "kv", in - request.GetOverhead + out
	case eventlog.KVPut:
		return "kv", in - request.PutOverhead
	case eventlog.KVDelete:
		return "kv", in
	case eventlog.NodeID, eventlog.PeerOffer:
		return "node", out
	case eventlog.Migrate:
		return "node", in
	case eventlog.PeerCount, eventlog.MigrateStatus:
		return "node", 4
	case eventlog.DrainDeadline:
		return "node", 8
	}
	return "", 0
}
