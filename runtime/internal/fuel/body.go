package fuel

import (
	"bytes"
	"encoding/binary"
	"errors"

	"igor.dev/runtime/internal/module"
)

// A segment is a run of instructions that are all executed if the first one is.
// It is paid for at its beginning.
type segment struct {
	units uint64
	check bool // whether there is fuel left is looked at there
}

// A cut is a place in a function where something is written that was not there.
type cut struct {
	at, skip int // in the instructions; skip of them are left out
	kind     cutKind
	n        uint32
}

type cutKind uint8

const (
	cutSegment cutKind = iota // n begins
	cutFunc                   // the index n of a function
	cutReturn                 // a branch over n labels instead of a return
	cutLength                 // the price of a length, by lengths[n]
)

// A tail is a segment that ends with a branch to a loop.
type tail struct{ segment, next int }

// A frame is a block that is open.
type frame struct {
	op              byte // or opCall, of the function itself
	height          int  // of the operand stack below it
	params, results int
	polymorphic     bool // behind a branch: what is taken from the stack is there
	unreached       bool // nothing ever enters it
	unreachedThen   bool
	branched        bool   // something branches to its end
	unchecked       uint64 // units since the last check on any way to its end
	uncheckedIf     uint64 // and to its beginning

	// Of a loop.
	before, first int  // the segment before it, and its first one
	conditional   bool // a branch to it is conditional
	short         bool // its first segment ends with a branch to it
	tail          int  // the others: an index in tails, plus one
}

var errBody = errors.New("it has a function that is cut or nested wrongly")

// A scan reads one function.
type scan struct {
	*rewriter
	s    *module.Reader
	size int // of the instructions

	height, highest int // of the operand stack
	current         int // segment
	unreached       bool
	unchecked       uint64 // units since the last check, before the current segment
	values          int    // locals

	instructions, calls int
	blocks              uint64 // see maxBlocks
	vectors             bool   // its operands may be vectors
	length              bool   // an instruction has one
}

// body rewrites a function into r.out.
func (r *rewriter) body(t module.FuncType, body module.Body) error {
	r.segments, r.cuts, r.tails, r.control = r.segments[:0], r.cuts[:0], r.tails[:0], r.control[:0]
	locals, slots := len(t.Params), slotsPassed*(slots(t.Params)+slots(t.Results))
	vectors := r.vectorGlobals || hasVectors(t)
	for _, g := range body.Locals {
		locals += int(g.Count)
		slots += int(g.Count)
		if g.Type == typeV128 {
			slots += int(g.Count)
			vectors = vectors || g.Count > 0
		}
	}
	if locals > maxValues {
		return limit("it has a function with %d parameters and locals, and at most %d are metered", locals, maxValues)
	}
	f := &scan{rewriter: r, s: &module.Reader{B: body.Instructions}, size: len(body.Instructions), values: locals, current: -1, vectors: vectors}
	r.control = append(r.control, frame{op: opCall, results: len(t.Results)})
	f.begin(true)
	for len(r.control) > 0 && f.s.Err == nil {
		f.instruction()
	}
	if f.s.Err == nil && len(f.s.B) > 0 {
		f.s.Fail(errBody)
	}
	if f.s.Err != nil {
		return f.s.Err
	}
	places := uint64(locals) * uint64(len(r.segments)+f.calls)
	if r.places += places; locals > wideFunction {
		r.widePlaces += places
	}
	if r.places > maxPlaces || r.widePlaces > maxWidePlaces {
		return limit("it has functions with so many locals and branches that it would take too long to compile")
	}
	if r.blocks += f.blocks * f.blocks; r.blocks > maxBlocks {
		return limit("it has functions with so many blocks and branches that it would take too long to compile")
	}
	weight := frameWeight + slots + f.highest + f.instructions/instructionsPerSlot
	if f.vectors {
		weight += f.highest
	}
	weight = min(weight, MaxDepth+1)
	r.write(t, body, locals, int64(weight), f.calls > 0 || weight > maxLeaf, f.length)
	return nil
}

