package sdk

import (
	"math"
	"testing"
)

func TestDecimal(t *testing.T) {
	for _, tt := range []struct {
		units  int64
		places int
		want   string
	}{
		{6412345, 2, "64123.45"}, {5, 2, "0.05"}, {0, 2, "0.00"}, {100, 2, "1.00"}, {-5, 2, "-0.05"}, {-123456, 2, "-1234.56"},
		{7, 0, "7"}, {999_999, 6, "0.999999"}, {1_000_000, 6, "1.000000"},
		{math.MaxInt64, 6, "9223372036854.775807"}, {math.MinInt64, 18, "-9.223372036854775808"}, {math.MinInt64, 19, "-0.9223372036854775808"},
	} {
		if got := Decimal(tt.units, tt.places); got != tt.want {
			t.Errorf("Decimal(%d, %d) = %q, want %q", tt.units, tt.places, got, tt.want)
		}
	}
}
