package sim

import (
	"strings"
	"testing"
	"time"

	"igor.dev/node/price"
)

const nodes = `[
	{"name": "a", "price_microcents": 1000, "regions": ["eu"], "rtt_ms": 1.5, "drains_at_tick": 5, "takes_again_at_tick": 7},
	{"name": "b", "full": true}
]`

func TestParseNodes(t *testing.T) {
	all, err := ParseNodes([]byte(nodes), 1)
	if err != nil {
		t.Fatal(err)
	}
	a, b := all[0], all[1]
	now := time.Unix(1_700_000_000, 0)
	for tick, drains := range []bool{false, false, false, false, false, true, true, false, false} {
		signed, err := a.Offer(now, uint64(tick))
		if err != nil {
			t.Fatal(err)
		}
		o, err := price.Parse(signed)
		if err != nil {
			t.Fatal(err)
		}
		if o.Draining != drains || o.Node != a.Key() || o.Price != 1000 || o.FreeAgents != 1 || o.At(now) != nil {
			t.Errorf("tick %d: offers %+v", tick, o)
		}
	}
	if a.Delay() != 1500*time.Microsecond || a.Key() == b.Key() {
		t.Errorf("got %+v and %+v", a, b)
	}
	if o, err := b.Offer(now, 1); err != nil {
		t.Error(err)
	} else if o, err := price.Parse(o); err != nil || o.FreeAgents != 0 {
		t.Errorf("%+v, %v", o, err)
	}
	other, err := ParseNodes([]byte(nodes), 2)
	if err != nil || other[0].Key() == a.Key() {
		t.Errorf("another seed has the same keys, %v", err)
	}
}

func TestParseNodesRefuses(t *testing.T) {
	for _, bad := range []string{
		"", "{}", "[]", "[null]", `[{"name": ""}]`, `[{"name": "A"}]`, `[{"name": "a"}, {"name": "a"}]`, `[{"name": "a", "x": 1}]`,
		`[{"name": "a"}] 1`, `[{"name": "a", "rtt_ms": -1}]`, `[{"name": "a", "rtt_ms": 1e9}]`, `[{"name": "a", "price_microcents": -1}]`,
		`[{"name": "a", "drains_at_tick": 5, "takes_again_at_tick": 5}]`, `[{"name": "a", "regions": ["eu", "eu"]}]`, `[{"name": "a", "regions": ["E"]}]`,
		"[" + strings.Repeat(`{"name": "a"},`, MaxNodes) + `{"name": "a"}]`, strings.Repeat(" ", MaxNodesSize) + nodes,
	} {
		if all, err := ParseNodes([]byte(bad), 1); err == nil {
			t.Errorf("%.60s: read as %v", bad, all)
		}
	}
}
