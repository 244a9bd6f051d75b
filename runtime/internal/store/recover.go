package store

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"path/filepath"
	"slices"
	"strings"

	"igor.dev/runtime/internal/hint"
	"igor.dev/runtime/internal/progress"
	"igor.dev/verifier"
	"igor.dev/verifier/history"
)

// A Recovery is where a life goes on.
type Recovery struct {
	// Newest is the newest checkpoint, nil if there is none yet.
	Newest []byte
	Hash   verifier.Hash // of Newest
	Tick   uint64        // of Newest

	// Before is the checkpoint before it, nil if it is the genesis.
	Before []byte

	// First and FirstTick are the first checkpoint's: the genesis.
	First     verifier.Hash
	FirstTick uint64

	// Damaged is the path of a newest file that was damaged and set aside, or
	// "", and Damage says what is wrong with it.
	Damaged, Damage string
}

// Recover verifies the whole history and returns the newest checkpoint, after
// which [Store.Append] goes on. The history has to be that of the key. Where the agent's
// mark says how far it is packed, what came after that is verified alone; where the newest
// checkpoint is the one that was Verified, nothing is.
//
// A newest file whose content is no authentic checkpoint is set aside, if the
// history before it is whole; anything else that is wrong is an error, and
// nothing is changed.
func (s *Store) Recover(ctx context.Context, key ed25519.PublicKey) (Recovery, error) {
	r, err := s.recover(ctx, key)
	_, hinted := errors.AsType[interface {
		error
		Hint() string
	}](err)
	bad, is := errors.AsType[*DamagedError](err)
	_, found := errors.AsType[*historyError](err)
	_, system := errors.AsType[*fs.PathError](err)
	switch {
	case found && !system && !is: // such as a segment that is no CAR
		err = hint.Wrap(&DamagedError{s.path(DirHistory), err}, "restore it from a copy: igor repair %s --from COPY", s.dir)
	case is && !hinted:
		err = hint.Wrap(err, "restore %s from a copy: igor repair %s --from COPY", bad.File, s.dir)
	}
	return r, err
}

