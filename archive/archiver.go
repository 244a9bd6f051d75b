package archive

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"filippo.io/age"

	"igor.dev/segment"
	"igor.dev/verifier"
	"igor.dev/verifier/published"
)

// A Config says where lives are archived, and what of them.
type Config struct {
	Targets []Target
	Rule    segment.Rule // where they are cut; zero = DefaultRule
	Parts   []Part       // what is archived beside the checkpoints

	// Recipients can read what is archived, and nobody else; nil = everybody can.
	Recipients []age.Recipient

	// Key signs what is uploaded where uploads are signed; nil = none has to be.
	Key ed25519.PrivateKey

	Log *slog.Logger

	// Retry is how long it takes to try again after a failure, the first time, and Ask how
	// often a target is asked what became of what it took. 0 = a second, a minute. They
	// grow to five minutes.
	Retry, Ask time.Duration
}

// DefaultRule is where lives are cut if nobody says otherwise.
var DefaultRule = segment.Rule{Checkpoints: segment.Default.Checkpoints, Age: 10 * time.Minute, Bytes: segment.Default.Bytes}

// DefaultParts are what a life can be made of again, to go on.
var DefaultParts = []Part{Program, Manifest, Journal, Receipts, Onchain}

const (
	longest   = 5 * time.Minute // between two attempts
	atOnce    = 4               // objects on their way to a target, of all agents
	inFlight  = 64              // segments of a life that a target took and that are not final yet
	scanEvery = time.Second     // at most, a history is looked at

	// callLimit is how long a target may take, and callRate how many bytes a second it
	// has to manage beyond that.
	callLimit = time.Minute
	callRate  = 64 << 10
)

// An Archiver brings lives to targets, in the background. It is safe for concurrent use.
type Archiver struct {
	config Config
	slots  []chan struct{} // of each target
}

// New makes an archiver.
func New(c Config) (*Archiver, error) {
	if len(c.Targets) == 0 {
		return nil, errors.New("an archiver needs a target")
	}
	names := map[string]bool{}
	for _, t := range c.Targets {
		if names[t.Name()] {
			return nil, fmt.Errorf("%s is given twice as a target of the archive", t.Name())
		}
		names[t.Name()] = true
	}
	if c.Rule == (segment.Rule{}) {
		c.Rule = DefaultRule
	}
	c.Retry, c.Ask = cmp.Or(c.Retry, time.Second), cmp.Or(c.Ask, time.Minute)
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	a := &Archiver{config: c}
	for range c.Targets {
		a.slots = append(a.slots, make(chan struct{}, atOnce))
	}
	return a, nil
}

// A Source is what a life has in its folder. It is read beside the life.
type Source interface {
	// After yields the checkpoints whose ticks are after a tick, in order; with all, from
	// the first one on. What is yielded is valid until the next.
	After(tick uint64, all bool) iter.Seq2[[]byte, error]

	// Parts returns what a successor needs that goes on from the checkpoint of a tick, nil
	// = there is none. Of what only grows it returns what is after read. Its error is
	// [ErrGoneOn] if the life went on, and it cannot be told any more.
	Parts(tick uint64, want []Part, read Read) (map[Part][]byte, Read, error)
}

// A Read says how far what only grows was read: how many bytes of receipts and of what
// became of payments on chains, and up to before which tick the event log.
type Read [3]int64

// ErrGoneOn says that a life has gone on from a checkpoint.
var ErrGoneOn = errors.New("the life has gone on")

// A Life is an agent that is to be archived.
type Life struct {
	Agent  verifier.PublicKey
	Dir    string // its folder, for the records
	Source Source
	Sign   func(message []byte) ([]byte, error) // by the agent's key
	Log    *slog.Logger                         // nil = the archiver's
}

// A Task is the archiving of one life. Nobody who calls its methods waits for a target,
// but in [Task.End].
type Task struct {
	archiver *Archiver
	life     Life
	log      *slog.Logger

	indexing sync.Mutex

	stop    context.CancelFunc // what is under way ends
	running sync.WaitGroup

	mu       sync.Mutex
	saved    uint64 // the tick up to which checkpoints are durable
	anySaved bool
	ending   bool // what waits is cut, whatever the rule says
	changed  chan struct{}
	hurry    chan struct{} // closed when it is ending
	cuts     []Cut
	waits    []waiting // checkpoints that are in no segment yet
	waitsFor time.Time // since when
	ready    bool      // the records were read
	broken   error     // nothing can be archived any more, or now
	targets  []*sending
}

