// Nomad is an agent that serves one customer, and lives where that is cheap and near: it
// measures how long the customer takes to answer from each node, compares what nodes cost,
// asks to be moved, leaves a node that is to be empty, and comes home when it can.
//
// What to learn from it: what an agent knows of nodes (offers, drain, what became of its
// wish), that a wish is no move, and how not to wander: every node gets a trial before it is
// judged, and one that is hardly better is not better.
package main

import (
	"time"

	"igor.dev/sdk"
)

// server is the customer, who answers a GET with any status.
var server = "http://127.0.0.1:8807"

const (
	path     = "/ping"
	pause    = time.Second      // between measurements
	trial    = 5                // measurements on a node, before it is judged
	patience = 30 * time.Second // after a wish that failed, and between two moves by choice

	// What a millisecond of round-trip time is worth, in microcents a second.
	perMillisecond = 100
	// How much better another node has to be, in percent.
	better = 10
	// What a node is taken for that could not reach the customer.
	unreachable = 10 * time.Second
	// A customer who is farther away is worth trying other nodes for.
	far = 40 * time.Millisecond
	// How many nodes are remembered.
	most = 64
)

// A node is what is known of one from having been there.
type node struct {
	did      string
	measured uint64
	rtt      time.Duration // smoothed: each measurement counts for a quarter
}

// A nomad is the state.
type nomad struct {
	home  string // the first node
	here  string
	moves uint64
	next  time.Time // to measure
	stay  time.Time // until then, unless the node drains
	known []node    // the newest visit last
}

func (n *nomad) Init() {}

func (n *nomad) Tick() (more bool) {
	now := sdk.Now()
	if now.Before(n.next) {
		return false
	}
	n.next = now.Add(pause)
	id, err := sdk.NodeID()
	if err != nil {
		n.measure(now, "") // on no node: there is nowhere to go
		return false
	}
	if id != n.here {
		n.arrive(now, id)
	}
	n.measure(now, id)
	drain, err := sdk.DrainDeadline()
	if err != nil {
		sdk.Log("it cannot be told whether the node drains: " + err.Error())
	}
	leaving := !drain.IsZero()
	switch state, err := sdk.MigrateStatus(); {
	case state == sdk.Asked:
		return false // it is under way
	case err != nil && n.stay.IsZero():
		sdk.Log("was not moved: " + err.Error())
		n.stay = now.Add(patience)
		return false
	}
	if now.Before(n.stay) && !leaving {
		return false
	}
	if to, why := n.choose(now, leaving); to != "" {
		n.stay = time.Time{}
		if err := sdk.Migrate(to); err != nil {
			sdk.Log("cannot ask to be moved: " + err.Error())
			n.stay = now.Add(patience)
			return false
		}
		sdk.Log("asks to be moved to " + to + ": " + why)
	}
	return false
}

// arrive notes that the agent lives on another node than before.
func (n *nomad) arrive(now time.Time, id string) {
	if n.home == "" {
		n.home = id
		sdk.Log("at home on " + id)
	} else {
		n.moves++
		back := ""
		if id == n.home {
			back = ", which is home"
		}
		sdk.Log("moved to " + id + back)
		n.stay = now.Add(patience)
	}
	n.here = id
}

// measure asks the customer how far away it is.
func (n *nomad) measure(began time.Time, id string) {
	_, err := sdk.Do(sdk.Request{URL: server + path})
	rtt := sdk.Now().Sub(began)
	if err != nil {
		rtt = unreachable
	}
	i := n.find(id)
	if i < 0 {
		if len(n.known) == most {
			n.known = n.known[1:]
		}
		n.known = append(n.known, node{did: id})
		i = len(n.known) - 1
	}
	k := &n.known[i]
	if k.measured == 0 {
		k.rtt = rtt
	}
	k.rtt += (rtt - k.rtt) / 4
	if k.measured++; k.measured == trial {
		sdk.Log("the customer is " + k.rtt.Round(time.Millisecond).String() + " away")
	}
}

func (n *nomad) find(did string) int {
	for i := range n.known {
		if n.known[i].did == did {
			return i
		}
	}
	return -1
}

// worth is what a second on a node costs, its distance included. A node that is not known
// is taken to be as far as this one, to be tried for its price.
func (n *nomad) worth(did string, price int64) int64 {
	i := n.find(did)
	if i < 0 {
		i = n.find(n.here)
	}
	if i < 0 {
		return price
	}
	return price + n.known[i].rtt.Milliseconds()*perMillisecond
}

// choose returns where to go, or "" to stay.
func (n *nomad) choose(now time.Time, leaving bool) (to, why string) {
	offers, err := sdk.Offers()
	if err != nil {
		sdk.Log("there are no offers: " + err.Error())
		return "", ""
	}
	if at := n.find(n.here); !leaving && (at < 0 || n.known[at].measured < trial) {
		return "", ""
	}
	stays := n.worth(n.here, sdk.Price())
	least, untried, price := int64(-1), "", int64(0)
	for _, o := range offers {
		if o.Draining || o.FreeAgents == 0 || !o.Expires.After(now) || o.Node == n.here {
			continue
		}
		if n.find(o.Node) < 0 && (untried == "" || o.Price < price) {
			untried, price = o.Node, o.Price
		}
		costs := n.worth(o.Node, o.Price)
		if o.Node == n.home {
			costs -= costs * better / 100 // there is no place like it
		}
		if least < 0 || costs < least {
			to, least = o.Node, costs
		}
	}
	switch {
	case to == "":
		if leaving {
			sdk.Log("the node drains, and there is nowhere to go")
		}
		return "", ""
	case leaving:
		return to, "the node drains"
	case untried != "" && n.known[n.find(n.here)].rtt >= far:
		return untried, "the customer is far from here, and may be nearer there"
	case to == n.home && least < stays:
		return to, "home is good enough"
	case least < stays-stays*better/100:
		return to, "it is worth " + sdk.Decimal(least, 6) + " a second, and this one " + sdk.Decimal(stays, 6)
	}
	return "", ""
}

func (n *nomad) Marshal() []byte {
	e := sdk.NewEncoder(1)
	e.Text(n.home)
	e.Text(n.here)
	e.Uint64(n.moves)
	e.Time(n.next)
	e.Time(n.stay)
	e.Count(len(n.known))
	for _, k := range n.known {
		e.Text(k.did)
		e.Uint64(k.measured)
		e.Int64(int64(k.rtt))
	}
	return e.Data()
}

func (n *nomad) Unmarshal(b []byte) error {
	d := sdk.NewDecoder(b, 1)
	n.home, n.here = d.Text(), d.Text()
	n.moves = d.Uint64()
	n.next, n.stay = d.Time(), d.Time()
	n.known = nil
	for range d.Count(20) {
		n.known = append(n.known, node{d.Text(), d.Uint64(), time.Duration(d.Int64())})
	}
	return d.Close()
}

func init() { sdk.Run(&nomad{}) }

func main() {}
