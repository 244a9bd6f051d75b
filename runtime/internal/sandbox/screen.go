package sandbox

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
)

// Limits of a module. A WASM binary names sizes before their content, and both
// the decoder behind us and the tables that it makes believe them: 30 bytes can
// ask for gigabytes. Where the WebAssembly JavaScript interface has a limit for
// implementations, it is the one here.
const (
	MaxModule = 32 << 20 // bytes of WASM

	maxTypes        = 1_000_000
	maxFunctions    = 1_000_000
	maxImports      = 1_000_000
	maxExports      = 1_000_000
	maxGlobals      = 1_000_000
	maxParams       = 1_000
	maxResults      = 1_000
	maxLocals       = 50_000
	maxFunctionSize = 7_654_321
	maxDataSegments = 100_000

	// mergeGap is how many zero bytes between two data segments make them one.
	mergeGap = 64

	maxTables       = 8
	maxTableEntries = 1 << 20 // in each table; also what table.grow can reach
	maxElements     = 1 << 20 // in all element segments together
)

// Section ids of the binary format.
const (
	sectionCustom = iota
	sectionType
	sectionImport
	sectionFunction
	sectionTable
	sectionMemory
	sectionGlobal
	sectionExport
	sectionStart
	sectionElement
	sectionCode
	sectionData
	sectionDataCount
)

// Instructions.
const (
	end      = 0x0b
	i32Const = 0x41
)

const (
	externFunction = 0x00
	typeFunction   = 0x60
	refTypeFunc    = 0x70
	refTypeExtern  = 0x6f
)

// screen returns the module that is compiled in place of wasm: the same but
// for its custom sections, which are left out, its tables, which all get a
// maximum, and its data, which is in fewer segments. It is an error if the
// module is beyond a limit.
//
// It is not a validation: that is the compiler's work, after this.
func screen(wasm []byte) ([]byte, error) {
	const preamble = "\x00asm\x01\x00\x00\x00"
	if len(wasm) > MaxModule {
		return nil, fmt.Errorf("it has %d bytes, and at most %d are read", len(wasm), MaxModule)
	}
	if len(wasm) < len(preamble) || string(wasm[:len(preamble)]) != preamble {
		return nil, errors.New("it is not a WebAssembly module (version 1)")
	}
	out := append(make([]byte, 0, len(wasm)), preamble...)
	r := &reader{b: wasm[len(preamble):]}
	elements, dataCount := 0, false
	for len(r.b) > 0 {
		id := r.byte()
		section := &reader{b: r.bytes(r.u32())}
		if r.err != nil {
			return nil, r.err
		}
		content := section.b
		switch id {
		case sectionCustom:
			continue // its decoder is the least careful one, and nothing needs it
		case sectionType:
			section.vector("types", maxTypes, section.functionType)
		case sectionImport:
			section.vector("imports", maxImports, section.importEntry)
		case sectionFunction:
			section.vector("functions", maxFunctions, func() { section.u32() })
		case sectionTable:
			content = section.tables()
		case sectionMemory, sectionStart, sectionDataCount:
			dataCount = dataCount || id == sectionDataCount
			section.b = nil // nothing in them is a size
		case sectionGlobal:
			section.vector("globals", maxGlobals, func() { section.bytes(2); section.constant() })
		case sectionExport:
			section.vector("exports", maxExports, func() { section.name(); section.byte(); section.u32() })
		case sectionElement:
			section.vector("element segments", maxElements, func() { section.elementSegment(&elements) })
		case sectionCode:
			section.vector("functions", maxFunctions, section.function)
		case sectionData:
			var segments []dataSegment
			section.vector("data segments", maxDataSegments, func() { segments = append(segments, section.dataSegment()) })
			if section.err == nil && !dataCount { // no instruction can name a segment then
				content = mergeData(segments, content)
			}
		default:
			return nil, fmt.Errorf("it has a section %d, of a feature that is not supported", id)
		}
		if section.err != nil {
			return nil, section.err
		}
		if len(section.b) > 0 {
			return nil, fmt.Errorf("section %d has %d bytes too many", id, len(section.b))
		}
		out = append(out, id)
		out = binary.AppendUvarint(out, uint64(len(content)))
		out = append(out, content...)
	}
	return out, nil
}

