package runtime

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"igor.dev/runtime/internal/kv"
	"igor.dev/runtime/internal/pay/paytest"
	"igor.dev/runtime/internal/store"
	"igor.dev/runtime/internal/wal"
	"igor.dev/runtime/internal/wal/waltest"
	"igor.dev/runtime/internal/wasmtest"
	"igor.dev/verifier/receipt"
)

var everyStep = flag.Bool("every-step", false, "have every step of the disk fail, not a sample of them")

// A shop is what a trader (testdata/trader.wat) sends to.
type shop struct {
	mu     sync.Mutex
	posts  map[string]int // by idempotency key
	ledger *paytest.Ledger
}

func (s *shop) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if strings.HasPrefix(r.URL.Path, "/pay") {
		s.ledger.ServeHTTP(w, r)
		return
	}
	s.posts[r.Header.Get("Idempotency-Key")]++
	w.Write(bytes.Repeat([]byte("thanks "), 1000))
}

func (s *shop) open() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.posts, s.ledger = map[string]int{}, new(paytest.Ledger)
}

// acknowledged has the checkpoints that a run told of.
type acknowledged struct {
	slog.Handler
	heads map[uint64]string
}

func (acknowledged) Enabled(context.Context, slog.Level) bool { return true }

func (a acknowledged) Handle(_ context.Context, r slog.Record) error {
	if r.Message == "checkpoint" {
		var tick uint64
		r.Attrs(func(attr slog.Attr) bool {
			switch attr.Key {
			case "tick":
				tick = attr.Value.Uint64()
			case "cid":
				a.heads[tick] = attr.Value.String()
			}
			return true
		})
	}
	return nil
}

// A trading is the life of a trader that goes wrong.
type trading struct {
	shop   shop
	birth  Birth
	pay    string
	node   ed25519.PrivateKey
	born   string // a folder with its genesis
	disk   *waltest.Disk
	told   acknowledged
	budget int64
	every  uint64 // ticks a checkpoint
}

func newTrading(t *testing.T) *trading {
	t.Helper()
	l := &trading{budget: 1 << 40, every: 1}
	server := httptest.NewServer(&l.shop)
	t.Cleanup(server.Close)
	host := strings.TrimPrefix(server.URL, "http://")
	wasm, err := os.ReadFile("testdata/trader.wasm")
	if err != nil {
		t.Fatal(err)
	}
	wasm = bytes.Replace(wasm, []byte("127.0.0.1:00000"), fmt.Appendf(nil, "127.0.0.1:%05s", strings.Split(host, ":")[1]), 1)
	l.pay = server.URL + "/pay"
	if _, l.node, err = ed25519.GenerateKey(nil); err != nil {
		t.Fatal(err)
	}
	l.birth = Birth{WASM: wasm, Budget: l.budget, Price: 1 << 20, Manifest: fmt.Appendf(nil, `{"capabilities": {
		"clock": {"version": 1}, "kv": {"version": 1}, "http": {"version": 1, "options": {"allowed_hosts": [%q]}},
		"x402": {"version": 1, "options": {"allowed_recipients": ["shop"], "max_payment_microcents": 1}}},
		"migration_policy": {"allowed_nodes": [%q, %q]}}`, host, publicOf(l.node).DID(), publicOf(otherNode).DID())}
	l.begin()
	l.born = filepath.Join(t.TempDir(), "born")
	if _, err := Start(t.Context(), l.born, l.birth, l.config(1)); err != nil {
		t.Fatal(err)
	}
	return l
}

// otherNode is another node that may have the agent.
var otherNode = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{9}, 32))

func (l *trading) begin() {
	l.shop.open()
	l.disk, l.told = waltest.NewDisk(), acknowledged{heads: map[uint64]string{}}
}

