package runtime

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"igor.dev/runtime/internal/wal/waltest"
	"igor.dev/runtime/internal/wasmtest"
	"igor.dev/verifier"
)

// take copies what moves, as a node does over a network.
func take(t *testing.T, from, to string) {
	t.Helper()
	if err := os.RemoveAll(to); err != nil {
		t.Fatal(err)
	}
	files, err := MovingFiles(from)
	if err != nil {
		t.Fatal(err)
	}
	names, err := checkpointNames(from)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		if strings.HasSuffix(n, ".ckpt") {
			files = append(files, MovingFile{Name: filepath.Join("history", n)})
		}
	}
	for _, f := range files {
		b, err := os.ReadFile(filepath.Join(from, f.Name))
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(to, f.Name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// seal is no sealing: that is not this package's part.
func seal(info, seed []byte) ([]byte, error) {
	return append(append([]byte{}, seed...), bytes.Repeat([]byte{byte(len(info))}, sealedSize-len(seed))...), nil
}

func publicOf(key ed25519.PrivateKey) verifier.PublicKey {
	return verifier.PublicKey(key.Public().(ed25519.PublicKey))
}

// give gives the agent in a folder to a node, whose folder is to.
func give(t *testing.T, dir, to string, node ed25519.PrivateKey, c settings) (Departure, error) {
	t.Helper()
	e, err := c.engine()
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	var m Departure
	_, err = e.Visit(t.Context(), dir, func(ctx context.Context, a *Agent) (err error) {
		m, err = a.HandOver(ctx, HandOver{To: publicOf(node), Seal: seal, Countersign: func(_ context.Context, s Stand) ([64]byte, error) {
			take(t, dir, to)
			if err := CheckMoved(to, s.Agent, s.Position); err != nil {
				t.Error(err)
			}
			return [64]byte(ed25519.Sign(node, s.Record.AppendMessage(nil))), nil
		}})
		return err
	})
	return m, err
}

// moveIn has a folder live that came by a hand-over.
func moveIn(t *testing.T, dir string, m *Departure) {
	t.Helper()
	again, err := ParseMoved(m.Append(nil))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := MoveIn(dir, ed25519.NewKeyFromSeed(again.Sealed[:32]), &again, ""); err != nil {
			t.Fatal(err)
		}
	}
}

// TestHandOver has an agent go round three nodes: it is one life, and only the folder
// where it is lives on.
func TestHandOver(t *testing.T) {
	tmp := t.TempDir()
	dir := filepath.Join(tmp, "agent")
	config := func(node byte, n uint64) settings {
		c := ticks(n, 2)
		c.NodeKey = nodeKey(node)
		return c
	}
	r, err := Start(t.Context(), dir, birth(wasmtest.Agent{}), config(1, 5))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 6 {
		from, to := byte(1+i%3), byte(1+(i+1)%3)
		next := filepath.Join(tmp, "agent"+string(rune('a'+i)))
		m, err := give(t, dir, next, nodeKey(to), config(from, 0))
		if err != nil {
			t.Fatal(err)
		}
		if m.Record.Number != uint64(i+1) {
			t.Errorf("hand-over %d has number %d", i+1, m.Record.Number)
		}
		if _, err := Resume(t.Context(), dir, config(from, 1)); !errors.Is(err, ErrMoved) || Temporary(err) {
			t.Errorf("the old folder goes on: %v", err)
		}
		if _, err := os.Stat(filepath.Join(dir, "key")); err == nil {
			t.Error("the source has the key")
		}
		moveIn(t, next, &m)
		dir = next
		if r, err = Resume(t.Context(), dir, config(to, 3)); err != nil {
			t.Fatal(err)
		}
	}
	if r.Tick != 5+6*3 {
		t.Errorf("it is at tick %d", r.Tick)
	}
	c, _, err := newestCheckpoint(dir)
	if err != nil || c.MajorVersion != 6 {
		t.Errorf("its newest checkpoint counts %d hand-overs, %v", c.MajorVersion, err)
	}
	report := checkReceipts(t, dir)
	if report.Verdict != verifier.Verified {
		t.Errorf("receipts: %v", report.Verdict)
	}
	replayed, err := Replay(t.Context(), dir, ReplayConfig{WASM: birth(wasmtest.Agent{}).WASM, Manifest: birth(wasmtest.Agent{}).Manifest, Events: filepath.Join(dir, "events"), Log: quiet().Log})
	if err != nil || replayed.Verdict != Replayed || replayed.Lineage != "verified" {
		t.Errorf("replay: %+v, %v", replayed, err)
	}
}

// TestHandOverRefused ends a hand-over before it counts, in every way: the agent lives on.
func TestHandOverRefused(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "agent")
	c := ticks(3, 2)
	c.NodeKey = nodeKey(1)
	if _, err := Start(t.Context(), dir, birth(wasmtest.Agent{}), c); err != nil {
		t.Fatal(err)
	}
	no := errors.New("no")
	for name, h := range map[string]HandOver{
		"refused":            {Seal: seal, Countersign: func(context.Context, Stand) (s [64]byte, err error) { return s, no }},
		"cannot be sealed":   {Seal: func(_, _ []byte) ([]byte, error) { return nil, no }},
		"sealed to too much": {Seal: func(_, _ []byte) ([]byte, error) { return make([]byte, 81), nil }},
		"not signed":         {Seal: seal, Countersign: func(context.Context, Stand) (s [64]byte, err error) { return s, nil }},
		"signed by another": {Seal: seal, Countersign: func(_ context.Context, s Stand) ([64]byte, error) {
			return [64]byte(ed25519.Sign(nodeKey(3), s.Record.AppendMessage(nil))), nil
		}},
		"to itself": {To: publicOf(nodeKey(1)), Seal: seal, Countersign: func(_ context.Context, s Stand) ([64]byte, error) {
			return [64]byte(ed25519.Sign(nodeKey(1), s.Record.AppendMessage(nil))), nil
		}},
	} {
		if h.To == (verifier.PublicKey{}) {
			h.To = publicOf(nodeKey(2))
		}
		e, err := c.engine()
		if err != nil {
			t.Fatal(err)
		}
		_, err = e.Visit(t.Context(), dir, func(ctx context.Context, a *Agent) error { _, err := a.HandOver(ctx, h); return err })
		if err == nil || errors.Is(err, ErrMoved) {
			t.Errorf("%s: %v", name, err)
		}
		e.Close()
		if _, err := Resume(t.Context(), dir, ticks(1, 1)); err != nil {
			t.Errorf("%s: it does not live on: %v", name, err)
		}
	}
}

