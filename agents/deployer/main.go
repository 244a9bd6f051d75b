// Deployer is an agent that rents a machine for a copy of itself: it asks a
// provider of computing for an offer, pays it, deploys the copy, watches it until
// it runs, and says so. When the provider says that the copy is gone, it begins
// again. The machine may die between any two of these steps.
//
// What to learn from it: a plan of several side effects, each of which needs what
// the one before it brought. What is done is in the state, a step a tick; each
// act is in the effect log; and the manifest declares both acts as queryable, so
// that after a crash the runtime asks what became of them, and the agent gets the
// answer as if nothing had happened.
package main

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strconv"
	"strings"

	"igor.dev/effects"
	"igor.dev/sdk"
)

// server is the provider. It has the agent's image from the agent's operator, for
// an agent cannot see its own.
//
//	GET  /offer             an offer, for one order
//	POST /deployments       a body of "ORDER IMAGE" and the receipt of the order's payment,
//	                        in base64, in X-PAYMENT: 201 and the deployment's name, always
//	                        the same one for an order; 402 not paid; 410 cancelled
//	GET  /deployments/NAME  how it is
//	GET  /effects/ID        200 and the name, if a POST with this Idempotency-Key was
//	                        answered with 201, else 404
//	GET  /orders/ORDER      how the order is
//
// Where an offer names rent, the provider has the copy already, and its lease is paid by
// x402 on a chain (docs/spec/rent.md): POST to that path, and the node pays. The receipt is
// shown in X-RENT then.
var server = "http://127.0.0.1:8804"

const (
	provider = "provider"
	maxPrice = 50_000 // microcents
)

// An offer is for one deployment.
type offer struct {
	Order  string `json:"order"`
	Image  string `json:"image"`         // SHA-256, hexadecimal
	Amount int64  `json:"amount,string"` // microcents
	PayTo  string `json:"payTo"`
	Rent   string `json:"rent"` // a path, or "": then PayTo is paid by wallet_pay
}

// An order is what the provider says of one.
type order struct {
	State      string `json:"state"`   // open, paid, deployed or cancelled (the payment is given back)
	Receipt    []byte `json:"receipt"` // of its payment, from paid on
	Deployment string `json:"deployment"`
}

// A deployment is what the provider says of one.
type deployment struct {
	State string `json:"state"` // starting, running (its history verifies) or gone
	Image string `json:"image"`
	DID   string `json:"did"`
}

// A deployer is the whole state.
type deployer struct {
	log    sdk.EffectLog
	offer  offer  // that is taken; Order is "" while there is none
	paid   []byte // the receipt; empty if it is paid and the receipt still to come, nil if it is not paid
	tries  uint64 // to deploy it
	name   string // of the deployment, "" until there is one
	runs   bool
	copies uint64 // that ran
	spent  int64
}

func (d *deployer) Init() { sdk.Log("deploying with " + micro(sdk.Balance())) }

// Tick takes one step. What may have happened comes before anything new.
func (d *deployer) Tick() (more bool) {
	if open := d.log.Open(); len(open) > 0 {
		return d.reconcile(open[0])
	}
	switch {
	case d.offer.Order == "":
		return d.ask()
	case d.paid == nil:
		return d.pay()
	case d.name == "":
		return d.deploy()
	}
	return d.watch()
}

func (d *deployer) ask() (more bool) {
	var o offer
	if err := get("/offer", &o); err != nil {
		sdk.Log("no offer: " + err.Error())
		return false
	}
	if err := o.check(); err != nil {
		sdk.Log("no offer: " + err.Error())
		return false
	}
	d.offer = o
	sdk.Log("offered " + o.Order + " for " + micro(o.Amount))
	return true
}

func (o *offer) check() error {
	image, err := hex.DecodeString(o.Image)
	switch {
	case !plain(o.Order):
		return errors.New("the order is called " + strconv.Quote(o.Order))
	case o.Rent == "" && o.PayTo != provider:
		return errors.New("it is somebody else's")
	case o.Rent != "" && !(strings.HasPrefix(o.Rent, "/rent/") && plain(o.Rent[len("/rent/"):])):
		return errors.New("its rent is at " + strconv.Quote(o.Rent))
	case o.Amount <= 0 || o.Amount > maxPrice:
		return errors.New("it costs " + micro(o.Amount))
	case err != nil || len(image) != 32:
		return errors.New("it names no image")
	}
	return nil
}

// plain reports whether a name that the provider gives can stand in a URL.
func plain(name string) bool {
	return name != "" && len(name) <= 64 && !strings.ContainsFunc(name, func(c rune) bool {
		return c <= ' ' || c >= 0x7f || strings.ContainsRune("/?#%", c)
	})
}

