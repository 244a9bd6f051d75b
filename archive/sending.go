package archive

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"igor.dev/segment"
	"igor.dev/verifier"
	"igor.dev/verifier/published"
)

// begin reads a target's records.
func (s *sending) begin() error {
	path := recordsOf(s.task.life.Dir, s.target.Name())
	first, records, lines, err := readRecords(path)
	if err != nil {
		return err
	}
	line := lineOf(s.target)
	if lines > 0 && first.Target != line.Target {
		return fmt.Errorf("%s has the records of %s", path, first.Target)
	}
	fresh := len(records) == 0
	if lines == 0 { // a target that takes nothing is one that the life is archived to
		if err := appendLine(path, marshal(line)); err != nil {
			return err
		}
		lines = 1
	}
	t := s.task
	t.mu.Lock()
	s.records, s.lines, s.fresh = records, lines, fresh
	s.spent = 0
	for _, r := range records {
		s.spent += r.Cost
	}
	s.final = finalSegments(t.cuts, records)
	t.mu.Unlock()
	if first.Target != "" && first != line {
		return s.rewrite(path) // it is opened in another way now
	}
	return nil
}

// run fills a target until ctx is over.
func (s *sending) run(ctx context.Context) {
	t := s.task
	retry, ask := t.archiver.config.Retry, t.archiver.config.Ask
	hurry := t.hurry
	for pause := retry; ; {
		t.mu.Lock()
		changed := t.changed
		t.mu.Unlock()
		before := s.steps
		later, err := s.fill(ctx)
		if ctx.Err() != nil {
			return
		}
		s.failed(err)
		wait := longest
		switch {
		case err != nil:
			if s.steps > before {
				pause = retry // it gets on
			}
			wait = jitter(pause)
			pause = min(2*pause, longest)
		case later:
			wait, pause = jitter(ask), retry
		default:
			pause = retry
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		case <-orNever(changed, err != nil): // what failed is not hurried
			timer.Stop()
		case <-hurry: // but once, when the life ends
			timer.Stop()
			hurry, pause = nil, retry
		}
	}
}

func orNever(c <-chan struct{}, never bool) <-chan struct{} {
	if never {
		return nil
	}
	return c
}

// failed takes notice of how an attempt ended.
func (s *sending) failed(err error) {
	t := s.task
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case err == nil:
		if s.err != nil {
			t.log.Info("the archive gets on again", "agent", t.life.Agent.DID(), "target", s.target.Name())
			s.err, s.since = nil, time.Time{}
			t.notify()
		}
		return
	case s.err == nil:
		s.since = time.Now()
		t.log.Warn("the archive does not get on", "agent", t.life.Agent.DID(), "target", s.target.Name(), "error", err)
	case s.err.Error() != err.Error():
		t.log.Debug("the archive does not get on", "agent", t.life.Agent.DID(), "target", s.target.Name(), "error", err)
	}
	s.err = err
}

// maxFailures is how many segments may fail in one go.
const maxFailures = 3

// fill brings all that is cut a step further. later says that the target has to be asked
// again what became of what it took.
func (s *sending) fill(ctx context.Context) (later bool, err error) {
	t := s.task
	t.mu.Lock()
	cuts, from := t.cuts[:len(t.cuts):len(t.cuts)], s.final
	t.mu.Unlock()
	if len(cuts) == 0 {
		return false, nil
	}
	if err := s.bind(ctx); err != nil {
		return false, err
	}
	// One segment that fails does not keep the others from getting on, but a target that
	// fails again and again is left alone.
	var failed error
	failures := 0
	for n := from; n < min(len(cuts), from+inFlight) && failures < maxFailures; n++ {
		for _, o := range cuts[n].objects() { // in their order: what is named is there first
			stage, err := s.advance(ctx, &o)
			if err != nil {
				failed = cmp.Or(failed, fmt.Errorf("%s: %w", o.key, err))
				failures++
				break
			}
			if stage != Final {
				later = true
			}
		}
		t.mu.Lock()
		if s.final == n && finalSegments(cuts[n:n+1], s.records) == 1 {
			s.final = n + 1
			t.notify()
		}
		t.mu.Unlock()
		if s.finalNow() == n+1 {
			t.tidy(&cuts[n])
		}
	}
	if err := s.show(ctx); failed == nil {
		failed = err
	}
	if failed != nil {
		return true, failed
	}
	if from+inFlight < len(cuts) && !later {
		return s.fill(ctx)
	}
	return later, nil
}

