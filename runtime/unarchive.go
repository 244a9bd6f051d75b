package runtime

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"

	"filippo.io/age"

	"igor.dev/archive"
	"igor.dev/authority"
	"igor.dev/runtime/internal/eventlog"
	"igor.dev/runtime/internal/hint"
	"igor.dev/runtime/internal/journal"
	"igor.dev/runtime/internal/pack"
	"igor.dev/runtime/internal/receipt"
	"igor.dev/runtime/internal/store"
	"igor.dev/runtime/internal/wal"
	"igor.dev/segment"
	"igor.dev/verifier"
	receipts "igor.dev/verifier/receipt"
)

// A RecoverConfig says of which archives an agent's folder is made anew.
type RecoverConfig struct {
	Agent      verifier.PublicKey
	Targets    []archive.Target
	Identities []age.Identity     // for what is encrypted
	Key        ed25519.PrivateKey // the agent's

	// WASM and Manifest are for archives that have none; nil = the archive's.
	WASM, Manifest []byte

	// An archive can be behind the life, and to go on from there would be a second future
	// of it. One of these has to say that it is not so, or that it is meant.

	// Home is where the agent's position is, which says where it goes on; nil = there is
	// none.
	Home *Home
	Node ed25519.PrivateKey // of the node that goes on, with Home

	// Head is the newest checkpoint that there ever was, as the operator knows.
	Head verifier.Hash

	// AcceptOldCopy goes on from what is there: all that the agent lived since is lost,
	// and its life is a fork wherever the other part is known.
	AcceptOldCopy bool
}

// A Recovered is a folder that was made of archives.
type Recovered struct {
	DID         string
	Tick        uint64 // of the newest checkpoint
	Head        verifier.Hash
	Checkpoints int // that the archives had
	Segments    int

	// Whole reports whether the history is there from the genesis on.
	Whole bool

	// Lost says what is not there that the agent had, for people.
	Lost []string
}

// Recover makes the folder of an agent, in dir, which has to be absent or empty, of what
// archives have of its life and of its key. Every byte is held against a hash or a
// signature. It refuses to go on from a checkpoint that nobody says is the newest.
func Recover(ctx context.Context, dir string, c RecoverConfig) (r Recovered, err error) {
	agent := verifier.PublicKey(c.Key.Public().(ed25519.PublicKey))
	if agent != c.Agent {
		return r, hint.Wrap(fmt.Errorf("the key is that of %s, and not of %s", agent.DID(), c.Agent.DID()), "give the agent's own key, a copy of the file key of its folder")
	}
	if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 {
		return r, hint.Wrap(fmt.Errorf("%s is not empty", dir), "name a new folder")
	}
	r.DID = agent.DID()
	tmp, release, err := store.TempBeside(dir)
	if err != nil {
		return r, err
	}
	defer release()
	fetch := archive.Fetch{Targets: c.Targets, Agent: agent, Identities: c.Identities, Segment: func(cut archive.Cut, b []byte) error {
		return os.WriteFile(filepath.Join(tmp, fmt.Sprint(cut.N)), b, 0o600)
	}}
	found, err := fetch.Life(ctx)
	if missing, ok := errors.AsType[*archive.MissingError](err); ok {
		if errors.Is(missing, archive.ErrSealed) {
			return r, hint.Wrap(missing, "--identity FILE has the age identity that belongs to its --archive-recipient")
		}
		return r, hint.Wrap(missing, "name more archives with --from: another one may have it whole")
	}
	if errors.Is(err, archive.ErrNotFound) {
		return r, hint.Wrap(fmt.Errorf("no archive has anything of %s", agent.DID()), "name the targets that igor run had with --archive")
	}
	if err != nil {
		return r, err
	}
	checkpoints := segmentsIn(tmp, found.Cuts)
	for i := range found.Cuts {
		r.Checkpoints += found.Cuts[i].Checkpoints
	}
	r.Segments, r.Whole = len(found.Cuts), true
	if c.Home != nil {
		err = r.withHome(ctx, dir, &c, found, checkpoints)
	} else {
		err = r.alone(dir, &c, found, checkpoints)
	}
	if err == nil {
		read := archive.Read{2: found.Cuts[len(found.Cuts)-1].Read[2]}
		if len(found.Events) > 0 {
			read[2] = int64(found.Last().Last) + 1
		}
		read[0], read[1] = sizeOf(dir, receipt.Name), sizeOf(dir, receipt.Onchain)
		err = found.Restore(dir, read)
	}
	return r, err
}

func sizeOf(dir, name string) int64 {
	info, err := os.Stat(filepath.Join(dir, name))
	if err != nil {
		return 0
	}
	return info.Size()
}

// segmentsIn yields the checkpoints of the segments in a folder.
func segmentsIn(dir string, cuts []archive.Cut) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		for i := range cuts {
			f, err := os.Open(filepath.Join(dir, fmt.Sprint(i)))
			if err != nil {
				yield(nil, err)
				return
			}
			_, err = segment.Read(f, func(b []byte, _ *verifier.Finding) error {
				if !yield(b, nil) {
					return errEnough
				}
				return nil
			})
			f.Close()
			if errors.Is(err, errEnough) {
				return
			}
			if err != nil {
				yield(nil, err)
				return
			}
		}
	}
}

