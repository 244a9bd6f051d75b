package runtime

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"

	"igor.dev/authority"
	"igor.dev/runtime/internal/eventlog"
	"igor.dev/runtime/internal/hint"
	"igor.dev/runtime/internal/journal"
	"igor.dev/runtime/internal/receipt"
	"igor.dev/runtime/internal/store"
	"igor.dev/runtime/internal/wal"
	"igor.dev/verifier"
	receipts "igor.dev/verifier/receipt"
)

// A RestoreConfig says of what an agent's folder is made anew.
type RestoreConfig struct {
	Home *Home
	Key  ed25519.PrivateKey // the agent's

	// Node is the key of the node that goes on with the agent: it takes it over from
	// another one, if Home.TakeOver says so.
	Node ed25519.PrivateKey
}

// A Restored is a folder that was made anew.
type Restored struct {
	DID      string
	Tick     uint64 // of the newest checkpoint
	Head     verifier.Hash
	Position authority.Position
	Taken    bool // over, from another node
}

// Restore makes the folder of an agent, in dir, which has to be absent or empty, of what
// its home has and of its key, and of nothing else. What is there has to come to what the
// agent's position says, hash by hash. The life goes on from what was appended.
func Restore(ctx context.Context, dir string, c RestoreConfig) (r Restored, err error) {
	agent := verifier.PublicKey(c.Key.Public().(ed25519.PublicKey))
	r.DID = agent.DID()
	node := verifier.PublicKey(c.Node.Public().(ed25519.PublicKey))
	p, err := c.position(ctx, agent, node)
	if err != nil {
		return r, err
	}
	var left remains
	for tried := 1; ; tried++ {
		if left, err = gather(ctx, c.Home, agent, p, c.Key); err == nil {
			break
		}
		// What a position names is kept until the next one: where there is one by now, this
		// one's is no concern of anybody's.
		now, readErr := c.position(ctx, agent, node)
		switch {
		case readErr != nil:
			return r, errors.Join(err, readErr)
		case now == p:
			return r, err
		case tried == restoreTries:
			return r, &conflictError{hint.Wrap(fmt.Errorf("the agent went on while its folder was made: it is at append %d, by %s", now.Sequence, now.Owner.DID()), "try again when nobody lives it")}
		}
		p = now
	}
	if left.key, err = store.EncodeKey(c.Key); err != nil {
		return r, err
	}
	if err := left.write(dir, c.Home.Name); err != nil {
		return r, err
	}
	if p.Owner != node {
		h := home{given: c.Home, agent: agent, key: c.Key, owner: node, log: slog.New(slog.DiscardHandler)}
		err := h.open(journal.Epoch{})
		if err == nil {
			err = h.claim(p)
		}
		if err != nil {
			// All of it is in the home, and the key is the caller's. A folder that must not be
			// lived would only be in the way of the next attempt.
			return r, errors.Join(err, os.RemoveAll(dir))
		}
		p, r.Taken = h.at, true
	}
	r.Tick, r.Head, r.Position = left.checkpoint.TickNumber, p.Head, p
	return r, nil
}

// restoreTries is how often a folder is begun anew because the agent went on meanwhile.
const restoreTries = 3

// position returns the agent's position, if a folder may be made of that.
func (c *RestoreConfig) position(ctx context.Context, agent, node verifier.PublicKey) (authority.Position, error) {
	p, err := c.Home.Authority.Read(ctx, agent)
	switch {
	case errors.Is(err, authority.ErrNone):
		return p, hint.Wrap(fmt.Errorf("%s: %w there", agent.DID(), err), "name the store in which it was last, with --store")
	case err != nil:
		return p, err
	case p.State == authority.Retired:
		if guarded, ok := c.Home.Authority.(authority.Signing); ok {
			if signed, err := guarded.SignedBy(c.Key, nil); err == nil {
				return p, goneTo(ctx, c.Home, signed, agent)
			}
		}
		return p, ErrRetired
	case p.State == authority.Recovery:
		return p, inConflict(&authority.Conflict{Have: p})
	case p.Owner != node && !c.Home.TakeOver:
		return p, hint.Wrap(inConflict(&authority.Conflict{Have: p}), "if that node is gone for good: --take-over")
	}
	return p, nil
}

