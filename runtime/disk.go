package runtime

import (
	"io/fs"
	"os"
	"sync/atomic"

	"igor.dev/runtime/internal/wal"
)

// A diskUsage is what a life takes of a disk: what its folder had when it was last
// measured, and what was written since. That is never less than what is there, for
// files are replaced and cut off too; so before it says that a quota is reached, it
// measures anew.
type diskUsage struct {
	dir      string
	quota    int64 // bytes; 0 = none
	measured atomic.Int64
	written  atomic.Int64 // since then
	ever     atomic.Int64 // written by this run
}

// diskMargin is how near to its quota a life is when it has reached it. What one tick
// writes comes on top: about 64 MiB of observations, and a checkpoint.
const diskMargin = 64 << 10

// quotaOf returns the lower of what a manifest asks for and what the operator gives, 0
// where neither says anything.
func quotaOf(asked, given int64) int64 {
	if asked == 0 || given > 0 && given < asked {
		return given
	}
	return asked
}

func (d *diskUsage) measure() {
	sum := int64(0)
	d.written.Store(0)
	fs.WalkDir(os.DirFS(d.dir), ".", func(_ string, e fs.DirEntry, err error) error {
		if err != nil {
			return nil // it is being replaced
		}
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() {
			sum += info.Size()
		}
		return nil
	})
	d.measured.Store(sum)
}

// bytes returns what the folder has, at most.
func (d *diskUsage) bytes() int64 { return d.measured.Load() + d.written.Load() }

// nearly reports whether the quota may be reached with so many bytes that are still to be
// written.
func (d *diskUsage) nearly(coming int64) bool {
	return d.quota > 0 && d.bytes()+coming >= d.quota-diskMargin
}

// full reports whether the quota is reached.
func (d *diskUsage) full() bool {
	if !d.nearly(0) {
		return false
	}
	d.measure()
	return d.nearly(0)
}

// diskFull reports whether the life has reached its quota. Checkpoints that wait for a slow
// disk count too, so it waits for them where they may make the difference.
func (l *life) diskFull() (bool, error) {
	if !l.disk.nearly(l.commits.coming()) {
		return false, nil
	}
	if err := l.commits.waitDurable(); err != nil {
		return false, err
	}
	return l.disk.full(), nil
}

// through returns a folder in which what is written is counted.
func (d *diskUsage) through(f wal.Folder) wal.Folder { return countedFolder{f, d} }

type countedFolder struct {
	wal.Folder
	usage *diskUsage
}

func (c countedFolder) Open(name string) (wal.File, error) {
	f, err := c.Folder.Open(name)
	return c.file(f, err)
}

func (c countedFolder) Create(name string) (wal.File, error) {
	f, err := c.Folder.Create(name)
	return c.file(f, err)
}

func (c countedFolder) file(f wal.File, err error) (wal.File, error) {
	if err != nil {
		return nil, err
	}
	return countedFile{f, c.usage}, nil
}

type countedFile struct {
	wal.File
	usage *diskUsage
}

func (c countedFile) WriteAt(b []byte, at int64) (int, error) {
	n, err := c.File.WriteAt(b, at)
	c.usage.written.Add(int64(n))
	c.usage.ever.Add(int64(n))
	return n, err
}
