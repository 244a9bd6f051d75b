package runtime

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"igor.dev/archive"
	"igor.dev/runtime/internal/eventlog"
	"igor.dev/runtime/internal/journal"
	"igor.dev/runtime/internal/manifest"
	receiptfile "igor.dev/runtime/internal/receipt"
	"igor.dev/runtime/internal/store"
	"igor.dev/verifier"
	"igor.dev/verifier/receipt"
)

// A State is what an agent is at the moment, as far as its folder says.
type State string

// The states.
const (
	StateAlive     State = "alive"     // a process runs it
	StatePaused    State = "paused"    // and it does not tick: igor pause
	StateStopped   State = "stopped"   // as asked, or at a limit that was given
	StateExhausted State = "exhausted" // its budget is
	StateFull      State = "full"      // its disk quota is reached
	StateFailed    State = "failed"    // its last run ended with an error
	StateCrashed   State = "crashed"   // its last run ended without a word: it was killed, or the machine failed
	StateBroken    State = "broken"    // something in its folder has to be mended before it can go on
	StateRetired   State = "retired"   // it never lives again
	StateMoved     State = "moved"     // it was handed over to another node, and lives there
	StateHistory   State = "history"   // its checkpoints alone, such as an imported history
)

// An Overview is an agent as its folder and the process that runs it say. Nothing of it
// is verified but what Problems names.
type Overview struct {
	Folder string `json:"folder"`
	State  State  `json:"state"`

	// Of the newest checkpoint that can be read.
	DID    string    `json:"did,omitempty"`
	Tick   uint64    `json:"tick,string"`
	CID    string    `json:"cid,omitempty"`
	Budget int64     `json:"budgetMicrocents,string"`
	Price  int64     `json:"priceMicrocentsPerSecond,string"`
	Bytes  int       `json:"bytes"`
	Saved  time.Time `json:"checkpointAt,omitzero"` // when its file was written

	Lived uint64 `json:"livedTick,string"` // the newest tick that is recorded, of an agent that is not alive

	Since time.Time `json:"since,omitzero"` // when the agent became what it is
	PID   int       `json:"pid,omitempty"`  // of the process that runs it
	Ran   *Ran      `json:"run,omitempty"`  // the newest run
	Live  *Status   `json:"live,omitempty"` // what the process says that runs it

	Unresolved int   `json:"effectsUnresolved"`
	Held       int64 `json:"heldMicrocents,string"` // by them
	Disk       int64 `json:"diskBytes,string"`

	// Archive is how far it is archived, in each target that it ever was.
	Archive []archive.Status `json:"archive,omitempty"`

	Home      string `json:"home,omitempty"`                       // where it is decided who lives it, if that is not its folder
	GivenBack int64  `json:"givenBackMicrocents,string,omitempty"` // when it was retired
	MovedTo   string `json:"movedTo,omitempty"`                    // the DID of the node that has it

	Problems []FolderProblem `json:"problems"`

	agent     verifier.PublicKey
	wasm, man verifier.Hash // with which it goes on
}

// A FolderProblem is something that is wrong with a file in an agent's folder.
type FolderProblem struct {
	File  string `json:"file"` // its name in the folder
	What  string `json:"what"`
	Next  string `json:"next,omitempty"` // what to do
	Fatal bool   `json:"fatal"`          // the agent cannot go on before it is mended
}

// Broken reports whether the agent cannot go on before something is mended.
func (o *Overview) Broken() bool {
	return slices.ContainsFunc(o.Problems, func(p FolderProblem) bool { return p.Fatal })
}

func (o *Overview) problem(fatal bool, file string, err error, next string, args ...any) {
	if h, ok := errors.AsType[interface {
		error
		Hint() string
	}](err); ok && next == "" {
		next = h.Hint()
	}
	o.Problems = append(o.Problems, FolderProblem{file, err.Error(), fmt.Sprintf(next, args...), fatal})
}

const (
	// askLimit is how long the process that runs an agent may take to say where it stands.
	askLimit = 2 * time.Second
	// lookedAtOnce is how many folders are looked at at the same time.
	lookedAtOnce = 8
)

