package eventlog

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"

	"igor.dev/verifier"
)

// ErrOpen says that a segment has no seal: nothing binds it to a checkpoint.
var ErrOpen = errors.New("the segment is not sealed")

// Verify holds a segment against the checkpoints before and after it, and returns
// what its records come to. prev is nil before the genesis. Both checkpoints have
// to be examined, and to be authentic; that they are one life is another
// question. It does not read payloads that are files of their own; that the
// segment is right, only running it again shows.
func Verify(segment io.Reader, prev, next *verifier.Finding) (Totals, error) {
	var before verifier.Finding // the nothing that a genesis comes after
	if prev != nil {
		before = *prev
		if !prev.Authentic() {
			return Totals{}, errors.New("the checkpoint before the segment is not authentic")
		}
		if prev.AgentPubKey != next.AgentPubKey {
			return Totals{}, errors.New("the checkpoints before and after the segment are by different keys")
		}
	}
	switch {
	case !next.Authentic():
		return Totals{}, errors.New("the checkpoint after the segment is not authentic")
	case next.PrevHash != before.ContentHash:
		return Totals{}, errors.New("the segment's checkpoints do not follow one another")
	}
	r := NewReader(segment)
	h, err := r.Header()
	switch {
	case err != nil:
		return Totals{}, err
	case h.Prev != before.ContentHash:
		return Totals{}, fmt.Errorf("the segment comes after checkpoint %s, not %s", h.Prev, before.ContentHash)
	case h.WASM != next.WASMHash:
		return Totals{}, fmt.Errorf("the segment is of program %s, and its checkpoint of %s", h.WASM, next.WASMHash)
	}
	first, begun := before.TickNumber+1, uint64(0)
	for {
		record, err := r.Next()
		if err == io.EOF {
			break
		} else if err != nil {
			return Totals{}, err
		}
		if r.totals.Records == 1 {
			begun = record.Tick
		}
		if born := record.Kind == Account && record.Reason == Birth; born != (prev == nil && r.totals.Records == 1) {
			return Totals{}, errors.New("a birth is the first record of a life, and no other")
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
	budget, err := t.Budget(before.Budget)
	price := before.PricePerSecond
	if t.Priced {
		price = t.Price
	}
	switch {
	case t.Records > 0 && begun != first:
		return Totals{}, fmt.Errorf("the segment begins with tick %d, not %d", begun, first)
	case !sealed:
		return Totals{}, ErrOpen
	case seal.Next != next.ContentHash:
		return Totals{}, fmt.Errorf("the segment was sealed for checkpoint %s, not %s", seal.Next, next.ContentHash)
	case !ed25519.Verify(next.AgentPubKey[:], seal.message(h.Prev), seal.Signature[:]):
		return Totals{}, errors.New("the agent's key did not sign the segment")
	case !t.ended || t.Last != next.TickNumber || t.tick != t.Last:
		return Totals{}, fmt.Errorf("the segment does not end with tick %d", next.TickNumber)
	case err != nil:
		return Totals{}, err
	case budget != next.Budget:
		return Totals{}, fmt.Errorf("the segment leaves a budget of %s, and its checkpoint has %s",
			verifier.FormatMicrocents(budget), verifier.FormatMicrocents(next.Budget))
	case price != next.PricePerSecond:
		return Totals{}, fmt.Errorf("the segment leaves a price of %s, and its checkpoint has %s",
			verifier.FormatMicrocents(price), verifier.FormatMicrocents(next.PricePerSecond))
	}
	return t, nil
}
