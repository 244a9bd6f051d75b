package store

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"

	"igor.dev/runtime/internal/hint"
	"igor.dev/verifier"
	"igor.dev/verifier/history"
)

// Export writes the checkpoints in dir and below, which is an agent's folder or
// any other, as one CAR, genesis first. It replaces no file, and writes no
// history in which something is wrong; one that is not whole it does write.
func Export(ctx context.Context, dir, file string) (*verifier.Report, error) {
	if _, err := check(ctx, dir); err != nil {
		return nil, err
	}
	files, err := whole(dir)
	if err != nil {
		return nil, err
	}
	Sweep(filepath.Dir(file))
	tmp, err := os.CreateTemp(filepath.Dir(file), newPrefix+"*.car")
	if err != nil {
		return nil, cannotMake(file, err)
	}
	defer os.Remove(tmp.Name())
	defer hold(tmp.Name())()
	defer tmp.Close()
	if err := writeCAR(tmp, files); err != nil {
		return nil, err
	}
	// CreateTemp is for secrets, this is to be shared. Where modes cannot be set, they
	// are those of the mount.
	if err := tmp.Chmod(0o644); err != nil && !errors.Is(err, errors.ErrUnsupported) && !errors.Is(err, fs.ErrPermission) {
		return nil, err
	}
	report, err := check(ctx, tmp.Name()) // the folder may have gone on meanwhile
	if err != nil {
		return nil, err
	}
	err = name(tmp, file)
	if errors.Is(err, fs.ErrExist) {
		return nil, hint.Wrap(fmt.Errorf("%s is there already", file), "name another file with -o")
	}
	return report, err
}

// name gives a whole file its name, at once and without replacing anything. Sticks
// and shares that have no hard links get a copy, which a killed process may leave cut
// short: a CAR that is cut is never taken for a whole one.
func name(tmp *os.File, file string) (err error) {
	if err = os.Link(tmp.Name(), file); !isNoLinks(err) {
		return err
	}
	out, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	defer func() {
		if err = errors.Join(err, out.Close()); err != nil {
			os.Remove(file)
		}
	}()
	if _, err = io.Copy(out, io.NewSectionReader(tmp, 0, math.MaxInt64)); err != nil {
		return err
	}
	return out.Sync()
}

// ErrInvalid says that something is wrong in a history.
var ErrInvalid = errors.New("the history is invalid")

type invalid struct{ error }

func (invalid) Is(target error) bool { return target == ErrInvalid }

// check verifies what a path names, and refuses what is wrong, but not what is
// merely not whole.
func check(ctx context.Context, path string) (*verifier.Report, error) {
	report, err := verify(ctx, verifier.Pins{}, path)
	if err != nil {
		return nil, err
	}
	if v := report.Verdict(); v != verifier.Verified && v != verifier.Incomplete {
		return nil, hint.Wrap(invalid{Refusal(path, report)}, "igor verify %s shows all of it", path)
	}
	return report, nil
}

// byTick lists the checkpoints below dir in the order of their ticks, which is
// the order of their chain. Nothing of what it says of them is verified.
func byTick(dir string) ([]CheckpointFile, error) {
	var files []CheckpointFile
	err := history.Walk(dir, func(e history.Entry) error {
		if e.Segment {
			root, err := os.OpenRoot(filepath.Dir(e.Path))
			if err != nil {
				return err
			}
			defer root.Close()
			for f, err := range listCAR(root, filepath.Dir(e.Path), filepath.Base(e.Path)) {
				if err != nil {
					return gone(e.Path, err)
				}
				files = append(files, f)
			}
			return nil
		}
		if e.Kind != verifier.KindCheckpoint {
			return nil
		}
		f, err := os.Open(e.Path)
		if err != nil {
			return gone(e.Path, err)
		}
		defer f.Close()
		header, err := io.ReadAll(io.LimitReader(f, verifier.HeaderSize))
		if err != nil {
			return err
		}
		c, err := verifier.Parse(header)
		if err != nil {
			return fmt.Errorf("%s: %w", e.Path, err)
		}
		files = append(files, CheckpointFile{Path: e.Path, Tick: c.TickNumber})
		return nil
	}, verifier.KindCheckpoint)
	slices.SortFunc(files, func(a, b CheckpointFile) int {
		return cmp.Or(cmp.Compare(a.Tick, b.Tick), cmp.Compare(a.Path, b.Path))
	})
	return files, err
}