func hasVectors(t module.FuncType) bool {
	return bytes.IndexByte(t.Params, typeV128) >= 0 || bytes.IndexByte(t.Results, typeV128) >= 0
}

func slots(types []byte) (n int) {
	for _, t := range types {
		if n++; t == typeV128 {
			n++
		}
	}
	return n
}

// at is how many bytes of instructions were read.
func (f *scan) at() int { return f.size - len(f.s.B) }

// begin begins a segment here.
func (f *scan) begin(check bool) {
	if f.current >= 0 && !f.unreached {
		f.unchecked += f.segments[f.current].units
	}
	if f.unchecked > maxUnchecked {
		check = true
	}
	if check {
		f.unchecked = 0
	}
	f.current = len(f.segments)
	f.segments = append(f.segments, segment{check: check})
	if !f.unreached {
		f.cuts = append(f.cuts, cut{at: f.at(), kind: cutSegment, n: uint32(f.current)})
	}
}

// join begins a segment where ways come together, on which at most so much is
// unchecked.
func (f *scan) join(unchecked uint64, label int) {
	f.unchecked, f.current = unchecked, -1
	f.begin(false)
	f.pay(labelPrice(f.values + label))
}

// pay adds to the current segment, unless nothing leads here.
func (f *scan) pay(units uint64) {
	if !f.unreached {
		f.segments[f.current].units += units
	}
}

// due is what was paid since the last check.
func (f *scan) due() uint64 {
	if f.unreached {
		return 0
	}
	return f.unchecked + f.segments[f.current].units
}

func (f *scan) pop(n int) {
	block := &f.control[len(f.control)-1]
	if f.height -= n; f.height < block.height {
		if !block.polymorphic {
			f.s.Fail(errBody)
		}
		f.height = block.height
	}
}

func (f *scan) push(n int) {
	f.height += n
	f.highest = max(f.highest, f.height)
}

// leave ends what can be reached.
func (f *scan) leave() {
	block := &f.control[len(f.control)-1]
	block.polymorphic, f.height = true, block.height
	f.unreached = true
}

func (f *scan) branch(label uint32, conditional bool) {
	if uint64(label) >= uint64(len(f.control)) {
		f.s.Fail(errBody)
		return
	}
	target := &f.control[len(f.control)-1-int(label)]
	switch {
	case f.unreached:
	case target.op != opLoop:
		target.branched = true
		target.unchecked = max(target.unchecked, f.due())
	case conditional:
		target.conditional = true
	case f.current == target.first:
		target.short = true
	default:
		f.tails = append(f.tails, tail{f.current, target.tail})
		target.tail = len(f.tails)
	}
}

// open reads a block's type and opens it.
func (f *scan) open(op byte) {
	block := frame{op: op, unreached: f.unreached, uncheckedIf: f.due(), before: f.current, first: f.current + 1}
	if len(f.s.B) > 0 && f.s.B[0]&0xc0 == 0x40 {
		if t := f.s.Byte(); t != typeEmpty {
			block.results = 1
			f.vectors = f.vectors || t == typeV128
		}
	} else if t := f.funcType(f.s.U32()); t != nil {
		block.params, block.results = len(t.Params), len(t.Results)
		f.vectors = f.vectors || hasVectors(*t)
	}
	f.pop(block.params)
	block.height = f.height
	f.control = append(f.control, block)
	f.push(block.params)
}

func (f *scan) funcType(index uint32) *module.FuncType {
	if uint64(index) >= uint64(len(f.in.Types)) {
		f.s.Fail(errors.New("it has an instruction with a type that is not there"))
		return nil
	}
	return &f.in.Types[index]
}

func (f *scan) call(t *module.FuncType, price uint64) {
	if t == nil {
		return
	}
	f.pay(price + uint64(len(t.Params)+len(t.Results))/passedPerUnit)
	f.pop(len(t.Params))
	f.push(len(t.Results))
	f.calls++
	f.vectors = f.vectors || hasVectors(*t)
}

