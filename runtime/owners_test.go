package runtime

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"igor.dev/authority"
	"igor.dev/authority/authoritytest"
	"igor.dev/authority/fleet"
	"igor.dev/runtime/internal/eventlog"
	"igor.dev/runtime/internal/kv"
	"igor.dev/runtime/internal/wal"
	"igor.dev/runtime/internal/wal/waltest"
	"igor.dev/verifier"
)

var ownerRuns = flag.Int("owner-runs", 200, "how many lives TestTwoOwners has two processes fight for")

// A witness has all that the agent's key signed of checkpoints and that ever left a
// process.
type witness struct {
	mu     sync.Mutex
	agent  verifier.PublicKey
	after  map[verifier.Hash]map[verifier.Hash]string // who came after a checkpoint, by whom
	before map[verifier.Hash]verifier.Hash
	acked  map[string]uint64
}

func (w *witness) saw(prev, next verifier.Hash, where string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.after[prev] == nil {
		w.after[prev] = map[verifier.Hash]string{}
	}
	w.after[prev][next] = where
	w.before[next] = prev
}

// witnessed looks at what is written to a history.
type witnessed struct {
	wal.Folder
	saw func(b []byte)
}

type witnessedFile struct {
	wal.File
	saw func(b []byte)
}

func (w witnessed) Create(name string) (wal.File, error) {
	f, err := w.Folder.Create(name)
	return witnessedFile{f, w.saw}, err
}

func (f witnessedFile) WriteAt(b []byte, at int64) (int, error) {
	n, err := f.File.WriteAt(b, at)
	if at == 0 {
		f.saw(b[:n])
	}
	return n, err
}

