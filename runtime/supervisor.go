package runtime

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"igor.dev/runtime/internal/hint"
	"igor.dev/runtime/internal/store"
)

// Supervision is how an agent is that [Engine.Supervise] runs.
type Supervision string

// How it can be.
const (
	SupervisedAlive   Supervision = "alive"   // it runs
	SupervisedWaiting Supervision = "waiting" // it failed, and is tried again
	SupervisedEnded   Supervision = "ended"   // for a reason that is no error
	SupervisedFailed  Supervision = "failed"  // and to try again makes no sense
)

// A Supervised is an agent of a folder of agents.
type Supervised struct {
	Name     string // of its folder, in the folder of agents
	State    Supervision
	Agent    *Agent // of the newest run
	Reason   Reason // why it ended
	Err      error  // why it failed
	Again    time.Time
	Restarts int
}

// A SupervisorConfig says how to run all agents of a folder.
type SupervisorConfig struct {
	// Agent returns how to run an agent, by the name of its folder.
	Agent func(name string) Config

	// Changed is told when an agent is something else than before; it must not wait. A
	// State that is "" says that its folder is gone.
	Changed func(Supervised)

	// Look has the folder looked at now, rather than in a while; nil = nobody asks for that.
	Look <-chan struct{}
}

const (
	rescanEvery = time.Second      // how soon a folder that is new or gone is seen
	firstRetry  = time.Second      // after a failure; then twice as long, each time
	lastRetry   = 5 * time.Minute  // and at most so long
	forgiven    = 10 * time.Minute // a life of this length begins with firstRetry again

	// startingAtOnce is how many agents are looked at at the same time, before they live:
	// to verify a history takes memory, and all cores.
	startingAtOnce = 4
)