// waiting is a checkpoint that is in no segment yet.
type waiting struct {
	tick uint64
	hash verifier.Hash
	size int64
}

// sending is the way of a life to a target.
type sending struct {
	task   *Task
	target Target
	slots  chan struct{}

	// Guarded by the task's lock.
	records map[string]Record
	final   int       // segments, all before them too
	spent   int64     // of its money
	err     error     // of the last attempt
	since   time.Time // of err
	shown   int       // segments that its head names

	steps int // that objects came further
	lines int // of the records' file
	fresh bool
	bound bool
}

// Begin begins to archive a life. It returns at once.
func (a *Archiver) Begin(l Life) *Task {
	ctx, stop := context.WithCancel(context.Background())
	t := &Task{archiver: a, life: l, stop: stop, changed: make(chan struct{}), hurry: make(chan struct{}), log: l.Log}
	if t.log == nil {
		t.log = a.config.Log
	}
	for i, target := range a.config.Targets {
		t.targets = append(t.targets, &sending{task: t, target: target, slots: a.slots[i], records: map[string]Record{}})
	}
	t.running.Go(func() { t.run(ctx) })
	return t
}

// Saved says that all checkpoints up to a tick are durable.
func (t *Task) Saved(tick uint64) {
	t.mu.Lock()
	t.saved, t.anySaved = max(tick, t.saved), true
	t.notify()
	t.mu.Unlock()
}

// SavedNext is [Task.Saved] for a checkpoint of so many bytes that was made just now: the
// folder need not be looked at.
func (t *Task) SavedNext(f *verifier.Finding, size int) {
	t.mu.Lock()
	if last, none := t.end(); t.ready && last.hash == f.PrevHash && none == f.PrevHash.IsZero() {
		if len(t.waits) == 0 {
			t.waitsFor = time.Now()
		}
		t.waits = append(t.waits, waiting{f.TickNumber, f.ContentHash, int64(size)})
	}
	t.mu.Unlock()
	t.Saved(f.TickNumber)
}

// notify wakes all who wait. The lock is held.
func (t *Task) notify() {
	close(t.changed)
	t.changed = make(chan struct{})
}

// Changed returns a channel that is closed when something changes.
func (t *Task) Changed() <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.changed
}

// Final returns up to where everything is final in all targets; the head is zero if
// nothing is.
func (t *Task) Final() (tick uint64, head verifier.Hash) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := len(t.cuts)
	for _, s := range t.targets {
		n = min(n, s.final)
	}
	if n == 0 {
		return 0, verifier.Hash{}
	}
	return t.cuts[n-1].Last, t.cuts[n-1].Root
}

// A Status is how far a life is archived in a target.
type Status struct {
	Target      string    `json:"target"`
	Tick        uint64    `json:"tick,string"` // the newest that is final, with all before it
	Head        string    `json:"cid,omitempty"`
	Segments    int       `json:"segments"`          // that are final
	Behind      int       `json:"checkpointsBehind"` // checkpoints that are not
	BytesBehind int64     `json:"bytesBehind,string"`
	Spent       int64     `json:"spent,string"` // in the target's smallest unit of money
	Error       string    `json:"error,omitempty"`
	Since       time.Time `json:"errorSince,omitzero"`
}

// Status returns how far the life is archived in each target.
func (t *Task) Status() []Status {
	t.mu.Lock()
	defer t.mu.Unlock()
	waits, waitBytes := len(t.waits), int64(0)
	for _, w := range t.waits {
		waitBytes += w.size
	}
	var all []Status
	for _, s := range t.targets {
		st := Status{Target: s.target.Name(), Segments: s.final, Spent: s.spent, Behind: waits, BytesBehind: waitBytes}
		st.count(t.cuts)
		if err := cmp.Or(t.broken, s.err); err != nil {
			st.Error, st.Since = err.Error(), s.since
		}
		all = append(all, st)
	}
	return all
}