// A reader reads the binary format until its first error.
type reader struct {
	b   []byte
	err error
}

func (r *reader) fail(err error) {
	if r.err == nil {
		r.err = err
	}
	r.b = nil
}

var errCut = errors.New("it is cut, or a size in it is wrong")

func (r *reader) byte() byte {
	if len(r.b) == 0 {
		r.fail(errCut)
		return 0
	}
	c := r.b[0]
	r.b = r.b[1:]
	return c
}

func (r *reader) bytes(n uint32) []byte {
	if uint64(n) > uint64(len(r.b)) {
		r.fail(errCut)
		return nil
	}
	b := r.b[:n:n]
	r.b = r.b[n:]
	return b
}

func (r *reader) u32() uint32 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 || v > math.MaxUint32 {
		r.fail(errCut)
		return 0
	}
	r.b = r.b[n:]
	return uint32(v)
}

// skipLEB reads over a signed or unsigned LEB128 number of at most 64 bits.
func (r *reader) skipLEB() {
	for range binary.MaxVarintLen64 {
		if r.byte() < 0x80 {
			return
		}
	}
	r.fail(errCut)
}

// vector reads a count, and calls read that many times.
func (r *reader) vector(what string, limit uint32, read func()) {
	n := r.u32()
	if n > limit {
		r.fail(fmt.Errorf("it has %d %s, and at most %d are supported", n, what, limit))
	}
	if uint64(n) > uint64(len(r.b)) { // each has a byte at least
		r.fail(errCut)
	}
	for range n {
		if r.err != nil {
			return
		}
		read()
	}
}

func (r *reader) name() { r.bytes(r.u32()) }

func (r *reader) functionType() {
	if form := r.byte(); form != typeFunction {
		r.fail(fmt.Errorf("it has a type of form 0x%02x, of a feature that is not supported", form))
	}
	r.vector("parameters in one function", maxParams, func() { r.byte() })
	r.vector("results in one function", maxResults, func() { r.byte() })
}

func (r *reader) importEntry() {
	r.name()
	r.name()
	if kind := r.byte(); kind != externFunction {
		r.fail(errors.New("it imports a table, a memory or a global, and can import functions alone"))
	}
	r.u32()
}

// tables reads the table section and returns it with a maximum for each table.
func (r *reader) tables() []byte {
	var out []byte
	n := uint64(0)
	r.vector("tables", maxTables, func() {
		refType, flags, least := r.byte(), r.byte(), r.u32()
		most := uint32(maxTableEntries)
		if flags == 1 {
			most = min(most, r.u32())
		}
		switch {
		case r.err != nil:
			return
		case refType != refTypeFunc && refType != refTypeExtern || flags > 1:
			r.fail(errors.New("it has a table of a feature that is not supported"))
		case least > maxTableEntries:
			r.fail(fmt.Errorf("it has a table of %d entries, and at most %d are supported", least, maxTableEntries))
		}
		out = append(out, refType, 1)
		out = binary.AppendUvarint(out, uint64(least))
		out = binary.AppendUvarint(out, uint64(most))
		n++
	})
	return append(binary.AppendUvarint(nil, n), out...)
}

// constant reads over a constant expression.
func (r *reader) constant() {
	const (
		globalGet = 0x23
		i64Const  = 0x42
		f32Const  = 0x43
		f64Const  = 0x44
		refNull   = 0xd0
		refFunc   = 0xd2
		vector    = 0xfd
		v128Const = 0x0c
	)
	for r.err == nil {
		switch op := r.byte(); op {
		case end:
			return
		case globalGet, i32Const, i64Const, refNull, refFunc:
			r.skipLEB()
		case f32Const:
			r.bytes(4)
		case f64Const:
			r.bytes(8)
		case vector:
			if r.u32() != v128Const {
				r.fail(errCut)
			}
			r.bytes(16)
		default:
			r.fail(fmt.Errorf("it has a constant expression with instruction 0x%02x, which is not supported", op))
		}
	}
}