// gather has the replicas give what a position names, and holds it against the position.
// Each of them is begun with, until that comes to it: one may have damaged what others have
// whole.
func gather(ctx context.Context, h *Home, agent verifier.PublicKey, p authority.Position, key ed25519.PrivateKey) (left remains, err error) {
	var errs []error
	for first := range max(1, len(h.Replicas.Places)) {
		rest, err := p.Gather(h.Replicas.Versions(ctx, agent, p, first))
		if err == nil {
			if left, err = fetched(rest).assemble(p, key); err == nil {
				return left, nil
			}
			err = fmt.Errorf("what the agent's home has does not come to its position: %w", err)
		}
		if !slices.ContainsFunc(errs, func(e error) bool { return e.Error() == err.Error() }) {
			errs = append(errs, err)
		}
		if ctx.Err() != nil {
			break
		}
	}
	return left, errors.Join(errs...)
}

// fetched are the blobs that a position names.
type fetched map[authority.Name]authority.Blob

// chain returns the data of a blob and of those that it continues, the first one first.
func (f fetched) chain(kind authority.Kind, last verifier.Hash) (all [][]byte) {
	for at := last; !at.IsZero(); {
		b := f[authority.Name{Kind: kind, Hash: at}]
		all = append(all, b.Data)
		at = b.Before
	}
	slices.Reverse(all)
	return all
}

// remains are what a successor goes on from.
type remains struct {
	key        []byte
	signed     []byte // the newest checkpoint
	checkpoint verifier.Checkpoint
	wasm, man  []byte
	segment    []byte
	payloads   []authority.Blob
	records    [][]byte // of the journal
	genesis    verifier.Hash
	payments   []receipts.Receipt // of wallet_pay, and on chains
}

// assemble signs again what was signed, and holds everything against the position.
func (f fetched) assemble(p authority.Position, key ed25519.PrivateKey) (r remains, err error) {
	sign := func(message []byte) ([]byte, error) { return key.Sign(nil, message, crypto.Hash(0)) }

	message := f[authority.Name{Kind: authority.Checkpoint, Hash: p.Head}].Data
	if len(message) < checkpointSignature {
		return r, errors.New("the checkpoint is cut short")
	}
	signature, err := sign(message)
	if err != nil {
		return r, err
	}
	r.signed = slices.Concat(message[:checkpointSignature], signature, message[checkpointSignature:])
	if sha256.Sum256(r.signed) != p.Head {
		return r, errors.New("the checkpoint is another one, or of another agent")
	}
	if r.checkpoint, err = verifier.Parse(r.signed); err != nil {
		return r, err
	}

	r.segment = bytes.Join(f.chain(authority.Log, p.Log), nil)
	if sha256.Sum256(r.segment) != p.Log {
		return r, errors.New("the event log is another one")
	}
	header, err := eventlog.NewReader(bytes.NewReader(r.segment)).Header()
	if err != nil {
		return r, err
	}
	if header.Prev != p.Head {
		return r, errors.New("the event log comes after another checkpoint")
	}
	for _, part := range []struct {
		kind authority.Kind
		hash verifier.Hash
		to   *[]byte
	}{{authority.Program, header.WASM, &r.wasm}, {authority.Manifest, header.Manifest, &r.man}} {
		b, ok := f[authority.Name{Kind: part.kind, Hash: part.hash}]
		if !ok {
			return r, fmt.Errorf("the %s is missing", part.kind)
		}
		*part.to = b.Data
	}
	for name, b := range f {
		if name.Kind == authority.Payload {
			r.payloads = append(r.payloads, b)
		}
	}

	err = unframe(f.chain(authority.Journal, p.Journal), func(b []byte) error {
		record, err := journal.Signed(b, sign)
		r.records = append(r.records, record)
		return err
	})
	if err != nil {
		return r, fmt.Errorf("the journal: %w", err)
	}
	head, life, err := journal.HeadOf(r.records)
	switch {
	case err != nil:
		return r, err
	case head != p.Journal || life.Agent != r.checkpoint.AgentPubKey:
		return r, errors.New("the journal is another one")
	}
	r.genesis = life.Genesis

	var paid verifier.Hash
	err = unframe(f.chain(authority.Paid, p.Paid), func(b []byte) error {
		signature, err := sign(b)
		if err != nil {
			return err
		}
		whole := slices.Concat(b, signature)
		got, size, err := receipts.Parse(whole)
		if err != nil {
			return err
		}
		if _, ok := got.(*receipts.Execution); ok || size != len(whole) {
			return errors.New("it is no payment receipt")
		}
		paid = authority.ChainPaid(paid, whole)
		r.payments = append(r.payments, got)
		return nil
	})
	if err == nil && paid != p.Paid {
		err = errors.New("they are others")
	}
	if err != nil {
		return r, fmt.Errorf("the payment receipts: %w", err)
	}
	return r, nil
}

