package runtime

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"igor.dev/runtime/internal/eventlog"
	"igor.dev/runtime/internal/hint"
	"igor.dev/runtime/internal/module"
	"igor.dev/runtime/internal/progress"
	"igor.dev/runtime/internal/record"
	"igor.dev/runtime/internal/replay"
	"igor.dev/runtime/internal/store"
	"igor.dev/runtime/internal/wal"
	"igor.dev/verifier"
)

// A ReplayConfig says what to run again.
type ReplayConfig struct {
	WASM     []byte
	Manifest []byte
	Events   string // the folder of the event log

	From  uint64  // begin with the checkpoint of this tick, 0 = with the birth
	Until *uint64 // end after this tick, nil = with the newest checkpoint

	// After is a checkpoint that was verified and replayed before, with all that leads to it:
	// only what comes after it is verified and run again, and nothing before it is read. The
	// history is in an agent's folder then, which is what is named.
	After verifier.Hash

	// Origin is that of a fork, to check the state that it began with.
	Origin *Past

	// Observe is called with each observation, in order; the intervals are then run
	// one after the other.
	Observe func(Observation)

	Log      *slog.Logger // for what the agent writes to standard output and error
	CacheDir string

	restart bool // with a fresh instance for each tick
}

// ErrInvalidHistory says that something is wrong in a history, so that nothing is
// run again.
var ErrInvalidHistory = store.ErrInvalid

// A ReplayVerdict is what a replay comes to.
type ReplayVerdict string

// The verdicts of a replay. Only Replayed is green.
const (
	Replayed     ReplayVerdict = "replayed"   // every state is what its ticks come to
	Diverged     ReplayVerdict = "diverged"   // some state is not, or the log is wrong
	NotReplayed  ReplayVerdict = "incomplete" // nothing differs, but something cannot be re-executed
	replayFormat               = "igor-replay-report/1"
)

// ExitCode returns 0, 1 or 3, as verification has it.
func (v ReplayVerdict) ExitCode() int {
	switch v {
	case Replayed:
		return 0
	case NotReplayed:
		return 3
	}
	return 1
}

// A ReplayReport says what running a life again has shown.
type ReplayReport struct {
	Format       string          `json:"format"`
	Verdict      ReplayVerdict   `json:"verdict"`
	DID          string          `json:"did"`
	Lineage      string          `json:"lineage"` // the verdict on the checkpoints
	WASM         string          `json:"wasmHash"`
	FirstTick    uint64          `json:"firstTick,string"`
	LastTick     uint64          `json:"lastTick,string"`
	Intervals    int             `json:"intervals"` // between checkpoints
	Replayed     int             `json:"replayed"`  // of them
	Ticks        uint64          `json:"ticks,string"`
	Observations uint64          `json:"observations,string"`
	Metered      int             `json:"metered,omitempty"`         // intervals whose costs were checked
	Fuel         uint64          `json:"fuel,string,omitempty"`     // of those, in units
	Waited       uint64          `json:"waitedNs,string,omitempty"` // of those
	Failed       uint64          `json:"failedTicks,string,omitempty"`
	Origin       *ReplayOrigin   `json:"origin,omitempty"`
	Problems     []ReplayProblem `json:"problems"`
	Proves       string          `json:"proves"`
	DoesNotProve string          `json:"doesNotProve"`

	State []byte `json:"-"` // after the last tick, if Until was given
}

// A ReplayOrigin is where the genesis of a fork comes from.
type ReplayOrigin struct {
	DID        string `json:"did"`
	Tick       uint64 `json:"tick,string"` // after which the fork begins
	Checkpoint string `json:"checkpoint"`  // of the origin, a CID
	Checked    bool   `json:"checked"`     // the origin, run again, comes to the fork's state
}

