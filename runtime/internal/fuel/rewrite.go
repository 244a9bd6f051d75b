package fuel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"igor.dev/runtime/internal/module"
)

// A Metered module keeps its own account, and asks the host for more.
type Metered struct {
	WASM    []byte
	Account string // the name under which the account, a global, is exported
}

// maxMetered is the largest module that comes out, in bytes.
const maxMetered = 4 * module.MaxSize

// A LimitError says that a module is beyond a limit of what is metered. It may be
// a valid one.
type LimitError struct{ text string }

func (e *LimitError) Error() string { return e.text }

func limit(format string, args ...any) error {
	return &LimitError{fmt.Sprintf(format, args...)}
}

// Rewrite meters a module by a version of the schedule. An invalid module stays
// invalid, or is refused.
func Rewrite(m *module.Module, version uint32) (*Metered, error) {
	if version != Version1 {
		return nil, fmt.Errorf("there is no version %d of the metering schedule here", version)
	}
	r := &rewriter{
		in:      m,
		imports: uint32(len(m.Imports)),
		funcs:   uint32(len(m.Imports) + len(m.Functions)),
		account: uint32(m.Globals),
		slice:   uint32(len(m.Imports) + len(m.Functions) + 1),
		types:   slices.Clone(m.Types),
		added:   map[string]int{},
	}
	if err := r.readSections(); err != nil {
		return nil, err
	}
	name := AccountExport
	for slices.Contains(m.Exports, name) {
		name += "'"
	}
	if err := r.writeSections(name); err != nil {
		return nil, err
	}
	out := new(module.Module)
	for _, id := range order {
		if content := r.sections[id]; content != nil {
			out.Sections = append(out.Sections, module.Section{ID: id, Content: content})
		}
	}
	return &Metered{WASM: out.Bytes(), Account: name}, nil
}

// A rewriter rewrites one module. What is its own comes last in each index space
// but that of functions, in which imports come first.
type rewriter struct {
	in      *module.Module
	imports uint32 // functions from here on get an index that is one higher
	funcs   uint32 // functions that the module has
	account uint32 // the index of the global
	slice   uint32 // the index of the function that asks the host for a slice
	types   []module.FuncType
	added   map[string]int

	vectorGlobals bool // one of the globals is a vector

	// What the compiler has to do: see maxPlaces and maxBlocks.
	places, widePlaces, blocks uint64

	sections [module.DataCount + 1][]byte

	// The function under way.
	segments []segment
	cuts     []cut
	tails    []tail
	control  []frame
	out      []byte
}

// order is the order of sections in a module.
var order = []byte{module.Type, module.Import, module.Function, module.Table, module.Memory, module.Global, module.Export,
	module.Start, module.Element, module.DataCount, module.Code, module.Data}

func (r *rewriter) readSections() error {
	at := 0
	for _, s := range r.in.Sections {
		place := slices.Index(order, s.ID)
		if place < at {
			return fmt.Errorf("its section %d is not in its place", s.ID)
		}
		at = place + 1
		r.sections[s.ID] = s.Content
	}
	missing := func(t uint32) bool { return int64(t) >= int64(len(r.in.Types)) }
	for _, im := range r.in.Imports {
		if missing(im.Type) {
			return errors.New("it imports a function of a type that is not there")
		}
	}
	if slices.ContainsFunc(r.in.Functions, missing) {
		return errors.New("it has a function of a type that is not there")
	}
	return nil
}

func (r *rewriter) writeSections(accountName string) error {
	// First, since functions weigh more where there are vectors.
	err := r.shift(module.Global, func(s *module.Reader) {
		if s.Byte() == typeV128 {
			r.vectorGlobals = true
		}
		s.Byte()
		s.Constant()
	})
	if err != nil {
		return err
	}
	asks := r.typeIndex(module.FuncType{Params: []byte{typeI64}, Results: []byte{typeI64}})
	helper := r.typeIndex(module.FuncType{})
	if err := r.code(); err != nil { // before the types, for it adds some
		return err
	}
	r.sections[module.Type] = r.typeSection()

	hook := append(name(HookModule), name(HookName)...)
	hook = binary.AppendUvarint(append(hook, 0), uint64(asks))
	r.sections[module.Import] = extend(r.sections[module.Import], hook)
	r.sections[module.Function] = extend(r.sections[module.Function], binary.AppendUvarint(nil, uint64(helper)))

	account := appendSigned([]byte{typeI64, 1, opI64Const}, MaxDepth)
	r.sections[module.Global] = extend(r.sections[module.Global], append(account, opEnd))

	err = r.shift(module.Export, func(s *module.Reader) {
		s.Name()
		switch kind := s.Byte(); kind {
		case externFunction:
			s.FuncIndex()
		case externGlobal:
			if s.U32() >= r.account {
				s.Fail(errors.New("it exports a global that is not there"))
			}
		default:
			s.U32()
		}
	})
	if err != nil {
		return err
	}
	export := binary.AppendUvarint(append(name(accountName), externGlobal), uint64(r.account))
	r.sections[module.Export] = extend(r.sections[module.Export], export)

	if start := r.sections[module.Start]; start != nil {
		s := &module.Reader{B: start}
		index := s.U32()
		if s.Err != nil || len(s.B) > 0 {
			return errBody
		}
		r.sections[module.Start] = binary.AppendUvarint(nil, uint64(r.function(index)))
	}
	elements := 0
	return r.shift(module.Element, func(s *module.Reader) { s.ElementSegment(&elements) })
}

