// Package journal is the host's write-ahead journal of side effects: what left
// the machine, or was about to, and what came of it. See docs/spec/journal.md.
//
// An effect is written down before it leaves ([Journal.Begin]), and its result
// before the agent sees it ([Journal.End]). Both return when the record is
// durable. An effect that has begun and not ended when the journal is opened is
// unresolved: nobody but the outside world knows whether it happened, and
// nothing here ever tries it again.
package journal

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"slices"

	"igor.dev/runtime/internal/hint"
	"igor.dev/runtime/internal/wal"
	"igor.dev/verifier"
)

// Name is the journal's file in an agent's folder. nextName is what a new one
// is called until it is whole.
const (
	Name     = "journal"
	nextName = ".journal.next"
)

// ErrConflict says that the journal went on without the one who appends to it.
// The effect must not be carried out.
var ErrConflict = errors.New("the journal has another newest record")

// An Appender takes records that are to be durable.
type Appender interface {
	// Append makes record the successor of prev, the journal's head. It returns
	// when record is durable, or fails with ErrConflict and changes nothing, if
	// prev is not the head.
	Append(prev verifier.Hash, record []byte) error
}

// A State is how far an effect has come.
type State uint8

// The states. An effect that is Begun is unresolved, unless its call is still
// being made.
const (
	Begun State = iota + 1
	Ended
	ResolvedConfirmed
	ResolvedCompensated
)

// An Effect is what the journal knows of an effect. Its request and its result
// stay in the file: see [Journal.Request] and [Journal.Result].
type Effect struct {
	ID      ID
	Tick    uint64
	Ordinal uint32
	Kind    Kind
	Epoch   Epoch
	Held    int64 // microcents
	Time    int64 // when it began, in nanoseconds since 1970; 0 = not known
	State   State
	Spent   int64 // microcents, of what was held; 0 while Begun

	// ResolvedAt is the tick of the newest checkpoint when the operator resolved
	// it, and Note is what the operator wrote.
	ResolvedAt uint64
	Note       string

	// released is the tick before which what it held went back, 0 = not that is
	// known. It is not in the file: see [Journal.Released].
	released uint64

	// untold says that the agent is to be told what became of it, and told is the tick
	// in which it was. They are not in the file: see [Journal.Untold].
	untold bool
	told   uint64

	// noted is the tick before which what it held went back, as the journal has it: see
	// [Journal.NoteRelease].
	noted uint64

	// failed says that its tick did ([Journal.NoteFailed]); heard is in which tick the
	// agent was told what became of it, and heardOf how far that was ([Journal.NoteTold]).
	// successor has the places of those notes.
	failed    bool
	heard     uint64
	heardOf   State
	successor []place

	begin, outcome, note place
}

// A Hearing is what the journal has of what the agent was told of an effect.
type Hearing struct {
	Tick uint64 // in which it was; 0 = it was not
	All  bool   // what has become of the effect, with what an operator found out
}

// TickFailed reports whether the effect is noted as one of a tick that failed.
func (e *Effect) TickFailed() bool { return e.failed }

// Heard returns what is noted of what the agent was told.
func (e *Effect) Heard() Hearing {
	return Hearing{e.heard, e.heardOf == e.State}
}

// ToldIn returns the tick of [Journal.Told], 0 if there is more to be told.
func (e *Effect) ToldIn() uint64 {
	if e.untold {
		return 0
	}
	return e.told
}

// Released returns the tick of [Journal.Released], 0 if nobody said it.
func (e *Effect) Released() uint64 { return e.released }

// Noted returns the tick before which what the effect held went back, as far as it is
// noted in the journal; 0 = it is not.
func (e *Effect) Noted() uint64 { return e.noted }

// A place is where a record is in the file.
type place struct{ offset int64 }

// A Journal is an open journal. It is not safe for concurrent use, and there
// must be no second one of the same file: the lock on the agent's folder sees
// to that.
type Journal struct {
	Life
	base    Base
	folder  wal.Folder
	from    io.ReaderAt // the file
	log     Appender
	file    *logFile
	head    verifier.Hash
	effects map[ID]*Effect
	held    int64
	pending int
	last    uint64 // the newest tick of an effect
	rewrite int    // how often it was compacted since it was opened
	failed  error
}

