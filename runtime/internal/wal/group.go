package wal

import (
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// A Group makes durable at once what the agents of a process ask for one by one: a
// thousand of them, with a checkpoint now and then, would keep a disk busy with syncs of
// a few hundred bytes. While there are few agents, each sync is its own. With more, those
// that are asked for within a moment become one, of the whole file system, where that is
// as good: where the kernel says afterwards if anything could not be written.
//
// A nil Group syncs each by itself. It is safe for concurrent use.
type Group struct {
	agents      atomic.Int64
	asked, made atomic.Uint64

	mu      sync.Mutex
	devices map[uint64]*device

	whole func(*os.File) error // syncs a file system, nil = this machine's way
}

const (
	// fewAgents is up to how many agents each sync is its own: they are soon done.
	fewAgents = 16

	// gatherFor is how long the first of a round waits for others.
	gatherFor = 10 * time.Millisecond

	// tooSlow is when syncing a whole file system takes so long that others must be
	// writing to it, and then for slowFor each file is synced by itself.
	tooSlow = 2 * time.Second
	slowFor = 10 * time.Second

	// syncsAtOnce is how many files are synced at the same time, each by itself.
	syncsAtOnce = 32
)

// A device is a file system.
type device struct {
	waiting []*waiting
	leading bool

	whole    *os.File  // on it, as long as the group is there: it knows of every failed write
	apart    bool      // a write failed, or its kind is not known: each by itself, for good
	slowTill time.Time // or for a while
}

type waiting struct {
	alone func() error
	done  chan error // has room for one
}

// Join has the group count one agent more, until it leaves.
func (g *Group) Join() (leave func()) {
	if g == nil {
		return func() {}
	}
	g.agents.Add(1)
	return sync.OnceFunc(func() { g.agents.Add(-1) })
}

// Syncs returns how many syncs were asked for, and how many were made.
func (g *Group) Syncs() (asked, made uint64) { return g.asked.Load(), g.made.Load() }

// Close lets go of the file systems. Nobody may sync any more.
func (g *Group) Close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, d := range g.devices {
		if d.whole != nil {
			d.whole.Close()
		}
	}
	g.devices = nil
}

// sync makes f durable: by alone, or together with what others ask for.
func (g *Group) sync(f *os.File, alone func() error) error {
	if g == nil {
		return alone()
	}
	g.asked.Add(1)
	single := func() error {
		g.made.Add(1)
		return alone()
	}
	if g.agents.Load() <= fewAgents {
		return single()
	}
	id, ok := deviceOf(f)
	if !ok {
		return single()
	}
	w := &waiting{single, make(chan error, 1)}
	g.mu.Lock()
	d := g.devices[id]
	if d == nil {
		if g.devices == nil {
			g.devices = map[uint64]*device{}
		}
		d = &device{whole: wholeOf(f)}
		d.apart = d.whole == nil
		g.devices[id] = d
	}
	d.waiting = append(d.waiting, w)
	if !d.leading {
		d.leading = true
		go g.lead(d)
	}
	g.mu.Unlock()
	return <-w.done
}

// lead makes one round after the other, until nobody waits.
func (g *Group) lead(d *device) {
	for {
		time.Sleep(gatherFor)
		g.mu.Lock()
		round := d.waiting
		d.waiting = nil
		if len(round) == 0 {
			d.leading = false
			g.mu.Unlock()
			return
		}
		g.mu.Unlock()
		if d.apart || len(round) < 3 || time.Now().Before(d.slowTill) || !g.together(d, round) {
			eachAlone(round)
		}
	}
}

// together syncs all of a round at once. If that fails, whose write it was nobody can
// say: then each one's own sync does, now and from now on.
func (g *Group) together(d *device, round []*waiting) bool {
	began := time.Now()
	g.made.Add(1)
	sync := syncWhole
	if g.whole != nil {
		sync = g.whole
	}
	if err := sync(d.whole); err != nil {
		d.apart = true
		return false
	}
	if time.Since(began) > tooSlow {
		d.slowTill = time.Now().Add(slowFor)
	}
	for _, w := range round {
		w.done <- nil
	}
	return true
}

func eachAlone(round []*waiting) {
	var all sync.WaitGroup
	room := make(chan struct{}, syncsAtOnce)
	for _, w := range round {
		room <- struct{}{}
		all.Go(func() {
			w.done <- w.alone()
			<-room
		})
	}
	all.Wait()
}