func (s *sending) finalNow() int {
	s.task.mu.Lock()
	defer s.task.mu.Unlock()
	return s.final
}

// tidy removes what was kept until all targets have it.
func (t *Task) tidy(c *Cut) {
	t.mu.Lock()
	keep := map[string]bool{}
	all := len(t.cuts)
	for _, s := range t.targets {
		all = min(all, s.final)
	}
	done := int(c.N) < all
	for i := all; i < len(t.cuts); i++ {
		for _, o := range t.cuts[i].objects() {
			keep[o.key] = true
		}
	}
	t.mu.Unlock()
	if !done {
		return
	}
	os.Remove(t.sealedFile(c.N))
	for _, o := range c.objects() {
		if o.what == aPart && !keep[o.key] {
			os.Remove(t.partFile(o.part))
		}
	}
}

// bind has the target know whose uploads are the agent's own.
func (s *sending) bind(ctx context.Context) error {
	t := s.task
	key := t.archiver.config.Key
	if _, ok := s.target.(Confirmer); !ok || key == nil || s.bound {
		return nil
	}
	public := verifier.PublicKey(key.Public().(ed25519.PublicKey))
	message := appendBinding(nil, t.life.Agent, public)
	signature, err := t.life.Sign(message)
	if err != nil {
		return err
	}
	b := append(message, signature...)
	o := object{key: "archive-keys/" + verifier.Hash(public).String(), size: int64(len(b)), sum: sha256.Sum256(b)}
	stage, err := s.advanceBytes(ctx, &o, func() ([]byte, error) { return b, nil })
	if err != nil {
		return fmt.Errorf("%s: %w", o.key, err)
	}
	s.bound = stage == Final
	return nil
}

// advance brings an object as far as it comes now.
func (s *sending) advance(ctx context.Context, o *object) (Stage, error) {
	return s.advanceBytes(ctx, o, func() ([]byte, error) { return s.task.content(ctx, o) })
}

func (s *sending) advanceBytes(ctx context.Context, o *object, content func() ([]byte, error)) (Stage, error) {
	t := s.task
	t.mu.Lock()
	r, known := s.records[o.key]
	t.mu.Unlock()
	if r.Stage.done() {
		return Final, nil
	}
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	case <-ctx.Done():
		return r.Stage, ctx.Err()
	}
	if !known {
		// Records can be lost. What a target has under the own name already, and by any
		// uploader, is looked for before it is sent.
		r = Record{Key: o.key}
		if found, err := s.find(ctx, o); err != nil {
			return Built, err
		} else if found.Stage > Built {
			r = found
		}
		if err := s.write(r); err != nil {
			return Built, err
		}
	}
	if r.Stage == Built || r.Stage == Lost {
		err := s.send(ctx, o, &r, content)
		if errors.Is(err, errGone) && t.superseded(o) {
			r.Stage = Superseded
			return Final, s.write(r)
		}
		if err != nil {
			return r.Stage, err
		}
	}
	return s.confirm(ctx, o, r)
}

// find looks for an object that a target took before, and of which the records are lost.
func (s *sending) find(ctx context.Context, o *object) (r Record, err error) {
	confirmer, ok := s.target.(Confirmer)
	if !ok || !s.fresh {
		return r, nil // where keys are names, putting it again finds it
	}
	call, done := within(ctx, o.limit())
	defer done()
	err = confirmer.Candidates(call, s.task.key(o), func(e Entry) error {
		if err := confirmer.ReadBack(call, e.ID, o.limit(), o.isIt); err != nil {
			return nil // it is somebody else's, or not there
		}
		r = Record{Key: o.key, Stage: Sent, ID: e.ID}
		return errFound
	})
	if errors.Is(err, errFound) {
		err = nil
	}
	return r, err
}

// isIt says whether bytes are the object.
func (o *object) isIt(b []byte) error {
	if sha256.Sum256(b) != o.sum {
		return errOther
	}
	return nil
}

func (o *object) limit() int64 {
	if o.size >= 0 {
		return o.size
	}
	return MaxObject
}

