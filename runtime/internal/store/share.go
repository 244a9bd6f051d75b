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
	files, err := byTick(dir)
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

type carFile struct {
	path string
	tick uint64
}

// byTick lists the checkpoints below dir in the order of their ticks, which is
// the order of their chain.
func byTick(dir string) ([]carFile, error) {
	var files []carFile
	err := history.Walk(dir, func(e history.Entry) error {
		if e.Kind != verifier.KindCheckpoint {
			return nil
		}
		f, err := os.Open(e.Path)
		if err != nil {
			return err
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
		files = append(files, carFile{e.Path, c.TickNumber})
		return nil
	}, verifier.KindCheckpoint)
	slices.SortFunc(files, func(a, b carFile) int {
		return cmp.Or(cmp.Compare(a.tick, b.tick), cmp.Compare(a.path, b.path))
	})
	return files, err
}

func writeCAR(out *os.File, files []carFile) error {
	if len(files) == 0 {
		return errors.New("nothing to export")
	}
	head, err := os.ReadFile(files[len(files)-1].path)
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(out, 256<<10)
	w.Write(verifier.AppendCARHeader(nil, sha256.Sum256(head)))
	var last verifier.Hash
	var block []byte
	for _, f := range files {
		b, err := os.ReadFile(f.path)
		if err != nil {
			return err
		}
		h := verifier.Hash(sha256.Sum256(b))
		if h == last {
			continue // a copy of the same checkpoint
		}
		last = h
		block = verifier.AppendCARBlock(block[:0], h, b)
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

// A CheckpointFile is a checkpoint in a folder.
type CheckpointFile struct {
	Path       string
	Tick       uint64
	Hash, Prev verifier.Hash
}

// Verify verifies the history in dir and below.
func Verify(ctx context.Context, dir string) (*verifier.Report, error) {
	return verify(ctx, verifier.Pins{}, dir)
}

// Checkpoints verifies the history in dir and below, and lists its checkpoints in
// the order of their ticks, each once. It refuses a history in which something is
// wrong, but not one that is merely not whole.
func Checkpoints(ctx context.Context, dir string) (*verifier.Report, []CheckpointFile, error) {
	report, err := check(ctx, dir)
	if err != nil {
		return nil, nil, err
	}
	named, err := byTick(dir)
	if err != nil {
		return nil, nil, err
	}
	var files []CheckpointFile
	for _, f := range named {
		b, err := os.ReadFile(f.path)
		if err != nil {
			return nil, nil, err
		}
		c, err := verifier.Parse(b)
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", f.path, err)
		}
		hash := verifier.Hash(sha256.Sum256(b))
		if len(files) > 0 && files[len(files)-1].Hash == hash {
			continue // a copy of the same checkpoint
		}
		files = append(files, CheckpointFile{f.path, f.tick, hash, c.PrevHash})
	}
	return report, files, nil
}
