package runtime

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"igor.dev/runtime/internal/eventlog"
	"igor.dev/runtime/internal/failpoint"
	"igor.dev/runtime/internal/hint"
	"igor.dev/runtime/internal/hostcall"
	"igor.dev/runtime/internal/journal"
	"igor.dev/runtime/internal/record"
	"igor.dev/runtime/internal/store"
	"igor.dev/verifier"
	"igor.dev/verifier/history"
)

// open opens what a life needs of its folder.
func (l *life) open(s *store.Store) error {
	var err error
	if l.key, err = l.sim.keyOf(s); err != nil {
		return err
	}
	copy(l.public[:], l.key.Public().(ed25519.PublicKey))
	s.Through = l.through
	l.history, l.folder = s, s.Folder()
	// What is found here is relied on from now on: a killed process may have given a
	// file its name, and not lived to sync that.
	if err := l.folder.Sync(); err != nil {
		return err
	}
	l.result.DID = l.public.DID()
	if err := l.openReceipts(); err != nil {
		return err
	}
	l.world = record.World{
		Live: hostcall.Live{
			Log:      l.Log,
			Balance:  func() int64 { return l.account.budget },
			Price:    func() int64 { return l.account.price },
			Receipts: l.payments.list,
		},
		Manifest: l.manifest,
		Meter:    &l.meter,
		Key:      l.key,
		Sync:     l.sync,
		Spend:    func(microcents int64) { l.account.budget -= microcents },
		Paid:     l.paid,
	}
	return l.outside()
}

// genesis makes the first checkpoint, directly after agent_init. The folder does
// not have its name yet: if anything fails, the agent was never born.
func (l *life) genesis(ctx context.Context, s *store.Store, b Birth) error {
	l.account = account{budget: b.Budget, price: b.Price}
	err := l.beginLog(ctx, s)
	if err != nil {
		return err
	}
	if l.in, err = l.incarnate(ctx, &l.world, nil, nil, 0); err != nil {
		return err
	}
	began := l.sim.now()
	if err := l.in.agent.Init(ctx); err != nil {
		return err
	}
	failpoint.Reach(failpoint.Initialized)
	if _, err := l.in.host.End(0, record.Used{Elapsed: l.sim.since(began)}, func(record.Used) eventlog.Metered { return eventlog.Metered{} }); err != nil {
		return err
	}
	if err := l.checkpoint(ctx); err != nil {
		return err
	}
	return l.settle()
}

// beginLog opens the folder of a life that has no genesis yet, and begins its event
// log with what it has to live on.
func (l *life) beginLog(ctx context.Context, s *store.Store) error {
	if err := l.open(s); err != nil {
		return err
	}
	if _, err := s.Recover(ctx, l.public[:]); err != nil {
		return err
	}
	segments, payloads, _, err := s.Events()
	if err != nil {
		return err
	}
	l.log = eventlog.New(segments, payloads)
	if l.world.Writer, _, err = l.log.Continue(l.header(), 0); err != nil {
		return err
	}
	if err := l.authorise(l.account.budget); err != nil {
		return err
	}
	return l.world.Writer.Append(&eventlog.Record{Kind: eventlog.Account, Tick: l.tick, Reason: eventlog.Birth, Amount: l.account.budget, Price: l.account.price})
}

// recover finds out where the life stands.
func (l *life) recover(ctx context.Context, s *store.Store) error {
	if err := l.open(s); err != nil {
		return err
	}
	found, err := s.Recover(ctx, l.public[:])
	if err != nil {
		return err
	}
	if found.Damaged != "" {
		l.Log.Warn("the newest checkpoint is damaged and was set aside; going on from the one before",
			"damage", found.Damage, "file", found.Damaged)
	}
	if found.Newest == nil {
		return hint.Wrap(fmt.Errorf("%s has no checkpoint", s.Dir()), "restore its history from a copy; to begin a new life, igor run")
	}
	c, err := verifier.Parse(found.Newest)
	if err != nil {
		return err
	}
	if c.WASMHash != l.wasmHash {
		return hint.Wrap(errors.New("the agent's program is not the one of its newest checkpoint"),
			"put the program with SHA-256 %s back as agent.wasm", c.WASMHash)
	}
	l.account = account{budget: c.Budget, price: c.PricePerSecond}
	l.tick, l.saved, l.head, l.state = c.TickNumber, c.TickNumber, found.Hash, c.State
	l.resumed = c.TickNumber
	l.before = journal.Base{Tick: c.TickNumber, Hash: found.Hash}
	l.newest, l.older = found.Newest, found.Before
	l.result.Tick, l.result.Head, l.result.Budget = c.TickNumber, found.Hash, c.Budget
	if err := l.openLog(s, &found); err != nil {
		return err
	}
	if err := l.beginSettling(); err != nil {
		return err
	}
	failpoint.Reach(failpoint.Recovered)
	if l.TopUp < 0 || l.Price != nil && *l.Price < 0 {
		return errors.New("a top-up or a price is negative")
	}
	after := l.account
	if err := after.add(l.TopUp); err != nil {
		return err
	}
	if err := l.authorise(l.TopUp); err != nil {
		return err
	}
	if l.Price != nil {
		after.price = *l.Price
	}
	l.Log.Info("alive", "did", l.result.DID, "folder", s.Dir(), "tick", l.tick, "budget", verifier.FormatMicrocents(after.budget))
	again, err := l.feed.More()
	if err == nil && !again && after.exhausted() {
		return hint.Wrap(errors.New("the agent's budget is exhausted"), "to give it more: igor resume %s --top-up AMOUNT", s.Dir())
	}
	return err
}

