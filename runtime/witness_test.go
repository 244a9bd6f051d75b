package runtime

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"igor.dev/runtime/internal/wasmtest"
	"igor.dev/verifier"
	said "igor.dev/verifier/witness"
)

// A publicLog is a log of a test: it takes statements, or is down.
type publicLog struct {
	mu   sync.Mutex
	down bool
	last bool // it takes one statement more, and is down then
	any  bool // not heads alone
	all  []*said.Head
}

func (p *publicLog) Add(ctx context.Context, entry []byte) ([]byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.down {
		return nil, errors.New("nobody is there")
	}
	h, err := said.ParseHead(entry)
	if err != nil && !p.any {
		return nil, err
	}
	if err == nil {
		p.all = append(p.all, h)
		p.down, p.last = p.last, false
	}
	// What is kept beside the history needs to be readable, and its policy is not this package's.
	return said.WithExtra([]byte("c2sp.org/tlog-proof@v1\nindex 0\n\nlog.example\n1\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n\n\u2014 log.example AAAAAAA=\n"), entry), nil
}

func (p *publicLog) Newest(ctx context.Context, agent verifier.PublicKey) (newest *said.Head, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.down {
		return nil, errors.New("nobody is there")
	}
	for _, h := range p.all {
		if h.Agent == agent && (newest == nil || h.Tick >= newest.Tick) {
			newest = h
		}
	}
	return newest, nil
}

func (p *publicLog) set(down bool) { p.mu.Lock(); p.down = down; p.mu.Unlock() }

func (p *publicLog) heads() []*said.Head {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]*said.Head{}, p.all...)
}

func logging(n uint64, log *publicLog) settings {
	c := ticks(n, 2)
	c.Witness = &Witnessing{Log: log, Every: Every{Ticks: 1}, Limit: time.Second}
	return c
}

// TestHeadsAreLogged: what is logged is authentic, in the history, and newest at the end.
func TestHeadsAreLogged(t *testing.T) {
	dir, log := filepath.Join(t.TempDir(), "agent"), new(publicLog)
	r, err := Start(t.Context(), dir, birth(wasmtest.Agent{}), logging(10, log))
	if err != nil {
		t.Fatal(err)
	}
	all := log.heads()
	if len(all) == 0 {
		t.Fatal("nothing was logged")
	}
	for i, h := range all {
		if !h.Authentic() || h.Agent.DID() != r.DID || i > 0 && h.Tick <= all[i-1].Tick {
			t.Errorf("%+v", h)
		}
	}
	if last := all[len(all)-1]; last.Tick != r.Tick || last.Checkpoint != r.Head {
		t.Errorf("the last head is %+v, and the life ended with %+v", last, r)
	}
	if kept, err := readHead(dir); err != nil || kept.Checkpoint != r.Head {
		t.Errorf("%+v, %v", kept, err)
	}
	if r, err = Resume(t.Context(), dir, logging(5, log)); err != nil || log.heads()[len(log.heads())-1].Checkpoint != r.Head {
		t.Errorf("%+v, %v", r, err)
	}
	counts(t, dir) // verifies it
}

// TestLogIsDown: an unreachable log stops no life, unless that is asked for.
func TestLogIsDown(t *testing.T) {
	dir, log := filepath.Join(t.TempDir(), "agent"), &publicLog{down: true}
	c := logging(10, log)
	c.Witness.Limit = 100 * time.Millisecond
	first, err := Start(t.Context(), dir, birth(wasmtest.Agent{}), c)
	if err != nil || first.Tick != 10 {
		t.Fatalf("%+v, %v", first, err)
	}
	if first, err = Resume(t.Context(), dir, c); err != nil || first.Tick != 20 {
		t.Fatalf("%+v, %v", first, err)
	}
	c.Witness.Required = true
	if _, err := Resume(t.Context(), dir, c); err == nil || !strings.Contains(err.Error(), "cannot be asked") {
		t.Fatalf("it lives on: %v", err)
	}
	log.down, log.last = false, true
	c.Witness.Every, c.TickInterval = Every{Ticks: 1}, 30*time.Millisecond
	c.MaxTicks = 100
	if _, err := Resume(t.Context(), dir, c); !errors.Is(err, ErrUnwitnessed) {
		t.Fatalf("it lives on: %v", err)
	}
	log.set(false)
	c.MaxTicks = 2
	if r, err := Resume(t.Context(), dir, c); err != nil || log.heads()[len(log.heads())-1].Checkpoint != r.Head {
		t.Fatalf("it cannot catch up: %v", err)
	}
}

// TestOldStateIsRefused: a copy of before does not go on while the newest state is public,
// also with another log that is asked.
func TestOldStateIsRefused(t *testing.T) {
	dir, log := filepath.Join(t.TempDir(), "agent"), new(publicLog)
	if _, err := Start(t.Context(), dir, birth(wasmtest.Agent{}), logging(4, log)); err != nil {
		t.Fatal(err)
	}
	old, past := filepath.Join(t.TempDir(), "old"), filepath.Join(t.TempDir(), "past")
	for _, to := range []string{old, past} {
		if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
			t.Fatal(err)
		}
		os.Chmod(filepath.Join(to, "key"), 0o600)
	}
	r, err := Resume(t.Context(), dir, logging(6, log))
	if err != nil {
		t.Fatal(err)
	}
	n := len(log.heads())
	_, err = Resume(t.Context(), old, logging(6, log))
	var copied *OldCopyError
	if !errors.As(err, &copied) || copied.Head != r.Head || !errors.Is(err, ErrConflict) || len(log.heads()) != n {
		t.Fatalf("an old state goes on: %v", err)
	}

	// Of the same tick, with another checkpoint: a second life that nobody said anything of yet.
	alone := logging(6, log)
	alone.Witness = nil
	os.Remove(filepath.Join(old, headProof))
	second, err := Resume(t.Context(), old, alone)
	if err != nil {
		t.Fatal(err)
	}
	if _, err = Resume(t.Context(), old, logging(6, log)); second.Head != r.Head && !errors.As(err, &copied) {
		t.Errorf("it goes on: %v", err)
	}

	// What was logged from the folder itself is known without anybody.
	if b, err := os.ReadFile(filepath.Join(dir, headProof)); err != nil || os.WriteFile(filepath.Join(past, headProof), b, 0o644) != nil {
		t.Fatal(err)
	}
	if _, err := Resume(t.Context(), past, alone); !errors.As(err, &copied) {
		t.Errorf("a folder that lost its newest checkpoints goes on: %v", err)
	}

	// Who means it, may.
	fork := logging(3, log)
	fork.Witness.PublishFork = true
	third, err := Resume(t.Context(), past, fork)
	if err != nil {
		t.Fatal(err)
	}
	if heads := log.heads(); heads[len(heads)-1].Checkpoint != third.Head {
		t.Error("the fork is not public")
	}
}
