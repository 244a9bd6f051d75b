package runtime

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"log/slog"
	"time"

	"igor.dev/authority"
	"igor.dev/runtime/internal/eventlog"
	"igor.dev/runtime/internal/failpoint"
	"igor.dev/runtime/internal/journal"
	"igor.dev/verifier"
)

// A Home is where it is decided who lives an agent, and where what a successor needs is
// kept: docs/spec/position.md. An agent without one has its home in its folder.
type Home struct {
	Authority authority.Authority
	Replicas  authority.Replicas

	// Name is what the agent's folder calls it: a later run finds it by that
	// ([EngineConfig.Homes]). "" = every run has to be given it.
	Name string

	// Node is the key of the node that lives the agent, zero = the engine's.
	Node verifier.PublicKey

	// AppendLimit is how long one append may take, with what is kept for it; 0 = 30 s.
	// The run ends when it is over.
	AppendLimit time.Duration

	// TakeOver goes on with an agent that another node owns, which is gone.
	TakeOver bool
}

const defaultAppendLimit = 30 * time.Second

// A home is a life's way to its authority. Whatever may become public goes through it
// first: what is durable here is kept by the replicas, and then appended. It is used by
// one goroutine at a time: the life's own, or the one that makes a group of checkpoints
// durable, for which the life waits before it appends anything.
type home struct {
	given  *Home // nil: the folder is the home
	agent  verifier.PublicKey
	key    crypto.Signer // the agent's
	owner  verifier.PublicKey
	writer authority.WriterID
	log    *slog.Logger

	authority authority.Authority
	guarded   authority.Signing       // nil: whoever can write the home is trusted
	terms     func() *authority.Terms // who else may go on; nil = nobody is told
	termsOf   verifier.Hash           // the manifest whose terms are told
	seen      remembered
	known     func() error       // called when the home knows of the agent
	at        authority.Position // that this process appended, or found
	epoch     journal.Epoch      // under which the next segment begins
	left      bool               // at says that the home is another one now
	due       verifier.Hash      // a checkpoint that was appended, and that the folder has to come to first

	// How far the replicas have what is to be kept.
	segment  segmentMark
	journal  journalMark
	paid     paidMark
	programs map[verifier.Hash]bool // in this run, manifests too
}

// A segmentMark is how far replicas have the open segment.
type segmentMark struct {
	prev     verifier.Hash // the checkpoint before it
	name     verifier.Hash
	offset   int64
	payloads int
	pieces   int
	hash     hash.Hash // of so much of it
}

type journalMark struct {
	name     verifier.Hash
	offset   int64
	rewrites int
	pieces   int
}

type paidMark struct {
	name verifier.Hash
	n    int
}

// remote reports whether the home is another one than the folder.
func (h *home) remote() bool { return h.given != nil }

// open opens the way. The folder's own epoch is that of what is found in it.
func (h *home) open(found journal.Epoch) error {
	if h.remote() && h.owner == (verifier.PublicKey{}) {
		return errors.New("an agent whose home is not its folder is lived by a node with a key, and there is none")
	}
	if h.known == nil {
		h.known = func() error { return nil }
	}
	rand.Read(h.writer[:])
	h.epoch, h.programs = found, map[verifier.Hash]bool{}
	if h.authority = authority.NewFolder(h.agent, authority.Position{}); h.given != nil {
		h.authority = h.given.Authority
		h.guarded, _ = h.authority.(authority.Signing)
	}
	return h.sign()
}

// sign has the home take what the agent signs, under the terms of its manifest.
func (h *home) sign() (err error) {
	if h.guarded == nil {
		return nil
	}
	var terms *authority.Terms
	if h.terms != nil {
		terms = h.terms()
		h.termsOf = terms.Manifest
	}
	h.authority, err = h.guarded.SignedBy(h.key, terms)
	return err
}

// mayTry waits until this process may try, as far as its lease goes.
func (h *home) mayTry(ctx context.Context) error {
	if h.guarded == nil || h.guarded.Held() == nil {
		return nil
	}
	h.log.Warn("waiting: the agent's home was not reached, and others may take over")
	return h.guarded.WaitHeld(ctx)
}