// Flush cuts what waits, whatever the rule says, from now on.
func (t *Task) Flush() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.ending {
		t.ending = true
		close(t.hurry)
		t.notify()
	}
}

// End cuts what waits, and returns when everything is on its way: final, or taken by a
// target that says later whether it is; or when ctx is over. Then the archiving ends.
func (t *Task) End(ctx context.Context) error {
	t.Flush()
	err := t.wait(ctx)
	t.stop()
	t.running.Wait()
	return err
}

func (t *Task) wait(ctx context.Context) error {
	for {
		t.mu.Lock()
		changed := t.changed
		over := t.broken != nil || t.ready && len(t.waits) == 0 && t.scanned() && !slices.ContainsFunc(t.targets, func(s *sending) bool { return !s.sentAll() })
		t.mu.Unlock()
		if over {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}

// scanned reports whether what is durable was looked at. The lock is held.
func (t *Task) scanned() bool {
	if !t.anySaved {
		return true
	}
	return len(t.cuts) > 0 && t.cuts[len(t.cuts)-1].Last >= t.saved
}

// sentAll reports whether a target took all that there is. The lock is held.
func (s *sending) sentAll() bool {
	_, later := s.target.(Confirmer)
	if s.final == len(s.task.cuts) {
		return s.shown == s.final || later
	}
	if !later {
		return false
	}
	for i := range s.task.cuts[s.final:] {
		for _, o := range s.task.cuts[s.final+i].objects() {
			if r := s.records[o.key]; r.Stage == Built || r.Stage == Lost {
				return false
			}
		}
	}
	return true
}

// run reads the records, cuts the life, and has the targets filled.
func (t *Task) run(ctx context.Context) {
	for pause := t.archiver.config.Retry; ; pause = min(2*pause, longest) {
		err := t.begin(ctx)
		t.mu.Lock()
		t.broken = err
		t.ready = err == nil
		t.notify()
		t.mu.Unlock()
		if err == nil {
			break
		}
		t.log.Warn("the archive cannot go on", "agent", t.life.Agent.DID(), "error", err)
		if !sleep(ctx, pause) {
			return
		}
	}
	for _, s := range t.targets {
		t.running.Go(func() { s.run(ctx) })
	}
	for pause := t.archiver.config.Retry; ; {
		t.mu.Lock()
		changed := t.changed
		t.mu.Unlock()
		wait, err := t.cut()
		t.mu.Lock()
		if (err == nil) != (t.broken == nil) {
			t.broken = err
			t.notify()
		}
		t.mu.Unlock()
		if err != nil {
			t.log.Warn("the archive does not get on", "agent", t.life.Agent.DID(), "error", err)
			if !sleep(ctx, pause) {
				return
			}
			pause = min(2*pause, longest)
			continue
		}
		pause = t.archiver.config.Retry
		timer := time.NewTimer(cmp.Or(wait, longest))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		case <-changed:
			timer.Stop()
			t.mu.Lock()
			ending := t.ending
			t.mu.Unlock()
			if !ending && !sleep(ctx, t.archiver.scanPause()) { // many checkpoints a second are looked at together
				return
			}
		}
	}
}

func (a *Archiver) scanPause() time.Duration { return min(scanEvery, a.config.Retry) }

func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// begin reads the records. Where there are none, what the targets have is looked at.
func (t *Task) begin(ctx context.Context) error {
	if err := makeRecords(t.life.Dir); err != nil {
		return err
	}
	cuts, err := readCuts(t.life.Dir)
	if err != nil {
		return err
	}
	t.mu.Lock()
	t.cuts = cuts
	for _, s := range t.targets {
		s.err = nil
	}
	t.mu.Unlock()
	for _, s := range t.targets {
		if err := s.begin(); err != nil {
			return err
		}
	}
	if len(cuts) > 0 {
		return nil
	}
	return t.adopt(ctx)
}

// adopt takes the cuts of a life from a target that has some, so that what is archived
// already is not archived in other pieces.
func (t *Task) adopt(ctx context.Context) error {
	genesis := false
	for b, err := range t.life.Source.After(0, true) {
		if err != nil {
			return err
		}
		c, err := verifier.Parse(b)
		if err != nil {
			return err
		}
		genesis = c.PrevHash.IsZero()
		break
	}
	var best []Cut
	var errs []error
	for _, s := range t.targets {
		cuts, err := adoptFrom(ctx, s.target, t.life.Agent)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", s.target.Name(), err))
		}
		if len(cuts) > len(best) {
			best = cuts
		}
	}
	if len(best) == 0 && !genesis {
		return errors.Join(append([]error{errors.New("the history in the agent's folder does not begin with its genesis, and no target has what was before")}, errs...)...)
	}
	for i := range best {
		if err := t.record(best[i]); err != nil {
			return err
		}
	}
	if len(best) > 0 {
		t.log.Info("the archive had this life already", "agent", t.life.Agent.DID(), "segments", len(best), "tick", best[len(best)-1].Last)
	}
	return nil
}

