package eventlog

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"

	"igor.dev/runtime/internal/account"
	"igor.dev/runtime/internal/wal"
	"igor.dev/verifier"
)

// A BadError says what is wrong with a segment: that is a verdict on it. Any other
// error of reading one is none.
type BadError struct{ err error }

func (e *BadError) Error() string { return e.err.Error() }

// Unwrap returns what is wrong.
func (e *BadError) Unwrap() error { return e.err }

// Bad reports whether an error of reading or verifying a segment says that something
// is wrong with it, a cost too, rather than that it could not be read.
func Bad(err error) bool {
	_, tail := errors.AsType[*wal.TailError](err)
	_, bad := errors.AsType[*BadError](err)
	_, cost := errors.AsType[*CostError](err)
	return bad || tail || cost
}

// Torn reports whether an error of reading a segment says that its last write was cut
// short, as where the life goes on, and nothing else.
func Torn(err error) bool {
	tail, ok := errors.AsType[*wal.TailError](err)
	return ok && tail.Torn
}

// ErrOpen says that a segment has no seal: nothing binds it to a checkpoint.
var ErrOpen = errors.New("the segment is not sealed")

// Verified is what a segment comes to that holds against its checkpoints.
type Verified struct {
	Header Header
	Totals
	Seal Seal
	Rest uint64 // of a microcent, in 1e-9, that is owed after it
}

// Verify holds a segment against the checkpoints before and after it, and returns
// what its records come to. prev is nil before the genesis. Both checkpoints have
// to be examined, and to be authentic; that they are one life is another
// question. It does not read payloads that are files of their own; that the
// segment is right, only running it again shows. Its error is a [*BadError], a
// [*wal.TailError] or a [*CostError], unless the segment could not be read.
func Verify(segment io.Reader, prev, next *verifier.Finding) (Verified, error) {
	v, err := verify(segment, prev, next)
	if err != nil {
		return Verified{}, err
	}
	return v, nil
}

func bad(format string, args ...any) error { return &BadError{fmt.Errorf(format, args...)} }

func verify(segment io.Reader, prev, next *verifier.Finding) (v Verified, err error) {
	var before verifier.Finding // the nothing that a genesis comes after
	if prev != nil {
		before = *prev
		if !prev.Authentic() {
			return v, bad("the checkpoint before the segment is not authentic")
		}
		if prev.AgentPubKey != next.AgentPubKey {
			return v, bad("the checkpoints before and after the segment are by different keys")
		}
	}
	switch {
	case !next.Authentic():
		return v, bad("the checkpoint after the segment is not authentic")
	case next.PrevHash != before.ContentHash:
		return v, bad("the segment's checkpoints do not follow one another")
	}
	r := NewReader(segment)
	h, err := r.Header()
	v.Header = h
	switch {
	case err != nil:
		return v, err
	case h.Prev != before.ContentHash:
		return v, bad("the segment comes after checkpoint %s, not %s", h.Prev, before.ContentHash)
	case h.WASM != next.WASMHash:
		return v, bad("the segment is of program %s, and its checkpoint of %s", h.WASM, next.WASMHash)
	case h.Version != Version1 && (h.MajorVersion != next.MajorVersion || h.LeaseGeneration != next.LeaseGeneration):
		return v, bad("the segment is of epoch %d, %d, and its checkpoint of %d, %d", h.MajorVersion, h.LeaseGeneration, next.MajorVersion, next.LeaseGeneration)
	}
	at := account.Account{Budget: before.Budget, Price: before.PricePerSecond, Rest: h.Rest}
	first, begun := before.TickNumber+1, uint64(0)
	for {
		record, err := r.Next()
		if err == io.EOF {
			break
		} else if err != nil {
			return v, err
		}
		if r.totals.Records == 1 {
			begun = record.Tick
		}
		if born := record.Kind == Account && record.Reason == Birth; born != (prev == nil && r.totals.Records == 1) {
			return v, bad("a birth is the first record of a life, and no other")
		}
		if h.Version != Version1 {
			if err := record.Apply(&at); err == errOverspent {
				return v, bad("tick %d: %w", record.Tick, err)
			} else if err != nil {
				return v, err
			}
		}
	}
	t := r.totals
	switch {
	case t.Origin != nil:
		first = next.TickNumber // a fork goes on with the ticks of its origin
	case prev == nil:
		first = 0
	}
	seal, sealed := r.Seal()
	program := h.WASM
	if t.Upgrade != nil {
		program = t.Upgrade.WASM
	}
	switch {
	case t.Records > 0 && begun != first:
		return v, bad("the segment begins with tick %d, not %d", begun, first)
	case !sealed:
		return v, &BadError{ErrOpen}
	case seal.Next != next.ContentHash:
		return v, bad("the segment was sealed for checkpoint %s, not %s", seal.Next, next.ContentHash)
	case !ed25519.Verify(next.AgentPubKey[:], seal.message(&h), seal.Signature[:]):
		return v, bad("the agent's key did not sign the segment")
	case !t.ended || t.Last != next.TickNumber || t.begun, h.Version == Version1 && t.tick != t.Last:
		return v, bad("the segment does not end with tick %d", next.TickNumber)
	case prev == nil && t.Upgrade != nil:
		return v, bad("a life that begins with an upgrade")
	case h.Version != Version1 && prev != nil && program != prev.WASMHash:
		return v, bad("the segment goes on from program %s, and the checkpoint before it is of %s", program, prev.WASMHash)
	case seal.StoredPrice > 0 && seal.Stored != uint64(r.end)+t.Files+uint64(next.Size):
		return v, bad("the footer is for %d bytes that are stored, and there are %d", seal.Stored, uint64(r.end)+t.Files+uint64(next.Size))
	case h.Version != Version1:
		if err := seal.Apply(&at, t.Last); err != nil {
			return v, err
		}
	}
	if err := t.seal(&seal); err != nil {
		return v, &BadError{err}
	}
	budget, err := t.Budget(before.Budget)
	price := before.PricePerSecond
	if t.Priced {
		price = t.Price
	}
	switch {
	case err != nil:
		return v, &BadError{err}
	case budget != next.Budget:
		return v, bad("the segment leaves a budget of %s, and its checkpoint has %s",
			verifier.FormatMicrocents(budget), verifier.FormatMicrocents(next.Budget))
	case price != next.PricePerSecond:
		return v, bad("the segment leaves a price of %s, and its checkpoint has %s",
			verifier.FormatMicrocents(price), verifier.FormatMicrocents(next.PricePerSecond))
	}
	v.Totals, v.Seal, v.Rest = t, seal, at.Rest
	return v, nil
}
