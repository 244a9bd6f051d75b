// Package history verifies whole histories: folders, files and CARs of any
// size, examined on all cores and linked into one report.
//
// Its memory is a small constant for each checkpoint and one buffer a core,
// whatever the size of the states.
package history

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"

	"igor.dev/verifier"
)

// A Verification is one run over some sources.
type Verification struct {
	// Pins is what is known of the history beforehand.
	Pins verifier.Pins

	// Spec is the version of the spec by which it links: 1, or 0 for the current one.
	Spec int

	// Workers is how many goroutines examine; 0 means one a processor.
	Workers int

	// LookedAt reports whether the caller looks at the file with a path itself, so that the
	// report does not say that nobody did; nil = at none.
	LookedAt func(path string) bool

	checkpoints atomic.Int64
	bytes       atomic.Int64
}

// Progress returns how many checkpoints, and how many bytes of them, were
// examined so far. It may be called while Run runs.
func (v *Verification) Progress() (checkpoints, bytes int64) {
	return v.checkpoints.Load(), v.bytes.Load()
}

// Run verifies the sources, which together are one history. An error means that
// there is no verdict: something could not be read (an [*Error]), there was
// nothing to verify, or ctx was cancelled.
func (v *Verification) Run(ctx context.Context, sources ...Source) (*verifier.Report, error) {
	workers := v.Workers
	if workers <= 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	r := &run{
		Verification: v,
		ctx:          ctx,
		workers:      workers,
		stop:         make(chan struct{}),
		chunks:       make(chan []byte, workers+1),
		pile:         new(verifier.Pile),
	}
	if err := r.pass(sources); err != nil {
		return nil, err
	}
	if r.pile.Len() == 0 {
		return nil, r.nothing()
	}
	report := verifier.LinkAs(v.Spec, r.pile, v.Pins)
	for range relists {
		had := r.pile.Len()
		if report.Verdict() != verifier.Incomplete {
			break
		} else if err := r.pass(folders(sources)); err != nil {
			return nil, err
		} else if r.pile.Len() == had {
			break
		}
		report = verifier.LinkAs(v.Spec, r.pile, v.Pins)
	}
	return report, nil
}

// relists is how often folders are listed again where something is missing. While an agent
// lives, listing its folder may leave out one file and have a later one.
const relists = 5

// pass examines what the sources give.
func (r *run) pass(sources []Source) error {
	r.jobs = make(chan job)
	var wg sync.WaitGroup
	for range r.workers {
		wg.Go(r.work)
	}
	for _, s := range sources {
		if err := s.feed(r); err != nil {
			r.fail(r.sequence, err)
			break
		}
	}
	close(r.jobs)
	wg.Wait()
	for _, s := range sources {
		if r.err == nil {
			r.fail(r.sequence, s.finish())
		}
	}
	if err := r.ctx.Err(); err != nil {
		return err
	}
	return r.err
}

// nothing says what there is, where no checkpoint is.
func (r *run) nothing() error {
	e := &Error{Problem: "nothing to verify", Hint: "give checkpoints (*.ckpt), the folder that has them, or a .car history"}
	if r.leftFile != "" {
		e.Path, e.Problem, e.Hint = r.leftFile, "this is "+r.leftKind.What()+", and no checkpoint", r.leftKind.Next()
	}
	return e
}

