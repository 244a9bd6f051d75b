package runtime

import (
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"igor.dev/runtime/internal/hint"
	"igor.dev/runtime/internal/journal"
	"igor.dev/runtime/internal/store"
	"igor.dev/verifier/receipt"
)

// An Effect is a side effect in an agent's journal.
type Effect struct {
	ID         string `json:"id"`
	Tick       uint64 `json:"tick,string"`
	Kind       string `json:"kind"`
	State      string `json:"state"` // unresolved, ended, confirmed or compensated
	Held       int64  `json:"heldMicrocents,string"`
	Spent      int64  `json:"spentMicrocents,string"`
	Request    string `json:"request"` // in words
	Note       string `json:"note,omitempty"`
	RequestHex string `json:"requestHex"`
}

// Unresolved reports whether nobody knows whether the effect happened.
func (e *Effect) Unresolved() bool { return e.State == stateUnresolved }

const stateUnresolved = "unresolved"

var stateNames = map[journal.State]string{journal.Begun: stateUnresolved, journal.Ended: "ended",
	journal.ResolvedConfirmed: "confirmed", journal.ResolvedCompensated: "compensated"}

// Effects lists what is in the journal of the agent in dir, in order. The agent
// must not run.
func Effects(ctx context.Context, dir string) (all []Effect, err error) {
	err = withJournal(ctx, dir, func(j *journal.Journal, _ uint64) error {
		for _, e := range j.Effects() {
			request, err := j.Request(e.ID)
			if err != nil {
				return err
			}
			all = append(all, Effect{e.ID.String(), e.Tick, kindName(e.Kind), stateNames[e.State], e.Held, e.Spent,
				describe(e.Kind, request), e.Note, hex.EncodeToString(request)})
		}
		return nil
	})
	return all, err
}

// ResolveEffect writes down what an operator found out about an unresolved
// effect: that it happened (what it held is spent), or that it did not, or was
// undone (what it held goes back when the agent goes on). id may be the beginning
// of one. It returns the whole id.
func ResolveEffect(ctx context.Context, dir, id string, happened bool, note string) (whole string, err error) {
	err = withJournal(ctx, dir, func(j *journal.Journal, newest uint64) error {
		var found []journal.Effect
		for _, e := range j.Effects() {
			if strings.HasPrefix(e.ID.String(), strings.ToLower(id)) {
				found = append(found, e)
			}
		}
		switch {
		case len(found) == 0 || id == "":
			return hint.Wrap(fmt.Errorf("there is no effect %q", id), "igor effects %s names them", dir)
		case len(found) > 1:
			return fmt.Errorf("%d effects begin with %q", len(found), id)
		case found[0].State != journal.Begun:
			return fmt.Errorf("effect %s is %s already", found[0].ID, stateNames[found[0].State])
		}
		whole = found[0].ID.String()
		outcome := journal.Compensated
		if happened {
			outcome = journal.Confirmed
		}
		return j.Resolve(found[0].ID, outcome, newest, note)
	})
	return whole, err
}

func withJournal(ctx context.Context, dir string, do func(j *journal.Journal, newest uint64) error) error {
	s, err := store.Open(dir)
	if err != nil {
		return err
	}
	defer s.Close()
	key, err := s.Key()
	if err != nil {
		return err
	}
	l := &life{}
	copy(l.public[:], key.Public().(ed25519.PublicKey))
	found, err := s.Recover(ctx, l.public[:])
	if err != nil {
		return err
	}
	if found.Newest == nil {
		return fmt.Errorf("%s has no checkpoint", dir)
	}
	j, err := journal.Open(s.Folder(), journal.Life{Agent: l.public, Genesis: found.First}, found.Tick)
	if err != nil {
		return err
	}
	return errors.Join(do(j, found.Tick), j.Close())
}

func kindName(k journal.Kind) string {
	if k == journal.Payment {
		return "payment"
	}
	return "http"
}

// describe says in words what an effect sends.
func describe(k journal.Kind, request []byte) string {
	if k == journal.Payment {
		r, _, err := receipt.Parse(request)
		if p, ok := r.(*receipt.Payment); err == nil && ok {
			return fmt.Sprintf("%d microcents to %q, memo %q, nonce %x", p.Amount, p.Recipient, p.Memo, p.Nonce)
		}
		return "a payment that cannot be read"
	}
	var parts [4]string
	rest := request[min(4, len(request)):]
	for i := range parts {
		if len(rest) < 4 {
			return "a request that cannot be read"
		}
		n := uint64(rest[0]) | uint64(rest[1])<<8 | uint64(rest[2])<<16 | uint64(rest[3])<<24
		if rest = rest[4:]; n > uint64(len(rest)) {
			return "a request that cannot be read"
		}
		parts[i], rest = string(rest[:n]), rest[n:]
	}
	return fmt.Sprintf("%s %q, %d bytes", parts[0], parts[1], len(parts[3]))
}