// logFile is the Appender of one file on one machine.
type logFile struct {
	f    wal.File
	w    *wal.Writer
	head verifier.Hash
}

func (l *logFile) Append(prev verifier.Hash, record []byte) error {
	if prev != l.head {
		return ErrConflict
	}
	err := l.w.Append(record)
	if err == nil {
		err = l.w.Sync()
	}
	if err == nil {
		l.head = next(prev, record)
	}
	return err
}

// next chains the heads of a journal.
func next(head verifier.Hash, record []byte) verifier.Hash {
	h := sha256.New()
	h.Write(head[:])
	h.Write(record)
	return verifier.Hash(h.Sum(nil))
}

// Create makes a journal that is whole from the checkpoint base on: the genesis,
// before it is appended to the history, so that a history without a journal
// always is one whose journal is missing. An empty journal, of a genesis that
// never became durable, is replaced; any other is not, and is an error.
func Create(folder wal.Folder, life Life, base Base) error {
	if life.Genesis.IsZero() || base.Hash.IsZero() {
		return errors.New("a journal needs a genesis: no effect comes before it")
	}
	content := wal.AppendRecord(nil, appendHeader(nil, life, base))
	err := wal.WriteFile(folder, nextName, Name, bytes.NewReader(content), false)
	if !errors.Is(err, fs.ErrExist) {
		return wrap(err)
	}
	f, err := folder.Open(Name)
	if err != nil {
		return wrap(err)
	}
	j := &Journal{folder: folder}
	_, err = j.load(f)
	if err = errors.Join(err, f.Close()); err != nil {
		return wrap(err)
	}
	if len(j.effects) > 0 {
		return hint.Wrap(errors.New("there is a journal with effects in it, and no history"),
			"restore the agent's history from a copy; begun anew, the agent would repeat what it did")
	}
	return wrap(wal.WriteFile(folder, nextName, Name, bytes.NewReader(content), true))
}

var errOtherLife = hint.Wrap(errors.New("journal: it belongs to another life: its agent or genesis is not the history's"),
	"put the agent's own journal back")

// A DamageError says that a journal is damaged. Nothing of it is used: which
// effects are missing cannot be known.
type DamageError struct{ err error }

func (e *DamageError) Error() string {
	if e.err == errMissing {
		return "the journal is missing"
	}
	return "the journal is damaged: " + e.err.Error()
}
func (e *DamageError) Unwrap() error { return e.err }

// Hint says what to do about it.
func (e *DamageError) Hint() string {
	return "restore the journal from a copy of the agent's folder; without one, igor repair says what is lost"
}

// Cut is the error of a journal that lost so many bytes of its end.
func Cut(lost int64) error {
	return &DamageError{fmt.Errorf("%d bytes are missing at its end that it had when the agent stopped", lost)}
}

// Missing is the error of a folder that has no journal. It is fs.ErrNotExist, too.
func Missing() error { return &DamageError{errMissing} }

var errMissing error = noFile{}

type noFile struct{}

func (noFile) Error() string        { return "there is no file" }
func (noFile) Is(target error) bool { return target == fs.ErrNotExist }

func wrap(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("journal: %w", err)
}

// Open opens the journal of a life whose newest checkpoint has the given tick.
// A last record that was not written whole was never acknowledged, and is cut off.
// Anything else that is wrong is a [*DamageError], and changes nothing. A
// missing journal is an error too (fs.ErrNotExist).
func Open(folder wal.Folder, life Life, newest uint64) (*Journal, error) {
	f, err := folder.Open(Name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, Missing()
	} else if err != nil {
		return nil, wrap(err)
	}
	j, err := open(folder, f, life, newest)
	if err != nil {
		f.Close()
		return nil, err
	}
	return j, nil
}

