package wal

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"

	"igor.dev/runtime/internal/failpoint"
)

// A Folder is where the files are. Every file of it is written through this
// interface, so that a test can have each step fail.
type Folder interface {
	// Open opens an existing regular file to read and write.
	Open(name string) (File, error)
	// Create makes a file to read and write; it fails if the name is taken.
	Create(name string) (File, error)
	// Link gives a file a second name; it fails if that is taken.
	Link(name, second string) error
	// Rename gives a file another name, and replaces what has it.
	Rename(from, to string) error
	Remove(name string) error
	// Names returns what is in the folder, in order.
	Names() ([]string, error)
	// Sync makes the names durable.
	Sync() error
}

// A File is an open file.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Size() (int64, error)
	Truncate(size int64) error
	// Sync makes the content durable, its length included.
	Sync() error
}

// Dir returns the folder that root is open on. Neither a name nor a link leads
// out of it.
func Dir(root *os.Root) Folder { return dir{root, nil} }

// DirIn is Dir, with syncs that a group makes. A nil group makes each by itself.
func DirIn(root *os.Root, group *Group) Folder { return dir{root, group} }

type dir struct {
	root  *os.Root
	group *Group
}

func (d dir) Open(name string) (File, error) {
	info, err := d.root.Stat(name) // before it is opened: opening a pipe would wait
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", name)
	}
	f, err := d.root.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	return file{f, d.group}, nil
}

func (d dir) Create(name string) (File, error) {
	f, err := d.root.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return nil, err
	}
	return file{f, d.group}, nil
}

func (d dir) Link(name, second string) error { return d.root.Link(name, second) }
func (d dir) Rename(from, to string) error   { return d.root.Rename(from, to) }
func (d dir) Remove(name string) error       { return d.root.Remove(name) }

func (d dir) Names() ([]string, error) {
	entries, err := fs.ReadDir(d.root.FS(), ".")
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names, err
}

func (d dir) Sync() error {
	_, err := syncDir(d.root, ".", d.group)
	return err
}

// SyncDir makes the names in a folder durable, where its file system has such a call:
// SMB shares, WSL 1's drives and some FUSE ones do not, and say so in one of several
// ways. [SyncsDirs] tells.
func SyncDir(root *os.Root, name string) error {
	_, err := syncDir(root, name, nil)
	return err
}

// SyncsDirs reports whether a folder's file system makes names durable when it is
// asked to.
func SyncsDirs(root *os.Root, name string) (bool, error) { return syncDir(root, name, nil) }

func syncDir(root *os.Root, name string, group *Group) (does bool, err error) {
	f, err := root.Open(name)
	if err != nil {
		return false, err
	}
	err = group.sync(f, f.Sync)
	closed := f.Close()
	if isNoSuchCall(err) {
		return false, closed
	}
	return true, errors.Join(err, closed)
}

// isNoSuchCall tells a call that a file system does not have from one that failed:
// EIO, for one, is never that.
func isNoSuchCall(err error) bool {
	return errors.Is(err, errors.ErrUnsupported) || errors.Is(err, syscall.EINVAL)
}

type file struct {
	*os.File
	group *Group
}

func (f file) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

func (f file) Sync() error {
	return f.group.sync(f.File, func() error { return datasync(f.File) })
}

// Write makes a whole file, durable but for its name. A file that has the name
// already is nothing that anybody relies on.
func Write(d Folder, name string, content io.Reader) error {
	if err := d.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := d.Create(name)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.NewOffsetWriter(f, 0), content)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, d.Remove(name))
	}
	failpoint.Reach(failpoint.FileWritten)
	return nil
}

// WriteFile makes a whole file under name, durable: it has the content or is not
// there. next is the name that it has meanwhile, as of [Write]. With replace, name
// may be taken.
func WriteFile(d Folder, next, name string, content io.Reader, replace bool) error {
	err := Write(d, next, content)
	if err != nil {
		return err
	}
	if replace {
		return Give(d, next, name)
	}
	err = errors.Join(d.Link(next, name), d.Remove(next))
	failpoint.Reach(failpoint.FileNamed)
	if err != nil {
		return err
	}
	return d.Sync()
}

// Give gives a file that [Write] made its name, durably, which may be taken.
func Give(d Folder, next, name string) error {
	err := d.Rename(next, name)
	failpoint.Reach(failpoint.FileNamed)
	if err != nil {
		return err
	}
	return d.Sync()
}

// SetAside gives a damaged file a further name, name.damaged.N, and returns it.
// Both names are of the same bytes until [WriteFile] replaces the first.
func SetAside(d Folder, name string) (string, error) {
	for i := 1; ; i++ {
		aside := fmt.Sprintf("%s.damaged.%d", name, i)
		err := d.Link(name, aside)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return "", err
		}
		return aside, d.Sync()
	}
}