// instruction reads one instruction.
func (f *scan) instruction() {
	if !f.unreached && f.segments[f.current].units > maxUnchecked {
		f.begin(true)
	}
	at := f.at()
	op := f.s.Byte()
	if f.s.Err != nil {
		return
	}
	f.instructions++
	in, number := plain[op], uint32(0)
	switch op {
	case opMisc:
		if number = f.s.U32(); number < uint32(len(misc)) {
			in = misc[number]
		}
	case opVector:
		if number = f.s.U32(); number < uint32(len(vector)) {
			in = vector[number]
		}
		f.vectors = true
	}
	f.pay(uint64(in.price))
	switch in.form {
	case undefined:
		f.s.Fail(unknown(op, number))
	case structured:
		f.structured(op, at)
	case global:
		if f.s.U32() >= f.account {
			f.s.Fail(errors.New("it has an instruction with a global that is not there"))
		}
	case function:
		f.funcIndex()
	default:
		in.skip(f.s)
	}
	f.blocks += uint64(in.blocks)
	if in.length != 0 && !f.unreached {
		f.length = true
		f.cuts = append(f.cuts, cut{at: at, kind: cutLength, n: uint32(in.length)})
	}
	if f.s.Err == nil && len(f.control) > 0 {
		f.pop(int(in.pop))
		f.push(int(in.push))
	}
}

// funcIndex reads the index of a function.
func (f *scan) funcIndex() uint32 {
	at := f.at()
	index := f.s.U32()
	if index >= f.funcs {
		f.s.Fail(errors.New("it has an instruction with a function that is not there"))
		return 0
	}
	f.cuts = append(f.cuts, cut{at, f.at() - at, cutFunc, f.function(index)})
	return index
}

func (f *scan) structured(op byte, at int) {
	switch op {
	case opUnreachable:
		f.leave()
	case opBlock:
		f.open(op)
	case opLoop:
		f.open(op)
		f.begin(true)
		f.pay(priceLoop + labelPrice(f.values+f.control[len(f.control)-1].params))
	case opIf:
		f.pop(1)
		f.open(op)
		f.begin(false)
	case opElse:
		block := &f.control[len(f.control)-1]
		if block.op != opIf {
			f.s.Fail(errBody)
			return
		}
		block.unreachedThen = f.unreached
		block.unchecked = max(block.unchecked, f.due())
		block.op, block.polymorphic, f.height = opElse, false, block.height
		f.push(block.params)
		f.unreached, f.unchecked, f.current = block.unreached, block.uncheckedIf, -1
		f.begin(false)
	case opEnd:
		f.end()
	case opBr:
		f.branch(f.s.U32(), false)
		f.leave()
	case opBrIf:
		f.pop(1)
		f.branch(f.s.U32(), true)
		f.begin(false)
	case opBrTable:
		f.pop(1)
		targets := uint64(0)
		f.s.Vector("targets of a br_table", 1<<31, func() {
			targets++
			f.branch(f.s.U32(), true)
		})
		f.branch(f.s.U32(), true)
		f.pay(min(targets/targetsPerUnit, maxTargetUnits))
		f.blocks += targets / targetsPerBlock
		f.leave()
	case opReturn:
		f.cuts = append(f.cuts, cut{at, 1, cutReturn, uint32(len(f.control) - 1)})
		f.leave()
	case opCall:
		index := f.funcIndex()
		if f.s.Err != nil {
			return
		}
		t := uint32(0)
		if index < f.imports {
			t = f.in.Imports[index].Type
		} else {
			t = f.in.Functions[index-f.imports]
		}
		f.call(f.funcType(t), priceCall)
	case opCallIndirect:
		t := f.funcType(f.s.U32())
		f.s.U32() // the table
		f.pop(1)
		f.call(t, priceCallIndirect)
	}
}

