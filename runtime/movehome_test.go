package runtime

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"igor.dev/authority"
	"igor.dev/authority/authoritytest"
	"igor.dev/internal/testkit"
	"igor.dev/runtime/internal/wal/waltest"
	"igor.dev/runtime/internal/wasmtest"
	"igor.dev/verifier"
)

// A movingHome is where agents of a test have their home, as each node reaches it.
type movingHome func(node byte) *Home

// homeInMemory is a store that whoever can write is trusted with.
func homeInMemory(s *authoritytest.Store) movingHome {
	return func(byte) *Home {
		h := at(s)
		h.Name = "/home"
		return h
	}
}

// inFleet is a fleet of three members, by HTTP. Each node has one client.
func inFleet(t testing.TB) movingHome {
	f := newFleet(t, 1)
	f.lease = 10 * time.Second
	clients := map[byte]*Home{}
	return func(node byte) *Home {
		if clients[node] == nil {
			h, done := f.home(nodeKey(node), 2, authoritytest.Faults{}, nil, nil)
			t.Cleanup(done)
			h.Name = "fleet:test"
			clients[node] = h
		}
		c := *clients[node]
		return &c
	}
}

func (h movingHome) config(node byte, n, every uint64) settings {
	c := ticks(n, every)
	c.NodeKey = nodeKey(node)
	c.Homes = func(name string) (*Home, error) {
		its := h(node)
		if its.Name != name {
			return nil, fmt.Errorf("no home %s", name)
		}
		return its, nil
	}
	return c
}

// mover is an agent that may be handed over to nodes.
func mover(nodes ...byte) Birth {
	b := birth(wasmtest.Agent{})
	dids := []string{}
	for _, n := range nodes {
		dids = append(dids, publicOf(nodeKey(n)).DID())
	}
	b.Manifest, _ = json.Marshal(map[string]any{"migration_policy": map[string]any{"enabled": true, "allowed_nodes": dids}})
	return b
}