// mayStart is mayTry before a tick begins.
func (h *home) mayStart() error {
	if h.guarded == nil || h.guarded.Held() == nil {
		return nil
	}
	ctx, done := h.within()
	defer done()
	return h.mayTry(ctx)
}

// mayAct makes sure, after an append, that nobody had the time to take over since: a
// process that stood still between the two asks once more before it acts.
func (h *home) mayAct(ctx context.Context) error {
	for h.guarded != nil && h.guarded.Held() != nil {
		if err := h.mayTry(ctx); err != nil {
			return err
		}
		p, err := h.authority.Read(ctx, h.agent)
		if err != nil {
			return err
		}
		if p != h.at {
			return inConflict(&authority.Conflict{Have: p})
		}
	}
	return nil
}

// under takes notice of the epoch of a segment that was begun before.
func (h *home) under(segment eventlog.Header) {
	if segment.MajorVersion > h.epoch.MajorVersion || segment.MajorVersion == h.epoch.MajorVersion && segment.LeaseGeneration > h.epoch.LeaseGeneration {
		h.epoch = journal.Epoch{MajorVersion: segment.MajorVersion, LeaseGeneration: segment.LeaseGeneration}
	}
}

// within returns a context for one append.
func (h *home) within() (context.Context, context.CancelFunc) {
	limit := defaultAppendLimit
	if h.given != nil && h.given.AppendLimit > 0 {
		limit = h.given.AppendLimit
	}
	return context.WithTimeout(context.Background(), limit)
}

// find reads the agent's position, and says whether there is one.
func (h *home) find() (p authority.Position, ok bool, err error) {
	if !h.remote() {
		return p, false, nil
	}
	ctx, done := h.within()
	defer done()
	for wait := 20 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		p, err = h.authority.Read(ctx, h.agent)
		switch {
		case err == nil:
			return p, true, h.seen.check(p)
		case errors.Is(err, authority.ErrNone):
			return p, false, h.seen.check(p)
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return p, false, fmt.Errorf("the agent's home cannot be reached: %w", err)
		}
	}
}

// claim has this process go on from a position that was found.
func (h *home) claim(p authority.Position) error {
	next := p
	next.Sequence, next.State, next.Writer, next.Record = p.Sequence+1, authority.Active, h.writer, verifier.Hash{}
	switch {
	case p.State == authority.Retired:
		return ErrRetired
	case p.State == authority.Recovery, p.Owner != h.owner && !h.given.TakeOver:
		return inConflict(&authority.Conflict{Have: p})
	case p.Owner != h.owner:
		next.Owner, next.Generation = h.owner, p.Generation+1
	}
	ctx, done := h.within()
	defer done()
	if err := h.mayTry(ctx); err != nil {
		return err
	}
	if err := authority.Settle(ctx, h.authority, h.agent, p, next); err != nil {
		return h.lost(err)
	}
	failpoint.Reach(failpoint.PositionAppended)
	h.at, h.epoch = next, journal.Epoch{MajorVersion: next.Major, LeaseGeneration: next.Generation}
	if err := h.remember(&p); err != nil {
		return err
	}
	return h.known()
}

// append has what is named by the next position kept, and appends it.
func (h *home) append(next authority.Position, blobs []authority.Blob) error {
	next.Sequence, next.Owner, next.Writer = h.at.Sequence+1, h.owner, h.writer
	next.Major, next.Generation = h.epoch.MajorVersion, h.epoch.LeaseGeneration
	ctx, done := h.within()
	defer done()
	if h.remote() {
		if err := h.mayTry(ctx); err != nil {
			return err
		}
		if err := h.keep(ctx, next.Sequence, blobs); err != nil {
			return err
		}
		if h.terms != nil && h.guarded != nil && h.terms().Manifest != h.termsOf {
			if err := h.sign(); err != nil {
				return err
			}
		}
	}
	failpoint.Reach(failpoint.PositionKept)
	if err := authority.Settle(ctx, h.authority, h.agent, h.at, next); err != nil {
		return h.lost(err)
	}
	failpoint.Reach(failpoint.PositionAppended)
	first := h.at.IsZero()
	h.at = next
	if err := h.remember(nil); err != nil {
		return err
	}
	if first {
		if err := h.known(); err != nil {
			return err
		}
	}
	return h.mayAct(ctx)
}

