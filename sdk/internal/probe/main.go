// Probe is an agent that calls all that the SDK has, for the runtime's tests. Its
// state is what came of it, a line each.
package main

import (
	"strconv"
	"strings"

	"igor.dev/sdk"
)

type probe struct{ lines []string }

func (p *probe) say(call string, result string, err error) {
	if err != nil {
		result = err.Error()
	}
	p.lines = append(p.lines, call+": "+result)
}

func (p *probe) Init() { p.effects("init") }

// effects makes a side effect of each kind.
func (p *probe) effects(when string) {
	receipt, err := sdk.Pay(5, "bob", when)
	p.say("pay", strconv.Itoa(len(receipt)), err)
	r, err := sdk.Do(sdk.Request{Method: "POST", URL: p.url(), Header: []string{"X-A: b"}, Body: []byte(when)})
	p.say("post", string(r.Body), err)
}

func (p *probe) url() string {
	url, err := sdk.Load("url")
	if err != nil {
		return err.Error()
	}
	return string(url)
}

func (p *probe) Tick() bool {
	p.lines = nil
	p.say("now", sdk.Now().Format("2006"), nil)
	b := make([]byte, 4)
	err := sdk.Rand(b)
	p.say("rand", strconv.Itoa(len(strings.Trim(string(b), "\x00"))), err)
	p.say("rand", "", sdk.Rand(make([]byte, sdk.MaxRand+1)))
	sdk.Log("probe")
	p.say("balance", strconv.FormatInt(sdk.Balance(), 10), nil)
	p.say("price", strconv.FormatInt(sdk.Price(), 10), nil)
	p.say("receipts", strconv.Itoa(sdk.Receipts()), nil)
	receipt, err := sdk.Receipt(0)
	p.say("receipt", string(receipt), err)
	_, err = sdk.Receipt(9)
	p.say("receipt", "", err)
	p.effects("tick")
	r, err := sdk.Get(p.url() + "long")
	p.say("get", strconv.Itoa(len(r.Body)), err)
	_, err = sdk.Get("http://evil.example/")
	p.say("get", "", err)
	_, err = sdk.Pay(1, "mallory", "")
	p.say("pay", "", err)
	_, err = sdk.Pay(1_000_000, "bob", "")
	p.say("pay", "", err)
	p.say("store", "stored", sdk.Store("empty", nil))
	value, err := sdk.Load("empty")
	p.say("load", strconv.Itoa(len(value)), err)
	big, err := sdk.Load("big")
	p.say("load", strconv.Itoa(len(big)), err)
	p.say("delete", "deleted", sdk.Delete("empty"))
	p.say("delete", "", sdk.Delete("empty"))
	return false
}

func (p *probe) Marshal() []byte { return []byte(strings.Join(p.lines, "\n")) }

func (p *probe) Unmarshal(b []byte) error {
	p.lines = strings.Split(string(b), "\n")
	p.say("unmarshal", "stored", sdk.Store("a", nil))
	p.say("unmarshal at", sdk.Now().Format("2006"), nil)
	return nil
}

func init() { sdk.Run(&probe{}) }

func main() {}