func (h movingHome) start(t *testing.T, dir string, b Birth, node byte, n uint64) verifier.PublicKey {
	t.Helper()
	c := h.config(node, n, 2)
	c.Home = h(node)
	r, err := Start(t.Context(), dir, b, c)
	if err != nil {
		t.Fatal(err)
	}
	k, err := verifier.ParseDID(r.DID)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// arriveFrom has a node read in the agent's home that it was given the agent, and its folder
// live. It reports whether it was.
func (h movingHome) arriveFrom(t *testing.T, dir string, agent verifier.PublicKey, node byte) bool {
	t.Helper()
	home := h(node)
	p, with, err := home.Authority.(authority.Records).Record(t.Context(), agent)
	if err != nil {
		t.Fatal(err)
	}
	if p.Owner != publicOf(nodeKey(node)) || with == nil {
		return false
	}
	m, err := ParseCommit(agent, p, with)
	if err != nil {
		t.Fatal(err)
	}
	key := ed25519.NewKeyFromSeed(m.Sealed[:32])
	if err := m.Sign(key); err != nil {
		t.Fatal(err)
	}
	again, err := ParseMoved(m.Append(nil))
	if err != nil {
		t.Fatal(err)
	}
	if err := CheckMoved(dir, agent, p); err != nil {
		t.Error(err)
	}
	for range 2 {
		if err := MoveIn(dir, key, &again, home.Name); err != nil {
			t.Fatal(err)
		}
	}
	return true
}

func homesOfTests(t *testing.T) map[string]movingHome {
	return map[string]movingHome{"store": homeInMemory(authoritytest.NewStore()), "fleet": inFleet(t)}
}

// TestHandOverInHome has an agent go round three nodes whose home is a store: its home stays
// what it is, and only the folder of its owner lives on.
func TestHandOverInHome(t *testing.T) {
	for name, home := range homesOfTests(t) {
		t.Run(name, func(t *testing.T) {
			tmp := t.TempDir()
			dir := filepath.Join(tmp, "agent")
			b := mover(1, 2, 3)
			agent := home.start(t, dir, b, 1, 5)
			var r Result
			for i := range 6 {
				from, to := byte(1+i%3), byte(1+(i+1)%3)
				next := filepath.Join(tmp, "agent"+string(rune('a'+i)))
				m, err := give(t, dir, next, nodeKey(to), home.config(from, 0, 2))
				if err != nil {
					t.Fatal(err)
				}
				if m.Record.Number != uint64(i+1) || !m.AtHome() {
					t.Errorf("hand-over %d has number %d", i+1, m.Record.Number)
				}
				if _, err := Resume(t.Context(), dir, home.config(from, 1, 2)); !errors.Is(err, ErrMoved) || Temporary(err) {
					t.Errorf("the old folder goes on: %v", err)
				}
				if _, err := os.Stat(filepath.Join(dir, "key")); err == nil {
					t.Error("the source has the key")
				}
				if !home.arriveFrom(t, next, agent, to) {
					t.Fatal("the home does not say that it was given")
				}
				dir = next
				if r, err = Resume(t.Context(), dir, home.config(to, 3, 2)); err != nil {
					t.Fatal(err)
				}
				if p, err := home(to).Authority.Read(t.Context(), agent); err != nil || p.Major != uint64(i+1) || p.Head != r.Head || p.Owner != publicOf(nodeKey(to)) {
					t.Errorf("the home has %+v, %v", p, err)
				}
			}
			if r.Tick != 5+6*3 {
				t.Errorf("it is at tick %d", r.Tick)
			}
			c, _, err := newestCheckpoint(dir)
			if err != nil || c.MajorVersion != 6 {
				t.Errorf("its newest checkpoint counts %d hand-overs, %v", c.MajorVersion, err)
			}
			if report := checkReceipts(t, dir); report.Verdict != verifier.Verified {
				t.Errorf("receipts: %v", report.Verdict)
			}
			replayed, err := Replay(t.Context(), dir, ReplayConfig{WASM: b.WASM, Manifest: b.Manifest, Events: filepath.Join(dir, "events"), Log: quiet().Log})
			if err != nil || replayed.Verdict != Replayed || replayed.Lineage != "verified" {
				t.Errorf("replay: %+v, %v", replayed, err)
			}
		})
	}
}

// TestRecordsPutBack has an agent that was handed over taken over from what its home keeps:
// the records of its hand-overs come back from copies, of which each may be older, and
// nothing comes that the agent did not sign or that its home does not count.
func TestRecordsPutBack(t *testing.T) {
	home := homeInMemory(authoritytest.NewStore())
	tmp := t.TempDir()
	dirs := []string{filepath.Join(tmp, "agent")}
	agent := home.start(t, dirs[0], mover(1, 2), 1, 5)
	for i := range 4 {
		from, to := byte(1+i%2), byte(1+(i+1)%2)
		next := filepath.Join(tmp, "agent"+string(rune('a'+i)))
		if _, err := give(t, dirs[i], next, nodeKey(to), home.config(from, 0, 2)); err != nil {
			t.Fatal(err)
		}
		if !home.arriveFrom(t, next, agent, to) {
			t.Fatal("the home does not say that it was given")
		}
		if _, err := Resume(t.Context(), next, home.config(to, 3, 2)); err != nil {
			t.Fatal(err)
		}
		dirs = append(dirs, next)
	}
	last := dirs[4]
	key, err := fileKeys{}.Key(last)
	if err != nil {
		t.Fatal(err)
	}
	its := home(2)
	its.TakeOver = true
	dir := filepath.Join(tmp, "restored")
	if _, err := Restore(t.Context(), dir, RestoreConfig{Home: its, Key: key.(ed25519.PrivateKey), Node: nodeKey(2)}); err != nil {
		t.Fatal(err)
	}
	records := func() (numbers []uint64) {
		root, err := os.OpenRoot(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer root.Close()
		all, err := readHandOvers(root)
		if err != nil {
			t.Fatal(err)
		}
		for _, h := range all {
			numbers = append(numbers, h.Number)
		}
		return numbers
	}
	// Of a record that is not signed, and of one that the home does not count.
	b, err := os.ReadFile(filepath.Join(last, "handovers"))
	if err != nil {
		t.Fatal(err)
	}
	lies := filepath.Join(tmp, "lies")
	if err := os.CopyFS(lies, os.DirFS(dirs[1])); err != nil {
		t.Fatal(err)
	}
	unsigned := bytes.Clone(b[:verifier.HandOverSize])
	unsigned[len(unsigned)-1] ^= 1
	later, err := verifier.ParseHandOver(b[:verifier.HandOverSize])
	if err != nil {
		t.Fatal(err)
	}
	later.Number = 5
	taker := nodeKey(2)
	later.ToSignature = [64]byte(ed25519.Sign(taker, later.AppendMessage(nil)))
	later.AgentSignature = [64]byte(ed25519.Sign(key.(ed25519.PrivateKey), later.AppendCountersigned(nil)))
	if later.Check(agent) != verifier.HandOverCounts {
		t.Fatal("the record of the test does not count")
	}
	if err := os.WriteFile(filepath.Join(lies, "handovers"), later.Append(unsigned), 0o644); err != nil {
		t.Fatal(err)
	}
	for i, step := range []struct {
		copies string
		want   []uint64
	}{
		{lies, nil}, {dirs[1], []uint64{1, 2}}, {dirs[0], []uint64{1, 2}}, {lies, []uint64{1, 2}}, {dirs[2], []uint64{1, 2, 3}},
	} {
		if i == 2 { // the first ones before it lives
			c := home.config(2, 1, 2)
			c.Home = home(2)
			if _, err := Resume(t.Context(), dir, c); err != nil {
				t.Fatal(err)
			}
		}
		if whole, err := PutBack(dir, step.copies); err != nil || whole || !slices.Equal(records(), step.want) {
			t.Errorf("of %v: whole %v, %v, records %v, want %v", step.copies, whole, err, records(), step.want)
		}
	}
	if gaps, known := TakenOverWithGaps(dir); !gaps || !known {
		t.Error("that a record is missing is no gap")
	}
	if whole, err := PutBack(dir, last); err != nil || !whole {
		t.Errorf("of the folder that lived it last: whole %v, %v", whole, err)
	}
	if gaps, known := TakenOverWithGaps(dir); gaps || !known {
		t.Errorf("of a whole folder it says gaps %v, known %v", gaps, known)
	}
	// Before the first append of a life that goes on here nobody can say.
	if err := os.Remove(filepath.Join(dir, fileSeen)); err != nil {
		t.Fatal(err)
	}
	if gaps, known := TakenOverWithGaps(dir); gaps || known {
		t.Errorf("of a life that did not begin it says gaps %v, known %v", gaps, known)
	}
	if again, err := os.ReadFile(filepath.Join(dir, "handovers")); err != nil || !bytes.Equal(again, b) {
		t.Errorf("the records are other ones: %v", err)
	}
}

// TestHandOverOldCopy has a copy of the source's folder from before, key and all, try to go
// on: the home says no.
func TestHandOverOldCopy(t *testing.T) {
	for name, home := range homesOfTests(t) {
		t.Run(name, func(t *testing.T) {
			tmp := t.TempDir()
			dir, to, old := filepath.Join(tmp, "agent"), filepath.Join(tmp, "to"), filepath.Join(tmp, "old")
			agent := home.start(t, dir, mover(1, 2), 1, 5)
			if err := os.CopyFS(old, os.DirFS(dir)); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(filepath.Join(old, "key"), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := give(t, dir, to, nodeKey(2), home.config(1, 0, 2)); err != nil {
				t.Fatal(err)
			}
			if _, err := Resume(t.Context(), old, home.config(1, 1, 2)); !errors.Is(err, ErrConflict) || Temporary(err) {
				t.Errorf("the copy goes on: %v", err)
			}
			if !home.arriveFrom(t, to, agent, 2) {
				t.Fatal("it was not given")
			}
			if _, err := Resume(t.Context(), to, home.config(2, 2, 2)); err != nil {
				t.Error(err)
			}
			if _, err := Resume(t.Context(), old, home.config(1, 1, 2)); !errors.Is(err, ErrConflict) {
				t.Errorf("the copy goes on: %v", err)
			}
		})
	}
}

// TestHandOverNotAllowed has the fleet refuse a node that the agent's manifest does not
// name: the agent lives on where it is.
func TestHandOverNotAllowed(t *testing.T) {
	home := inFleet(t)
	tmp := t.TempDir()
	dir := filepath.Join(tmp, "agent")
	agent := home.start(t, dir, mover(1, 2), 1, 5)
	c := home.config(1, 0, 2)
	_, err := give(t, dir, filepath.Join(tmp, "to"), nodeKey(3), c)
	if _, is := errors.AsType[*authority.Refusal](err); !is || errors.Is(err, ErrMoved) || errors.Is(err, ErrMoveUnknown) {
		t.Fatal(err)
	}
	p, err := home(1).Authority.Read(t.Context(), agent)
	if err != nil || p.Owner != publicOf(nodeKey(1)) || p.Major != 0 {
		t.Errorf("the home has %+v, %v", p, err)
	}
	if Undecided(dir) {
		t.Error("something is left of it")
	}
	if _, err := Resume(t.Context(), dir, home.config(1, 2, 2)); err != nil {
		t.Error(err)
	}
	if _, err := give(t, dir, filepath.Join(tmp, "to"), nodeKey(2), home.config(1, 0, 2)); err != nil {
		t.Error(err)
	}
}

// cutHandOver gives an agent to a node, while something fails, and finds out whose it is: it
// lives there, and nowhere else. It reports whether it left.
func cutHandOver(t *testing.T, what string, home, after movingHome, fail func(c *settings, agent verifier.PublicKey)) (left bool) {
	t.Helper()
	tmp := t.TempDir()
	dir, to := filepath.Join(tmp, "agent"), filepath.Join(tmp, "to")
	agent := after.start(t, dir, mover(1, 2), 1, 3)
	c := home.config(1, 3, 2)
	fail(&c, agent)
	c.Paused, c.visit = true, true
	e, err := c.engine()
	if err != nil {
		t.Fatal(err)
	}
	a := e.Resume(t.Context(), dir, c.Config)
	promised := authority.Position{}
	_, err = a.HandOver(t.Context(), HandOver{To: publicOf(nodeKey(2)), Seal: seal, Countersign: func(_ context.Context, s Stand) ([64]byte, error) {
		take(t, dir, to)
		promised = s.Position
		return [64]byte(ed25519.Sign(nodeKey(2), s.Record.AppendMessage(nil))), nil
	}})
	a.Stop(t.Context())
	e.Close()
	p, readErr := after(1).Authority.Read(t.Context(), agent)
	if readErr != nil {
		t.Fatal(readErr)
	}
	was := p
	// The source is started again first, or the target reads first. Either is right.
	_, lives := Resume(t.Context(), dir, after.config(1, 1, 1))
	if p, readErr = after(1).Authority.Read(t.Context(), agent); readErr != nil {
		t.Fatal(readErr)
	}
	left = p.Owner == publicOf(nodeKey(2))
	if err == nil && !left {
		t.Errorf("%s: it was said to be handed over, and was not", what)
	}
	if left != (was.Owner == publicOf(nodeKey(2))) && was.Owner != publicOf(nodeKey(2)) && was.Sequence >= promised.Sequence {
		t.Errorf("%s: it left later", what)
	}
	switch {
	case left:
		if !errors.Is(lives, ErrMoved) {
			t.Errorf("%s: it lives on: %v", what, lives)
		}
		if _, err := os.Stat(filepath.Join(dir, "key")); err == nil {
			t.Errorf("%s: the source has the key", what)
		}
		if m, gone, err := ReadMoved(dir); err != nil || !gone || m.Record.To != publicOf(nodeKey(2)) {
			t.Errorf("%s: the folder that it left says %t, %v", what, gone, err)
		}
		if !after.arriveFrom(t, to, agent, 2) {
			t.Errorf("%s: the target is not given it", what)
		}
		r, err := Resume(t.Context(), to, after.config(2, 2, 1))
		if err != nil || r.Tick < 5 {
			t.Errorf("%s: the target cannot live it: %+v, %v", what, r, err)
		}
		if report := checkReceipts(t, to); report.Verdict != verifier.Verified {
			t.Errorf("%s: receipts: %v", what, report.Verdict)
		}
	case lives != nil:
		t.Errorf("%s: handed over: %v; it does not live on: %v", what, err, lives)
	case Undecided(dir):
		t.Errorf("%s: it lives on, and does not know", what)
	default:
		if p.Major != 0 || after.arriveFrom(t, to, agent, 2) {
			t.Errorf("%s: the target is given it, and the source has it: %+v", what, p)
		}
	}
	return left
}

// TestHandOverInHomeCut kills the source at each step of its disk.
func TestHandOverInHomeCut(t *testing.T) {
	stayed, gone := 0, 0
	for step := 1; ; step++ {
		home := homeInMemory(authoritytest.NewStore())
		disk := waltest.NewDisk()
		left := cutHandOver(t, fmt.Sprintf("step %d", step), home, home, func(c *settings, _ verifier.PublicKey) {
			c.through = disk.Through
			disk.FailAt(step, waltest.Fault{Err: errPower})
		})
		if left {
			gone++
		} else {
			stayed++
		}
		if _, failed := disk.Steps(); !failed {
			break
		}
	}
	if stayed < 2 || gone < 2 {
		t.Errorf("%d times it stayed, %d times it left", stayed, gone)
	}
}

// TestHandOverInHomeFaults loses requests to the home, and answers, delays them, and has the
// source die in the middle.
func TestHandOverInHomeFaults(t *testing.T) {
	stayed, gone := 0, 0
	for seed := range uint64(24) {
		store := authoritytest.NewStore()
		client := store.NewClient(seed, authoritytest.Faults{Unanswered: 15, Unasked: 10, Late: 15, Crash: 6})
		bad := func(byte) *Home {
			h := at(client)
			h.Name, h.AppendLimit = "/home", 300*time.Millisecond
			return h
		}
		if cutHandOver(t, fmt.Sprintf("seed %d", seed), bad, homeInMemory(store), func(*settings, verifier.PublicKey) {}) {
			gone++
		} else {
			stayed++
		}
	}
	t.Logf("%d times it stayed, %d times it left", stayed, gone)
	if stayed < 3 || gone < 3 {
		t.Errorf("%d times it stayed, %d times it left", stayed, gone)
	}
}

// TestSpecCommit reads the example of docs/spec/handover.md: a hand-over in a store.
func TestSpecCommit(t *testing.T) {
	const spec = "../docs/spec"
	key := ed25519.NewKeyFromSeed(testkit.SpecBytes(t, spec, "handover.md", "hex seed"))
	with := append(testkit.SpecBytes(t, spec, "handover.md", "hex handover"), testkit.SpecBytes(t, spec, "handover.md", "hex sealed")...)
	b := testkit.SpecBytes(t, spec, "handover.md", "hex position")
	agent, p, err := authority.ParsePosition(b)
	if err != nil || agent != publicOf(key) {
		t.Fatal(err)
	}
	m, err := ParseCommit(agent, p, with)
	if err != nil || !m.AtHome() || m.Record.Number != 1 || len(with) != 393 {
		t.Fatalf("%+v, %v", m, err)
	}
	offer := p
	offer.Sequence, offer.State, offer.Major, offer.Owner, offer.Writer = p.Sequence-1, authority.HandingOver, p.Major-1, m.Record.From, authority.WriterID{1}
	if step, err := offer.Allows(&p); err != nil || step != authority.HandsOver {
		t.Errorf("after its offer it %s, %v", step, err)
	}
	if err := m.Sign(key); err != nil {
		t.Fatal(err)
	}
	if len(m.Append(nil)) != MovedSize {
		t.Errorf("%d bytes", len(m.Append(nil)))
	}
	if again, err := ParseMoved(m.Append(nil)); err != nil || again.Position != p {
		t.Error(err)
	}
	for i := range with {
		other := bytes.Clone(with)
		other[i] ^= 1
		if _, err := ParseCommit(agent, p, other); err == nil {
			t.Errorf("byte %d changed: it is a commit", i)
		}
	}
	for _, n := range []int{0, 1, 312, 313, 392} {
		if _, err := ParseCommit(agent, p, with[:n]); err == nil {
			t.Errorf("%d bytes: it is a commit", n)
		}
	}
}