// send puts an object in the target.
func (s *sending) send(ctx context.Context, o *object, r *Record, content func() ([]byte, error)) error {
	b, err := content()
	if err != nil {
		return err
	}
	call, done := within(ctx, int64(len(b)))
	defer done()
	stored, err := s.target.Put(call, s.task.key(o), b, true)
	if errors.Is(err, ErrExists) {
		// It was put before, by this archiver or another one, or it is something else.
		have, err := GetAll(call, s.target, s.task.key(o), o.limit())
		switch {
		case errors.Is(err, ErrNotFound):
			return errors.New("the target says that it has it, and does not find it")
		case err != nil:
			return err
		case !bytes.Equal(have, b):
			return &PermanentError{fmt.Errorf("%w: another life, other pieces of this one, or damage. Nothing is replaced", errOther)}
		}
		stored, err = Stored{ID: r.ID}, nil
	} else if err != nil {
		return err
	}
	r.Stage, r.ID = Sent, stored.ID
	r.Cost += stored.Cost
	return s.write(*r)
}

// confirm finds out what became of an object that a target took.
func (s *sending) confirm(ctx context.Context, o *object, r Record) (Stage, error) {
	call, done := within(ctx, o.limit())
	defer done()
	key := s.task.key(o)
	read := func() error {
		b, err := s.target.Get(call, key, 0, o.limit()+1)
		if err == nil {
			err = o.isIt(b)
		}
		return err
	}
	if confirmer, ok := s.target.(Confirmer); ok {
		stage, err := confirmer.Confirm(call, key, r.ID)
		if err != nil {
			return r.Stage, err
		}
		if stage != Final {
			if stage == Lost {
				s.task.log.Warn("a target lost what it took; it is sent again", "agent", s.task.life.Agent.DID(), "target", s.target.Name(), "object", o.key)
			}
			if stage == Built || stage == r.Stage {
				return r.Stage, nil
			}
			r.Stage = stage
			return stage, s.write(r)
		}
		read = func() error { return confirmer.ReadBack(call, r.ID, o.limit(), o.isIt) }
	}
	err := read()
	switch {
	case errors.Is(err, ErrNotFound):
		if _, later := s.target.(Confirmer); later {
			return r.Stage, errors.New("the target says that it is final, and its gateways do not have it")
		}
		r.Stage = Lost
		return Lost, errors.Join(errors.New("the target took it, and does not have it: it is sent again"), s.write(r))
	case err != nil:
		return r.Stage, err
	}
	r.Stage = Final
	return Final, s.write(r)
}

// write writes a record down.
func (s *sending) write(r Record) error {
	t := s.task
	path := recordsOf(t.life.Dir, s.target.Name())
	t.mu.Lock()
	was := s.records[r.Key]
	s.records[r.Key] = r
	s.spent += r.Cost - was.Cost
	s.steps++
	t.mu.Unlock()
	if r.Stage == Built {
		return nil // it says nothing that is not known without
	}
	if s.lines > 1000+3*len(s.records) {
		return s.rewrite(path)
	}
	if err := appendLine(path, marshal(r)); err != nil {
		return err
	}
	s.lines++
	return nil
}

// rewrite leaves out the lines that later ones took the place of.
func (s *sending) rewrite(path string) error {
	var b bytes.Buffer
	b.Write(append(marshal(lineOf(s.target)), '\n'))
	s.task.mu.Lock()
	keys := slices.Sorted(maps.Keys(s.records))
	for _, k := range keys {
		b.Write(append(marshal(s.records[k]), '\n'))
	}
	s.task.mu.Unlock()
	if err := writeFile(path, b.Bytes()); err != nil {
		return err
	}
	s.lines = 1 + len(keys)
	return nil
}

// show writes index and head, for readers, where a target can replace objects.
func (s *sending) show(ctx context.Context) error {
	t := s.task
	if _, ok := s.target.(Confirmer); ok {
		return nil // there the newest is found by its tags
	}
	t.mu.Lock()
	n, shown := s.final, s.shown
	cuts := t.cuts[:n:n]
	t.mu.Unlock()
	if n == shown {
		return nil
	}
	agent := t.life.Agent
	last := &cuts[n-1]
	head := published.Head{Agent: agent, Checkpoint: last.Root, Tick: last.Last, Program: last.Program, Segments: uint64(n)}
	for i := range cuts {
		head.Checkpoints += uint64(cuts[i].Checkpoints)
	}
	call, done := within(ctx, int64(head.Checkpoints)*int64(published.HashSize))
	defer done()
	was, err := GetAll(call, s.target, published.HeadKey(agent), published.MaxHead)
	if errors.Is(err, ErrNotFound) {
		was, err = nil, nil
	}
	if err != nil {
		return err
	}
	next := head.Append(nil)
	if !bytes.Equal(was, next) {
		if h, err := published.ParseHead(was); err == nil && h.Agent == agent && h.Checkpoints > head.Checkpoints {
			return &PermanentError{fmt.Errorf("the head there is of %d checkpoints, and this folder has archived %d: is this an old copy of the agent's folder?", h.Checkpoints, head.Checkpoints)}
		}
		if err := s.writeIndex(call, cuts, head.Checkpoints); err != nil {
			return err
		}
		if swapper, ok := s.target.(Swapper); ok {
			err = swapper.Swap(call, published.HeadKey(agent), was, next)
		} else {
			_, err = s.target.Put(call, published.HeadKey(agent), next, false)
		}
		if err == nil {
			err = s.isThere(call, published.HeadKey(agent), next)
		}
		if err != nil {
			return fmt.Errorf("head: %w", err)
		}
	}
	t.mu.Lock()
	s.shown = n
	t.notify()
	t.mu.Unlock()
	return nil
}