// config is of a run on the disk. Nothing is packed: packing goes on beside a life, its steps
// would be among the counted ones by chance, and a life does not end with a fault of theirs.
func (l *trading) config(n uint64) settings {
	c := ticks(n, l.every)
	c.Log, c.PayAt, c.NodeKey, c.through = slog.New(l.told), l.pay, l.node, l.disk.Through
	c.keepLoose = true
	return c
}

// fresh returns a copy of the life at its beginning, on a new disk.
func (l *trading) fresh(t *testing.T) string {
	t.Helper()
	l.begin()
	return copyOf(t, l.born)
}

func copyOf(t *testing.T, dir string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "agent")
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(to, "key"), 0o600); err != nil {
		t.Fatal(err)
	}
	return to
}

// losePower returns what a machine may find of dir after a loss of power.
func (l *trading) losePower(t *testing.T, dir string, rng *rand.Rand) string {
	t.Helper()
	found := copyOf(t, dir)
	err := l.disk.LosePower(found, rng, func(name string) string {
		if name == "payloads" {
			return filepath.Join("events", name)
		}
		return name
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// check has the life go on in dir, on a disk that works, and holds it against what
// was acknowledged and what the shop got.
func (l *trading) check(t *testing.T, dir string) {
	t.Helper()
	c := l.config(6)
	c.through = nil
	r, err := Resume(t.Context(), dir, c)
	if err != nil {
		t.Errorf("it does not go on: %v", err)
		return
	}
	if r.DID != newest(t, l.born, 0).AgentPubKey.DID() {
		t.Errorf("it has another identity")
	}
	l.acknowledged(t, dir)
	counts(t, dir)
	cost, paid := accounts(t, dir)
	_, state, err := kv.Parse(newest(t, dir, r.Tick).State, kv.MaxTotal)
	if err != nil {
		t.Fatal(err)
	}
	word := func(at int) int64 { return int64(binary.LittleEndian.Uint64(state[at:])) }
	if l.budget != cost+paid+r.Budget || paid != word(48)+word(56) {
		t.Errorf("%d at first, and %d cost, %d paid, %d left; the agent knows of %d and %d paid", l.budget, cost, paid, r.Budget, word(48), word(56))
	}
	if n := paymentReceipts(t, dir); n != word(48) {
		t.Errorf("%d receipts of payments, and the agent knows of %d", n, word(48))
	}
	sent, repeated := int64(0), 0
	for _, n := range l.shop.posts {
		sent++
		repeated += n - 1
	}
	if repeated > 0 || sent < word(16) || sent > word(16)+word(24) || word(32) > 0 {
		t.Errorf("the shop got %d posts, and %d again; the agent knows of %d, %d that may be, %d that failed", sent, repeated, word(16), word(24), word(32))
	}
	n, sum := l.shop.ledger.Paid()
	if int64(n) < word(48) || sum > word(48)+word(56) || l.shop.ledger.Repeats() > 0 || l.shop.ledger.Forged() > 0 {
		t.Errorf("the shop got %d payments, %d again, %d forged; the agent knows of %d, %d that may be", n, l.shop.ledger.Repeats(), l.shop.ledger.Forged(), word(48), word(56))
	}
	report, err := Replay(t.Context(), dir, replayConfig(dir, l.birth))
	if err != nil || report.Verdict != Replayed || report.Ticks != r.Tick {
		t.Errorf("run again it is %+v, %v", report, err)
	}
}

// acknowledged wants the checkpoints in dir of which a run told.
func (l *trading) acknowledged(t *testing.T, dir string) {
	t.Helper()
	heads := map[uint64]string{}
	for _, s := range sights(t, dir) {
		heads[s.Tick] = s.CID
	}
	for tick, cid := range l.told.heads {
		if heads[tick] != cid {
			t.Errorf("the checkpoint of tick %d was acknowledged, and the history has another one: %q, not %q", tick, heads[tick], cid)
		}
	}
}

func paymentReceipts(t *testing.T, dir string) (n int64) {
	t.Helper()
	f, err := os.Open(filepath.Join(dir, "receipts"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for r := receipt.NewReader(f); ; {
		got, err := r.Next()
		if err == io.EOF {
			return n
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := got.(*receipt.Payment); ok {
			n++
		}
	}
}

func sights(t *testing.T, dir string) []Sight {
	t.Helper()
	all, err := Look(dir)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// steps calls try with every step that a run of a life makes, or with a sample.
func (l *trading) steps(t *testing.T, run func() error, try func(n int)) {
	t.Helper()
	if err := run(); err != nil {
		t.Fatal(err)
	}
	all, _ := l.disk.Steps()
	if all < 50 {
		t.Fatalf("only %d steps", all)
	}
	stride := 1
	if !*everyStep {
		stride = 11
	}
	for n := 1 + rand.IntN(stride); n <= all; n += stride {
		try(n)
	}
}

var errPower = errors.New("the power is gone")

// TestDiskFaults has the disk fail at each step of a life: once, or for good. The
// run ends with that error, and the life goes on from what is there, also if the
// machine loses power then.
func TestDiskFaults(t *testing.T) {
	l := newTrading(t)
	var dir string
	run := func() error {
		_, err := Resume(t.Context(), dir, l.config(9))
		return err
	}
	dir = l.fresh(t)
	l.steps(t, run, func(n int) {
		rng := rand.New(rand.NewPCG(uint64(n), 1))
		l.every = 1 + 2*rng.Uint64N(2)
		fault := waltest.Fault{Err: []error{syscall.ENOSPC, syscall.EIO}[rng.IntN(2)], Once: rng.IntN(2) == 0}
		t.Run(fmt.Sprintf("%d %v %t", n, fault.Err, fault.Once), func(t *testing.T) {
			dir = l.fresh(t)
			l.disk.FailAt(n, fault)
			err := run()
			if _, failed := l.disk.Steps(); failed != (err != nil) || err != nil && !errors.Is(err, fault.Err) {
				t.Errorf("the run ends with %v", err)
			}
			found := dir
			if rng.IntN(2) == 0 {
				found = l.losePower(t, dir, nil)
			}
			// A run that ends when it has found out where the life stands changes nothing.
			c := l.config(1)
			c.through, c.TopUp = nil, -1
			if _, err := Resume(t.Context(), found, c); err == nil || !strings.Contains(err.Error(), "negative") {
				t.Errorf("then it ends with %v", err)
			}
			l.check(t, found)
		})
	})
}

// TestPowerCut has a machine lose power at each step of a life, some of them after
// the process was killed at an earlier one and had gone on, and some again while the life
// goes on.
func TestPowerCut(t *testing.T) {
	l := newTrading(t)
	var dir string
	run := func() error {
		_, err := Resume(t.Context(), dir, l.config(9))
		return err
	}
	dir = l.fresh(t)
	l.steps(t, run, func(n int) {
		rng := rand.New(rand.NewPCG(uint64(n), 2))
		l.every = 1 + 2*rng.Uint64N(2)
		killed := 0
		if rng.IntN(2) == 0 {
			killed = 1 + rng.IntN(n)
		}
		unsynced := rng.IntN(3) > 0 // may some of what was not synced be there?
		again := 0
		if rng.IntN(2) == 0 {
			again = 1 + rng.IntN(100)
		}
		t.Run(fmt.Sprintf("%d killed %d again %d %t", n, killed, again, unsynced), func(t *testing.T) {
			dir = l.fresh(t)
			if killed > 0 {
				l.disk.FailAt(killed, waltest.Fault{Err: errPower})
				if err := run(); err != nil && !errors.Is(err, errPower) {
					t.Errorf("the run ends with %v", err)
				}
			}
			l.disk.FailAt(n, waltest.Fault{Err: errPower})
			if err := run(); err != nil && !errors.Is(err, errPower) {
				t.Errorf("the run ends with %v", err)
			}
			if !unsynced {
				rng = nil
			}
			found := l.losePower(t, dir, rng)
			if again > 0 {
				l.disk = waltest.NewDisk()
				l.disk.FailAt(again, waltest.Fault{Err: errPower})
				if _, err := Resume(t.Context(), found, l.config(9)); err != nil && !errors.Is(err, errPower) {
					t.Errorf("after the first loss the run ends with %v", err)
				}
				found = l.losePower(t, found, rng)
			}
			l.check(t, found)
		})
	})
}

// slowly is a folder whose syncs take their time, so that several checkpoints share
// one.
type slowly struct {
	wal.Folder
	links, most *atomic.Int64 // since the last sync, and between two at most
}

func (s slowly) Sync() error {
	time.Sleep(3 * time.Millisecond)
	s.links.Store(0)
	return s.Folder.Sync()
}

func (s slowly) Link(name, second string) error {
	s.most.Store(max(s.most.Load(), s.links.Add(1)))
	return s.Folder.Link(name, second)
}

// TestPowerCutInGroup has a machine lose power while several checkpoints become
// durable at once: it may find the name of one, and not that of the one before it; and
// of segments of several sectors, some and not those before them.
func TestPowerCutInGroup(t *testing.T) {
	t.Run("a checkpoint a tick", func(t *testing.T) { testPowerCutInGroup(t, "", 1) })
	t.Run("long segments", func(t *testing.T) {
		testPowerCutInGroup(t, wasmtest.I32(0)+wasmtest.I32(700)+wasmtest.Call(1), 3) // log_emit
	})
}

func testPowerCutInGroup(t *testing.T, extra string, every uint64) {
	l := &trading{birth: birth(watcher(extra)), every: every}
	l.birth.Manifest = []byte(watching)
	l.begin()
	l.born = filepath.Join(t.TempDir(), "born")
	if _, err := Start(t.Context(), l.born, l.birth, ticks(1, 1)); err != nil {
		t.Fatal(err)
	}
	var links, most atomic.Int64
	var dir string
	run := func() error {
		c := l.config(20 * every)
		c.through = func(name string, f wal.Folder) wal.Folder {
			if f = l.disk.Through(name, f); name == "history" {
				f = slowly{f, &links, &most}
			}
			return f
		}
		_, err := Resume(t.Context(), dir, c)
		return err
	}
	dir = l.fresh(t)
	l.steps(t, run, func(n int) {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			dir = l.fresh(t)
			l.disk.FailAt(n, waltest.Fault{Err: errPower})
			if err := run(); err != nil && !errors.Is(err, errPower) {
				t.Errorf("the run ends with %v", err)
			}
			found := l.losePower(t, dir, rand.New(rand.NewPCG(uint64(n), 3)))
			if _, err := Resume(t.Context(), found, ticks(3, 1)); err != nil {
				t.Fatalf("it does not go on: %v", err)
			}
			l.acknowledged(t, found)
			counts(t, found)
			if r, err := Replay(t.Context(), found, replayConfig(found, l.birth)); err != nil || r.Verdict != Replayed {
				t.Errorf("run again it is %+v, %v", r, err)
			}
		})
	})
	if most.Load() < 2 {
		t.Error("no group of several checkpoints was ever made")
	}
}

// TestSeveralSegments loses the newest checkpoints, and has what was recorded lived
// again, segment after segment, into the same ones.
func TestSeveralSegments(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "agent")
	b := birth(watcher(""))
	b.Manifest = []byte(watching)
	_, node, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	first, later := ticks(10, 3), ticks(1, 0)
	first.NodeKey, later.NodeKey = node, node
	if _, err := Start(t.Context(), dir, b, first); err != nil {
		t.Fatal(err)
	}
	was := sights(t, dir)
	for i, s := range was[2:] { // of ticks 6, 9 and 10
		file := filepath.Join(dir, "history", store.FileName(s.Tick))
		err := os.Remove(file)
		if i == 0 {
			err = errors.Join(err, os.WriteFile(file, []byte("damaged"), 0o644))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Resume(t.Context(), dir, later); err != nil {
		t.Fatal(err)
	}
	is := sights(t, dir)
	if len(is) != len(was)+1 || fmt.Sprint(is[:len(was)]) != fmt.Sprint(was) {
		t.Errorf("it has %v, and had %v", is, was)
	}
	counts(t, dir)
	accounts(t, dir) // each has one receipt, the first
	if r, err := Replay(t.Context(), dir, replayConfig(dir, b)); err != nil || r.Verdict != Replayed || r.Ticks != 11 {
		t.Errorf("run again it is %+v, %v", r, err)
	}
}

// TestStraySegment has a segment where a loss of power may leave one: nothing leads
// to it, and its name is needed later.
func TestStraySegment(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "agent")
	if _, err := Start(t.Context(), dir, birth(wasmtest.Agent{}), ticks(6, 3)); err != nil {
		t.Fatal(err)
	}
	stray, err := os.ReadFile(filepath.Join(dir, "events", "0000000004.events"))
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, "events", "0000000010.events")
	if err := os.WriteFile(name, stray, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Resume(t.Context(), dir, ticks(5, 3)); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(counts(t, dir)); got != "[0 3 6 9 11]" {
		t.Errorf("checkpoints at %s", got)
	}
	if kept, err := os.ReadFile(name + ".damaged.1"); err != nil || !bytes.Equal(kept, stray) {
		t.Errorf("it is not set aside: %v", err)
	}
}

// TestDiskFaultsAtBirth has the disk fail at each step of a birth: the agent is
// never born, or it lives.
func TestDiskFaultsAtBirth(t *testing.T) {
	l := newTrading(t)
	dir := ""
	start := func() {
		l.begin()
		dir = filepath.Join(t.TempDir(), "agent")
	}
	run := func() error {
		_, err := Start(t.Context(), dir, l.birth, l.config(2))
		return err
	}
	start()
	l.steps(t, run, func(n int) {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			start()
			fault := waltest.Fault{Err: syscall.ENOSPC, Once: n%2 == 0}
			l.disk.FailAt(n, fault)
			err := run()
			if !errors.Is(err, fault.Err) {
				t.Errorf("the run ends with %v", err)
			}
			if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
				return
			}
			c := l.config(1)
			c.through = nil
			if _, err := Resume(t.Context(), dir, c); err != nil {
				t.Errorf("it does not go on: %v", err)
			}
			counts(t, dir)
		})
	})
}

// TestDiskFaultsAtFork has the disk fail at each step of a fork: there is none, and
// it says so, or it lives.
func TestDiskFaultsAtFork(t *testing.T) {
	l := newTrading(t)
	origin := Past{l.born, l.birth.WASM, l.birth.Manifest, filepath.Join(l.born, "events")}
	failing := func(n int, fault waltest.Fault) (dir string, err error) {
		l.begin()
		l.disk.FailAt(n, fault)
		dir = filepath.Join(t.TempDir(), "fork")
		_, err = Fork(t.Context(), dir, ForkConfig{Origin: origin, At: 1, Budget: 5, Log: quiet().Log, through: l.disk.Through})
		return dir, err
	}
	if _, err := failing(0, waltest.Fault{}); err != nil {
		t.Fatal(err)
	}
	all, _ := l.disk.Steps()
	if all < 10 {
		t.Fatalf("only %d steps", all)
	}
	for n := 1; n <= all; n++ {
		fault := waltest.Fault{Err: syscall.ENOSPC, Once: n%2 == 0}
		dir, err := failing(n, fault)
		if !errors.Is(err, fault.Err) {
			t.Errorf("step %d: the fork ends with %v", n, err)
		}
		if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if _, err := Resume(t.Context(), dir, ticks(1, 0)); err != nil {
			t.Errorf("step %d: it does not go on: %v", n, err)
		}
	}
}
