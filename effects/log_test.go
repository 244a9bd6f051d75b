package effects_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"igor.dev/effects"
)

const absent effects.State = 0

var states = []effects.State{absent, effects.Recorded, effects.InFlight, effects.Confirmed, effects.Unresolved, effects.Compensated}

// must fails the test if an operation that is a step of its setup is refused.
func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// inState returns a log in which the intent "x" has been brought to the given
// state by operations alone.
func inState(t *testing.T, s effects.State) *effects.Log {
	t.Helper()
	l := new(effects.Log)
	if s == absent {
		return l
	}
	must(t, l.Record("x", []byte("data")))
	if s == effects.Recorded {
		return l
	}
	must(t, l.Begin("x"))
	switch s {
	case effects.Confirmed:
		must(t, l.Confirm("x"))
	case effects.Compensated:
		must(t, l.Compensate("x"))
	case effects.Unresolved:
		must(t, l.UnmarshalBinary(marshal(t, l)))
	}
	if got := state(l, "x"); got != s {
		t.Fatalf("setup gave %v, want %v", got, s)
	}
	return l
}

func state(l *effects.Log, id string) effects.State {
	in, _ := l.Get(id)
	return in.State
}

func marshal(t testing.TB, l *effects.Log) []byte {
	t.Helper()
	b, err := l.MarshalBinary()
	must(t, err)
	return b
}

// Every operation in every state: the state after it, or the refusal.
func TestTransitions(t *testing.T) {
	const (
		rec  = effects.Recorded
		fly  = effects.InFlight
		conf = effects.Confirmed
		unre = effects.Unresolved
		comp = effects.Compensated
	)
	unknown, duplicate, wrong := effects.ErrUnknown, effects.ErrDuplicate, effects.ErrTransition
	type row [6]any // by states: the next state, or the error
	table := map[string]row{
		//             absent   recorded   in-flight  confirmed  unresolved compensated
		"record":     {rec, duplicate, duplicate, duplicate, duplicate, duplicate},
		"begin":      {unknown, fly, wrong, wrong, wrong, wrong},
		"confirm":    {unknown, wrong, conf, wrong, conf, wrong},
		"compensate": {unknown, wrong, comp, wrong, comp, wrong},
		"prune":      {absent, rec, fly, absent, unre, absent},
		"load":       {absent, rec, unre, conf, unre, comp},
	}
	ops := map[string]func(*effects.Log) error{
		"record":     func(l *effects.Log) error { return l.Record("x", []byte("other")) },
		"begin":      func(l *effects.Log) error { return l.Begin("x") },
		"confirm":    func(l *effects.Log) error { return l.Confirm("x") },
		"compensate": func(l *effects.Log) error { return l.Compensate("x") },
		"prune":      func(l *effects.Log) error { l.Prune(); return nil },
		"load": func(l *effects.Log) error {
			b, err := l.MarshalBinary()
			if err != nil {
				return err
			}
			return l.UnmarshalBinary(b)
		},
	}
	if len(table) != len(ops) {
		t.Fatalf("%d rows, %d operations", len(table), len(ops))
	}
	for op, row := range table {
		for i, before := range states {
			l := inState(t, before)
			bytesBefore := marshal(t, l)
			err := ops[op](l)
			switch want := row[i].(type) {
			case effects.State:
				if err != nil {
					t.Errorf("%s of %v: %v", op, before, err)
				} else if got := state(l, "x"); got != want {
					t.Errorf("%s of %v gives %v, want %v", op, before, got, want)
				}
			case error:
				if !errors.Is(err, want) {
					t.Errorf("%s of %v: %v, want %v", op, before, err, want)
					continue
				}
				var e *effects.Error
				if !errors.As(err, &e) || e.Op != op || e.ID != "x" || e.State != before {
					t.Errorf("%s of %v: the error says %+v", op, before, e)
				}
				if !strings.Contains(err.Error(), `"x"`) || before != absent && !strings.Contains(err.Error(), before.String()) {
					t.Errorf("%s of %v: %q does not name the id and the state", op, before, err)
				}
				if !slices.Equal(marshal(t, l), bytesBefore) {
					t.Errorf("%s of %v was refused and changed the log", op, before)
				}
			}
		}
	}
}

