package main

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"igor.dev/agents/internal/life"
	"igor.dev/sdk"
	"igor.dev/sdk/sdktest"
)

// A country is some nodes, and an agent that lives on one of them.
type country struct {
	t     *testing.T
	world *sdktest.World
	agent *nomad
	nodes map[string]*place // by DID
	names []string          // DIDs, in the order in which they are offered
	lost  bool              // a move fails
	path  []string          // names of where it was
}

// A place is a node.
type place struct {
	name     string
	price    int64
	rtt      time.Duration
	draining bool
}

func newCountry(t *testing.T, places ...place) *country {
	c := &country{t: t, world: sdktest.New(t), agent: &nomad{}, nodes: map[string]*place{}}
	for i := range places {
		o, err := sdk.ReadOffer(c.offer(places[i]))
		if err != nil {
			t.Fatal(err)
		}
		c.nodes[o.Node] = &places[i]
		c.names = append(c.names, o.Node)
	}
	c.world.Node = &sdktest.Node{}
	c.world.Web = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.world.Time = c.world.Time.Add(c.here().rtt)
		if r.URL.RequestURI() != path {
			t.Errorf("the customer got %s", r.URL)
		}
	})
	c.move(c.names[0])
	c.agent.Init()
	return c
}

func (c *country) here() *place { return c.nodes[c.world.Node.ID] }

func (c *country) offer(p place) []byte {
	return sdktest.Offer([32]byte{p.name[0]}, sdk.Offer{
		Issued: c.world.Time, Expires: c.world.Time.Add(time.Hour), Price: p.price, FreeAgents: 1, Draining: p.draining, Regions: []string{"eu"},
	})
}

func (c *country) move(to string) {
	c.world.Node.ID, c.world.Price = to, c.nodes[to].price
	c.path = append(c.path, c.nodes[to].name)
}

// live lets so many seconds go by. The state is taken and restored in each.
func (c *country) live(seconds int) {
	c.t.Helper()
	n := c.world.Node
	for range seconds {
		n.Offers, n.Drain = nil, time.Time{}
		for _, did := range c.names {
			if did != n.ID {
				n.Offers = append(n.Offers, c.offer(*c.nodes[did]))
			}
		}
		if c.here().draining {
			n.Drain = c.world.Time.Add(time.Minute)
		}
		c.agent.Tick()
		c.agent = sdktest.Restart(c.t, c.agent, &nomad{})
		switch {
		case n.Status != sdk.Asked:
		case c.lost:
			n.Status = sdk.Migration(-4)
		default:
			n.Status = sdk.Moved
			c.move(n.Wish)
		}
		c.world.Time = c.world.Time.Add(time.Second)
	}
}

// was checks where the agent has been.
func (c *country) was(want string) {
	c.t.Helper()
	if got := strings.Join(c.path, " "); got != want {
		c.t.Errorf("was on %s, want %s. It said:\n%s", got, want, c.world.Log())
	}
}

const ms = time.Millisecond

func TestStays(t *testing.T) {
	c := newCountry(t, place{"a", 1000, 5 * ms, false}, place{"b", 950, 5 * ms, false})
	c.live(600)
	c.was("a") // b is hardly cheaper
}

func TestByPrice(t *testing.T) {
	c := newCountry(t, place{"a", 2000, 5 * ms, false}, place{"b", 1500, 5 * ms, false}, place{"c", 1000, 5 * ms, false})
	c.live(60)
	c.was("a c")
	c.nodes[c.names[0]].price = 1000 // as cheap as c, and home
	c.live(60)
	c.was("a c a")
}

func TestByDistance(t *testing.T) {
	c := newCountry(t, place{"a", 1000, 100 * ms, false}, place{"b", 900, 120 * ms, false}, place{"c", 2000, 5 * ms, false})
	c.live(300)
	c.was("a b c") // every node that may be nearer is tried, and the nearest kept
	c.live(600)
	c.was("a b c")
}

func TestDrain(t *testing.T) {
	c := newCountry(t, place{"a", 1000, 5 * ms, false}, place{"b", 1200, 5 * ms, false})
	c.nodes[c.names[0]].draining = true
	c.live(2)
	c.was("a b")
	c.live(100)
	c.was("a b") // home still drains
	c.nodes[c.names[0]].draining = false
	c.live(100)
	c.was("a b a")
}

func TestNowhereToGo(t *testing.T) {
	c := newCountry(t, place{"a", 1000, 5 * ms, true})
	c.live(10)
	c.was("a")
	if !strings.Contains(c.world.Log(), "nowhere to go") {
		t.Errorf("said:\n%s", c.world.Log())
	}
}

// TestRefused asks again, but not in each tick.
func TestRefused(t *testing.T) {
	c := newCountry(t, place{"a", 2000, 5 * ms, false}, place{"b", 1000, 5 * ms, false})
	c.lost = true
	c.live(90)
	c.was("a")
	if n := strings.Count(c.world.Log(), "asks to be moved"); n < 2 || n > 4 {
		t.Errorf("asked %d times in 90 seconds:\n%s", n, c.world.Log())
	}
	if !strings.Contains(c.world.Log(), "was not moved") {
		t.Errorf("said:\n%s", c.world.Log())
	}
	c.world.Deny = func(call, target string) error { return sdk.ErrNotAllowed }
	c.lost = false
	c.live(90)
	c.was("a")
	c.world.Deny = nil
	c.live(60)
	c.was("a b")
}

// TestOutOfReach leaves a node from which the customer cannot be reached.
func TestOutOfReach(t *testing.T) {
	c := newCountry(t, place{"a", 1000, 5 * ms, false}, place{"b", 5000, 5 * ms, false})
	c.world.Lose = func(call, target string) error {
		if call == "http_request" && c.here().name == "a" {
			return sdk.ErrTimeout
		}
		return nil
	}
	c.live(60)
	c.was("a b")
}

func TestNoNode(t *testing.T) {
	world := sdktest.New(t)
	world.Web = http.NotFoundHandler()
	n := &nomad{}
	for range 10 {
		n.Tick()
		world.Time = world.Time.Add(time.Second)
	}
	if n.moves != 0 || n.home != "" {
		t.Errorf("got %+v", n)
	}
	if _, err := sdk.NodeID(); !errors.Is(err, sdk.ErrNotOnNode) {
		t.Error(err)
	}
}

// TestSimulated lives on simulated nodes, one of which is full, and dies now and then: it
// goes where the others are tried for, leaves the one that drains, and comes back to it.
func TestSimulated(t *testing.T) {
	l := life.New(t, "go", server, server)
	out, err := l.Command("simulate", l.WASM, "--quiet", "--ticks=1000", "--nodes=testdata/nodes.json", "--http=testdata/answers.json",
		"--crash-every=37", "--verify", "--json").Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var r struct {
		Moves     int
		Node      string
		Requests  int
		Replayed  struct{ Verdict string }
		Restarted struct{ Verdict string }
	}
	if err := json.Unmarshal(out, &r); err != nil {
		t.Fatal(err)
	}
	if r.Moves != 4 || r.Node != "near" || r.Requests < 1000 || r.Replayed.Verdict != "replayed" || r.Restarted.Verdict != "replayed" {
		t.Errorf("got %+v", r)
	}
}
