package runtime

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"igor.dev/authority"
	"igor.dev/authority/authoritytest"
	dirstore "igor.dev/authority/dir"
	"igor.dev/runtime/internal/wal/waltest"
	"igor.dev/runtime/internal/wasmtest"
	"igor.dev/verifier"
)

// at is a home with one replica.
func at(s interface {
	authority.Authority
	authority.Replica
}) *Home {
	return &Home{Authority: s, Replicas: authority.Replicas{Places: []authority.Replica{s}}}
}

// TestHome lives a trader whose home is a store, and goes on with it.
func TestHome(t *testing.T) {
	l := newTrading(t)
	store := authoritytest.NewStore()
	dir := l.fresh(t)
	run := func(n uint64) Result {
		t.Helper()
		c := l.config(n)
		c.through = nil
		c.Home = at(store)
		r, err := Resume(t.Context(), dir, c)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	l.every = 3
	first := run(10)
	agent := newest(t, dir, first.Tick).AgentPubKey
	p, err := store.Read(t.Context(), agent)
	if err != nil || p.Head != first.Head || p.Owner != verifier.PublicKey(l.node.Public().(ed25519.PublicKey)) {
		t.Fatalf("the store has %+v, %v, and the life ended at %s", p, err, first.Head)
	}
	second := run(10)
	if second.Tick != first.Tick+10 {
		t.Errorf("it went from tick %d to %d", first.Tick, second.Tick)
	}
	if n := len(store.Accepted()); n < 20 {
		t.Errorf("%d appends", n)
	}
	if n := store.Kept(agent); n > 12 {
		t.Errorf("the replica keeps %d blobs", n)
	}
	noSignatures(t, store.Left(), agent)
	l.check(t, dir)
}

// TestRestore has a life go on, again and again, from what its home has, and from its key
// and nothing else: it comes to the same as one that kept its folder.
func TestRestore(t *testing.T) {
	l := newTrading(t)
	l.every = 3
	store := authoritytest.NewStore()
	dir := l.fresh(t)
	key, err := fileKeys{}.Key(dir)
	if err != nil {
		t.Fatal(err)
	}
	var r Result
	for n := range 8 {
		c := l.config(uint64(3 + n))
		c.through = nil
		c.Home = at(store)
		if r, err = Resume(t.Context(), dir, c); err != nil {
			t.Fatal(err)
		}
		agent := newest(t, dir, r.Tick).AgentPubKey
		p, err := store.Read(t.Context(), agent)
		if err != nil {
			t.Fatal(err)
		}
		// What a successor needs is this, and nothing else.
		kinds := map[authority.Kind]int{}
		err = p.Walk(func(n authority.Name) (authority.Blob, error) { return store.Get(t.Context(), agent, p, n) },
			func(b *authority.Blob) error { kinds[b.Kind]++; return nil })
		if err != nil || kinds[authority.Program] != 1 || kinds[authority.Manifest] != 1 || kinds[authority.Checkpoint] != 1 || kinds[authority.Log] == 0 ||
			kinds[authority.Journal] == 0 || kinds[authority.Paid] == 0 || len(kinds) > 7 {
			t.Errorf("a successor gets %v, %v", kinds, err)
		}
		dir = filepath.Join(t.TempDir(), "again")
		restored, err := Restore(t.Context(), dir, RestoreConfig{Home: at(store), Key: key.(ed25519.PrivateKey), Node: l.node})
		if err != nil || restored.Head != r.Head || restored.Tick != r.Tick {
			t.Fatalf("restored %+v, %v, and it was %+v", restored, err, r)
		}
	}
	if want := uint64(1 + 3 + 4 + 5 + 6 + 7 + 8 + 9 + 10); r.Tick != want {
		t.Errorf("it is at tick %d, and lived %d", r.Tick, want)
	}
	if sent := int64(len(l.shop.posts)); sent < 10 {
		t.Errorf("the shop got %d posts", sent)
	}
	for id, n := range l.shop.posts {
		if n > 1 {
			t.Errorf("effect %s was sent %d times", id, n)
		}
	}
	if n, _ := l.shop.ledger.Paid(); n < 10 || l.shop.ledger.Repeats() > 0 {
		t.Errorf("the shop got %d payments, and %d again", n, l.shop.ledger.Repeats())
	}
}

// A piecewise store counts pieces, and reads what a successor would, after each append.
type piecewise struct {
	*authoritytest.Store
	t       *testing.T
	mu      sync.Mutex
	pieces  map[authority.Name]int // with those that it continues
	most    map[authority.Kind]int
	appends int
}

func (c *piecewise) Put(ctx context.Context, agent verifier.PublicKey, sequence uint64, blobs ...authority.Blob) error {
	c.mu.Lock()
	for _, b := range blobs {
		n := 1
		if !b.Before.IsZero() {
			n += c.pieces[authority.Name{Kind: b.Kind, Hash: b.Before}]
		}
		c.pieces[b.Name] = n
		c.most[b.Kind] = max(c.most[b.Kind], n)
	}
	c.mu.Unlock()
	return c.Store.Put(ctx, agent, sequence, blobs...)
}

func (c *piecewise) Append(ctx context.Context, agent verifier.PublicKey, prev, p authority.Position) error {
	if err := c.Store.Append(ctx, agent, prev, p); err != nil {
		return err
	}
	home := at(c.Store)
	all, err := p.Gather(home.Replicas.Versions(ctx, agent, p, 0))
	if err != nil || sha256.Sum256(bytes.Join(fetched(all).chain(authority.Log, p.Log), nil)) != p.Log {
		c.t.Errorf("append %d: a successor does not get the log: %v", p.Sequence, err)
	}
	c.appends++
	return nil
}

// TestPieces has a life append often between two checkpoints: before log and journal have
// many pieces they are put whole, and a successor gets them.
func TestPieces(t *testing.T) {
	defer func(n int) { maxPieces = n }(maxPieces)
	maxPieces = 3
	l := newTrading(t)
	l.every = 1000
	store := &piecewise{Store: authoritytest.NewStore(), t: t, pieces: map[authority.Name]int{}, most: map[authority.Kind]int{}}
	dir := l.fresh(t)
	c := l.config(12)
	c.through = nil
	c.Home = at(store)
	if _, err := Resume(t.Context(), dir, c); err != nil {
		t.Fatal(err)
	}
	for _, kind := range []authority.Kind{authority.Log, authority.Journal} {
		if most := store.most[kind]; most < 2 || most > maxPieces {
			t.Errorf("%d pieces of a %s", most, kind)
		}
	}
	if store.appends <= 2*maxPieces {
		t.Errorf("%d appends", store.appends)
	}
	l.check(t, dir)
}

// TestRestoreFindings has an agent post and trap in two of its ticks, until it is told of the
// second, and be made anew of what its home has, at each tick or now and then: it is told
// all the same, once.
func TestRestoreFindings(t *testing.T) {
	var posts atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { posts.Add(1) }))
	defer server.Close()
	trap := "\x04\x40\x00\x0b" // if unreachable end
	byteAt := func(at int32) string { return wasmtest.I32(at) + "\x2d\x00\x00" }
	agent := poster(server.URL+"/", byteAt(0)+wasmtest.I32(3)+"\x46"+byteAt(8+2+32)+wasmtest.I32(4)+"\x47\x71"+trap) // eq, ne, and
	const toldAt = 64                                                                                                // how often it was
	observe := agent.Funcs["agent_observe"]
	observe.Body += wasmtest.StoreI32(toldAt, wasmtest.I32(toldAt)+"\x28\x02\x00"+wasmtest.I32(1)+"\x6a")
	agent.Funcs["agent_observe"] = observe
	agent.Funcs["agent_checkpoint"] = wasmtest.Func{Type: wasmtest.ToI32, Body: wasmtest.I32(toldAt + 4)}
	b := birth(agent)
	b.Manifest = fmt.Appendf(nil, `{"capabilities": {"http": {"version": 1, "options": {"allowed_hosts": [%q]}}}}`, strings.TrimPrefix(server.URL, "http://"))
	for _, lost := range [][]uint64{nil, {1, 2, 3, 4, 5, 6, 7, 8, 9}, {3}, {4}, {5}, {4, 5}, {3, 5}} { // after these ticks
		for _, every := range []uint64{1, 3} {
			posts.Store(0)
			store, node := authoritytest.NewStore(), nodeKey(5)
			dir := filepath.Join(t.TempDir(), "agent")
			c := ticks(1, every)
			c.Home, c.NodeKey, c.MaxFailedTicks = at(store), node, -1
			r, err := Start(t.Context(), dir, b, c)
			if err != nil {
				t.Fatal(err)
			}
			key, err := fileKeys{}.Key(dir)
			if err != nil {
				t.Fatal(err)
			}
			for r.Tick < 10 {
				if slices.Contains(lost, r.Tick) {
					dir = filepath.Join(t.TempDir(), "again")
					if _, err := Restore(t.Context(), dir, RestoreConfig{Home: at(store), Key: key.(ed25519.PrivateKey), Node: node}); err != nil {
						t.Fatal(err)
					}
				}
				c.Home = at(store)
				if r, err = Resume(t.Context(), dir, c); err != nil {
					t.Fatal(err)
				}
			}
			if state := newest(t, dir, 10).State; state[0] != 8 || posts.Load() != 10 || state[toldAt] != 2 {
				t.Errorf("lost after %v, a checkpoint every %d: it counts to %d, sent %d posts, and was told of %d", lost, every, state[0], posts.Load(), state[toldAt])
			}
		}
	}
}

