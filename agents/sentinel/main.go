// Sentinel is an agent that guards a treasury: when the balance of an account
// falls below a floor, it moves money there. The machine may die at any moment;
// no transfer is made twice, and none is forgotten.
//
// What to learn from it: how to act on the outside world with an effect log. The
// runtime never repeats a transfer that it began, and says "unresolved" when a
// crash took the answer; the agent then asks the bank, and knows when to believe
// that there was none.
package main

import (
	"encoding/hex"
	"errors"
	"strconv"
	"strings"
	"time"

	"igor.dev/effects"
	"igor.dev/sdk"
)

// server is the bank.
//
//	GET  /balance       the balance, in cents
//	POST /transfers     the body "ID CENTS DEADLINE": 200 taken, 409 refused, 410 after
//	                    the deadline (Unix nanoseconds), from which on it is never taken
//	GET  /transfers/ID  200 taken, 404 not taken
var server = "http://127.0.0.1:8802"

// next is the id of an intent that is recorded and never begun: it has the order that the
// next tick sends. So the order is in the state before it is sent, and after a tick that
// failed it is the same again, and known by its bytes.
const next = "next"

const (
	floor    = 1000_00 // cents
	transfer = 500_00
	valid    = 2 * time.Second // from meaning a transfer to its deadline
	margin   = time.Second     // by which the bank's clock may be behind
)

// A sentinel is the whole state.
type sentinel struct {
	name  string // begins the ids of transfers: another sentinel has other ones
	count uint64 // of transfers that were meant
	log   sdk.EffectLog
	moved int64 // cents, in transfers that certainly happened
	void  uint64
}

func (s *sentinel) Init() {
	var b [8]byte
	if err := sdk.Rand(b[:]); err != nil {
		panic(err) // no life without a name
	}
	s.name = hex.EncodeToString(b[:])
	sdk.Log("guarding a balance of " + cents(floor))
}

func (s *sentinel) Tick() (more bool) {
	for _, i := range s.log.Open() {
		s.reconcile(i)
	}
	if len(s.log.Open()) > 0 {
		return false // the balance does not tell whether that money is in it
	}
	s.log.Prune() // the ids are never used again
	if i, ok := s.log.Get(next); ok {
		s.send(i)
		return false
	}

	balance, err := balance()
	if err != nil {
		sdk.Log("no balance: " + err.Error())
		return false
	}
	if balance >= floor {
		return false
	}
	s.count++
	id := s.name + "-" + strconv.FormatUint(s.count, 10)
	o := order{id, transfer, sdk.Now().Add(valid)}
	if err := s.log.Record(next, []byte(o.String())); err != nil {
		panic(err) // it was pruned
	}
	return true
}

// send sends the order that was meant.
func (s *sentinel) send(meant effects.Intent) {
	o, err := parseOrder(string(meant.Data))
	if err != nil {
		panic(err) // the agent wrote it
	}
	if err := errors.Join(s.log.Begin(next), s.log.Compensate(next)); err != nil {
		panic(err) // it is recorded
	}
	switch err := s.log.Act(o.id, meant.Data, o.send); {
	case err == nil:
		s.moved += o.cents
		sdk.Log("moved " + cents(o.cents) + " with " + o.id)
	case sdk.MayHaveHappened(err):
		sdk.Log("nobody knows yet whether " + o.id + " happened: " + err.Error())
	default:
		s.void++
		sdk.Log("nothing moved with " + o.id + ": " + err.Error())
	}
}

// reconcile asks the bank about a transfer that may have happened.
func (s *sentinel) reconcile(i effects.Intent) {
	o, err := parseOrder(string(i.Data))
	if err != nil {
		panic(err) // the agent wrote it
	}
	// The time comes first: after the deadline the answer cannot change any more.
	now := sdk.Now()
	answer, err := sdk.Get(server + "/transfers/" + i.ID)
	switch {
	case err != nil:
		sdk.Log("no word on " + i.ID + ": " + err.Error())
	case answer.Status == 200:
		if err := s.log.Confirm(i.ID); err != nil {
			panic(err)
		}
		s.moved += o.cents
		sdk.Log("reconciled " + i.ID + ": it happened")
	case answer.Status == 404 && now.After(o.deadline.Add(margin)):
		if err := s.log.Compensate(i.ID); err != nil {
			panic(err)
		}
		s.void++
		sdk.Log("reconciled " + i.ID + ": it did not happen, and cannot any more")
	}
}

// Observe counts a transfer of which the operator found out what the bank did not say.
func (s *sentinel) Observe(f sdk.Finding, intent string) (over bool) {
	i, ok := s.log.Get(intent)
	if !ok {
		return false
	}
	if f.Outcome == sdk.OutcomeCompensated {
		s.void++
		sdk.Log("told of " + intent + ": it did not happen")
		return true
	}
	o, err := parseOrder(string(i.Data))
	if err != nil {
		panic(err) // the agent wrote it
	}
	s.moved += o.cents
	sdk.Log("told of " + intent + ": it happened")
	return true
}

// An order is a transfer that the bank is asked for.
type order struct {
	id       string
	cents    int64
	deadline time.Time
}

func (o order) String() string {
	return o.id + " " + strconv.FormatInt(o.cents, 10) + " " + strconv.FormatInt(o.deadline.UnixNano(), 10)
}

func parseOrder(s string) (order, error) {
	f := strings.Split(s, " ")
	if len(f) != 3 {
		return order{}, errors.New("not an order: " + strconv.Quote(s))
	}
	amount, err1 := strconv.ParseInt(f[1], 10, 64)
	deadline, err2 := strconv.ParseInt(f[2], 10, 64)
	return order{f[0], amount, time.Unix(0, deadline).UTC()}, errors.Join(err1, err2)
}

func (o order) send() error {
	answer, err := sdk.Do(sdk.Request{Method: "POST", URL: server + "/transfers", Body: []byte(o.String())})
	if err != nil {
		return err
	}
	// A bank that fails does not say what it has done before.
	return answer.Err()
}

func balance() (int64, error) {
	answer, err := sdk.Get(server + "/balance")
	if err != nil {
		return 0, err
	}
	if answer.Status != 200 {
		return 0, errors.New("status " + strconv.Itoa(answer.Status))
	}
	return strconv.ParseInt(strings.TrimSpace(string(answer.Body)), 10, 64)
}

func cents(c int64) string { return sdk.Decimal(c, 2) }

func (s *sentinel) Marshal() []byte {
	e := sdk.NewEncoder(1)
	e.Text(s.name)
	e.Uint64(s.count)
	e.Value(&s.log)
	e.Int64(s.moved)
	e.Uint64(s.void)
	return e.Data()
}

func (s *sentinel) Unmarshal(b []byte) error {
	d := sdk.NewDecoder(b, 1)
	s.name = d.Text()
	s.count = d.Uint64()
	d.Value(&s.log)
	s.moved = d.Int64()
	s.void = d.Uint64()
	return d.Close()
}

func init() { sdk.Run(&sentinel{}) }

func main() {}