// AgentFolders returns the names of the folders directly in dir that are an agent's.
func AgentFolders(dir string) ([]string, error) { return store.Agents(dir) }

// IsAgentFolder reports whether dir is an agent's folder, what is left of one, or its
// history alone, and no other folder that has something called history.
func IsAgentFolder(dir string) bool { return store.HasAgent(dir) }

// Overviews looks at all agents whose folders are directly in dir, by their names. What
// is wrong with one is in its Problems.
func Overviews(ctx context.Context, dir string) ([]Overview, error) {
	names, err := store.Agents(dir)
	if err != nil {
		return nil, err
	}
	all := make([]Overview, len(names))
	var wait sync.WaitGroup
	free := make(chan struct{}, lookedAtOnce)
	for i, name := range names {
		path := filepath.Join(dir, name)
		free <- struct{}{}
		wait.Go(func() {
			defer func() { <-free }()
			if o, err := OverviewOf(ctx, path); err == nil {
				all[i] = *o
			} else {
				all[i] = Overview{Folder: path}
				all[i].problem(true, "", err, "")
				all[i].State = StateBroken
			}
		})
	}
	wait.Wait()
	sayTwins(all)
	return all, ctx.Err()
}

// sayTwins names agents that are there twice. Copies of one life that both live have
// two futures.
func sayTwins(all []Overview) {
	by := map[string][]int{}
	for i := range all {
		if all[i].DID != "" && all[i].State != StateHistory && all[i].State != StateMoved {
			by[all[i].DID] = append(by[all[i].DID], i)
		}
	}
	for _, twins := range by {
		for n, i := range twins {
			if other := &all[twins[(n+1)%len(twins)]]; len(twins) > 1 {
				all[i].problem(false, "", fmt.Errorf("it is the same agent as %s: if both live, its life has two futures, and everybody can see that", filepath.Base(other.Folder)),
					"let one of them live; igor fork gives a copy an identity of its own")
			}
		}
	}
}

// OverviewOf looks at one agent.
func OverviewOf(ctx context.Context, dir string) (*Overview, error) {
	o := &Overview{Folder: dir, Problems: []FolderProblem{}}
	root, err := os.OpenRoot(dir)
	if err == nil {
		defer root.Close()
		_, err = fs.ReadDir(root.FS(), ".")
	}
	if err != nil {
		if errors.Is(err, fs.ErrPermission) {
			return nil, &fs.PathError{Op: "open", Path: dir, Err: fs.ErrPermission}
		}
		return nil, store.NotFolder(dir)
	}
	_, err = root.Stat(store.DirHistory)
	switch parts := store.HasParts(dir); {
	case err != nil && !parts:
		return nil, store.NotFolder(dir)
	case !parts:
		o.newest(root)
		o.State = StateHistory
		o.measure()
		return o, nil
	}
	o.newest(root)
	o.measure()
	o.Ran = readRun(root)
	switch home, err := store.HomeOf(dir); {
	case err != nil:
		o.problem(true, "home", plainPath(err), "")
	default:
		o.Home = home.Name
	}
	if !o.alive(ctx, root) {
		o.stopped()
		o.openEvents(root)
		o.parts(root)
		o.journal(root)
		if o.Broken() {
			o.State = StateBroken
		}
	}
	o.archived(ctx)
	return o, nil
}

// archived says how far the agent is archived.
func (o *Overview) archived(ctx context.Context) {
	if o.Live != nil && o.Live.Archive != nil {
		o.Archive, o.Live.Archive = o.Live.Archive, nil // it is said once
		return
	}
	all, err := archivedOf(ctx, o.Folder)
	if err != nil {
		o.problem(false, "archive", plainPath(err), "what is archived is not known without it: move it out of the folder, and what the targets have is looked at again")
	}
	o.Archive = all
}

func (o *Overview) measure() {
	d := diskUsage{dir: o.Folder}
	d.measure()
	o.Disk = d.bytes()
}

