package runtime

import (
	"errors"
	"path/filepath"
	"testing"
	"time"

	"igor.dev/runtime/internal/store"
	"igor.dev/runtime/internal/wal"
	"igor.dev/runtime/internal/wasmtest"
)

// TestDiskQuota has an agent fill its disk: it is stopped with a last checkpoint, does
// not go on before it is given more, and its life is whole.
func TestDiskQuota(t *testing.T) {
	fills := wasmtest.Agent{Imports: []wasmtest.Import{wasmtest.KVPut}, Funcs: map[string]wasmtest.Func{
		// kv_put(0, 8, 64, 16384): the key is the count
		"agent_tick": {Type: wasmtest.ToI32, Body: wasmtest.Count + wasmtest.I32(0) + wasmtest.I32(8) + wasmtest.I32(64) + wasmtest.I32(16384) +
			wasmtest.Call(0) + wasmtest.Drop + wasmtest.I32(1)},
	}}
	b := birth(fills)
	b.Price = 0
	const asks = 1 << 20
	for name, tt := range map[string]struct {
		manifest string
		given    int64
		quota    int64
		slow     bool
	}{
		"the manifest asks":     {`{"capabilities": {"kv": {"version": 1}}, "resource_limits": {"max_disk_bytes": 1048576}}`, 0, asks, false},
		"the operator gives":    {`{"capabilities": {"kv": {"version": 1}}}`, asks, asks, false},
		"less than is asked":    {`{"capabilities": {"kv": {"version": 1}}, "resource_limits": {"max_disk_bytes": 104857600}}`, asks, asks, false},
		"no more than is asked": {`{"capabilities": {"kv": {"version": 1}}, "resource_limits": {"max_disk_bytes": 1048576}}`, 100 * asks, asks, false},
		"a slow disk":           {`{"capabilities": {"kv": {"version": 1}}}`, asks, asks, true},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "agent")
			b.Manifest = []byte(tt.manifest)
			c := ticks(2000, 1)
			c.MaxDisk = tt.given
			if tt.slow {
				c.through = func(name string, f wal.Folder) wal.Folder {
					if name != store.DirHistory {
						return f
					}
					return slowFolder{f}
				}
			}
			r, err := Start(t.Context(), dir, b, c)
			if err != nil || r.Reason != DiskFull {
				t.Fatalf("got %+v, %v", r, err)
			}
			usage := diskUsage{dir: dir}
			usage.measure()
			if got := usage.bytes(); got < tt.quota-2*diskMargin || got > tt.quota*3/2 {
				t.Errorf("it stopped at %d bytes of %d", got, tt.quota)
			}
			if _, err := Resume(t.Context(), dir, c); !errors.Is(err, ErrQuota) {
				t.Errorf("it goes on: %v", err)
			}
			counts(t, dir)
		})
	}
}

// A slowFolder takes its time for a checkpoint, so that others wait for it.
type slowFolder struct{ wal.Folder }

func (s slowFolder) Create(name string) (wal.File, error) {
	f, err := s.Folder.Create(name)
	if err != nil {
		return nil, err
	}
	return slowFile{f}, nil
}

type slowFile struct{ wal.File }

func (s slowFile) WriteAt(b []byte, at int64) (int, error) {
	time.Sleep(100 * time.Millisecond)
	return s.File.WriteAt(b, at)
}