// end closes a block.
func (f *scan) end() {
	block := f.control[len(f.control)-1]
	f.control = f.control[:len(f.control)-1]
	if f.height != block.height+block.results && !block.polymorphic {
		f.s.Fail(errBody)
		return
	}
	f.height = block.height
	f.push(block.results)
	if len(f.control) == 0 {
		return
	}
	switch block.op {
	case opLoop:
		// Where all ways into a loop are known, its first segment is paid for
		// on them. What is left at its beginning is a look at the account.
		if !block.conditional && !block.unreached && !block.short {
			first := &f.segments[block.first]
			f.segments[block.before].units += first.units
			for i := block.tail; i > 0; i = f.tails[i-1].next {
				f.segments[f.tails[i-1].segment].units += first.units
			}
			first.units = 0
		}
	case opBlock:
		if block.branched { // or it goes on as if there were no block
			due := max(f.due(), block.unchecked)
			f.unreached = false
			f.join(due, block.results)
		}
	case opIf:
		due := max(f.due(), block.unchecked, block.uncheckedIf)
		f.unreached = block.unreached
		f.join(due, block.results)
	case opElse:
		due := max(f.due(), block.unchecked)
		f.unreached = f.unreached && block.unreachedThen && !block.branched
		f.join(due, block.results)
	}
}

// write writes the function that was read, into r.out. If its frame is counted,
// all that it does is in a block, whose end is the only way out.
func (r *rewriter) write(t module.FuncType, body module.Body, locals int, weight int64, counted, length bool) {
	groups := len(body.Locals)
	if length {
		groups++
	}
	out := binary.AppendUvarint(r.out[:0], uint64(groups))
	for _, g := range body.Locals {
		out = append(binary.AppendUvarint(out, uint64(g.Count)), g.Type)
	}
	if length {
		out = append(out, 1, typeI32)
	}
	code, done := body.Instructions, 0
	for i, c := range r.cuts {
		out = append(out, code[done:c.at]...)
		done = c.at + c.skip
		switch c.kind {
		case cutSegment:
			s := r.segments[c.n]
			amount, first := int64(s.units)<<depthBits, i == 0 && counted
			if first {
				amount += weight
			}
			out = r.charge(out, amount)
			if s.check {
				out = r.check(out, first)
			}
			if first {
				out = append(out, opBlock)
				switch len(t.Results) {
				case 0:
					out = append(out, typeEmpty)
				case 1:
					out = append(out, t.Results[0])
				default:
					out = appendSigned(out, int64(r.typeIndex(module.FuncType{Results: t.Results})))
				}
			}
		case cutFunc:
			out = binary.AppendUvarint(out, uint64(c.n))
		case cutReturn:
			if counted {
				out = binary.AppendUvarint(append(out, opBr), uint64(c.n))
			} else {
				out = append(out, opReturn)
			}
		case cutLength:
			out = r.chargeLength(out, lengths[c.n], locals)
		}
	}
	out = append(out, code[done:]...)
	if counted {
		out = append(r.charge(out, -weight), opEnd)
	}
	r.out = out
}

// chargeLength takes the price of a length, which is on top of the stack, from
// the account, and leaves it there.
func (r *rewriter) chargeLength(out []byte, p lengthPrice, local int) []byte {
	if p.times > 0 {
		// What is owed already and such a price could be less than an i64 holds.
		out = r.check(out, false)
	}
	out = binary.AppendUvarint(append(out, opLocalTee), uint64(local))
	out = r.getAccount(out)
	out = binary.AppendUvarint(append(out, opLocalGet), uint64(local))
	if p.divide > 0 {
		out = append(out, opI32Const, p.divide, opI32ShrU)
	}
	out = append(out, opI64ExtendI32, opI64Const)
	out = append(appendSigned(out, int64(depthBits+p.times)), opI64Shl, opI64Sub)
	return r.check(r.setAccount(out), false)
}
