package runtime

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"errors"
	"io"

	"igor.dev/archive"
	"igor.dev/runtime/internal/eventlog"
	"igor.dev/runtime/internal/hostcall"
	"igor.dev/runtime/internal/record"
	"igor.dev/runtime/internal/sandbox"
	"igor.dev/runtime/internal/store"
	"igor.dev/runtime/internal/wal"
	"igor.dev/verifier"
	receipts "igor.dev/verifier/receipt"
)

// A life is one run of an agent. Each of its parts has one job, and a file: life
// puts them together, and recover.go, loop.go and checkpoint.go are its course.
type life struct {
	Config
	engine *Engine
	body   *body

	retired []*body // programs of before, of which there may be an instance
	watch   lookout

	// The folder, once it is open.
	folder  wal.Folder
	history store.Appender
	store   *store.Store
	key     crypto.Signer
	public  verifier.PublicKey
	closers []io.Closer

	// The world of the agent, and what of it is written down.
	world record.World
	log   *eventlog.Log
	meter hostcall.Meter

	position            // where it stands
	account  account    // what it has
	funds    funds      // what is to come in
	findings findings   // what it is to be told
	books    books      // who owes whom
	onchain  onchain    // what became of payments on chains
	home     home       // who lives it
	commits  committer  // what is on its way to the disk
	recovery recovery   // what is to be lived again
	checks   selfChecks // its own ticks, run again
	in       *incarnation
	lastRun  *Ran  // the run before this one, nil = nobody wrote that down
	failed   int   // ticks in a row
	took     int64 // microcents, of the last tick

	begun      uint64 // side effects, by this run
	counted    counted
	interrupts interrupter
	disk       diskUsage
	packing    packing
	outlook    outlook // on its node

	archive *archive.Task // nil = it is not archived
	heads   heads         // what it says of itself in public

	orders <-chan *order // what is asked of it meanwhile
	paused bool
	over   bool // it is retired

	result Result
	size   int // of the newest checkpoint that it made, in bytes
}

func (e *Engine) newLife(b *body, c Config) *life {
	l := &life{Config: c, engine: e, body: b, paused: c.Paused}
	l.watch.tell = c.Watch
	l.funds.given = gift{topUp: c.TopUp, price: c.Price}
	l.checks = selfChecks{policy: c.Replay}
	return l
}

// attach has a life do what its handle is asked.
func (l *life) attach(a *Agent) { l.orders, l.watch.agent = a.orders, a }

// open opens what a life needs of its folder.
func (l *life) open(s *store.Store) error {
	var err error
	if l.key, err = l.machine.keys().Key(s.Path()); err != nil {
		return err
	}
	return l.openWith(s)
}

// openWith is open where the key is known.
func (l *life) openWith(s *store.Store) error {
	public, ok := l.key.Public().(ed25519.PublicKey)
	if !ok {
		return errors.New("the agent's key is not an Ed25519 key")
	}
	copy(l.public[:], public)
	l.disk.dir, l.disk.quota = s.Path(), quotaOf(l.body.manifest.MaxDisk, l.MaxDisk)
	l.disk.measure()
	s.Syncs = l.engine.syncs
	s.Through = func(name string, folder wal.Folder) wal.Folder {
		if l.through != nil {
			folder = l.through(name, folder)
		}
		return l.disk.through(folder)
	}
	l.history, l.store, l.folder = s, s, s.Folder()
	// What is found here is relied on from now on: a killed process may have given a
	// file its name, and not lived to sync that.
	if err := l.folder.Sync(); err != nil {
		return err
	}
	if syncs, err := s.SyncsDirs(); err == nil && !syncs {
		l.Log.Warn("this file system cannot make names durable: a machine that loses power may lose the newest checkpoints", "folder", s.Dir())
	}
	l.result.DID = l.public.DID()
	l.books = books{agent: l.public, log: l.Log, node: l.engine.config.NodeKey, adapter: l.engine.config.Budgets}
	l.commits = committer{durable: l.acknowledged, lost: l.forget, makeDurable: l.makeDurable}
	l.world = record.World{
		Live: hostcall.Live{
			Log:      l.Log,
			Balance:  func() int64 { return l.account.budget },
			Price:    func() int64 { return l.account.price },
			Receipts: l.books.payments.list,
		},
		Manifest: l.body.manifest,
		Meter:    &l.meter,
		Key:      l.key,
		Sync:     l.syncInTick,
		Begun:    l.publishInTick,
		Spend:    func(microcents int64) { l.account.budget -= microcents },
		Paid:     l.books.paid,
		Moved:    func(o *receipts.Onchain) error { return l.books.move(o, l.key) },
		PaidSince: func(since int64) int64 {
			return l.books.paidSince(since, l.world.Journal.Effects())
		},
	}
	l.world.Bought = l.bought
	l.outlook.node = l.Node
	l.world.Wished = l.outlook.wished
	if l.Node != nil {
		l.world.Live.Node = &l.outlook
	}
	l.machine.connect(l)
	return nil
}

