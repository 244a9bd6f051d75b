// X402buyer is an agent that buys reports from a shop behind a paywall: it asks,
// is told the price with status 402, pays, and shows the receipt. Each report is
// paid once, whenever the machine dies.
//
// What to learn from it: how to pay. What is paid for and not delivered yet is in
// the state; the manifest says whom the agent may pay, how much at most, and, with
// the class "queryable", that the runtime may ask after a crash whether a payment
// was settled.
//
// Where the shop takes x402 on a chain and the manifest has version 2 of that capability,
// the node pays, and the agent just gets the report.
package main

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"strconv"
	"time"

	"igor.dev/sdk"
)

// server is the shop. GET /report has a report for whoever shows the receipt of a
// payment, in base64, in the header X-PAYMENT; anybody else gets 402 and an offer
// in the form of x402. With the order in X-ORDER, it answers for that one: 200 paid,
// 402 not paid, 410 cancelled, and a payment for it given back.
var server = "http://127.0.0.1:8803"

const (
	shop     = "shop"
	maxPrice = 5000 // microcents
	every    = 500 * time.Millisecond
)

// An offer is what a 402 says.
type offer struct {
	Accepts []struct {
		Scheme string `json:"scheme"`
		Amount int64  `json:"maxAmountRequired,string"` // microcents
		PayTo  string `json:"payTo"`
		Extra  struct {
			Order string `json:"order"` // the memo of the payment
		} `json:"extra"`
	} `json:"accepts"`
}

// A buyer is the whole state.
type buyer struct {
	log     sdk.EffectLog // one intent for each order that is paid, by its name
	receipt []byte        // of the order that is paid and not delivered
	reports uint64
	newest  string
	next    time.Time // to buy
	spent   int64
}

func newBuyer() *buyer { return &buyer{next: time.Unix(0, 0).UTC()} }

func (b *buyer) Init() { sdk.Log("buying reports with " + micro(sdk.Balance())) }

func (b *buyer) Tick() (more bool) {
	if b.receipt != nil {
		return b.collect()
	}
	for _, i := range b.log.Open() {
		// Until the shop knows, nothing else is bought.
		return b.reconcile(i.ID)
	}
	if sdk.Now().Before(b.next) {
		return false
	}
	answer, err := sdk.Get(server + "/report")
	switch {
	case errors.Is(err, sdk.ErrNotDelivered):
		sdk.Log("paid by the node, and not delivered")
		b.next = sdk.Now().Add(every)
		return false
	case err != nil:
		sdk.Log("no offer: " + err.Error())
		return false
	case answer.Status == 200:
		b.deliver(answer.Body) // the node paid
		return false
	}
	if answer.Status != 402 {
		sdk.Log("no offer: status " + strconv.Itoa(answer.Status))
		return false
	}
	amount, order, err := choose(answer.Body)
	if err != nil {
		sdk.Log("no offer: " + err.Error())
		return false
	}
	return b.pay(amount, order)
}

// choose finds the offer that the buyer takes.
func choose(body []byte) (amount int64, order string, err error) {
	var o offer
	if err := json.Unmarshal(body, &o); err != nil {
		return 0, "", err
	}
	for _, a := range o.Accepts {
		if a.Scheme == "exact" && a.PayTo == shop && a.Amount > 0 && a.Amount <= maxPrice && a.Extra.Order != "" {
			return a.Amount, a.Extra.Order, nil
		}
	}
	return 0, "", errors.New("none of " + strconv.Itoa(len(o.Accepts)) + " is acceptable")
}

func (b *buyer) pay(amount int64, order string) (more bool) {
	b.log.Prune() // of an order that comes again, the shop knows that it is paid
	price := strconv.FormatInt(amount, 10)
	err := b.log.Act(order, []byte(price), func() (err error) {
		b.receipt, err = sdk.Pay(amount, shop, order)
		return err
	})
	if err != nil {
		sdk.Log("not paid, " + order + ": " + err.Error())
		return false
	}
	b.spent += amount
	sdk.Log("paid " + micro(amount) + " for " + order)
	return true
}

// collect gets what is paid. A receipt can be shown as often as it takes.
func (b *buyer) collect() (more bool) {
	answer, err := sdk.Do(sdk.Request{
		URL:    server + "/report",
		Header: []string{"X-PAYMENT: " + base64.StdEncoding.EncodeToString(b.receipt)},
	})
	if err != nil {
		sdk.Log("paid, and not delivered yet: " + err.Error())
		return false
	}
	if answer.Status != 200 {
		sdk.Log("paid, and not delivered yet: status " + strconv.Itoa(answer.Status))
		return false
	}
	b.deliver(answer.Body)
	return false
}

func (b *buyer) deliver(report []byte) {
	b.receipt = nil
	b.reports++
	b.newest = string(report)
	b.next = sdk.Now().Add(every)
	sdk.Log("report " + strconv.FormatUint(b.reports, 10) + ": " + b.newest)
}

// reconcile asks the shop about an order whose payment is unresolved.
func (b *buyer) reconcile(order string) (more bool) {
	answer, err := sdk.Do(sdk.Request{URL: server + "/report", Header: []string{"X-ORDER: " + order}})
	switch {
	case err != nil:
		sdk.Log("no word on " + order + ": " + err.Error())
	case answer.Status == 200:
		for i := range b.log.All() {
			if i.ID == order {
				amount, _ := strconv.ParseInt(string(i.Data), 10, 64) // the agent wrote it
				b.spent += amount
			}
		}
		must(b.log.Confirm(order))
		sdk.Log("reconciled " + order + ": it is paid")
		b.deliver(answer.Body)
	case answer.Status == 410:
		must(b.log.Compensate(order))
		sdk.Log("reconciled " + order + ": it is cancelled")
	}
	return false
}

func must(err error) {
	if err != nil {
		panic(err) // an intent that is open can be closed
	}
}

func micro(amount int64) string {
	return strconv.FormatInt(amount, 10) + " microcents"
}

func (b *buyer) Marshal() []byte {
	e := sdk.NewEncoder(1)
	e.Value(&b.log)
	e.Bool(b.receipt != nil)
	e.Bytes(b.receipt)
	e.Uint64(b.reports)
	e.Text(b.newest)
	e.Time(b.next)
	e.Int64(b.spent)
	return e.Data()
}

func (b *buyer) Unmarshal(state []byte) error {
	d := sdk.NewDecoder(state, 1)
	d.Value(&b.log)
	paid := d.Bool()
	if b.receipt = d.Bytes(); !paid {
		b.receipt = nil
	}
	b.reports = d.Uint64()
	b.newest = d.Text()
	b.next = d.Time()
	b.spent = d.Int64()
	return d.Close()
}

func init() { sdk.Run(newBuyer()) }

func main() {}