// TestManyPayloads has a life come to more payloads between two appends than one blob may
// name: they are named by several, and it goes on from what its home has.
func TestManyPayloads(t *testing.T) {
	defer func(n int) { maxNeeds = n }(maxNeeds)
	maxNeeds = 7
	var asked atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%05000d", asked.Add(1)) // each answer is another one
	}))
	defer server.Close()
	get := wasmtest.I32(wasmtest.DataAt) + wasmtest.I32(3) + wasmtest.I32(wasmtest.DataAt+3) + wasmtest.I32(int32(len(server.URL)+1)) +
		strings.Repeat(wasmtest.I32(0), 4) + wasmtest.I32(16384) + wasmtest.I32(8192) + wasmtest.Call(0) + wasmtest.Drop
	agent := wasmtest.Agent{Imports: []wasmtest.Import{wasmtest.HTTPRequest}, Data: "GET" + server.URL + "/", Funcs: map[string]wasmtest.Func{
		"agent_tick": {Type: wasmtest.ToI32, Body: wasmtest.Count + wasmtest.Repeat(5, get) + wasmtest.I32(1)}}}
	b := birth(agent)
	b.Manifest = fmt.Appendf(nil, `{"capabilities": {"http": {"version": 1, "options": {"allowed_hosts": [%q]}}}}`, strings.TrimPrefix(server.URL, "http://"))
	store, node := authoritytest.NewStore(), nodeKey(5)
	dir := filepath.Join(t.TempDir(), "agent")
	c := quiet()
	c.Home, c.NodeKey, c.TickInterval, c.CheckpointEvery.Time = at(store), node, time.Millisecond, -1
	e, err := c.engine()
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	a := e.Start(t.Context(), dir, b, c.Config)
	for _, tick := range []uint64{2, 8, 20} {
		for a.Status().Tick < tick {
			time.Sleep(time.Millisecond)
		}
		if _, err := a.TopUp(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
	}
	lived := a.Status().Tick
	most, payloads := 0, 0
	for _, b := range store.Left() {
		if most = max(most, len(b.Needs)); b.Kind == authority.Payload {
			payloads++
		}
	}
	if most != maxNeeds || payloads < 5*20 {
		t.Errorf("a blob names %d others, of %d payloads", most, payloads)
	}
	key, err := fileKeys{}.Key(dir)
	if err != nil {
		t.Fatal(err)
	}
	again := filepath.Join(t.TempDir(), "again")
	if _, err := Restore(t.Context(), again, RestoreConfig{Home: at(store), Key: key.(ed25519.PrivateKey), Node: node}); err != nil {
		t.Fatal(err)
	}
	s := ticks(lived+1, 1)
	s.Home, s.NodeKey = at(store), node
	r, err := Resume(t.Context(), again, s)
	if err != nil || r.Tick < lived+1 {
		t.Fatalf("it goes on to %+v, %v; it had lived to %d", r, err, lived)
	}
	a.Stop(t.Context()) // it is another one's now
}

