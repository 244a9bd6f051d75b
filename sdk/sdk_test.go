package sdk

import (
	"bytes"
	"errors"
	"testing"
	"time"
)

func TestNow(t *testing.T) {
	before := time.Now().UnixNano()
	if now := Now(); now.UnixNano() < before || now.Location() != time.UTC {
		t.Errorf("got %v", now)
	}
}

func TestRand(t *testing.T) {
	a, b := make([]byte, 32), make([]byte, 32)
	if err := errors.Join(Rand(a), Rand(b), Rand(nil)); err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(a, b) {
		t.Error("the same bytes twice")
	}
	if err := Rand(make([]byte, MaxRand+1)); !errors.Is(err, ErrTooLong) {
		t.Errorf("got error %v, want ErrTooLong", err)
	}
}

type nobody struct{}

func (nobody) Init()                  {}
func (nobody) Tick() bool             { return false }
func (nobody) Marshal() []byte        { return nil }
func (nobody) Unmarshal([]byte) error { return nil }

func TestRunTwice(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("two agents in one program")
		}
		running = nil
	}()
	Run(nobody{})
	Run(nobody{})
}

// TestActState holds the state after an act against the one after a restart: they
// are the same bytes, whatever came of the act.
func TestActState(t *testing.T) {
	for _, outcome := range []error{nil, ErrFailed, ErrUnresolved, ErrNotAllowed} {
		var l EffectLog
		if err := l.Act("order-7", []byte("buy 2"), func() error { return outcome }); !errors.Is(err, outcome) {
			t.Errorf("got error %v, want %v", err, outcome)
		}
		before, err := l.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		var loaded EffectLog
		if err := loaded.UnmarshalBinary(before); err != nil {
			t.Fatal(err)
		}
		after, err := loaded.MarshalBinary()
		if err != nil || !bytes.Equal(before, after) {
			t.Errorf("after %v the state is %x, and restored %x (%v)", outcome, before, after, err)
		}
		if open := len(l.Open()); (open == 1) != MayHaveHappened(outcome) {
			t.Errorf("after %v %d acts are open", outcome, open)
		}
	}
}