func open(folder wal.Folder, f wal.File, life Life, newest uint64) (*Journal, error) {
	j := &Journal{folder: folder}
	end, err := j.load(f)
	if err != nil {
		return nil, err
	}
	switch {
	case j.Life != life:
		return nil, errOtherLife
	case newest < j.base.Tick:
		return nil, hint.Wrap(fmt.Errorf("journal: it begins at the checkpoint of tick %d, and the history ends at tick %d", j.base.Tick, newest),
			"restore the newer checkpoints from a copy; going on from an older one would repeat effects that the journal no longer knows")
	}
	w, err := wal.NewWriter(f, end, nil)
	if err != nil {
		return nil, wrap(err)
	}
	j.file = &logFile{f, w, j.head}
	j.from, j.log = f, j.file
	return j, nil
}

// A Snapshot is a journal as a file had it when it was read.
type Snapshot struct{ j *Journal }

// Read reads the journal in a file, and changes nothing: also while somebody appends to
// it, and without knowing whose it has to be. It has what was whole then. The file is
// still needed for [Snapshot.Request].
func Read(f sized) (*Snapshot, error) {
	j := &Journal{from: f}
	if _, err := j.load(f); err != nil {
		return nil, err
	}
	return &Snapshot{j}, nil
}

// Head is [Journal.Head].
func (s *Snapshot) Head() verifier.Hash { return s.j.head }

// Life says whose journal it is, as it says itself.
func (s *Snapshot) Life() Life { return s.j.Life }

// Effects is [Journal.Effects].
func (s *Snapshot) Effects() []Effect { return s.j.Effects() }

// Request is [Journal.Request].
func (s *Snapshot) Request(id ID) ([]byte, error) { return s.j.Request(id) }

// A sized is a file as far as it is only read.
type sized interface {
	io.ReaderAt
	Size() (int64, error)
}

// load reads a file into j and returns where its last whole record ends.
func (j *Journal) load(f sized) (end int64, err error) {
	j.effects = make(map[ID]*Effect)
	j.held, j.pending = 0, 0
	s := wal.NewScanner(io.NewSectionReader(f, 0, math.MaxInt64), maxRecord)
	p, err := s.Next()
	if err != nil {
		// A journal gets its name when its header is durable: this is no torn write.
		return 0, readError(err)
	}
	if j.Life, j.base, err = parseHeader(p); err != nil {
		return 0, &DamageError{err}
	}
	for {
		j.head = next(j.head, p)
		at := s.Offset()
		p, err = s.Next()
		if err == io.EOF {
			return at, nil
		}
		if err != nil {
			if torn, failed := isTorn(f, at, err); torn || failed != nil {
				return at, wrap(failed)
			}
			return at, readError(err)
		}
		if err := j.apply(p, at); err != nil {
			return at, &DamageError{fmt.Errorf("at byte %d: %w", at, err)}
		}
	}
}

// isTorn reports whether what cannot be read at offset is a last record that was not
// written whole: each is synced before the next.
func isTorn(f sized, offset int64, err error) (bool, error) {
	tail, ok := errors.AsType[*wal.TailError](err)
	if !ok || tail.Torn {
		return ok, nil
	}
	size, err := f.Size()
	if err != nil {
		return false, err
	}
	return wal.LastWrite(f, offset, size, maxRecord)
}

// readError tells a damaged file from one that could not be read.
func readError(err error) error {
	if _, ok := errors.AsType[*wal.TailError](err); ok || err == io.EOF {
		return &DamageError{err}
	}
	return wrap(err)
}