// TestRestoreReleased has what a compensated effect held go back once, also if the successor
// does not have the part of the event log that says so.
func TestRestoreReleased(t *testing.T) {
	p := newPayer(t, true)
	store := authoritytest.NewStore()
	node := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{5}, 32))
	config := func(n, every uint64) settings {
		c := p.config(n, every)
		c.Home, c.NodeKey = at(store), node
		return c
	}
	// Not idempotent here, so that what is not answered stays unresolved.
	p.birth.Manifest = bytes.Replace(p.birth.Manifest, []byte(`"idempotent"`), []byte(`"unsafe"`), 1)
	dir := filepath.Join(t.TempDir(), "agent")
	if _, err := Start(t.Context(), dir, p.birth, config(5, 2)); err != nil {
		t.Fatal(err)
	}
	key, err := fileKeys{}.Key(dir)
	if err != nil {
		t.Fatal(err)
	}
	open, err := Effects(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	resolved := 0
	for _, e := range open {
		if e.Unresolved() {
			if _, err := ResolveEffect(t.Context(), dir, e.ID, false, ""); err != nil {
				t.Fatal(err)
			}
			resolved++
		}
	}
	if resolved != 1 {
		t.Fatalf("%d effects were unresolved", resolved)
	}
	for n := range uint64(3) { // the release is in the open segment, then before the newest checkpoint, then long ago
		r, err := Resume(t.Context(), dir, config(1, 1))
		if err != nil {
			t.Fatal(err)
		}
		_, paid := p.ledger.Paid()
		if r.Budget != payerBudget-paid {
			t.Errorf("run %d: %d are left of %d, and %d were paid", n, r.Budget, payerBudget, paid)
		}
		dir = filepath.Join(t.TempDir(), "again")
		if _, err := Restore(t.Context(), dir, RestoreConfig{Home: at(store), Key: key.(ed25519.PrivateKey), Node: node}); err != nil {
			t.Fatal(err)
		}
	}
}

