package keeper

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"igor.dev/node/price"
	"igor.dev/verifier"
)

var now = time.Unix(1_800_000_000, 0)

func node(name byte, change func(n *Node)) Node {
	n := Node{Domain: "rack", Offer: &price.Offer{Node: verifier.PublicKey{name}, Issued: now.Unix(), Expires: now.Unix() + 60, Price: 1000,
		FreeAgents: 3, FreeMemory: 1 << 20, Schedules: []uint32{1}, Regions: []string{"eu"}, Capabilities: []price.Capability{{Name: "http", Version: 1}}}}
	if change != nil {
		change(&n)
	}
	return n
}

func wants(change func(w *Wants)) *Wants {
	w := &Wants{Agent: verifier.PublicKey{200}, Schedule: 1, Memory: 1 << 10, MaxPrice: 1000, Required: []string{"us", "eu"}, Preferred: []string{"ap", "eu"},
		Needs: []price.Capability{{Name: "http", Version: 1}}}
	for i := range byte(10) {
		w.Allowed = append(w.Allowed, verifier.PublicKey{i})
	}
	if change != nil {
		change(w)
	}
	return w
}

func TestRefuses(t *testing.T) {
	n := node(1, nil)
	if why := wants(nil).Refuses(n.Offer, now); why != nil {
		t.Fatalf("refused: %v", why)
	}
	for name, change := range map[string]func(*Node){
		"not allowed":   func(n *Node) { n.Offer.Node = verifier.PublicKey{11} },
		"ended":         func(n *Node) { n.Offer.Expires = now.Unix() },
		"draining":      func(n *Node) { n.Offer.Draining = true },
		"full":          func(n *Node) { n.Offer.FreeAgents = 0 },
		"no memory":     func(n *Node) { n.Offer.FreeMemory = 1<<10 - 1 },
		"dear":          func(n *Node) { n.Offer.Price = 1001 },
		"schedule":      func(n *Node) { n.Offer.Schedules = []uint32{2} },
		"elsewhere":     func(n *Node) { n.Offer.Regions = []string{"ap"} },
		"no region":     func(n *Node) { n.Offer.Regions = nil },
		"no capability": func(n *Node) { n.Offer.Capabilities = nil },
	} {
		n := node(1, change)
		if wants(nil).Refuses(n.Offer, now) == nil {
			t.Errorf("%s: not refused", name)
		}
	}
	if wants(func(w *Wants) { w.Allowed = nil }).Refuses(n.Offer, now) == nil {
		t.Error("an agent that allows nobody is taken")
	}
}

func TestCandidates(t *testing.T) {
	names := func(of []Node) (all []byte) {
		for _, n := range of {
			all = append(all, n.Offer.Node[0])
		}
		return all
	}
	crowd := Crowd{}
	crowd.Add("twins", "rack")
	crowd.Add("", "shelf") // no group is spread
	for _, tt := range []struct {
		name  string
		wants *Wants
		nodes []Node
		want  []byte
	}{
		{"regions first", wants(nil), []Node{
			node(1, nil),
			node(2, func(n *Node) { n.Offer.Regions = []string{"ap", "us"}; n.Agents = 100 }),
		}, []byte{2, 1}},
		{"then domains without the group", wants(func(w *Wants) { w.Group = "twins" }), []Node{
			node(1, nil),
			node(2, func(n *Node) { n.Domain = "shelf"; n.Agents = 100 }),
		}, []byte{2, 1}},
		{"then room, in quarters", wants(nil), []Node{
			node(1, func(n *Node) { n.Agents = 3; n.Offer.Price = 1 }),
			node(2, nil),
		}, []byte{2, 1}},
		{"then price", wants(nil), []Node{
			node(1, nil),
			node(2, func(n *Node) { n.Offer.Price = 999 }),
			node(3, func(n *Node) { n.Offer.Price = 1001 }),
		}, []byte{2, 1}},
	} {
		if got := names(tt.wants.Candidates(tt.nodes, crowd, now)); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

// TestSameForAll has all who know the same rank candidates the same, in whatever order they
// know them; and a node that goes does not change the order of the others.
func TestSameForAll(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var nodes []Node
		for i := range rapid.IntRange(1, 9).Draw(t, "nodes") {
			nodes = append(nodes, node(byte(i), func(n *Node) {
				n.Domain = fmt.Sprint(rapid.IntRange(0, 2).Draw(t, "domain"))
				n.Agents = rapid.IntRange(0, 5).Draw(t, "agents")
				n.Offer.Price = rapid.Int64Range(998, 1002).Draw(t, "price")
				n.Offer.FreeAgents = rapid.Uint32Range(0, 3).Draw(t, "free")
			}))
		}
		w := wants(func(w *Wants) { w.Agent[1] = rapid.Byte().Draw(t, "agent") })
		all := w.Candidates(nodes, nil, now)
		other := w.Candidates(rapid.Permutation(nodes).Draw(t, "order"), nil, now)
		same := func(a, b Node) bool { return a.Offer == b.Offer }
		if !slices.EqualFunc(all, other, same) {
			t.Fatalf("ranked %v and %v", all, other)
		}
		for i, n := range all {
			if rank(all, n.Offer.Node) != i {
				t.Fatal("a rank is not the place")
			}
		}
		if len(all) > 0 {
			gone := rapid.IntRange(0, len(all)-1).Draw(t, "gone")
			rest := slices.DeleteFunc(slices.Clone(nodes), func(n Node) bool { return n.Offer == all[gone].Offer })
			if got := w.Candidates(rest, nil, now); !slices.EqualFunc(got, slices.Delete(slices.Clone(all), gone, gone+1), same) {
				t.Fatalf("without %v: %v", all[gone], got)
			}
		}
	})
}

// TestSpread gives each of many agents another first candidate, about as often each.
func TestSpread(t *testing.T) {
	var nodes []Node
	for i := range byte(10) {
		nodes = append(nodes, node(i, nil))
	}
	count := map[byte]int{}
	for i := range 1000 {
		w := wants(func(w *Wants) { w.Agent = verifier.PublicKey{byte(i), byte(i >> 8), 7} })
		count[w.Candidates(nodes, nil, now)[0].Offer.Node[0]]++
	}
	for i := range byte(10) {
		if n := count[i]; n < 50 || n > 200 {
			t.Errorf("node %d is first for %d of 1,000 agents", i, n)
		}
	}
}
