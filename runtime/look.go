package runtime

import (
	"cmp"
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
	"igor.dev/runtime/internal/store"
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

// LookNewest lists the checkpoints of an agent that are files of their own, unverified, and
// says how many there are before them, up to which tick, as the agent's mark has it: these
// are not read.
func LookNewest(dir string) (newest []Sight, packed, upTo uint64, err error) {
	newest, err = lookLoose(dir, false)
	if len(newest) == 0 {
		all, unread := Look(dir)
		return all, 0, 0, cmp.Or(unread, err)
	}
	key, didErr := verifier.ParseDID(newest[len(newest)-1].DID)
	if didErr != nil {
		return newest, 0, 0, err
	}
	if m, _ := store.ReadMark(dir, key); m != nil {
		packed, upTo = m.Checkpoints, m.Tick
		newest = slices.DeleteFunc(newest, func(s Sight) bool { return s.Tick <= upTo })
	}
	return newest, packed, upTo, err
}

func look(dir string, newest bool) ([]Sight, error) {
	loose, err := lookLoose(dir, newest)
	if newest && len(loose) > 0 {
		return loose, err
	}
	h, openErr := store.OpenHistory(dir)
	if openErr != nil {
		return loose, err
	}
	defer h.Close()
	if len(h.Segments) == 0 {
		return loose, err
	}
	var all []Sight
	for b, packErr := range store.After(dir, 0, true) {
		var c verifier.Checkpoint
		if packErr == nil {
			c, packErr = verifier.Parse(b)
		}
		if packErr != nil {
			err = cmp.Or(err, packErr)
			break
		}
		hash := verifier.Hash(sha256.Sum256(b))
		all = append(all, Sight{dir, c.AgentPubKey.DID(), c.TickNumber, hash.CID(), c.Budget, len(b)})
		if newest {
			all = all[len(all)-1:]
		}
	}
	if err != nil { // of what is not packed there may be more
		all = append(all, slices.DeleteFunc(loose, func(s Sight) bool { return len(all) > 0 && s.Tick <= all[len(all)-1].Tick })...)
	}
	return all, err
}

func lookLoose(dir string, newest bool) ([]Sight, error) {
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

// intervals are the first and last ticks of the intervals that end with the
// checkpoints in an agent's folder, by their names: of each of them, the event log has a
// segment. A history that begins with another checkpoint than the genesis has none of
// the ticks up to that.
func intervals(dir string, names []string) (all [][2]uint64) {
	next := uint64(0)
	for i, name := range names {
		var tick uint64
		fmt.Sscanf(name, "%d", &tick)
		if i > 0 || isGenesis(filepath.Join(dir, "history", name)) {
			all = append(all, [2]uint64{next, tick})
		}
		next = tick + 1
	}
	return all
}

// isGenesis reports whether a checkpoint has none before it; also of one that cannot be
// read, for most are.
func isGenesis(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return true
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, verifier.HeaderSize))
	if err != nil {
		return true
	}
	c, err := verifier.Parse(b)
	return err != nil || c.PrevHash.IsZero()
}

// checkpointNames lists the checkpoints in an agent's folder that are files of their own,
// by their ticks.
func checkpointNames(dir string) ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(dir, "history"))
	var names []string
	for _, e := range entries {
		if e.Type().IsRegular() && history.IsCheckpoint(e.Name()) {
			names = append(names, e.Name())
		}
	}
	if !slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return verifier.IsSegment(e.Name()) }) {
		return names, err
	}
	// A killed process may have left some that are packed.
	h, openErr := store.OpenHistory(dir)
	if openErr != nil {
		return names, cmp.Or(err, openErr)
	}
	defer h.Close()
	return slices.DeleteFunc(names, h.Packed), err
}

func noEventLog(dir string) error {
	if _, err := os.Stat(filepath.Join(dir, "history")); err != nil {
		return store.NotFolder(dir)
	}
	return hint.Wrap(&DamagedError{File: "events", err: fmt.Errorf("%s has no event log", dir)}, "restore the folder events from a copy; an exported history has one if it was exported with --events")
}

// allSegmentTicks returns the first tick of each segment of an event log, in order, also of
// those that are packed.
func allSegmentTicks(events string) ([]uint64, error) {
	loose, err := segmentTicks(events)
	if err != nil {
		return nil, err
	}
	packed, err := packedTicks(events) // last: what is packed meanwhile is there twice, and not at all otherwise
	return union(packed, loose), err
}

func union(a, b []uint64) []uint64 {
	all := slices.Concat(a, b)
	slices.Sort(all)
	return slices.Compact(all)
}

// packedTicks are those of segments that are packed.
func packedTicks(events string) (ticks []uint64, err error) {
	root, err := os.OpenRoot(events)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer root.Close()
	packs := store.NewPacks(root)
	list, err := packs.Spans()
	for _, s := range list {
		of, packErr := packs.Ticks(s)
		if packErr != nil && !errors.Is(packErr, fs.ErrNotExist) {
			return nil, packErr
		}
		ticks = append(ticks, of...)
	}
	return ticks, err
}

// segmentTicks returns the first tick of each segment in a folder that is a file of its
// own, in order: of the newest ones.
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
