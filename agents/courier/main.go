// Courier is an agent that buys reports, delivers each to its customer, and lives where that
// is cheapest: it asks to be moved when another node is cheaper, or when its own is to be
// empty.
//
// What to learn from it: a whole life on several nodes. The agent has a budget and no wallet:
// the node on which it lives pays, from its operator's wallet, and the budget becomes less.
// When the agent moves, the budget goes with it, and the effect log in its state; the wallet
// stays. So it never buys or delivers twice, whichever node dies at whichever moment.
package main

import (
	"strconv"
	"strings"
	"time"

	"igor.dev/sdk"
)

// server sells a report for GET /report, paid by x402, and takes those that the customer
// gets: POST /reports/1. GET /reports/1 has status 200 if it has that one, and 404 if not.
var server = "http://127.0.0.1:8808"

const (
	pause    = time.Second     // between two reports
	patience = 5 * time.Second // between two wishes to be moved
	better   = 10              // percent that another node has to be cheaper
	room     = 4096            // bytes of a report

	// Acts: ids are one of these and a number.
	buying     = "buy "
	delivering = "deliver "
)

// A courier is the whole state.
type courier struct {
	log       sdk.EffectLog
	acts      uint64 // that were begun, for their ids
	report    string // to be delivered
	delivered uint64
	next      time.Time // to buy or deliver

	here  string    // the node's DID
	asked bool      // to be moved, and not told what came of it
	stay  time.Time // and ask for nothing until then
}

func newCourier() *courier {
	long := time.Unix(0, 0).UTC()
	return &courier{next: long, stay: long}
}

func (c *courier) Init() {}

func (c *courier) Tick() (more bool) {
	now := sdk.Now()
	c.look(now)
	for _, i := range c.log.Open() {
		c.reconcile(i.ID)
	}
	switch {
	case len(c.log.Open()) > 0: // nothing else is done until it is known what became of it
	case now.Before(c.next):
	case c.report == "":
		c.buy(now)
	default:
		c.deliver(now)
	}
	return false
}

// act does something with side effects, under an id of its own.
func (c *courier) act(what string, r sdk.Request) (answer sdk.Response, err error) {
	c.log.Prune()
	c.acts++
	err = c.log.Act(what+strconv.FormatUint(c.acts, 10), nil, func() error {
		if answer, err = sdk.Do(r); err == nil {
			err = answer.Err()
		}
		return err
	})
	return answer, err
}

// buy gets a report. The shop says what it costs, and the node pays, within the manifest.
func (c *courier) buy(now time.Time) {
	answer, err := c.act(buying, sdk.Request{URL: server + "/report", Room: room})
	if err != nil {
		// Paid and not delivered, not paid, or not known yet: then Observe is told.
		sdk.Log("no report: " + err.Error())
		c.next = now.Add(pause)
		return
	}
	c.report = string(answer.Body)
}

// deliver posts the report that was bought.
func (c *courier) deliver(now time.Time) {
	c.next = now.Add(pause)
	_, err := c.act(delivering, sdk.Request{Method: "POST", URL: c.parcel(), Body: []byte(c.report)})
	if err != nil {
		sdk.Log("not delivered, as far as is known: " + err.Error())
		return
	}
	c.arrived()
}

// parcel is where the report belongs.
func (c *courier) parcel() string {
	return server + "/reports/" + strconv.FormatUint(c.delivered+1, 10)
}

// arrived counts a report that the customer has.
func (c *courier) arrived() {
	c.delivered++
	sdk.Log("delivered report " + strconv.FormatUint(c.delivered, 10))
	c.report = ""
}

// reconcile asks the customer about a delivery whose answer was lost. What became of a
// payment the chain says, and Observe is told.
func (c *courier) reconcile(id string) {
	if !strings.HasPrefix(id, delivering) {
		return
	}
	answer, err := sdk.Get(c.parcel())
	switch {
	case err != nil:
		sdk.Log("no word about the delivery: " + err.Error())
	case answer.Status == 200:
		must(c.log.Confirm(id))
		c.arrived()
	case answer.Status == 404:
		must(c.log.Compensate(id)) // it is delivered again
	}
}

// Observe is told what was found out about an act that was unresolved.
func (c *courier) Observe(f sdk.Finding, intent string) (over bool) {
	if strings.HasPrefix(intent, delivering) && f.Outcome == sdk.OutcomeConfirmed {
		c.arrived()
	}
	return true
}

// look asks to be moved, if there is a reason and somewhere to go.
func (c *courier) look(now time.Time) {
	id, err := sdk.NodeID()
	if err != nil {
		return // it lives on no node
	}
	if id != c.here {
		c.here, c.asked = id, false
		sdk.Log("lives on " + id)
	}
	state, err := sdk.MigrateStatus()
	if state == sdk.Asked {
		return // it is under way
	}
	if c.asked && err != nil {
		c.asked = false
		sdk.Log("was not moved: " + err.Error())
	}
	if now.Before(c.stay) {
		return
	}
	to, why := c.choose(now)
	if to == "" {
		return
	}
	c.stay = now.Add(patience)
	if err := sdk.Migrate(to); err != nil {
		sdk.Log("cannot ask to be moved: " + err.Error())
		return
	}
	c.asked = true
	sdk.Log("asks to be moved to " + to + ", " + why)
}

// choose returns the cheapest node that is worth a move, "" if there is none.
func (c *courier) choose(now time.Time) (to, why string) {
	offers, err := sdk.Offers()
	if err != nil {
		sdk.Log("there are no offers: " + err.Error())
		return "", ""
	}
	drain, err := sdk.DrainDeadline()
	leaving := err == nil && !drain.IsZero()
	limit := sdk.Price() - sdk.Price()*better/100
	for _, o := range offers {
		if o.Draining || o.FreeAgents == 0 || !o.Expires.After(now) {
			continue
		}
		if o.Price < limit || leaving && to == "" { // from a node that drains, to anywhere
			to, limit, why = o.Node, o.Price, "where a second costs "+sdk.Decimal(o.Price, 6)
		}
	}
	if leaving {
		why += ": this node wants to be empty"
	}
	return to, why
}

func must(err error) {
	if err != nil {
		panic(err) // an intent that is open can be closed
	}
}

func (c *courier) Marshal() []byte {
	e := sdk.NewEncoder(1)
	e.Value(&c.log)
	e.Uint64(c.acts)
	e.Text(c.report)
	e.Uint64(c.delivered)
	e.Time(c.next)
	e.Text(c.here)
	e.Bool(c.asked)
	e.Time(c.stay)
	return e.Data()
}

func (c *courier) Unmarshal(b []byte) error {
	d := sdk.NewDecoder(b, 1)
	d.Value(&c.log)
	c.acts = d.Uint64()
	c.report = d.Text()
	c.delivered = d.Uint64()
	c.next = d.Time()
	c.here = d.Text()
	c.asked = d.Bool()
	c.stay = d.Time()
	return d.Close()
}

func init() { sdk.Run(newCourier()) }

func main() {}
