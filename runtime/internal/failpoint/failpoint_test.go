package failpoint

import "testing"

func TestNames(t *testing.T) {
	seen := map[string]bool{}
	for p := range points {
		if p.String() == "" || seen[p.String()] {
			t.Errorf("point %d is called %q", p, p)
		}
		seen[p.String()] = true
	}
}

func TestNothing(t *testing.T) {
	if n := testing.AllocsPerRun(100, func() { Reach(TickBegins) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