func (d *deployer) pay() (more bool) {
	id := "pay " + d.offer.Order
	if i, ok := d.log.Get(id); ok { // it was unresolved, and the node has found out
		if i.State == effects.Confirmed {
			d.hasPaid([]byte{})
		} else {
			sdk.Log("never paid, " + d.offer.Order)
			d.forget()
		}
		return true
	}
	var receipt []byte
	err := d.log.Act(id, nil, func() (err error) {
		if d.offer.Rent != "" {
			receipt, err = lease(d.offer.Rent)
		} else {
			receipt, err = sdk.Pay(d.offer.Amount, provider, d.offer.Order)
		}
		return err
	})
	switch {
	case errors.Is(err, sdk.ErrNotDelivered):
		d.hasPaid([]byte{})
		return true
	case err == nil:
		d.hasPaid(receipt)
		return true
	case sdk.MayHaveHappened(err):
		sdk.Log("nobody knows yet whether " + d.offer.Order + " is paid: " + err.Error())
	default:
		sdk.Log("not paid, " + d.offer.Order + ": " + err.Error())
		d.forget()
	}
	return false
}

// lease asks for a lease. The provider wants money, and the node pays.
func lease(path string) (receipt []byte, err error) {
	answer, err := sdk.Do(sdk.Request{Method: "POST", URL: server + path})
	if err != nil {
		return nil, err
	}
	var said struct {
		Receipt []byte `json:"receipt"`
	}
	switch {
	case answer.Status != 200:
		return nil, errors.New("no lease, with status " + strconv.Itoa(answer.Status))
	case json.Unmarshal(answer.Body, &said) != nil || said.Receipt == nil:
		return []byte{}, nil // the order has it
	}
	return said.Receipt, nil
}

func (d *deployer) hasPaid(receipt []byte) {
	d.paid = receipt
	d.spent += d.offer.Amount
	sdk.Log("paid " + micro(d.offer.Amount) + " for " + d.offer.Order)
}

func (d *deployer) deploy() (more bool) {
	header := "X-PAYMENT: "
	if d.offer.Rent != "" {
		header = "X-RENT: "
		if len(d.paid) == 0 {
			return d.collect()
		}
	}
	d.tries++
	var name string
	err := d.log.Act("deploy "+d.offer.Order+" "+strconv.FormatUint(d.tries, 10), nil, func() error {
		answer, err := sdk.Do(sdk.Request{
			Method: "POST",
			URL:    server + "/deployments",
			Header: []string{header + base64.StdEncoding.EncodeToString(d.paid)},
			Body:   []byte(d.offer.Order + " " + d.offer.Image),
		})
		switch {
		case err != nil:
			return err
		case (answer.Status == 200 || answer.Status == 201) && plain(string(answer.Body)): // 200 is that of the probe
			name = string(answer.Body)
			return nil
		case answer.Status >= 400 && answer.Status < 500:
			return errors.New("the provider refuses, with status " + strconv.Itoa(answer.Status))
		}
		// One that fails does not say what it has done before.
		return &sdk.Error{Call: "http_request", Err: sdk.ErrUnresolved}
	})
	switch {
	case err == nil:
		d.hasDeployed(name)
		return true
	case sdk.MayHaveHappened(err):
		sdk.Log("nobody knows yet whether " + d.offer.Order + " is deployed: " + err.Error())
	default:
		sdk.Log("not deployed, " + d.offer.Order + ": " + err.Error())
		d.look()
	}
	return false
}

// collect gets the receipt of what is paid.
func (d *deployer) collect() (more bool) {
	o, err := d.order()
	switch {
	case err != nil:
		sdk.Log("no word on " + d.offer.Order + ": " + err.Error())
	case o.State == "cancelled":
		d.givenBack()
	case len(o.Receipt) > 0:
		d.paid = o.Receipt
		return true
	}
	return false
}

func (d *deployer) hasDeployed(name string) {
	d.name = name
	sdk.Log("deployed " + d.offer.Order + " as " + name)
}

// look asks how the order is that is paid, and could not be deployed.
func (d *deployer) look() {
	if o, err := d.order(); err == nil && o.State == "cancelled" {
		d.givenBack()
	}
}

func (d *deployer) watch() (more bool) {
	var is deployment
	if err := get("/deployments/"+d.name, &is); err != nil {
		sdk.Log("no word on " + d.name + ": " + err.Error())
		return false
	}
	switch {
	case is.State == "gone":
		sdk.Log(d.name + " is gone")
		d.forget()
		return true
	case is.State == "running" && is.Image != d.offer.Image:
		sdk.Log(d.name + " runs something else: " + is.Image)
	case is.State == "running" && !d.runs:
		d.runs = true
		d.copies++
		sdk.Log("copy " + strconv.FormatUint(d.copies, 10) + " runs as " + is.DID)
	}
	return false
}

