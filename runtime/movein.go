package runtime

import (
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
	"strings"
	"sync"

	"igor.dev/authority"
	"igor.dev/runtime/internal/eventlog"
	"igor.dev/runtime/internal/failpoint"
	"igor.dev/runtime/internal/journal"
	"igor.dev/runtime/internal/store"
	"igor.dev/runtime/internal/wal"
	"igor.dev/verifier"
)

const dirHistory = "history"

// What goes along when an agent moves, beside its newest checkpoints: files, and the folders
// whose files do. The key is not among it.
var (
	movingFiles   = []string{"agent.wasm", "agent.manifest.json", "journal", "receipts", "receipts.x402", "handovers", "restored", "packed", "head.tlog-proof"}
	movingFolders = []string{"events", "events/payloads", "events/programs", dirHistory}
)

// Travels reports whether a file of an agent's folder goes along when the agent moves, by
// its name there.
func Travels(name string) bool {
	if slices.Contains(movingFiles, name) {
		return true
	}
	dir, base := filepath.Split(name)
	if dir == dirHistory+"/" && !isSpan(base, ".car") {
		return false
	}
	return fs.ValidPath(name) && slices.Contains(movingFolders, strings.TrimSuffix(dir, "/")) &&
		!strings.HasPrefix(base, ".") && !strings.HasSuffix(base, ".next") && len(base) <= 200
}

// Fixed reports whether a file of that name never changes once it is there.
func Fixed(name string) bool {
	dir, base := filepath.Dir(name), filepath.Base(name)
	return dir == "events/payloads" || dir == "events/programs" || isSpan(base, ".car") || isSpan(base, ".pack")
}

// isSpan reports whether a name is that of something packed: FIRST-LAST and an ending.
func isSpan(base, ext string) bool {
	first, last, ok := strings.Cut(strings.TrimSuffix(base, ext), "-")
	digits := func(s string) bool { return len(s) >= 10 && len(s) <= 20 && strings.Trim(s, "0123456789") == "" }
	return ok && strings.HasSuffix(base, ext) && digits(first) && digits(last)
}

// A MovingFile is one that goes along.
type MovingFile struct {
	Name string
	Size int64
}

// MovingFiles lists what goes along of the agent in dir, but for the checkpoints that are
// files of their own.
func MovingFiles(dir string) (all []MovingFile, err error) {
	for _, folder := range append([]string{"."}, movingFolders...) {
		entries, err := os.ReadDir(filepath.Join(dir, folder))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			name := filepath.Join(folder, e.Name())
			if !Travels(name) {
				continue
			}
			info, err := e.Info()
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return nil, err
			}
			if info.Mode().IsRegular() {
				all = append(all, MovingFile{name, info.Size()})
			}
		}
	}
	return all, nil
}

// CheckMoved holds the folder of an agent that is to come, or has come, against the last
// position of the folder that it comes from. The checkpoints themselves are for
// verification.
func CheckMoved(dir string, agent verifier.PublicKey, p authority.Position) error {
	newest, hash, err := newestCheckpoint(dir)
	if err != nil {
		return err
	}
	if newest.AgentPubKey != agent {
		return errors.New("the newest checkpoint is another agent's")
	}
	if hash != p.Head {
		return fmt.Errorf("the newest checkpoint is %s, and the position names %s", hash.CID(), p.Head.CID())
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	segment, err := root.Open(filepath.Join("events", eventlog.FileName(newest.TickNumber+1)))
	if err != nil {
		return fmt.Errorf("the open segment of the event log: %w", err)
	}
	defer segment.Close()
	log := sha256.New()
	if _, err := io.Copy(log, segment); err != nil {
		return err
	}
	if verifier.Hash(log.Sum(nil)) != p.Log {
		return errors.New("the open segment of the event log is not the one that the position names")
	}
	if err := checkJournal(root, p.Journal); err != nil {
		return err
	}
	b := books{agent: agent}
	folder := wal.Dir(root)
	onchain, err := hasOnchain(folder)
	if err == nil {
		err = b.open(folder, onchain, nil)
	}
	if err != nil {
		return err
	}
	if err := b.closeFiles(); err != nil {
		return err
	}
	if b.payments.chain != p.Paid {
		return errors.New("the payment receipts are not those that the position names")
	}
	return nil
}

// VerifyTail verifies the checkpoints of the agent in dir that come after one which was
// verified before, with all that leads to it.
func VerifyTail(dir string, agent verifier.PublicKey, after verifier.Hash) error {
	_, err := store.Tail(dir, agent, after)
	return err
}

// newestCheckpoint reads the newest checkpoint of a folder.
func newestCheckpoint(dir string) (c verifier.Checkpoint, hash verifier.Hash, err error) {
	for b, err := range Blocks(dir) {
		if err != nil {
			return c, hash, err
		}
		c, err = verifier.Parse(b)
		return c, sha256.Sum256(b), err
	}
	return c, hash, fmt.Errorf("%s has no checkpoint", dir)
}

func checkJournal(root *os.Root, head verifier.Hash) error {
	f, err := root.Open(journal.Name)
	if err != nil {
		return fmt.Errorf("the journal: %w", err)
	}
	defer f.Close()
	snapshot, err := journal.Read(readFile{f})
	if err != nil {
		return err
	}
	if snapshot.Head() != head {
		return errors.New("the journal is not the one that the position names")
	}
	return nil
}

// MoveIn makes the folder of an agent that came by a hand-over ready to live, with its key.
// Where its home is a store, that is what the folder is to call it. It may be called again.
func MoveIn(dir string, key ed25519.PrivateKey, m *Departure, home string) error {
	if verifier.PublicKey(key.Public().(ed25519.PublicKey)) != m.Agent {
		return errors.New("the key is not the agent's")
	}
	encoded, err := store.EncodeKey(key)
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	if m.AtHome() != (home != "") {
		return errors.New("a hand-over in a store, and no name of it; or one of a folder, with one")
	}
	// The agent stands still, and each waits for the disk: so all at once. In which order does
	// not matter, for nobody lives in this folder yet.
	var all sync.WaitGroup
	var errs [3]error
	all.Go(func() { errs[0] = store.AddHandOver(root, &m.Record) })
	all.Go(func() {
		if m.AtHome() {
			errs[1] = store.PutHome(root, store.Home{Name: home, Known: true})
		} else {
			errs[1] = dropEmptySegment(root, m.Position)
		}
	})
	all.Go(func() { errs[2] = store.PutKey(root, encoded) })
	all.Wait()
	if err := errors.Join(errs[:]...); err != nil {
		return err
	}
	failpoint.Reach(failpoint.MoveKeyKept)
	return nil
}

// dropEmptySegment removes the segment that the source began and in which nothing is yet:
// the one in its place counts the hand-over.
func dropEmptySegment(root *os.Root, p authority.Position) error {
	newest, _, err := newestCheckpoint(root.Name())
	if err != nil {
		return err
	}
	name := filepath.Join("events", eventlog.FileName(newest.TickNumber+1))
	f, err := root.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // by a call before
	}
	if err != nil {
		return err
	}
	defer f.Close()
	r := eventlog.NewReader(io.NewSectionReader(f, 0, math.MaxInt64))
	header, err := r.Header()
	if err != nil {
		return err
	}
	if _, err := r.Next(); err != io.EOF || header.MajorVersion > p.Major {
		return nil
	}
	if err := root.Remove(name); err != nil {
		return err
	}
	return store.SyncDir(root, "events")
}