// writeIndex brings the index up to date: it has the hash of every checkpoint. It is made
// of the life alone: what a target has of it may be anything.
func (s *sending) writeIndex(ctx context.Context, cuts []Cut, checkpoints uint64) error {
	t := s.task
	index, err := t.index(ctx, cuts)
	if err != nil {
		return err
	}
	key := published.IndexKey(t.life.Agent)
	have, err := s.target.Get(ctx, key, 0, int64(len(index))+1)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	if err == nil && bytes.Equal(have, index) {
		return nil
	}
	if _, err = s.target.Put(ctx, key, index, false); err == nil {
		err = s.isThere(ctx, key, index)
	}
	if err != nil {
		return fmt.Errorf("index: %w", err)
	}
	return nil
}

// isThere reads back what was written.
func (s *sending) isThere(ctx context.Context, key string, b []byte) error {
	have, err := s.target.Get(ctx, key, 0, int64(len(b))+1)
	if err == nil && !bytes.Equal(have, b) {
		err = errOther
	}
	return err
}

// index returns the hashes of all checkpoints of segments. They are kept in a file beside
// the records, and made again where that does not end each segment with its root.
func (t *Task) index(ctx context.Context, cuts []Cut) ([]byte, error) {
	t.indexing.Lock()
	defer t.indexing.Unlock()
	path := recordsPath(t.life.Dir, indexFile)
	b, err := readIndex(path)
	if err != nil {
		return nil, err
	}
	from, have := 0, 0
	for i, at := 0, 0; i < len(cuts); i++ {
		at += cuts[i].Checkpoints * published.HashSize
		if at > len(b) || verifier.Hash(b[at-published.HashSize:at]) != cuts[i].Root {
			break
		}
		from, have = i+1, at
	}
	if from == len(cuts) {
		return b[:have], nil
	}
	b = b[:have:have]
	for i := from; i < len(cuts); i++ {
		if b, err = t.appendIndex(ctx, b, &cuts[i]); err != nil {
			return nil, err
		}
	}
	return b, writeFile(path, b)
}

// readIndex reads the index; there need not be one.
func readIndex(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > int64(published.HashSize)*verifier.MaxCheckpoints {
		return nil, fmt.Errorf("%s is not a regular file, or too large", path)
	}
	return os.ReadFile(path)
}

// appendIndex appends the hashes of a segment's checkpoints.
func (t *Task) appendIndex(ctx context.Context, b []byte, c *Cut) ([]byte, error) {
	plain := *c
	plain.SealedSize = 0 // it is made of what is in the folder
	content, err := t.content(ctx, &object{key: fmt.Sprintf("segments/%d.car", c.N), size: c.Size, sum: c.Sum, cut: &plain, what: aSegment})
	if err != nil {
		return nil, err
	}
	_, err = segment.Read(bytes.NewReader(content), func(_ []byte, f *verifier.Finding) error {
		b = append(b, f.ContentHash[:]...)
		return nil
	})
	return b, err
}

// TargetAddresses returns what opens the targets again that the records in an agent's folder
// name.
func TargetAddresses(dir string) ([]string, error) {
	files, err := filepath.Glob(filepath.Join(dir, recordsDir, targetStart+"*"))
	if err != nil {
		return nil, err
	}
	var all []string
	for _, f := range files {
		t, _, _, err := readRecords(f)
		if err != nil {
			return nil, err
		}
		all = append(all, cmp.Or(t.Open, t.Target))
	}
	return all, nil
}
