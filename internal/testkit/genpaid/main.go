// Command genpaid writes testdata/paid-requests: what the journal has of requests that were
// sent with a payment, from docs/spec/x402.md, "Records". Nothing here reads one.
package main

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"

	"igor.dev/internal/testkit"
)

func main() { testkit.Generate("genpaid", "paid-requests", files()) }

// A vector is one request, and what it is, unless it is refused.
type vector struct {
	Description string  `json:"description"`
	Request     string  `json:"request"`
	Refused     bool    `json:"refused,omitempty"`
	Is          *fields `json:"is,omitempty"`
}

type fields struct {
	Name    string `json:"tokenName"`
	Version string `json:"tokenVersion"`
	Chain   uint64 `json:"chain,string"`
	Token   string `json:"token"`
	Since   uint64 `json:"since,string"`
	Header  string `json:"header"`
	Value   string `json:"value"`
	HTTP    string `json:"http"`
}

func part(b []byte, text string) []byte {
	b = binary.LittleEndian.AppendUint32(b, uint32(len(text)))
	return append(b, text...)
}

func (f *fields) bytes() []byte {
	b := part(part([]byte("igor/x402-request/v1\x00"), f.Name), f.Version)
	b = binary.LittleEndian.AppendUint64(b, f.Chain)
	token, _ := hex.DecodeString(f.Token)
	b = append(b, token...)
	b = binary.LittleEndian.AppendUint64(b, f.Since)
	b = part(part(b, f.Header), f.Value)
	rest, _ := hex.DecodeString(f.HTTP)
	return append(b, rest...)
}

func files() map[string][]byte {
	whole := fields{"USD Coin", "2", 8453, "833589fcd6edb6e08f4c7c32d4f71b54bda02913", 31_000_000, "PAYMENT-SIGNATURE", "eyJ4NDAyVmVyc2lvbiI6Mn0=", "00100000030000004745540900000068747470733a2f2f6100000000"}
	all := map[string][]byte{}
	add := func(name string, v vector) {
		b, err := json.MarshalIndent(v, "", "  ")
		if err != nil {
			panic(err)
		}
		all[name+".json"] = append(b, '\n')
	}
	is := func(name, description string, change func(*fields)) {
		f := whole
		change(&f)
		add(name, vector{Description: description, Request: hex.EncodeToString(f.bytes()), Is: &f})
	}
	refused := func(name, description string, b []byte) {
		add(name, vector{Description: description, Request: hex.EncodeToString(b), Refused: true})
	}
	is("whole", "A GET that is paid by version 2.", func(*fields) {})
	is("version-1", "By version 1, whose header has another name.", func(f *fields) { f.Header = "X-PAYMENT" })
	is("no-request", "The request is the rest, which may be nothing.", func(f *fields) { f.HTTP = "" })
	is("empty-texts", "Texts may be empty, to whoever reads the layout alone.", func(f *fields) { f.Name, f.Version, f.Header, f.Value = "", "", "", "" })
	is("largest-numbers", "Numbers of 64 bits.", func(f *fields) { f.Chain, f.Since = 1<<64-1, 1<<64-1 })
	is("zeros-in-texts", "A text has the bytes that it has.", func(f *fields) { f.Name = "USD\x00Coin" })
	b := whole.bytes()
	fixed := len(b) - len(whole.HTTP)/2
	refused("empty", "Nothing.", nil)
	refused("another-kind", "A request of another kind.", bytes.Replace(b, []byte("x402-request/v1"), []byte("x402-request/v2"), 1))
	for name, at := range map[string]int{"cut-in-tag": 9, "cut-in-name": 27, "cut-in-chain": 40, "cut-in-token": 55, "cut-in-since": 70, "cut-in-value": fixed - 1} {
		refused(name, "It is cut short.", b[:at])
	}
	long := bytes.Clone(b)
	binary.LittleEndian.PutUint32(long[21:], 1<<32-1)
	refused("length-beyond", "A text that is longer than all there is.", long)
	return all
}