// newest reads the newest checkpoint.
func (o *Overview) newest(root *os.Root) {
	names, err := checkpointNames(o.Folder)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		o.problem(true, store.DirHistory, errors.New("its history is missing"), "restore the folder %s from a copy, or from an export: igor history import", store.DirHistory)
		return
	case err != nil:
		o.problem(true, store.DirHistory, plainPath(err), "check who may read it")
		return
	case len(names) == 0 && o.newestPacked():
		return
	case len(names) == 0:
		o.problem(true, store.DirHistory, errors.New("there is no checkpoint"), "restore the folder %s from a copy", store.DirHistory)
		return
	}
	for i := range slices.Backward(names) {
		path := filepath.Join(store.DirHistory, names[i])
		b, at, err := o.checkpoint(root, path)
		if err == nil {
			o.isNewest(b, at)
			return
		}
		if i == 0 {
			o.problem(true, path, err, "restore it from a copy")
			return
		}
		if i < len(names)-1 { // the second that is damaged: resume does not go that far back
			o.problem(true, path, err, "restore it from a copy; igor verify %s shows all that is wrong", o.Folder)
			return
		}
		o.problem(false, path, err, "igor resume %s sets it aside, and makes it again from the event log", o.Folder)
	}
}

func (o *Overview) isNewest(b []byte, at time.Time) {
	f := verifier.Examine(b)
	o.agent, o.DID, o.Tick, o.CID, o.Bytes, o.Saved = f.AgentPubKey, f.AgentPubKey.DID(), f.TickNumber, f.ContentHash.CID(), len(b), at
	o.Budget, o.Price, o.wasm = f.Budget, f.PricePerSecond, f.WASMHash
}

// newestPacked reads the newest checkpoint where all of them are in segments.
func (o *Overview) newestPacked() bool {
	h, err := store.OpenHistory(o.Folder)
	if err != nil {
		return false
	}
	defer h.Close()
	for f, err := range h.Backward() {
		var b []byte
		if err == nil {
			b, err = f.Read()
		}
		if err != nil {
			return false
		}
		if finding := verifier.Examine(b); !finding.Authentic() {
			return false
		}
		at := time.Time{}
		if info, err := os.Stat(f.Path); err == nil {
			at = info.ModTime().UTC()
		}
		o.isNewest(b, at)
		return true
	}
	return false
}

// checkpoint reads an authentic one.
func (o *Overview) checkpoint(root *os.Root, path string) (b []byte, at time.Time, err error) {
	f, err := (readOnly{root: root}).Open(path)
	if err != nil {
		return nil, at, plainPath(err)
	}
	defer f.Close()
	if b, err = io.ReadAll(io.NewSectionReader(f, 0, verifier.MaxCheckpointSize+1)); err != nil {
		return nil, at, plainPath(err)
	}
	finding := verifier.Examine(b)
	if !finding.Authentic() {
		return nil, at, fmt.Errorf("it is damaged (%s)", store.Damage(&finding))
	}
	if info, err := root.Stat(path); err == nil {
		at = info.ModTime().UTC()
	}
	return b, at, nil
}

// plainPath takes the path off an error of which the file is named beside it.
func plainPath(err error) error {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		return p.Err
	}
	return err
}

// alive asks the process that runs the agent, if there is one.
func (o *Overview) alive(ctx context.Context, root *os.Root) bool {
	holder, err := store.Holder(root)
	if err != nil || holder == "" {
		return false
	}
	o.State = StateAlive
	fmt.Sscanf(holder, "process %d", &o.PID)
	if o.Ran != nil && o.Ran.PID == o.PID && o.Ran.Ended.IsZero() {
		o.Since = o.Ran.Began
	}
	ctx, stop := context.WithTimeout(ctx, askLimit)
	defer stop()
	r, err := Connect(o.Folder)
	var s Status
	if err == nil {
		s, err = r.Status(ctx)
	}
	if err != nil {
		o.problem(false, "control", fmt.Errorf("%s has the folder open, and does not answer", holder), "its log says what it does")
		return true
	}
	o.Live = &s
	if s.Phase == Paused {
		o.State = StatePaused
	}
	o.Unresolved, o.Held = s.Unresolved, s.Held
	return true
}