// forget ends an order. Another one has another name, and other ids of intents.
func (d *deployer) forget() {
	d.log.Prune()
	d.offer, d.paid, d.tries, d.name, d.runs = offer{}, nil, 0, "", false
}

func (d *deployer) givenBack() {
	d.spent -= d.offer.Amount
	sdk.Log(d.offer.Order + " is cancelled, and its payment given back")
	d.forget()
}

func (d *deployer) order() (o order, err error) {
	return o, get("/orders/"+d.offer.Order, &o)
}

// reconcile finds out about an act that may have happened: in the agent's own
// wallet, then from the provider.
func (d *deployer) reconcile(i effects.Intent) (more bool) {
	paying := strings.HasPrefix(i.ID, "pay ")
	if paying && d.offer.Rent == "" {
		if receipt := receiptFor(d.offer.Order); receipt != nil {
			must(d.log.Confirm(i.ID))
			sdk.Log("reconciled with the wallet: " + i.ID)
			d.hasPaid(receipt)
			return true
		}
	}
	o, err := d.order()
	if err != nil {
		sdk.Log("no word on " + d.offer.Order + ": " + err.Error())
		return false
	}
	switch {
	case o.State == "cancelled":
		must(d.log.Compensate(i.ID))
		sdk.Log("reconciled with the provider: " + d.offer.Order + " is cancelled")
		if paying {
			d.forget()
		} else {
			d.givenBack()
		}
	case paying && (o.State == "paid" || o.State == "deployed") && len(o.Receipt) > 0:
		must(d.log.Confirm(i.ID))
		sdk.Log("reconciled with the provider: " + i.ID)
		d.hasPaid(o.Receipt)
	case !paying && o.State == "deployed" && plain(o.Deployment):
		must(d.log.Confirm(i.ID))
		sdk.Log("reconciled with the provider: " + i.ID)
		d.hasDeployed(o.Deployment)
	case !paying && o.State == "paid":
		// Should it still come, an order has one deployment all the same.
		must(d.log.Compensate(i.ID))
		sdk.Log("reconciled with the provider: " + d.offer.Order + " is not deployed")
	default:
		return false
	}
	return true
}

// receiptFor returns the receipt in the wallet of what was paid for an order, nil
// if there is none.
func receiptFor(order string) []byte {
	for i := sdk.Receipts() - 1; i >= 0; i-- {
		receipt, err := sdk.Receipt(i)
		if err == nil && memo(receipt) == order {
			return receipt
		}
	}
	return nil
}

// memo reads the memo of a payment receipt, which docs/spec/receipts.md describes.
func memo(receipt []byte) string {
	const lengths, fixed, signature = 104, 108, 64
	if len(receipt) < fixed+signature {
		return ""
	}
	from := fixed + int(binary.LittleEndian.Uint16(receipt[lengths:]))
	to := from + int(binary.LittleEndian.Uint16(receipt[lengths+2:]))
	if to+signature != len(receipt) {
		return ""
	}
	return string(receipt[from:to])
}

// get reads what the provider says.
func get(path string, into any) error {
	answer, err := sdk.Get(server + path)
	if err != nil {
		return err
	}
	if answer.Status != 200 {
		return errors.New("status " + strconv.Itoa(answer.Status))
	}
	return json.Unmarshal(answer.Body, into)
}

func must(err error) {
	if err != nil {
		panic(err) // an intent that is open can be closed
	}
}

func micro(amount int64) string {
	return strconv.FormatInt(amount, 10) + " microcents"
}

func (d *deployer) Marshal() []byte {
	e := sdk.NewEncoder(2)
	e.Value(&d.log)
	e.Text(d.offer.Order)
	e.Text(d.offer.Image)
	e.Int64(d.offer.Amount)
	e.Text(d.offer.PayTo)
	e.Text(d.offer.Rent)
	e.Bool(d.paid != nil)
	e.Bytes(d.paid)
	e.Uint64(d.tries)
	e.Text(d.name)
	e.Bool(d.runs)
	e.Uint64(d.copies)
	e.Int64(d.spent)
	return e.Data()
}

func (d *deployer) Unmarshal(state []byte) error {
	c := sdk.NewDecoder(state, 2)
	c.Value(&d.log)
	d.offer.Order = c.Text()
	d.offer.Image = c.Text()
	d.offer.Amount = c.Int64()
	d.offer.PayTo = c.Text()
	if c.Version() > 1 {
		d.offer.Rent = c.Text()
	}
	paid := c.Bool()
	if d.paid = append([]byte{}, c.Bytes()...); !paid {
		d.paid = nil
	}
	d.tries = c.Uint64()
	d.name = c.Text()
	d.runs = c.Bool()
	d.copies = c.Uint64()
	d.spent = c.Int64()
	return c.Close()
}

func init() { sdk.Run(&deployer{}) }

func main() {}
