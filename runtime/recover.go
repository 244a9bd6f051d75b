package runtime

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"igor.dev/authority"
	money "igor.dev/runtime/internal/account"
	"igor.dev/runtime/internal/eventlog"
	"igor.dev/runtime/internal/failpoint"
	"igor.dev/runtime/internal/hint"
	"igor.dev/runtime/internal/journal"
	"igor.dev/runtime/internal/receipt"
	"igor.dev/runtime/internal/record"
	"igor.dev/runtime/internal/store"
	"igor.dev/verifier"
	"igor.dev/verifier/history"
)

// A recovery is what was recorded after the newest checkpoint, and is to be lived
// again. ARCHITECTURE.md draws its order.
type recovery struct {
	from  uint64        // the tick of the checkpoint that the run goes on from
	state []byte        // of the newest checkpoint
	feed  *record.Feed  // of the segment after it
	lost  verifier.Hash // the checkpoint that was made after that segment, and is not there
	over  bool          // nothing is recorded any more: the life is live

	storedPrice int64 // of the lost checkpoint
}

// genesis makes the first checkpoint, directly after agent_init. The folder does
// not have its name yet: if anything fails, the agent was never born.
func (l *life) genesis(ctx context.Context, s *store.Store, b Birth) error {
	l.account = account{budget: b.Budget, price: b.Price}
	err := l.beginLog(ctx, s)
	if err != nil {
		return err
	}
	if l.in, err = l.incarnate(ctx, nil, nil, false); err != nil {
		return err
	}
	began := l.machine.now()
	if err := l.in.init(ctx); err != nil {
		return err
	}
	failpoint.Reach(failpoint.Initialized)
	if _, err := l.in.end(0, l.machine.since(began), l.charge); err != nil {
		return err
	}
	l.watch.status.TickCost += l.took
	if err := l.checkpoint(ctx); err != nil {
		return err
	}
	return l.commits.waitDurable()
}

// beginLog opens the folder of a life that has no genesis yet, and begins its event
// log with what it has to live on.
func (l *life) beginLog(ctx context.Context, s *store.Store) error {
	var err error
	if l.key, err = l.machine.keys().NewKey(s.Path()); err != nil {
		return err
	}
	if err := l.openWith(s); err != nil {
		return err
	}
	if _, err := s.Recover(ctx, l.public[:]); err != nil {
		return err
	}
	if err := l.openReceipts(s); err != nil {
		return err
	}
	if err := l.homeOfManifest(); err != nil {
		return err
	}
	if l.Home != nil && l.Home.Name != "" {
		if err := s.SetHome(store.Home{Name: l.Home.Name}); err != nil {
			return err
		}
	}
	if l.log, err = s.EventLog(); err != nil {
		return err
	}
	if l.world.Writer, _, err = l.log.Continue(l.header(), 0); err != nil {
		return err
	}
	l.world.Version = l.world.Writer.Header().Version
	if err := l.authorise(l.account.budget); err != nil {
		return err
	}
	return l.world.Writer.Append(&eventlog.Record{Kind: eventlog.Account, Tick: l.tick, Reason: eventlog.Birth, Amount: l.account.budget, Price: l.account.price})
}

