package runtime

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"igor.dev/runtime/internal/eventlog"
	"igor.dev/runtime/internal/hint"
	"igor.dev/verifier"
	"igor.dev/verifier/history"
)

// A Sight is a checkpoint as its file says, unverified.
type Sight struct {
	Folder string `json:"folder"`
	DID    string `json:"did"`
	Tick   uint64 `json:"tick,string"`
	CID    string `json:"cid"`
	Budget int64  `json:"budgetMicrocents,string"`
	Bytes  int    `json:"bytes"`
}

// Look lists checkpoints, unverified: of an agent's folder all of them, and of
// any other folder the newest one of each agent's folder directly in it. What it
// cannot read, its error says, and it lists the others all the same.
func Look(dir string) ([]Sight, error) {
	if _, err := os.Stat(filepath.Join(dir, "history")); err == nil {
		return look(dir, false)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var all []Sight
	var unread error // the first
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		found, err := look(filepath.Join(dir, e.Name()), true)
		if unread == nil && !errors.Is(err, fs.ErrNotExist) {
			unread = err
		}
		all = append(all, found...)
	}
	return all, unread
}

func look(dir string, newest bool) ([]Sight, error) {
	names, err := checkpointNames(dir)
	if err != nil {
		return nil, err
	}
	if newest && len(names) > 1 {
		names = names[len(names)-1:]
	}
	var all []Sight
	var unread error // the first
	for _, name := range names {
		path := filepath.Join(dir, "history", name)
		b, err := os.ReadFile(path)
		if err == nil {
			var c verifier.Checkpoint
			if c, err = verifier.Parse(b); err == nil {
				hash := verifier.Hash(sha256.Sum256(b))
				all = append(all, Sight{dir, c.AgentPubKey.DID(), c.TickNumber, hash.CID(), c.Budget, len(b)})
				continue
			}
			err = hint.Wrap(fmt.Errorf("%s: %w", path, err), "igor verify %s shows all that is wrong", dir)
		}
		if unread == nil {
			unread = err
		}
	}
	return all, unread
}

// checkpointNames lists the checkpoints in an agent's folder, by their ticks.
func checkpointNames(dir string) ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(dir, "history"))
	var names []string
	for _, e := range entries {
		if e.Type().IsRegular() && history.IsCheckpoint(e.Name()) {
			names = append(names, e.Name())
		}
	}
	return names, err
}

// A LogLine is what an agent said in a tick.
type LogLine struct {
	Tick uint64 `json:"tick,string"`
	Line string `json:"line"`
}

// Logs calls each with every line that the agent in dir logged from a tick on, as
// its event log has them, unverified.
func Logs(dir string, from uint64, each func(LogLine) error) error {
	events := filepath.Join(dir, "events")
	ticks, err := segmentTicks(events)
	if err != nil {
		return err
	}
	if len(ticks) == 0 {
		return noEventLog(dir)
	}
	log, done, err := openReadOnly(events)
	if err != nil {
		return err
	}
	defer done()
	var refused error // by each
	for _, first := range ticks {
		err := segmentLogs(log, first, from, func(l LogLine) error {
			refused = each(l)
			return refused
		})
		if refused != nil {
			return refused
		}
		if err != nil {
			return fmt.Errorf("%s: %w", filepath.Join(events, eventlog.FileName(first)), err)
		}
	}
	return nil
}

func noEventLog(dir string) error {
	return hint.Wrap(fmt.Errorf("%s has no event log", dir), "name the folder that igor run made, or a copy of it")
}

// segmentTicks returns the first tick of each segment in a folder, in order.
func segmentTicks(events string) ([]uint64, error) {
	entries, err := os.ReadDir(events)
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR) {
		return nil, err
	}
	var ticks []uint64
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), eventlog.Ext) || history.Ignored(e.Name()) {
			continue
		}
		first, ok := eventlog.ParseFileName(e.Name())
		if !ok {
			return nil, fmt.Errorf("%s does not have a name that igor gives", filepath.Join(events, e.Name()))
		}
		ticks = append(ticks, first)
	}
	slices.Sort(ticks)
	return ticks, nil
}

func segmentLogs(log *eventlog.Log, first, from uint64, each func(LogLine) error) error {
	s, err := log.Segment(first)
	if err != nil {
		return err
	}
	defer s.Close()
	for {
		r, err := s.Next()
		if err == io.EOF || eventlog.Torn(err) {
			return nil // the life goes on there
		}
		if err != nil {
			return err
		}
		if r.Kind != eventlog.LogEmit || r.Tick < from {
			continue
		}
		line, err := log.Content(r.Request)
		if err != nil {
			return err
		}
		if err := each(LogLine{r.Tick, strings.ToValidUTF8(string(line), "\uFFFD")}); err != nil {
			return err
		}
	}
}
