// Probe is what ../README.md describes, on the SDK for Go.
package main

import (
	"errors"
	"strconv"

	"igor.dev/sdk"
)

const web = "https://probe.example"

type probe struct {
	ticks      uint64
	born, said string
	effects    sdk.EffectLog
}

func (p *probe) say(what, result string, err error) {
	if err != nil {
		result = why(err)
	}
	p.said += what + " " + result + "\n"
}

func why(err error) string {
	var e *sdk.Error
	if errors.As(err, &e) {
		return e.Err.Error()
	}
	return err.Error()
}

func number[N int | int64 | uint64](n N) string { return strconv.FormatInt(int64(n), 10) }

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func (p *probe) Init() {
	_, err := sdk.Do(sdk.Request{Method: "POST", URL: web + "/done"})
	p.say("init", "ok", err)
	p.born, p.said = p.said, ""
}

func (p *probe) Tick() bool {
	p.ticks++
	p.said = ""
	for i := range 16 {
		kept = make([]byte, 64<<10)
		kept[i] = 1
	}

	p.say("now", number(sdk.Now().Unix()), nil)
	var b [8]byte
	err := sdk.Rand(b[:])
	p.say("rand", yes(b != [8]byte{}), err)
	p.say("rand", "ok", sdk.Rand(make([]byte, sdk.MaxRand+1)))
	sdk.Log("probe " + number(p.ticks))

	p.say("balance", yes(sdk.Balance() > 0), nil)
	p.say("price", number(sdk.Price()), nil)
	p.say("receipts", number(sdk.Receipts()), nil)
	_, err = sdk.Receipt(9)
	p.say("receipt", "ok", err)
	for _, pay := range []struct {
		amount    int64
		recipient string
	}{{5, "mallory"}, {1001, "bob"}, {0, "bob"}} {
		_, err = sdk.Pay(pay.amount, pay.recipient, "probe")
		p.say("pay", "ok", err)
	}

	for _, url := range []string{web + "/long", web + "/503", web + "/late", web + "/missing", "https://other.example/", "probe"} {
		r, err := sdk.Get(url)
		p.say("get", number(r.Status)+" "+number(len(r.Body)), err)
	}

	_, err = sdk.Load("key")
	p.say("load", "ok", err)
	p.say("store", "ok", sdk.Store("key", make([]byte, 20_000)))
	value, err := sdk.Load("key")
	p.say("load", number(len(value)), err)
	p.say("store", "ok", sdk.Store(string(make([]byte, sdk.MaxKey+1)), nil))
	p.say("delete", "ok", sdk.Delete("key"))
	p.say("delete", "ok", sdk.Delete("key"))

	_, err = sdk.NodeID()
	p.say("node", "ok", err)
	_, err = sdk.Peers()
	p.say("peers", "ok", err)
	_, err = sdk.PeerOffer(0)
	p.say("offer", "ok", err)
	p.say("migrate", "ok", sdk.Migrate("did:key:z6Mk"))
	_, err = sdk.MigrateStatus()
	p.say("migration", "ok", err)
	_, err = sdk.DrainDeadline()
	p.say("drain", "ok", err)

	open := p.effects.Open()
	for _, i := range open {
		if err := p.effects.Confirm(i.ID); err != nil {
			panic(err)
		}
	}
	p.say("open", number(len(open)), nil)
	p.effects.Prune()
	for _, what := range []string{"done", "refused", "broken", "lost"} {
		id := what + "-" + number(p.ticks)
		err := p.effects.Act(id, []byte("data of "+what), func() error {
			r, err := sdk.Do(sdk.Request{Method: "POST", URL: web + "/" + what, Header: []string{"X-Probe: " + what}, Body: []byte(id)})
			if err != nil {
				return err
			}
			return r.Err()
		})
		p.say("act", "ok", err)
	}

	return p.ticks%2 == 0
}

var kept []byte // so that the buffers are really made

func (p *probe) Marshal() []byte {
	e := sdk.NewEncoder(1)
	e.Uint64(p.ticks)
	e.Text(p.born)
	e.Text(p.said)
	e.Value(&p.effects)
	return e.Data()
}

func (p *probe) Unmarshal(b []byte) error {
	d := sdk.NewDecoder(b, 1)
	p.ticks = d.Uint64()
	p.born = d.Text()
	p.said = d.Text()
	d.Value(&p.effects)
	return d.Close()
}

func init() { sdk.Run(&probe{}) }

func main() {}