// leaveOut notes a file that is not looked at.
func (r *run) leaveOut(k verifier.Kind, path, name string) {
	if r.LookedAt != nil && r.LookedAt(path) {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pile.LeaveOut(k, name)
}

// An Error says what could not be verified, why, and what to do about it.
type Error struct {
	Path    string // "" where it is about the input as a whole
	Problem string
	Hint    string // "" where there is nothing to add
	Err     error  // the cause, if another one
}

func (e *Error) Error() string {
	s := e.Problem
	if e.Path != "" {
		s = e.Path + ": " + s
	}
	if e.Hint != "" {
		s += " (" + e.Hint + ")"
	}
	return s
}

func (e *Error) Unwrap() error { return e.Err }

// errStopped is what feeding ends with after a failure elsewhere.
var errStopped = errors.New("stopped")

type run struct {
	*Verification
	ctx      context.Context
	workers  int
	jobs     chan job
	sequence int           // of the last job sent
	stop     chan struct{} // closed at the first failure
	chunks   chan []byte   // buffers of CAR input to use again

	mu       sync.Mutex // for what follows
	pile     *verifier.Pile
	err      error
	failedAt int

	leftFile string // the first file by itself that was left out
	leftKind verifier.Kind
}

// A job is some checkpoints to examine: either files, or the blocks of a CAR.
type job struct {
	sequence int
	files    []file
	car      *carSource
	blocks   []verifier.CARBlock
	chunk    []byte
}

// send hands a job to the workers.
func (r *run) send(j job) error {
	r.sequence++
	j.sequence = r.sequence
	select {
	case r.jobs <- j:
		return nil
	case <-r.stop:
		return errStopped
	case <-r.ctx.Done():
		return r.ctx.Err()
	}
}

// fail keeps the error of the earliest job, so that what is reported does not
// depend on which worker was faster: jobs start in sequence, so every job before
// a failed one is run to its end.
func (r *run) fail(sequence int, err error) {
	if err == nil || err == errStopped {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err == nil {
		close(r.stop)
	} else if sequence >= r.failedAt {
		return
	}
	r.err, r.failedAt = err, sequence
}

// A worker's own memory: one buffer and the findings of one job.
type worker struct {
	examiner verifier.Examiner
	buffer   []byte   // has the files that are waiting
	waiting  [][]byte // what was read and is not examined
	findings []verifier.Finding
}

// bufferSize is the size of a worker's buffer, until a file is larger. Files that it
// has room for are examined together.
const bufferSize = 256 << 10

func (r *run) work() {
	var w worker
	for j := range r.jobs {
		err := r.ctx.Err()
		if err == nil {
			err = r.examine(&w, &j)
		}
		r.fail(j.sequence, err)
		if j.chunk != nil {
			select {
			case r.chunks <- j.chunk:
			default:
			}
		}
	}
}

func (r *run) examine(w *worker, j *job) error {
	w.findings = w.findings[:0]
	there := j.files[:0]
	for i := range j.files {
		if err := r.ctx.Err(); err != nil {
			return err
		}
		switch err := r.read(w, &j.files[i]); err {
		case nil:
			there = append(there, j.files[i])
		case errGone:
		default:
			return err
		}
	}
	j.files = there
	for i := range j.blocks {
		w.waiting = append(w.waiting, j.blocks[i].Data)
	}
	r.examineWaiting(w)
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range w.findings {
		f, name := &w.findings[i], ""
		if j.car != nil {
			b := &j.blocks[i]
			if err := j.car.reader.Check(b.Index, b.UnverifiedCID, f); err != nil {
				return j.car.fail(err)
			}
		} else {
			name = j.files[i].name
		}
		if err := r.pile.Add(f, name); err != nil {
			return err
		}
	}
	return nil
}

// read reads a file behind those that are waiting.
func (r *run) read(w *worker, f *file) error {
	if len(w.buffer) > bufferSize*3/4 {
		r.examineWaiting(w)
	}
	if cap(w.buffer) == 0 {
		w.buffer = make([]byte, 0, bufferSize)
	}
	free := w.buffer[len(w.buffer):cap(w.buffer)]
	b, err := f.read(free)
	if err != nil {
		return err
	}
	w.waiting = append(w.waiting, b)
	if len(b) <= len(free) {
		w.buffer = w.buffer[:len(w.buffer)+len(b)]
		return nil
	}
	// It was too large, and has a buffer of its own, which later files share.
	r.examineWaiting(w)
	w.buffer = b[:0]
	return nil
}

func (r *run) examineWaiting(w *worker) {
	w.findings = w.examiner.AppendFindings(w.findings, w.waiting...)
	r.checkpoints.Add(int64(len(w.waiting)))
	for _, b := range w.waiting {
		r.bytes.Add(int64(len(b)))
	}
	clear(w.waiting) // they may be another job's next
	w.waiting, w.buffer = w.waiting[:0], w.buffer[:0]
}
