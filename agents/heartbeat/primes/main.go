// Primes is an agent for the benchmark, the same in every language: each tick counts
// the primes below 100,000 with a sieve.
package main

import "igor.dev/sdk"

const limit = 100_000

type primes struct{ found uint64 }

func (p *primes) Init() {}

func (p *primes) Tick() (more bool) {
	composite := make([]bool, limit)
	for n := 2; n < limit; n++ {
		if composite[n] {
			continue
		}
		p.found++
		for m := 2 * n; m < limit; m += n {
			composite[m] = true
		}
	}
	return false
}

func (p *primes) Marshal() []byte {
	e := sdk.NewEncoder(1)
	e.Uint64(p.found)
	return e.Data()
}

func (p *primes) Unmarshal(b []byte) error {
	d := sdk.NewDecoder(b, 1)
	p.found = d.Uint64()
	return d.Close()
}

func init() { sdk.Run(&primes{}) }

func main() {}