// record writes a cut down, durably, before anything of it is sent.
func (t *Task) record(c Cut) error {
	line, err := c.line()
	if err != nil {
		return err
	}
	if err := appendLine(filepath.Join(t.life.Dir, recordsDir, cutsFile), line); err != nil {
		return err
	}
	t.mu.Lock()
	t.cuts = append(t.cuts, c)
	for len(t.waits) > 0 && t.waits[0].tick <= c.Last {
		t.waits = t.waits[1:]
	}
	t.waitsFor = time.Now()
	t.notify()
	t.mu.Unlock()
	return nil
}

// adoptFrom reads the segments that a target has of a life. What does not fit ends them.
func adoptFrom(ctx context.Context, target Target, agent verifier.PublicKey) (cuts []Cut, err error) {
	if _, later := target.(Confirmer); !later {
		// One object says whether there is anything at all.
		ctx, done := within(ctx, 0)
		_, err := target.Get(ctx, published.HeadKey(agent), 0, 1)
		done()
		if errors.Is(err, ErrNotFound) {
			err = nil
			if _, first := target.Get(ctx, published.SegmentKey(agent, 0), 0, 1); errors.Is(first, ErrNotFound) {
				return nil, nil
			}
		}
		if err != nil {
			return nil, err
		}
	}
	for {
		n := uint64(len(cuts))
		c, err := adoptOne(ctx, target, agent, n)
		if errors.Is(err, ErrNotFound) {
			return cuts, nil
		}
		if err != nil {
			return cuts, err
		}
		if n > 0 && (c.Prev != cuts[n-1].Root || c.First <= cuts[n-1].Last) || n == 0 && !c.Prev.IsZero() {
			return cuts, fmt.Errorf("segment %d does not follow the one before it", n)
		}
		cuts = append(cuts, c)
	}
}

func adoptOne(ctx context.Context, target Target, agent verifier.PublicKey, n uint64) (c Cut, err error) {
	err = each(ctx, target, published.SegmentKey(agent, n), published.MaxSegment, func(b []byte) error {
		c, err = cutOf(b, n, agent)
		return err
	})
	return c, err
}

// cutOf makes the cut of the bytes of a segment, whose checkpoints have to be the agent's.
func cutOf(b []byte, n uint64, agent verifier.PublicKey) (c Cut, err error) {
	info, err := segment.Read(bytes.NewReader(b), func(_ []byte, f *verifier.Finding) error {
		c.Program = f.WASMHash
		if !f.Authentic() {
			return fmt.Errorf("the checkpoint of tick %d is not authentic", f.TickNumber)
		}
		return nil
	})
	if err != nil {
		return c, err
	}
	if info.Agent != agent {
		return c, fmt.Errorf("it is a segment of %s", info.Agent.DID())
	}
	c.N, c.First, c.Last, c.Checkpoints, c.Prev, c.Root = n, info.First, info.Last, info.Checkpoints, info.Prev, info.Root
	c.Size, c.Sum = int64(len(b)), sha256.Sum256(b)
	return c, nil
}

