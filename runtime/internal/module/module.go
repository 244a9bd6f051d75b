// Package module reads WebAssembly modules in the binary format, within limits,
// and writes them.
//
// What it writes is not always what it read: custom sections are left out, all
// tables get a maximum, and data is in fewer segments. It is not a validation,
// which is an engine's work, after this. It imports no engine, and works under
// GOOS=js.
package module

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"

	"igor.dev/runtime/internal/hint"
)

// Limits of a module. A WASM binary names sizes before their content, and both
// the decoder behind us and the tables that it makes believe them: 30 bytes can
// ask for gigabytes. Where the WebAssembly JavaScript interface has a limit for
// implementations, it is the one here.
const (
	MaxSize = 32 << 20 // bytes of WASM

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
	Custom = iota
	Type
	Import
	Function
	Table
	Memory
	Global
	Export
	Start
	Element
	Code
	Data
	DataCount
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

// Preamble is what a module begins with.
const Preamble = "\x00asm\x01\x00\x00\x00"

// A Section is one section that is not a custom one.
type Section struct {
	ID      byte
	Content []byte
}

// A FuncType is a function type: a byte for each value type.
type FuncType struct{ Params, Results []byte }

// An ImportedFunc is an imported function. There are no other imports.
type ImportedFunc struct {
	Module, Name string
	Type         uint32
}

// A Module is what was read.
type Module struct {
	Sections  []Section // in the order of the file
	Types     []FuncType
	Imports   []ImportedFunc
	Functions []uint32 // the types of its own functions
	Globals   int
	Exports   []string // names
}

// Parse reads a module. It is an error if it is beyond a limit.
func Parse(wasm []byte) (*Module, error) {
	if len(wasm) > MaxSize {
		return nil, fmt.Errorf("it has %d bytes, and at most %d are read", len(wasm), MaxSize)
	}
	const component = "\x00asm\x0d\x00\x01\x00"
	if len(wasm) >= len(component) && string(wasm[:len(component)]) == component {
		return nil, hint.Wrap(errors.New("it is a WebAssembly component, and an agent is a core module"),
			"build it for WASI preview 1: --target wasm32-wasip1 (Rust), -target wasip1 (TinyGo), not wasip2")
	}
	if len(wasm) < len(Preamble) || string(wasm[:len(Preamble)]) != Preamble {
		return nil, errors.New("it is not a WebAssembly module (version 1)")
	}
	m := new(Module)
	r := &Reader{B: wasm[len(Preamble):]}
	elements, dataCount := 0, false
	for len(r.B) > 0 {
		id := r.Byte()
		section := &Reader{B: r.Bytes(r.U32())}
		if r.Err != nil {
			return nil, r.Err
		}
		content := section.B
		switch id {
		case Custom:
			continue // its decoder is the least careful one, and nothing needs it
		case Type:
			section.Vector("types", maxTypes, func() { m.Types = append(m.Types, section.functionType()) })
		case Import:
			section.Vector("imports", maxImports, func() { m.Imports = append(m.Imports, section.importEntry()) })
		case Function:
			section.Vector("functions", maxFunctions, func() { m.Functions = append(m.Functions, section.U32()) })
		case Table:
			content = section.tables()
		case Memory:
			section.B = nil // nothing in it is a size
		case Start:
			section.U32()
		case DataCount:
			dataCount = true
			section.U32() // an engine takes one that is cut, where nothing comes after it
		case Global:
			section.Vector("globals", maxGlobals, func() { section.Bytes(2); section.Constant(); m.Globals++ })
		case Export:
			section.Vector("exports", maxExports, func() {
				m.Exports = append(m.Exports, string(section.Name()))
				section.Byte()
				section.U32()
			})
		case Element:
			section.Vector("element segments", maxElements, func() { section.ElementSegment(&elements) })
		case Code:
			section.Vector("functions", maxFunctions, func() { section.Body() })
		case Data:
			var segments []dataSegment
			section.Vector("data segments", maxDataSegments, func() { segments = append(segments, section.dataSegment()) })
			if section.Err == nil && !dataCount { // no instruction can name a segment then
				content = mergeData(segments, content)
			}
		default:
			return nil, fmt.Errorf("it has a section %d, of a feature that is not supported", id)
		}
		if section.Err != nil {
			return nil, section.Err
		}
		if len(section.B) > 0 {
			return nil, fmt.Errorf("section %d has %d bytes too many", id, len(section.B))
		}
		m.Sections = append(m.Sections, Section{id, content})
	}
	return m, nil
}

// Bytes writes the module.
func (m *Module) Bytes() []byte {
	size := len(Preamble)
	for _, s := range m.Sections {
		size += len(s.Content) + 6
	}
	out := append(make([]byte, 0, size), Preamble...)
	for _, s := range m.Sections {
		out = append(out, s.ID)
		out = binary.AppendUvarint(out, uint64(len(s.Content)))
		out = append(out, s.Content...)
	}
	return out
}

// A Reader reads the binary format until its first error.
type Reader struct {
	B   []byte // what is left
	Err error  // the first one; nothing is left then

	// OnFunc is called behind each function index in a constant expression and
	// in an element segment, with the number of bytes that it takes.
	OnFunc func(index uint32, size int)
}

// Fail makes err the reader's error, if it is the first one.
func (r *Reader) Fail(err error) {
	if r.Err == nil {
		r.Err = err
	}
	r.B = nil
}

var errCut = errors.New("it is cut, or a size in it is wrong")

// Byte reads a byte.
func (r *Reader) Byte() byte {
	if len(r.B) == 0 {
		r.Fail(errCut)
		return 0
	}
	c := r.B[0]
	r.B = r.B[1:]
	return c
}

// Bytes reads n bytes, which are not copied.
func (r *Reader) Bytes(n uint32) []byte {
	if uint64(n) > uint64(len(r.B)) {
		r.Fail(errCut)
		return nil
	}
	b := r.B[:n:n]
	r.B = r.B[n:]
	return b
}

// U32 reads an unsigned LEB128 number.
func (r *Reader) U32() uint32 {
	v, n := binary.Uvarint(r.B)
	if n <= 0 || n > 5 || v > math.MaxUint32 {
		r.Fail(errCut)
		return 0
	}
	r.B = r.B[n:]
	return uint32(v)
}

// SkipLEB reads over a signed or unsigned LEB128 number of at most 64 bits.
func (r *Reader) SkipLEB() {
	for range binary.MaxVarintLen64 {
		if r.Byte() < 0x80 {
			return
		}
	}
	r.Fail(errCut)
}

// Vector reads a count, and calls read that many times.
func (r *Reader) Vector(what string, limit uint32, read func()) {
	n := r.U32()
	if n > limit {
		r.Fail(fmt.Errorf("it has %d %s, and at most %d are supported", n, what, limit))
	}
	if uint64(n) > uint64(len(r.B)) { // each has a byte at least
		r.Fail(errCut)
	}
	for range n {
		if r.Err != nil {
			return
		}
		read()
	}
}

// Name reads a name.
func (r *Reader) Name() []byte { return r.Bytes(r.U32()) }

func (r *Reader) functionType() (t FuncType) {
	if form := r.Byte(); form != typeFunction {
		r.Fail(fmt.Errorf("it has a type of form 0x%02x, of a feature that is not supported", form))
	}
	r.Vector("parameters in one function", maxParams, func() { t.Params = append(t.Params, r.Byte()) })
	r.Vector("results in one function", maxResults, func() { t.Results = append(t.Results, r.Byte()) })
	return t
}

func (r *Reader) importEntry() (f ImportedFunc) {
	f.Module, f.Name = string(r.Name()), string(r.Name())
	if kind := r.Byte(); kind != externFunction {
		r.Fail(errors.New("it imports a table, a memory or a global, and can import functions alone"))
	}
	f.Type = r.U32()
	return f
}

// FuncIndex reads a function index.
func (r *Reader) FuncIndex() {
	before := len(r.B)
	index := r.U32()
	if r.OnFunc != nil && r.Err == nil {
		r.OnFunc(index, before-len(r.B))
	}
}

// tables reads the table section and returns it with a maximum for each table.
func (r *Reader) tables() []byte {
	var out []byte
	n := uint64(0)
	r.Vector("tables", maxTables, func() {
		refType, flags, least := r.Byte(), r.Byte(), r.U32()
		most := uint32(maxTableEntries)
		if flags == 1 {
			most = min(most, r.U32())
		}
		switch {
		case r.Err != nil:
			return
		case refType != refTypeFunc && refType != refTypeExtern || flags > 1:
			r.Fail(errors.New("it has a table of a feature that is not supported"))
		case least > maxTableEntries:
			r.Fail(fmt.Errorf("it has a table of %d entries, and at most %d are supported", least, maxTableEntries))
		}
		out = append(out, refType, 1)
		out = binary.AppendUvarint(out, uint64(least))
		out = binary.AppendUvarint(out, uint64(most))
		n++
	})
	return append(binary.AppendUvarint(nil, n), out...)
}

// Constant reads over a constant expression.
func (r *Reader) Constant() {
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
	for r.Err == nil {
		switch op := r.Byte(); op {
		case end:
			return
		case globalGet, i32Const, i64Const, refNull:
			r.SkipLEB()
		case refFunc:
			r.FuncIndex()
		case f32Const:
			r.Bytes(4)
		case f64Const:
			r.Bytes(8)
		case vector:
			if r.U32() != v128Const {
				r.Fail(errCut)
			}
			r.Bytes(16)
		default:
			r.Fail(fmt.Errorf("it has a constant expression with instruction 0x%02x, which is not supported", op))
		}
	}
}

// ElementSegment reads one of the eight forms of an element segment, whose
// flags say whether it is not active (1), has a table index or is declarative
// (2), and holds expressions (4).
func (r *Reader) ElementSegment(total *int) {
	flags := r.U32()
	if flags > 7 {
		r.Fail(errCut)
	}
	if flags&1 == 0 {
		if flags&2 != 0 {
			r.U32() // table index
		}
		r.Constant() // offset
	}
	if flags&3 != 0 {
		r.Byte() // element kind or reference type
	}
	item := r.FuncIndex
	if flags&4 != 0 {
		item = r.Constant
	}
	r.Vector("elements", maxElements, func() {
		if *total++; *total > maxElements {
			r.Fail(fmt.Errorf("it has more than %d elements", maxElements))
		}
		item()
	})
}

// Body reads a function: the groups of its locals, and its instructions.
func (r *Reader) Body() (b Body) {
	size := r.U32()
	if size > maxFunctionSize {
		r.Fail(fmt.Errorf("it has a function of %d bytes, and at most %d are supported", size, maxFunctionSize))
	}
	body := &Reader{B: r.Bytes(size)}
	locals := uint64(0)
	body.Vector("groups of locals", maxLocals, func() {
		n := body.U32()
		locals += uint64(n)
		b.Locals = append(b.Locals, Locals{n, body.Byte()})
	})
	if locals > maxLocals {
		r.Fail(fmt.Errorf("it has a function with %d locals, and at most %d are supported", locals, maxLocals))
	}
	if body.Err != nil {
		r.Fail(body.Err)
	}
	b.Instructions = body.B
	return b
}

// A Body is a function's body.
type Body struct {
	Locals       []Locals
	Instructions []byte // with the end of the function
}

// Locals is a group of locals of one type.
type Locals struct {
	Count uint32
	Type  byte
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
func (r *Reader) dataSegment() (s dataSegment) {
	switch flags := r.U32(); flags {
	case 0:
		expression := r.B
		r.Constant()
		expression = expression[:len(expression)-len(r.B)]
		s.offset, s.plain = i32Constant(expression)
	case 1:
	case 2:
		r.U32()
		r.Constant()
	default:
		r.Fail(errCut)
	}
	s.data = r.Bytes(r.U32())
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
