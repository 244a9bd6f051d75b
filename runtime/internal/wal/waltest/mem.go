// Package waltest has a folder in memory that forgets, as a machine that loses
// power does, whatever was not synced, and whose every step can be made to fail.
package waltest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"syscall"

	"igor.dev/runtime/internal/wal"
)

// A Folder is a [wal.Folder] in memory.
type Folder struct {
	names, durable map[string]*inode
	steps          int
	failAt         int // the step that fails, 0 = none
	err            error
	dead           bool
}

type inode struct{ data, durable []byte }

// New returns an empty folder.
func New() *Folder {
	return &Folder{names: map[string]*inode{}, durable: map[string]*inode{}}
}

// FailAt has the n-th step from now, counted from 1, fail with err, and with it
// every later one. A write that fails writes half.
func (d *Folder) FailAt(n int, err error) { d.steps, d.failAt, d.err, d.dead = 0, n, err, false }

// Steps returns how many steps were made since FailAt.
func (d *Folder) Steps() int { return d.steps }

// Put makes a file with the content, durable.
func (d *Folder) Put(name string, content []byte) {
	n := &inode{bytes.Clone(content), bytes.Clone(content)}
	d.names[name], d.durable[name] = n, n
}

// Get returns the content of a file, or nil.
func (d *Folder) Get(name string) []byte {
	if n := d.names[name]; n != nil {
		return append([]byte{}, n.data...)
	}
	return nil
}

// Survive returns the folder after its process was killed: everything is there.
func (d *Folder) Survive() *Folder {
	after := New()
	for name, n := range d.names {
		after.Put(name, n.data)
	}
	return after
}

// LosePower returns the folder after the machine lost power: what was synced is
// there, and of what was appended since then, the first extra bytes.
func (d *Folder) LosePower(extra int) *Folder {
	after := New()
	for name, n := range d.durable {
		content := n.durable
		if bytes.HasPrefix(n.data, n.durable) {
			content = n.data[:min(len(n.data), len(n.durable)+extra)]
		}
		after.Put(name, content)
	}
	return after
}

func (d *Folder) step() error {
	d.steps++
	if d.dead = d.dead || d.steps == d.failAt; d.dead {
		return d.err
	}
	return nil
}

func pathError(op, name string, err error) error { return &fs.PathError{Op: op, Path: name, Err: err} }

// Open implements [wal.Folder].
func (d *Folder) Open(name string) (wal.File, error) {
	if err := d.step(); err != nil {
		return nil, pathError("open", name, err)
	}
	n := d.names[name]
	if n == nil {
		return nil, pathError("open", name, fs.ErrNotExist)
	}
	return &file{d, n, name}, nil
}

// Create implements [wal.Folder].
func (d *Folder) Create(name string) (wal.File, error) {
	if err := d.step(); err != nil {
		return nil, pathError("create", name, err)
	}
	if d.names[name] != nil {
		return nil, pathError("create", name, fs.ErrExist)
	}
	n := &inode{}
	d.names[name] = n
	return &file{d, n, name}, nil
}

// Link implements [wal.Folder].
func (d *Folder) Link(name, second string) error {
	if err := d.step(); err != nil {
		return pathError("link", name, err)
	}
	if d.names[second] != nil {
		return pathError("link", second, fs.ErrExist)
	}
	if d.names[name] == nil {
		return pathError("link", name, fs.ErrNotExist)
	}
	d.names[second] = d.names[name]
	return nil
}

// Rename implements [wal.Folder].
func (d *Folder) Rename(from, to string) error {
	if err := d.step(); err != nil {
		return pathError("rename", from, err)
	}
	if d.names[from] == nil {
		return pathError("rename", from, fs.ErrNotExist)
	}
	d.names[to] = d.names[from]
	delete(d.names, from)
	return nil
}

// Remove implements [wal.Folder].
func (d *Folder) Remove(name string) error {
	if err := d.step(); err != nil {
		return pathError("remove", name, err)
	}
	if d.names[name] == nil {
		return pathError("remove", name, fs.ErrNotExist)
	}
	delete(d.names, name)
	return nil
}

// Names implements [wal.Folder].
func (d *Folder) Names() ([]string, error) {
	if err := d.step(); err != nil {
		return nil, pathError("read", ".", err)
	}
	return slices.Sorted(maps.Keys(d.names)), nil
}

// Sync implements [wal.Folder].
func (d *Folder) Sync() error {
	if err := d.step(); err != nil {
		return pathError("sync", ".", err)
	}
	d.durable = maps.Clone(d.names)
	return nil
}

type file struct {
	d    *Folder
	n    *inode
	name string
}

func (f *file) Close() error { return nil }

func (f *file) Size() (int64, error) { return int64(len(f.n.data)), nil }

func (f *file) ReadAt(p []byte, off int64) (int, error) {
	if f.d.dead {
		return 0, pathError("read", f.name, f.d.err)
	}
	if off >= int64(len(f.n.data)) {
		return 0, io.EOF
	}
	n := copy(p, f.n.data[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *file) WriteAt(p []byte, off int64) (int, error) {
	err := f.d.step()
	if err != nil {
		p = p[:len(p)/2]
	}
	if off > int64(len(f.n.data)) {
		return 0, errors.New("a hole in an append-only file")
	}
	f.n.data = append(f.n.data[:off:off], p...)
	if err != nil {
		return len(p), pathError("write", f.name, err)
	}
	return len(p), nil
}

func (f *file) Truncate(size int64) error {
	if err := f.d.step(); err != nil {
		return pathError("truncate", f.name, err)
	}
	f.n.data = f.n.data[:size:size]
	return nil
}

func (f *file) Sync() error {
	if err := f.d.step(); err != nil {
		return pathError("sync", f.name, err)
	}
	f.n.durable = bytes.Clone(f.n.data)
	return nil
}

// EachFault runs life with a fresh folder once for every step that it makes, and
// has that step, and what follows, fail with ENOSPC or EIO. life returns what it
// knows to be acknowledged; check gets that, and the folder as it may be found
// afterwards. It returns how many folders were checked.
func EachFault[T any](life func(*Folder) T, check func(when string, acknowledged T, found *Folder)) int {
	checked := 0
	for _, fault := range []error{syscall.ENOSPC, syscall.EIO} {
		for n := 1; ; n++ {
			d := New()
			d.FailAt(n, fault)
			acknowledged := life(d)
			if !d.dead {
				break
			}
			when := fmt.Sprintf("%v at step %d", fault, n)
			check(when+", killed", acknowledged, d.Survive())
			for _, extra := range []int{0, 1, 13, 1 << 30} {
				check(fmt.Sprintf("%s, power lost after %d bytes more", when, extra), acknowledged, d.LosePower(extra))
			}
			checked += 5
		}
	}
	return checked
}
