// Package sim is the outside of a simulated life: HTTP answers from a recording,
// and an endpoint for payments whose outcomes a seed decides. Nothing of it
// reaches the network.
package sim

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"

	"igor.dev/runtime/internal/hint"
	"igor.dev/runtime/internal/hostcall"
	"igor.dev/runtime/internal/manifest"
	"igor.dev/verifier/receipt"
)

// Limits of a recording.
const (
	MaxRecording = 16 << 20 // bytes
	MaxAnswers   = 10_000
)

// Stream returns the randomness that a seed gives for one purpose.
func Stream(seed uint64, purpose string) *rand.ChaCha8 {
	b := append([]byte("igor/simulation/v1\x00"), purpose...)
	return rand.NewChaCha8(sha256.Sum256(binary.LittleEndian.AppendUint64(append(b, 0), seed)))
}

// An Answer is what one request is answered with.
type Answer struct {
	Method  string            `json:"method"`  // "" = GET
	URL     string            `json:"url"`     // as the agent writes it
	Headers map[string]string `json:"headers"` // that the request has to have
	Status  int32             `json:"status"`  // or -1, -4, -7, -8, -9: what http_request returns
	Body    string            `json:"body"`
}

// ParseRecording reads a JSON list of answers.
func ParseRecording(b []byte) ([]Answer, error) {
	if len(b) > MaxRecording {
		return nil, fmt.Errorf("a recording has %d bytes at most", MaxRecording)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if start, err := d.Token(); err != nil || start != json.Delim('[') {
		return nil, hint.Wrap(errors.New("the recording is not a JSON list of answers"), "docs/agents.md shows one")
	}
	var all []Answer
	for d.More() {
		if len(all) == MaxAnswers {
			return nil, fmt.Errorf("a recording has %d answers at most", MaxAnswers)
		}
		var a Answer
		if err := d.Decode(&a); err != nil {
			return nil, fmt.Errorf("answer %d: %w", len(all), err)
		}
		all = append(all, a)
	}
	if _, err := d.Token(); err != nil {
		return nil, errors.New("a JSON list of answers that is cut short")
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("a JSON list of answers, and more after it")
	}
	for i := range all {
		a := &all[i]
		if a.Method == "" {
			a.Method = "GET"
		}
		r := hostcall.HTTPRequest{Method: a.Method, URL: a.URL}
		if _, err := r.Target(); err != nil {
			return nil, fmt.Errorf("answer %d: %w", i, err)
		}
		switch {
		case a.Status >= 100 && a.Status <= 599, a.Status == hostcall.CodeFailed, a.Status == hostcall.CodeTimeout:
		case a.Status == hostcall.CodeUnresolved && r.Effect():
		case a.Status == hostcall.CodePaid, a.Status == hostcall.CodeNeverPaid: // of a request that is paid
		default:
			return nil, fmt.Errorf("answer %d: status %d is none that a %s can get", i, a.Status, a.Method)
		}
	}
	return all, nil
}

// A Web answers requests from a recording: those to which several answers fit get
// one after the other, and the last one from then on.
type Web struct {
	Answers []Answer
	Options manifest.HTTP

	// Missing is called with a request that nothing was recorded for, once for each
	// method and URL.
	Missing func(method, url string)
	// Left is called when a side effect has left.
	Left func()

	Requests int // that were answered

	used   []bool
	missed map[string]bool
}

// Do implements [hostcall.Doer].
func (w *Web) Do(_ context.Context, r *hostcall.HTTPRequest) (body []byte, code int32) {
	a := w.find(r)
	if a == nil {
		if key := r.Method + " " + r.URL; !w.missed[key] && len(w.missed) < MaxAnswers {
			if w.missed == nil {
				w.missed = map[string]bool{}
			}
			w.missed[key] = true
			w.Missing(r.Method, r.URL)
		}
		return nil, hostcall.CodeFailed
	}
	w.Requests++
	if r.Effect() {
		w.Left()
	}
	switch {
	case a.Status < 0:
		return nil, a.Status
	case r.Method == "HEAD":
		return nil, a.Status
	case len(a.Body) > w.Options.MaxResponse:
		return binary.LittleEndian.AppendUint32(nil, uint32(len(a.Body)+4)), hostcall.CodeTooLarge
	}
	return []byte(a.Body), a.Status
}

func (w *Web) find(r *hostcall.HTTPRequest) *Answer {
	header, err := r.Header()
	if err != nil {
		return nil
	}
	if w.used == nil {
		w.used = make([]bool, len(w.Answers))
	}
	last := -1
	for i := range w.Answers {
		a := &w.Answers[i]
		fits := a.Method == r.Method && a.URL == r.URL
		for name, value := range a.Headers {
			fits = fits && slices.Contains(header.Values(name), value)
		}
		if !fits {
			continue
		}
		last = i
		if !w.used[i] {
			break
		}
	}
	if last < 0 {
		return nil
	}
	w.used[last] = true
	return &w.Answers[last]
}

// An Outcome is what became of a payment.
type Outcome string

// The outcomes. Of sixteen payments, about thirteen are settled. The agent cannot
// tell the last two apart.
const (
	Settled    Outcome = "settled"
	Refused    Outcome = "refused"
	Lost       Outcome = "lost"       // on the way, and not made
	Unanswered Outcome = "unanswered" // and made
)

// Payments settles payments, or does not.
type Payments struct {
	Random *rand.ChaCha8
	// Ended is called with each outcome, when it is decided.
	Ended func(Outcome, *receipt.Payment)
	// Left is called when a payment has left and is not answered yet.
	Left func()

	Counts map[Outcome]int

	made map[[32]byte]bool // by nonce; false: not made, and it can be made later
}

// Pay implements [hostcall.Payer].
func (e *Payments) Pay(_ context.Context, p *hostcall.Payment) ([]byte, int32) {
	payment, err := parsePayment(p.Authorisation)
	if err != nil {
		return nil, hostcall.CodeProcessing
	}
	if _, again := e.made[payment.Nonce]; again {
		e.made[payment.Nonce] = true
		return p.Authorisation, 0
	}
	outcome := Settled
	switch e.Random.Uint64() % 16 {
	case 0:
		outcome = Refused
	case 1:
		outcome = Lost
	case 2:
		outcome = Unanswered
	}
	if outcome != Refused {
		if e.made == nil {
			e.made = map[[32]byte]bool{}
		}
		e.made[payment.Nonce] = outcome != Lost
	}
	if e.Counts == nil {
		e.Counts = map[Outcome]int{}
	}
	e.Counts[outcome]++
	e.Ended(outcome, payment)
	e.Left()
	switch outcome {
	case Settled:
		return p.Authorisation, 0
	case Refused:
		return nil, hostcall.CodeProcessing
	}
	return nil, hostcall.CodeUnresolved
}

// Settled says whether a payment was made. It always knows.
func (e *Payments) Settled(_ context.Context, authorisation []byte) (settled, known bool) {
	payment, err := parsePayment(authorisation)
	return err == nil && e.made[payment.Nonce], err == nil
}

func parsePayment(b []byte) (*receipt.Payment, error) {
	r, size, err := receipt.Parse(b)
	if err != nil {
		return nil, err
	}
	p, ok := r.(*receipt.Payment)
	if !ok || size != len(b) {
		return nil, errors.New("not a payment receipt")
	}
	return p, nil
}
