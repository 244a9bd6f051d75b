package runtime

import (
	"crypto/sha256"
	"iter"
	"os"
	"path/filepath"

	"igor.dev/runtime/internal/journal"
	"igor.dev/runtime/internal/store"
	"igor.dev/verifier"
)

// A Life says which life is in a folder, and how far it has come.
type Life struct {
	Agent   verifier.PublicKey
	Genesis verifier.Hash
	Head    verifier.Hash // the newest checkpoint
	Tick    uint64        // of that
	Price   int64         // microcents per second, of that
}

// ReadLife reads which life is in dir, which may be lived meanwhile. It believes the
// folder.
func ReadLife(dir string) (l Life, err error) {
	c, hash, err := newestCheckpoint(dir)
	if err != nil {
		return l, err
	}
	l = Life{Agent: c.AgentPubKey, Head: hash, Tick: c.TickNumber, Price: c.PricePerSecond}
	f, err := os.Open(filepath.Join(dir, journal.Name))
	if err != nil {
		return l, err
	}
	defer f.Close()
	j, err := journal.Read(readFile{f})
	if err != nil {
		return l, err
	}
	l.Genesis = j.Life().Genesis
	return l, nil
}

// Blocks yields the checkpoints of the agent in dir, the newest first, while it may be
// lived. It believes the folder.
func Blocks(dir string) iter.Seq2[[]byte, error] { return BlocksFrom(dir, verifier.Hash{}) }

// BlocksFrom yields what [Blocks] does from the checkpoint of a hash on; zero = the newest.
func BlocksFrom(dir string, head verifier.Hash) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		h, err := store.OpenHistory(dir)
		if err != nil {
			yield(nil, err)
			return
		}
		defer h.Close()
		reached := head.IsZero()
		for f, err := range h.Backward() {
			if !reached && err == nil && !f.Hash.IsZero() && f.Hash != head {
				continue // a segment names it, and it need not be read
			}
			var b []byte
			if err == nil {
				b, err = f.Read()
			}
			if reached = reached || sha256.Sum256(b) == head; !reached && err == nil {
				continue
			}
			if !yield(b, err) || err != nil {
				return
			}
		}
	}
}

// BlockFile returns the name that a checkpoint has in an agent's folder.
func BlockFile(tick uint64) string { return filepath.Join("history", store.FileName(tick)) }
