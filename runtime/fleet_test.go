package runtime

import (
	"context"
	"crypto/ed25519"
	"errors"
	"flag"
	"log/slog"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"igor.dev/authority"
	"igor.dev/authority/authoritytest"
	dirstore "igor.dev/authority/dir"
	"igor.dev/authority/fleet"
	"igor.dev/authority/https"
	"igor.dev/authority/member"
	"igor.dev/verifier"
)

var fleetRuns = flag.Int("fleet-runs", 12, "how many lives TestTwoOwnersFleet has two processes fight for")

// overNetwork is a fleet of three members, asked by HTTP, in which things go wrong on the
// way.
type overNetwork struct {
	members []fleet.Member
	lease   time.Duration

	mu       sync.Mutex
	accepted []authority.Position
	left     []authority.Blob
}

// newFleet has members listen. Their clock runs so many times as fast as ours.
func newFleet(t testing.TB, fast int) *overNetwork {
	t.Helper()
	f := &overNetwork{lease: time.Second}
	engine := member.NewMemory()
	began := time.Now()
	engine.Now = func() time.Duration { return time.Duration(fast) * time.Since(began) }
	for i := range 3 {
		blobs, err := dirstore.Blobs(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		m, err := member.New(member.Config{Engine: &watchedEngine{engine, f}, Replica: &watchedReplica{blobs, f}})
		if err != nil {
			t.Fatal(err)
		}
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		node := ed25519.NewKeyFromSeed(slices.Repeat([]byte{byte(100 + i)}, 32))
		s, err := https.Serve(l, node, m, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		f.members = append(f.members, fleet.Member{Key: publicOf(node), Address: s.Addr().String()})
	}
	return f
}

type watchedEngine struct {
	member.Engine
	f *overNetwork
}

func (w *watchedEngine) Swap(ctx context.Context, s member.Swap) error {
	w.f.mu.Lock()
	defer w.f.mu.Unlock()
	err := w.Engine.Swap(ctx, s)
	if err == nil {
		w.f.accepted = append(w.f.accepted, s.Next.Position)
	}
	return err
}

type watchedReplica struct {
	authority.Replica
	f *overNetwork
}

func (w *watchedReplica) Put(ctx context.Context, agent verifier.PublicKey, sequence uint64, blobs ...authority.Blob) error {
	w.f.mu.Lock()
	w.f.left = append(w.f.left, blobs...)
	w.f.mu.Unlock()
	return w.Replica.Put(ctx, agent, sequence, blobs...)
}

func (f *overNetwork) Accepted() []authority.Position {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.accepted)
}

func (f *overNetwork) Left() []authority.Blob {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.left)
}

func (f *overNetwork) home(node ed25519.PrivateKey, seed uint64, faults authoritytest.Faults, crashed, turn func()) (*Home, func()) {
	inner := https.NewTransport(node)
	via := &badNetwork{Transport: inner, rng: rand.New(rand.NewPCG(seed, 8)), faults: faults, onCrash: crashed, turn: turn}
	c, err := fleet.New(fleet.Config{Members: f.members, Via: via, Lease: f.lease, Attempt: 400 * time.Millisecond})
	if err != nil {
		panic(err)
	}
	c.KeepLease()
	return &Home{Authority: c, Replicas: authority.Replicas{Places: c.Places(), Need: 2}, AppendLimit: 2 * time.Second}, func() {
		if seed%2 == 0 { // else it is gone without a word
			c.Close()
		} else {
			via.kill()
			c.Close()
		}
		via.all.Wait()
		inner.Close()
	}
}

// badNetwork loses requests and answers, delays them, and has its process die.
type badNetwork struct {
	fleet.Transport
	faults  authoritytest.Faults
	onCrash func()
	turn    func()
	all     sync.WaitGroup // what is under way

	mu      sync.Mutex
	rng     *rand.Rand
	crashed bool
}

func (b *badNetwork) kill() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.crashed = true
}

func (b *badNetwork) Do(ctx context.Context, m fleet.Member, request []byte) ([]byte, error) {
	if b.turn != nil {
		b.turn()
	}
	b.mu.Lock()
	if b.crashed {
		b.mu.Unlock()
		return nil, authoritytest.ErrCrashed
	}
	f, n, half := b.faults, b.rng.IntN(100), b.rng.IntN(2) == 0
	dies := n < f.Crash
	b.crashed = b.crashed || dies
	b.mu.Unlock()
	switch {
	case dies:
		if half {
			b.Transport.Do(ctx, m, request)
		}
		if b.onCrash != nil {
			b.onCrash()
		}
		return nil, authoritytest.ErrCrashed
	case n < f.Crash+f.Unanswered:
		b.Transport.Do(ctx, m, request)
		return nil, authoritytest.ErrNoAnswer
	case n < f.Crash+f.Unanswered+f.Unasked:
		return nil, authoritytest.ErrNoAnswer
	case n < f.Crash+f.Unanswered+f.Unasked+f.Late:
		b.all.Go(func() {
			time.Sleep(time.Duration(1+n) * 2 * time.Millisecond)
			ctx, done := context.WithTimeout(context.Background(), time.Second)
			defer done()
			b.Transport.Do(ctx, m, request)
		})
		return nil, authoritytest.ErrNoAnswer
	}
	return b.Transport.Do(ctx, m, request)
}