// stopped says why nobody runs the agent.
func (o *Overview) stopped() {
	o.State, o.Since = StateStopped, o.Saved
	r := o.Ran
	switch last, over, err := ReadRetirement(o.Folder); {
	case err != nil:
		o.problem(true, "retired", plainPath(err), "put it back from a copy")
	case over:
		o.State, o.GivenBack = StateRetired, last.Budget
		if info, err := os.Stat(filepath.Join(o.Folder, "retired")); err == nil {
			o.Since = info.ModTime().UTC()
		}
		return
	}
	switch gone, moved, err := movedOf(o.Folder); {
	case err != nil:
		o.problem(true, "moved", err, "put it back from a copy; igor resume %s says whose the agent is", o.Folder)
	case moved:
		o.State, o.MovedTo = StateMoved, gone.Record.To.DID()
		if info, err := os.Stat(filepath.Join(o.Folder, "moved")); err == nil {
			o.Since = info.ModTime().UTC()
		}
		return
	}
	switch {
	case r == nil: // it was never run, or by an igor that did not write that down
		if o.Budget == 0 && o.Price > 0 && o.CID != "" {
			o.State = StateExhausted
		}
		return
	case r.Ended.IsZero():
		o.State = StateCrashed
		return
	case r.Error != "":
		o.State = StateFailed
	case r.Reason == BudgetExhausted:
		o.State = StateExhausted
	case r.Reason == DiskFull:
		o.State = StateFull
	}
	o.Since = r.Ended
}

// openEvents looks at the names of the event log's segments, and at the one with which
// the life goes on.
func (o *Overview) openEvents(root *os.Root) {
	o.man = verifier.Hash{}
	events := filepath.Join(o.Folder, store.DirEvents)
	ticks, err := segmentTicks(events)
	if err != nil {
		o.problem(true, store.DirEvents, err, "")
		return
	}
	names, err := checkpointNames(o.Folder)
	if err != nil || len(names) == 0 {
		return
	}
	missing, first := 0, uint64(0)
	for _, in := range intervals(o.Folder, names) {
		if _, ok := slices.BinarySearch(ticks, in[0]); !ok {
			if missing++; missing == 1 {
				first = in[0]
			}
		}
	}
	if missing > 0 {
		o.problem(false, filepath.Join(store.DirEvents, eventlog.FileName(first)), fmt.Errorf("of the event log's segments, %d of %d are missing: their ticks cannot be run again", missing, len(names)),
			"restore the folder %s from a copy", store.DirEvents)
	}
	log, done, err := openReadOnly(events)
	if err != nil {
		o.problem(true, store.DirEvents, plainPath(err), "")
		return
	}
	defer done()
	name := eventlog.FileName(o.Tick + 1)
	s, err := log.Segment(o.Tick + 1)
	if errors.Is(err, fs.ErrNotExist) {
		o.problem(false, filepath.Join(store.DirEvents, name), errors.New("it is missing: ticks that were lived after the newest checkpoint are lost"), "restore it from a copy, if there is one")
		return
	}
	if err != nil {
		o.problem(true, filepath.Join(store.DirEvents, name), plainPath(err), "")
		return
	}
	defer s.Close()
	h, err := s.Header()
	switch {
	case err == nil:
		if h.Version != eventlog.Version1 {
			o.wasm = h.WASM
		}
		o.man = h.Manifest
	case eventlog.Torn(err): // a new one, which a killed process left
		return
	case eventlog.Bad(err):
		o.problem(true, filepath.Join(store.DirEvents, name), fmt.Errorf("it is damaged: %w", err), "restore it from a copy, if there is one; igor repair %s says what is lost", o.Folder)
		return
	}
	for err == nil {
		_, err = s.Next()
	}
	o.Lived = max(o.Tick, s.Totals().Last)
	if seal, ok := s.Seal(); ok {
		lost := filepath.Join(store.DirHistory, store.FileName(s.Totals().Last))
		if !slices.ContainsFunc(o.Problems, func(p FolderProblem) bool { return p.File == lost }) {
			o.problem(false, lost, fmt.Errorf("it is missing: the event log has it as %s", seal.Next.CID()), "igor resume %s makes it again from the event log", o.Folder)
		}
	}
	if err != io.EOF && !eventlog.Torn(err) {
		o.problem(false, filepath.Join(store.DirEvents, name), fmt.Errorf("it is damaged: %w", err), "restore it from a copy, if there is one; igor resume %s goes on with what is whole of it, and says what is lost", o.Folder)
	}
}