// openLog opens the event log and the journal where they stand, and takes what
// the recorded ticks cost from the account.
func (l *life) openLog(s *store.Store, found *store.Recovery) error {
	segments, payloads, _, err := s.Events()
	if err != nil {
		return err
	}
	identity := journal.Life{Agent: l.public, Genesis: found.First}
	if found.FirstTick > 0 {
		// It was born before there were event logs and journals, with a genesis after
		// its first tick.
		if err := l.equip(segments.Names, identity); err != nil {
			return err
		}
	}
	if l.world.Journal, err = journal.Open(l.folder, identity, l.saved); err != nil {
		return err
	}
	l.files = append(l.files, l.world.Journal)
	l.world.Genesis = found.First
	l.log = eventlog.New(segments, payloads)
	if err := l.findReleases(s); err != nil {
		return err
	}
	if err := l.openSegment(); err != nil {
		return err
	}
	return l.catchUpReceipts(s)
}

// openSegment opens the segment of the event log that comes after the newest
// checkpoint. What it has is to be lived again; what those ticks cost is taken
// from the account.
func (l *life) openSegment() error {
	w, was, err := l.log.Continue(l.header(), l.saved+1)
	if err != nil {
		return err
	}
	l.world.Writer = w
	if l.wentLive || l.world.Journal == nil {
		return nil // it is new
	}
	if was.Damage != "" {
		l.Log.Warn("the event log after the newest checkpoint is damaged; going on with what is whole of it", "damage", was.Damage, "file", was.Aside)
	}
	l.sealed = was.Sealed
	totals := w.Totals()
	if l.feed, err = record.NewFeed(l.log, l.saved+1, totals.Records); err != nil {
		return err
	}
	l.files = append(l.files, l.feed)
	if last := max(l.saved, totals.Last); l.sealed.IsZero() {
		for _, e := range l.world.Journal.Effects() {
			if e.Tick > last+1 {
				return hint.Wrap(fmt.Errorf("the journal has a side effect of tick %d, and the event log ends at tick %d", e.Tick, last),
					"restore the folder events from a copy: without it the agent would not know what led to that side effect")
			}
		}
	}
	if err := l.dropReleased(l.saved+1, totals.Records); err != nil {
		return err
	}
	if l.account.budget, err = totals.Budget(l.account.budget); err != nil {
		return fmt.Errorf("event log: %w", err)
	}
	if totals.Priced {
		l.account.price = totals.Price
	}
	return nil
}

// equip makes the journal of a life that has none yet. A folder that has an event
// log had a journal too.
func (l *life) equip(segments func() ([]string, error), identity journal.Life) error {
	names, err := segments()
	if err != nil {
		return err
	}
	if slices.ContainsFunc(names, func(name string) bool { return strings.HasSuffix(name, eventlog.Ext) && !history.Ignored(name) }) {
		return nil
	}
	f, err := l.folder.Open(journal.Name)
	if err == nil {
		return f.Close()
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return journal.Create(l.folder, identity, l.before)
}

// goLive is called between two ticks where nothing is recorded any more of the
// segment that is lived again. If there is one after it, that is lived again too;
// else the life is live, and what comes in does so now.
func (l *life) goLive(ctx context.Context) error {
	if !l.wentLive {
		if !l.sealed.IsZero() {
			if err := l.checkpoint(ctx); err != nil {
				return err
			}
			if again, err := l.feed.More(); err != nil || again {
				if err == nil { // what agent_resume observed was recorded as well
					l.in.close()
					l.in, err = l.incarnate(ctx, &l.world, l.feed, l.state, l.tick+1)
				}
				return err
			}
		}
		if err := l.goneLive(); err != nil {
			return err
		}
	}
	return l.comeIn()
}

// goneLive is called where nothing is recorded any more: between two ticks, or after
// one that went live in its middle.
func (l *life) goneLive() error {
	l.wentLive = true
	failpoint.Reach(failpoint.WentLive)
	if l.tick > l.resumed {
		l.Log.Info("lived again", "from", l.resumed+1, "to", l.tick)
	}
	return l.dropStrays()
}

// dropStrays sets aside the segments after the one that is open: what they were
// recorded after is gone.
func (l *life) dropStrays() error {
	strays, err := l.log.SetAsideAfter(l.saved + 1)
	if err != nil {
		return err
	}
	for _, aside := range strays {
		l.Log.Warn("a segment of the event log that nothing leads to was set aside", "file", aside)
	}
	return nil
}

// comeIn lets in what comes in from outside the life, between two ticks: what
// compensated effects held, and, once, what the operator gives.
func (l *life) comeIn() error {
	changed, err := l.release()
	if err != nil {
		return err
	}
	if !l.cameIn {
		l.cameIn = true
		if l.TopUp > 0 {
			if err := l.comesIn(eventlog.Record{Reason: eventlog.TopUp, Amount: l.TopUp}); err != nil {
				return err
			}
			changed = true
		}
		if l.Price != nil && *l.Price != l.account.price {
			l.account.price = *l.Price
			if err := l.comesIn(eventlog.Record{Reason: eventlog.NewPrice}); err != nil {
				return err
			}
			changed = true
		}
	}
	if !changed {
		return nil
	}
	return l.sync()
}
