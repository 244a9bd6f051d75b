package runtime

import (
	"context"
	"crypto"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"igor.dev/runtime/internal/hint"
	"igor.dev/runtime/internal/store"
	"igor.dev/verifier"
	said "igor.dev/verifier/witness"
)

// A Witnessing says how agents say in public where they stand: docs/witnessing.md. It is
// done in the background; an unreachable log never stops a life, unless Required says so.
type Witnessing struct {
	Log HeadLog

	// Every is how often: after so many checkpoints (as Ticks), or so much time since the
	// last one that was said, whichever is first. Zero = a minute.
	Every Every

	// Required ends the run when a head was not logged within Limit.
	Required bool

	// Limit is how long a head may take where it is required, and how long a run that ends
	// waits for its last one; 0 = 30 s, and 5 s.
	Limit time.Duration

	// PublishFork goes on although a newer or another head of the agent is public: the fork
	// is public then too, for ever.
	PublishFork bool
}

// A HeadLog is a log of head statements, or several ([igor.dev/witness.Client]).
type HeadLog interface {
	// Add logs a statement and returns a proof, with it as extra data.
	Add(ctx context.Context, statement []byte) (proof []byte, err error)

	// Newest returns the newest head that is known of an agent, nil if there is none.
	Newest(ctx context.Context, agent verifier.PublicKey) (*said.Head, error)
}

// A WitnessStatus says how far an agent's heads are logged.
type WitnessStatus struct {
	Tick   uint64    `json:"tick,string"`           // of the newest that is
	Time   time.Time `json:"loggedAt,omitzero"`     // when this run had it logged, zero = it has not
	Behind uint64    `json:"behindTicks,string"`    // from there to the newest checkpoint that is durable
	Error  string    `json:"error,omitempty"`       // of the newest attempt
	Since  time.Time `json:"waitingSince,omitzero"` // when the oldest head was signed that waits for the log, zero = none does
}

// headProof is the file in an agent's folder that shows its newest logged head.
const headProof = "head.tlog-proof"

const (
	defaultHeadInterval = time.Minute
	requiredHeadLimit   = 30 * time.Second
	lastHeadLimit       = 5 * time.Second
	askHeadLimit        = 15 * time.Second
	firstHeadRetry      = time.Second
	lastHeadRetry       = time.Minute
)

// heads is what a life says of itself in public.
type heads struct {
	config *Witnessing // nil = it says nothing
	dir    string
	Log    *slog.Logger

	// Of the life alone.
	checkpoints uint64 // since the last one that was said
	said        time.Time
	newest      *said.Head // durable, and not said yet

	wake chan struct{}
	stop context.CancelFunc
	done chan struct{}

	mu     sync.Mutex
	next   *said.Head // to be logged; a newer one takes its place
	since  time.Time  // when the oldest was said that is not logged
	status WitnessStatus
	saved  uint64 // the tick of the newest durable checkpoint
}

// beginHeads begins to log heads, beside the life.
func (l *life) beginHeads() {
	h := &l.heads
	if l.Witness == nil || l.visit || l.relive || l.passes {
		return
	}
	h.config, h.dir = l.Witness, l.store.Path()
	h.Log = l.Log
	h.wake, h.done = make(chan struct{}, 1), make(chan struct{})
	if last, err := readHead(h.dir); err == nil && last != nil {
		h.status.Tick = last.Tick
	}
	h.saved = l.result.Tick
	var ctx context.Context
	ctx, h.stop = context.WithCancel(context.Background())
	go h.run(ctx)
	if !l.result.Head.IsZero() && h.status.Tick != l.result.Tick {
		h.newest = l.headAt(l.result.Tick, l.result.Head)
	}
}

// headAt is an unsigned statement of a checkpoint that is durable, and was appended.
func (l *life) headAt(tick uint64, checkpoint verifier.Hash) *said.Head {
	return &said.Head{Agent: l.public, Epoch: l.home.epoch.MajorVersion + l.home.epoch.LeaseGeneration, Tick: tick, Checkpoint: checkpoint}
}

// sayHead takes notice of a group of checkpoints that is durable and was appended, and has
// the newest of them logged if that is due.
func (l *life) sayHead(group []made) error {
	h := &l.heads
	if h.config == nil {
		return nil
	}
	newest := &group[len(group)-1]
	h.checkpoints += uint64(len(group))
	h.newest = l.headAt(newest.TickNumber, newest.ContentHash)
	h.mu.Lock()
	h.saved = newest.TickNumber
	overdue := h.config.Required && !h.since.IsZero() && time.Since(h.since) > h.limit(requiredHeadLimit)
	why := h.status.Error
	h.mu.Unlock()
	if overdue {
		return hint.Wrap(fmt.Errorf("%w: %s", ErrUnwitnessed, why), "without --require-witness the agent lives on, and its heads are logged when the log can be reached again")
	}
	every := h.config.Every
	if every == (Every{}) {
		every.Time = defaultHeadInterval
	}
	if every.Ticks > 0 && h.checkpoints >= every.Ticks || every.Time > 0 && time.Since(h.said) >= every.Time {
		return l.signHead()
	}
	return nil
}

// ErrUnwitnessed says that an agent stopped because where it stands was not logged in time.
var ErrUnwitnessed = errors.New("the agent's head was not logged in time")

func (h *heads) limit(otherwise time.Duration) time.Duration {
	if h.config.Limit > 0 {
		return h.config.Limit
	}
	return otherwise
}