// each calls good with what a target has under a key, and where several claim to be it,
// with one after the other until one is.
func each(ctx context.Context, target Target, key string, limit int64, good func([]byte) error) error {
	ctx, done := within(ctx, limit)
	defer done()
	confirmer, ok := target.(Confirmer)
	if !ok {
		b, err := GetAll(ctx, target, key, limit)
		if err != nil {
			return err
		}
		return good(b)
	}
	found := fmt.Errorf("%s: %w", key, ErrNotFound)
	err := confirmer.Candidates(ctx, key, func(e Entry) error {
		err := confirmer.ReadBack(ctx, e.ID, limit, good)
		if err == nil {
			found = nil
			return errFound
		}
		if !errors.Is(err, ErrNotFound) && !e.Foreign {
			found = err
		}
		return nil
	})
	if err != nil && !errors.Is(err, errFound) {
		return err
	}
	return found
}

var errFound = errors.New("found")

// within returns a context for one call that moves so many bytes.
func within(ctx context.Context, size int64) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, callLimit+time.Duration(max(size, 0)/callRate)*time.Second)
}

// cut looks at what is new in the history, and cuts it where the rule says. wait is how
// long it takes until something may be due.
func (t *Task) cut() (wait time.Duration, err error) {
	for {
		if err := t.scan(); err != nil {
			return 0, err
		}
		t.mu.Lock()
		rule, waits := t.archiver.config.Rule, slices.Clone(t.waits)
		waited := time.Since(t.waitsFor)
		if t.ending {
			rule.Age = 1
			waited = max(waited, 1)
		}
		t.mu.Unlock()
		if len(waits) == 0 {
			return 0, nil
		}
		sizes := make([]int64, len(waits))
		for i, w := range waits {
			sizes[i] = w.size
		}
		n := rule.Next(sizes, waited)
		if n == 0 {
			return max(rule.Age-waited, time.Millisecond), nil
		}
		if err := t.makeCut(waits[:n], n == len(waits)); err != nil {
			return 0, err
		}
	}
}

// scan adds to what waits the checkpoints that are durable, and new.
func (t *Task) scan() error {
	t.mu.Lock()
	saved, any := t.saved, t.anySaved
	from, all := t.end()
	t.mu.Unlock()
	if !any {
		return nil
	}
	last, begun := from.hash, !all
	if begun && from.tick >= saved {
		return nil
	}
	for b, err := range t.life.Source.After(from.tick, all) {
		if err != nil {
			return err
		}
		c, err := verifier.Parse(b)
		if err != nil {
			return err
		}
		if c.TickNumber > saved {
			return nil
		}
		if c.PrevHash != last {
			return fmt.Errorf("the checkpoint of tick %d does not follow what is archived: this folder has another history than the archive", c.TickNumber)
		}
		last = sha256.Sum256(b)
		t.mu.Lock()
		if end, none := t.end(); !none && end.tick >= c.TickNumber {
			t.mu.Unlock()
			continue // it came meanwhile
		}
		if len(t.waits) == 0 {
			t.waitsFor = time.Now()
		}
		t.waits = append(t.waits, waiting{c.TickNumber, last, int64(len(b))})
		t.mu.Unlock()
	}
	return nil
}

// end is the newest checkpoint that was looked at, none where all are to be. The lock is
// held.
func (t *Task) end() (w waiting, none bool) {
	switch {
	case len(t.waits) > 0:
		return t.waits[len(t.waits)-1], false
	case len(t.cuts) > 0:
		last := &t.cuts[len(t.cuts)-1]
		return waiting{tick: last.Last, hash: last.Root}, false
	}
	return waiting{}, true
}