var errEnough = errors.New("enough")

// withHome makes the folder of what the agent's home has, and puts the history back.
func (r *Recovered) withHome(ctx context.Context, dir string, c *RecoverConfig, found *archive.Found, checkpoints iter.Seq2[[]byte, error]) error {
	p, err := c.Home.Authority.Read(ctx, c.Agent)
	if err != nil && !errors.Is(err, authority.ErrNone) {
		return err
	}
	last := found.Last()
	if err == nil {
		if newer, err := goesOnAfter(checkpoints, p.Head, last); err != nil {
			return err
		} else if newer {
			return &conflictError{hint.Wrap(fmt.Errorf("the archive goes on after the checkpoint that the store knows (%s, and it has %s): the store lost data", p.Head.CID(), last.Root.CID()),
				"restore the store from a copy; the agent must not live on from there")}
		}
	}
	restored, err := Restore(ctx, dir, RestoreConfig{Home: c.Home, Key: c.Key, Node: c.Node})
	if err != nil {
		return err
	}
	r.Tick, r.Head = restored.Tick, restored.Head
	s, err := store.Open(dir)
	if err != nil {
		return err
	}
	defer s.Close()
	newest, err := s.Checkpoint(restored.Tick)
	if err != nil {
		return err
	}
	n, err := verifier.Parse(newest)
	if err != nil {
		return err
	}
	r.Whole = last.Root == restored.Head || last.Root == n.PrevHash
	if !r.Whole {
		r.Lost = append(r.Lost, fmt.Sprintf("the checkpoints after tick %d and before tick %d, which the archive does not have", last.Last, restored.Tick))
	}
	return s.PutBack(checkpoints, r.Whole)
}

// goesOnAfter reports whether a checkpoint is in a history, and not its last.
func goesOnAfter(checkpoints iter.Seq2[[]byte, error], head verifier.Hash, last *archive.Cut) (bool, error) {
	if head == last.Root {
		return false, nil
	}
	for b, err := range checkpoints {
		if err != nil {
			return false, err
		}
		if sha256.Sum256(b) == head {
			return true, nil
		}
	}
	return false, nil
}

// alone makes the folder of what the archive has alone.
func (r *Recovered) alone(dir string, c *RecoverConfig, found *archive.Found, checkpoints iter.Seq2[[]byte, error]) error {
	last := found.Last()
	r.Tick, r.Head = last.Last, last.Root
	part := func(p archive.Part) bool { return found.Statement != nil && !found.Statement.Parts[p].IsZero() }
	const lost = "all that the agent lived since is lost, what it did outside may be done again, and its life is a fork wherever the other part is known"
	switch {
	case part(archive.Retirement):
		return ErrRetired
	case c.AcceptOldCopy:
	case part(archive.Home):
		return hint.Wrap(&conflictError{errors.New("where this agent goes on is not for the archive to say: its home is a store, which may know newer checkpoints")},
			"name the store: --store STORE. If it is lost for good: --accept-old-copy; then %s", lost)
	case c.Head.IsZero():
		return hint.Wrap(&conflictError{fmt.Errorf("the archive ends with the checkpoint %s of tick %d, and nobody says that this was the last one", last.Root.CID(), last.Last)},
			"if it was (igor status, a receipt or a log says so): --head %s. If the agent lived on, and nothing else of it is left: --accept-old-copy; then %s", last.Root.CID(), lost)
	case c.Head != last.Root:
		newer, err := goesOnAfter(checkpoints, c.Head, last)
		if err != nil {
			return err
		}
		if newer {
			return &conflictError{hint.Wrap(fmt.Errorf("the archive goes on after the checkpoint %s: it ends with %s of tick %d", c.Head.CID(), last.Root.CID(), last.Last),
				"name the newest checkpoint with --head")}
		}
		return &conflictError{hint.Wrap(fmt.Errorf("the archive does not have the checkpoint %s: it ends with %s of tick %d", c.Head.CID(), last.Root.CID(), last.Last),
			"name more archives with --from. If nothing else of the life is left: --accept-old-copy; then %s", lost)}
	case !found.Whole():
		err := errors.Join(found.Lacks...)
		if err == nil {
			err = errors.New("it has no statement of what goes with its last checkpoint")
		}
		return hint.Wrap(fmt.Errorf("the archive does not have all that a successor needs: %w", err),
			"name more archives with --from. If nothing else of the life is left: --accept-old-copy; then %s", lost)
	}
	wasm, man := c.WASM, c.Manifest
	if wasm == nil {
		wasm = found.Parts[archive.Program]
	}
	if wasm == nil {
		return hint.Wrap(errors.New("the archive does not have the agent's program"), "give it with --wasm: its SHA-256 is %s", last.Program)
	}
	if sha256.Sum256(wasm) != last.Program {
		return hint.Wrap(errors.New("the program is not the one of the newest checkpoint"), "give the one whose SHA-256 is %s, with --wasm", last.Program)
	}
	if man == nil {
		man = found.Parts[archive.Manifest]
	}
	if man == nil {
		return hint.Wrap(errors.New("the archive does not have the agent's manifest"), "give it with --manifest")
	}
	if _, err := embody(wasm, man); err != nil {
		return fmt.Errorf("the agent's program and manifest: %w", err)
	}
	key, err := store.EncodeKey(c.Key)
	if err != nil {
		return err
	}
	return store.RestoreArchived(dir, &store.RecoverParts{WASM: wasm, Manifest: man, Key: key}, func(s *store.Store) error {
		if err := s.PutBack(checkpoints, true); err != nil {
			return err
		}
		report, err := store.Verify(context.Background(), filepath.Join(s.Path(), store.DirHistory)) // by the usual rules
		if err != nil {
			return err
		}
		if head, _ := report.Head(); report.Verdict() != verifier.Verified || head != r.Head {
			return store.Refusal("what the archive has", report)
		}
		genesis, err := genesisOf(checkpoints)
		if err != nil {
			return err
		}
		if err := r.journal(s, c, found, genesis); err != nil {
			return err
		}
		if err := r.receipts(s, found); err != nil {
			return err
		}
		return r.events(s, found)
	})
}

