package eventlog

import "igor.dev/verifier"

// Records of version 1: fields of a fixed size, and each has its tick.

func (d Data) append1(dst []byte) []byte {
	dst = le.AppendUint32(dst, d.size)
	if d.size > MaxInline {
		return append(dst, d.hash[:]...)
	}
	return append(dst, d.inline...)
}

func (r *Record) append1(dst []byte) []byte {
	dst = append(dst, byte(r.Kind))
	dst = le.AppendUint64(dst, r.Tick)
	switch shape := shapes[r.Kind]; {
	case r.Kind == TickEnd:
		dst = le.AppendUint64(dst, uint64(r.Return))
		dst = le.AppendUint64(dst, r.Elapsed)
		dst = le.AppendUint64(dst, uint64(r.Cost))
	case r.Kind == Account:
		dst = append(dst, byte(r.Reason))
		dst = le.AppendUint64(dst, uint64(r.Amount))
		dst = le.AppendUint64(dst, uint64(r.Price))
		dst = append(dst, r.Effect[:]...)
	case r.Kind == Origin:
		dst = append(dst, r.Agent[:]...)
		dst = append(dst, r.Checkpoint[:]...)
	default:
		dst = le.AppendUint64(dst, uint64(r.Return))
		if shape&hasSpent != 0 {
			dst = le.AppendUint64(dst, uint64(r.Spent))
		}
		if shape&hasRequest != 0 {
			dst = r.Request.append1(dst)
		}
		if shape&hasResult != 0 {
			dst = r.Result.append1(dst)
		}
	}
	return dst
}

// parse1 reads the fields of a record, and reports whether its kind has some.
func (r *Record) parse1(d *decoder) bool {
	r.Tick = d.u64()
	switch shape := shapes[r.Kind]; {
	case r.Kind == TickEnd:
		r.Return = int64(d.u64())
		r.Elapsed = d.u64()
		r.Cost = int64(d.u64())
	case r.Kind == Account:
		r.Reason = Reason(d.u8())
		r.Amount = int64(d.u64())
		r.Price = int64(d.u64())
		r.Effect = d.hash()
	case r.Kind == Origin:
		copy(r.Agent[:], d.take(len(r.Agent)))
		r.Checkpoint = d.hash()
	case shape&known != 0 && shape&isNew == 0:
		r.Return = int64(d.u64())
		if shape&hasSpent != 0 {
			r.Spent = int64(d.u64())
		}
		if shape&hasRequest != 0 {
			r.Request = d.data1()
		}
		if shape&hasResult != 0 {
			r.Result = d.data1()
		}
	default:
		return false
	}
	return true
}

// A decoder takes fields off the front of a record. It remembers that there
// were too few bytes, or bad ones.
type decoder struct {
	b          []byte
	short, bad bool
}

func (d *decoder) take(n int) []byte {
	if n > len(d.b) {
		d.short, d.b = true, nil
		return nil
	}
	b := d.b[:n]
	d.b = d.b[n:]
	return b
}

func (d *decoder) u8() uint8 {
	if b := d.take(1); b != nil {
		return b[0]
	}
	return 0
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

func (d *decoder) hash() (h verifier.Hash) {
	copy(h[:], d.take(len(h)))
	return h
}

func (d *decoder) data1() Data { return d.data(d.u32()) }

func (d *decoder) data(size uint32) Data {
	v := Data{size: size}
	if size > MaxInline {
		v.hash = d.hash()
	} else {
		v.inline = d.take(int(size))
	}
	return v
}
