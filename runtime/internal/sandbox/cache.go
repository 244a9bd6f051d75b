package sandbox

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/tetratelabs/wazero"

	"igor.dev/runtime/internal/hint"
)

// open compiles the program, or takes its code from the cache.
//
// What is in the cache is run as it is, outside the sandbox, and the engine looks
// at no more than a part of it. So each program has a folder of its own there, and
// beside the engine's file the SHA-256 of it. An entry that is not what it was is
// removed, and made anew: it is a cache, and says nothing about the agent.
func (p *Program) open(ctx context.Context, code []byte) error {
	if p.config.CacheDir == "" {
		p.engine(ctx, nil)
		return p.compile(ctx, code)
	}
	unusable := func(err error) error {
		return hint.Wrap(fmt.Errorf("the folder for compiled code %s cannot be used: %w", p.config.CacheDir, err), "name another one with --cache-dir")
	}
	if err := checkCache(p.config.CacheDir); err != nil {
		return unusable(err)
	}
	sum := sha256.Sum256(code)
	e := entry{filepath.Join(p.config.CacheDir, "program-"+hex.EncodeToString(sum[:16])), map[string]fs.FileInfo{}}
	if problem := e.check(); problem != nil {
		if problem != errUnfinished {
			p.config.Log.Warn("an entry in the cache of compiled code is damaged; the program is compiled anew", "entry", e.dir, "problem", problem)
		}
		if err := os.RemoveAll(e.dir); err != nil {
			return unusable(err)
		}
	}
	cache, err := wazero.NewCompilationCacheWithDir(e.dir)
	if err != nil {
		return unusable(err)
	}
	p.engine(ctx, cache)
	if err := p.compile(ctx, code); err != nil {
		return err
	}
	added, err := e.seal()
	if added {
		sweep(p.config.CacheDir, e.dir)
	}
	if err != nil {
		// The code is there and runs; the next start compiles again.
		p.config.Log.Warn("compiled code cannot be kept", "entry", e.dir, "problem", err)
	}
	return nil
}

// An entry is the folder of one program: a file of the engine, in a folder that
// is named after its version, and its sum.
type entry struct {
	dir     string
	checked map[string]fs.FileInfo
}

// errUnfinished is no damage: a process that was killed leaves it.
var errUnfinished = errors.New("it has no sum yet")

const sumSuffix = ".sha256"

// files returns the engine's files.
func (e entry) files() ([]string, error) {
	all, err := filepath.Glob(filepath.Join(e.dir, "*", "*"))
	var files []string
	for _, f := range all {
		if !strings.HasSuffix(f, sumSuffix) && !strings.HasSuffix(f, ".tmp") {
			files = append(files, f)
		}
	}
	return files, err
}

// check returns what is wrong with an entry that is there.
func (e entry) check() error {
	files, err := e.files()
	if err != nil {
		return err
	}
	for _, file := range files {
		want, err := os.ReadFile(file + sumSuffix)
		if errors.Is(err, fs.ErrNotExist) {
			return errUnfinished
		}
		if err != nil {
			return err
		}
		got, err := sumOf(file)
		if err != nil {
			return err
		}
		if got != string(want) {
			return fmt.Errorf("%s is not what was written", filepath.Base(file))
		}
		if e.checked[file], err = os.Lstat(file); err != nil {
			return err
		}
	}
	return nil
}

// seal writes the sums of files that were not checked, and reports whether there are any.
func (e entry) seal() (added bool, err error) {
	files, err := e.files()
	if err != nil {
		return added, err
	}
	for _, file := range files {
		now, err := os.Lstat(file)
		if err != nil {
			return added, err
		}
		if before := e.checked[file]; before != nil && os.SameFile(before, now) {
			continue
		}
		added = true
		sum, err := sumOf(file)
		if err != nil {
			return added, err
		}
		tmp, err := os.CreateTemp(filepath.Dir(file), filepath.Base(file)+".*.tmp")
		if err != nil {
			return added, err
		}
		_, err = tmp.WriteString(sum)
		if err = errors.Join(err, tmp.Close()); err == nil {
			err = os.Rename(tmp.Name(), file+sumSuffix)
		}
		if err != nil {
			os.Remove(tmp.Name())
			return added, err
		}
	}
	return added, nil
}

// keptUnused is how long code of another version of the engine is kept. An earlier igor
// that comes back within that time need not compile again.
const keptUnused = 30 * 24 * time.Hour

// sweep removes what engines of other versions left in the cache, beside the entries as
// earlier versions did and in an entry that has new code, and nobody wrote for long.
func sweep(cacheDir, entry string) {
	old, _ := filepath.Glob(filepath.Join(cacheDir, "wazero-*"))
	inEntry, _ := filepath.Glob(filepath.Join(entry, "wazero-*"))
	for _, dir := range append(old, inEntry...) {
		if onlyOldCode(dir, time.Now().Add(-keptUnused)) {
			os.RemoveAll(dir) // or the next new entry does
		}
	}
}

// onlyOldCode reports whether a folder has nothing but an engine's files, all older.
func onlyOldCode(dir string, than time.Time) bool {
	info, err := os.Lstat(dir)
	if err != nil || !info.IsDir() || info.ModTime().After(than) {
		return false
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		return false
	}
	for _, f := range files {
		info, err := f.Info()
		name, err2 := hex.DecodeString(strings.TrimSuffix(f.Name(), sumSuffix))
		if err != nil || err2 != nil || len(name) != sha256.Size || !info.Mode().IsRegular() || info.ModTime().After(than) {
			return false
		}
	}
	return true
}

func sumOf(file string) (string, error) {
	b, err := os.ReadFile(file)
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:]) + "\n", err
}

// checkCache refuses a cache that others can write: what is in it is run as it
// is, outside the sandbox.
func checkCache(dir string) error {
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil // it will be made, for this user alone
	case err != nil:
		return err
	case info.Mode().Perm()&0o022 != 0:
		return hint.Wrap(fmt.Errorf("%s can be written by others (mode %04o)", dir, info.Mode().Perm()), "name a folder of your own, or: chmod go-w %s", dir)
	}
	return nil
}