// recover finds out where the life stands.
func (l *life) recover(ctx context.Context, s *store.Store) error {
	if _, err := os.Stat(filepath.Join(s.Path(), receipt.Name)); errors.Is(err, fs.ErrNotExist) { // which it will make
		l.Log.Warn("the agent's receipts are missing: what it paid, and what nodes signed for its time, is not with it any more", "file", receipt.Name)
	}
	if err := l.open(s); err != nil {
		return err
	}
	found, err := s.Recover(ctx, l.public[:])
	if err != nil {
		return err
	}
	if err := l.openReceipts(s); err != nil {
		return err
	}
	if found.Damaged != "" {
		l.Log.Warn("the newest checkpoint is damaged and was set aside; going on from the one before",
			"damage", found.Damage, "file", found.Damaged)
	}
	if found.Newest == nil {
		return hint.Wrap(&DamagedError{File: s.Dir(), err: fmt.Errorf("%s has no checkpoint", s.Dir())},
			"restore its history from a copy; to begin a new life, igor run")
	}
	c, err := verifier.Parse(found.Newest)
	if err != nil {
		return err
	}
	if err := l.findProgram(s, c, found.Hash); err != nil {
		return err
	}
	l.account = account{budget: c.Budget, price: c.PricePerSecond}
	l.position = position{tick: c.TickNumber, saved: c.TickNumber, head: found.Hash}
	l.recovery = recovery{from: c.TickNumber, state: c.State}
	l.checks.resume(found.Before, found.Newest)
	l.result.Tick, l.result.Head, l.result.Budget = c.TickNumber, found.Hash, c.Budget
	moves, err := movesOf(s)
	if err != nil {
		return err
	}
	at, known, err := l.openHome(s, journal.Epoch{MajorVersion: max(c.MajorVersion, moves), LeaseGeneration: c.LeaseGeneration})
	if err != nil {
		return err
	}
	if err := l.sayMissing(s); err != nil {
		return err
	}
	sayLostReceipts(s, l.lastRun, found.Hash.CID(), l.Log)
	if err := l.lastRun.cutJournal(s.Path(), found.Hash.CID()); err != nil {
		return err
	}
	if known {
		l.home.epoch = journal.Epoch{MajorVersion: at.Major, LeaseGeneration: at.Generation}
		err := journal.Adopt(l.folder, at.Journal)
		l.noteCut(s) // it may be shorter now, also where that failed
		if err != nil {
			return err
		}
	}
	if err := l.openLog(s, &found); err != nil {
		return err
	}
	if err := l.meetHeads(ctx, s); err != nil {
		return err
	}
	if known {
		if err := l.comeHome(s, at); err != nil {
			return err
		}
	}
	l.world.Epoch = l.home.epoch
	if err := l.openBooks(s); err != nil {
		return err
	}
	failpoint.Reach(failpoint.Recovered)
	after, err := l.with(l.funds.given)
	if err != nil {
		return err
	}
	l.Log.Info("alive", "did", l.result.DID, "folder", s.Dir(), "tick", l.tick, "budget", verifier.FormatMicrocents(after.budget))
	again, err := l.recovery.feed.More()
	if err == nil && l.passes {
		if err = l.passOver(&c); err == nil {
			again, err = l.recovery.feed.More()
		}
	}
	totals := l.world.Writer.Totals()
	if relives := l.relive && !totals.Begun() && l.recovery.lost.IsZero(); err == nil && l.visit && !relives && (again || !l.recovery.lost.IsZero()) {
		return hint.Wrap(fmt.Errorf("the agent in %s was killed, and what was recorded of its life since is to be lived again first", s.Dir()),
			"do this while it lives: igor resume %s, and ask for it again", s.Dir())
	}
	if err == nil && !again && !l.paused && l.disk.full() {
		return hint.Wrap(fmt.Errorf("%w: %s has %d bytes, and may have %d", ErrQuota, s.Dir(), l.disk.bytes(), l.disk.quota), "to give it more: igor resume %s --max-disk BYTES", s.Dir())
	}
	if err == nil && !again && !l.paused && l.exhausted(&after) {
		return hint.Wrap(ErrBudgetExhausted, "to give it more: igor resume %s --top-up AMOUNT", s.Dir())
	}
	return err
}