// lost is what an append's error means: where the home has an older position than this
// node knows, it is the home that is wrong.
func (h *home) lost(err error) error {
	if c, ok := errors.AsType[*authority.Conflict](err); ok {
		if lost := h.seen.check(c.Have); lost != nil {
			return lost
		}
	}
	return inConflict(err)
}

// keep has the replicas keep blobs, and tries again while there is time.
func (h *home) keep(ctx context.Context, sequence uint64, blobs []authority.Blob) error {
	for wait := 20 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		err := h.given.Replicas.Put(ctx, h.agent, sequence, blobs...)
		if err == nil {
			return nil
		}
		if r, ok := errors.AsType[*authority.Refusal](err); ok && r.Code == authority.NotOwner {
			// It is another node's by now: to ask again would not help.
			if p, err := h.given.Authority.Read(ctx, h.agent); err == nil && p.Owner != h.owner {
				return h.lost(&authority.Conflict{Have: p})
			}
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return fmt.Errorf("what an append names cannot be kept: %w", err)
		}
	}
}

// tidy lets the replicas drop what lost. What they do not hear now, they will later.
func (h *home) tidy() {
	if !h.remote() {
		return
	}
	ctx, done := h.within()
	defer done()
	if err := h.given.Replicas.Accept(ctx, h.agent, h.at); err != nil {
		h.log.Debug("a replica keeps more than it needs to", "error", err)
	}
}

// inConflict makes a conflict of the authority's one of this package's.
func inConflict(err error) error {
	if c, ok := errors.AsType[*authority.Conflict](err); ok {
		if c.Have.State == authority.Retired {
			return ErrRetired
		}
		return &conflictError{err}
	}
	if _, ok := errors.AsType[*authority.RuleError](err); ok {
		return &conflictError{err}
	}
	if _, ok := errors.AsType[*authority.Refusal](err); ok {
		return &conflictError{err}
	}
	return err
}

type conflictError struct{ error }

func (e *conflictError) Unwrap() []error { return []error{ErrConflict, e.error} }

// maxPiece is how much of a segment one blob has.
const maxPiece = 32 << 20

// maxNeeds is how many others one blob names. A test has fewer.
var maxNeeds = authority.MaxNeeds

// pieceSize is how much of so much data each piece has, so that the pieces can name so many
// others. What is named has more bytes in the data than a piece has of its own.
func pieceSize(data, needs int) int {
	pieces := max(1, (needs+maxNeeds-1)/maxNeeds)
	return min(maxPiece, max(1, data/pieces))
}

// maxPieces is how many pieces something is put in before it is put whole again: a successor
// takes no more than [authority.MaxChain] of them. A test has fewer.
var maxPieces = authority.MaxChain / 2

// logBlobs are what is new in the open segment.
func (h *home) logBlobs(b *body, log *eventlog.Log, w *eventlog.Writer, root verifier.Hash) (blobs []authority.Blob, err error) {
	mark := h.segment
	if mark.hash == nil || mark.prev != w.Header().Prev || mark.pieces >= maxPieces {
		mark = segmentMark{prev: w.Header().Prev, hash: sha256.New()}
	}
	data, err := w.Since(mark.offset)
	if err != nil {
		return nil, err
	}
	payloads := w.Payloads()
	var needs []authority.Name
	if mark.offset == 0 {
		blobs = h.programBlobs(b)
		needs = b.names()
	}
	for _, p := range payloads[mark.payloads:] {
		content, err := log.Payload(p)
		if err != nil {
			return nil, fmt.Errorf("event log: %w", err)
		}
		name := authority.Name{Kind: authority.Payload, Hash: p}
		needs = append(needs, name)
		blobs = append(blobs, authority.Blob{Name: name, Data: content})
	}
	size := pieceSize(len(data), len(needs))
	for len(data) > 0 {
		piece := authority.Blob{Before: mark.name, Data: data[:min(len(data), size)]}
		data = data[len(piece.Data):]
		mark.hash.Write(piece.Data)
		mark.offset += int64(len(piece.Data))
		mark.hash.Sum(mark.name[:0])
		piece.Name = authority.Name{Kind: authority.Log, Hash: mark.name}
		piece.Needs = needs[:min(len(needs), maxNeeds)]
		needs = needs[len(piece.Needs):]
		blobs = append(blobs, piece)
		mark.pieces++
	}
	mark.payloads = len(payloads)
	if mark.name != root {
		h.segment = segmentMark{} // nothing of it is known to be right
		return nil, errors.New("the event log's file does not have what was written to it")
	}
	h.segment = mark
	return blobs, nil
}