// elementSegment reads one of the eight forms of an element segment, whose
// flags say whether it is not active (1), has a table index or is declarative
// (2), and holds expressions (4).
func (r *reader) elementSegment(total *int) {
	flags := r.u32()
	if flags > 7 {
		r.fail(errCut)
	}
	if flags&1 == 0 {
		if flags&2 != 0 {
			r.u32() // table index
		}
		r.constant() // offset
	}
	if flags&3 != 0 {
		r.byte() // element kind or reference type
	}
	item := func() { r.u32() }
	if flags&4 != 0 {
		item = r.constant
	}
	r.vector("elements", maxElements, func() {
		if *total++; *total > maxElements {
			r.fail(fmt.Errorf("it has more than %d elements", maxElements))
		}
		item()
	})
}

func (r *reader) function() {
	size := r.u32()
	if size > maxFunctionSize {
		r.fail(fmt.Errorf("it has a function of %d bytes, and at most %d are supported", size, maxFunctionSize))
	}
	body := &reader{b: r.bytes(size)}
	locals := uint64(0)
	body.vector("groups of locals", maxLocals, func() {
		locals += uint64(body.u32())
		body.byte() // type
	})
	if locals > maxLocals {
		r.fail(fmt.Errorf("it has a function with %d locals, and at most %d are supported", locals, maxLocals))
	}
	if body.err != nil {
		r.fail(body.err)
	}
}

// A dataSegment is a data segment that is active at a constant offset, or one
// of another form.
type dataSegment struct {
	plain  bool
	offset uint32
	data   []byte
}

// dataSegment reads one of the three forms of a data segment: active, passive,
// or active with a memory index.
func (r *reader) dataSegment() (s dataSegment) {
	switch flags := r.u32(); flags {
	case 0:
		expression := r.b
		r.constant()
		expression = expression[:len(expression)-len(r.b)]
		s.offset, s.plain = i32Constant(expression)
	case 1:
	case 2:
		r.u32()
		r.constant()
	default:
		r.fail(errCut)
	}
	s.data = r.bytes(r.u32())
	return s
}

// i32Constant returns the value of an expression that is an i32.const alone.
func i32Constant(b []byte) (v uint32, ok bool) {
	if len(b) < 3 || b[0] != i32Const {
		return 0, false
	}
	shift := 0
	for i, c := range b[1:] {
		if shift >= 32 {
			return 0, false
		}
		v |= uint32(c&0x7f) << shift
		shift += 7
		if c < 0x80 {
			if c&0x40 != 0 && shift < 32 {
				v |= ^uint32(0) << shift
			}
			return v, i+3 == len(b) && b[i+2] == end
		}
	}
	return 0, false
}

// mergeData returns a data section with fewer segments and the same effect on
// memory, which is zero before, or the content as it is. Go's linker leaves out
// each run of eight zeros, and making 25,000 segments anew for each instance
// takes longer than anything else.
func mergeData(segments []dataSegment, content []byte) []byte {
	// Where no two overlap, their order does not matter.
	slices.SortStableFunc(segments, func(a, b dataSegment) int { return cmp.Compare(a.offset, b.offset) })
	var merged []dataSegment
	at := uint64(0) // behind the last segment
	for _, s := range segments {
		if !s.plain || uint64(s.offset) < at {
			return content
		}
		gap := uint64(s.offset) - at
		at = uint64(s.offset) + uint64(len(s.data))
		if len(merged) == 0 || gap > mergeGap {
			merged = append(merged, dataSegment{offset: s.offset, data: s.data[:len(s.data):len(s.data)]})
			continue
		}
		last := &merged[len(merged)-1]
		last.data = append(append(last.data, make([]byte, gap)...), s.data...)
	}
	out := binary.AppendUvarint(nil, uint64(len(merged)))
	for _, s := range merged {
		out = append(out, 0, i32Const)
		out = appendSigned(out, int32(s.offset))
		out = append(out, end)
		out = binary.AppendUvarint(out, uint64(len(s.data)))
		out = append(out, s.data...)
	}
	return out
}

// appendSigned appends a signed LEB128 number.
func appendSigned(out []byte, v int32) []byte {
	for {
		c := byte(v & 0x7f)
		v >>= 7
		if v == 0 && c&0x40 == 0 || v == -1 && c&0x40 != 0 {
			return append(out, c)
		}
		out = append(out, c|0x80)
	}
}
