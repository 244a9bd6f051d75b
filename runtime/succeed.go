package runtime

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"igor.dev/runtime/internal/hint"
	"igor.dev/runtime/internal/store"
	"igor.dev/verifier"
	said "igor.dev/verifier/witness"
)

// The files that go with a succession: docs/spec/succession.md.
const (
	successionFile = "succession"
	commitmentFile = "successor.tlog-proof"
)

// A SuccessionConfig says how an agent's key is succeeded.
type SuccessionConfig struct {
	Fork ForkConfig // its Origin and At are the old life's; a Key that was committed to

	// Old is the key of the old life, nil = that in its folder.
	Old ed25519.PrivateKey
}

// A Succeeded is a life that goes on where another one was retired.
type Succeeded struct {
	Forked
	Old       Retirement
	Committed bool // the old key had committed to it, and the proof of that lies with it
}

// Succeed makes an agent in dir that goes on with the state of the one in old, which is
// retired first if it is not: what is left of its budget, and what is not resolved of its
// side effects, stays with it. Both keys sign that.
func (e *Engine) Succeed(ctx context.Context, old, dir string, c SuccessionConfig) (s Succeeded, err error) {
	if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 {
		if _, err := os.Stat(filepath.Join(dir, successionFile)); err == nil {
			return s, fmt.Errorf("%s is there: it has succeeded already", dir)
		}
		return s, e.sign(old, dir, &s, c) // it ended before it was signed
	}
	if s.Old, err = e.Retire(ctx, old); err != nil {
		return s, err
	}
	f := c.Fork
	f.Origin.Dir, f.At = old, s.Old.Tick
	if f.Log == nil {
		f.Log = e.config.Log
	}
	forked, err := Fork(ctx, dir, f)
	if err != nil {
		return s, hint.Wrap(fmt.Errorf("the old life is retired, and the new one is not made: %w", err), "do it again: igor succeed goes on from there")
	}
	if forked.Checkpoint != s.Old.Head {
		return s, errors.New("the old life's last checkpoint is another one than its retirement names")
	}
	s.Forked = *forked
	return s, e.sign(old, dir, &s, c)
}

// sign has both keys sign that one life succeeds the other.
func (e *Engine) sign(old, dir string, s *Succeeded, c SuccessionConfig) error {
	over, ok, err := ReadRetirement(old)
	if err == nil && !ok {
		err = fmt.Errorf("the agent in %s is not retired", old)
	}
	if err != nil {
		return err
	}
	s.Old = over
	var oldKey crypto.Signer = c.Old
	if c.Old == nil {
		if oldKey, err = e.config.Keys.Key(old); err != nil {
			return err
		}
	}
	newKey, err := (fileKeys{}).Key(dir)
	if err != nil {
		return err
	}
	genesis, err := firstOf(dir, over, old)
	if err != nil {
		return err
	}
	statement := said.Succession{Old: over.Agent, New: verifier.PublicKey(newKey.Public().(ed25519.PublicKey)), Head: over.Head, Tick: over.Tick, Genesis: genesis}
	message := statement.AppendMessage(nil)
	for _, by := range []struct {
		key crypto.Signer
		to  *[64]byte
	}{{oldKey, &statement.OldSignature}, {newKey, &statement.NewSignature}} {
		signature, err := by.key.Sign(nil, message, crypto.Hash(0))
		if err != nil {
			return err
		}
		copy(by.to[:], signature)
	}
	if !statement.Authentic() {
		return errors.New("a key is not the one of its life: the succession would not be valid")
	}
	if s.DID == "" {
		s.DID, s.Head, s.Origin, s.Checkpoint = statement.New.DID(), genesis, over.Agent.DID(), over.Head
	}
	if proof, err := os.ReadFile(filepath.Join(old, commitmentFile)); err == nil {
		if committedTo(proof, &statement) {
			if err := os.WriteFile(filepath.Join(dir, commitmentFile), proof, 0o644); err != nil {
				return err
			}
			s.Committed = true
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	name := filepath.Join(dir, successionFile)
	if err := os.WriteFile(name+".next", statement.Append(nil), 0o644); err != nil {
		return err
	}
	return os.Rename(name+".next", name)
}

// firstOf returns the genesis of a life, which has to begin where the old one ended.
func firstOf(dir string, over Retirement, old string) (verifier.Hash, error) {
	var ends, begins verifier.Checkpoint
	var genesis verifier.Hash
	for b, err := range store.After(old, max(over.Tick, 1)-1, over.Tick == 0) {
		if err != nil {
			return genesis, err
		}
		if sha256.Sum256(b) == over.Head {
			ends, _ = verifier.Parse(b)
			break
		}
	}
	for b, err := range store.After(dir, 0, true) {
		if err != nil {
			return genesis, err
		}
		genesis = sha256.Sum256(b)
		if begins, err = verifier.Parse(b); err != nil {
			return genesis, err
		}
		break
	}
	if ends.Version == 0 || begins.Version == 0 || !begins.PrevHash.IsZero() || begins.TickNumber != ends.TickNumber || !bytes.Equal(begins.State, ends.State) {
		return genesis, fmt.Errorf("the life in %s does not begin where that in %s ended", dir, old)
	}
	return genesis, nil
}

// committedTo reports whether a proof is one of a commitment to that succession.
func committedTo(proof []byte, s *said.Succession) bool {
	p, err := said.ParseProof(proof)
	if err != nil {
		return false
	}
	c, err := said.ParseCommitment(p.Extra)
	return err == nil && c.Agent == s.Old && c.Successor == said.CommitTo(s.New) && c.Authentic()
}

// Commit has an agent's key commit to its successor's, and keeps the proof that this was
// logged in the agent's folder.
func Commit(ctx context.Context, dir string, key crypto.Signer, successor verifier.PublicKey, log HeadLog) ([]byte, error) {
	c := said.Commitment{Agent: verifier.PublicKey(key.Public().(ed25519.PublicKey)), Successor: said.CommitTo(successor)}
	signature, err := key.Sign(nil, c.AppendMessage(nil), crypto.Hash(0))
	if err != nil {
		return nil, err
	}
	copy(c.Signature[:], signature)
	proof, err := log.Add(ctx, c.Append(nil))
	if err != nil {
		return nil, err
	}
	name := filepath.Join(dir, commitmentFile)
	if err := os.WriteFile(name+".next", proof, 0o644); err != nil {
		return nil, err
	}
	return proof, os.Rename(name+".next", name)
}