// TestTwoOwnersFleet is TestTwoOwners over the network: two nodes, or two processes of one,
// fight for agents whose home is a fleet that is asked by HTTP. The members' clock runs
// twenty times as fast as the nodes': leases that are wrong delay nothing that counts and
// lose nothing.
func TestTwoOwnersFleet(t *testing.T) {
	const workers = 6 // most of a contest is waiting
	var mu sync.Mutex
	appends, taken := 0, 0
	var all sync.WaitGroup
	for worker := range workers {
		l := newTrading(t)
		signer, err := fileKeys{}.Key(l.born)
		if err != nil {
			t.Fatal(err)
		}
		key := signer.(ed25519.PrivateKey)
		all.Go(func() {
			// More contests, if in none of them the agent went to and fro.
			more := func(seed int) bool {
				mu.Lock()
				defer mu.Unlock()
				return seed < *fleetRuns || taken < 2 && seed < 10**fleetRuns
			}
			for seed := worker; more(seed) && !t.Failed(); seed += workers {
				store := newFleet(t, 20)
				found, n, _ := l.contest(t, l.born, key, uint64(seed), store, false, true)
				for _, what := range found {
					t.Errorf("seed %d: %s", seed, what)
				}
				mu.Lock()
				appends += n
				for _, p := range store.Accepted() {
					taken = max(taken, int(p.Generation))
				}
				mu.Unlock()
			}
		})
	}
	all.Wait()
	t.Logf("%d contests, %d appends; at most %d takeovers in one", *fleetRuns, appends, taken)
	if appends < 10**fleetRuns || taken < 2 {
		t.Errorf("%d appends, at most %d takeovers in one", appends, taken)
	}
}

// TestFleetGone has an owner lose all members: it stops before its next tick, and others
// may go on.
func TestFleetGone(t *testing.T) {
	l := newTrading(t)
	store := newFleet(t, 1)
	dir := l.fresh(t)
	home, gone := store.home(l.node, 1, authoritytest.Faults{}, nil, nil)
	home.AppendLimit = 700 * time.Millisecond
	via := home.Authority.(*fleet.Client).Via.(*badNetwork)
	ticks := 0
	c := l.config(1000)
	c.through, c.Home, c.TickInterval = nil, home, 20*time.Millisecond
	c.CheckpointEvery = Every{Ticks: 1000}
	c.Watch = func(s Status) {
		if ticks++; ticks == 5 {
			via.kill()
		}
	}
	began := time.Now()
	_, err := Resume(t.Context(), dir, c)
	gone()
	if err == nil || errors.Is(err, ErrConflict) {
		t.Errorf("without a word from its home it ends with %v", err)
	}
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("it goes on for %v", took)
	}
	// Another node takes over, when the lease has run out.
	key, err := fileKeys{}.Key(dir)
	if err != nil {
		t.Fatal(err)
	}
	home, gone = store.home(otherNode, 2, authoritytest.Faults{}, nil, nil)
	defer gone()
	home.TakeOver = true
	again := t.TempDir() + "/again"
	r, err := Restore(t.Context(), again, RestoreConfig{Home: home, Key: key.(ed25519.PrivateKey), Node: otherNode})
	for ; errors.As(err, new(*authority.Refusal)); r, err = Restore(t.Context(), again, RestoreConfig{Home: home, Key: key.(ed25519.PrivateKey), Node: otherNode}) {
		time.Sleep(50 * time.Millisecond)
	}
	if err != nil || !r.Taken {
		t.Fatalf("another node gets %+v, %v", r, err)
	}
	// The first one is refused, now that it reaches the home again.
	home, gone = store.home(l.node, 3, authoritytest.Faults{}, nil, nil)
	defer gone()
	c = l.config(5)
	c.through, c.Home = nil, home
	if _, err := Resume(t.Context(), dir, c); !errors.Is(err, ErrConflict) {
		t.Errorf("the old owner ends with %v", err)
	}
}
