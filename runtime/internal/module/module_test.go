package module

import (
	"bytes"
	"context"
	"encoding/binary"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"

	"igor.dev/runtime/internal/wasmtest"
)

// screen is what every module goes through.
func screen(wasm []byte) ([]byte, error) {
	m, err := Parse(wasm)
	if err != nil {
		return nil, err
	}
	return m.Bytes(), nil
}

func section(id byte, content string) string {
	return string(id) + string(binary.AppendUvarint(nil, uint64(len(content)))) + content
}

func TestParseKeeps(t *testing.T) {
	wasm := wasmtest.Agent{Imports: []wasmtest.Import{wasmtest.ClockNow}, Start: "agent_init"}.Bytes()
	got, err := screen(wasm)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, wasm) {
		t.Error("a module without a table or a custom section was changed")
	}
}

func TestParseChanges(t *testing.T) {
	for _, tt := range []struct{ name, in, want string }{
		{"custom section", section(0, "\x04nameXYZ") + section(1, "\x00"), section(1, "\x00")},
		{"table without a maximum", section(4, "\x01\x70\x00\x02"), section(4, "\x01\x70\x01\x02\x80\x80\x40")},
		{"table with a high maximum", section(4, "\x01\x6f\x01\x02\xff\xff\xff\x7f"), section(4, "\x01\x6f\x01\x02\x80\x80\x40")},
		{"table with a low maximum", section(4, "\x01\x70\x01\x02\x03"), section(4, "\x01\x70\x01\x02\x03")},
		{"data of one run", section(11, "\x03\x00\x41\x08\x0b\x01a\x00\x41\x0c\x0b\x02bc\x00\x41\x00\x0b\x01d"),
			section(11, "\x01\x00\x41\x00\x0b\x0ed\x00\x00\x00\x00\x00\x00\x00a\x00\x00\x00bc")},
		{"data far apart", section(11, "\x02\x00\x41\x00\x0b\x01a\x00\x41\xc2\x00\x0b\x01b"), section(11, "\x02\x00\x41\x00\x0b\x01a\x00\x41\xc2\x00\x0b\x01b")},
		{"data that overlaps", section(11, "\x02\x00\x41\x00\x0b\x02ab\x00\x41\x01\x0b\x01c"), section(11, "\x02\x00\x41\x00\x0b\x02ab\x00\x41\x01\x0b\x01c")},
		{"passive data", section(11, "\x02\x01\x01a\x01\x01b"), section(11, "\x02\x01\x01a\x01\x01b")},
		{"data that instructions can name", section(12, "\x02") + section(11, "\x02\x00\x41\x00\x0b\x01a\x00\x41\x01\x0b\x01b"),
			section(12, "\x02") + section(11, "\x02\x00\x41\x00\x0b\x01a\x00\x41\x01\x0b\x01b")},
	} {
		got, err := screen([]byte(Preamble + tt.in))
		if err != nil || string(got) != Preamble+tt.want {
			t.Errorf("%s: got %q, %v, want %q", tt.name, got, err, Preamble+tt.want)
		}
	}
}

// TestMergedData checks that memory begins the same with fewer segments, and
// that what the engine refuses it refuses still.
func TestMergedData(t *testing.T) {
	ctx := t.Context()
	image := func(wasm []byte) ([]byte, bool) {
		r := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigInterpreter())
		defer r.Close(ctx)
		m, err := r.Instantiate(ctx, wasm)
		if err != nil {
			return nil, false
		}
		b, _ := m.Memory().Read(0, m.Memory().Size())
		return bytes.Clone(b), true
	}
	r := rand.New(rand.NewPCG(1, 2))
	good, merged := 0, 0
	for i := range 300 {
		var segments []dataSegment
		at := r.Uint32N(100)
		for range r.IntN(8) {
			at += r.Uint32N(3 * mergeGap / 2)
			data := make([]byte, r.IntN(20))
			for j := range data {
				data[j] = byte(1 + r.IntN(255))
			}
			segments = append(segments, dataSegment{offset: at, data: data})
			at += uint32(len(data))
			if r.IntN(20) == 0 {
				at -= r.Uint32N(at + 1) // may overlap
			}
			if r.IntN(30) == 0 {
				at = (64 << 10) - 2
			}
		}
		r.Shuffle(len(segments)/2, func(i, j int) { segments[i], segments[j] = segments[j], segments[i] })
		content := binary.AppendUvarint(nil, uint64(len(segments)))
		for _, s := range segments {
			content = append(appendSigned(append(content, 0, i32Const), int32(s.offset)), end, byte(len(s.data)))
			content = append(content, s.data...)
		}
		wasm := []byte(Preamble + section(5, "\x01\x00\x01") + section(11, string(content)))
		screened, err := screen(wasm)
		if err != nil {
			t.Fatal(err)
		}
		want, ok := image(wasm)
		got, gotOK := image(screened)
		if ok != gotOK || !bytes.Equal(got, want) {
			t.Fatalf("module %d: %x and %x begin with different memories", i, wasm, screened)
		}
		if ok {
			good++
		}
		if !bytes.Equal(wasm, screened) {
			merged++
		}
	}
	if good < 100 || merged < 100 || good == 300 {
		t.Errorf("of 300 modules %d ran and %d were changed", good, merged)
	}
}