// openHome opens the way to the agent's authority, and says what that knows of the agent.
func (l *life) openHome(s *store.Store, found journal.Epoch) (at authority.Position, known bool, err error) {
	named, err := l.findHome(s)
	if err != nil {
		return at, false, err
	}
	l.home = home{given: l.Home, agent: l.public, key: l.key, log: l.Log, terms: l.terms}
	if l.home.remote() {
		if l.home.seen, err = openSeen(l.folder, l.public, l.Log); err != nil {
			return at, false, err
		}
		l.closers = append(l.closers, l.home.seen)
		l.home.owner = l.Home.Node
		l.home.known = func() error {
			if named.Name == "" || named.Known {
				return nil
			}
			named.Known = true
			return s.SetHome(named)
		}
	}
	if node := l.engine.config.NodeKey; node != nil && l.home.owner == (verifier.PublicKey{}) {
		copy(l.home.owner[:], node.Public().(ed25519.PublicKey))
	}
	if err := l.home.open(found); err != nil {
		return at, false, err
	}
	at, known, err = l.home.find()
	if err == nil && known {
		err = l.settleMove(s, at)
	}
	if err == nil && !known && named.Known {
		err = &conflictError{hint.Wrap(fmt.Errorf("the agent's home, %s, does not know it any more: it lost data", named.Name), "restore the home from a copy")}
	}
	return at, known, err
}

// findHome finds the home that the folder names, or has the folder name it.
func (l *life) findHome(s *store.Store) (named store.Home, err error) {
	if named, err = s.Home(); err != nil {
		return named, err
	}
	if named.Name == "" {
		if err := l.homeOfManifest(); err != nil {
			return named, err
		}
	}
	switch {
	case named.Name == "" && l.Home != nil && l.Home.Name != "":
		named.Name = l.Home.Name
		return named, s.SetHome(named)
	case named.Name != "" && l.Home == nil:
		if l.engine.config.Homes == nil {
			return named, fmt.Errorf("%w: the agent's home is %s, and this engine does not know it", ErrConflict, named.Name)
		}
		l.Home, err = l.engine.config.Homes(named.Name)
		return named, err
	case named.Name != "" && named.Name != l.Home.Name:
		return named, hint.Wrap(fmt.Errorf("%w: the agent's home is %s, and not %s", ErrConflict, named.Name, l.Home.Name),
			"to change it, name the new one in its manifest: igor upgrade FOLDER --manifest FILE, then resume it without --store")
	}
	return named, nil
}

// sayMissing says which segments of the event log are not there. The life goes on
// without them, and what they had is lost.
func (l *life) sayMissing(s *store.Store) error {
	segments, _, _, err := s.Events()
	if err != nil {
		return err
	}
	names, err := segments.Names()
	if err != nil {
		return err
	}
	there := map[string]bool{}
	for _, name := range names {
		there[name] = true
	}
	checkpoints, err := checkpointNames(s.Path())
	if err != nil {
		return err
	}
	missing, first := 0, ""
	for _, in := range intervals(s.Path(), checkpoints) {
		if name := eventlog.FileName(in[0]); !there[name] {
			if missing++; missing == 1 {
				first = name
			}
		}
	}
	if missing > 0 {
		l.Log.Warn("segments of the event log are missing: their ticks cannot be run again", "missing", missing, "of", len(checkpoints), "first", first)
	}
	came, err := cameAt(s, l.head)
	if err != nil {
		return err
	}
	if name := eventlog.FileName(l.saved + 1); !there[name] && !came {
		l.Log.Warn("the event log after the newest checkpoint is missing: ticks that it had are lost", "file", name)
	}
	return nil
}

// openBooks begins to hand receipts over, unless whoever gets them knows that the agent
// lived on without this copy of its folder.
func (l *life) openBooks(s *store.Store) error {
	if r, ok := l.engine.config.Budgets.(Retirer); ok {
		var over bool
		err := asking(func(ctx context.Context) (err error) { over, err = r.Retired(ctx, l.public); return err })
		if err == nil && over {
			err = ErrRetired
		}
		if err != nil {
			return errors.Join(err, l.books.release())
		}
	}
	newer, err := l.books.beginHanding(l.saved, func(head verifier.Hash) (bool, error) {
		leads, err := l.leadsTo(head)
		if err != nil || leads {
			return leads, err
		}
		if there, err := has(s, head); err != nil || there {
			return there, err
		}
		return l.beforeGap(s)
	}, l.AcceptOldCopy)
	switch {
	case err != nil || newer.IsZero():
		return err
	case l.AcceptOldCopy:
		l.Log.Warn("an old copy goes on: all that the agent lived since is lost, and its life is a fork wherever the other part is known", "checkpoint", newer.CID())
		return nil
	}
	return hint.Wrap(&OldCopyError{DID: l.result.DID, Head: newer},
		"go on with the folder that has that checkpoint. If it is lost for good: igor resume %s --accept-old-copy; then all that the agent lived since is lost, and its life is a fork wherever the other part is known", s.Dir())
}