// apply takes a record that is in the file at offset.
func (j *Journal) apply(p []byte, offset int64) error {
	if len(p) == 0 {
		return errShort
	}
	switch p[0] {
	case recordBegin, recordBeginAt:
		id, b, err := parseBegin(p)
		if err != nil {
			return err
		}
		if id != EffectID(j.Agent, j.Genesis, b.Tick, b.Ordinal) {
			return errors.New("an effect whose id is not that of its tick and ordinal")
		}
		if err := j.checkBegin(id, &b); err != nil {
			return err
		}
		j.effects[id] = &Effect{ID: id, Tick: b.Tick, Ordinal: b.Ordinal, Kind: b.Kind, Epoch: b.Epoch,
			Held: b.Held, Time: b.Time, State: Begun, begin: place{offset}}
		j.held += b.Held
		j.pending++
		j.last = max(j.last, b.Tick)
	case recordEnd:
		id, spent, result, err := parseEnd(p)
		if err != nil {
			return err
		}
		e, err := j.checkEnd(id, spent, result)
		if err != nil {
			return err
		}
		e.State, e.Spent, e.outcome = Ended, spent, place{offset}
		j.held -= e.Held
		j.pending--
	case recordResolve:
		id, o, tick, note, err := parseResolve(p)
		if err != nil {
			return err
		}
		e, err := j.begun(id)
		if err != nil {
			return err
		}
		e.State, e.ResolvedAt, e.Note, e.outcome = ResolvedCompensated, tick, note, place{offset}
		if o == Confirmed {
			e.State, e.Spent = ResolvedConfirmed, e.Held
		}
		j.held -= e.Held
		j.pending--
	case recordRelease:
		id, tick, err := parseRelease(p)
		if err != nil {
			return err
		}
		e, err := j.compensated(id)
		if err != nil {
			return err
		}
		e.noted, e.note = tick, place{offset}
	case recordFailed:
		id, err := parseFailed(p)
		if err != nil {
			return err
		}
		e, err := j.known(id)
		if err != nil {
			return err
		}
		e.failed, e.successor = true, append(e.successor, place{offset})
	case recordTold:
		id, tick, err := parseTold(p)
		if err != nil {
			return err
		}
		e, err := j.known(id)
		switch {
		case err != nil:
			return err
		case tick <= e.Tick:
			return fmt.Errorf("what was told of effect %s in tick %d, before it began", id, tick)
		}
		e.heard, e.heardOf, e.successor = tick, e.State, append(e.successor, place{offset})
	default:
		return fmt.Errorf("a record of the unknown kind %d", p[0])
	}
	return nil
}

func (j *Journal) known(id ID) (*Effect, error) {
	if e := j.effects[id]; e != nil {
		return e, nil
	}
	return nil, fmt.Errorf("effect %s has not begun", id)
}

func (j *Journal) compensated(id ID) (*Effect, error) {
	e := j.effects[id]
	switch {
	case e == nil || e.State != ResolvedCompensated || e.Held == 0:
		return nil, fmt.Errorf("a release of effect %s, which holds nothing that goes back", id)
	case e.noted > 0:
		return nil, fmt.Errorf("effect %s is released twice", id)
	}
	return e, nil
}

func (j *Journal) checkBegin(id ID, b *Begin) error {
	switch {
	case j.effects[id] != nil:
		return fmt.Errorf("effect %s begins twice", id)
	case len(j.effects) >= MaxEffects:
		return fmt.Errorf("more than %d effects", MaxEffects)
	case b.Held > math.MaxInt64-j.held:
		return errors.New("more is held than there is money")
	}
	return nil
}

func (j *Journal) begun(id ID) (*Effect, error) {
	e := j.effects[id]
	switch {
	case e == nil:
		return nil, fmt.Errorf("effect %s has not begun", id)
	case e.State != Begun:
		return nil, fmt.Errorf("effect %s is over", id)
	}
	return e, nil
}

func (j *Journal) checkEnd(id ID, spent int64, result []byte) (*Effect, error) {
	e, err := j.begun(id)
	switch {
	case err != nil:
		return nil, err
	case spent < 0 || spent > e.Held:
		return nil, fmt.Errorf("effect %s spends %d of %d microcents that are held", id, spent, e.Held)
	case len(result) > MaxResult:
		return nil, fmt.Errorf("a result of %d bytes, and at most %d are allowed", len(result), MaxResult)
	}
	return e, nil
}

// append writes a record that apply will accept, and applies it.
func (j *Journal) append(record []byte) error {
	if j.failed != nil {
		return j.failed
	}
	at := j.file.w.Offset()
	if err := j.log.Append(j.head, record); err != nil {
		// Whether it is written only opening the journal again can tell.
		j.failed = wrap(err)
		return j.failed
	}
	j.head = next(j.head, record)
	return j.apply(record, at)
}