func TestRecordLimits(t *testing.T) {
	limit := func(t *testing.T, l *effects.Log, id string, data []byte) {
		t.Helper()
		before := marshal(t, l)
		err := l.Record(id, data)
		if !errors.Is(err, effects.ErrLimit) {
			t.Fatalf("%v, want ErrLimit", err)
		}
		if len(err.Error()) > 4*effects.MaxID+200 {
			t.Errorf("the message has %d bytes", len(err.Error()))
		}
		if !slices.Equal(marshal(t, l), before) {
			t.Error("the refused Record changed the log")
		}
	}
	t.Run("id", func(t *testing.T) {
		var l effects.Log
		must(t, l.Record(strings.Repeat("i", effects.MaxID), nil))
		limit(t, &l, strings.Repeat("i", effects.MaxID+1), nil)
		limit(t, &l, "", nil)
		for _, op := range []func(string) error{l.Begin, l.Confirm, l.Compensate} {
			err := op(strings.Repeat("j", effects.MaxSize))
			if !errors.Is(err, effects.ErrUnknown) || len(err.Error()) > 4*effects.MaxID+200 {
				t.Errorf("an overlong unknown id: %.500v", err)
			}
		}
		reload(t, &l)
	})
	t.Run("data", func(t *testing.T) {
		var l effects.Log
		must(t, l.Record("a", make([]byte, effects.MaxData)))
		limit(t, &l, "b", make([]byte, effects.MaxData+1))
		reload(t, &l)
	})
	t.Run("intents", func(t *testing.T) {
		var l effects.Log
		id := func(i int) string { return string([]byte{byte(i), byte(i >> 8), byte(i >> 16)}) }
		for i := range effects.MaxIntents {
			must(t, l.Record(id(i), nil))
		}
		limit(t, &l, id(effects.MaxIntents), nil)
		reload(t, &l)
		must(t, l.Begin(id(5)))
		must(t, l.Confirm(id(5)))
		if n := l.Prune(); n != 1 {
			t.Fatalf("pruned %d, want 1", n)
		}
		must(t, l.Record(id(effects.MaxIntents), nil))
		reload(t, &l)
	})
	t.Run("size", func(t *testing.T) {
		const overhead = 10 // state, two lengths, an id of one byte
		var l effects.Log
		left := effects.MaxSize - 4 - overhead // room for one more
		for i := byte(0); left > 0; i++ {
			n := min(effects.MaxData, left-overhead)
			if rest := left - overhead - n; rest > 0 && rest < overhead {
				n -= overhead
			}
			must(t, l.Record(string([]byte{i}), make([]byte, n)))
			left -= overhead + n
		}
		limit(t, &l, "y", []byte("1"))
		must(t, l.Record("y", nil))
		if n := len(marshal(t, &l)); n != effects.MaxSize {
			t.Fatalf("the full log has %d bytes, want %d", n, effects.MaxSize)
		}
		limit(t, &l, "z", nil)
		reload(t, &l)
		must(t, l.Begin("\x00"))
		must(t, l.Compensate("\x00"))
		l.Prune()
		must(t, l.Record("z", make([]byte, effects.MaxData)))
		reload(t, &l)
	})
}

// reload checks that what can be built can be saved and loaded.
func reload(t *testing.T, l *effects.Log) {
	t.Helper()
	b := marshal(t, l)
	var loaded effects.Log
	must(t, loaded.UnmarshalBinary(b))
	if !slices.Equal(marshal(t, &loaded), b) {
		t.Error("the loaded log differs from the saved one")
	}
}

func ids(l *effects.Log, seq func(func(effects.Intent) bool)) string {
	var s []string
	for in := range seq {
		s = append(s, in.ID)
	}
	return strings.Join(s, " ")
}

