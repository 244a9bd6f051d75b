//go:build !wasip1

package main

import (
	"encoding/binary"
	"errors"
	"strings"
)

// A signature has the types of a function's parameters and results.
type signature struct{ params, results string }

func (s signature) String() string { return "(" + s.params + ") -> (" + s.results + ")" }

type imported struct {
	module, name string
	signature
}

// A module is what a WebAssembly module says of itself to the outside.
type module struct {
	imports []imported // functions, and others without a signature
	exports map[string]signature
	memory  bool // exported as "memory"
}

var errCut = errors.New("it is cut short, or no WebAssembly module")

// parse reads the types, imports, functions and exports of a module. It is no
// validation: igor does that.
func parse(wasm []byte) (m module, err error) {
	defer func() { // of a cut module: the reader does not look ahead
		if recover() != nil {
			err = errCut
		}
	}()
	switch {
	case len(wasm) < 8 || string(wasm[:4]) != "\x00asm":
		return m, errors.New("it is not a WebAssembly module")
	case binary.LittleEndian.Uint32(wasm[4:]) == 0x1000d:
		return m, errors.New("it is a component, and an agent is a core module: build for wasm32-unknown-unknown, or for WASI preview 1")
	case wasm[4] != 1:
		return m, errors.New("it is not a WebAssembly module of version 1")
	}
	m.exports = map[string]signature{}
	var types []signature
	var functions []signature
	for r := (reader{wasm[8:]}); len(r.b) > 0; {
		id := r.byte()
		s := reader{r.take(r.number())}
		switch id {
		case 1:
			for range s.number() {
				if s.byte() != 0x60 {
					return m, errors.New("it has types that are not of functions")
				}
				types = append(types, signature{s.types(), s.types()})
			}
		case 2:
			for range s.number() {
				i := imported{module: s.name(), name: s.name()}
				switch s.byte() {
				case 0:
					i.signature = types[s.number()]
					functions = append(functions, i.signature)
				case 1:
					s.byte()
					s.limits()
				case 2:
					s.limits()
				case 3:
					s.take(2)
				}
				m.imports = append(m.imports, i)
			}
		case 3:
			for range s.number() {
				functions = append(functions, types[s.number()])
			}
		case 7:
			for range s.number() {
				name, kind, index := s.name(), s.byte(), s.number()
				if kind == 0 {
					m.exports[name] = functions[index]
				}
				m.memory = m.memory || kind == 2 && name == "memory"
			}
		}
	}
	return m, nil
}

// A reader panics at the end of what it reads.
type reader struct{ b []byte }

func (r *reader) take(n int) []byte {
	b := r.b[:n]
	r.b = r.b[n:]
	return b
}

func (r *reader) byte() byte { return r.take(1)[0] }

func (r *reader) number() int {
	n, size := binary.Uvarint(r.b)
	if size <= 0 || n > 1<<32 {
		panic(errCut)
	}
	r.take(size)
	return int(n)
}

func (r *reader) name() string { return string(r.take(r.number())) }

func (r *reader) limits() {
	if flags := r.byte(); r.number() >= 0 && flags&1 != 0 {
		r.number()
	}
}

func (r *reader) types() string {
	var names []string
	for range r.number() {
		name := map[byte]string{0x7f: "i32", 0x7e: "i64", 0x7d: "f32", 0x7c: "f64"}[r.byte()]
		if name == "" {
			name = "another type"
		}
		names = append(names, name)
	}
	return strings.Join(names, " ")
}
