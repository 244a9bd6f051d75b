package runtime

import (
	"math"
	"math/big"
	"math/rand/v2"
	"testing"
	"time"

	"igor.dev/verifier"
)

func TestParseAmount(t *testing.T) {
	for in, want := range map[string]int64{
		"0": 0, "1": 1_000_000, "0.000001": 1, "0.001": 1000, "1.5": 1_500_000, "007.25": 7_250_000,
		"9223372036854.775807": math.MaxInt64, "1.000000": 1_000_000,
	} {
		if got, err := ParseAmount(in); got != want || err != nil {
			t.Errorf("%q: got %d, %v, want %d", in, got, err, want)
		}
	}
	for _, in := range []string{"", ".", "1.", ".5", "-1", "+1", "1e3", "1,5", "0.0000001", " 1", "1 ", "0x1", "1_0",
		"9223372036854.775808", "99999999999999999999", "NaN", "inf", "1.5.0", "١"} {
		if got, err := ParseAmount(in); err == nil {
			t.Errorf("%q: got %d, want an error", in, got)
		}
	}
}

func FuzzParseAmount(f *testing.F) {
	f.Add("0.001")
	f.Add("9223372036854.775807")
	f.Fuzz(func(t *testing.T, s string) {
		v, err := ParseAmount(s)
		if err != nil {
			return
		}
		want, ok := new(big.Rat).SetString(s)
		if !ok || want.Cmp(big.NewRat(v, 1_000_000)) != 0 {
			t.Errorf("%q: got %d", s, v)
		}
		if again, err := ParseAmount(verifier.FormatMicrocents(v)); err != nil || again != v {
			t.Errorf("%q: %d reads back as %d, %v", s, v, again, err)
		}
	})
}

// TestChargeExact checks that many short ticks cost what their time costs, to
// the microcent.
func TestChargeExact(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, price := range []int64{1, 999, 1000, 123_456_789, math.MaxInt64 / 1_000_000_000} {
		a := account{budget: math.MaxInt64, price: price}
		var total time.Duration
		for range 10_000 {
			d := time.Duration(r.Int64N(100_000))
			total += d
			a.charge(d)
		}
		want := new(big.Int).Mul(big.NewInt(int64(total)), big.NewInt(price))
		want.Quo(want, big.NewInt(1e9))
		if spent := math.MaxInt64 - a.budget; !want.IsInt64() || spent != want.Int64() {
			t.Errorf("price %d: spent %d, want %v", price, spent, want)
		}
	}
}

func TestChargeLimits(t *testing.T) {
	for _, tt := range []struct {
		account
		elapsed   time.Duration
		want      int64
		exhausted bool
	}{
		{account{budget: 10, price: 1}, 3 * time.Second, 7, false},
		{account{budget: 10, price: 1}, 10 * time.Second, 0, true},
		{account{budget: 10, price: 1}, 11 * time.Second, 0, true},
		{account{budget: 10, price: 0}, math.MaxInt64, 10, false},
		{account{budget: 0, price: 0}, time.Hour, 0, false},
		{account{budget: 0, price: 1}, 0, 0, true},
		{account{budget: 10, price: 1}, -time.Hour, 10, false},
		{account{budget: math.MaxInt64, price: math.MaxInt64}, math.MaxInt64, 0, true},
		{account{budget: math.MaxInt64, price: math.MaxInt64}, 1, math.MaxInt64 - math.MaxInt64/1_000_000_000, false},
		{account{budget: math.MaxInt64, price: 1_000_000_000, rest: 999_999_999}, math.MaxInt64, 0, true},
	} {
		a := tt.account
		a.charge(tt.elapsed)
		if a.budget != tt.want || a.exhausted() != tt.exhausted || a.rest >= 1e9 {
			t.Errorf("%+v for %v: got %+v, want a budget of %d", tt.account, tt.elapsed, a, tt.want)
		}
	}
}

func TestAdd(t *testing.T) {
	a := account{budget: 1}
	if err := a.add(math.MaxInt64 - 1); err != nil || a.budget != math.MaxInt64 {
		t.Error(a, err)
	}
	if err := a.add(1); err == nil {
		t.Error("overflow")
	}
}