// beforeGap reports whether the newest receipt that was handed over is of a tick before the
// part of the history that a life has which was restored: so the checkpoint may be in the
// part that it lacks.
func (l *life) beforeGap(s *store.Store) (bool, error) {
	d, ok := l.books.adapter.(Dater)
	if !ok {
		return false, nil
	}
	var oldest verifier.Checkpoint
	for b, err := range s.Newest() {
		if err != nil {
			return false, err
		}
		if oldest, err = verifier.Parse(b); err != nil {
			return false, err
		}
	}
	if oldest.PrevHash.IsZero() {
		return false, nil
	}
	var tick uint64
	err := asking(func(ctx context.Context) (err error) { tick, err = d.SettledTick(ctx, l.public); return err })
	return tick < oldest.TickNumber, err
}

// has reports whether a checkpoint is in a history.
func has(s *store.Store, head verifier.Hash) (bool, error) {
	for b, err := range s.Newest() {
		if err != nil {
			return false, err
		}
		if sha256.Sum256(b) == head {
			return true, nil
		}
	}
	return false, nil
}

// openLog opens the event log and the journal where they stand, and takes what
// the recorded ticks cost from the account.
func (l *life) openLog(s *store.Store, found *store.Recovery) error {
	segments, _, _, err := s.Events()
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
	l.noteCut(s)
	l.closers = append(l.closers, l.world.Journal)
	l.world.Genesis = found.First
	if l.log, err = s.EventLog(); err != nil {
		return err
	}
	if err := l.findReleases(s); err != nil {
		return err
	}
	if l.account.rest, err = l.owed(found.Before); err != nil {
		return err
	}
	if err := l.openSegment(); err != nil {
		return err
	}
	l.body.schedule = l.world.Writer.Header().Schedule
	if err := l.findFindings(s); err != nil {
		return err
	}
	return l.books.catchUp(s, l.log, l.home.epoch)
}

