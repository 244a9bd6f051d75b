package eventlog

import (
	"encoding/binary"
	"math"

	"igor.dev/runtime/internal/account"
)

// Records of version 2: numbers are varints, as short as they can be, and no record
// has its tick, since they come in order.

func (d Data) append2(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(d.size))
	if d.size > MaxInline {
		return append(dst, d.hash[:]...)
	}
	return append(dst, d.inline...)
}

func (r *Record) appendMetered(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, r.Fuel)
	dst = binary.AppendUvarint(dst, r.Waited)
	dst = binary.AppendUvarint(dst, r.Rest)
	return binary.AppendUvarint(dst, uint64(r.Cost))
}

func (r *Record) append2(dst []byte) []byte {
	kind := r.Kind
	if r.again {
		kind = again
	}
	dst = append(dst, byte(kind))
	switch shape := shapes[kind]; {
	case kind == again:
	case kind == TickEnd:
		dst = binary.AppendVarint(dst, r.Return)
		dst = r.appendMetered(dst)
	case kind == TickFailed:
		dst = append(dst, byte(r.Failure), byte(r.Call))
		dst = r.appendMetered(dst)
	case kind == Account:
		dst = append(dst, byte(r.Reason))
		dst = binary.AppendUvarint(dst, uint64(r.Amount))
		dst = binary.AppendUvarint(dst, uint64(r.Price))
		if r.Reason == Release {
			dst = append(dst, r.Effect[:]...)
		}
	case kind == Origin:
		dst = append(dst, r.Agent[:]...)
		dst = append(dst, r.Checkpoint[:]...)
	case kind == Upgrade:
		dst = append(dst, r.WASM[:]...)
		dst = append(dst, r.Manifest[:]...)
	case kind == Finding:
		dst = r.Request.append2(dst)
	default:
		dst = binary.AppendVarint(dst, r.Return)
		if shape&hasSpent != 0 {
			dst = binary.AppendUvarint(dst, uint64(r.Spent))
			dst = binary.AppendUvarint(dst, r.Waited)
		}
		if shape&hasRequest != 0 {
			dst = r.Request.append2(dst)
		}
		if shape&hasResult != 0 {
			dst = r.Result.append2(dst)
		}
	}
	return dst
}

// parse2 reads the fields of a record, and reports whether its kind is known.
func (r *Record) parse2(d *decoder) bool {
	switch shape := shapes[r.Kind]; {
	case r.Kind == again:
		r.Kind, r.again = TickEnd, true
	case r.Kind == TickEnd:
		r.Return = d.varint()
		r.metered(d)
	case r.Kind == TickFailed:
		r.Failure, r.Call = Failure(d.u8()), Call(d.u8())
		r.metered(d)
	case r.Kind == Account:
		r.Reason = Reason(d.u8())
		r.Amount, r.Price = d.money(), d.money()
		if r.Reason == Release {
			r.Effect = d.hash()
		}
	case r.Kind == Origin:
		copy(r.Agent[:], d.take(len(r.Agent)))
		r.Checkpoint = d.hash()
	case r.Kind == Upgrade:
		r.WASM, r.Manifest = d.hash(), d.hash()
	case r.Kind == Finding:
		r.Request = d.data2()
	case shape&known != 0:
		r.Return = d.varint()
		if shape&hasSpent != 0 {
			r.Spent = d.money()
			r.Waited = d.uvarint()
		}
		if shape&hasRequest != 0 {
			r.Request = d.data2()
		}
		if shape&hasResult != 0 {
			r.Result = d.data2()
		}
	default:
		return false
	}
	return true
}

// uvarint takes a number that is written as short as it can be.
func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	switch {
	case n == 0:
		d.short, d.b = true, nil
		return 0
	case n < 0 || n > 1 && d.b[n-1] == 0:
		d.bad, d.b = true, nil
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) varint() int64 {
	v := d.uvarint()
	return int64(v>>1) ^ -int64(v&1)
}

// money takes an amount: above what an int64 has it is bad.
func (d *decoder) money() int64 {
	v := d.uvarint()
	if v > math.MaxInt64 {
		d.bad = true
		return 0
	}
	return int64(v)
}

func (r *Record) metered(d *decoder) {
	r.Fuel, r.Waited, r.Rest, r.Cost = d.uvarint(), d.uvarint(), d.uvarint(), d.money()
}

func (d *decoder) data2() Data {
	v := d.uvarint()
	if v > math.MaxUint32 {
		d.bad = true
		return Data{}
	}
	return d.data(uint32(v))
}

// A repeat knows how the next tick ends if it goes as the one before it: nothing is
// observed, and return and fuel are the same. Then the price is too, so that what is
// owed grows by the same, and the cost follows: an idle tick is a record without
// fields.
type repeat struct {
	rest uint64 // that is owed
	each uint64 // what a tick like the last one owes, in 1e-9 microcents
	ok   bool   // directly after the end of such a tick

	result int64 // what it returned
	fuel   uint64
}

// add takes notice of a record.
func (p *repeat) add(r *Record) {
	p.ok = false
	if r.Kind != TickEnd && r.Kind != TickFailed {
		return
	}
	const most = math.MaxInt64/account.Microcent - 1
	before := p.rest
	p.rest = r.Rest
	if r.Kind == TickEnd && r.Cost <= most && r.Waited == 0 {
		if owed := uint64(r.Cost)*account.Microcent + r.Rest; owed >= before {
			p.each, p.ok = owed-before, true
			p.result, p.fuel = r.Return, r.Fuel
		}
	}
}

// next returns the end of the given tick, if it can go as the one before it.
func (p *repeat) next(tick uint64) (r Record, ok bool) {
	if !p.ok {
		return r, false
	}
	owed := p.rest + p.each
	return Record{Kind: TickEnd, Tick: tick, Return: p.result, Fuel: p.fuel,
		Cost: int64(owed / account.Microcent), Rest: owed % account.Microcent, again: true}, true
}

// is reports whether a record is the end of such a tick.
func (p *repeat) is(r *Record) bool {
	next, ok := p.next(r.Tick)
	return ok && r.Kind == TickEnd && r.Return == next.Return && r.Metered() == next.Metered()
}
