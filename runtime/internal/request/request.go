// Package request has the layout of what an agent asks of a hostcall, as it stands
// in event logs, journals and findings: see docs/spec/eventlog.md.
//
// Integers are little-endian; a part that others follow has its length before it.
package request

import (
	"encoding/binary"
	"errors"
)

var le = binary.LittleEndian

// ErrMalformed says that bytes are not a request of the kind.
var ErrMalformed = errors.New("the request cannot be read")

// How many bytes a request has beside the agent's own.
const (
	HTTPOverhead = 4 + 4*4
	PayOverhead  = 8 + 4 + 2*4
	GetOverhead  = 4
	PutOverhead  = 4
)

// HTTP is an http_request.
type HTTP struct {
	Room                 uint32 // of the agent's buffer
	Method, URL, Headers string
	Body                 []byte
}

// Append appends its layout.
func (r *HTTP) Append(dst []byte) []byte { return r.AppendBare(le.AppendUint32(dst, r.Room)) }

// AppendBare appends it without the room, as in a finding.
func (r *HTTP) AppendBare(dst []byte) []byte {
	dst = appendPart(dst, r.Method)
	dst = appendPart(dst, r.URL)
	dst = appendPart(dst, r.Headers)
	return appendPart(dst, r.Body)
}

// ParseHTTP reads an http_request. The body aliases b.
func ParseHTTP(b []byte) (r HTTP, err error) {
	d := decoder{b: b}
	r.Room = d.u32()
	r.Method, r.URL, r.Headers, r.Body = string(d.part()), string(d.part()), string(d.part()), d.part()
	return r, d.end()
}

// Pay is a wallet_pay.
type Pay struct {
	Amount          int64
	Room            uint32
	Recipient, Memo string
}

// Append appends its layout.
func (r *Pay) Append(dst []byte) []byte {
	dst = le.AppendUint64(dst, uint64(r.Amount))
	dst = le.AppendUint32(dst, r.Room)
	return appendPart(appendPart(dst, r.Recipient), r.Memo)
}

// AppendBare appends it without the room, as in a finding.
func (r *Pay) AppendBare(dst []byte) []byte {
	dst = le.AppendUint64(dst, uint64(r.Amount))
	return appendPart(appendPart(dst, r.Recipient), r.Memo)
}

// ParsePay reads a wallet_pay.
func ParsePay(b []byte) (r Pay, err error) {
	d := decoder{b: b}
	r.Amount, r.Room = int64(d.u64()), d.u32()
	r.Recipient, r.Memo = string(d.part()), string(d.part())
	return r, d.end()
}

// Item is a call that asks for one of several: wallet_receipt, peer_offer.
type Item struct{ Index, Room uint32 }

// Append appends its layout.
func (r Item) Append(dst []byte) []byte {
	return le.AppendUint32(le.AppendUint32(dst, r.Index), r.Room)
}

// ParseItem reads one.
func ParseItem(b []byte) (r Item, err error) {
	d := decoder{b: b}
	r.Index, r.Room = d.u32(), d.u32()
	return r, d.end()
}

// Size is a call that asks for so many bytes: rand_bytes, node_id.
type Size uint32

// Append appends its layout.
func (r Size) Append(dst []byte) []byte { return le.AppendUint32(dst, uint32(r)) }

// ParseSize reads one.
func ParseSize(b []byte) (Size, error) {
	d := decoder{b: b}
	n := d.u32()
	return Size(n), d.end()
}

// Get is a kv_get.
type Get struct {
	Room uint32
	Key  []byte
}

// Append appends its layout.
func (r Get) Append(dst []byte) []byte { return append(le.AppendUint32(dst, r.Room), r.Key...) }

// ParseGet reads a kv_get. The key aliases b.
func ParseGet(b []byte) (r Get, err error) {
	d := decoder{b: b}
	r.Room = d.u32()
	r.Key, d.b = d.b, nil
	return r, d.end()
}

// Put is a kv_put.
type Put struct{ Key, Value []byte }

// Append appends its layout.
func (r Put) Append(dst []byte) []byte { return append(appendPart(dst, r.Key), r.Value...) }

// ParsePut reads a kv_put. Key and value alias b.
func ParsePut(b []byte) (r Put, err error) {
	d := decoder{b: b}
	r.Key = d.part()
	r.Value, d.b = d.b, nil
	return r, d.end()
}

func appendPart[T string | []byte](dst []byte, b T) []byte {
	return append(le.AppendUint32(dst, uint32(len(b))), b...)
}

type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) take(n uint64) []byte {
	if n > uint64(len(d.b)) {
		d.bad, d.b = true, nil
		return nil
	}
	b := d.b[:n:n]
	d.b = d.b[n:]
	return b
}

func (d *decoder) u32() uint32 {
	if b := d.take(4); b != nil {
		return le.Uint32(b)
	}
	return 0
}

func (d *decoder) u64() uint64 {
	if b := d.take(8); b != nil {
		return le.Uint64(b)
	}
	return 0
}

func (d *decoder) part() []byte { return d.take(uint64(d.u32())) }

func (d *decoder) end() error {
	if d.bad || len(d.b) > 0 {
		return ErrMalformed
	}
	return nil
}