// openReceipts opens the agent's receipts, once its history is recovered.
func (l *life) openReceipts(s *store.Store) error {
	onchain, err := hasOnchain(l.folder)
	if err != nil {
		return err
	}
	if err := l.books.open(l.folder, l.body.paysOnChains() || onchain, s.Mark()); err != nil {
		return err
	}
	l.closers = append(l.closers, l.books.file)
	if l.books.onchain != nil {
		l.closers = append(l.closers, l.books.onchain)
	}
	return nil
}

// close gives the folder's files free. To do it again does nothing.
func (l *life) close() error {
	l.packing.end()
	l.in.close()
	l.closeRetired()
	l.commits.close()
	errs := []error{l.books.close()}
	for _, c := range l.closers {
		errs = append(errs, c.Close())
	}
	if w := l.world.Writer; w != nil {
		errs = append(errs, w.Close())
	}
	l.in, l.closers, l.world.Writer = nil, nil, nil
	return errors.Join(errs...)
}

// run lives until there is a reason to stop.
func (l *life) run(ctx context.Context) (r Result, err error) {
	l.beginArchive()
	defer l.endArchive()
	l.beginHeads()
	defer func() { err = errors.Join(err, l.endHeads()) }()
	defer l.close() // before the program is
	defer func() {
		if l.funds.given.topUp > 0 && !l.funds.admitted {
			l.Log.Warn("the top-up was not made: the run ended while recorded ticks were lived again")
		}
		r.Hostcalls = usages(l.meter.Usage())
		for _, u := range r.Hostcalls {
			l.Log.Info("hostcalls", "capability", u.Capability, "calls", u.Calls, "bytes", u.Bytes, "took", u.Time)
		}
	}()
	l.watch.begin()
	l.savedTime = l.machine.now()
	l.beginPacking()
	l.checks.begin()
	// Where nothing is to be lived again, money comes in before the agent looks.
	if again, err := l.recovery.feed.More(); err != nil {
		return l.result, err
	} else if !again {
		if err := l.endRecovery(ctx); err != nil {
			return l.result, err
		}
	}
	if l.in, err = l.incarnate(ctx, l.recovery.feed, l.recovery.state, true); err != nil {
		return l.result, err
	}
	if err := l.checkResumed(ctx); err != nil {
		return l.result, err
	}
	defer l.interrupts.watch(ctx)()
	reason, err := l.live(ctx)
	if errors.Is(err, sandbox.ErrStopped) && ctx.Err() != nil {
		reason, err = Stopped, nil
	}
	if err != nil {
		return l.result, err
	}
	l.result.Reason = reason
	return l.result, l.close()
}

// usages are those of a meter.
func usages(of []hostcall.Usage) []Usage {
	var all []Usage
	for _, u := range of {
		all = append(all, Usage(u))
	}
	return all
}

// syncInTick is sync in a tick, without a turn meanwhile.
func (l *life) syncInTick() (err error) {
	l.engine.turns.without(func() { err = l.sync() })
	return err
}

// commit makes everything durable, and appends it: to be called before anything takes
// effect that is not a side effect, and before anybody is told that something came in.
func (l *life) commit() error {
	if err := l.sync(); err != nil {
		return err
	}
	return l.publish()
}

// sync makes everything durable: to be called before a side effect begins, and before
// anybody is told that something came in.
func (l *life) sync() error {
	if err := l.commits.waitDurable(); err != nil {
		return err
	}
	return l.world.Writer.Sync()
}