// parts looks at the key, the program, the manifest and the receipts.
func (o *Overview) parts(root *os.Root) {
	key, err := store.Key(o.Folder)
	switch {
	case o.State == StateMoved: // whoever gave it away destroyed it
	case errors.Is(err, ErrNoKey) && o.Home != "":
		o.problem(true, "key", err, "if it was taken over from this node, it lives on elsewhere, and nothing is to be done: igor fleet status says where. Else put the agent's key back as %s, with mode 0600", filepath.Join(o.Folder, "key"))
	case err != nil:
		o.problem(true, "key", err, "")
	case o.DID != "" && verifier.PublicKey(key.Public().(ed25519.PublicKey)).DID() != o.DID:
		o.problem(true, "key", fmt.Errorf("it is that of another agent, %s", verifier.PublicKey(key.Public().(ed25519.PublicKey)).DID()), "put the agent's own key back")
	}
	for _, part := range []struct {
		name, flag string
		limit      int64
		hash       verifier.Hash
	}{
		{"agent.wasm", "wasm", MaxWASM, o.wasm},
		{"agent.manifest.json", "manifest", MaxManifest, o.man},
	} {
		next := fmt.Sprintf("put it back from a copy; igor repair %s --%s FILE takes one only if it is the agent's own", o.Folder, part.flag)
		b, err := readPart(root, part.name, part.limit)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			o.problem(true, part.name, errors.New("it is missing"), "%s", next)
			continue
		case err != nil:
			o.problem(true, part.name, plainPath(err), "%s", next)
			continue
		}
		if hash := sha256.Sum256(b); !part.hash.IsZero() && hash != part.hash {
			if _, err := root.Stat(filepath.Join(store.DirEvents, store.DirPrograms, programName(part.hash))); part.flag == "wasm" && err == nil {
				continue // an upgrade did not come to that
			}
			if _, err := root.Stat(filepath.Join(store.DirEvents, store.DirPrograms, manifestName(part.hash))); part.flag == "manifest" && err == nil {
				continue
			}
			o.problem(true, part.name, fmt.Errorf("it is not the one with which the agent lives, with SHA-256 %s", part.hash), "%s", next)
		} else if part.flag == "manifest" {
			if _, err := manifest.Parse(b); err != nil {
				o.problem(true, part.name, err, "%s", next)
			}
		}
	}
	if lost := o.Ran.lost(o.Folder, receiptfile.Onchain, o.CID); lost > 0 {
		o.problem(false, receiptfile.Onchain, fmt.Errorf("%d bytes are lost that it had when the agent stopped", lost), "restore it from a copy; the payments are on their chain")
	}
	f, err := (readOnly{root: root}).Open("receipts")
	switch {
	case errors.Is(err, fs.ErrNotExist):
		o.problem(false, "receipts", errors.New("it is missing: what it paid, and what nodes signed for its time, is not with the agent any more"), "restore it from a copy; igor repair %s says what can be had back", o.Folder)
	case err != nil:
		o.problem(true, "receipts", plainPath(err), "")
	default:
		defer f.Close()
		m, others, bad := store.SignedMark(o.Folder, o.agent)
		if len(others) > 0 {
			m = nil
		}
		for _, other := range others {
			o.problem(false, other.Name, other.Err, "restore it from a copy; igor repair %s says what is lost", o.Folder)
		}
		known := store.ReceiptsOf(m)
		if known != nil && !known.Fits(f) {
			known, bad = nil, errOtherReceipts
		}
		err = readReceipts(f, known)
		damaged := err != io.EOF && !errors.Is(err, receipt.ErrTruncated)
		if bad != nil && o.DID != "" && !(damaged && bad == errOtherReceipts) {
			o.problem(false, store.FileMark, fmt.Errorf("it is not used: %w", plainPath(bad)), "nothing is lost: igor resume %s reads all that is packed instead, and makes another one; or igor repair %s takes it away", o.Folder, o.Folder)
		}
		if damaged {
			o.badReceipts(true, err)
		} else if lost := o.Ran.lost(o.Folder, "receipts", o.CID); lost > 0 {
			o.problem(false, "receipts", fmt.Errorf("it is cut: %d bytes are lost that it had when the agent stopped", lost), "restore it from a copy; igor repair %s says what can be had back", o.Folder)
		}
	}
}

