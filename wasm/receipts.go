//go:build js && wasm

package main

import (
	"strconv"

	"igor.dev/verifier/receipt"
)

// mostPayments is how many payments receipts lists.
const mostPayments = 1000

// receipts says what receipts of payments on chains say that are signed by the keys that
// they name. Input: a file of receipts. Result: JSON, of which site/verify/receipts.ts has
// the type; a failure where the input is no such file.
//
//go:wasmexport receipts
func receipts() int32 {
	output = append(output[:0], `{"payments":[`...)
	separator := ""
	unsigned, payments := 0, 0
	for rest := input; len(rest) > 0; {
		r, n, err := receipt.Parse(rest)
		if err != nil {
			return fail(err.Error())
		}
		rest = rest[n:]
		o, ok := r.(*receipt.Onchain)
		switch {
		case !ok:
			continue
		case !o.Authentic():
			unsigned++
			continue
		}
		if payments++; payments > mostPayments {
			continue
		}
		output = append(append(output, separator...), `{"network":"eip155:`...)
		output = append(strconv.AppendUint(output, o.Chain, 10), '"')
		member("did", o.Payer.DID())
		for _, f := range []struct {
			name  string
			value []byte
		}{{"asset", o.Asset[:]}, {"from", o.From[:]}, {"to", o.To[:]}, {"transaction", o.Transaction[:]}, {"nonce", o.Nonce[:]}} {
			member(f.name, hex0x(f.value))
		}
		member("amount", strconv.FormatInt(o.Amount, 10))
		member("block", strconv.FormatUint(o.Block, 10))
		member("time", strconv.FormatInt(o.Time, 10))
		output = append(output, `,"agreed":`...)
		output = strconv.AppendUint(output, uint64(o.Agreed), 10)
		output = append(output, `,"asked":`...)
		output = append(strconv.AppendUint(output, uint64(o.Asked), 10), '}')
		separator = ","
	}
	output = append(output, `],"total":`...)
	output = strconv.AppendInt(output, int64(payments), 10)
	output = append(output, `,"unsigned":`...)
	output = append(strconv.AppendInt(output, int64(unsigned), 10), '}')
	return done()
}

// hex0x writes bytes as chains do. Package encoding/hex would bring fmt along.
func hex0x(b []byte) string {
	const digits = "0123456789abcdef"
	s := []byte("0x")
	for _, c := range b {
		s = append(s, digits[c>>4], digits[c&15])
	}
	return string(s)
}
