package progress

import "testing"

func TestLine(t *testing.T) {
	var l Line
	Begin(t.Context(), func() string { t.Error("nobody asks"); return "" })()
	ctx := With(t.Context(), &l)
	want := func(s string) {
		t.Helper()
		if got := l.String(); got != s {
			t.Errorf("it says %q, want %q", got, s)
		}
	}
	want("")
	outer := Begin(ctx, func() string { return "outer" })
	want("outer")
	inner := Begin(ctx, func() string { return "inner" })
	want("inner")
	inner()
	want("outer")
	outer()
	want("")
}
