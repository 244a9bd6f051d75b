package waltest

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"igor.dev/runtime/internal/wal"
)

// A Disk is what real folders are written through: it counts the steps, has one of
// them fail, and knows what the folders would have after a loss of power. It syncs
// nothing: what is durable is what it was told to sync.
type Disk struct {
	mu      sync.Mutex
	folders map[string]*tracked
	steps   int
	failAt  int
	fault   Fault
	failed  bool
}

// A Fault is what happens at a step. A write that fails writes half.
type Fault struct {
	Err error

	// Once has later steps work, but for a sync that failed: what it was to make
	// durable never is, whatever a second one says. If it is not once, no later step
	// is made, as if the process had been killed.
	Once bool
}

type tracked struct {
	disk           *Disk
	real           wal.Folder
	names, durable map[string]*tracedFile
	lost           bool // a sync has failed
}

type tracedFile struct {
	data, durable []byte
	lost          bool
}

// NewDisk returns a disk that works.
func NewDisk() *Disk { return &Disk{folders: map[string]*tracked{}} }

// FailAt has the n-th step from now, counted from 1, fail. With 0 none does.
func (d *Disk) FailAt(n int, f Fault) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.steps, d.failAt, d.fault, d.failed = 0, n, f, false
}

// Steps returns how many steps were made since FailAt, and whether one failed.
func (d *Disk) Steps() (n int, failed bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.steps, d.failed
}

// Through has a folder written through the disk. What it has when its name is
// first seen is durable.
func (d *Disk) Through(name string, real wal.Folder) wal.Folder {
	d.mu.Lock()
	defer d.mu.Unlock()
	if t := d.folders[name]; t != nil {
		t.real = real
		return t
	}
	t := &tracked{disk: d, real: real, names: map[string]*tracedFile{}}
	names, err := real.Names()
	if err != nil {
		panic(err)
	}
	for _, name := range names {
		f, err := real.Open(name)
		if err != nil {
			continue // a folder
		}
		b, err := io.ReadAll(io.NewSectionReader(f, 0, 1<<30))
		f.Close()
		if err != nil {
			panic(err)
		}
		t.names[name] = &tracedFile{data: b, durable: b}
	}
	t.durable = maps.Clone(t.names)
	d.folders[name] = t
	return t
}

// LosePower writes the folders into dir as a machine may find them that lost power
// now: what was synced, and of the rest whatever rng decides, or nothing of it if
// that is nil. at says which folder has which name.
func (d *Disk) LosePower(dir string, rng *rand.Rand, at func(name string) string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	chance := func() bool { return rng != nil && rng.IntN(2) == 0 }
	for _, folder := range slices.Sorted(maps.Keys(d.folders)) {
		t := d.folders[folder]
		found := maps.Clone(t.durable)
		all := maps.Clone(t.names)
		maps.Copy(all, t.durable)
		for _, name := range slices.Sorted(maps.Keys(all)) {
			now, was := t.names[name], t.durable[name]
			if now == was || !chance() {
				continue
			}
			if delete(found, name); now != nil {
				found[name] = now
			}
		}
		for name := range all {
			if err := os.Remove(filepath.Join(dir, at(folder), name)); err != nil && !os.IsNotExist(err) {
				return err
			}
		}
		left := map[*tracedFile][]byte{} // a file may have several names
		for _, name := range slices.Sorted(maps.Keys(found)) {
			f := found[name]
			if _, ok := left[f]; !ok {
				left[f] = f.survives(rng, chance)
			}
			if err := os.WriteFile(filepath.Join(dir, at(folder), name), left[f], mode(name)); err != nil {
				return err
			}
		}
	}
	return nil
}

// mode is of a file in an agent's folder.
func mode(name string) fs.FileMode {
	if name == "key" {
		return 0o600
	}
	return 0o644
}

// sector is what a disk writes whole.
const sector = 512

// survives returns what is left of a file. What was written and not synced may be
// there in any order: some of it, or each sector of it or not, and the length without
// the rest.
func (f *tracedFile) survives(rng *rand.Rand, chance func() bool) []byte {
	if bytes.Equal(f.data, f.durable) || !chance() {
		return f.durable
	}
	size := max(len(f.data), len(f.durable)) // a length that was cut may not be so yet
	if chance() {
		size = len(f.data)
	}
	now, was := resize(f.data, size), resize(f.durable, size)
	b := bytes.Clone(was)
	if chance() {
		copy(b, now[:rng.IntN(size+1)])
	} else {
		for at := 0; at < size; at += sector {
			if chance() {
				copy(b[at:], now[at:min(at+sector, size)])
			}
		}
	}
	// What was not there before is not longer than what was written of it, unless the
	// file system made the file longer first.
	if !chance() {
		written := len(bytes.TrimRight(b, "\x00"))
		b = b[:max(min(len(f.durable), size), written)]
	}
	return b
}