// makeCut makes a segment of checkpoints that wait. last says that no others wait.
func (t *Task) makeCut(of []waiting, last bool) error {
	t.mu.Lock()
	c := Cut{N: uint64(len(t.cuts))}
	var before *Cut
	after, all := uint64(0), true
	if len(t.cuts) > 0 {
		before = &t.cuts[len(t.cuts)-1]
		after, all = before.Last, false
		c.Read = before.Read
	}
	t.mu.Unlock()
	b, err := t.build(after, all, of[len(of)-1].hash, len(of))
	if err != nil {
		return err
	}
	made, err := cutOf(b, c.N, t.life.Agent)
	if err != nil {
		return fmt.Errorf("segment %d: %w", c.N, err)
	}
	made.Read = c.Read
	c = made
	if last {
		switch err := t.addParts(&c, before); {
		case errors.Is(err, ErrGoneOn): // the next segment has them
		case err != nil:
			return err
		}
	}
	if r := t.archiver.config.Recipients; r != nil {
		sealed, err := seal(b, r)
		if err != nil {
			return err
		}
		c.SealedSize, c.SealedSum = int64(len(sealed)), sha256.Sum256(sealed)
		if err := writeFile(t.sealedFile(c.N), sealed); err != nil {
			return err
		}
	}
	return t.record(c)
}

func (t *Task) sealedFile(n uint64) string {
	return filepath.Join(t.life.Dir, recordsDir, sealedDir, fmt.Sprint(n))
}

func (t *Task) partFile(h verifier.Hash) string {
	return filepath.Join(t.life.Dir, recordsDir, partsDir, h.String())
}

// build makes the bytes of a segment of what is in the folder.
func (t *Task) build(after uint64, all bool, root verifier.Hash, n int) ([]byte, error) {
	var b bytes.Buffer
	_, err := segment.Write(&b, root, func(yield func([]byte, error) bool) {
		left := n
		for checkpoint, err := range t.life.Source.After(after, all) {
			if !yield(checkpoint, err) || err != nil {
				return
			}
			if left--; left == 0 {
				return
			}
		}
	})
	return b.Bytes(), err
}

// addParts states what a successor needs that goes on from the end of a segment.
func (t *Task) addParts(c, before *Cut) error {
	want := t.archiver.config.Parts
	if len(want) == 0 {
		return nil
	}
	contents, read, err := t.life.Source.Parts(c.Last, want, c.Read)
	if err != nil {
		return err
	}
	s := Statement{Agent: t.life.Agent, Segment: c.N, Tick: c.Last, Head: c.Root}
	var was Statement
	if before != nil && before.Statement != nil {
		was, _ = readStatement(before.Statement)
	}
	r := t.archiver.config.Recipients
	if r != nil {
		c.Plain = make([]string, parts)
	}
	for p, content := range contents {
		if content == nil || p >= parts {
			continue
		}
		if len(content) > MaxObject-sealedMore {
			return fmt.Errorf("the %s has %d bytes, which is too much for an archive", p, len(content))
		}
		hash := verifier.Hash(sha256.Sum256(content))
		if r != nil {
			c.Plain[p] = hash.String()
			if before != nil && len(before.Plain) == parts && before.Plain[p] == c.Plain[p] && !was.Parts[p].IsZero() {
				s.Parts[p] = was.Parts[p] // encrypted again, it would have another name
				continue
			}
			if content, err = seal(content, r); err != nil {
				return err
			}
			hash = sha256.Sum256(content)
		}
		s.Parts[p] = hash
		if _, err := os.Stat(t.partFile(hash)); err == nil {
			continue
		}
		if hash == was.Parts[p] || hash == nothing {
			continue // it is there, or on its way
		}
		if err := writeFile(t.partFile(hash), content); err != nil {
			return err
		}
	}
	message := s.Append(nil)
	signature, err := t.life.Sign(message)
	if err != nil {
		return err
	}
	c.Statement, c.Read = append(message, signature...), read
	_, err = ParseStatement(c.Statement)
	return err
}