// Begin writes down an effect that is about to leave the machine. It must not
// leave if Begin fails. An effect that has begun before is an error: what is to
// be done about it depends on how far it came.
func (j *Journal) Begin(b Begin) (ID, error) {
	id := EffectID(j.Agent, j.Genesis, b.Tick, b.Ordinal)
	if b.Tick <= j.base.Tick {
		return id, fmt.Errorf("journal: an effect of tick %d, and the checkpoint of tick %d is durable", b.Tick, j.base.Tick)
	}
	err := b.check()
	if err == nil {
		err = j.checkBegin(id, &b)
	}
	if err != nil {
		return id, wrap(err)
	}
	return id, j.append(appendBegin(nil, id, &b))
}

// End writes down what came of an effect, before the agent sees it: what was
// spent of the amount held, and the result as the agent gets it.
func (j *Journal) End(id ID, spent int64, result []byte) error {
	if _, err := j.checkEnd(id, spent, result); err != nil {
		return wrap(err)
	}
	return j.append(appendEnd(nil, id, spent, result))
}

// Resolve writes down what an operator found out about an unresolved effect.
// newest is the tick of the newest checkpoint. The note is for people.
func (j *Journal) Resolve(id ID, o Outcome, newest uint64, note string) error {
	_, err := j.begun(id)
	if err == nil {
		err = checkResolve(o, note)
	}
	if err != nil {
		return wrap(err)
	}
	return j.append(appendResolve(nil, id, o, newest, note))
}

// Released says that what a compensated effect held went back before a tick, as the
// event log has it. Until a checkpoint of that tick or a later one is the base, the
// journal keeps the effect.
func (j *Journal) Released(id ID, tick uint64) {
	if e := j.effects[id]; e != nil {
		e.released = tick
	}
}

// NoteRelease writes down that what a compensated effect held went back before a tick, for
// a successor who does not have the part of the event log that says so, which is durable.
func (j *Journal) NoteRelease(id ID, tick uint64) error {
	if _, err := j.compensated(id); err != nil {
		return wrap(err)
	}
	return j.append(appendRelease(nil, id, tick))
}

// NoteFailed writes down that the tick of an effect failed, for a successor who does not
// have the part of the event log that says so, which is durable.
func (j *Journal) NoteFailed(id ID) error {
	if e, err := j.known(id); err != nil || e.failed {
		return wrap(err)
	}
	return j.append(appendFailed(nil, id))
}

// NoteTold writes down in which tick the agent was told what the journal has of an effect,
// for a successor as NoteFailed does.
func (j *Journal) NoteTold(id ID, tick uint64) error {
	e, err := j.known(id)
	switch {
	case err != nil:
		return wrap(err)
	case tick <= e.Tick:
		return fmt.Errorf("journal: what was told of effect %s in tick %d, before it began", id, tick)
	case e.heardOf == e.State && e.heard >= tick:
		return nil
	}
	return j.append(appendTold(nil, id, tick))
}

// Untold says that the agent is still to be told what became of an effect: until it
// was ([Journal.Told]), the journal keeps it.
func (j *Journal) Untold(id ID) {
	if e := j.effects[id]; e != nil {
		e.untold = true
	}
}

// Told says in which tick the agent was told. Until a checkpoint of that tick or a
// later one is the base, the journal keeps the effect.
func (j *Journal) Told(id ID, tick uint64) {
	if e := j.effects[id]; e != nil {
		e.untold, e.told = false, tick
	}
}

// over reports whether a life that goes on from base or later never asks for e.
func (e *Effect) over(base Base) bool {
	switch {
	case e.Tick > base.Tick, e.untold, e.told > base.Tick:
		return false
	case e.State == Ended:
		return true
	case e.State == ResolvedCompensated && e.Held > 0:
		return e.released > 0 && e.released <= base.Tick
	}
	return e.State >= ResolvedConfirmed && e.ResolvedAt < base.Tick
}

