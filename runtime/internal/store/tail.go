package store

import (
	"crypto/sha256"
	"fmt"
	"slices"

	"igor.dev/verifier"
)

// Tail verifies the checkpoints in an agent's folder that come after one which was verified
// before, with all that leads to it, and lists them in order, that one first. Nothing
// before it is read. A checkpoint that does not follow is [ErrInvalid].
func Tail(dir string, agent verifier.PublicKey, after verifier.Hash) ([]CheckpointFile, error) {
	h, err := OpenHistory(dir)
	if err != nil {
		return nil, err
	}
	defer h.Close()
	var files []CheckpointFile
	var x verifier.Examiner
	invalid := func(f *CheckpointFile, what string) error {
		return fmt.Errorf("%w: the checkpoint of tick %d %s", ErrInvalid, f.Tick, what)
	}
	for f, err := range h.Backward() {
		if err != nil {
			return nil, err
		}
		b, err := f.Read()
		if err != nil {
			return nil, err
		}
		if f.Hash = sha256.Sum256(b); len(files) > 0 && files[len(files)-1].Hash == f.Hash {
			continue // a copy of the same one
		}
		found := verifier.Finding{}
		if f.Hash != after {
			found = x.Examine(b)
		} else if c, err := verifier.Parse(b); err == nil { // its signature was verified then
			found = verifier.Finding{AgentPubKey: c.AgentPubKey, TickNumber: c.TickNumber, PrevHash: c.PrevHash}
		}
		f.Prev = found.PrevHash
		switch n := len(files); {
		case f.Hash != after && !found.Authentic(), found.AgentPubKey != agent:
			return nil, invalid(&f, "is not signed by the agent's key")
		case found.TickNumber != f.Tick:
			return nil, invalid(&f, fmt.Sprintf("says that it is of tick %d", found.TickNumber))
		case n > 0 && files[n-1].Prev != f.Hash:
			return nil, invalid(&files[n-1], "does not follow the one before it")
		case n > 0 && files[n-1].Tick <= f.Tick:
			return nil, invalid(&files[n-1], "is not after the one before it")
		}
		files = append(files, f)
		if f.Hash == after {
			slices.Reverse(files)
			return files, nil
		}
	}
	return nil, fmt.Errorf("%w: the history does not lead back to %s", ErrInvalid, after.CID())
}