// openSegment opens the segment of the event log that comes after the newest
// checkpoint. What it has is to be lived again; what those ticks cost is taken
// from the account.
func (l *life) openSegment() error {
	w, was, err := l.log.Continue(l.header(), l.saved+1)
	if eventlog.Bad(err) {
		err = &DamagedError{File: filepath.Join(store.DirEvents, eventlog.FileName(l.saved+1)), err: err}
	}
	if err != nil {
		return err
	}
	l.world.Writer, l.world.Version = w, w.Header().Version
	l.home.under(w.Header())
	if l.recovery.over || l.world.Journal == nil {
		return nil // it is new
	}
	if was.Damage != "" {
		l.Log.Warn("the event log after the newest checkpoint is damaged; going on with what is whole of it", "damage", was.Damage, "file", was.Aside)
	}
	l.recovery.lost, l.recovery.storedPrice = was.Sealed, was.StoredPrice
	totals := w.Totals()
	if l.recovery.feed, err = record.NewFeed(l.log, l.saved+1, totals.Records); err != nil {
		return err
	}
	l.closers = append(l.closers, l.recovery.feed)
	if last := max(l.saved, totals.Last); l.recovery.lost.IsZero() {
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
	if !l.metered() {
		if l.account.budget, err = totals.Budget(l.account.budget); err != nil {
			return fmt.Errorf("event log: %w", err)
		}
		if totals.Priced {
			l.account.price = totals.Price
		}
		return nil
	}
	l.account.rest = w.Header().Rest
	sum := l.account.sum()
	if err := apply(l.log, l.saved+1, totals.Records, &sum); err != nil {
		file := eventlog.FileName(l.saved + 1)
		return hint.Wrap(&DamagedError{File: file, err: fmt.Errorf("event log: %s: %w", file, err)}, "restore the folder events from a copy")
	}
	l.account.set(sum)
	return nil
}

// apply does to an account what the first records of a segment say.
func apply(log *eventlog.Log, first, records uint64, sum *money.Account) error {
	s, err := log.Segment(first)
	if err != nil {
		return err
	}
	defer s.Close()
	for range records {
		r, err := s.Next()
		if err == nil {
			err = r.Apply(sum)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// owed returns the rest of a microcent that is owed after the newest checkpoint, which
// the segment before it says.
func (l *life) owed(before []byte) (rest uint64, err error) {
	first := uint64(0)
	if before != nil {
		c, err := verifier.Parse(before)
		if err != nil {
			return 0, err
		}
		first = c.TickNumber + 1
	}
	s, err := l.log.Segment(first)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer s.Close()
	for err == nil {
		_, err = s.Next()
	}
	seal, sealed := s.Seal()
	switch {
	case err != io.EOF && !eventlog.Bad(err):
		return 0, err
	case !sealed:
		l.Log.Warn("what is owed of a microcent is not known: the event log before the newest checkpoint is damaged", "file", eventlog.FileName(first))
	}
	return seal.Rest, nil
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
	return journal.Create(l.folder, identity, l.base())
}

// endRecovery is called between two ticks where nothing is recorded any more of the
// segment that is lived again. If there is one after it, that is lived again too;
// else the life is live, and what comes in does so now.
func (l *life) endRecovery(ctx context.Context) error {
	if !l.recovery.over {
		if !l.recovery.lost.IsZero() {
			if err := l.checkpoint(ctx); err != nil {
				return err
			}
			if again, err := l.nextRecorded(ctx); err != nil || again {
				return err
			}
		}
		if err := l.startLive(); err != nil {
			return err
		}
	}
	if !l.metered() && l.tick > l.saved {
		// A segment of version 1 goes no further than where it was found.
		if err := l.checkpoint(ctx); err != nil {
			return err
		}
	}
	if l.passes {
		return nil // it may come to nothing
	}
	return l.admitFunds()
}

// nextRecorded goes on with the segment after a checkpoint that was made again, if
// there is something in it.
func (l *life) nextRecorded(ctx context.Context) (again bool, err error) {
	if again, err = l.recovery.feed.More(); err == nil && again { // what agent_resume observed was recorded as well
		l.in.close()
		l.in, err = l.incarnate(ctx, l.recovery.feed, l.recovery.state, true)
	}
	return again, err
}

// startLive is called where nothing is recorded any more: between two ticks, or after
// one that went live in its middle.
func (l *life) startLive() error {
	l.recovery.over = true
	failpoint.Reach(failpoint.WentLive)
	if l.tick > l.recovery.from {
		l.Log.Info("lived again", "from", l.recovery.from+1, "to", l.tick)
	}
	if err := l.dropStrays(); err != nil {
		return err
	}
	if !l.home.remote() {
		return nil
	}
	// What was not appended when the process ended is now, before anything new.
	if err := l.moveHome(); err != nil {
		return err
	}
	return l.commit()
}

// madeAgain says so if a checkpoint that was lost is another one now.
func (l *life) madeAgain(hash verifier.Hash) error {
	lost := l.recovery.lost
	if l.recovery.over || lost.IsZero() || lost == hash {
		return nil
	}
	if l.home.remote() {
		return &conflictError{fmt.Errorf("the checkpoint of tick %d comes out as another one than the one that was made before (%s, and it was %s): the agent must not go on", l.tick, hash.CID(), lost.CID())}
	}
	l.Log.Warn("the checkpoint that was lost is another one now; a copy of it elsewhere would be a fork", "was", lost.CID(), "is", hash.CID())
	// The old seal is what says so: it is replaced when nothing follows it any more.
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