// beginningBlobs are a segment of which nothing counts yet but its header.
func (h *home) beginningBlobs(b *body, prev verifier.Hash, beginning []byte) []authority.Blob {
	mark := segmentMark{prev: prev, offset: int64(len(beginning)), hash: sha256.New()}
	mark.hash.Write(beginning)
	mark.hash.Sum(mark.name[:0])
	h.segment = mark
	piece := authority.Blob{Name: authority.Name{Kind: authority.Log, Hash: mark.name}, Needs: b.names(), Data: beginning}
	return append(h.programBlobs(b), piece)
}

// programBlobs are program and manifest, once in a run.
func (h *home) programBlobs(b *body) (blobs []authority.Blob) {
	for i, name := range b.names() {
		if !h.programs[name.Hash] {
			h.programs[name.Hash] = true
			blobs = append(blobs, authority.Blob{Name: name, Data: [][]byte{b.wasm, b.man}[i]})
		}
	}
	return blobs
}

// names are those of the program and of the manifest.
func (b *body) names() []authority.Name {
	return []authority.Name{{Kind: authority.Program, Hash: b.wasmHash}, {Kind: authority.Manifest, Hash: b.manHash}}
}

// journalBlobs are what is new in the journal.
func (h *home) journalBlobs(j *journal.Journal) ([]authority.Blob, error) {
	mark := h.journal
	if mark.rewrites != j.Rewrites() || mark.pieces >= maxPieces {
		mark = journalMark{rewrites: j.Rewrites()}
	}
	records, end, err := j.Since(mark.offset)
	if err != nil || len(records) == 0 {
		return nil, err
	}
	b := authority.Blob{Name: authority.Name{Kind: authority.Journal, Hash: j.Head()}, Before: mark.name}
	for _, r := range records {
		b.Data = appendFramed(b.Data, journal.Unsigned(r))
	}
	mark.name, mark.offset = j.Head(), end
	mark.pieces++
	h.journal = mark
	return []authority.Blob{b}, nil
}

// maxPaidPieces is how many payment receipts are blobs of their own before one blob has
// them together.
const maxPaidPieces = 256

// paidBlobs are the payment receipts that are new.
func (h *home) paidBlobs(all [][]byte) []authority.Blob {
	mark := h.paid
	if mark.n == len(all) {
		return nil
	}
	from, before := mark.n, mark.name
	if len(all)/maxPaidPieces > mark.n/maxPaidPieces {
		from = mark.n / maxPaidPieces * maxPaidPieces
		before = chainPaid(verifier.Hash{}, all[:from])
	}
	b := authority.Blob{Before: before}
	for _, r := range all[from:] {
		b.Data = appendFramed(b.Data, r[:len(r)-signatureSize])
	}
	h.paid = paidMark{chainPaid(mark.name, all[mark.n:]), len(all)}
	b.Name = authority.Name{Kind: authority.Paid, Hash: h.paid.name}
	return []authority.Blob{b}
}

func chainPaid(at verifier.Hash, all [][]byte) verifier.Hash {
	for _, r := range all {
		at = authority.ChainPaid(at, r)
	}
	return at
}

// unsigned is a checkpoint as replicas have it.
func unsigned(hash verifier.Hash, signed []byte) authority.Blob {
	data := append(signed[:checkpointSignature:checkpointSignature], signed[verifier.HeaderSize:]...)
	return authority.Blob{Name: authority.Name{Kind: authority.Checkpoint, Hash: hash}, Data: data}
}

const (
	signatureSize = 64

	// checkpointSignature is where in a checkpoint its signature is.
	checkpointSignature = verifier.HeaderSize - signatureSize
)

// appendFramed appends bytes with their length.
func appendFramed(dst, b []byte) []byte {
	dst = append(dst, byte(len(b)), byte(len(b)>>8), byte(len(b)>>16), byte(len(b)>>24))
	return append(dst, b...)
}