// gone takes back an error that says that a file is not there any more that was listed:
// its agent packed it.
func gone(path string, err error) error {
	if _, statErr := os.Lstat(path); errors.Is(err, fs.ErrNotExist) && errors.Is(statErr, fs.ErrNotExist) {
		return nil
	}
	return err
}

// whole lists the checkpoints below dir, and once more if that they are one chain is not
// what is listed, for their agent may have packed some meanwhile.
func whole(dir string) (all []CheckpointFile, err error) {
	for range 3 {
		if all, err = once(dir); err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(all, func(f CheckpointFile) bool { return f.Hash.IsZero() }) {
			break
		}
	}
	return slices.DeleteFunc(all, func(f CheckpointFile) bool { return f.Hash.IsZero() }), nil
}

// once lists the checkpoints below dir, each once, with their hashes. That of one which is
// not there any more is zero.
func once(dir string) ([]CheckpointFile, error) {
	named, err := byTick(dir)
	if err != nil {
		return nil, err
	}
	files := named[:0] // of a long life, there is no room for two lists
	for _, f := range named {
		if n := len(files); n > 0 && f.segment && f.Hash == files[n-1].Hash {
			continue // a copy of the same checkpoint
		}
		b, err := f.Read()
		if errors.Is(err, fs.ErrNotExist) {
			files = append(files, CheckpointFile{Path: f.Path, Tick: f.Tick})
			continue
		}
		if err != nil {
			return nil, err
		}
		c, err := verifier.Parse(b)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.Path, err)
		}
		f.Hash, f.Prev = sha256.Sum256(b), c.PrevHash
		if n := len(files); n > 0 && files[n-1].Hash == f.Hash {
			continue
		}
		files = append(files, f)
	}
	return files, nil
}

func writeCAR(out *os.File, files []CheckpointFile) error {
	if len(files) == 0 {
		return errors.New("nothing to export")
	}
	w := bufio.NewWriterSize(out, 256<<10)
	w.Write(verifier.AppendCARHeader(nil, files[len(files)-1].Hash))
	var block []byte
	for _, f := range files {
		b, err := f.Read()
		if err != nil {
			return err
		}
		block = verifier.AppendCARBlock(block[:0], f.Hash, b)
		w.Write(block)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return out.Sync()
}

// Import writes the checkpoints of a CAR into the history of a new folder. It
// writes nothing that does not verify, and replaces nothing.
func Import(ctx context.Context, file, dir string) (*verifier.Report, error) {
	if _, err := check(ctx, file); err != nil { // before anything is written
		return nil, err
	}
	if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 {
		return nil, hint.Wrap(fmt.Errorf("%s is not empty", dir), "name a new folder")
	}
	var report *verifier.Report
	err := Build(dir, func(root *os.Root) error {
		if err := root.Mkdir(DirHistory, 0o755); err != nil {
			return err
		}
		f, err := os.Open(file)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := history.EachBlock(f, func(b []byte, _ *verifier.Finding) error { return importBlock(root, b) }); err != nil {
			return err
		}
		report, err = check(ctx, filepath.Join(root.Name(), DirHistory))
		return err
	})
	return report, err
}

func importBlock(root *os.Root, b []byte) error {
	c, err := verifier.Parse(b)
	if err != nil {
		return err
	}
	name := filepath.Join(DirHistory, FileName(c.TickNumber))
	err = writeFile(root, name, b, 0o644)
	if errors.Is(err, fs.ErrExist) {
		if there, readErr := root.ReadFile(name); readErr == nil && bytes.Equal(there, b) {
			return nil // the same block again
		}
	}
	return err
}

// Verify verifies the history in dir and below.
func Verify(ctx context.Context, dir string) (*verifier.Report, error) {
	return verify(ctx, verifier.Pins{}, dir)
}

// Together verifies what several paths have as one history.
func Together(ctx context.Context, paths ...string) (*verifier.Report, error) {
	return verify(ctx, verifier.Pins{}, paths...)
}

// Checkpoints verifies the history in dir and below, and lists its checkpoints in
// the order of their ticks, each once. It refuses a history in which something is
// wrong, but not one that is merely not whole.
func Checkpoints(ctx context.Context, dir string) (*verifier.Report, []CheckpointFile, error) {
	report, err := check(ctx, dir)
	if err != nil {
		return nil, nil, err
	}
	files, err := whole(dir)
	return report, files, err
}