// Base returns the checkpoint from which on the journal is whole.
func (j *Journal) Base() Base { return j.base }

// Effect returns what is known of an effect.
func (j *Journal) Effect(id ID) (Effect, bool) {
	if e := j.effects[id]; e != nil {
		return *e, true
	}
	return Effect{}, false
}

// Effects returns all effects, in the order of their ticks and ordinals.
func (j *Journal) Effects() []Effect {
	all := make([]Effect, 0, len(j.effects))
	for _, e := range j.effects {
		all = append(all, *e)
	}
	slices.SortFunc(all, func(a, b Effect) int {
		return cmp.Or(cmp.Compare(a.Tick, b.Tick), cmp.Compare(a.Ordinal, b.Ordinal))
	})
	return all
}

// Last returns the newest tick that has an effect, 0 if there is none.
func (j *Journal) Last() uint64 { return j.last }

// Unresolved returns the effects that have begun and are not over.
func (j *Journal) Unresolved() []Effect {
	return slices.DeleteFunc(j.Effects(), func(e Effect) bool { return e.State != Begun })
}

// Held returns how many microcents unresolved effects hold.
func (j *Journal) Held() int64 { return j.held }

// Request returns the exact bytes that an effect sends.
func (j *Journal) Request(id ID) ([]byte, error) {
	e := j.effects[id]
	if e == nil {
		return nil, fmt.Errorf("journal: effect %s has not begun", id)
	}
	p, err := j.read(e.begin)
	if err != nil {
		return nil, err
	}
	_, b, err := parseBegin(p)
	return b.Request, err
}

// Result returns what came of an effect that has ended.
func (j *Journal) Result(id ID) ([]byte, error) {
	e := j.effects[id]
	if e == nil || e.State != Ended {
		return nil, fmt.Errorf("journal: effect %s has not ended", id)
	}
	p, err := j.read(e.outcome)
	if err != nil {
		return nil, err
	}
	return p[resultInRecord:], nil
}

func (j *Journal) read(p place) ([]byte, error) {
	b, err := wal.ReadRecord(j.from, p.offset, maxRecord)
	if err != nil {
		return nil, readError(err)
	}
	return b, nil
}

// Compact drops what a life that goes on from the checkpoint base, or a later
// one, never asks for. The base should be the checkpoint before the newest one,
// so that a damaged newest checkpoint can still be lived again. It does nothing
// if there is nothing to drop. accept, if it is there, is asked with the new head when the
// new journal is durable, and before it replaces the old one.
func (j *Journal) Compact(base Base, accept func(next *Journal) error) error {
	switch {
	case j.failed != nil:
		return j.failed
	case base.Tick < j.base.Tick:
		return fmt.Errorf("journal: it begins at tick %d already, after %d", j.base.Tick, base.Tick)
	}
	var keep []Effect
	for _, e := range j.Effects() {
		if !e.over(base) {
			keep = append(keep, e)
		}
	}
	if len(keep) == len(j.effects) {
		return nil
	}
	var places []place
	for _, e := range keep {
		its := append([]place{e.begin}, e.successor...)
		if e.State != Begun {
			its = append(its, e.outcome)
		}
		if e.noted > 0 {
			its = append(its, e.note)
		}
		// In their order: what was told is what had become of it until then.
		slices.SortFunc(its, func(a, b place) int { return cmp.Compare(a.offset, b.offset) })
		places = append(places, its...)
	}
	content := &feed{rest: wal.AppendRecord(nil, appendHeader(nil, j.Life, base))}
	content.next = func(b []byte) ([]byte, error) {
		if len(places) == 0 {
			return nil, io.EOF
		}
		p, err := j.read(places[0])
		places = places[1:]
		return wal.AppendRecord(b, p), err
	}
	err := wal.Write(j.folder, nextName, content)
	if err == nil && accept != nil {
		err = j.acceptNext(accept)
	}
	if err == nil {
		err = wal.Give(j.folder, nextName, Name)
	}
	if err != nil {
		// The old file and the new one say the same, but which has the name?
		j.failed = wrap(err)
		return j.failed
	}
	f, err := j.folder.Open(Name)
	if err != nil {
		j.failed = wrap(err)
		return j.failed
	}
	compacted, err := open(j.folder, f, j.Life, math.MaxUint64)
	if err != nil {
		f.Close()
		j.failed = err
		return err
	}
	for _, e := range keep {
		kept := compacted.effects[e.ID]
		kept.released, kept.untold, kept.told = e.released, e.untold, e.told
	}
	j.file.w.Close()
	compacted.rewrite = j.rewrite + 1
	*j = *compacted
	return nil
}