func (o *Overview) badReceipts(fatal bool, err error) {
	o.problem(fatal, receiptfile.Name, fmt.Errorf("it is damaged: %w", err), "restore it from a copy; igor repair %s says what can be had back", o.Folder)
}

// errOtherReceipts is of a mark that was made before the receipts were replaced or mended.
var errOtherReceipts = errors.New("the file receipts is not as it says")

// readReceipts reads receipts to the end: those that came after what is known, else all of
// them.
func readReceipts(f io.ReaderAt, known *receiptfile.Beginning) error {
	read := func(from int64) (err error) {
		for r := receipt.NewReader(io.NewSectionReader(f, from, math.MaxInt64-from)); err == nil; {
			_, err = r.Next()
		}
		return err
	}
	if known != nil {
		if err := read(known.End); err == io.EOF {
			return err
		}
	}
	return read(0)
}

func readPart(root *os.Root, name string, limit int64) ([]byte, error) {
	f, err := (readOnly{root: root}).Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.NewSectionReader(f, 0, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = fmt.Errorf("it is larger than %d bytes", limit)
	}
	return b, err
}

// journal reads the side effects.
func (o *Overview) journal(root *os.Root) {
	f, err := (readOnly{root: root}).Open(journal.Name)
	if errors.Is(err, fs.ErrNotExist) {
		err = journal.Missing()
	}
	var j *journal.Snapshot
	if err == nil {
		defer f.Close()
		j, err = journal.Read(f)
	}
	if lost := o.Ran.lost(o.Folder, journal.Name, o.CID); err == nil && lost > 0 {
		err = journal.Cut(lost)
	}
	if err != nil {
		o.problem(true, journal.Name, plainPath(err), "restore it from a copy that was made after the agent stopped; igor repair %s says what is lost without one", o.Folder)
		return
	}
	if did := j.Life().Agent.DID(); o.DID != "" && did != o.DID {
		o.problem(true, journal.Name, fmt.Errorf("it is that of another agent, %s", did), "put the agent's own journal back")
		return
	}
	for _, e := range j.Effects() {
		if e.State == journal.Begun {
			o.Unresolved++
			o.Held += e.Held
		}
	}
}

// Why says why an agent is not alive, as far as it is known, and what to do.
func (o *Overview) Why() (why, next string) {
	r := o.Ran
	switch o.State {
	case StateStopped:
		if r == nil {
			return "it did not run yet, or an earlier igor ran it, which did not write down why it stopped", ""
		}
		return cmp.Or(string(r.Reason), string(Stopped)), ""
	case StateExhausted:
		return string(BudgetExhausted), fmt.Sprintf("to give it more: igor resume %s --top-up AMOUNT", o.Folder)
	case StateFull:
		return string(DiskFull), fmt.Sprintf("to give it more: igor resume %s --max-disk BYTES", o.Folder)
	case StateRetired:
		return fmt.Sprintf("its life ended for good at tick %d, and %s went back", o.Tick, verifier.FormatMicrocents(o.GivenBack)), fmt.Sprintf("igor fork %s makes another agent of its state", o.Folder)
	case StateMoved:
		return "it was handed over to " + o.MovedTo, "it lives there, and that node can hand it back"
	case StateFailed:
		return r.Error, r.Hint
	case StateCrashed:
		return fmt.Sprintf("process %d on %s ended without a word: it was killed, or the machine failed", r.PID, r.Host), "igor resume " + o.Folder + " goes on; nothing that was acknowledged is lost"
	}
	return "", ""
}
