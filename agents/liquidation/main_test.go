package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"igor.dev/agents/internal/life"
	"igor.dev/sdk/sdktest"
)

// A market is the server: a list of prices.
type market struct {
	mu     sync.Mutex
	prices []price
	broken string // is answered instead
}

func (m *market) set(at time.Time, cents int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.prices = append(m.prices, price{at.UTC(), cents})
}

func (m *market) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.broken != "" {
		fmt.Fprint(w, m.broken)
		return
	}
	after, err := strconv.ParseInt(r.FormValue("after"), 10, 64)
	if err != nil || r.URL.Path != "/prices" {
		http.NotFound(w, r)
		return
	}
	sent := 0
	for _, p := range m.prices {
		if sent < page && p.at.UnixNano() > after {
			fmt.Fprintln(w, p.at.UnixNano(), p.price)
			sent++
		}
	}
}

// TestGap sleeps through a fall and a rise, and finds both in the right place.
func TestGap(t *testing.T) {
	world, m := sdktest.New(t), &market{}
	world.Web = m
	a := newWatcher()
	a.Init()
	start := world.Time
	m.set(start, 101_00)
	a.Tick()
	m.set(start.Add(time.Second), 99_00)
	world.Time = start.Add(time.Second)
	a.Tick()
	if !strings.Contains(world.Log(), "liquidate: the price fell to 99.00 at 00:00:01.000") || strings.Contains(world.Log(), "nobody") {
		t.Errorf("seen live:\n%s", world.Log())
	}

	a = sdktest.Restart(t, a, newWatcher())
	m.set(start.Add(10*time.Second), 103_50)
	m.set(start.Add(20*time.Second), 88_08)
	m.set(start.Add(30*time.Second), 87_00)
	world.Time = start.Add(time.Minute)
	world.Lines = nil
	m.broken = "soon\n"
	a.Tick()
	if a.gaps != 1 || !a.behind || !strings.Contains(world.Log(), `no prices: the server says "soon\n"`) {
		t.Errorf("a gap that cannot be looked into yet: %+v\n%s", a, world.Log())
	}
	a = sdktest.Restart(t, a, newWatcher())
	m.broken = ""
	world.Lines = nil
	a.Tick()
	want := `the price rose to 103.50 at 00:00:10.000, while nobody watched
liquidate: the price fell to 88.08 at 00:00:20.000, while nobody watched
the gap from 00:00:01.000 to 00:01:00.000 is closed: the price crossed 2 times`
	if world.Log() != want {
		t.Errorf("got\n%s\nwant\n%s", world.Log(), want)
	}
	world.Lines = nil
	a.Tick()
	if world.Log() != "" || a.gaps != 1 || a.behind || len(a.events) != 3 {
		t.Errorf("after the gap: %+v\n%s", a, world.Log())
	}
}

// TestNonsense believes no answer of which a part is wrong.
func TestNonsense(t *testing.T) {
	world, m := sdktest.New(t), &market{}
	world.Web = m
	for _, broken := range []string{"1", "1 2 3", "1 -5", "x 5", "2 5\n1 5", "2 5\n2 5", "0 5", "5 1\n\n"} {
		a := newWatcher()
		m.broken = broken
		world.Lines = nil
		a.Tick()
		if a.price != threshold || a.seen.Unix() != 0 || len(world.Lines) != 1 {
			t.Errorf("%q: %+v\n%s", broken, a, world.Log())
		}
	}
	world.Web = http.NotFoundHandler()
	world.Lines = nil
	newWatcher().Tick()
	if world.Log() != "no prices: status 404" {
		t.Errorf("got %s", world.Log())
	}
}

// TestLongGap reads a gap of several pages in as many ticks.
func TestLongGap(t *testing.T) {
	world, m := sdktest.New(t), &market{}
	world.Web = m
	a := newWatcher()
	a.Tick()
	const prices = 2*page + page/2
	for i := range prices {
		m.set(world.Time.Add(time.Duration(i)*time.Second), int64(99_00+i%2*200))
	}
	world.Time = world.Time.Add(prices * time.Second)
	for range 2 {
		if !a.Tick() || !a.behind {
			t.Fatal("there is more, and the agent rests")
		}
		a = sdktest.Restart(t, a, newWatcher())
	}
	if a.Tick() || a.behind || a.crossed != prices || !strings.HasSuffix(world.Log(), "crossed 2500 times") {
		t.Errorf("%d crossed, behind %v: %s", a.crossed, a.behind, world.Lines[len(world.Lines)-1])
	}
}

func TestEventsAreBounded(t *testing.T) {
	sdktest.New(t)
	a := newWatcher()
	for i := range int64(maxEvents + 5) {
		a.note(event{price: i})
	}
	if len(a.events) != maxEvents || a.events[maxEvents-1].price != maxEvents+4 {
		t.Errorf("got %d events", len(a.events))
	}
}

// TestLife kills the machine under the agent. The price falls while nobody
// watches, and the same agent, resumed, knows.
func TestLife(t *testing.T) {
	m := &market{}
	local := httptest.NewServer(m)
	defer local.Close()
	l := life.New(t, "go", server, local.URL)

	p := l.Start()
	m.set(time.Now(), 99_50)
	p.Said("liquidate: the price fell to 99.50")
	m.set(time.Now(), 110_00)
	p.Said("the price rose to 110.00")
	p.Kill()
	died := time.Now()

	time.Sleep(longest)
	m.set(time.Now(), 95_25)
	m.set(time.Now(), 94_00)
	fell := time.Now()
	time.Sleep(100 * time.Millisecond)

	p = l.Start()
	p.Said("nobody watched for ")
	p.Said("liquidate: the price fell to 95.25")
	// A tick that the kill cut short is not lived: the rise may be in the gap too.
	if line := p.Said("is closed: the price crossed "); strings.Contains(line, "crossed 0 ") {
		t.Errorf("it says %q", line)
	}
	m.set(time.Now(), 120_00)
	p.Said("the price rose to 120.00")
	p.Stop()
	l.Verify()

	a := newWatcher()
	if err := a.Unmarshal(l.State()); err != nil {
		t.Fatal(err)
	}
	if len(a.events) != 4 || a.gaps == 0 || a.price != 120_00 {
		t.Fatalf("got %+v", a)
	}
	missed := a.events[2]
	if missed.price != 95_25 || !missed.asleep || missed.at.Before(died) || missed.at.After(fell) {
		t.Errorf("missed %+v, between %v and %v", missed, died, fell)
	}
}