func (s *Store) recover(ctx context.Context, key ed25519.PublicKey) (Recovery, error) {
	var r Recovery
	// What is found here is relied on from now on: a killed process may have given a
	// file its name, and not lived to sync that.
	if err := s.through(DirHistory, s.history).Sync(); err != nil {
		return r, err
	}
	ticks, err := s.Ticks()
	if err != nil {
		return r, err
	}
	segments, err := spans(s.history, extCAR)
	if err != nil {
		return r, err
	}
	if !s.Verified.IsZero() {
		if r, done, err := s.recoverVerified(verifier.PublicKey(key), ticks, segments); done || err != nil {
			return r, err
		}
	}
	if len(segments) > 0 {
		if r, done, err := s.recoverMarked(ctx, key, ticks); done || err != nil {
			return r, err
		}
	}
	if len(ticks)+len(segments) == 0 {
		s.recovered = true
		return r, nil
	}
	// The newest two, of which one or both may be in a segment.
	var last []CheckpointFile
	h := History{dir: s.path(DirHistory), root: s.history, Loose: ticks, Segments: segments}
	for f, err := range h.Backward() {
		if err != nil {
			return r, err
		}
		if last = append(last, f); len(last) == 3 {
			break
		}
	}
	newest, err := s.content(&last[0])
	if err != nil {
		return r, err
	}
	name := FileName(last[0].Tick)
	sources := []string{s.path(DirHistory)}
	finding := verifier.Examine(newest)
	if !finding.Authentic() && !last[0].segment {
		if len(last) == 1 {
			return r, hint.Wrap(damaged(s.historyPath(name), "%s is damaged (%s), and there is nothing before it to go on from", s.historyPath(name), Damage(&finding)),
				"restore it from a copy; a second beginning under the same key would be a fork")
		}
		r.Damage = Damage(&finding)
		last = last[1:]
		if newest, err = s.content(&last[0]); err != nil {
			return r, err
		}
		finding = verifier.Examine(newest)
		sources = nil
		for _, tick := range ticks[:len(ticks)-1] {
			sources = append(sources, s.historyPath(FileName(tick)))
		}
		for _, segment := range segments {
			sources = append(sources, s.historyPath(segment.CAR()))
		}
	}
	first, firstTick, err := s.first(&h)
	if err != nil {
		return r, err
	}
	if finding.Authentic() && finding.AgentPubKey != verifier.PublicKey(key) {
		// All of it may be another agent's, or the newest alone: that the history says.
		if genesis := verifier.Examine(first); genesis.Authentic() && genesis.AgentPubKey == finding.AgentPubKey {
			return r, noKey("put the agent's own key back as "+s.path(fileKey)+"; nothing is changed",
				"the key of %s is not its agent's: it is that of %s, and the history is by %s", s.dir, verifier.PublicKey(key).DID(), genesis.AgentPubKey.DID())
		}
	}
	if named := last[0].Tick; finding.Authentic() && finding.TickNumber != named {
		return r, hint.Wrap(damaged(s.historyPath(FileName(named)), "%s holds the checkpoint of tick %d", s.historyPath(FileName(named)), finding.TickNumber),
			"give each file of the history its name back, %s for that one", FileName(finding.TickNumber))
	}
	restored, err := s.restored()
	if err != nil {
		return r, err
	}
	if err := s.verify(ctx, key, finding.ContentHash, sources, restored != nil); err != nil {
		return r, err
	}
	if r.Damage != "" {
		if r.Damaged, err = s.setAside(name); err != nil {
			return r, err
		}
	}
	if len(last) > 1 {
		if r.Before, err = s.content(&last[1]); err != nil {
			return r, err
		}
	}
	r.First, r.FirstTick = sha256.Sum256(first), firstTick
	if restored != nil && r.First != restored.Checkpoint {
		// Some of what was before was put back, and that was cut off.
		if err := s.contains(restored.Checkpoint); err == nil {
			restored.Checkpoint = r.First
		}
	}
	if restored != nil && r.First == restored.Checkpoint {
		r.First, r.FirstTick = restored.Genesis, 0
	} else if genesis, err := verifier.Parse(first); err != nil || !genesis.PrevHash.IsZero() {
		path := s.historyPath(FileName(firstTick))
		return r, hint.Wrap(damaged(path, "%s does not hold the genesis", path), "give each file of the history its name back")
	}
	r.Newest, r.Hash, r.Tick = newest, finding.ContentHash, finding.TickNumber
	s.head, s.recovered = r.Hash, true
	return r, nil
}

// recoverVerified finds where a life goes on whose newest checkpoint was verified just now.
// It is not done if the newest one is another.
func (s *Store) recoverVerified(agent verifier.PublicKey, ticks []uint64, segments []Span) (r Recovery, done bool, err error) {
	restored, err := s.restored()
	if err != nil || restored != nil || len(ticks) == 0 {
		return r, false, nil
	}
	h := History{dir: s.path(DirHistory), root: s.history, Loose: ticks, Segments: segments}
	for f, err := range h.Backward() {
		var b []byte
		if err == nil {
			b, err = s.content(&f)
		}
		if err != nil {
			return r, false, err
		}
		if r.Newest != nil {
			r.Before = b
			break
		}
		if sha256.Sum256(b) != s.Verified {
			return r, false, nil
		}
		c, err := verifier.Parse(b)
		if err != nil || c.AgentPubKey != agent || c.TickNumber != f.Tick {
			return r, false, nil
		}
		r.Newest, r.Hash, r.Tick = b, s.Verified, f.Tick
	}
	mark, err := s.readMark(agent)
	if err != nil || mark == nil && len(segments) > 0 || mark != nil && mark.Tick >= r.Tick {
		return Recovery{}, false, nil
	}
	if mark != nil {
		at, _ := slices.BinarySearch(ticks, mark.Tick+1)
		b, err := s.checkpoint(ticks[at]) // there is one: the newest
		if err != nil {
			return Recovery{}, false, err
		}
		if c, err := verifier.Parse(b); err != nil || c.PrevHash != mark.Head {
			return Recovery{}, false, nil
		}
		r.First = mark.Genesis
	} else {
		first, tick, err := s.first(&h)
		if err != nil {
			return Recovery{}, false, err
		}
		if genesis, err := verifier.Parse(first); err != nil || !genesis.PrevHash.IsZero() {
			return Recovery{}, false, nil
		}
		r.First, r.FirstTick = sha256.Sum256(first), tick
	}
	s.mark, s.head, s.recovered = mark, r.Hash, true
	return r, true, nil
}