// Supervise runs the agents that are in folders directly in dir, until ctx is
// cancelled; then it stops them all, and returns when they have ended. An agent that
// comes into the folder begins to run, and one whose folder goes is stopped. One that
// fails is tried again, with a pause that grows, if [Temporary] says that this can
// help. One that was handed over is gone. One that cannot be helped so, or has no budget left, is tried again when
// somebody has done something with its folder.
func (e *Engine) Supervise(ctx context.Context, dir string, c SupervisorConfig) error {
	if store.HasAgent(dir) {
		return hint.Wrap(fmt.Errorf("%s is one agent's folder, and not a folder of agents", dir), "igor resume %s runs it", dir)
	}
	if _, err := os.ReadDir(dir); err != nil {
		return err
	}
	store.Sweep(dir)
	s := &supervisor{engine: e, dir: dir, config: c, starting: make(chan struct{}, startingAtOnce), known: map[string]*supervised{}}
	defer s.all.Wait()
	for {
		if err := s.look(ctx); err != nil {
			e.config.Log.Error("the folder of agents cannot be read", "folder", dir, "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(rescanEvery):
		case <-c.Look:
		}
	}
}

type supervisor struct {
	engine   *Engine
	dir      string
	config   SupervisorConfig
	starting chan struct{}
	known    map[string]*supervised
	all      sync.WaitGroup
}

// A supervised is an agent whose folder was seen.
type supervised struct {
	*supervisor
	name   string
	folder os.FileInfo
	gone   context.CancelFunc
}

// look finds the agents that came, and those that went.
func (s *supervisor) look(ctx context.Context) error {
	names, err := store.Agents(s.dir)
	if err != nil {
		return err
	}
	there := map[string]bool{}
	for _, name := range names {
		path := filepath.Join(s.dir, name)
		if _, err := os.Lstat(filepath.Join(path, "moved")); err == nil {
			continue // it lives elsewhere
		}
		folder, err := os.Stat(path)
		if err != nil {
			continue
		}
		old := s.known[name]
		if old != nil && !os.SameFile(old.folder, folder) { // another one, in its place
			old.gone()
			delete(s.known, name)
			old = nil
		}
		there[name] = true
		if old == nil {
			its, gone := context.WithCancel(ctx)
			a := &supervised{supervisor: s, name: name, folder: folder, gone: gone}
			s.known[name] = a
			s.all.Go(func() { a.keep(its) })
		}
	}
	for name, a := range s.known {
		if !there[name] {
			a.gone()
			delete(s.known, name)
		}
	}
	return nil
}

// keep runs an agent for as long as it makes sense.
func (a *supervised) keep(ctx context.Context) {
	now := Supervised{Name: a.name}
	tell := func() {
		if a.config.Changed != nil {
			a.config.Changed(now)
		}
	}
	defer func() {
		now.State = ""
		tell()
	}()
	path, log := filepath.Join(a.dir, a.name), a.engine.config.Log.With("agent", a.name)
	pause := firstRetry
	for {
		select {
		case a.starting <- struct{}{}:
		case <-ctx.Done():
			return
		}
		began := time.Now()
		c := a.config.Agent(a.name)
		now.Agent = a.engine.Resume(ctx, path, c)
		now.State, now.Err, now.Reason, now.Again = SupervisedAlive, nil, "", time.Time{}
		tell()
		now.Agent.awaitAlive()
		<-a.starting
		r, err := now.Agent.Wait(context.Background())
		if ctx.Err() != nil {
			if err != nil && !errors.Is(err, context.Canceled) {
				log.Error("the agent did not end well", "error", err)
			}
			return
		}
		touched := a.touched(path)
		switch {
		case errors.Is(err, ErrBudgetExhausted):
			r.Reason, err = BudgetExhausted, nil
		case errors.Is(err, ErrQuota):
			r.Reason, err = DiskFull, nil
		case errors.Is(err, ErrRetired):
			r.Reason, err = Retired, nil
		}
		now.Err, now.Reason = err, r.Reason
		switch {
		case err == nil && r.Reason == Stopped:
			now.State = SupervisedEnded
			log.Info("the agent is stopped", "tick", r.Tick)
			tell()
			<-ctx.Done() // whoever stopped it wants it to stay so
			return
		case err == nil && r.Reason == Retired:
			now.State = SupervisedEnded
			log.Info("the agent is retired", "tick", r.Tick)
			tell()
			<-ctx.Done() // it never lives again
			return
		case err == nil:
			now.State = SupervisedEnded
			log.Warn("the agent ended", "reason", string(r.Reason))
		case Temporary(err):
			if time.Since(began) > forgiven {
				pause = firstRetry
			}
			now.State, now.Again = SupervisedWaiting, time.Now().Add(pause)
			log.Warn("the agent failed, and is tried again", append([]any{"error", err, "in", pause}, hintAttr(err)...)...)
		default:
			now.State = SupervisedFailed
			log.Error("the agent cannot run, and is tried again when something is done about it", append([]any{"error", err}, hintAttr(err)...)...)
		}
		tell()
		if now.State == SupervisedWaiting {
			if !sleep(ctx, pause) {
				return
			}
			pause = min(2*pause, lastRetry)
		} else {
			for a.touched(path) == touched && (r.Reason != RentDue || c.RentDue()) {
				if !sleep(ctx, rescanEvery) {
					return
				}
			}
			pause = firstRetry
		}
		now.Restarts++
	}
}

// touched says in what state a folder is that somebody may change: who had it open, and
// what is in it.
func (a *supervised) touched(path string) string {
	var all []string
	for _, dir := range []string{path, filepath.Join(path, store.DirHistory), filepath.Join(path, store.DirEvents)} {
		if info, err := os.Stat(dir); err == nil {
			all = append(all, info.ModTime().String())
		}
	}
	entries, _ := os.ReadDir(path)
	for _, e := range entries {
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() {
			all = append(all, fmt.Sprint(e.Name(), info.ModTime(), info.Mode(), info.Size()))
		}
	}
	slices.Sort(all)
	return strings.Join(all, "\n")
}

func hintAttr(err error) []any {
	if h, ok := errors.AsType[interface {
		error
		Hint() string
	}](err); ok {
		return []any{"hint", h.Hint()}
	}
	return nil
}

// sleep reports whether the time is over, rather than the context.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
