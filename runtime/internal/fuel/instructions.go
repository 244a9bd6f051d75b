package fuel

import (
	"fmt"

	"igor.dev/runtime/internal/module"
)

// Instructions that are treated by themselves, and those that are written.
const (
	opUnreachable  = 0x00
	opBlock        = 0x02
	opLoop         = 0x03
	opIf           = 0x04
	opElse         = 0x05
	opEnd          = 0x0b
	opBr           = 0x0c
	opBrIf         = 0x0d
	opBrTable      = 0x0e
	opReturn       = 0x0f
	opCall         = 0x10
	opCallIndirect = 0x11
	opLocalGet     = 0x20
	opLocalTee     = 0x22
	opGlobalGet    = 0x23
	opGlobalSet    = 0x24
	opMemoryGrow   = 0x40
	opI32Const     = 0x41
	opI64Const     = 0x42
	opI64LtS       = 0x53
	opI64Ne        = 0x52
	opI32ShrU      = 0x76
	opI64Add       = 0x7c
	opI64Sub       = 0x7d
	opI64And       = 0x83
	opI64Shl       = 0x86
	opI64ExtendI32 = 0xad
	opRefFunc      = 0xd2
	opMisc         = 0xfc // with a number behind it
	opVector       = 0xfd // with a number behind it

	typeEmpty      = 0x40
	typeFunction   = 0x60
	externFunction = 0
	externGlobal   = 3
	typeI32        = 0x7f
	typeI64        = 0x7e
	typeV128       = 0x7b
)

// Forms of what stands behind an instruction.
const (
	undefined  = iota // not an instruction
	none              // nothing
	index             // a number
	index2            // two numbers
	memarg            // alignment and offset
	memLane           // alignment, offset and a lane
	lane              // a byte
	sixteen           // 16 bytes
	leb               // a signed number
	four              // 4 bytes
	eight             // 8 bytes
	refType           // a byte
	selectTy          // a vector of types
	global            // a number, of a global
	function          // a number, of a function
	structured        // see scan.structured
)

// An instruction: what stands behind it, how many values it takes and leaves, its
// price, if its last operand is a length, which price that has (see lengths), and as
// how many blocks it counts (see maxBlocks).
type instruction struct {
	form, pop, push uint8
	price           uint16
	length          uint8
	blocks          uint8
}

var plain, misc, vector = tables()

