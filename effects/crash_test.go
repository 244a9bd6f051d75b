package effects_test

import (
	"testing"

	"igor.dev/effects"
)

// A world outlives every crash: the disk, and the outside that acts arrive at.
type world struct {
	disk []byte
	acts map[string]int

	fuse  int // steps until the next kill; below zero, none comes
	steps int
}

type killed struct{}

// step is a point at which the program may be killed.
func (w *world) step() {
	w.steps++
	if w.fuse == 0 {
		panic(killed{})
	}
	w.fuse--
}

// program is what the spec tells an author to write: save after Begin and
// before the act; at the start, settle what is not finished by asking.
func (w *world) program(ids []string) {
	var log effects.Log
	save := func() {
		w.step()
		w.disk, _ = log.MarshalBinary()
		w.step()
	}
	check := func(err error) {
		if err != nil {
			panic(err)
		}
	}
	if w.disk != nil {
		check(log.UnmarshalBinary(w.disk))
	}
	for in := range log.Unresolved() {
		w.step()
		if w.acts[in.ID] > 0 {
			check(log.Confirm(in.ID))
		} else {
			check(log.Compensate(in.ID))
		}
	}
	save()
	for _, id := range ids {
		if _, ok := log.Get(id); !ok {
			check(log.Record(id, nil))
			save()
		}
		if in, _ := log.Get(id); in.State != effects.Recorded {
			continue
		}
		check(log.Begin(id))
		save()
		w.acts[id]++
		w.step()
		check(log.Confirm(id))
		save()
	}
}

// run runs the program until its end or a kill, and says which it was.
func (w *world) run(fuse int, ids []string) (finished bool) {
	w.fuse = fuse
	defer func() {
		if r := recover(); r != nil {
			if _, ok := r.(killed); !ok {
				panic(r)
			}
		}
	}()
	w.program(ids)
	return true
}

// The program is killed at every step, and its successor at every step too.
// No act is repeated, and at the end the log says what the world says.
func TestKillEverywhere(t *testing.T) {
	ids := []string{"a", "b"}
	whole := &world{acts: map[string]int{}}
	if !whole.run(-1, ids) || whole.steps == 0 || whole.acts["a"] != 1 || whole.acts["b"] != 1 {
		t.Fatalf("an undisturbed run: %+v", whole)
	}
	runs, kills := 0, 0
	for first := range whole.steps {
		for second := range whole.steps + len(ids) {
			w := &world{acts: map[string]int{}}
			for _, fuse := range []int{first, second} {
				if !w.run(fuse, ids) {
					kills++
				}
			}
			if !w.run(-1, ids) {
				t.Fatalf("kills at %d and %d: the last run did not finish", first, second)
			}
			runs++
			var log effects.Log
			must(t, log.UnmarshalBinary(w.disk))
			for _, id := range ids {
				in, _ := log.Get(id)
				switch {
				case w.acts[id] == 1 && in.State == effects.Confirmed:
				case w.acts[id] == 0 && in.State == effects.Compensated:
				default:
					t.Errorf("kills at %d and %d: %q happened %d times and is %v", first, second, id, w.acts[id], in.State)
				}
			}
		}
	}
	if runs == 0 || kills < runs {
		t.Errorf("%d runs, %d kills", runs, kills)
	}
}

// What the spec warns of: the log alone, with no save between Begin and the
// act and no journal under it, cannot know that the act happened.
func TestUnsavedBeginActsTwice(t *testing.T) {
	acts := 0
	var first effects.Log
	must(t, first.Record("pay", nil))
	saved := marshal(t, &first)
	must(t, first.Begin("pay"))
	acts++ // killed here

	var second effects.Log
	must(t, second.UnmarshalBinary(saved))
	if in, _ := second.Get("pay"); in.State != effects.Recorded {
		t.Fatalf("the intent is %v", in.State)
	}
	must(t, second.Begin("pay"))
	acts++
	if acts != 2 {
		t.Fatalf("%d acts", acts)
	}
}
