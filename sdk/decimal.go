package sdk

import (
	"strconv"
	"strings"
)

// Decimal writes a number of units that are 10^-places each: Decimal(6412345, 2) is
// "64123.45". Amounts are whole numbers in an agent, and a budget has six places.
func Decimal(units int64, places int) string {
	digits, sign := strconv.FormatInt(units, 10), ""
	if digits[0] == '-' {
		digits, sign = digits[1:], "-"
	}
	if places <= 0 {
		return sign + digits
	}
	if missing := places + 1 - len(digits); missing > 0 {
		digits = strings.Repeat("0", missing) + digits
	}
	point := len(digits) - places
	return sign + digits[:point] + "." + digits[point:]
}