// A ReplayProblem is an interval that is not as recorded, or cannot be run.
type ReplayProblem struct {
	Code    string `json:"code"` // divergence, state-divergence, bad-segment, origin-mismatch, cannot-be-re-executed
	From    uint64 `json:"fromTick,string"`
	To      uint64 `json:"toTick,string"`
	Message string `json:"message"`

	// Of a divergence; nil where it does not apply.
	Tick     *uint64 `json:"tick,string,omitempty"`
	Hostcall *int    `json:"hostcall,omitempty"` // of the tick, from 0
	Byte     *int    `json:"byte,omitempty"`     // the first that differs
	Recorded string  `json:"recorded,omitempty"`
	Got      string  `json:"got,omitempty"`
}

// Incomplete reports whether the problem is that something is missing.
func (p *ReplayProblem) Incomplete() bool { return p.Code == codeMissing }

// The codes of replay problems.
const (
	codeDivergence      = "divergence"
	codeStateDivergence = "state-divergence"
	codeBadSegment      = "bad-segment"
	codeOrigin          = "origin-mismatch"
	codeMissing         = "cannot-be-re-executed"
)

// Replay runs the life again whose checkpoints are in dir and below, and compares
// every state. Its error means that there is no verdict.
func Replay(ctx context.Context, dir string, c ReplayConfig) (*ReplayReport, error) {
	lineage, key, files, err := c.lineage(ctx, dir)
	if err != nil {
		return nil, err
	}
	b, err := embody(c.WASM, c.Manifest)
	if err != nil {
		return nil, err
	}
	r := &ReplayReport{Format: replayFormat, Lineage: lineage.String(), WASM: b.wasmHash.String(), Problems: []ReplayProblem{}}
	if key != (verifier.PublicKey{}) {
		r.DID = key.DID()
	}
	log, closeLog, err := openReadOnly(c.Events)
	if err != nil {
		return nil, err
	}
	defer closeLog()
	if _, err := module.Parse(c.WASM); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotAgent, err)
	}
	programs := newLibrary(c.WASM, c.Manifest, c.Events, c.Log, c.CacheDir)
	defer programs.close()
	e := &replay.Engine{Programs: programs.Program, Log: log}
	intervals, err := c.intervals(files)
	if err != nil {
		return nil, err
	}
	r.Intervals = len(intervals)
	r.FirstTick, r.LastTick = intervals[0].from, intervals[len(intervals)-1].to
	c.runAll(ctx, e, intervals)
	checkJoints(intervals)
	for i := range intervals {
		in := &intervals[i]
		if in.err != nil || in.problem != nil {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
		}
		if in.err != nil {
			return nil, fmt.Errorf("ticks %d to %d cannot be run again: %w", in.from, in.to, in.err)
		}
		if in.problem != nil {
			r.Problems = append(r.Problems, *in.problem)
			continue
		}
		if o := in.result.Segment.Origin; o != nil {
			if c.Until != nil && *c.Until < o.Tick {
				return nil, fmt.Errorf("the life begins as a fork after tick %d, and not before tick %d", o.Tick, *c.Until)
			}
			r.FirstTick = o.Tick
			r.Origin = &ReplayOrigin{DID: o.Agent.DID(), Tick: o.Tick, Checkpoint: o.Checkpoint.CID()}
			if p, err := c.checkOrigin(ctx, o, in.result.State); err != nil {
				return nil, err
			} else if p != nil {
				r.Problems = append(r.Problems, *p)
				continue
			}
			r.Origin.Checked = c.Origin != nil
		}
		if s := &in.result.Segment; s.Header.Version != eventlog.Version1 {
			r.Metered++
			r.Fuel += s.Fuel
			r.Waited += s.Waited
			r.Failed += s.Failed
		}
		r.Replayed++
		r.Ticks += in.result.Ticks
		r.Observations += in.result.Observations
		r.State = in.result.State
	}
	if c.Origin != nil && r.Origin == nil {
		return nil, errors.New("there is no beginning of a fork here whose origin could be checked")
	}
	r.conclude(lineage)
	return r, nil
}

