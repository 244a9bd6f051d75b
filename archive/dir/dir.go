// Package dir is an archive in a folder: any disk that is mounted. A web server can serve
// it as it is.
package dir

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"igor.dev/archive"
)

// A Target keeps each object in a file whose path is its key.
type Target struct {
	path string
	root *os.Root
}

// Open opens an archive in a folder, and makes the folder, but not the one that it is in:
// a disk that is not mounted is no empty archive.
func Open(path string) (*Target, error) {
	err := os.Mkdir(path, 0o755)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("there is no folder %s to make it in: is the disk mounted? (%w)", filepath.Dir(path), fs.ErrNotExist)
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	return Find(path)
}

// Find opens an archive that is there.
func Find(path string) (*Target, error) {
	path, err := filepath.Abs(path) // its name is kept, and has to be the same from elsewhere
	if err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(path)
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		err = p.Err // whoever names it names it once
	}
	if err != nil {
		return nil, err
	}
	return &Target{path, root}, nil
}

// Close gives the folder free.
func (t *Target) Close() error { return t.root.Close() }

// Name implements [archive.Target].
func (t *Target) Name() string { return t.path }

// temporary begins the names of files that are not whole yet.
const temporary = ".next-"

// Put implements [archive.Target]. A file gets its name when it is whole and synced.
func (t *Target) Put(ctx context.Context, key string, data []byte, ifAbsent bool) (s archive.Stored, err error) {
	if err := archive.CheckKey(key); err != nil {
		return s, err
	}
	if err := ctx.Err(); err != nil {
		return s, err
	}
	dir, name := path.Split(key)
	if dir = strings.TrimSuffix(dir, "/"); dir == "" {
		dir = "."
	}
	if err := t.makeDirs(dir); err != nil {
		return s, err
	}
	if ifAbsent { // to be told early is worth a look; the link is what decides
		if _, err := t.root.Lstat(key); err == nil {
			return s, archive.ErrExists
		}
	}
	var random [8]byte
	rand.Read(random[:])
	next := path.Join(dir, temporary+name+"-"+hex.EncodeToString(random[:]))
	f, err := t.root.OpenFile(next, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return s, err
	}
	_, err = io.Copy(f, bytes.NewReader(data))
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		if ifAbsent {
			err = t.link(next, key)
		} else {
			err = t.root.Rename(next, key)
		}
	}
	if err != nil || ifAbsent {
		t.root.Remove(next)
	}
	if errors.Is(err, fs.ErrExist) {
		return s, archive.ErrExists
	}
	if err != nil {
		return s, err
	}
	return s, t.sync(dir)
}

// link gives a file its name, and replaces none. Shares and sticks without hard links have
// a rename only: there, one archiver has to be the only one.
func (t *Target) link(next, key string) error {
	err := t.root.Link(next, key)
	if err == nil || errors.Is(err, fs.ErrExist) {
		return err
	}
	if _, err := t.root.Lstat(key); err == nil {
		return fs.ErrExist
	}
	return t.root.Rename(next, key)
}

// makeDirs makes the folders of a key, durably.
func (t *Target) makeDirs(dir string) error {
	if dir == "." {
		return nil
	}
	if info, err := t.root.Stat(dir); err == nil && info.IsDir() {
		return nil
	}
	up := path.Dir(dir)
	if err := t.makeDirs(up); err != nil {
		return err
	}
	if err := t.root.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return t.sync(up)
}

func (t *Target) sync(dir string) error {
	d, err := t.root.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	return nil
}

// Get implements [archive.Target].
func (t *Target) Get(ctx context.Context, key string, offset, limit int64) ([]byte, error) {
	if err := archive.CheckKey(key); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	info, err := t.root.Stat(key) // before it is opened: opening a pipe would wait
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, archive.ErrNotFound
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is not a regular file", filepath.Join(t.path, key))
	}
	f, err := t.root.Open(key)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.NewSectionReader(f, offset, limit))
}

// List implements [archive.Target].
func (t *Target) List(ctx context.Context, prefix string, each func(archive.Entry) error) error {
	start := "."
	if i := strings.LastIndexByte(prefix, '/'); i > 0 {
		start = prefix[:i]
		if err := archive.CheckKey(start); err != nil {
			return err
		}
	}
	return fs.WalkDir(t.root.FS(), start, func(name string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		case !d.Type().IsRegular() || strings.HasPrefix(d.Name(), ".") || !strings.HasPrefix(name, prefix):
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		return each(archive.Entry{Key: name, Size: info.Size()})
	})
}
