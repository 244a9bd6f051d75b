// Liquidation is an agent that watches the price of a collateral, and knows what
// it slept through: when the machine under it dies and the price falls below the
// threshold meanwhile, it finds the gap when it wakes, asks what happened in it,
// and says so.
//
// What to learn from it: an agent is not told that it was away. Its state says
// when it was last awake and what it saw last, and the clock says the rest.
package main

import (
	"errors"
	"strconv"
	"strings"
	"time"

	"igor.dev/sdk"
)

// server has the prices. GET /prices?after=T answers with those later than T, the
// oldest first and at most a page of them, a line "T PRICE" each; T is in Unix
// nanoseconds, the price in cents.
var server = "http://127.0.0.1:8801"

const (
	threshold = 100_00 // cents
	longest   = 2 * time.Second
	page      = 1000
	maxEvents = 32 // that are kept, the newest
)

// An event is a price that crossed the threshold.
type event struct {
	at     time.Time
	price  int64
	asleep bool // it happened while nobody watched
}

func (e event) below() bool { return e.price < threshold }

// A watcher is the whole state.
type watcher struct {
	awake time.Time // the last tick, by the agent's clock
	seen  time.Time // the last price, by the server's clock
	price int64     // the last one seen

	gapFrom, gapTo time.Time // the newest gap; no gap if gapTo is the epoch
	behind         bool      // what happened in it is not known yet
	crossed        uint64    // how often the price crossed the threshold in it
	gaps           uint64

	events []event
}

func newWatcher() *watcher {
	epoch := time.Unix(0, 0).UTC()
	return &watcher{awake: epoch, seen: epoch, gapFrom: epoch, gapTo: epoch, price: threshold}
}

func (w *watcher) Init() { sdk.Log("watching for a price below " + cents(threshold)) }

func (w *watcher) Tick() (more bool) {
	now := sdk.Now()
	if asleep := now.Sub(w.awake); w.awake.Unix() > 0 && asleep > longest {
		if !w.behind { // else the gap before is not looked into yet, and this one joins it
			w.gapFrom, w.crossed = w.awake, 0
			w.gaps++
		}
		w.gapTo, w.behind = now, true
		sdk.Log("nobody watched for " + asleep.Round(time.Millisecond).String())
	}
	w.awake = now

	prices, err := pricesAfter(w.seen)
	if err != nil {
		// Nothing is lost: the next tick asks from the same price on.
		sdk.Log("no prices: " + err.Error())
		return false
	}
	for _, p := range prices {
		e := event{p.at, p.price, w.behind && !p.at.After(w.gapTo)}
		if e.below() != (w.price < threshold) {
			w.note(e)
			if e.asleep {
				w.crossed++
			}
		}
		w.price, w.seen = p.price, p.at
	}
	if more = len(prices) >= page; w.behind && !more {
		w.behind = false
		sdk.Log("the gap from " + stamp(w.gapFrom) + " to " + stamp(w.gapTo) + " is closed: the price crossed " + strconv.FormatUint(w.crossed, 10) + " times")
	}
	return more
}

func (w *watcher) note(e event) {
	line := "the price rose to "
	if e.below() {
		line = "liquidate: the price fell to "
	}
	line += cents(e.price) + " at " + stamp(e.at)
	if e.asleep {
		line += ", while nobody watched"
	}
	sdk.Log(line)
	if w.events = append(w.events, e); len(w.events) > maxEvents {
		w.events = w.events[1:]
	}
}

type price struct {
	at    time.Time
	price int64
}

// pricesAfter asks the server. What it says is believed only as a whole.
func pricesAfter(t time.Time) ([]price, error) {
	answer, err := sdk.Get(server + "/prices?after=" + strconv.FormatInt(t.UnixNano(), 10))
	if err != nil {
		return nil, err
	}
	if answer.Status != 200 {
		return nil, errors.New("status " + strconv.Itoa(answer.Status))
	}
	var prices []price
	for line := range strings.Lines(string(answer.Body)) {
		at, amount, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		ns, err1 := strconv.ParseInt(at, 10, 64)
		value, err2 := strconv.ParseInt(amount, 10, 64)
		p := price{time.Unix(0, ns).UTC(), value}
		if err1 != nil || err2 != nil || value < 0 || !p.at.After(t) {
			return nil, errors.New("the server says " + strconv.Quote(line))
		}
		t = p.at
		prices = append(prices, p)
	}
	return prices, nil
}

func cents(c int64) string { return sdk.Decimal(c, 2) }

func stamp(t time.Time) string { return t.Format("15:04:05.000") }

func (w *watcher) Marshal() []byte {
	e := sdk.NewEncoder(1)
	e.Time(w.awake)
	e.Time(w.seen)
	e.Int64(w.price)
	e.Time(w.gapFrom)
	e.Time(w.gapTo)
	e.Bool(w.behind)
	e.Uint64(w.crossed)
	e.Uint64(w.gaps)
	e.Count(len(w.events))
	for _, v := range w.events {
		e.Time(v.at)
		e.Int64(v.price)
		e.Bool(v.asleep)
	}
	return e.Data()
}

func (w *watcher) Unmarshal(b []byte) error {
	d := sdk.NewDecoder(b, 1)
	w.awake = d.Time()
	w.seen = d.Time()
	w.price = d.Int64()
	w.gapFrom = d.Time()
	w.gapTo = d.Time()
	w.behind = d.Bool()
	w.crossed = d.Uint64()
	w.gaps = d.Uint64()
	w.events = nil
	for range d.Count(8 + 8 + 1) {
		w.events = append(w.events, event{d.Time(), d.Int64(), d.Bool()})
	}
	return d.Close()
}

func init() { sdk.Run(newWatcher()) }

func main() {}