// TestParseRefuses checks that sizes are not believed. Each of these, without
// the screening, is an allocation of gigabytes.
func TestParseRefuses(t *testing.T) {
	const billions = "\xff\xff\xff\xff\x0f"
	for _, tt := range []struct{ name, in, want string }{
		{"no WASM", "\x7fELF", "it is not a WebAssembly module"},
		{"a component", "\x00asm\x0d\x00\x01\x00", "it is a WebAssembly component, and an agent is a core module"},
		{"section beyond the end", Preamble + "\x01\x05\x00", "it is cut"},
		{"types", Preamble + section(1, billions), "types, and at most"},
		{"types that are not there", Preamble + section(1, "\xa0\x8d\x06"), "it is cut"},
		{"parameters", Preamble + section(1, "\x01\x60"+billions), "parameters in one function, and at most 1000"},
		{"recursive types", Preamble + section(1, "\x01\x4e\x01\x60\x00\x00"), "a type of form 0x4e"},
		{"name of an import", Preamble + section(2, "\x01"+billions+"abc"), "it is cut"},
		{"imported memory", Preamble + section(2, "\x01\x01a\x01b\x02\x00\x01"), "can import functions alone"},
		{"table", Preamble + section(4, "\x01\x70\x00\x81\x80\x40"), "a table of 1048577 entries"},
		{"tables", Preamble + section(4, "\x09"), "9 tables, and at most 8"},
		{"table with an initial value", Preamble + section(4, "\x01\x40\x00\x70\x00\x01\xd0\x70\x0b"), "a table of a feature that is not supported"},
		{"elements", Preamble + section(9, "\x01\x00\x41\x00\x0b"+billions), "elements, and at most"},
		{"elements that are not there", Preamble + section(9, "\x01\x00\x41\x00\x0b\x80\x80\x04\x00"), "it is cut"},
		{"locals", Preamble + section(10, "\x01\x07\x01"+billions+"\x7f"), "4294967295 locals, and at most 50000"},
		{"locals in groups", Preamble + section(10, "\x01\x0a\x02\xd0\x86\x03\x7f\x01\x7e\x0b\x0b\x0b"), "50001 locals"},
		{"data that is not there", Preamble + section(11, "\x01\x01"+billions), "it is cut"},
		{"unknown section", Preamble + section(13, ""), "a section 13"},
		{"bytes behind a vector", Preamble + section(3, "\x00\x00"), "section 3 has 1 bytes too many"},
		{"a module too large", Preamble + section(0, strings.Repeat("x", MaxSize)), "at most 33554432 are read"},
	} {
		if out, err := screen([]byte(tt.in)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %d bytes, error %v, want one with %q", tt.name, len(out), err, tt.want)
		}
	}
}

// FuzzParse checks that what is screened stays the same when screened again,
// and that the compiler then takes it or refuses it in peace.
func FuzzParse(f *testing.F) {
	f.Add(wasmtest.Agent{}.Bytes())
	f.Add(wasmtest.Agent{Imports: []wasmtest.Import{wasmtest.ClockNow}, Table: true, Start: "agent_init"}.Bytes())
	f.Add([]byte(Preamble + section(9, "\x02\x00\x41\x00\x0b\x01\x00\x05\x70\x01\xd2\x00\x0b") + section(11, "\x03\x01\x01x\x00\x41\x00\x0b\x01y\x02\x00\x41\x00\x0b\x00")))
	ctx := context.Background()
	r := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigInterpreter().WithMemoryLimitPages(16))
	f.Fuzz(func(t *testing.T, b []byte) {
		out, err := screen(b)
		if err != nil {
			return
		}
		again, err := screen(out)
		if err != nil || !bytes.Equal(out, again) {
			t.Fatalf("screened again: %q, %v, want %q", again, err, out)
		}
		if compiled, err := r.CompileModule(ctx, out); err == nil {
			compiled.Close(ctx)
		}
	})
}
