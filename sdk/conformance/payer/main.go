// Payer is an agent for tests, the same in every language: it pays one order after
// the other, and some of its ticks fail after the payment was made. Which ones, and
// that none is paid twice, findings_test.go says.
package main

import (
	"strconv"

	"igor.dev/sdk"
)

type payer struct {
	paid, tries uint64 // orders that are paid, and tries at the next one
	log         sdk.EffectLog
}

func (p *payer) Init() {}

func (p *payer) Tick() (more bool) {
	if len(p.log.Open()) > 0 {
		return false // the operator finds out
	}
	p.log.Prune()
	order := p.paid + 1
	p.tries++
	id := "order " + strconv.FormatUint(order, 10) + "." + strconv.FormatUint(p.tries, 10) + ";"
	told := len(p.log.Kept()) > 0
	err := p.log.Act(id, nil, func() error {
		_, err := sdk.Pay(5, "bob", id)
		return err
	})
	if (order%2 == 0 || order%5 == 3) && p.tries == 1 && !told {
		panic("this tick fails")
	}
	if err == nil {
		p.settle()
	}
	return false
}

func (p *payer) settle() { p.paid, p.tries = p.paid+1, 0 }

// Observe counts what the operator found out. What did not happen is tried again.
func (p *payer) Observe(f sdk.Finding, intent string) (over bool) {
	if intent != "" && f.Outcome == sdk.OutcomeConfirmed {
		p.settle()
	}
	return true
}

func (p *payer) Marshal() []byte {
	e := sdk.NewEncoder(1)
	e.Uint64(p.paid)
	e.Uint64(p.tries)
	e.Value(&p.log)
	return e.Data()
}

func (p *payer) Unmarshal(b []byte) error {
	d := sdk.NewDecoder(b, 1)
	p.paid = d.Uint64()
	p.tries = d.Uint64()
	d.Value(&p.log)
	return d.Close()
}

func init() { sdk.Run(&payer{}) }

func main() {}