// BenchmarkHome holds a life whose home is a store in another folder against one whose
// home is its own, in turns: a checkpoint for each tick, and a side effect in each.
func BenchmarkHome(b *testing.B) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok") }))
	defer server.Close()
	post := wasmtest.Count + wasmtest.I32(wasmtest.DataAt) + wasmtest.I32(4) + wasmtest.I32(wasmtest.DataAt+4) + wasmtest.I32(int32(len(server.URL))) +
		wasmtest.I32(0) + wasmtest.I32(0) + wasmtest.I32(0) + wasmtest.I32(0) + wasmtest.I32(2048) + wasmtest.I32(2048) + wasmtest.Call(0) + wasmtest.Drop + wasmtest.I32(1)
	agent := wasmtest.Agent{Imports: []wasmtest.Import{wasmtest.HTTPRequest}, Data: "POST" + server.URL,
		Funcs: map[string]wasmtest.Func{"agent_tick": {Type: wasmtest.ToI32, Body: post}}}
	birth := Birth{WASM: agent.Bytes(), Budget: 1 << 40, Manifest: fmt.Appendf(nil, `{"capabilities": {"http": {"version": 1, "options": {"allowed_hosts": [%q]}}}}`, strings.TrimPrefix(server.URL, "http://"))}
	node := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{5}, 32))
	const n = 100
	var took, cpu [2]time.Duration
	dirs, homes := [2]string{filepath.Join(b.TempDir(), "a"), filepath.Join(b.TempDir(), "b")}, [2]*Home{}
	s, err := dirstore.Open(filepath.Join(b.TempDir(), "store"))
	if err != nil {
		b.Fatal(err)
	}
	homes[1] = at(s)
	config := func(i int, n uint64) settings {
		c := ticks(n, 1)
		c.NodeKey, c.Home = node, homes[i]
		return c
	}
	for i := range 2 {
		if _, err := Start(b.Context(), dirs[i], birth, config(i, 1)); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		for i := range 2 {
			began, used := time.Now(), processorTime(b)
			if _, err := Resume(b.Context(), dirs[i], config(i, n)); err != nil {
				b.Fatal(err)
			}
			took[i] += time.Since(began)
			cpu[i] += processorTime(b) - used
		}
	}
	b.ReportMetric(float64(took[1])/float64(took[0]), "times-the-folder")
	b.ReportMetric(float64(cpu[1])/float64(cpu[0]), "times-its-CPU")
	b.ReportMetric(float64(took[0].Microseconds())/float64(n*b.N), "µs/tick-folder")
}