// contains is an error if the history does not have a checkpoint.
func (s *Store) contains(hash verifier.Hash) error {
	h, err := OpenHistory(s.dir)
	if err != nil {
		return err
	}
	defer h.Close()
	for f, err := range h.Backward() {
		var b []byte
		if err == nil {
			b, err = f.Read()
		}
		if err != nil {
			return err
		}
		if sha256.Sum256(b) == hash {
			return nil
		}
	}
	return fs.ErrNotExist
}

// first reads the first checkpoint of a history.
func (s *Store) first(h *History) (b []byte, tick uint64, err error) {
	if len(h.Segments) > 0 && (len(h.Loose) == 0 || h.Segments[0].First <= h.Loose[0]) {
		for f, err := range listSegment(s.history, h.dir, h.Segments[0]) {
			if err != nil {
				return nil, 0, err
			}
			b, err = f.Read()
			return b, f.Tick, err
		}
	}
	if len(h.Loose) == 0 {
		return nil, 0, damaged(s.historyPath(h.Segments[0].CAR()), "%s has no checkpoint", s.historyPath(h.Segments[0].CAR()))
	}
	b, err = s.checkpoint(h.Loose[0])
	return b, h.Loose[0], err
}

// content reads a checkpoint of the history.
func (s *Store) content(f *CheckpointFile) ([]byte, error) {
	if !f.segment {
		return s.checkpoint(f.Tick)
	}
	b, err := f.Read()
	if err != nil && !strings.Contains(err.Error(), f.Path) {
		err = fmt.Errorf("%s: %w", f.Path, err)
	}
	return b, err
}

// Newest yields the checkpoints of a history that was recovered, the newest first.
func (s *Store) Newest() iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		h := History{dir: s.path(DirHistory), root: s.history}
		var err error
		if h.Loose, err = s.Ticks(); err == nil {
			h.Segments, err = spans(s.history, extCAR)
		}
		if err != nil {
			yield(nil, err)
			return
		}
		for f, err := range h.Backward() {
			var b []byte
			if err == nil {
				b, err = s.content(&f)
			}
			if !yield(b, err) || err != nil {
				return
			}
		}
	}
}

func (s *Store) historyPath(name string) string { return s.path(filepath.Join(DirHistory, name)) }

func (s *Store) checkpoint(tick uint64) ([]byte, error) {
	b, err := readRegular(s.history, FileName(tick), verifier.MaxCheckpointSize)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.historyPath(FileName(tick)), err)
	}
	return b, nil
}

// verify asks for more than a green verdict: the life has to be that of the
// key, and the checkpoint to go on from has to be its end.
func (s *Store) verify(ctx context.Context, key ed25519.PublicKey, newest verifier.Hash, paths []string, restored bool) error {
	did := verifier.PublicKey(key)
	report, err := verify(ctx, verifier.Pins{DID: &did, Head: &newest}, paths...)
	if err != nil {
		return err
	}
	if report.Verdict() != verifier.Verified && !(restored && isEnd(report)) {
		return hint.Wrap(&DamagedError{s.path(DirHistory), Refusal("the history of "+s.dir, report)},
			"igor verify %s shows all of it; restore the files from a copy, for nothing is changed here", s.dir)
	}
	if head, _ := report.Head(); head != newest {
		return hint.Wrap(damaged(s.path(DirHistory), "the newest checkpoint of %s does not have the name of the newest", s.dir),
			"give each file of the history its name back, %s for tick 1", FileName(1))
	}
	return nil
}

