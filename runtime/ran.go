package runtime

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"igor.dev/runtime/internal/journal"
	"igor.dev/runtime/internal/receipt"
	"igor.dev/runtime/internal/store"
	"igor.dev/verifier"
)

// The file run in an agent's folder says which process ran it last, and how that ended.
// It is for people: nothing relies on it, and a process that is killed cannot say so. It
// has its size from the beginning, so that a full disk does not keep the end from being
// written.
const (
	fileRun     = "run"
	fileRunSize = 4096
	maxRunError = 1500 // bytes, of an error's text
)

// A Ran is a run of an agent, as its process wrote it down.
type Ran struct {
	PID   int       `json:"pid"`
	Host  string    `json:"host"`
	Igor  string    `json:"igor"` // the version
	Began time.Time `json:"began"`

	// Of a run that ended by itself, and was not killed.
	Ended  time.Time `json:"ended,omitzero"`
	Reason Reason    `json:"reason,omitempty"`
	Error  string    `json:"error,omitempty"`
	Hint   string    `json:"hint,omitempty"`

	// What files had then that only grow without a run, in bytes, and the newest
	// checkpoint: if it is another one, an earlier igor ran the agent since.
	Head  string           `json:"head,omitempty"`
	Sizes map[string]int64 `json:"sizes,omitempty"`
}

// noteRun writes down that a run begins, and returns what writes down how it ended. That
// either cannot be written is no reason not to live.
func noteRun(s *store.Store, before *Ran) (ended func(Result, error)) {
	host, _ := os.Hostname()
	ran := Ran{PID: os.Getpid(), Host: host, Igor: verifier.Version(), Began: time.Now().UTC().Truncate(time.Second)}
	if before != nil { // until this run has something newer to say
		ran.Head, ran.Sizes = before.Head, before.Sizes
	}
	ran.write(s)
	return func(r Result, err error) {
		if r.Reason == "" && err == nil {
			return // a panic is on its way
		}
		if !r.Head.IsZero() {
			ran.Head, ran.Sizes = r.Head.CID(), sizesIn(s.Path())
		}
		ran.Ended, ran.Reason = time.Now().UTC().Truncate(time.Second), r.Reason
		switch {
		case errors.Is(err, ErrBudgetExhausted):
			ran.Reason, err = BudgetExhausted, nil
		case errors.Is(err, ErrQuota):
			ran.Reason, err = DiskFull, nil
		}
		if err = public(err); err != nil {
			ran.Error = cutText(err.Error())
			if h, ok := errors.AsType[interface {
				error
				Hint() string
			}](err); ok {
				ran.Hint = cutText(h.Hint())
			}
		}
		ran.write(s)
	}
}

// measured are the files whose sizes are written down.
var measured = []string{receipt.Name, receipt.Onchain, journal.Name}

func sizesIn(dir string) map[string]int64 {
	sizes := map[string]int64{}
	for _, name := range measured {
		if info, err := os.Stat(filepath.Join(dir, name)); err == nil {
			sizes[name] = info.Size()
		}
	}
	return sizes
}

// lost says how many bytes of a file are not there any more that there were when the
// last run ended. head is the newest checkpoint's CID.
func (r *Ran) lost(dir, name, head string) (bytes int64) {
	if r == nil || r.Ended.IsZero() || r.Head != head {
		return 0
	}
	return max(0, r.Sizes[name]-sizesIn(dir)[name])
}

// noteCut takes notice that the journal is open, or that a compacted one took its place: what
// its last write left, cut short, is not there any more, and was nothing. A run that ends before it can say so, or a visit,
// would leave the old size.
func (l *life) noteCut(s *store.Store) {
	r := l.lastRun
	if r == nil {
		return
	}
	if now := sizesIn(s.Path())[journal.Name]; now < r.Sizes[journal.Name] {
		r.Sizes[journal.Name] = now // and in what this run writes at its end
		if l.visit {
			r.write(s)
		}
	}
}

// noteSizes writes the sizes down anew, after somebody did something to the folder of an
// agent that does not run.
func noteSizes(s *store.Store) {
	if r := ranOf(s); r != nil && !r.Ended.IsZero() {
		r.Sizes = sizesIn(s.Path())
		r.write(s)
	}
}

// checkJournalSize refuses a journal that is shorter than it was when the last run
// ended: what it began may be forgotten, and done again.
func checkJournalSize(dir, head string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	return readRun(root).cutJournal(dir, head)
}

// cutJournal is the error of a journal that lost some of its end. One that is not there at
// all has an error of its own.
func (r *Ran) cutJournal(dir, head string) error {
	lost := r.lost(dir, journal.Name, head)
	if _, there := sizesIn(dir)[journal.Name]; !there || lost == 0 {
		return nil
	}
	return journal.Cut(lost)
}

func cutText(s string) string {
	return strings.ToValidUTF8(strings.ReplaceAll(s[:min(len(s), maxRunError)], "\n", "; "), "")
}

func (r *Ran) write(s *store.Store) {
	b, err := json.Marshal(r)
	if err != nil || len(b) >= fileRunSize {
		return
	}
	root, err := os.OpenRoot(s.Path())
	if err != nil {
		return
	}
	defer root.Close()
	f, err := root.OpenFile(fileRun, os.O_WRONLY|os.O_CREATE, 0o644)
	if err != nil {
		return
	}
	defer f.Close()
	b = append(append(b, bytes.Repeat([]byte{' '}, fileRunSize-1-len(b))...), '\n')
	f.WriteAt(b, 0)
}

// readRun reads it, nil if there is none that can be read.
func readRun(root *os.Root) *Ran {
	f, err := (readOnly{root: root}).Open(fileRun)
	if err != nil {
		return nil
	}
	defer f.Close()
	b, err := io.ReadAll(io.NewSectionReader(f, 0, fileRunSize))
	r := new(Ran)
	if err != nil || json.Unmarshal(b, r) != nil {
		return nil
	}
	return r
}

// ranOf reads the newest run, nil if there is none that can be read.
func ranOf(s *store.Store) *Ran {
	root, err := os.OpenRoot(s.Path())
	if err != nil {
		return nil
	}
	defer root.Close()
	return readRun(root)
}

// noteVisit returns what is called when something was done to the folder of an agent
// that does not run.
func noteVisit(s *store.Store) (ended func(Result, error)) {
	return func(_ Result, err error) {
		if err == nil {
			noteSizes(s)
		}
	}
}

// sayLostReceipts says so if receipts are missing that the agent had.
func sayLostReceipts(s *store.Store, before *Ran, head string, log *slog.Logger) {
	for _, name := range []string{receipt.Name, receipt.Onchain} {
		if lost := before.lost(s.Path(), name, head); lost > 0 {
			log.Warn("the agent's receipts are cut: a part of what it paid, or of what nodes signed for its time, is not with it any more", "file", name, "lost", lost)
		}
	}
}
