package runtime

import (
	"crypto/sha256"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	w "igor.dev/runtime/internal/wasmtest"
	"igor.dev/verifier"
)

// A place is a node that changes its mind all the time.
type place struct {
	t      *testing.T
	dir    string
	view   NodeView
	views  int
	wishes []verifier.PublicKey
	ticks  []uint64 // of the newest checkpoint, at each wish
}

func (p *place) View() NodeView {
	p.views++
	v := p.view
	v.Drain = time.Unix(int64(p.views), 0)
	return v
}

func (p *place) Wish(to verifier.PublicKey) {
	p.wishes = append(p.wishes, to)
	newest, err := NewestCheckpoint(p.dir)
	if err != nil {
		p.t.Error(err)
		return
	}
	b, err := os.ReadFile(newest)
	if err != nil {
		p.t.Error(err)
		return
	}
	c, err := verifier.Parse(b)
	if err != nil {
		p.t.Error(err)
		return
	}
	p.ticks = append(p.ticks, c.TickNumber)
	p.view.Moving = MoveTimeout
}

// migrant asks in each tick when it has to be gone, asks to go to the DID in its data, and
// looks what came of it; from a tick on it fails when it has done so.
func migrant(to verifier.PublicKey, failsAfter int64) w.Agent {
	const status, again = 64, 72
	body := w.Count +
		w.Call(0) + w.Drop + // drain_deadline
		w.StoreI32(status, w.Call(1)) +
		w.I32(w.DataAt) + w.I32(56) + w.Call(2) + w.Drop +
		w.StoreI32(again, w.Call(1)) +
		w.After(failsAfter, w.Unreachable) + w.I32(0)
	return w.Agent{
		Imports: []w.Import{w.DrainDeadline, w.MigrateStatus, w.Migrate},
		Funcs: map[string]w.Func{
			"agent_tick":       {Type: w.ToI32, Body: body},
			"agent_checkpoint": {Type: w.ToI32, Body: w.I32(80)},
			"agent_resume":     {Type: w.I32I32, Body: "\x41\x00\x20\x00\x29\x03\x00\x37\x03\x00"},
		},
		Data: to.DID(),
	}
}

// TestWish holds what an agent sees and wishes to its node: the view of a tick stays as it
// is, a wish is told with its checkpoint, and one of a tick that fails never is.
func TestWish(t *testing.T) {
	there, elsewhere := verifier.PublicKey(sha256.Sum256([]byte("there"))), verifier.PublicKey(sha256.Sum256([]byte("elsewhere")))
	offers := []NodeOffer{{Node: there, Signed: []byte("offer")}}
	manifest := []byte(`{"capabilities":{"node":{"version":1}}}`)
	for _, tt := range []struct {
		name   string
		to     verifier.PublicKey
		fails  int64 // after so many ticks
		offers []NodeOffer
		ticks  []uint64 // at which the node is told
	}{
		{"to a node that has an offer", there, 100, offers, []uint64{1, 2, 3, 4}},
		{"to a node without one", elsewhere, 100, offers, nil},
		{"without offers", there, 100, nil, nil},
		{"in ticks that fail", there, 2, offers, []uint64{1, 2}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "agent")
			p := &place{t: t, dir: dir, view: NodeView{ID: elsewhere, Offers: tt.offers}}
			c := ticks(4, 0)
			c.Node, c.MaxFailedTicks = p, -1
			b := Birth{WASM: migrant(tt.to, tt.fails).Bytes(), Manifest: manifest, Budget: 1_000_000, Price: 1}
			r, err := Start(t.Context(), dir, b, c)
			if err != nil {
				t.Fatal(err)
			}
			if r.Tick != 4 || p.views != 4 {
				t.Errorf("%d ticks, and %d looks at the node; want 4 each", r.Tick, p.views)
			}
			// The wish of the last tick is told in no run that ends with it.
			want := tt.ticks
			if len(want) == 4 {
				want = want[:3]
			}
			if !slices.Equal(p.ticks, want) {
				t.Errorf("the node is told after ticks %v, want %v", p.ticks, want)
			}
			for _, to := range p.wishes {
				if to != tt.to {
					t.Errorf("the node is told of a wish for %s", to.DID())
				}
			}
			if r, err := Replay(t.Context(), dir, replayConfig(dir, b)); err != nil || r.Verdict != Replayed {
				t.Errorf("replay: %v, %v", r, err)
			}
		})
	}
}

// A mortal machine ends its process when a tick is over.
type mortal struct {
	thisMachine
	at uint64
}

func (m mortal) ended(tick uint64) error {
	if tick == m.at {
		return errCrash
	}
	return nil
}

// TestWishLivedAgain kills a process between the tick in which an agent asks to be moved
// and the checkpoint after it: the next process tells the node.
func TestWishLivedAgain(t *testing.T) {
	there := verifier.PublicKey(sha256.Sum256([]byte("there")))
	dir := filepath.Join(t.TempDir(), "agent")
	p := &place{t: t, dir: dir, view: NodeView{ID: there, Offers: []NodeOffer{{Node: there, Signed: []byte("offer")}}}}
	b := Birth{WASM: migrant(there, 100).Bytes(), Manifest: []byte(`{"capabilities":{"node":{"version":1}}}`), Budget: 1_000_000, Price: 1}
	c := ticks(3, 0)
	e, err := c.engine()
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	c.Node, c.Config.machine = p, mortal{thisMachine{e}, 2}
	if _, err := e.Start(t.Context(), dir, b, c.Config).Wait(t.Context()); !errors.Is(err, errCrash) {
		t.Fatalf("the run ended: %v", err)
	}
	if !slices.Equal(p.ticks, []uint64{1}) {
		t.Fatalf("the node is told after ticks %v, want 1", p.ticks)
	}
	c.Config.machine = nil
	if _, err := e.Resume(t.Context(), dir, c.Config).Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(p.ticks, []uint64{1, 2, 3, 4}) {
		t.Errorf("the node is told after ticks %v, want 1 to 4", p.ticks)
	}
	if r, err := Replay(t.Context(), dir, replayConfig(dir, b)); err != nil || r.Verdict != Replayed {
		t.Errorf("replay: %v, %v", r, err)
	}
}