// lineage verifies what is to be run again, and lists it.
func (c *ReplayConfig) lineage(ctx context.Context, dir string) (v verifier.Verdict, key verifier.PublicKey, files []store.CheckpointFile, err error) {
	if c.After.IsZero() {
		report, files, err := store.Checkpoints(ctx, dir)
		if err != nil {
			return v, key, nil, err
		}
		key, _ = report.Key()
		return report.Verdict(), key, files, nil
	}
	newest, _, err := newestCheckpoint(dir)
	if err != nil {
		return v, key, nil, err
	}
	key = newest.AgentPubKey
	if files, err = store.Tail(dir, key, c.After); err != nil {
		return v, key, nil, err
	}
	c.From = files[0].Tick
	return verifier.Verified, key, files, nil
}

// checkJoints holds each segment against the one before it: what is owed, and the
// manifest.
func checkJoints(intervals []interval) {
	for i := 1; i < len(intervals); i++ {
		in := &intervals[i]
		before, after := &intervals[i-1].result.Segment, &in.result.Segment
		if before.Header.Version == 0 || after.Header.Version < eventlog.Version2 || in.broken || in.problem != nil || in.err != nil {
			continue
		}
		owed, manifest := uint64(0), after.Header.Manifest
		if before.Header.Version != eventlog.Version1 {
			owed = before.Rest
		}
		if after.Upgrade != nil {
			manifest = after.Upgrade.Manifest
		}
		wrong := ""
		switch {
		case after.Header.Rest != owed:
			wrong = fmt.Sprintf("it begins with a rest of %d, and the segment before it leaves %d", after.Header.Rest, owed)
		case manifest != before.Header.Manifest:
			wrong = fmt.Sprintf("it goes on from the manifest of SHA-256 %s, and the segment before it has %s", manifest, before.Header.Manifest)
		default:
			continue
		}
		in.problem = &ReplayProblem{Code: codeBadSegment, From: in.from, To: in.to, Message: eventlog.FileName(in.from) + ": " + wrong}
	}
}

// checkOrigin holds the state of a fork's genesis against its origin, if that was given.
func (c *ReplayConfig) checkOrigin(ctx context.Context, o *eventlog.Record, state []byte) (*ReplayProblem, error) {
	if c.Origin == nil {
		return nil, nil
	}
	p := &ReplayProblem{Code: codeOrigin, From: o.Tick, To: o.Tick}
	_, files, err := store.Checkpoints(ctx, c.Origin.Dir)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(files, func(f store.CheckpointFile) bool { return f.Hash == o.Checkpoint })
	if i < 0 {
		p.Message = fmt.Sprintf("the origin that was given has no checkpoint %s", o.Checkpoint.CID())
		return p, nil
	}
	from, origin, err := c.Origin.stateAt(ctx, files, o.Tick, c.CacheDir)
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil:
		if _, missing := errors.AsType[*pastError](err); !missing {
			return nil, err
		}
		p.Code, p.Message = codeMissing, err.Error()
	case from.hash != o.Checkpoint || from.AgentPubKey != o.Agent:
		p.Message = fmt.Sprintf("the newest checkpoint of the origin up to tick %d is %s by %s", o.Tick, from.hash.CID(), from.AgentPubKey.DID())
	case string(origin) != string(state):
		at := record.FirstDifference(origin, state)
		p.Byte, p.Recorded, p.Got = &at, record.Excerpt(state, at), record.Excerpt(origin, at)
		p.Message = fmt.Sprintf("the fork began with another state than its origin had after tick %d: it differs at byte %d: the fork has %s, and the origin %s", o.Tick, at, p.Recorded, p.Got)
	default:
		return nil, nil
	}
	return p, nil
}

