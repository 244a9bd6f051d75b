package main

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"igor.dev/agents/internal/life"
	"igor.dev/sdk"
	"igor.dev/sdk/sdktest"
)

// A bank is the server. It does nothing twice on its own: who sends a transfer
// twice has made two.
type bank struct {
	now func() time.Time

	mu      sync.Mutex
	balance int64
	came    map[string]int // POSTs, by the transfer's id
	taken   map[string]int
	status  int // of the next POST, if it is not to be taken

	// If they are set, a POST stops until the client is gone: before it is taken
	// (and then never is), or after.
	before, after bool
	stopped       chan struct{}
}

func newBank(now func() time.Time) *bank {
	return &bank{now: now, balance: 900_00, came: map[string]int{}, taken: map[string]int{}, stopped: make(chan struct{})}
}

func (b *bank) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if b.take(w, r, string(body)) {
		b.stopped <- struct{}{}
		<-r.Context().Done()
	}
}

func (b *bank) take(w http.ResponseWriter, r *http.Request, body string) (stop bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	id, isTransfer := strings.CutPrefix(r.URL.Path, "/transfers/")
	switch {
	case r.Method == "GET" && r.URL.Path == "/balance":
		fmt.Fprintln(w, b.balance)
	case r.Method == "GET" && isTransfer:
		if b.taken[id] == 0 {
			http.NotFound(w, r)
		}
	case r.Method == "POST" && r.URL.Path == "/transfers":
		o, err := parseOrder(body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		b.came[o.id]++
		status := b.status
		b.status = 0
		if b.before {
			b.before = false
			return true
		}
		if status == 0 && b.now().After(o.deadline) {
			status = http.StatusGone
		}
		if status != 0 {
			w.WriteHeader(status)
			return
		}
		b.taken[o.id]++
		b.balance += o.cents
		if b.after {
			b.after = false
			return true
		}
	default:
		http.NotFound(w, r)
	}
	return false
}

// spend takes money out of the account.
func (b *bank) spend(cents int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.balance -= cents
}

// stop sets before or after.
func (b *bank) stop(where *bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	*where = true
}

func TestTopsUp(t *testing.T) {
	w := sdktest.New(t)
	b := newBank(func() time.Time { return w.Time })
	w.Web = b
	s := &sentinel{}
	s.Init()
	for range 5 {
		s.Tick()
		s = sdktest.Restart(t, s, &sentinel{})
	}
	if b.balance != 1400_00 || s.moved != transfer || s.count != 1 {
		t.Errorf("the balance is %d after %+v", b.balance, s)
	}
	b.spend(1000_00)
	for range 5 {
		s.Tick()
	}
	if b.balance != 1400_00 || s.moved != 3*transfer || len(b.taken) != 3 {
		t.Errorf("the balance is %d after %+v", b.balance, s)
	}
}

// TestLost loses the answer to a transfer that happened: the sentinel asks, and
// does not act again.
func TestLost(t *testing.T) {
	for _, cause := range []error{sdk.ErrUnresolved, sdk.ErrTimeout, sdk.ErrFailed} {
		w := sdktest.New(t)
		b := newBank(func() time.Time { return w.Time })
		w.Web = b
		s := &sentinel{}
		s.Init()
		w.Lose = func(_, target string) error {
			if strings.HasSuffix(target, "/balance") {
				return nil
			}
			return cause
		}
		for range 3 {
			s.Tick()
			s = sdktest.Restart(t, s, &sentinel{})
		}
		if len(s.log.Open()) != 1 || s.count != 1 {
			t.Errorf("%v: got %+v", cause, s)
		}
		w.Lose = nil
		s.Tick()
		if len(b.taken) != 1 || b.balance != 1400_00 || s.moved != transfer || len(s.log.Open()) != 0 {
			t.Errorf("%v: the balance is %d after %+v\n%s", cause, b.balance, s, w.Log())
		}
	}
}

// TestTold has an operator find out what the bank does not say: the sentinel counts the
// transfer, and does not make it again.
func TestTold(t *testing.T) {
	for outcome, moved := range map[sdk.Outcome]int64{sdk.OutcomeConfirmed: transfer, sdk.OutcomeCompensated: 0} {
		w := sdktest.New(t)
		b := newBank(func() time.Time { return w.Time })
		w.Web = b
		s := &sentinel{}
		s.Init()
		w.Lose = func(_, target string) error {
			if strings.HasSuffix(target, "/balance") {
				return nil
			}
			return sdk.ErrUnresolved
		}
		s.Tick() // means it
		s.Tick()
		s = sdktest.Restart(t, s, &sentinel{})
		w.Tell(t, s, outcome, 0)
		if len(s.log.Open()) != 0 || s.moved != moved || s.moved == 0 && s.void != 1 || len(b.taken) != 1 {
			t.Errorf("told %d: %+v\n%s", outcome, s, w.Log())
		}
		sdktest.Restart(t, s, &sentinel{})
	}
}

// TestNever waits for the deadline of a transfer that the bank does not know,
// before it makes another one.
func TestNever(t *testing.T) {
	w := sdktest.New(t)
	b := newBank(func() time.Time { return w.Time })
	w.Web, b.status = b, http.StatusInternalServerError
	s := &sentinel{}
	s.Init()
	start := w.Time
	for w.Time.Before(start.Add(valid)) {
		s.Tick()
		w.Time = w.Time.Add(100 * time.Millisecond)
	}
	if s.count != 1 || s.void != 0 || len(s.log.Open()) != 1 {
		t.Fatalf("before the deadline: %+v", s)
	}
	w.Time = start.Add(valid + 2*margin)
	s.Tick()
	s.Tick()
	if s.count != 2 || s.void != 1 || s.moved != transfer || b.balance != 1400_00 {
		t.Errorf("after the deadline: %+v\n%s", s, w.Log())
	}
}

func TestRefused(t *testing.T) {
	w := sdktest.New(t)
	b := newBank(func() time.Time { return w.Time })
	w.Web, b.status = b, http.StatusConflict
	s := &sentinel{}
	s.Init()
	s.Tick()
	s.Tick()
	if s.void != 1 || s.moved != 0 || len(s.log.Open()) != 0 {
		t.Errorf("got %+v", s)
	}
	s.Tick()
	s.Tick()
	if s.moved != transfer || s.count != 2 {
		t.Errorf("got %+v", s)
	}
}

// TestFailedTick has the tick fail that made a transfer. The next one makes the same
// request, whatever the clock says, and it is not sent.
func TestFailedTick(t *testing.T) {
	for _, told := range []sdk.Outcome{sdk.OutcomeEnded, sdk.OutcomeUnresolved} {
		w := sdktest.New(t)
		b := newBank(func() time.Time { return w.Time })
		w.Web = b
		s := &sentinel{}
		s.Init()
		s.Tick()
		before := sdktest.Restart(t, s, &sentinel{})
		s.Tick()
		if len(b.taken) != 1 {
			t.Fatalf("no transfer\n%s", w.Log())
		}
		s = before // which knows nothing of it
		w.Time = w.Time.Add(time.Second)
		w.Tell(t, s, told, 0)
		for range 4 {
			s.Tick()
			s = sdktest.Restart(t, s, &sentinel{})
		}
		if s.moved != transfer || s.count != 1 || b.balance != 1400_00 || b.came[s.name+"-1"] != 1 || len(s.log.Kept()) != 0 {
			t.Errorf("told %d: the balance is %d after %+v\n%s", told, b.balance, s, w.Log())
		}
	}
}

// TestLife kills the machine after a transfer, while the bank answers one, and
// while it has not taken one yet. The bank counts.
func TestLife(t *testing.T) {
	inEach(t, testLife)
}

// inEach tests the sentinel in every language. They keep the same state.
func inEach(t *testing.T, test func(t *testing.T, language string)) {
	for _, language := range append([]string{"go"}, life.Languages...) {
		t.Run(language, func(t *testing.T) {
			life.Installed(t, language)
			test(t, language)
		})
	}
}

func testLife(t *testing.T, language string) {
	// No transfer comes late here, but for a slow machine.
	b := newBank(func() time.Time { return time.Unix(0, 0) })
	local := httptest.NewServer(b)
	defer local.Close()
	l := life.New(t, language, server, local.URL)

	p := l.Start()
	p.Said("moved 500.00")
	p.Kill() // no checkpoint knows of the transfer

	b.spend(500_00)
	b.stop(&b.after)
	p = l.Start()
	<-b.stopped // taken, and not answered
	p.Kill()

	p = l.Start()
	p.Said(": it happened")
	b.stop(&b.before)
	b.spend(500_00)
	<-b.stopped // sent, and not taken
	p.Kill()

	p = l.Start()
	p.Said(": it did not happen, and cannot any more")
	p.Said("moved 500.00")
	p.Stop()
	l.Verify()

	var s sentinel
	if err := s.Unmarshal(l.State()); err != nil {
		t.Fatal(err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	id := func(n int) string { return fmt.Sprintf("%s-%d", s.name, n) }
	if want := map[string]int{id(1): 1, id(2): 1, id(3): 1, id(4): 1}; !maps.Equal(b.came, want) {
		t.Errorf("came %v, want %v", b.came, want)
	}
	if want := map[string]int{id(1): 1, id(2): 1, id(4): 1}; !maps.Equal(b.taken, want) {
		t.Errorf("taken %v, want %v", slices.Sorted(maps.Keys(b.taken)), want)
	}
	if s.moved != 3*transfer || s.void != 1 || s.count != 4 || len(s.log.Open()) != 0 || b.balance != 1400_00 {
		t.Errorf("the balance is %d after %+v", b.balance, &s)
	}
	// The journal does not know what the bank told the agent, and the operator is
	// shown both.
	if out := l.Effects(); strings.Count(out, "unresolved") != 2 || strings.Count(out, `POST "`+local.URL+`/transfers"`) != 2 {
		t.Errorf("igor effects says\n%s", out)
	}
}

// TestCrash kills sentinels anywhere. Each has three transfers to make.
func TestCrash(t *testing.T) { inEach(t, testCrash) }

func testCrash(t *testing.T, language string) {
	var b *bank
	done := make(chan struct{}, 1)
	local := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b.ServeHTTP(w, r)
		b.mu.Lock()
		defer b.mu.Unlock()
		if r.URL.Path == "/balance" && b.balance >= floor {
			select {
			case done <- struct{}{}:
			default:
			}
		}
	}))
	defer local.Close()
	l := life.New(t, language, server, local.URL)
	l.Crash(life.Matrix{
		Begin: func() {
			b = newBank(time.Now)
			b.balance = floor - 3*transfer
		},
		Done: done,
		End: func(state []byte) (paid int64) {
			var s sentinel
			if err := s.Unmarshal(state); err != nil {
				t.Fatal(err)
			}
			b.mu.Lock()
			defer b.mu.Unlock()
			for id, times := range b.came {
				if times != 1 {
					t.Errorf("%s came %d times", id, times)
				}
			}
			if moved := int64(len(b.taken)) * transfer; s.moved != moved || b.balance != floor-3*transfer+moved || b.balance < floor ||
				s.count != s.void+uint64(len(b.taken)) || len(s.log.Open()) != 0 {
				t.Errorf("the balance is %d after %v, and the sentinel has %+v", b.balance, b.taken, &s)
			}
			return 0 // a transfer is none of the agent's own money
		},
	})
}