// code rewrites the code section, with the function that asks for a slice at
// its end.
func (r *rewriter) code() error {
	s := &module.Reader{B: r.sections[module.Code]}
	if r.sections[module.Code] == nil {
		s.B = []byte{0}
	}
	out := binary.AppendUvarint(nil, uint64(len(r.in.Functions)+1))
	n := 0
	s.Vector("functions", uint32(len(r.in.Functions)), func() {
		body := s.Body()
		if s.Err != nil {
			return
		}
		if err := r.body(r.in.Types[r.in.Functions[n]], body); err != nil {
			s.Fail(err)
			return
		}
		out = binary.AppendUvarint(out, uint64(len(r.out)))
		out = append(out, r.out...)
		if n++; len(out) > maxMetered {
			s.Fail(limit("it has so many branches that it would have more than %d bytes with metering", maxMetered))
		}
	})
	if s.Err != nil {
		return s.Err
	}
	if n != len(r.in.Functions) {
		return fmt.Errorf("it has %d functions, and code of %d", len(r.in.Functions), n)
	}
	ask := r.getAccount([]byte{0})
	ask = binary.AppendUvarint(append(ask, opCall), uint64(r.imports))
	ask = append(r.setAccount(ask), opEnd)
	out = binary.AppendUvarint(out, uint64(len(ask)))
	r.sections[module.Code] = append(out, ask...)
	return nil
}

// extend adds an entry to a section, which may not be there.
func extend(section, entry []byte) []byte {
	n, size := uint64(0), 0
	if section != nil {
		n, size = binary.Uvarint(section)
	}
	out := binary.AppendUvarint(make([]byte, 0, len(section)+len(entry)+5), n+1)
	return append(append(out, section[size:]...), entry...)
}

func name(s string) []byte { return append(binary.AppendUvarint(nil, uint64(len(s))), s...) }

// function returns the index that a function has in the metered module.
func (r *rewriter) function(index uint32) uint32 {
	switch {
	case index < r.imports:
		return index
	case index < r.funcs:
		return index + 1
	}
	return 1<<32 - 1 // it is not there, and must not become one of ours
}

// shift gives the functions that a section names the indices that they have in
// the metered module.
func (r *rewriter) shift(id byte, entry func(*module.Reader)) error {
	section := r.sections[id]
	if section == nil {
		return nil
	}
	s := &module.Reader{B: section}
	out, done := make([]byte, 0, len(section)+len(section)/8), 0
	s.OnFunc = func(index uint32, size int) {
		at := len(section) - len(s.B)
		out = append(out, section[done:at-size]...)
		out = binary.AppendUvarint(out, uint64(r.function(index)))
		done = at
	}
	s.Vector("entries", 1<<31, func() { entry(s) })
	r.sections[id] = append(out, section[done:]...)
	return s.Err
}

// typeIndex returns the index of a type, which it adds.
func (r *rewriter) typeIndex(t module.FuncType) int {
	key := string(t.Params) + "->" + string(t.Results)
	i, ok := r.added[key]
	if !ok {
		i = len(r.types)
		r.types, r.added[key] = append(r.types, t), i
	}
	return i
}

func (r *rewriter) typeSection() []byte {
	out := binary.AppendUvarint(nil, uint64(len(r.types)))
	for _, t := range r.types {
		out = binary.AppendUvarint(append(out, typeFunction), uint64(len(t.Params)))
		out = append(out, t.Params...)
		out = binary.AppendUvarint(out, uint64(len(t.Results)))
		out = append(out, t.Results...)
	}
	return out
}

func (r *rewriter) getAccount(out []byte) []byte {
	return binary.AppendUvarint(append(out, opGlobalGet), uint64(r.account))
}

func (r *rewriter) setAccount(out []byte) []byte {
	return binary.AppendUvarint(append(out, opGlobalSet), uint64(r.account))
}

// charge takes from the account.
func (r *rewriter) charge(out []byte, amount int64) []byte {
	if amount == 0 {
		return out
	}
	out = append(r.getAccount(out), opI64Const)
	return r.setAccount(append(appendSigned(out, amount), opI64Sub))
}

// check asks for a slice if no fuel is left; at the beginning of a function that
// is counted, also if no depth is.
func (r *rewriter) check(out []byte, depth bool) []byte {
	out = append(r.getAccount(out), opI64Const)
	if depth {
		out = append(appendSigned(out, -1<<63|1<<(depthBits-1)), opI64And, opI64Const, 0, opI64Ne)
	} else {
		out = append(out, 0, opI64LtS)
	}
	out = binary.AppendUvarint(append(out, opIf, typeEmpty, opCall), uint64(r.slice))
	return append(out, opEnd)
}

// appendSigned appends a signed LEB128 number.
func appendSigned(out []byte, v int64) []byte {
	for {
		c := byte(v & 0x7f)
		v >>= 7
		if v == 0 && c&0x40 == 0 || v == -1 && c&0x40 != 0 {
			return append(out, c)
		}
		out = append(out, c|0x80)
	}
}