// acceptNext asks whether the journal that is prepared may replace this one.
func (j *Journal) acceptNext(accept func(next *Journal) error) error {
	f, err := j.folder.Open(nextName)
	if err != nil {
		return err
	}
	next, err := open(j.folder, f, j.Life, math.MaxUint64)
	if err != nil {
		f.Close()
		return err
	}
	next.rewrite = j.rewrite + 1
	return errors.Join(accept(next), next.Close())
}

// Adopt has a journal that was prepared ([Journal.Compact]) replace the one that is there,
// if that never had the given head, and the prepared one has: its preparation was accepted,
// and the process ended. To call it is for those who know what was.
func Adopt(folder wal.Folder, head verifier.Hash) error {
	for _, name := range []string{Name, nextName} {
		f, err := folder.Open(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return wrap(err)
		}
		j := &Journal{folder: folder}
		_, err = j.load(f)
		_, ok, passedErr := passed(f, head)
		f.Close()
		switch {
		case name == Name && (err != nil || passedErr != nil || ok):
			return nil // what is wrong with it, [Open] says
		case name == nextName && err == nil && passedErr == nil && ok:
			return wrap(wal.Give(folder, nextName, Name))
		}
	}
	return nil
}

// Head returns the journal's head, over all its records.
func (j *Journal) Head() verifier.Hash { return j.head }

// Rewrites returns how often the journal was compacted: then it has another chain of heads.
func (j *Journal) Rewrites() int { return j.rewrite }

// Passed looks for where the journal had a head.
func (j *Journal) Passed(head verifier.Hash) (offset int64, ok bool, err error) {
	return passed(j.file.f, head)
}

func passed(f io.ReaderAt, head verifier.Hash) (offset int64, ok bool, err error) {
	var at verifier.Hash
	s := wal.NewScanner(io.NewSectionReader(f, 0, math.MaxInt64), maxRecord)
	for {
		p, err := s.Next()
		if _, tail := errors.AsType[*wal.TailError](err); err == io.EOF || tail {
			return 0, false, nil
		}
		if err != nil {
			return 0, false, wrap(err)
		}
		if at = next(at, p); at == head {
			return s.Offset(), true, nil
		}
	}
}

// Since returns the records from an offset on, the header among them, as they are, and
// where they end.
func (j *Journal) Since(offset int64) (records [][]byte, end int64, err error) {
	end = j.file.w.Offset()
	s := wal.NewScanner(io.NewSectionReader(j.file.f, offset, end-offset), maxRecord)
	for {
		p, err := s.Next()
		if err == io.EOF {
			return records, end, nil
		}
		if err != nil {
			return nil, 0, readError(err)
		}
		records = append(records, slices.Clone(p))
	}
}

// A feed reads one piece after the other, so that only one is in memory.
type feed struct {
	piece, rest []byte
	next        func(dst []byte) ([]byte, error)
}

func (f *feed) Read(p []byte) (int, error) {
	if len(f.rest) == 0 {
		var err error
		if f.piece, err = f.next(f.piece[:0]); err != nil {
			return 0, err
		}
		f.rest = f.piece
	}
	n := copy(p, f.rest)
	f.rest = f.rest[n:]
	return n, nil
}

// Close closes the journal's file.
func (j *Journal) Close() error { return j.file.w.Close() }

// Len returns how many effects the journal has.
func (j *Journal) Len() int { return len(j.effects) }

// Pending returns how many effects have begun and are not over.
func (j *Journal) Pending() int { return j.pending }
