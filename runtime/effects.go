package runtime

import (
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"igor.dev/runtime/internal/eventlog"
	"igor.dev/runtime/internal/hint"
	"igor.dev/runtime/internal/journal"
	"igor.dev/runtime/internal/request"
	"igor.dev/runtime/internal/store"
	"igor.dev/verifier"
	"igor.dev/verifier/receipt"
	"igor.dev/x402"
)

// An Effect is a side effect in an agent's journal.
type Effect struct {
	ID   string `json:"id"`
	Tick uint64 `json:"tick,string"`
	Kind string `json:"kind"`

	// Began is when it was sent, or a moment before, by the clock of the machine that
	// did; zero if the journal does not say.
	Began time.Time `json:"began,omitzero"`

	State      string `json:"state"` // under way, unresolved, ended, confirmed or compensated
	Held       int64  `json:"heldMicrocents,string"`
	Spent      int64  `json:"spentMicrocents,string"`
	Request    string `json:"request"` // in words
	Note       string `json:"note,omitempty"`
	RequestHex string `json:"requestHex"`

	// Of an HTTP request.
	Method string `json:"method,omitempty"`
	URL    string `json:"url,omitempty"`
	Body   string `json:"body,omitempty"` // the first bytes of it

	// Of a payment.
	Amount    int64  `json:"amountMicrocents,string,omitempty"`
	Recipient string `json:"recipient,omitempty"`
	Memo      string `json:"memo,omitempty"`
	Nonce     string `json:"nonce,omitempty"` // by which the pay endpoint, or the chain, knows it

	// Of a payment on a chain, which is also an HTTP request.
	Network     string    `json:"network,omitempty"` // as CAIP-2 writes it
	Asset       string    `json:"asset,omitempty"`
	Wallet      string    `json:"wallet,omitempty"`     // that pays
	ValidBefore time.Time `json:"validBefore,omitzero"` // when it can no longer be made
}

// Unresolved reports whether nobody knows whether the effect happened.
func (e *Effect) Unresolved() bool { return e.State == stateUnresolved }

// Over reports whether its outcome is known.
func (e *Effect) Over() bool { return e.State != stateUnresolved && e.State != stateUnderWay }

const (
	stateUnresolved = "unresolved"
	stateUnderWay   = "under way"
)

var stateNames = map[journal.State]string{journal.Begun: stateUnresolved, journal.Ended: "ended",
	journal.ResolvedConfirmed: "confirmed", journal.ResolvedCompensated: "compensated"}

// Effects lists what is in the journal of the agent in dir, in order, as it is at this
// moment: whether the agent runs or not, and also of a copy that cannot be written.
func Effects(ctx context.Context, dir string) (all []Effect, err error) {
	all, err = readEffects(ctx, dir)
	return all, public(err)
}