// resize returns b cut, or with zeros after it.
func resize(b []byte, size int) []byte {
	return append(bytes.Clone(b[:min(len(b), size)]), make([]byte, size-min(len(b), size))...)
}

// step makes a step, and returns why it fails.
func (d *Disk) step(op, name string) error {
	d.steps++
	if d.steps == d.failAt || d.failed && !d.fault.Once {
		d.failed = true
		return pathError(op, name, d.fault.Err)
	}
	return nil
}

// do makes a step on a folder.
func (t *tracked) do(op, name string, act func() error) error {
	t.disk.mu.Lock()
	defer t.disk.mu.Unlock()
	if err := t.disk.step(op, name); err != nil {
		t.lost = t.lost || op == "sync" && t.disk.fault.Once
		return err
	}
	return act()
}

// Open implements [wal.Folder].
func (t *tracked) Open(name string) (f wal.File, err error) {
	err = t.do("open", name, func() error {
		real, err := t.real.Open(name)
		if err == nil {
			f = &tracedHandle{t, t.names[name], name, real}
		}
		return err
	})
	return f, err
}

// Create implements [wal.Folder].
func (t *tracked) Create(name string) (f wal.File, err error) {
	err = t.do("create", name, func() error {
		real, err := t.real.Create(name)
		if err == nil {
			t.names[name] = &tracedFile{}
			f = &tracedHandle{t, t.names[name], name, real}
		}
		return err
	})
	return f, err
}

// Link implements [wal.Folder].
func (t *tracked) Link(name, second string) error {
	return t.do("link", name, func() error {
		err := t.real.Link(name, second)
		if err == nil {
			t.names[second] = t.names[name]
		}
		return err
	})
}

// Rename implements [wal.Folder].
func (t *tracked) Rename(from, to string) error {
	return t.do("rename", from, func() error {
		err := t.real.Rename(from, to)
		if err == nil {
			t.names[to] = t.names[from]
			delete(t.names, from)
		}
		return err
	})
}

// Remove implements [wal.Folder].
func (t *tracked) Remove(name string) error {
	return t.do("remove", name, func() error {
		err := t.real.Remove(name)
		if err == nil {
			delete(t.names, name)
		}
		return err
	})
}

// Names implements [wal.Folder].
func (t *tracked) Names() (names []string, err error) {
	err = t.do("read", ".", func() error {
		names, err = t.real.Names()
		return err
	})
	return names, err
}

// Sync implements [wal.Folder].
func (t *tracked) Sync() error {
	return t.do("sync", ".", func() error {
		if !t.lost {
			t.durable = maps.Clone(t.names)
		}
		return nil
	})
}

type tracedHandle struct {
	folder *tracked
	file   *tracedFile
	name   string
	real   wal.File
}

func (h *tracedHandle) Close() error         { return h.real.Close() }
func (h *tracedHandle) Size() (int64, error) { return h.real.Size() }

func (h *tracedHandle) ReadAt(p []byte, off int64) (int, error) { return h.real.ReadAt(p, off) }

func (h *tracedHandle) WriteAt(p []byte, off int64) (n int, err error) {
	d := h.folder.disk
	d.mu.Lock()
	defer d.mu.Unlock()
	was := d.failed
	fault := d.step("write", h.name)
	switch {
	case fault != nil && was:
		return 0, fault
	case fault != nil:
		p = p[:len(p)/2]
	}
	if n, err = h.real.WriteAt(p, off); err != nil {
		return n, err
	}
	if off > int64(len(h.file.data)) {
		return 0, fmt.Errorf("%s: a hole in an append-only file", h.name)
	}
	h.file.data = append(h.file.data[:off:off], p...)
	return n, fault
}

func (h *tracedHandle) Truncate(size int64) error {
	return h.folder.do("truncate", h.name, func() error {
		err := h.real.Truncate(size)
		if err == nil {
			h.file.data = h.file.data[:size:size]
		}
		return err
	})
}

func (h *tracedHandle) Sync() error {
	d := h.folder.disk
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.step("sync", h.name); err != nil {
		h.file.lost = h.file.lost || d.fault.Once
		return err
	}
	if !h.file.lost {
		h.file.durable = bytes.Clone(h.file.data)
	}
	return nil
}
