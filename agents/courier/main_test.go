package main

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"igor.dev/sdk"
	"igor.dev/sdk/sdktest"
)

// A town is a shop, a customer and some nodes, on one of which a courier lives.
type town struct {
	t         *testing.T
	world     *sdktest.World
	agent     *courier
	nodes     map[string]*house // by DID
	names     []string          // DIDs, in the order in which they are offered
	path      string            // names of where it was
	stuck     bool              // moves fail
	sold      int
	delivered []string
}

// A house is a node.
type house struct {
	name     string
	price    int64
	draining bool
}

func newTown(t *testing.T, houses ...house) *town {
	n := &town{t: t, world: sdktest.New(t), agent: newCourier(), nodes: map[string]*house{}}
	n.world.Web = n
	for i := range houses {
		o, err := sdk.ReadOffer(n.offer(houses[i]))
		if err != nil {
			t.Fatal(err)
		}
		n.nodes[o.Node] = &houses[i]
		n.names = append(n.names, o.Node)
	}
	if len(houses) > 0 {
		n.world.Node = &sdktest.Node{}
		n.move(n.names[0])
	}
	return n
}

func (n *town) offer(h house) []byte {
	return sdktest.Offer([32]byte{h.name[0]}, sdk.Offer{Issued: n.world.Time, Expires: n.world.Time.Add(time.Hour), Price: h.price, FreeAgents: 1, Draining: h.draining})
}

func (n *town) move(to string) {
	n.world.Node.ID, n.world.Price = to, n.nodes[to].price
	n.path += n.nodes[to].name
}

// ServeHTTP is the shop's, and the customer's.
func (n *town) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		n.t.Error(err)
	}
	what := strings.TrimPrefix(r.URL.Path, "/reports/") + " " + string(body)
	switch {
	case r.URL.Path == "/report":
		n.sold++
		io.WriteString(w, "21 degrees")
	case r.Method == http.MethodPost:
		n.delivered = append(n.delivered, what)
	case !strings.HasPrefix(strings.Join(n.delivered, "\n"), strings.TrimSpace(what)):
		w.WriteHeader(http.StatusNotFound)
	}
}

// live lets so many seconds go by, two ticks in each. The state is taken and restored.
func (n *town) live(seconds int) {
	n.t.Helper()
	for range 2 * seconds {
		if node := n.world.Node; node != nil {
			node.Offers, node.Drain = nil, time.Time{}
			for _, did := range n.names {
				if did != node.ID {
					node.Offers = append(node.Offers, n.offer(*n.nodes[did]))
				}
			}
			if n.nodes[node.ID].draining {
				node.Drain = n.world.Time.Add(time.Minute)
			}
		}
		n.agent.Tick()
		n.agent = sdktest.Restart(n.t, n.agent, newCourier())
		if node := n.world.Node; node != nil && node.Status == sdk.Asked {
			if node.Status = sdk.Moved; n.stuck {
				node.Status = sdk.Migration(-4)
			} else {
				n.move(node.Wish)
			}
		}
		n.world.Time = n.world.Time.Add(time.Second / 2)
	}
}

// was checks where the courier has been.
func (n *town) was(want string) {
	n.t.Helper()
	if n.path != want {
		n.t.Errorf("was on %s, want %s. It said:\n%s", n.path, want, n.world.Log())
	}
}

func TestWork(t *testing.T) {
	n := newTown(t) // on no node
	n.live(10)
	if n.sold < 4 || n.sold > 10 || len(n.delivered) < n.sold-1 || n.delivered[1] != "2 21 degrees" || n.agent.delivered != uint64(len(n.delivered)) {
		t.Errorf("bought %d, delivered %q, and says %d", n.sold, n.delivered, n.agent.delivered)
	}
}

// TestNotDelivered has the shop take the money and give nothing: it buys another one.
func TestNotDelivered(t *testing.T) {
	n := newTown(t)
	n.world.Lose = func(_, _ string) error { n.world.Lose = nil; return sdk.ErrNotDelivered }
	n.live(4)
	if n.sold < 2 || len(n.delivered) < 1 || len(n.agent.log.Open()) != 0 {
		t.Errorf("bought %d, delivered %q\n%s", n.sold, n.delivered, n.world.Log())
	}
}