// look looks for signed checkpoints and signed seals in a folder.
func (w *witness) look(t *testing.T, dir, who string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		w.checkpoint(b, who+" "+d.Name())
		if strings.HasSuffix(path, eventlog.Ext) {
			w.seal(b, who+" "+d.Name())
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func (w *witness) checkpoint(b []byte, where string) {
	if f := verifier.Examine(b); f.Authentic() {
		w.saw(f.PrevHash, f.ContentHash, where)
	}
}

// seal looks for a seal with a signature: 64 bytes of zeros are none.
func (w *witness) seal(b []byte, where string) {
	const tag = "igor/event-segment/v2\x00"
	for size := 145; size < 400 && size+4 <= len(b); size++ {
		at := len(b) - 4 - size
		if b[at] != 255 || int(binary.LittleEndian.Uint32(b[at-8:])) != size {
			continue
		}
		body := b[at+1 : at+size]
		root, next := body[:32], verifier.Hash(body[32:64])
		prev := verifier.Hash(b[8+1+len("igor/events/v2\x00"):][:32])
		rest, signature := body[64:len(body)-64], body[len(body)-64:]
		message := slices.Concat([]byte(tag), prev[:], next[:], root, rest)
		if ed25519.Verify(w.agent[:], message, signature) {
			w.saw(prev, next, where+" (a seal)")
		}
	}
}

// A battlefield is a home that processes fight over.
type battlefield interface {
	// home is how a process of a node sees it, and gone is to be called when that has ended.
	home(node ed25519.PrivateKey, seed uint64, f authoritytest.Faults, crashed, turn func()) (h *Home, gone func())
	Accepted() []authority.Position
	Left() []authority.Blob
}

// inMemory is one in this process.
type inMemory struct{ *authoritytest.Store }

func (m inMemory) home(_ ed25519.PrivateKey, seed uint64, f authoritytest.Faults, crashed, turn func()) (*Home, func()) {
	client := m.NewClient(seed, f)
	client.Crashed, client.Turn = crashed, turn
	return &Home{Authority: client, Replicas: authority.Replicas{Places: []authority.Replica{client}}, AppendLimit: 400 * time.Millisecond}, func() {}
}

// A contest is two processes that both believe to own one agent.
type contest struct {
	*trading
	seed     uint64
	together chan struct{}
	store    battlefield
	careless bool
	patient  bool // a takeover has to wait
	w        *witness
	key      ed25519.PrivateKey
	mu       sync.Mutex
	lived    int

	given handed // asked for, by anybody
	acked handed // of that, what somebody was told is so
}

// handed is what came in of what an operator has to give.
type handed struct{ topUps, upgrades int }

// oneTopUp is more than the agent ever spends, so that its budget tells how many came in.
const oneTopUp = 1 << 44

// give has an operator give a living agent something, and takes notice of what he is told.
func (c *contest) give(ctx context.Context, a *Agent, topUp, upgrade bool) {
	if topUp {
		c.mu.Lock()
		c.given.topUps++
		c.mu.Unlock()
		if _, err := a.TopUp(ctx, oneTopUp); err == nil {
			c.mu.Lock()
			c.acked.topUps++
			c.mu.Unlock()
		}
	}
	if upgrade {
		c.mu.Lock()
		c.given.upgrades++
		// A custom section with a number makes another program that does the same.
		wasm := append(slices.Clip(c.birth.WASM), 0, 3, 1, 'v', byte(c.given.upgrades))
		c.mu.Unlock()
		if _, err := a.Upgrade(ctx, Upgrade{WASM: wasm}); err == nil {
			c.mu.Lock()
			c.acked.upgrades++
			c.mu.Unlock()
		}
	}
}

// process is one of them: it lives, dies, and is started again, in its folder or, where
// that is worth nothing any more, in one that is made of what the store has.
func (c *contest) process(t *testing.T, name, dir string, node ed25519.PrivateKey, rng *rand.Rand) {
	var operator sync.WaitGroup
	for life := range 5 {
		select { // both begin at the same time, however busy the machine is
		case c.together <- struct{}{}:
		case <-c.together:
		}
		disk := waltest.NewDisk()
		pause := time.Duration(rng.IntN(3)) * time.Millisecond
		home, gone := c.store.home(node, rng.Uint64(), authoritytest.Faults{Unanswered: 4, Unasked: 4, Late: 4, Crash: 2},
			func() { disk.FailAt(1, waltest.Fault{Err: errPower}) }, func() { time.Sleep(pause) })
		home.TakeOver = true
		told := acknowledged{heads: map[uint64]string{}}
		s := ticks(4+rng.Uint64N(12), 1+rng.Uint64N(3))
		s.Log, s.PayAt, s.NodeKey, s.Home = slog.New(told), c.pay, node, home
		s.through = func(folder string, f wal.Folder) wal.Folder {
			f = disk.Through(folder, f)
			if folder == "history" {
				f = witnessed{f, func(b []byte) { c.w.checkpoint(b, name+" wrote") }}
			}
			return f
		}
		before := s.MaxTicks
		if rng.IntN(4) == 0 { // it is killed at some step of its disk
			disk.FailAt(1+rng.IntN(150), waltest.Fault{Err: errPower})
		}
		topUp, upgrade, early := rng.IntN(2) == 0, rng.IntN(3) == 0, rng.IntN(2) == 0
		r, err := alone(s, func(e *Engine) *Agent {
			if early { // before its first tick
				s.Paused = true
			}
			a := e.Resume(t.Context(), dir, s.Config)
			operator.Go(func() {
				c.give(t.Context(), a, topUp, upgrade)
				a.Continue(t.Context())
			})
			return a
		})
		operator.Wait()
		gone()
		c.w.look(t, dir, name)
		c.mu.Lock()
		c.lived += int(min(before, r.Tick))
		for tick, cid := range told.heads {
			c.w.acked[cid] = tick
		}
		c.mu.Unlock()
		conflict := errors.Is(err, ErrConflict)
		if err != nil && !c.careless && !conflict && !errors.Is(err, errPower) && !errors.Is(err, authoritytest.ErrCrashed) && !errors.Is(err, authority.ErrUnknown) && !errors.Is(err, authoritytest.ErrNoAnswer) && !errors.Is(err, fleet.ErrLease) && !(c.patient && errors.Is(err, context.DeadlineExceeded)) {
			t.Errorf("seed %d: %s ends with %v", c.seed, name, err)
		}
		if conflict || rng.IntN(3) == 0 {
			c.w.look(t, dir, name)
			again := filepath.Join(t.TempDir(), fmt.Sprint(name, life))
			home, gone := c.quiet(node, rng.Uint64())
			_, err := Restore(t.Context(), again, RestoreConfig{Home: home, Key: c.key, Node: node})
			gone()
			if c.patient && errors.As(err, new(*authority.Refusal)) {
				time.Sleep(50 * time.Millisecond) // the other one's lease runs
				continue
			}
			if err != nil {
				if !c.careless && !errors.Is(err, ErrConflict) && !errors.Is(err, authority.ErrNotNamed) && !errors.Is(err, authority.ErrNone) {
					t.Errorf("seed %d: %s does not come back: %v", c.seed, name, err)
				}
				continue // the other one went on meanwhile
			}
			dir = again
		}
	}
}

// quiet is a way to the home on which nothing goes wrong. Whoever has it takes over, and
// waits as long as a slow machine needs.
func (c *contest) quiet(node ed25519.PrivateKey, seed uint64) (home *Home, gone func()) {
	home, gone = c.store.home(node, seed, authoritytest.Faults{}, nil, nil)
	home.TakeOver, home.AppendLimit = true, time.Minute
	return home, gone
}

// wrong says what is wrong after a contest.
func (c *contest) wrong(t *testing.T, n int) (found []string) {
	say := func(format string, args ...any) { found = append(found, fmt.Sprintf(format, args...)) }
	for prev, nexts := range c.w.after {
		if len(nexts) > 1 {
			say("%d signed checkpoints after %s: %v", len(nexts), prev, nexts)
		}
	}
	twice := 0
	for _, n := range c.shop.posts {
		twice += n - 1
	}
	if twice > 0 || c.shop.ledger.Repeats() > 0 {
		say("%d posts and %d payments came twice", twice, c.shop.ledger.Repeats())
	}
	// What was acknowledged is on the way to where the agent is.
	on := map[string]bool{}
	for _, b := range c.store.Left() {
		if b.Kind == authority.Checkpoint && len(b.Data) > 113 {
			c.w.before[b.Hash] = verifier.Hash(b.Data[81:113])
		}
	}
	for _, p := range c.store.Accepted() {
		for at := p.Head; !at.IsZero() && !on[at.CID()]; at = c.w.before[at] {
			on[at.CID()] = true
		}
	}
	for cid, tick := range c.w.acked {
		if !on[cid] {
			say("the checkpoint %s of tick %d was acknowledged, and is lost", cid, tick)
		}
	}
	// It goes on, and knows of what it did.
	dir := filepath.Join(t.TempDir(), fmt.Sprint("last", n))
	home, gone := c.quiet(c.node, 1)
	defer gone()
	_, err := Restore(t.Context(), dir, RestoreConfig{Home: home, Key: c.key, Node: c.node})
	for began := time.Now(); errors.As(err, new(*authority.Refusal)) && time.Since(began) < 20*time.Second; time.Sleep(50 * time.Millisecond) {
		_, err = Restore(t.Context(), dir, RestoreConfig{Home: home, Key: c.key, Node: c.node})
	}
	if err != nil {
		return append(found, err.Error())
	}
	s := ticks(2, 1)
	s.PayAt, s.NodeKey, s.Home, s.through = c.pay, c.node, home, waltest.NewDisk().Through
	r, err := Resume(t.Context(), dir, s)
	if err != nil {
		return append(found, err.Error())
	}
	last := newest(t, dir, r.Tick)
	if n := int(last.Budget / oneTopUp); n < c.acked.topUps || n > c.given.topUps {
		say("%d top-ups came in, of %d; of %d somebody was told so", n, c.given.topUps, c.acked.topUps)
	}
	if upgraded := last.WASMHash != sha256.Sum256(c.birth.WASM); upgraded && c.given.upgrades == 0 || !upgraded && c.acked.upgrades > 0 {
		say("it is upgraded: %t, of %d upgrades; of %d somebody was told so", upgraded, c.given.upgrades, c.acked.upgrades)
	}
	_, state, err := kv.Parse(last.State, kv.MaxTotal)
	if err != nil {
		t.Fatal(err)
	}
	word := func(at int) int { return int(binary.LittleEndian.Uint64(state[at:])) }
	if sent := len(c.shop.posts); sent < word(16) || sent > word(16)+word(24) {
		say("the shop got %d posts; the agent knows of %d, and %d that may be", sent, word(16), word(24))
	}
	if paid, _ := c.shop.ledger.Paid(); paid < word(48) || paid > word(48)+word(56) {
		say("the shop got %d payments; the agent knows of %d, and %d that may be", paid, word(48), word(56))
	}
	return found
}

// contest has two processes go on from copies of one folder, or of what the store has.
func (l *trading) contest(t *testing.T, born string, key ed25519.PrivateKey, seed uint64, store battlefield, careless, patient bool) (found []string, appends int, acked handed) {
	rng := rand.New(rand.NewPCG(seed, 3))
	l.begin()
	c := &contest{trading: l, seed: seed, together: make(chan struct{}), store: store, careless: careless, patient: patient, key: key,
		w: &witness{agent: verifier.PublicKey(key.Public().(ed25519.PublicKey)), after: map[verifier.Hash]map[verifier.Hash]string{}, before: map[verifier.Hash]verifier.Hash{}, acked: map[string]uint64{}}}
	nodes := []ed25519.PrivateKey{l.node, l.node}
	if rng.IntN(2) == 0 {
		nodes[1] = otherNode
	}
	var all sync.WaitGroup
	for i, name := range []string{"one", "two"} {
		dir := copyOf(t, born)
		r := rand.New(rand.NewPCG(seed, uint64(10+i)))
		all.Go(func() { c.process(t, name, dir, nodes[i], r) })
	}
	all.Wait()
	if careless {
		// What is lost is lost.
		for prev, nexts := range c.w.after {
			if len(nexts) > 1 {
				found = append(found, fmt.Sprint("fork after ", prev))
			}
		}
		for _, n := range l.shop.posts {
			if n > 1 {
				found = append(found, "twice")
			}
		}
		return found, len(c.store.Accepted()), c.acked
	}
	return c.wrong(t, int(seed)), len(c.store.Accepted()), c.acked
}

// TestTwoOwners has two processes believe that they own one agent, which is topped up and
// upgraded meanwhile, with everything going wrong at every step: no two checkpoints are signed that come after the same one, no
// effect is done twice, and nothing that was acknowledged is lost. Where the store does not
// compare, that happens.
func TestTwoOwners(t *testing.T) {
	const workers = 8 // most of a contest is waiting
	var mu sync.Mutex
	appends, topUps, upgrades, forked, careless := 0, 0, 0, 0, max(2*workers, *ownerRuns/20)
	var all sync.WaitGroup
	for worker := range workers {
		l := newTrading(t)
		signer, err := fileKeys{}.Key(l.born)
		if err != nil {
			t.Fatal(err)
		}
		key := signer.(ed25519.PrivateKey)
		all.Go(func() {
			for seed := worker; seed < *ownerRuns && !t.Failed(); seed += workers {
				found, n, acked := l.contest(t, l.born, key, uint64(seed), inMemory{authoritytest.NewStore()}, false, false)
				for _, what := range found {
					t.Errorf("seed %d: %s", seed, what)
				}
				mu.Lock()
				appends += n
				topUps, upgrades = topUps+acked.topUps, upgrades+acked.upgrades
				mu.Unlock()
			}
			for seed := worker; seed < careless; seed += workers {
				store := authoritytest.NewStore()
				store.Careless, store.Blind = true, true
				found, _, _ := l.contest(t, l.born, key, uint64(seed), inMemory{store}, true, false)
				mu.Lock()
				forked += min(1, len(found))
				mu.Unlock()
			}
		})
	}
	all.Wait()
	t.Logf("%d contests, %d appends, %d top-ups, %d upgrades; without the compare %d of %d fork the agent or repeat an effect", *ownerRuns, appends, topUps, upgrades, forked, careless)
	if appends < 10**ownerRuns || topUps < *ownerRuns/2 || upgrades < *ownerRuns/4 || forked < careless/4 { // mostly, a process sees itself that the store forgets
		t.Errorf("%d appends, %d top-ups, %d upgrades; without the compare %d of %d go wrong", appends, topUps, upgrades, forked, careless)
	}
}