// noSignatures looks for what the agent's key signed in what a replica got. A payment that
// was sent may come back, in what came of it: it was appended before, without its signature.
func noSignatures(t *testing.T, left []authority.Blob, agent verifier.PublicKey) {
	t.Helper()
	key, begun := ed25519.PublicKey(agent[:]), map[string]bool{}
	const context = "igor/payment-receipt/v1\x00"
	for _, b := range left {
		if f := verifier.Examine(b.Data); f.Authentic() {
			t.Fatalf("%s is a signed checkpoint", b.Name)
		}
		var these []string
		for at := 0; b.Kind != authority.Program; at++ {
			i := bytes.Index(b.Data[at:], []byte(context))
			if i < 0 {
				break
			}
			at += i
			nonce := string(b.Data[at+len(context)+32:][:32])
			these = append(these, nonce)
			for end := at + len(context) + 64; end+64 <= len(b.Data) && end < at+1500; end++ {
				if ed25519.Verify(key, b.Data[at:end], b.Data[end:end+64]) && !begun[nonce] {
					t.Fatalf("%s has the signature of a payment that was not appended", b.Name)
				}
			}
		}
		for _, nonce := range these {
			begun[nonce] = true
		}
	}
	if len(left) == 0 || len(begun) == 0 {
		t.Errorf("%d blobs, %d payments", len(left), len(begun))
	}
}

// TestAdoptedJournal has a run end when its home took a compacted journal and the folder did
// not, and the next one at each step of its disk: the journal is shorter then, and that is
// no damage.
func TestAdoptedJournal(t *testing.T) {
	l := newTrading(t)
	l.every = 2
	adopted := 0
	life := func(first, second int) (prepared, failed bool) {
		t.Helper()
		store := authoritytest.NewStore()
		dir := l.fresh(t)
		run := func(n uint64, failAt int) (failed bool, err error) {
			c := l.config(n)
			disk := waltest.NewDisk()
			c.Home, c.through = at(store), disk.Through
			if failAt > 0 {
				disk.FailAt(failAt, waltest.Fault{Err: errPower})
			}
			_, err = Resume(t.Context(), dir, c)
			_, failed = disk.Steps()
			return failed, err
		}
		if _, err := run(4, 0); err != nil {
			t.Fatal(err)
		}
		if failed, _ = run(4, first); !failed {
			return false, false
		}
		if _, err := os.Stat(filepath.Join(dir, ".journal.next")); err != nil {
			return false, true
		}
		failed, _ = run(1, second)
		if _, err := run(1, 0); err != nil {
			t.Errorf("failed at step %d, and then at step %d: %v", first, second, err)
		}
		return true, failed
	}
	for first := 1; ; first++ {
		prepared, failed := life(first, 1)
		if !failed || adopted > 30 {
			break
		}
		for second := 2; prepared && failed && second < 18; second++ {
			_, failed = life(first, second)
			adopted++
		}
	}
	if adopted == 0 {
		t.Error("no run ended between the two")
	}
}