// unframe calls each with the pieces that have their length before them.
func unframe(parts [][]byte, each func([]byte) error) error {
	for b := bytes.Join(parts, nil); len(b) > 0; {
		if len(b) < 4 || uint64(binary.LittleEndian.Uint32(b)) > uint64(len(b)-4) {
			return errors.New("a piece is cut short")
		}
		size := binary.LittleEndian.Uint32(b)
		if err := each(b[4 : 4+size : 4+size]); err != nil {
			return err
		}
		b = b[4+size:]
	}
	return nil
}

// write makes the folder.
func (r *remains) write(dir, home string) error {
	begins := store.Beginning{Genesis: r.genesis, Checkpoint: sha256.Sum256(r.signed)}
	return store.Restore(dir, &store.Parts{WASM: r.wasm, Manifest: r.man, Key: r.key, Checkpoint: r.signed, Begins: begins}, func(s *store.Store) error {
		segments, payloads, _, err := s.Events()
		if err != nil {
			return err
		}
		put := func(folder wal.Folder, name string, content []byte) error {
			return wal.WriteFile(folder, ".next", name, bytes.NewReader(content), false)
		}
		if home != "" {
			if err := s.SetHome(store.Home{Name: home, Known: true}); err != nil {
				return err
			}
		}
		for _, p := range r.payloads {
			if err := put(payloads, p.Hash.String(), p.Data); err != nil {
				return err
			}
		}
		if err := put(segments, eventlog.FileName(r.checkpoint.TickNumber+1), r.segment); err != nil {
			return err
		}
		if err := journal.Restore(s.Folder(), r.records); err != nil {
			return err
		}
		isOnchain := func(p receipts.Receipt) bool { _, is := p.(*receipts.Onchain); return is }
		err = writeReceipts(s.Folder(), receipt.Name, r.payments, func(p receipts.Receipt) bool { return !isOnchain(p) })
		if err == nil && slices.ContainsFunc(r.payments, isOnchain) {
			err = writeReceipts(s.Folder(), receipt.Onchain, r.payments, isOnchain)
		}
		return err
	})
}

func writeReceipts(folder wal.Folder, name string, all []receipts.Receipt, are func(receipts.Receipt) bool) error {
	file, err := receipt.Open(folder, name, nil)
	if err != nil {
		return err
	}
	for _, p := range all {
		if !are(p) {
			continue
		}
		if err := file.Append(p); err != nil {
			return errors.Join(err, file.Close())
		}
	}
	return file.Close()
}