// TestUnresolved does not know whether it paid, until it is told.
func TestUnresolved(t *testing.T) {
	for _, outcome := range []sdk.Outcome{sdk.OutcomeConfirmed, sdk.OutcomeCompensated} {
		n := newTown(t)
		n.world.Lose = func(_, _ string) error { return sdk.ErrUnresolved }
		n.live(10)
		if n.sold != 1 || len(n.delivered) != 0 {
			t.Fatalf("bought %d times while it was not known whether it paid", n.sold)
		}
		n.world.Lose = nil
		n.world.Tell(t, n.agent, outcome, 0)
		n.live(4)
		if n.sold < 2 || len(n.delivered) < 1 {
			t.Errorf("told %v, bought %d, delivered %q\n%s", outcome, n.sold, n.delivered, n.world.Log())
		}
	}
}

// TestLostAnswer loses the answer to a delivery. The customer knows whether it came.
func TestLostAnswer(t *testing.T) {
	for _, came := range []bool{true, false} {
		n := newTown(t)
		n.world.Lose = func(_, url string) error {
			if !strings.Contains(url, "/reports/") {
				return nil
			}
			n.world.Lose = nil
			if !came {
				n.delivered = nil
			}
			return sdk.ErrUnresolved
		}
		n.live(3)
		if len(n.delivered) == 0 || n.delivered[0] != "1 21 degrees" || len(n.delivered) > 1 && n.delivered[1] == n.delivered[0] || n.agent.delivered != uint64(len(n.delivered)) {
			t.Errorf("came %v: delivered %q, and says %d\n%s", came, n.delivered, n.agent.delivered, n.world.Log())
		}
	}
}

// TestTold is told by an operator about a delivery, which the customer forgot.
func TestTold(t *testing.T) {
	n := newTown(t)
	n.world.Lose = func(_, url string) error {
		if strings.Contains(url, "/reports/") {
			n.world.Web = nil // and cannot be asked
			return sdk.ErrUnresolved
		}
		return nil
	}
	n.live(5)
	if len(n.agent.log.Open()) != 1 {
		t.Fatalf("%v", n.agent.log.Open())
	}
	n.world.Tell(t, n.agent, sdk.OutcomeConfirmed, 0)
	if n.agent.delivered != 1 || n.agent.report != "" || len(n.agent.log.Open()) != 0 {
		t.Errorf("delivered %d, and has %q", n.agent.delivered, n.agent.report)
	}
}

func TestMoves(t *testing.T) {
	n := newTown(t, house{"a", 20_000, false}, house{"b", 19_000, false}, house{"c", 10_000, true})
	n.live(20)
	n.was("a") // b is hardly cheaper, and c takes nobody
	c := n.nodes[n.names[2]]
	c.draining = false
	n.live(20)
	n.was("ac")
	c.draining = true
	n.nodes[n.names[1]].price = 21_000
	n.live(20)
	n.was("aca")
	if n.sold < 20 || len(n.delivered) < n.sold-1 {
		t.Errorf("bought %d, delivered %d", n.sold, len(n.delivered))
	}
}

// TestStuck is moved by nobody, and asks now and then.
func TestStuck(t *testing.T) {
	n := newTown(t, house{"a", 20_000, true}, house{"b", 30_000, false})
	n.stuck = true
	n.live(21)
	if asked := strings.Count(n.world.Log(), "asks to be moved"); asked != 5 || strings.Count(n.world.Log(), "was not moved: ") != 5 {
		t.Errorf("asked %d times:\n%s", asked, n.world.Log())
	}
	n.stuck = false
	n.live(5)
	n.was("ab") // which is dearer
	n.world.Deny = func(call, _ string) error {
		if call == "migrate" {
			return sdk.ErrNotAllowed
		}
		return nil
	}
	n.nodes[n.names[1]].draining, n.nodes[n.names[0]].draining = true, false
	n.live(6)
	n.was("ab")
	if !strings.Contains(n.world.Log(), "cannot ask to be moved: ") {
		t.Error(n.world.Log())
	}
}

func TestUnmarshal(t *testing.T) {
	b := newCourier().Marshal()
	for i := range b {
		if err := newCourier().Unmarshal(b[:i]); err == nil {
			t.Errorf("the first %d bytes of %d are a state", i, len(b))
		}
	}
	if err := newCourier().Unmarshal(append(b, 0)); err == nil || errors.Is(err, sdk.ErrFailed) {
		t.Errorf("a byte more: %v", err)
	}
}
