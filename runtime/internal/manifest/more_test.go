package manifest

import (
	"strings"
	"testing"
)

// TestMore says what a manifest grants more than another: also to repeat, with nobody
// asked, what could not be repeated before.
func TestMore(t *testing.T) {
	of := func(http, x402 string) string {
		return `{"capabilities": {"http": {"version": 1, "options": {"allowed_hosts": ["a.example", "b.example:80"]` + http + `}},
			"x402": {"version": 1, "options": {"allowed_recipients": ["shop"], "max_payment_microcents": 5` + x402 + `}}}}`
	}
	for _, tt := range []struct{ before, after, want string }{
		{of("", ""), of("", ""), ""},
		{of("", ""), of(`, "class": "idempotent"`, ""), "to repeat requests to a.example: idempotent instead of unsafe; to repeat requests to b.example:80: idempotent instead of unsafe"},
		{of(`, "class": "idempotent"`, ""), of("", ""), ""},
		{of(`, "class": "idempotent"`, `, "class": "idempotent"`), of(`, "class": "idempotent"`, `, "class": "queryable"`), ""},
		{of("", `, "class": "queryable"`), of("", `, "class": "idempotent"`), "to repeat payments: idempotent instead of queryable"},
		{of("", ""), of(`, "classes": {"a.example": "idempotent"}`, ""), "to repeat requests to a.example: idempotent instead of unsafe"},
		{`{}`, `{"capabilities": {"clock": {"version": 1}}}`, "the capability clock"},
	} {
		parse := func(s string) *Manifest {
			m, err := Parse([]byte(s))
			if err != nil {
				t.Fatal(err, s)
			}
			return m
		}
		if got := strings.Join(More(parse(tt.before), parse(tt.after)), "; "); got != tt.want {
			t.Errorf("from %s to %s: got %q, want %q", tt.before, tt.after, got, tt.want)
		}
	}
}
