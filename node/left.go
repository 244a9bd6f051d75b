package node

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"igor.dev/runtime"
	"igor.dev/verifier"
)

// A leftFolder is what is known of a folder in left/. Nothing in it changes any more, and an
// agent that was taken over again and again leaves many of them: each is read once.
type leftFolder struct {
	changed time.Time // the folder, when it was read
	agent   verifier.PublicKey
	tick    uint64 // of its newest checkpoint

	once   sync.Once
	hashes []uint64 // the beginnings of those of its checkpoints, sorted; nil = not known
}

// leftOf returns the folders of an agent that was taken over from here, the newest last.
func (k *upkeep) leftOf(agent verifier.PublicKey) (dirs []string) {
	left := filepath.Join(k.n.config.Dir, dirLeft)
	entries, err := os.ReadDir(left)
	if err != nil {
		return nil
	}
	there := map[string]*leftFolder{}
	for _, e := range entries {
		dir := filepath.Join(left, e.Name())
		info, err := e.Info()
		if err != nil {
			continue
		}
		k.mu.Lock()
		f := k.left[dir]
		k.mu.Unlock()
		if f == nil || !f.changed.Equal(info.ModTime()) {
			l, err := runtime.ReadLife(dir)
			if err != nil {
				continue
			}
			f = &leftFolder{changed: info.ModTime(), agent: l.Agent, tick: l.Tick}
		}
		there[dir] = f
		if f.agent == agent {
			dirs = append(dirs, dir)
		}
	}
	k.mu.Lock()
	k.left = there // what was deleted is forgotten
	k.mu.Unlock()
	slices.SortFunc(dirs, func(a, b string) int { return cmp.Compare(there[a].tick, there[b].tick) })
	return dirs
}

// mayHold reports whether a checkpoint may be in a folder: only of one in left/ that was read
// it is known that it is not.
func (k *upkeep) mayHold(dir string, checkpoint verifier.Hash) bool {
	if k == nil {
		return true
	}
	k.mu.Lock()
	f := k.left[dir]
	k.mu.Unlock()
	if f == nil {
		return true
	}
	f.once.Do(func() {
		hashes := []uint64{}
		for b, err := range runtime.Blocks(dir) {
			if err != nil || len(hashes) == maxHashes {
				return
			}
			hash := sha256.Sum256(b)
			hashes = append(hashes, binary.LittleEndian.Uint64(hash[:]))
		}
		slices.Sort(hashes)
		f.hashes = hashes
	})
	if f.hashes == nil {
		return true
	}
	_, found := slices.BinarySearch(f.hashes, binary.LittleEndian.Uint64(checkpoint[:]))
	return found
}

// maxHashes is of how many checkpoints of a folder the hashes are remembered, in 8 MiB.
const maxHashes = 1 << 20
