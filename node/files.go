package node

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

// writeFile makes a whole file durable, in the place of one that is there.
func writeFile(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
		return err
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// syncDirs makes the names in some folders durable, all at once.
func syncDirs(all ...string) error {
	return atOnce(all, syncDir)
}

// syncTree makes the names in a folder durable, and in those below it.
func syncTree(dir string) error {
	var all []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			all = append(all, path)
		}
		return err
	})
	return errors.Join(err, syncDirs(all...))
}

// atOnce does something with each at the same time: disks make several syncs that are asked
// for together about as soon durable as one.
func atOnce[T any](all []T, do func(T) error) error {
	errs := make([]error, len(all))
	var wg sync.WaitGroup
	for i, one := range all {
		wg.Go(func() { errs[i] = do(one) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// A syncer makes files durable that were written, several at once, and closes them. At its
// end, sync has to be called.
type syncer struct{ files []*os.File }

const syncsAtOnce = 32

func (s *syncer) add(f *os.File) error {
	if s.files = append(s.files, f); len(s.files) < syncsAtOnce {
		return nil
	}
	return s.sync()
}

func (s *syncer) sync() error {
	all := s.files
	s.files = nil
	return atOnce(all, func(f *os.File) error { return errors.Join(f.Sync(), f.Close()) })
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, fs.ErrNotExist)
}