// content returns the bytes of an object, of which the hash is known.
func (t *Task) content(ctx context.Context, o *object) (b []byte, err error) {
	switch {
	case o.what == aStatement:
		return o.cut.Statement, nil
	case o.what == aPart:
		if b, err = os.ReadFile(t.partFile(o.part)); errors.Is(err, fs.ErrNotExist) {
			b, err = t.partAgain(o)
		}
	case o.cut.SealedSize > 0:
		b, err = os.ReadFile(t.sealedFile(o.cut.N))
	default:
		t.mu.Lock()
		after, all := uint64(0), true
		if o.cut.N > 0 {
			after, all = t.cuts[o.cut.N-1].Last, false
		}
		t.mu.Unlock()
		b, err = t.build(after, all, o.cut.Root, o.cut.Checkpoints)
	}
	if err == nil && sha256.Sum256(b) == o.sum {
		return b, nil
	}
	if err == nil {
		err = errors.New("it comes out as other bytes than it was cut as")
	}
	// The folder may have been pruned, or made of an archive: then a target has it.
	errs := []error{err}
	gone := true
	for _, s := range t.targets {
		var found []byte
		getErr := each(ctx, s.target, t.key(o), o.limit(), func(b []byte) error {
			if sha256.Sum256(b) != o.sum {
				return errOther
			}
			found = b
			return nil
		})
		if getErr == nil {
			return found, nil
		}
		if !errors.Is(getErr, ErrNotFound) {
			gone = false
			errs = append(errs, fmt.Errorf("%s: %w", s.target.Name(), getErr))
		}
	}
	if gone {
		return nil, fmt.Errorf("%w: name the target too that has it; or, if none does, move %s elsewhere, and what the folder has is archived anew", errGone, filepath.Join(t.life.Dir, recordsDir))
	}
	return nil, fmt.Errorf("it cannot be made again: %w", errors.Join(errs...))
}

// errGone says that something was archived and is nowhere any more.
var errGone = errors.New("no target that is named has it, and the agent's folder cannot make it again")

// partAgain makes a part again of what is in the folder, as far as that still has it. It was
// kept until all targets had it, and may be wanted for another one. The caller looks at the
// hash.
func (t *Task) partAgain(o *object) ([]byte, error) {
	s, err := readStatement(o.cut.Statement)
	if err != nil {
		return nil, err
	}
	var read Read
	t.mu.Lock()
	if o.cut.N > 0 {
		read = t.cuts[o.cut.N-1].Read
	}
	t.mu.Unlock()
	err = fs.ErrNotExist
	for p, h := range s.Parts {
		if h != o.part {
			continue
		}
		var contents map[Part][]byte
		if contents, _, err = t.life.Source.Parts(s.Tick, []Part{Part(p)}, read); err != nil {
			continue
		}
		b := contents[Part(p)]
		if Part(p) == Receipts || Part(p) == Onchain { // more may have come that is of the same tick
			i := int(Part(p) - Receipts)
			b = b[:min(int64(len(b)), max(o.cut.Read[i]-read[i], 0))]
		}
		return b, nil
	}
	return nil, err
}

// superseded reports whether an object is a part that nobody who makes the agent anew asks
// for any more: a later segment says what there is instead.
func (t *Task) superseded(o *object) bool {
	if o.what != aPart {
		return false
	}
	s, err := readStatement(o.cut.Statement)
	if err != nil {
		return false
	}
	for _, p := range increments {
		if s.Parts[p] == o.part {
			return false
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := len(t.cuts) - 1; i >= 0 && t.cuts[i].N > o.cut.N; i-- {
		if t.cuts[i].Statement != nil {
			newest, err := readStatement(t.cuts[i].Statement)
			return err == nil && !slices.Contains(newest.Parts[:], o.part)
		}
	}
	return false
}

func (t *Task) key(o *object) string { return published.Folder(t.life.Agent) + "/" + o.key }

var errOther = errors.New("the target has other bytes there")

// sealedMore is more than encryption adds to a part.
const sealedMore = 1 << 20

// seal encrypts.
func seal(b []byte, to []age.Recipient) ([]byte, error) {
	var out bytes.Buffer
	w, err := age.Encrypt(&out, to...)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(b); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// unseal decrypts, of at most limit bytes.
func unseal(b []byte, limit int64, with []age.Identity) ([]byte, error) {
	r, err := age.Decrypt(bytes.NewReader(b), with...)
	if err != nil {
		return nil, err
	}
	plain, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err == nil && int64(len(plain)) > limit {
		err = fmt.Errorf("it has more than %d bytes", limit)
	}
	return plain, err
}

// jitter has those who failed together not come back together.
func jitter(d time.Duration) time.Duration {
	return d/2 + rand.N(d/2+1)
}