func readEffects(ctx context.Context, dir string) (all []Effect, err error) {
	sights, err := look(dir, true)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return nil, store.NotFolder(dir)
	case err != nil:
		return nil, err
	case len(sights) == 0:
		return nil, fmt.Errorf("%s has no checkpoint", dir)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	f, err := (readOnly{root: root}).Open(journal.Name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, journal.Missing()
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	j, err := journal.Read(f)
	if err == nil {
		err = checkJournalSize(dir, sights[0].CID)
	}
	if err != nil {
		return nil, err
	}
	if did := j.Life().Agent.DID(); did != sights[0].DID {
		return nil, fmt.Errorf("the journal in %s is of %s, and the history of %s", dir, did, sights[0].DID)
	}
	over := uint64(math.MaxUint64) // the newest tick of which nothing is under way
	if r, err := Connect(dir); err == nil {
		if s, err := r.Status(ctx); err == nil && s.Phase != "" && s.Phase != Recovering {
			over = s.Tick
		}
	}
	for _, e := range j.Effects() {
		request, err := j.Request(e.ID)
		if err != nil {
			return nil, err
		}
		one := Effect{ID: e.ID.String(), Tick: e.Tick, Kind: kindName(e.Kind), State: stateNames[e.State], Held: e.Held,
			Spent: e.Spent, Note: e.Note, RequestHex: hex.EncodeToString(request)}
		if e.Time != 0 {
			one.Began = time.Unix(0, e.Time).UTC()
		}
		if e.State == journal.Begun && e.Tick > over {
			one.State = stateUnderWay
		}
		one.describe(e.Kind, request)
		all = append(all, one)
	}
	return all, nil
}

// ResolveEffect writes down what an operator found out about an unresolved
// effect: that it happened (what it held is spent), or that it did not, or was
// undone (what it held goes back when the agent goes on). id may be the beginning
// of one. It returns the whole id. The agent must not run: see [Agent.ResolveEffect].
func ResolveEffect(ctx context.Context, dir, id string, happened bool, note string) (whole string, err error) {
	err = withJournal(ctx, dir, func(j *journal.Journal, newest uint64) error {
		e, outcome, err := resolution(dir, j, id, happened)
		if err != nil {
			return err
		}
		whole = e.ID.String()
		return j.Resolve(e.ID, outcome, newest, note)
	})
	return whole, public(err)
}

// resolveEffect is ResolveEffect in a life.
func (l *life) resolveEffect(dir, id string, happened bool, note string) (whole string, err error) {
	j := l.world.Journal
	e, outcome, err := resolution(dir, j, id, happened)
	if err != nil {
		return "", err
	}
	err = l.commits.waitDurable() // nothing else is appended meanwhile
	if err == nil {
		err = j.Resolve(e.ID, outcome, l.saved, note)
	}
	if err == nil {
		err = l.commit()
	}
	if err != nil {
		return "", fatal(err)
	}
	if resolved, ok := j.Effect(e.ID); ok {
		l.find([]journal.Effect{resolved}, func(uint64) bool { return false })
	}
	if outcome == journal.Compensated && e.Held > 0 {
		e.State = journal.ResolvedCompensated
		l.funds.due = append(l.funds.due, e)
		return e.ID.String(), fatal(l.admitFunds())
	}
	return e.ID.String(), nil
}

// named finds the one effect whose name begins so.
func named[E any](dir, id string, all []E, name func(*E) string) (e E, err error) {
	n := 0
	for i := range all {
		if strings.HasPrefix(name(&all[i]), strings.ToLower(id)) {
			e, n = all[i], n+1
		}
	}
	switch {
	case n == 0 || id == "":
		return e, hint.Wrap(fmt.Errorf("there is no effect %q", id), "igor effects %s names them", dir)
	case n > 1:
		return e, fmt.Errorf("%d effects begin with %q", n, id)
	}
	return e, nil
}

// resolution finds the effect that an id is the beginning of, and says whether it can be
// resolved.
func resolution(dir string, j *journal.Journal, id string, happened bool) (e journal.Effect, _ journal.Outcome, err error) {
	if e, err = named(dir, id, j.Effects(), func(e *journal.Effect) string { return e.ID.String() }); err != nil {
		return e, 0, err
	}
	if e.State != journal.Begun {
		return e, 0, fmt.Errorf("effect %s is %s already", e.ID, stateNames[e.State])
	}
	if happened {
		return e, journal.Confirmed, nil
	}
	tick, err := releasedAt(dir, e)
	if err != nil {
		return e, 0, err
	}
	if tick > 0 {
		return e, 0, hint.Wrap(fmt.Errorf("what effect %s held went back already, at tick %d", e.ID, tick),
			"igor effects confirm ends it without giving that a second time")
	}
	return e, journal.Compensated, nil
}

// releasedAt returns the tick at which what an effect held went back, 0 if it did
// not. The journal says so too, unless it was damaged.
func releasedAt(dir string, e journal.Effect) (tick uint64, err error) {
	events := filepath.Join(dir, "events")
	log, done, err := openReadOnly(events)
	if err != nil {
		return 0, err
	}
	defer done()
	ticks, err := allSegmentTicks(events)
	if err != nil {
		return 0, err
	}
	for i, first := range ticks {
		if i+1 < len(ticks) && ticks[i+1] <= e.Tick {
			continue // it had not begun
		}
		s, err := log.Segment(first)
		if err != nil {
			return 0, err
		}
		var r eventlog.Record
		for err == nil && tick == 0 {
			if r, err = s.Next(); err == nil && r.Kind == eventlog.Account && r.Reason == eventlog.Release && r.Effect == verifier.Hash(e.ID) {
				tick = r.Tick
			}
		}
		s.Close()
		if err != nil && err != io.EOF && !eventlog.Torn(err) {
			return 0, fmt.Errorf("whether what it held went back already: %s: %w", eventlog.FileName(first), err)
		}
		if tick > 0 {
			return tick, nil
		}
	}
	return 0, nil
}

func withJournal(ctx context.Context, dir string, do func(j *journal.Journal, newest uint64) error) error {
	return withFolder(ctx, dir, func(s *store.Store, life journal.Life, found *store.Recovery) error {
		if err := checkJournalSize(dir, found.Hash.CID()); err != nil {
			return err
		}
		j, err := journal.Open(s.Folder(), life, found.Tick)
		if err != nil {
			return err
		}
		return errors.Join(do(j, found.Tick), j.Close())
	})
}

// withFolder opens the folder of an agent that does not run.
func withFolder(ctx context.Context, dir string, do func(s *store.Store, life journal.Life, found *store.Recovery) error) error {
	s, err := store.Open(dir)
	if err != nil {
		return err
	}
	defer s.Close()
	key, err := s.Key()
	if err != nil {
		return err
	}
	life := journal.Life{Agent: verifier.PublicKey(key.Public().(ed25519.PublicKey))}
	found, err := s.Recover(ctx, life.Agent[:])
	switch {
	case err != nil:
		return err
	case found.Newest == nil:
		return fmt.Errorf("%s has no checkpoint", dir)
	case found.Damaged != "":
		return hint.Wrap(fmt.Errorf("the newest checkpoint was damaged (%s), and is now set aside as %s", found.Damage, found.Damaged),
			"igor resume makes it again from the event log")
	}
	life.Genesis = found.First
	if err := do(s, life, &found); err != nil {
		return err
	}
	noteSizes(s)
	return nil
}

// A JournalRepair says what repairing a damaged journal takes.
type JournalRepair struct {
	Damage     string        `json:"damage"`
	Aside      string        `json:"aside,omitempty"` // the damaged file; "" if nothing was changed
	Lost       []JournalLoss `json:"lost"`
	Effects    int           `json:"effects"` // that are known afterwards
	Unresolved int           `json:"unresolved"`
	Held       int64         `json:"heldMicrocents,string"` // by them

	// Tick is the newest one that is over. The event log has what it and those before
	// it did outside; of a later one, it may not.
	Tick uint64 `json:"tick,string"`
}

// A JournalLoss is a part of the damaged file that is not kept.
type JournalLoss struct {
	Offset int64  `json:"offset"`
	Size   int64  `json:"size"`
	What   string `json:"what"`
}

// RepairJournal replaces the damaged journal of the agent in dir by what is whole
// of it, and sets the damaged file aside. With dry, it changes nothing.
func RepairJournal(ctx context.Context, dir string, dry bool) (r JournalRepair, err error) {
	err = withFolder(ctx, dir, func(s *store.Store, life journal.Life, found *store.Recovery) error {
		j, err := journal.Open(s.Folder(), life, found.Tick)
		if err == nil {
			j.Close()
			return fmt.Errorf("the journal of %s is not damaged", dir)
		}
		if _, ok := errors.AsType[*journal.DamageError](err); !ok {
			return err
		}
		r.Damage = err.Error()
		if r.Tick, err = lastTick(dir, found.Tick); err != nil {
			return err
		}
		repaired, err := journal.Repair(s.Folder(), life, journal.Base{Tick: found.Tick, Hash: found.Hash}, dry)
		if err != nil {
			return err
		}
		if !dry {
			r.Aside = filepath.Join(dir, repaired.Aside)
		}
		for _, l := range repaired.Lost {
			r.Lost = append(r.Lost, JournalLoss(l))
		}
		r.Effects = len(repaired.Effects)
		for _, e := range repaired.Effects {
			if e.State == journal.Begun {
				r.Unresolved++
				r.Held += e.Held
			}
		}
		return nil
	})
	return r, public(err)
}

// lastTick returns the newest tick that is over, by the event log after the
// checkpoint of the given tick.
func lastTick(dir string, saved uint64) (uint64, error) {
	log, done, err := openReadOnly(filepath.Join(dir, "events"))
	if err != nil {
		return 0, err
	}
	defer done()
	s, err := log.Segment(saved + 1)
	if errors.Is(err, fs.ErrNotExist) {
		return saved, nil
	}
	if err != nil {
		return 0, err
	}
	defer s.Close()
	for err == nil {
		_, err = s.Next()
	}
	return max(saved, s.Totals().Last), nil
}

func kindName(k journal.Kind) string {
	switch k {
	case journal.Payment:
		return "payment"
	case journal.Paid:
		return "x402"
	}
	return "http"
}

// Of a request, at most so many bytes are shown.
const (
	maxShownURL  = 300
	maxShownBody = 200
)

// describe says what an effect sends.
func (e *Effect) describe(k journal.Kind, sent []byte) {
	if k == journal.Payment {
		r, _, err := receipt.Parse(sent)
		p, ok := r.(*receipt.Payment)
		if err != nil || !ok {
			e.Request = "a payment that cannot be read"
			return
		}
		e.Amount, e.Recipient, e.Memo, e.Nonce = p.Amount, p.Recipient, p.Memo, hex.EncodeToString(p.Nonce[:])
		e.Request = fmt.Sprintf("%s to %q, memo %q", verifier.FormatMicrocents(p.Amount), p.Recipient, p.Memo)
		return
	}
	paying := ""
	if k == journal.Paid {
		p, err := request.ParsePaid(sent)
		payment, bad := x402.ParsePayment(p.Name, p.Value)
		if err != nil || bad != nil {
			e.Request = "a request with a payment that cannot be read"
			return
		}
		a := &payment.Authorization
		sent, e.Amount, e.Recipient, e.Nonce = p.HTTP, int64(a.Value), a.To.String(), hex.EncodeToString(a.Nonce[:])
		e.Network, e.Asset, e.Wallet = x402.NetworkOf(p.Domain.Chain), p.Domain.Contract.String(), a.From.String()
		e.ValidBefore = time.Unix(int64(min(a.ValidBefore, math.MaxInt32)), 0).UTC()
		paying = fmt.Sprintf(", paying %s to %s on %s", verifier.FormatMicrocents(e.Amount), e.Recipient, e.Network)
	}
	r, err := request.ParseHTTP(sent)
	if err != nil {
		e.Request = "a request that cannot be read"
		return
	}
	defer func() { e.Request += paying }()
	body := r.Body
	e.Method, e.URL, e.Body = text([]byte(r.Method), maxShownURL), text([]byte(r.URL), maxShownURL), text(body, maxShownBody)
	e.Request = fmt.Sprintf("%s %q", e.Method, e.URL)
	switch {
	case len(body) == 0:
	case len(body) > maxShownBody:
		e.Request += fmt.Sprintf(", a body of %d bytes that begins with %q", len(body), e.Body)
	default:
		e.Request += fmt.Sprintf(", body %q", e.Body)
	}
}

// text returns the beginning of b as text, as far as it is some.
func text(b []byte, limit int) string {
	return strings.ToValidUTF8(string(b[:min(limit, len(b))]), "\uFFFD")
}
