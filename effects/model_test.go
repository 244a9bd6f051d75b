package effects_test

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"

	"igor.dev/effects"
)

// A model is a second, naive log: a list of values that is searched and copied.
type model []effects.Intent

func (m model) find(id string) int {
	return slices.IndexFunc(m, func(in effects.Intent) bool { return in.ID == id })
}

func (m model) wire() []byte {
	var all [][]byte
	for _, in := range m {
		all = append(all, intent(byte(in.State), in.ID, string(in.Data)))
	}
	return wire(uint32(len(m)), all...)
}

// play runs a script of operations on a Log and on the model side by side. A
// script's bytes are read in pairs: an operation, and an id or a data length.
func play(t testing.TB, script []byte) {
	var (
		log   effects.Log
		now   model
		saved model // what a crash goes back to
		disk  = wire(0)
	)
	for len(script) >= 2 {
		op, arg := script[0]%8, script[1]
		script = script[2:]
		id := string(rune('a' + arg%8))
		i := now.find(id)
		state := absent
		if i >= 0 {
			state = now[i].State
		}
		var err error
		legal := true
		switch op {
		case 0, 1:
			data := bytes.Repeat([]byte{arg}, int(arg/8))
			err = log.Record(id, data)
			if legal = state == absent; legal {
				now = append(now, effects.Intent{ID: id, Data: data, State: effects.Recorded})
			}
		case 2:
			err = log.Begin(id)
			if legal = state == effects.Recorded; legal {
				now[i].State = effects.InFlight
			}
		case 3:
			err = log.Confirm(id)
			if legal = state == effects.InFlight || state == effects.Unresolved; legal {
				now[i].State = effects.Confirmed
			}
		case 4:
			err = log.Compensate(id)
			if legal = state == effects.InFlight || state == effects.Unresolved; legal {
				now[i].State = effects.Compensated
			}
		case 5:
			before := len(now)
			now = slices.DeleteFunc(now, func(in effects.Intent) bool { return in.State.Finished() })
			if n := log.Prune(); n != before-len(now) {
				t.Fatalf("Prune dropped %d, want %d", n, before-len(now))
			}
		case 6: // save
			disk = marshal(t, &log)
			saved = slices.Clone(now)
		case 7: // crash: all that is left is what was saved
			log = effects.Log{}
			must(t, log.UnmarshalBinary(disk))
			now = slices.Clone(saved)
			for i := range now {
				if now[i].State == effects.InFlight {
					now[i].State = effects.Unresolved
				}
			}
			for in := range log.All() {
				was := saved[saved.find(in.ID)].State
				if in.State == effects.InFlight {
					t.Fatalf("%q survives as in-flight", in.ID)
				}
				if was.Finished() && in.State != was {
					t.Fatalf("%q was %v when saved, is %v when loaded", in.ID, was, in.State)
				}
			}
		}
		if (err == nil) != legal {
			t.Fatalf("operation %d on %q, %v: %v, legal is %v", op, id, state, err, legal)
		}
		if got, want := marshal(t, &log), now.wire(); !bytes.Equal(got, want) {
			t.Fatalf("after operation %d on %q the log is\n%x, the model\n%x", op, id, got, want)
		}
		if log.Len() != len(now) {
			t.Fatalf("Len is %d, want %d", log.Len(), len(now))
		}
	}
}

func TestRandomLives(t *testing.T) {
	for seed := range uint64(2000) {
		r := rand.New(rand.NewPCG(seed, 0))
		script := make([]byte, 2*(1+r.IntN(200)))
		for i := range script {
			script[i] = byte(r.Uint32())
		}
		play(t, script)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

func FuzzOperations(f *testing.F) {
	f.Add([]byte{0, 0, 2, 0, 6, 0, 7, 0, 3, 0, 6, 0, 7, 0, 5, 0})
	f.Add([]byte{0, 9, 1, 2, 2, 1, 6, 0, 4, 1, 7, 0, 4, 1, 5, 0, 0, 1})
	f.Fuzz(func(t *testing.T, script []byte) {
		play(t, script[:min(len(script), 2000)])
	})
}
