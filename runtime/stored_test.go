package runtime

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"igor.dev/runtime/internal/eventlog"
	"igor.dev/runtime/internal/store"
)

// TestPriceStored has an agent pay for each byte of its checkpoints and event log, once,
// and only for that. A checkpoint that was lost is made again as it was, at the price of
// then; running the life again comes to the same.
func TestPriceStored(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "agent")
	b := birth(watcher(""))
	b.Manifest, b.Budget, b.Price = []byte(watching), 1<<20, 0
	c := ticks(7, 3)
	c.PriceStored = 1e9 // a microcent a byte
	r, err := Start(t.Context(), dir, b, c)
	if err != nil {
		t.Fatal(err)
	}
	const seal = 169 + 12
	left, first := b.Budget, uint64(0)
	for _, s := range sights(t, dir) {
		segment, err := os.Stat(filepath.Join(dir, "events", eventlog.FileName(first)))
		if err != nil {
			t.Fatal(err)
		}
		left -= int64(s.Bytes) + segment.Size() - seal
		if s.Budget != left {
			t.Errorf("after tick %d the budget is %d, want %d", s.Tick, s.Budget, left)
		}
		first = s.Tick + 1
	}
	if r.Budget != left || left == b.Budget {
		t.Errorf("the budget is %d, want %d", r.Budget, left)
	}
	replays := func() {
		t.Helper()
		if r, err := Replay(t.Context(), dir, replayConfig(dir, b)); err != nil || r.Verdict != Replayed {
			t.Errorf("replay: %+v, %v", r, err)
		}
	}
	replays()

	was := lineage(t, dir)
	damage(t, dir, 6)
	if _, err := Resume(t.Context(), dir, ticks(2, 0)); err != nil { // at another price
		t.Fatal(err)
	}
	is := lineage(t, dir)
	if !slices.Equal(is[:len(was)], was) {
		t.Errorf("the history was %v, and is %v", was, is)
	}
	if s := sights(t, dir); s[len(s)-1].Budget != left {
		t.Errorf("at no price, the budget went from %d to %d", left, s[len(s)-1].Budget)
	}
	replays()

	// A price takes no more than there is, and then the run ends.
	c = ticks(0, 1)
	c.PriceStored = 1 << 50
	r, err = Resume(t.Context(), dir, c)
	if err != nil || r.Reason != BudgetExhausted || r.Budget != 0 {
		t.Errorf("got %+v, %v", r, err)
	}
	replays()
	if _, err := Resume(t.Context(), dir, c); err == nil || !strings.Contains(err.Error(), "exhausted") {
		t.Errorf("got %v", err)
	}

	// One byte more or less in the record is another verdict.
	segment := filepath.Join(dir, "events", eventlog.FileName(r.Tick))
	whole, err := os.ReadFile(segment)
	if err != nil {
		t.Fatal(err)
	}
	at := len(whole) - seal + 8 + 1 + 64 + 8 // the bytes that are stored
	whole[at] ^= 1
	if err := os.WriteFile(segment, whole, 0o644); err != nil {
		t.Fatal(err)
	}
	if r, err := Replay(t.Context(), dir, replayConfig(dir, b)); err == nil && r.Verdict == Replayed {
		t.Error("a changed number of bytes replays")
	}
	if _, err := os.Stat(filepath.Join(dir, "history", store.FileName(r.Tick))); err != nil {
		t.Error(err)
	}
}