// TestHandOverCut kills the source at each step of its disk: it is the source's before
// the commit, and the target's after, and the key is never at neither.
func TestHandOverCut(t *testing.T) {
	stayed, left := 0, 0
	for step := 1; ; step++ {
		tmp := t.TempDir()
		dir, to := filepath.Join(tmp, "agent"), filepath.Join(tmp, "to")
		c := ticks(3, 2)
		c.NodeKey = nodeKey(1)
		if _, err := Start(t.Context(), dir, birth(wasmtest.Agent{}), c); err != nil {
			t.Fatal(err)
		}
		disk := waltest.NewDisk()
		c.Paused, c.visit, c.through = true, true, disk.Through
		disk.FailAt(step, waltest.Fault{Err: errPower})
		e, err := c.engine()
		if err != nil {
			t.Fatal(err)
		}
		a := e.Resume(t.Context(), dir, c.Config)
		_, err = a.HandOver(t.Context(), HandOver{To: publicOf(nodeKey(2)), Seal: seal, Countersign: func(_ context.Context, s Stand) ([64]byte, error) {
			take(t, dir, to)
			return [64]byte(ed25519.Sign(nodeKey(2), s.Record.AppendMessage(nil))), nil
		}})
		a.Stop(t.Context())
		e.Close()
		_, failed := disk.Steps()
		m, gone, readErr := ReadMoved(dir)
		if readErr != nil {
			t.Fatal(readErr)
		}
		c = ticks(1, 1)
		c.NodeKey = nodeKey(1)
		_, lives := Resume(t.Context(), dir, c)
		switch {
		case gone:
			left++
			if !errors.Is(lives, ErrMoved) {
				t.Errorf("step %d: it lives on: %v", step, lives)
			}
			if _, err := os.Stat(filepath.Join(dir, "key")); err == nil {
				t.Errorf("step %d: the source has the key", step)
			}
			moveIn(t, to, &m)
			c.NodeKey = nodeKey(2)
			if _, err := Resume(t.Context(), to, c); err != nil {
				t.Errorf("step %d: the target cannot live it: %v", step, err)
			}
		default:
			stayed++
			if err == nil || lives != nil {
				t.Errorf("step %d: handed over: %v; lives on: %v", step, err, lives)
			}
		}
		if !failed {
			break
		}
	}
	if stayed < 2 || left < 2 {
		t.Errorf("%d times it stayed, %d times it left", stayed, left)
	}
}