// mixed returns a log with an intent in each state, named by its initial:
// r(ecorded), c(onfirmed), u(nresolved), x (compensated), i(n-flight).
func mixed(t testing.TB) *effects.Log {
	t.Helper()
	l := new(effects.Log)
	for _, id := range []string{"r", "c", "u", "x"} {
		must(t, l.Record(id, []byte("data of "+id)))
	}
	for _, id := range []string{"c", "u", "x"} {
		must(t, l.Begin(id))
	}
	must(t, l.Confirm("c"))
	must(t, l.Compensate("x"))
	must(t, l.UnmarshalBinary(marshal(t, l)))
	must(t, l.Record("i", nil))
	must(t, l.Begin("i"))
	return l
}

func TestIterators(t *testing.T) {
	l := mixed(t)
	for _, c := range []struct {
		name string
		seq  func(func(effects.Intent) bool)
		want string
	}{
		{"All", l.All(), "r c u x i"},
		{"Pending", l.Pending(), "r u i"},
		{"Unresolved", l.Unresolved(), "u"},
	} {
		if got := ids(l, c.seq); got != c.want {
			t.Errorf("%s gives %q, want %q", c.name, got, c.want)
		}
	}
	if l.Len() != 5 {
		t.Errorf("Len is %d, want 5", l.Len())
	}
	for in := range l.All() {
		if got, ok := l.Get(in.ID); !ok || got.State != in.State || string(got.Data) != string(in.Data) {
			t.Errorf("Get(%q) gives %+v, All gave %+v", in.ID, got, in)
		}
		break // a loop may stop early
	}
	if n := l.Prune(); n != 2 || ids(l, l.All()) != "r u i" {
		t.Errorf("Prune dropped %d and left %q", n, ids(l, l.All()))
	}
}

// A loop's body may change the log.
func TestChangeWhileIterating(t *testing.T) {
	l := mixed(t)
	var seen []string
	for in := range l.All() {
		seen = append(seen, in.ID+" "+in.State.String())
		if in.ID == "r" {
			must(t, l.Confirm("u"))
			must(t, l.Record("late", nil))
			if n := l.Prune(); n != 3 {
				t.Errorf("pruned %d, want 3", n)
			}
			must(t, l.Record("x", nil)) // again, after its pruning
			must(t, l.Compensate("i"))
		}
	}
	if got, want := strings.Join(seen, ", "), "r recorded, i compensated"; got != want {
		t.Errorf("the loop saw %q, want %q", got, want)
	}
	if got, want := ids(l, l.All()), "r i late x"; got != want {
		t.Errorf("the log has %q, want %q", got, want)
	}
}

// What goes in and what comes out are copies.
func TestNoAliases(t *testing.T) {
	var l effects.Log
	data := []byte("data")
	must(t, l.Record("a", data))
	data[0] = 'X'
	b := marshal(t, &l)
	var loaded effects.Log
	must(t, loaded.UnmarshalBinary(b))
	for i := range b {
		b[i] = 0xff
	}
	for _, l := range []*effects.Log{&l, &loaded} {
		in, _ := l.Get("a")
		if string(in.Data) != "data" {
			t.Errorf("the data is %q", in.Data)
		}
		in.Data[0] = 'X'
		if in, _ := l.Get("a"); string(in.Data) != "data" {
			t.Errorf("the data is %q after a change to a copy", in.Data)
		}
	}
}

func TestStateString(t *testing.T) {
	for s, want := range map[effects.State]string{
		1: "recorded", 2: "in-flight", 3: "confirmed", 4: "unresolved", 5: "compensated", 0: "state 0", 6: "state 6",
	} {
		if got := s.String(); got != want {
			t.Errorf("State(%d) is %q, want %q", uint8(s), got, want)
		}
		if got, want := s.Finished(), s == 3 || s == 5; got != want {
			t.Errorf("%v finished: %v", s, got)
		}
	}
}