func (r *ReplayReport) conclude(lineage verifier.Verdict) {
	r.Verdict = Replayed
	if lineage != verifier.Verified {
		r.Verdict = NotReplayed
	}
	for _, p := range r.Problems {
		if !p.Incomplete() {
			r.Verdict = Diverged
			break
		}
		r.Verdict = NotReplayed
	}
	ticks := fmt.Sprintf("ticks %d to %d", r.FirstTick, r.LastTick)
	switch r.Verdict {
	case Replayed:
		r.Proves = fmt.Sprintf("The program, run again from what the agent's key signed as observed, comes to every recorded state in %s, byte for byte, and the budget of every checkpoint is what was recorded as added, spent and paid.", ticks)
		switch {
		case r.Metered == r.Intervals:
			r.Proves += " Every tick used the fuel that is recorded, and cost what that costs."
		case r.Metered > 0:
			r.Proves += fmt.Sprintf(" In the %d intervals that were metered, every tick used the fuel that is recorded, and cost what that costs.", r.Metered)
		}
	case NotReplayed:
		r.Proves = fmt.Sprintf("Of %d intervals between checkpoints, %d were run again and come to the recorded states. The others cannot be re-executed: nothing is known of them.", r.Intervals, r.Replayed)
	default:
		r.Proves = fmt.Sprintf("Running again does not come to what was recorded in %d of %d intervals between checkpoints.", len(r.Problems), r.Intervals)
	}
	if o := r.Origin; o != nil {
		if o.Checked {
			r.Proves += fmt.Sprintf(" It began as a fork, with the state to which its origin, run again, comes after tick %d.", o.Tick)
		} else {
			r.DoesNotProve = fmt.Sprintf("It does not prove that the state it began with is that of its origin after tick %d: that it says itself, and the origin is needed to check it. ", o.Tick)
		}
	}
	r.DoesNotProve += "It does not prove that the world was as the agent observed it, "
	if r.Waited > 0 {
		r.DoesNotProve += "that the node waited for the world as long as it says and charges for, "
	}
	if r.Metered < r.Intervals {
		r.DoesNotProve += "that its time was measured rightly, "
	}
	r.DoesNotProve += "who holds its key, or that there was no other life. " +
		"NaN bits of floating-point numbers may differ between processors: a divergence in them alone need not be a wrong life."
}

// interval is a part of a life between two checkpoints.
type interval struct {
	prev, next *store.CheckpointFile // prev is nil before the genesis
	broken     bool                  // the checkpoint before next is not there
	from, to   uint64
	until      uint64
	result     replay.Result // with the state of the last interval, and of a fork's genesis
	problem    *ReplayProblem
	err        error // there is no verdict
}

func (c *ReplayConfig) intervals(files []store.CheckpointFile) ([]interval, error) {
	var all []interval
	begun := c.From == 0
	for i, f := range files {
		in := interval{next: &files[i], to: f.Tick}
		if i > 0 {
			in.prev, in.from = &files[i-1], files[i-1].Tick+1
			in.broken = f.Prev != files[i-1].Hash
		} else {
			in.broken = !f.Prev.IsZero()
			in.from = 0
		}
		begun = begun || i > 0 && files[i-1].Tick == c.From
		if !begun {
			continue
		}
		if c.Until != nil && *c.Until < in.to {
			if *c.Until < in.from {
				break
			}
			in.until, in.to = *c.Until, *c.Until
			all = append(all, in)
			break
		}
		all = append(all, in)
	}
	switch {
	case !begun:
		return nil, hint.Wrap(fmt.Errorf("there is no checkpoint of tick %d to begin with, or nothing after it", c.From), "igor ls FOLDER names them")
	case len(all) == 0:
		return nil, errors.New("there is nothing to run again")
	case c.Until != nil && all[len(all)-1].to < *c.Until:
		return nil, hint.Wrap(fmt.Errorf("the newest checkpoint is of tick %d, before tick %d", all[len(all)-1].to, *c.Until), "igor ls FOLDER names them")
	}
	return all, nil
}

// runAll runs intervals again, as many at a time as there are processors.
func (c *ReplayConfig) runAll(ctx context.Context, e *replay.Engine, intervals []interval) {
	workers := runtime.GOMAXPROCS(0)
	if c.Observe != nil {
		workers = 1
	}
	jobs := make(chan *interval)
	var done atomic.Int64
	defer progress.Begin(ctx, func() string {
		return fmt.Sprintf("replayed %d of %s", done.Load(), plural(len(intervals), "interval"))
	})()
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for in := range jobs {
				result, err := c.run(ctx, e, in)
				if in != &intervals[len(intervals)-1] && result.Segment.Origin == nil {
					result.State = nil // all of them would be too much to hold
				}
				if in.result = result; err != nil {
					if p, ok := problemOf(in.from, in.to, err); ok {
						in.problem = &p
					} else {
						in.err = err
					}
				}
				done.Add(1)
			}
		})
	}
	for i := range intervals {
		jobs <- &intervals[i]
	}
	close(jobs)
	wg.Wait()
}

