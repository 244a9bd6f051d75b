package request

import "igor.dev/x402/evm"

// Paid is an http_request that is sent again with a payment by x402: what an effect of
// that kind sends, and what is needed to find out what became of it.
type Paid struct {
	Domain evm.Domain // for which the payment was signed
	Since  uint64     // a block of the chain before which nothing of it is

	// The header that pays, byte for byte.
	Name, Value string

	HTTP []byte // the request without it, in its own layout, with its room
}

const paidTag = "igor/x402-request/v1\x00"

// Append appends its layout.
func (p *Paid) Append(dst []byte) []byte {
	dst = append(dst, paidTag...)
	dst = appendPart(dst, p.Domain.Name)
	dst = appendPart(dst, p.Domain.Version)
	dst = le.AppendUint64(dst, p.Domain.Chain)
	dst = append(dst, p.Domain.Contract[:]...)
	dst = le.AppendUint64(dst, p.Since)
	dst = appendPart(dst, p.Name)
	dst = appendPart(dst, p.Value)
	return append(dst, p.HTTP...)
}

// ParsePaid reads one. HTTP aliases b.
func ParsePaid(b []byte) (p Paid, err error) {
	d := decoder{b: b}
	if string(d.take(uint64(len(paidTag)))) != paidTag {
		return p, ErrMalformed
	}
	p.Domain.Name, p.Domain.Version, p.Domain.Chain = string(d.part()), string(d.part()), d.u64()
	copy(p.Domain.Contract[:], d.take(uint64(len(p.Domain.Contract))))
	p.Since = d.u64()
	p.Name, p.Value = string(d.part()), string(d.part())
	p.HTTP, d.b = d.b, nil
	return p, d.end()
}
