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