// TestMovedBytes changes each byte of a commit: it is none then.
func TestMovedBytes(t *testing.T) {
	tmp := t.TempDir()
	dir := filepath.Join(tmp, "agent")
	c := ticks(3, 2)
	c.NodeKey = nodeKey(1)
	if _, err := Start(t.Context(), dir, birth(wasmtest.Agent{}), c); err != nil {
		t.Fatal(err)
	}
	m, err := give(t, dir, filepath.Join(tmp, "to"), nodeKey(2), c)
	if err != nil {
		t.Fatal(err)
	}
	b := m.Append(nil)
	for i := range b {
		other := bytes.Clone(b)
		other[i] ^= 1
		if _, err := ParseMoved(other); err == nil {
			t.Errorf("byte %d changed: it is a commit", i)
		}
		if _, err := ParseMoved(b[:i]); err == nil {
			t.Errorf("cut at %d: it is a commit", i)
		}
	}
}

func FuzzMoved(f *testing.F) {
	f.Add(make([]byte, MovedSize))
	f.Fuzz(func(t *testing.T, b []byte) {
		if m, err := ParseMoved(b); err == nil && !bytes.Equal(m.Append(nil), b) {
			t.Error("what parses does not encode to the same bytes")
		}
	})
}

// TestTravels says which names may be made in a folder.
func TestTravels(t *testing.T) {
	for name, want := range map[string]bool{
		"agent.wasm": true, "events/0000000001.events": true, "events/payloads/ab": true, "handovers": true,
		"key": false, "lock": false, "moved": false, "retired": false, "home": false, "run": false, "": false, ".": false, "..": false, "events": false,
		"events/../key": false, "../agent.wasm": false, "/agent.wasm": false, "events/payloads/../../key": false, "history/0000000001-0000000009.car": true, "history/x.car": false, "events/0000000001-0000000009.pack": true, "packed": true, "history/1-2.car": false, "history/0000000001.ckpt": false,
		"events/.x": false, "events/x.next": false, "events/x/y": false, "events//x": false, "control": false,
	} {
		if Travels(name) != want {
			t.Errorf("%q: %t", name, !want)
		}
	}
}

// TestReplayAfter verifies and runs again what comes after a checkpoint that was verified
// before, and reads nothing before it.
func TestReplayAfter(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "agent")
	b := birth(wasmtest.Agent{})
	if _, err := Start(t.Context(), dir, b, ticks(9, 1)); err != nil {
		t.Fatal(err)
	}
	file := func(tick uint64) string { return filepath.Join(dir, BlockFile(tick)) }
	content := func(tick uint64) []byte {
		t.Helper()
		c, err := os.ReadFile(file(tick))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	agent, err := verifier.Parse(content(5))
	if err != nil {
		t.Fatal(err)
	}
	after := verifier.Hash(sha256.Sum256(content(5)))
	replay := func() (*ReplayReport, error) {
		return Replay(t.Context(), dir, ReplayConfig{WASM: b.WASM, Manifest: b.Manifest, Events: filepath.Join(dir, "events"), After: after, Log: quiet().Log})
	}
	r, err := replay()
	if err != nil || r.Verdict != Replayed || r.Intervals != 4 || r.FirstTick != 6 || r.LastTick != 9 || r.DID != agent.AgentPubKey.DID() {
		t.Fatalf("%+v, %v", r, err)
	}
	for _, tick := range []uint64{6, 7, 9} {
		was := content(tick)
		for _, at := range []int{10, len(was) / 2, len(was) - 1} {
			other := bytes.Clone(was)
			other[at] ^= 1
			if err := os.WriteFile(file(tick), other, 0o644); err != nil {
				t.Fatal(err)
			}
			if r, err := replay(); err == nil {
				t.Errorf("tick %d, byte %d: %+v", tick, at, r)
			}
			if err := VerifyTail(dir, agent.AgentPubKey, after); err == nil {
				t.Errorf("tick %d, byte %d: it verifies", tick, at)
			}
		}
		if err := os.WriteFile(file(tick), was, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Rename(file(7), file(7)+".away"); err != nil {
		t.Fatal(err)
	}
	if _, err := replay(); !errors.Is(err, ErrInvalidHistory) {
		t.Errorf("one is missing: %v", err)
	}
	if err := os.Rename(file(7)+".away", file(7)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file(2), []byte("nobody reads this"), 0o644); err != nil {
		t.Fatal(err)
	}
	if r, err := replay(); err != nil || r.Verdict != Replayed {
		t.Errorf("it read what was verified before: %+v, %v", r, err)
	}
	after[0]++
	if _, err := replay(); err == nil {
		t.Error("it goes on from a checkpoint that is not there")
	}
}