func (c *ReplayConfig) run(ctx context.Context, e *replay.Engine, in *interval) (replay.Result, error) {
	if in.broken {
		return replay.Result{}, fmt.Errorf("%w: the checkpoint before it is not there", replay.ErrMissing)
	}
	ri := replay.Interval{Until: in.until, Restart: c.restart}
	var err error
	if ri.Next, err = in.next.Read(); err != nil {
		return replay.Result{}, err
	}
	if in.prev != nil {
		if ri.Prev, err = in.prev.Read(); err != nil {
			return replay.Result{}, err
		}
	}
	if c.Observe != nil {
		ri.Observe = func(r *eventlog.Record) { c.Observe(observation(e.Log, r)) }
	}
	return e.Run(ctx, ri)
}

// problemOf says what is wrong with an interval. Without a problem there is no
// verdict: something could not be read, or there was no room to run it.
func problemOf(from, to uint64, err error) (p ReplayProblem, ok bool) {
	p = ReplayProblem{From: from, To: to, Message: err.Error()}
	divergence, diverged := errors.AsType[*record.Divergence](err)
	state, stateDiverged := errors.AsType[*replay.StateDivergence](err)
	cost, costDiverged := errors.AsType[*eventlog.CostError](err)
	_, badState := errors.AsType[*replay.BadStateError](err)
	switch {
	case diverged:
		p.Code, p.Tick, p.Hostcall = codeDivergence, &divergence.Tick, &divergence.Call
		p.Recorded, p.Got = divergence.Recorded, divergence.Got
		if p.Recorded == p.Got {
			p.Byte = &divergence.At
			p.Recorded += " " + record.Excerpt(divergence.RecordedBytes, divergence.At)
			p.Got += " " + record.Excerpt(divergence.GotBytes, divergence.At)
		}
	case costDiverged:
		p.Code, p.Tick = codeDivergence, &cost.Tick
		p.Recorded, p.Got = eventlog.Price(cost.Recorded), eventlog.Price(cost.Got)
	case stateDiverged:
		p.Code, p.Tick, p.Byte = codeStateDivergence, &state.Tick, &state.At
		p.Recorded, p.Got = record.Excerpt(state.Recorded, state.At), record.Excerpt(state.Got, state.At)
	case errors.Is(err, replay.ErrMissing):
		p.Code, p.Message = codeMissing, strings.TrimPrefix(p.Message, replay.ErrMissing.Error()+": ")
	case badState, eventlog.Bad(err):
		p.Code = codeBadSegment
	default:
		return p, false
	}
	return p, true
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return strconv.Itoa(n) + " " + what + "s"
}

// openReadOnly opens an event log to read it. One that is not there has no segments.
func openReadOnly(dir string) (log *eventlog.Log, closeLog func(), err error) {
	none := eventlog.New(readOnly{}, readOnly{})
	root, err := os.OpenRoot(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return none, func() {}, nil
	}
	if err != nil {
		return nil, nil, err
	}
	payloads, err := root.OpenRoot("payloads")
	if errors.Is(err, fs.ErrNotExist) {
		log = eventlog.New(readOnly{root: root}, readOnly{})
		log.Packed = store.NewPacks(root)
		return log, func() { root.Close() }, nil
	}
	if err != nil {
		root.Close()
		return nil, nil, err
	}
	log = eventlog.New(readOnly{root: root}, readOnly{root: payloads})
	log.Packed = store.NewPacks(root)
	return log, func() { root.Close(); payloads.Close() }, nil
}

// readOnly is a folder of which files are only read.
type readOnly struct {
	wal.Folder
	root *os.Root
}