func tables() (plain [256]instruction, misc [18]instruction, vector [256]instruction) {
	set := func(table []instruction, from, to int, form, pop, push uint8, price uint16) {
		for op := from; op <= to; op++ {
			table[op] = instruction{form: form, pop: pop, push: push, price: price}
		}
	}
	p := func(from, to int, form, pop, push uint8, price uint16) {
		set(plain[:], from, to, form, pop, push, price)
	}
	for _, op := range []int{opIf, opBr, opBrIf, opReturn, opUnreachable} {
		plain[op] = instruction{form: structured, price: 1}
	}
	for _, op := range []int{opBlock, opLoop, opElse, opEnd, opCall, opCallIndirect} {
		plain[op].form = structured // free, or paid elsewhere
	}
	plain[opBrTable] = instruction{form: structured, price: priceBrTable}
	p(0x01, 0x01, none, 0, 0, 1)           // nop
	p(0x1a, 0x1a, none, 1, 0, 1)           // drop
	p(0x1b, 0x1b, none, 3, 1, 1)           // select
	p(0x1c, 0x1c, selectTy, 3, 1, 1)       // select of a type
	p(0x20, 0x20, index, 0, 1, 1)          // local.get
	p(0x21, 0x21, index, 1, 0, 1)          // local.set
	p(0x22, 0x22, index, 1, 1, 1)          // local.tee
	p(0x23, 0x23, global, 0, 1, 1)         // global.get
	p(0x24, 0x24, global, 1, 0, 1)         // global.set
	p(0x25, 0x25, index, 1, 1, priceLoad)  // table.get
	p(0x26, 0x26, index, 2, 0, priceStore) // table.set
	p(0x28, 0x35, memarg, 1, 1, priceLoad)
	p(0x36, 0x3e, memarg, 2, 0, priceStore)
	p(0x3f, 0x3f, lane, 0, 1, 1) // memory.size
	p(0x40, 0x40, lane, 1, 1, priceGrow)
	p(0x41, 0x42, leb, 0, 1, 1)   // i32.const, i64.const
	p(0x43, 0x43, four, 0, 1, 1)  // f32.const
	p(0x44, 0x44, eight, 0, 1, 1) // f64.const
	p(0x45, 0x45, none, 1, 1, 1)
	p(0x46, 0x4f, none, 2, 1, 1)
	p(0x50, 0x50, none, 1, 1, 1)
	p(0x51, 0x66, none, 2, 1, 1)
	p(0x67, 0x69, none, 1, 1, 1)
	p(0x6a, 0x78, none, 2, 1, 1)
	p(0x6d, 0x70, none, 2, 1, priceDivide) // i32.div, i32.rem
	p(0x79, 0x7b, none, 1, 1, 1)
	p(0x7c, 0x8a, none, 2, 1, 1)
	p(0x7f, 0x82, none, 2, 1, priceDivide) // i64.div, i64.rem
	p(0x8b, 0x91, none, 1, 1, 1)
	p(0x8d, 0x90, none, 1, 1, priceRound)
	p(0x91, 0x91, none, 1, 1, priceDivide) // f32.sqrt
	p(0x92, 0x98, none, 2, 1, 1)
	p(0x95, 0x95, none, 2, 1, priceDivide) // f32.div
	p(0x96, 0x97, none, 2, 1, priceRound)  // f32.min, f32.max
	p(0x99, 0x9f, none, 1, 1, 1)
	p(0x9b, 0x9e, none, 1, 1, priceRound)
	p(0x9f, 0x9f, none, 1, 1, priceDivide) // f64.sqrt
	p(0xa0, 0xa6, none, 2, 1, 1)
	p(0xa3, 0xa3, none, 2, 1, priceDivide) // f64.div
	p(0xa4, 0xa5, none, 2, 1, priceRound)  // f64.min, f64.max
	p(0xa7, 0xc4, none, 1, 1, 1)
	p(0xa8, 0xab, none, 1, 1, priceRound) // i32.trunc
	p(0xae, 0xb1, none, 1, 1, priceRound) // i64.trunc
	p(0xb2, 0xbb, none, 1, 1, priceRound) // convert, demote, promote
	p(0xd0, 0xd0, refType, 0, 1, 1)
	p(0xd1, 0xd1, none, 1, 1, 1)
	p(0xd2, 0xd2, function, 0, 1, priceRefFunc) // ref.func

	f := func(from, to int, form, pop, push uint8, price uint16) {
		set(misc[:], from, to, form, pop, push, price)
	}
	f(0, 7, none, 1, 1, priceRound) // trunc_sat
	f(8, 8, index2, 3, 0, priceBulk)
	f(9, 9, index, 0, 0, priceBulk)
	f(10, 10, index2, 3, 0, priceBulk)
	f(11, 11, index, 3, 0, priceBulk)
	f(12, 12, index2, 3, 0, priceBulk)
	f(13, 13, index, 0, 0, priceBulk)
	f(14, 14, index2, 3, 0, priceBulk)
	f(15, 15, index, 2, 1, priceGrow)
	f(16, 16, index, 0, 1, 1)
	f(17, 17, index, 3, 0, priceBulk)

	plain[opMemoryGrow].length = lengthPages
	for _, op := range []int{8, 10, 11} {
		misc[op].length = lengthBytes
	}
	for _, op := range []int{12, 14, 15, 17} {
		misc[op].length = lengthEntries
	}
	for op, n := range map[int]uint8{opBlock: 1, opBrIf: 1, opBrTable: 1, opIf: blocksOfIf, opLoop: blocksOfLoop, opMemoryGrow: blocksOfLength} {
		plain[op].blocks = n
	}
	for op := range misc {
		if misc[op].length != 0 {
			misc[op].blocks = blocksOfLength
		}
	}

	v := func(from, to int, form, pop, push uint8, price uint16) {
		set(vector[:], from, to, form, pop, push, price)
	}
	v(0, 255, none, 2, 1, priceVector)
	v(0, 10, memarg, 1, 1, priceLoad)
	v(11, 11, memarg, 2, 0, priceStore)
	v(12, 12, sixteen, 0, 1, 1)
	v(13, 13, sixteen, 2, 1, priceVector)
	v(15, 20, none, 1, 1, priceVector)
	v(21, 34, lane, 1, 1, priceVector)
	for _, op := range []int{23, 26, 28, 30, 32, 34} {
		v(op, op, lane, 2, 1, priceVector)
	}
	v(82, 82, none, 3, 1, priceVector)
	for _, r := range [][2]int{{77, 77}, {83, 83}, {94, 100}, {103, 106}, {116, 117}, {122, 122}, {124, 129}, {131, 132}, {135, 138}, {148, 148},
		{160, 161}, {163, 164}, {167, 170}, {192, 193}, {195, 196}, {199, 202}, {224, 225}, {227, 227}, {236, 237}, {239, 239}, {248, 255}} {
		v(r[0], r[1], none, 1, 1, priceVector)
	}
	v(84, 87, memLane, 2, 1, priceLoad)
	v(88, 91, memLane, 2, 0, priceStore)
	v(92, 93, memarg, 1, 1, priceLoad)
	for _, op := range []int{154, 162, 165, 166, 175, 176, 178, 179, 180, 187, 194, 197, 198, 207, 208, 210, 211, 212, 226, 238} {
		vector[op] = instruction{}
	}
	return
}

// skip reads over what stands behind an instruction.
func (in instruction) skip(r *module.Reader) {
	switch in.form {
	case index, global:
		r.U32()
	case index2:
		r.U32()
		r.U32()
	case memarg:
		r.U32()
		r.U32()
	case memLane:
		r.U32()
		r.U32()
		r.Byte()
	case lane, refType:
		r.Byte()
	case sixteen:
		r.Bytes(16)
	case leb:
		r.SkipLEB()
	case four:
		r.Bytes(4)
	case eight:
		r.Bytes(8)
	case selectTy:
		r.Vector("types of a select", 1, func() { r.Byte() })
	}
}

func unknown(op byte, number uint32) error {
	if op == opMisc || op == opVector {
		return fmt.Errorf("it has an instruction 0x%02x %d, of a feature that is not supported", op, number)
	}
	return fmt.Errorf("it has an instruction 0x%02x, of a feature that is not supported", op)
}
