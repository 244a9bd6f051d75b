package hostcall

import (
	"context"
	"encoding/binary"
	"math"

	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"
)

// Prices of version 1 of the metering schedule, in units of fuel: see
// docs/spec/metering.md. A hostcall pays before it does anything, for what its
// parameters say: for each byte that it takes from the agent or makes for it, and
// for each eight bytes of room that it is to keep for a result.
const (
	priceCall = 1000 // of "igor"
	priceWASI = 200  // of the others
	perByte   = 8    // eighths of a unit for each byte
	perRoom   = 1
	perVector = 16 * 8
)

// A part is what a hostcall pays for the length that one of its parameters is.
// What goes over its limit is not looked at, and costs no more.
type part struct {
	param   int
	most    uint32
	eighths uint64
}

// A price is what a hostcall pays, beside priceCall.
type price []part

func (p price) of(params []uint64) uint64 { return priceCall + p.lengths(params) }

func (p price) lengths(params []uint64) (units uint64) {
	for _, part := range p {
		units += uint64(min(uint32(params[part.param]), part.most)) * part.eighths / 8
	}
	return units
}

// wasi are the functions of WASI, and of AssemblyScript's module "env", whose work
// depends on a length.
var wasi = map[string]price{
	"random_get":              {{1, math.MaxUint32, perByte}},
	"poll_oneoff":             {{2, math.MaxUint32, 64 * 8}},
	"fd_write":                {{2, math.MaxUint32, perVector}},
	"fd_pwrite":               {{2, math.MaxUint32, perVector}},
	"fd_read":                 {{2, math.MaxUint32, perVector}},
	"fd_pread":                {{2, math.MaxUint32, perVector}},
	"sock_recv":               {{2, math.MaxUint32, perVector}},
	"sock_send":               {{2, math.MaxUint32, perVector}},
	"fd_readdir":              {{2, math.MaxUint32, perByte}},
	"fd_prestat_dir_name":     {{2, math.MaxUint32, perByte}},
	"path_create_directory":   {{2, math.MaxUint32, perByte}},
	"path_filestat_get":       {{3, math.MaxUint32, perByte}},
	"path_filestat_set_times": {{3, math.MaxUint32, perByte}},
	"path_link":               {{3, math.MaxUint32, perByte}, {6, math.MaxUint32, perByte}},
	"path_open":               {{3, math.MaxUint32, perByte}},
	"path_readlink":           {{2, math.MaxUint32, perByte}, {4, math.MaxUint32, perByte}},
	"path_remove_directory":   {{2, math.MaxUint32, perByte}},
	"path_rename":             {{2, math.MaxUint32, perByte}, {5, math.MaxUint32, perByte}},
	"path_symlink":            {{1, math.MaxUint32, perByte}, {4, math.MaxUint32, perByte}},
	"path_unlink_file":        {{2, math.MaxUint32, perByte}},
}

// A Toll takes the prices of the host modules that are not ours, in calls that
// have a pay (see [In]). It is a listener of the engine, which comes before the
// function.
type Toll struct{}

// NewFunctionListener implements [experimental.FunctionListenerFactory].
func (Toll) NewFunctionListener(f api.FunctionDefinition) experimental.FunctionListener {
	name := f.Name()
	if names := f.ExportNames(); len(names) > 0 {
		name = names[0]
	}
	return toll{name, wasi[name]}
}

type toll struct {
	name  string
	price price
}

// Before implements [experimental.FunctionListener].
func (t toll) Before(ctx context.Context, caller api.Module, _ api.FunctionDefinition, params []uint64, _ experimental.StackIterator) {
	s, ok := ctx.Value(scopeKey{}).(*scope)
	if !ok || s.pay == nil {
		return
	}
	s.pay(caller, priceWASI+t.price.lengths(params))
	if memory := caller.Memory(); memory != nil {
		switch t.name {
		case "fd_write", "fd_pwrite", "fd_read", "fd_pread":
			s.pay(caller, vectors(memory, uint32(params[1]), uint32(params[2])))
		case "abort", "trace":
			s.pay(caller, assemblyString(memory, uint32(params[0]))+assemblyString(memory, uint32(params[1])))
		}
	}
}

// vectors is how many bytes so many pairs of pointer and length at ptr name.
func vectors(memory api.Memory, ptr, count uint32) (n uint64) {
	b, ok := memory.Read(ptr, count<<3) // as WASI's implementation does
	if !ok {
		return 0
	}
	for ; len(b) >= 8; b = b[8:] {
		n += uint64(binary.LittleEndian.Uint32(b[4:]))
	}
	return n
}

// assemblyString is how many bytes a string of AssemblyScript has, of which the
// length stands before it.
func assemblyString(memory api.Memory, ptr uint32) uint64 {
	n, ok := memory.ReadUint32Le(ptr - 4)
	if !ok || n > memory.Size() {
		return 0
	}
	return uint64(n)
}

// After implements [experimental.FunctionListener].
func (toll) After(context.Context, api.Module, api.FunctionDefinition, []uint64) {}

// Abort implements [experimental.FunctionListener].
func (toll) Abort(context.Context, api.Module, api.FunctionDefinition, error) {}