// signHead has the newest durable checkpoint logged.
func (l *life) signHead() error {
	h := &l.heads
	if h.newest == nil {
		return nil
	}
	signature, err := l.key.Sign(nil, h.newest.AppendMessage(nil), crypto.Hash(0))
	if err != nil {
		return err
	}
	copy(h.newest.Signature[:], signature)
	h.mu.Lock()
	h.next = h.newest
	if h.since.IsZero() {
		h.since = time.Now()
	}
	h.mu.Unlock()
	h.newest, h.checkpoints, h.said = nil, 0, time.Now()
	select {
	case h.wake <- struct{}{}:
	default:
	}
	return nil
}

// run logs what is to be logged, the newest only.
func (h *heads) run(ctx context.Context) {
	defer close(h.done)
	wait := firstHeadRetry
	for {
		h.mu.Lock()
		next := h.next
		h.mu.Unlock()
		if next == nil {
			select {
			case <-h.wake:
				continue
			case <-ctx.Done():
				return
			}
		}
		entry := next.Append(nil)
		proof, err := h.config.Log.Add(ctx, entry)
		if err == nil {
			err = writeHead(h.dir, proof)
		}
		h.mu.Lock()
		if err == nil {
			wait = firstHeadRetry
			h.status.Tick, h.status.Time, h.status.Error, h.since = next.Tick, time.Now(), "", time.Time{}
			if h.next == next {
				h.next = nil
			} else {
				h.since = time.Now()
			}
		} else {
			h.status.Error = err.Error()
		}
		h.mu.Unlock()
		if err == nil {
			h.Log.Info("head logged", "tick", next.Tick, "cid", next.Checkpoint.CID())
			continue
		}
		if ctx.Err() != nil {
			return
		}
		h.Log.Warn("the head was not logged; trying again", "tick", next.Tick, "error", err)
		select {
		case <-time.After(wait):
		case <-h.wake:
		case <-ctx.Done():
			return
		}
		wait = min(2*wait, lastHeadRetry)
	}
}

// endHeads has the last head logged, if that comes in time. The folder is still locked.
func (l *life) endHeads() error {
	h := &l.heads
	if h.config == nil {
		return nil
	}
	err := l.signHead()
	deadline := time.Now().Add(h.limit(lastHeadLimit))
	for h.open() && time.Now().Before(deadline) {
		time.Sleep(20 * time.Millisecond)
	}
	h.stop()
	<-h.done
	if h.open() {
		s := h.now()
		l.Log.Warn("the newest head is not logged", "behind", s.Behind, "error", s.Error)
		if h.config.Required {
			err = errors.Join(err, fmt.Errorf("%w: %s", ErrUnwitnessed, s.Error))
		}
	}
	h.config = nil
	return err
}

func (h *heads) open() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.next != nil
}

// now returns how far the heads are logged.
func (h *heads) now() *WitnessStatus {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.status
	s.Since = h.since
	s.Behind = h.saved - min(s.Tick, h.saved)
	return &s
}

// writeHead keeps a proof where who publishes the life finds it.
func writeHead(dir string, proof []byte) error {
	name := filepath.Join(dir, headProof)
	if err := os.WriteFile(name+".next", proof, 0o644); err != nil {
		return err
	}
	return os.Rename(name+".next", name)
}

// readHead returns the statement that was last logged from a folder, nil if there is none.
func readHead(dir string) (*said.Head, error) {
	f, err := os.Open(filepath.Join(dir, headProof))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, said.MaxProof+1))
	if err != nil {
		return nil, err
	}
	p, err := said.ParseProof(b)
	if err != nil {
		return nil, err
	}
	return said.ParseHead(p.Extra)
}

// meetHeads holds the folder against what the agent said in public: it has to have that,
// or to lead to it. An older state must not go on, for that would be a fork in public.
func (l *life) meetHeads(ctx context.Context, s *store.Store) error {
	if l.visit {
		return nil
	}
	own, err := readHead(s.Path())
	if err != nil {
		l.Log.Warn("what was logged last from this folder cannot be read", "file", headProof, "error", err)
	}
	var known *said.Head
	if l.Witness != nil {
		ctx, done := context.WithTimeout(ctx, askHeadLimit)
		known, err = l.Witness.Log.Newest(ctx, l.public)
		done()
		switch {
		case err != nil && l.Witness.Required:
			return hint.Wrap(fmt.Errorf("whether this is the newest state of the agent cannot be asked: %w", err), "without --require-witness the agent lives on")
		case err != nil:
			l.Log.Warn("whether this is the newest state of the agent cannot be asked; it lives on", "error", err)
		}
	}
	for _, h := range []*said.Head{own, known} {
		if h == nil || h.Agent != l.public || !h.Authentic() {
			continue
		}
		ok, err := l.leadsToHead(s, h)
		if err != nil {
			return err
		}
		if ok {
			continue
		}
		if l.Witness != nil && l.Witness.PublishFork {
			l.Log.Warn("going on from an older state: the agent lives twice, and that is public now", "head", h.Checkpoint.CID(), "tick", h.Tick)
			continue
		}
		return hint.Wrap(&OldCopyError{DID: l.result.DID, Head: h.Checkpoint},
			"it is public that the agent was at tick %d: go on with the copy that has that, or igor recover; --publish-fork goes on from here, and shows everybody for ever that its key lived twice", h.Tick)
	}
	return nil
}

// leadsToHead reports whether a head is in the history, or may be in what is not here of
// it, or is what is recorded after it.
func (l *life) leadsToHead(s *store.Store, h *said.Head) (bool, error) {
	if h.Tick > l.saved {
		return l.leadsTo(h.Checkpoint)
	}
	for b, err := range s.Newest() {
		if err != nil {
			return false, err
		}
		c, err := verifier.Parse(b)
		switch {
		case err != nil:
			return false, err
		case c.TickNumber == h.Tick:
			return sha256.Sum256(b) == h.Checkpoint, nil
		case c.TickNumber < h.Tick:
			return false, nil // it has those around it, and not this one
		}
	}
	return true, nil // the history does not go back so far
}
