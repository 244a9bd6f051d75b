package lab

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// The files of a recording.
const (
	fileScript   = "script.yaml"
	fileEvents   = "events.jsonl"
	fileTimeline = "timeline.txt"
	fileDrawing  = "timeline.svg"
	dirPrograms  = "programs"
	dirNodes     = "nodes"
)

// An Event is something that was done or seen, a line of a recording.
type Event struct {
	Began time.Duration `json:"began"` // since the nodes were started
	Ended time.Duration `json:"ended"`
	What  What          `json:"what"`
	Node  string        `json:"node,omitempty"`
	Agent string        `json:"agent,omitempty"`
	To    string        `json:"to,omitempty"` // a node
	// Of a look at a node: its agents that live. Of what was done: how it went.
	Lives map[string]Lives `json:"lives,omitempty"`
	Moves uint64           `json:"moves,omitempty"` // the number of a hand-over
	// Of a position that the fleet said, at whose owner the node is.
	Takeovers uint64 `json:"takeovers,omitempty"`
	Sequence  uint64 `json:"sequence,omitempty"`
	Head      string `json:"head,omitempty"`
	Error     string `json:"error,omitempty"`
	Step      string `json:"step,omitempty"`
}

// What says what an event is.
type What string

const (
	Did   What = "did"   // a step
	Moved What = "moved" // an agent by a step; if it failed, it is not known whether it was
	Saw   What = "saw"   // a node was asked for its agents
	Dumb  What = "dumb"  // a node was asked, and did not answer

	Position What = "position" // the fleet was asked where an agent is
)

// Lives is how an agent lives at a node.
type Lives struct {
	Tick  uint64 `json:"tick"`
	Moves uint64 `json:"moves"`
}

// A recorder writes events.
type recorder struct {
	began time.Time
	mu    sync.Mutex
	f     *os.File
	err   error
	all   []Event
}

func newRecorder(dir string) (*recorder, error) {
	f, err := os.OpenFile(filepath.Join(dir, fileEvents), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	return &recorder{f: f, began: time.Now()}, err
}

func (r *recorder) now() time.Duration { return time.Since(r.began) }

func (r *recorder) add(e Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	b, err := json.Marshal(&e)
	if err == nil {
		_, err = r.f.Write(append(b, '\n'))
	}
	r.err = errors.Join(r.err, err)
	r.all = append(r.all, e)
}

func (r *recorder) close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return errors.Join(r.err, r.f.Close())
}

// maxEvents is how many events a recording may have.
const maxEvents = 1 << 20

// readEvents reads those of a recording.
func readEvents(dir string) (all []Event, err error) {
	f, err := os.Open(filepath.Join(dir, fileEvents))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	d := json.NewDecoder(bufio.NewReader(f))
	for len(all) <= maxEvents {
		var e Event
		switch err := d.Decode(&e); {
		case err == io.EOF:
			return all, nil
		case err != nil:
			return nil, fmt.Errorf("%s: %w", f.Name(), err)
		}
		all = append(all, e)
	}
	return nil, fmt.Errorf("%s has more than %d events", f.Name(), maxEvents)
}