func genesisOf(checkpoints iter.Seq2[[]byte, error]) (h verifier.Hash, err error) {
	for b, err := range checkpoints {
		return sha256.Sum256(b), err
	}
	return h, errors.New("there is no checkpoint")
}

// journal makes the journal.
func (r *Recovered) journal(s *store.Store, c *RecoverConfig, found *archive.Found, genesis verifier.Hash) error {
	life, at := journal.Life{Agent: c.Agent, Genesis: genesis}, journal.Base{Tick: r.Tick, Hash: r.Head}
	records := journal.Without(life, at)
	switch framed := found.Parts[archive.Journal]; {
	case framed == nil:
		r.Lost = append(r.Lost, "the side effects that were not over: the archive does not have the journal, and what they held is gone")
	case found.Statement.Head != r.Head:
		r.Lost = append(r.Lost, fmt.Sprintf("the side effects that were not over: the archive has the journal of tick %d", found.Statement.Tick))
	default:
		sign := func(message []byte) ([]byte, error) { return c.Key.Sign(nil, message, crypto.Hash(0)) }
		records = nil
		err := unframe([][]byte{framed}, func(b []byte) error {
			record, err := journal.Signed(b, sign)
			records = append(records, record)
			return err
		})
		if err != nil {
			return fmt.Errorf("the journal: %w", err)
		}
		whose, base, err := journal.LifeOf(records)
		if err != nil {
			return err
		}
		if whose != life || base != at {
			return errors.New("the journal is of another life, or another checkpoint")
		}
	}
	if err := journal.Restore(s.Folder(), records); err != nil {
		return err
	}
	j, err := journal.Open(s.Folder(), life, r.Tick)
	if err != nil {
		return err
	}
	return j.Close()
}

// receipts makes the files of receipts.
func (r *Recovered) receipts(s *store.Store, found *archive.Found) error {
	for p, name := range map[archive.Part]string{archive.Receipts: receipt.Name, archive.Onchain: receipt.Onchain} {
		content := found.Parts[p]
		if content == nil {
			continue
		}
		var all []receipts.Receipt
		reader := receipts.NewReader(bytes.NewReader(content))
		for {
			got, err := reader.Next()
			if err != nil {
				break
			}
			all = append(all, got)
		}
		if reader.Offset() != int64(len(content)) {
			r.Lost = append(r.Lost, "receipts: what the archive has of the file "+name+" is damaged after byte "+fmt.Sprint(reader.Offset()))
		}
		if err := writeReceipts(s.Folder(), name, all, func(receipts.Receipt) bool { return true }); err != nil {
			return err
		}
	}
	return nil
}

// events puts the event log back, as far as the archive has it.
func (r *Recovered) events(s *store.Store, found *archive.Found) error {
	segments, payloads, _, err := s.Events()
	if err != nil {
		return err
	}
	put := func(folder wal.Folder, name string, from io.ReaderAt, size int64) error {
		err := wal.WriteFile(folder, ".next", name, io.NewSectionReader(from, 0, size), false)
		if errors.Is(err, fs.ErrExist) {
			err = nil // a payload that several name
		}
		return err
	}
	for _, b := range found.Events {
		p, err := pack.Open(bytes.NewReader(b), int64(len(b)))
		if err == nil {
			err = p.Check()
		}
		if err != nil {
			return fmt.Errorf("the event log: %w", err)
		}
		for _, hash := range p.Payloads() {
			f, size, err := p.Payload(hash)
			if err == nil {
				err = put(payloads, hash.String(), f, size)
			}
			if err != nil {
				return err
			}
		}
		for _, first := range p.Ticks() {
			f, size, err := p.Segment(first)
			if err == nil {
				err = put(segments, eventlog.FileName(first), f, size)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}
