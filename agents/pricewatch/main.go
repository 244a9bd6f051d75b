// Pricewatch is an agent that asks a public API for the price of bitcoin, keeps
// the open, high, low and close of each hour, and says when it moved.
//
// What to learn from it: how to live with an API that is slow, wrong or gone (wait
// longer after each failure, believe nothing that is not a price), how to read
// decimals without floating point, and how to keep data in the store.
package main

import (
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"time"

	"igor.dev/sdk"
)

// server has the API.
var server = "http://127.0.0.1:8804"

const (
	path     = "/api/v3/simple/price?ids=bitcoin&vs_currencies=usd"
	pause    = 100 * time.Millisecond // between requests
	maxPause = time.Minute            // while they fail
	moved    = 1                      // percent, that are worth a line
	hours    = 7 * 24                 // that are kept
)

// A watcher is the state, but for the hours, which are in the store.
type watcher struct {
	next     time.Time // to ask
	failures uint64    // in a row
	said     int64     // the price that was logged last, in cents; 0: none
	prices   uint64    // that were seen
	kept     []string  // the keys of the hours in the store, the oldest first
}

func (w *watcher) Init() { sdk.Log("watching the price of bitcoin") }

func (w *watcher) Tick() (more bool) {
	now := sdk.Now()
	if now.Before(w.next) {
		return false
	}
	price, err := ask()
	if err != nil {
		wait := min(pause<<min(w.failures, 20), maxPause)
		w.failures++
		w.next = now.Add(wait)
		sdk.Log("no price: " + err.Error() + "; asking again in " + wait.String())
		return false
	}
	w.failures = 0
	w.next = now.Add(pause)
	w.prices++
	if change := price - w.said; w.said == 0 || max(change, -change)*100 >= w.said*moved {
		w.said = price
		sdk.Log("the price is " + cents(price))
	}
	if err := w.keep(now, price); err != nil {
		sdk.Log("the price is not kept: " + err.Error())
	}
	return false
}

// ask returns the price in cents.
func ask() (int64, error) {
	answer, err := sdk.Do(sdk.Request{URL: server + path, Header: []string{"Accept: application/json"}})
	if err != nil {
		return 0, err
	}
	if answer.Status != 200 {
		return 0, errors.New("status " + strconv.Itoa(answer.Status))
	}
	var body struct {
		Bitcoin struct {
			USD json.Number `json:"usd"`
		} `json:"bitcoin"`
	}
	if err := json.Unmarshal(answer.Body, &body); err != nil {
		return 0, errors.New("the answer is not JSON of a price")
	}
	return parseCents(string(body.Bitcoin.USD))
}

// parseCents reads a decimal. What is less than a cent is cut off.
func parseCents(s string) (int64, error) {
	whole, fraction, _ := strings.Cut(s, ".")
	rest := strings.TrimLeft(whole, "0123456789") + strings.TrimLeft(fraction, "0123456789")
	if whole == "" || rest != "" || len(whole) > 12 {
		return 0, errors.New(strconv.Quote(s) + " is not a price")
	}
	value, err := strconv.ParseInt(whole+(fraction + "00")[:2], 10, 64)
	if err == nil && value == 0 {
		err = errors.New("the price is nothing")
	}
	return value, err
}

// An hour is what the store has for one.
type hour struct{ open, high, low, close int64 }

func (h hour) encode() []byte {
	e := sdk.NewEncoder(1)
	for _, v := range []int64{h.open, h.high, h.low, h.close} {
		e.Int64(v)
	}
	return e.Data()
}

func decodeHour(b []byte) (h hour, err error) {
	d := sdk.NewDecoder(b, 1)
	for _, v := range []*int64{&h.open, &h.high, &h.low, &h.close} {
		*v = d.Int64()
	}
	return h, d.Close()
}

// keep adds a price to its hour, and lets go of the oldest.
func (w *watcher) keep(at time.Time, price int64) error {
	key := at.Format("2006-01-02T15")
	h := hour{price, price, price, price}
	b, err := sdk.Load(key)
	switch {
	case errors.Is(err, sdk.ErrNotFound):
		if len(w.kept) == hours {
			if err := sdk.Delete(w.kept[0]); err != nil {
				return err
			}
			w.kept = w.kept[1:]
		}
		w.kept = append(w.kept, key)
	case err != nil:
		return err
	default:
		was, err := decodeHour(b)
		if err != nil {
			return err
		}
		h = hour{was.open, max(was.high, price), min(was.low, price), price}
	}
	return sdk.Store(key, h.encode())
}

func cents(c int64) string { return sdk.Decimal(c, 2) }

func (w *watcher) Marshal() []byte {
	e := sdk.NewEncoder(1)
	e.Time(w.next)
	e.Uint64(w.failures)
	e.Int64(w.said)
	e.Uint64(w.prices)
	e.Count(len(w.kept))
	for _, key := range w.kept {
		e.Text(key)
	}
	return e.Data()
}

func (w *watcher) Unmarshal(b []byte) error {
	d := sdk.NewDecoder(b, 1)
	w.next = d.Time()
	w.failures = d.Uint64()
	w.said = d.Int64()
	w.prices = d.Uint64()
	w.kept = nil
	for range d.Count(4) {
		w.kept = append(w.kept, d.Text())
	}
	return d.Close()
}

func init() { sdk.Run(&watcher{}) }

func main() {}
