package fuel

import "testing"

// TestAccount checks that an account holds what can be owed at the most, and that
// neither part of it changes the other.
func TestAccount(t *testing.T) {
	const most = 1<<46 - 1
	for _, fuel := range []int64{0, 1, -1, Slice, most, -most, -most - 1} {
		for _, depth := range []int64{0, 1, -1, MaxDepth, -MaxDepth - 1} {
			if f, d := unpack(pack(fuel, depth)); f != fuel || d != depth {
				t.Errorf("%d and %d come back as %d and %d", fuel, depth, f, d)
			}
		}
	}
	var a Account
	a.Begin(nil, 1<<63)
	a.granted = Slice
	if _, err := a.Ask(pack(-most-1, 5)); err != ErrOutOfFuel || a.used != Slice+most+1 {
		t.Errorf("got %v, %d used", err, a.used)
	}
	if units, err := a.End(); units != 1<<45 || err != ErrOutOfFuel {
		t.Errorf("got %d, %v", units, err)
	}
	// The largest price of a length is less than an account holds.
	for _, p := range lengths {
		if p.divide == 0 && (1<<32-1)<<p.times > int64(most) {
			t.Errorf("a length at %+v is more than an account holds", p)
		}
	}
}