func (d readOnly) Open(name string) (wal.File, error) {
	if d.root == nil {
		return nil, fs.ErrNotExist
	}
	info, err := d.root.Stat(name) // before it is opened: opening a pipe would wait
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", name)
	}
	f, err := d.root.Open(name)
	if err != nil {
		return nil, err
	}
	return readFile{f}, nil
}

type readFile struct{ *os.File }

func (f readFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// ExportEvents copies the sealed segments of the event log in dir, an agent's
// folder, their payloads and the manifest, into a new folder.
func ExportEvents(dir, to string) (segments int, err error) {
	from := filepath.Join(dir, "events")
	err = store.Build(to, func(root *os.Root) error {
		ticks, err := segmentTicks(from)
		if err != nil {
			return err
		}
		packed, err := packedTicks(from)
		if err != nil {
			return err
		}
		if len(ticks)+len(packed) == 0 {
			return noEventLog(dir)
		}
		payloads, err := os.ReadDir(filepath.Join(from, "payloads"))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := root.Mkdir("payloads", 0o755); err != nil {
			return err
		}
		for _, first := range ticks {
			name := filepath.Join(from, eventlog.FileName(first))
			sealed, err := isSealed(name)
			if errors.Is(err, fs.ErrNotExist) {
				continue // it is packed now
			}
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			if !sealed {
				continue // the life goes on in it
			}
			if err := copyFile(root, filepath.Base(name), name); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
		for _, p := range payloads {
			if strings.HasPrefix(p.Name(), ".") {
				continue
			}
			if err := copyFile(root, filepath.Join("payloads", p.Name()), filepath.Join(from, "payloads", p.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
		if err := copyPacks(root, from); err != nil {
			return err
		}
		if ticks, err = segmentTicks(root.Name()); err != nil {
			return err
		}
		if packed, err = packedTicks(root.Name()); err != nil {
			return err
		}
		segments = len(union(packed, ticks))
		if err := copyPrograms(root, filepath.Join(from, store.DirPrograms)); err != nil {
			return err
		}
		return copyFile(root, "agent.manifest.json", filepath.Join(dir, "agent.manifest.json"))
	})
	return segments, err
}

// copyPacks copies the packs of an event log, whose agent may put them together meanwhile.
func copyPacks(root *os.Root, from string) error {
	events, err := os.OpenRoot(from)
	if err != nil {
		return err
	}
	defer events.Close()
	packs := store.NewPacks(events)
	done := map[store.Span]bool{}
	for gone := true; gone; {
		gone = false
		list, err := packs.Spans()
		if err != nil {
			return err
		}
		for _, s := range list {
			if done[s] {
				continue
			}
			err := copyFile(root, s.Pack(), filepath.Join(from, s.Pack()))
			if errors.Is(err, fs.ErrNotExist) {
				gone = true
				continue
			}
			if err != nil {
				return err
			}
			done[s] = true
		}
	}
	return nil
}

// copyPrograms copies the programs and manifests of before an agent's upgrades, if it
// had some.
func copyPrograms(root *os.Root, from string) error {
	programs, err := os.ReadDir(from)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = root.Mkdir(store.DirPrograms, 0o755)
	}
	if err != nil {
		return err
	}
	for _, p := range programs {
		if strings.HasPrefix(p.Name(), ".") {
			continue
		}
		if err := copyFile(root, filepath.Join(store.DirPrograms, p.Name()), filepath.Join(from, p.Name())); err != nil {
			return err
		}
	}
	return nil
}

func isSealed(name string) (bool, error) {
	f, err := os.Open(name)
	if err != nil {
		return false, err
	}
	defer f.Close()
	r := eventlog.NewReader(f)
	for err == nil {
		_, err = r.Next()
	}
	_, sealed := r.Seal()
	if err == io.EOF || eventlog.Torn(err) {
		err = nil
	}
	return sealed, err
}

func copyFile(root *os.Root, name, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	if err == nil {
		err = out.Sync()
	}
	return errors.Join(err, out.Close())
}
