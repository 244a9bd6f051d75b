package runtime

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"strings"
	"time"

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
}

// noteRun writes down that a run begins, and returns what writes down how it ended. That
// either cannot be written is no reason not to live.
func noteRun(s *store.Store) (ended func(Result, error)) {
	host, _ := os.Hostname()
	ran := Ran{PID: os.Getpid(), Host: host, Igor: verifier.Version(), Began: time.Now().UTC().Truncate(time.Second)}
	ran.write(s)
	return func(r Result, err error) {
		if r.Reason == "" && err == nil {
			return // a panic is on its way
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