// isEnd reports whether a history is the end of one: nothing is wrong with it, and nothing
// but its beginning is missing.
func isEnd(report *verifier.Report) bool {
	for p := range report.Problems() {
		if p.Code != verifier.Gap && p.Code != verifier.MissingGenesis {
			return false
		}
	}
	return report.Verdict() == verifier.Incomplete
}

// verify verifies what the paths name.
func verify(ctx context.Context, pins verifier.Pins, paths ...string) (*verifier.Report, error) {
	sources := make([]history.Source, len(paths))
	for i, path := range paths {
		var err error
		if sources[i], err = history.Path(path); err != nil {
			return nil, hinted(err)
		}
	}
	v := history.Verification{Pins: pins}
	defer progress.Begin(ctx, func() string {
		n, _ := v.Progress()
		return fmt.Sprintf("examined %d checkpoints", n)
	})()
	report, err := v.Run(ctx, sources...)
	return report, hinted(err)
}

// hinted gives an error of package history the form of the errors here.
func hinted(err error) error {
	e, ok := errors.AsType[*history.Error](err)
	if !ok {
		return err
	}
	err = &historyError{e.Problem, e.Err}
	if e.Path != "" {
		err = fmt.Errorf("%s: %w", e.Path, err)
	}
	if e.Hint != "" {
		err = hint.Wrap(err, "%s", e.Hint)
	}
	return err
}

// A historyError is one of package history, in its words.
type historyError struct {
	problem string
	err     error // nil: nothing of the system's
}

func (e *historyError) Error() string { return e.problem }
func (e *historyError) Unwrap() error { return e.err }

// Refusal says what is wrong with a history by its verdict and the first problem.
func Refusal(what string, report *verifier.Report) error {
	for p := range report.Problems() {
		at := ""
		if p.Name != "" {
			at = p.Name + ": "
		}
		return fmt.Errorf("%s is %s: %s%s", what, report.Verdict(), at, p.Message)
	}
	return fmt.Errorf("%s is %s", what, report.Verdict())
}

// Damage says in words what examining found that is wrong with a checkpoint by itself.
func Damage(f *verifier.Finding) string {
	var found []string
	for _, c := range []verifier.Code{verifier.Empty, verifier.Truncated, verifier.UnsupportedVersion,
		verifier.UnsignedVersion, verifier.WeakKey, verifier.BadSignature} {
		if f.Has(c) {
			found = append(found, c.String())
		}
	}
	return strings.Join(found, ", ")
}

// setAside moves a damaged checkpoint out of the history. It is never deleted,
// and never replaces what was set aside before.
func (s *Store) setAside(name string) (string, error) {
	if err := s.root.Mkdir(dirDamaged, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", err
	}
	for i := 1; ; i++ {
		// It does not end in .ckpt, so that the folder as a whole verifies.
		to := filepath.Join(dirDamaged, fmt.Sprintf("%s.%d", name, i))
		err := s.root.Link(filepath.Join(DirHistory, name), to)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err == nil {
			err = syncDir(s.root, dirDamaged)
		}
		if err == nil {
			err = syncDir(s.root, ".")
		}
		if err == nil {
			err = s.history.Remove(name)
		}
		if err == nil {
			err = syncDir(s.history, ".")
		}
		if err != nil {
			return "", fmt.Errorf("setting %s aside: %w", s.historyPath(name), err)
		}
		return s.path(to), nil
	}
}
