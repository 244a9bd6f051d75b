package node

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"igor.dev/verifier"
	"igor.dev/x402/rent"
)

// Where a node is paid by leases (docs/spec/rent.md), an agent whose lease ended, or that
// never had one, lives on for a grace, and stands still at a checkpoint then until somebody
// pays for it.

// dirTenants has since when each agent is here that never had a lease.
const dirTenants = "tenants"

// rentFresh is how long what is known of an agent's lease is good.
const rentFresh = 5 * time.Second

// A tenant is an agent, as far as its rent goes.
type tenant struct {
	n     *Node
	name  string
	agent verifier.PublicKey

	mu    sync.Mutex
	due   bool
	asked time.Time
}

// tenantOf returns what tells whether an agent's rent is due, nil = it never is.
func (n *Node) tenantOf(name string) func() bool {
	if n.config.Leases == nil {
		return nil
	}
	l, err := n.life(name)
	if err != nil {
		return nil // it cannot be run either
	}
	t := &tenant{n: n, name: name, agent: l.Agent, asked: time.Now()}
	t.look()
	return t.isDue
}

// isDue never waits.
func (t *tenant) isDue() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if time.Since(t.asked) >= rentFresh {
		t.asked = time.Now()
		t.n.background(t.look)
	}
	return t.due
}

func (t *tenant) look() {
	until, err := t.paidUntil()
	if err != nil {
		t.n.config.Log.Warn("the rent of an agent cannot be read: it is taken to be paid", "agent", t.name, "error", err)
	}
	due := err == nil && time.Now().After(until)
	t.mu.Lock()
	changed := t.due != due
	t.due = due
	t.mu.Unlock()
	if changed && due {
		t.n.config.Log.Warn("an agent's rent is due: it stops at a checkpoint, and goes on when that is paid", "agent", t.name, "did", t.agent.DID(), "since", until.UTC().Format(time.RFC3339))
	}
}

// paidUntil is until when an agent may live: the end of its newest lease, or when it came,
// and the grace.
func (t *tenant) paidUntil() (time.Time, error) {
	ctx, done := context.WithTimeout(t.n.ctx, 10*time.Second)
	defer done()
	account, err := t.n.config.Leases.Account(ctx, t.agent)
	if err != nil && !errors.Is(err, rent.ErrUnknown) {
		return time.Time{}, err
	}
	var until time.Time
	if account != nil {
		until = account.Until()
	}
	if until.IsZero() {
		if until, err = t.since(); err != nil {
			return until, err
		}
	}
	return until.Add(t.n.config.LeaseGrace), nil
}

// since is when the agent was first seen here.
func (t *tenant) since() (time.Time, error) {
	dir := filepath.Join(t.n.config.Dir, dirTenants)
	path := filepath.Join(dir, strings.TrimPrefix(t.agent.DID(), "did:key:"))
	b, err := os.ReadFile(path)
	if err == nil {
		if at, err := time.Parse(time.RFC3339, strings.TrimSpace(string(b))); err == nil {
			return at, nil
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return time.Time{}, err
	}
	now := time.Now()
	err = os.MkdirAll(dir, 0o700)
	if err == nil {
		err = writeFile(path, []byte(now.UTC().Format(time.RFC3339)+"\n"))
	}
	return now, err
}
