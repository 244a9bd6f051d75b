package history

import (
	"errors"
	"io"
	"io/fs"
	"os"

	"igor.dev/verifier"
)

// Ext is how the name of a checkpoint ends in a folder.
const Ext = ".ckpt"

const (
	filesPerJob = 64
	dirBatch    = 512       // folder entries read at a time
	chunkSize   = 256 << 10 // CAR input read at a time
)

// A Source is where checkpoints come from. It is used for one run.
type Source interface {
	feed(r *run) error // sends jobs
	finish() error     // after all of them were run
}

// Path returns the source that a path names: a folder, which is searched for
// checkpoints with everything below it, or a file, which is what its kind says.
// See docs/spec/lineage.md, "Inputs".
func Path(path string) (Source, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, pathError(path, err)
	case info.IsDir():
		return &folder{path: path}, nil
	case !info.Mode().IsRegular():
		return nil, irregular(path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, pathError(path, err)
	}
	kind, err := KindOf(info.Name(), f)
	if err != nil {
		f.Close()
		return nil, pathError(path, err)
	}
	if kind == verifier.KindCAR || kind == verifier.KindCARv2 {
		return &carSource{name: path, input: f, closer: f}, nil
	}
	f.Close()
	switch one := (oneFile{file{path: path, name: info.Name()}}); kind.Use() {
	case verifier.Read:
		return one, nil
	case verifier.Refuse:
		return nil, refused(path, kind)
	default:
		return leftOut{one.file, kind}, nil
	}
}

// KindOf returns the kind of the file f that is called name, and leaves f at its beginning.
func KindOf(name string, f io.ReadSeeker) (verifier.Kind, error) {
	start := make([]byte, verifier.KindStart)
	n, err := io.ReadFull(f, start)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return 0, err
	}
	_, err = f.Seek(0, io.SeekStart)
	return verifier.KindOf(name, start[:n]), err
}

// Ignored reports whether a file or folder of that name, a path with / between its
// parts, is one that macOS adds to what it copies, and no part of a history.
func Ignored(name string) bool { return verifier.KindOf(name, nil) == verifier.KindMacOS }

func refused(path string, kind verifier.Kind) error {
	return &Error{Path: path, Problem: "this is " + kind.What(), Hint: kind.Next()}
}

// CAR returns the source that reads a CAR from r; errors call it name.
func CAR(name string, r io.Reader) Source { return &carSource{name: name, input: r} }

func pathError(path string, err error) error {
	e := &Error{Path: path, Err: err}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		e.Problem, e.Hint = "no such file or folder", "check the path"
	case errors.Is(err, fs.ErrPermission):
		e.Problem, e.Hint = "permission denied", "check who may read it"
	default:
		var p *fs.PathError
		if errors.As(err, &p) {
			err = p.Err
		}
		e.Problem = "cannot be read: " + err.Error()
	}
	return e
}

func irregular(path string) error {
	return &Error{Path: path, Problem: "not a regular file", Hint: "a CAR can be piped in with the path -"}
}

type file struct {
	path string
	name string
}

// read reads the file into the memory of buf, or a larger one.
func (f *file) read(buf []byte) ([]byte, error) {
	b, err := readFile(f.path, buf[:cap(buf)])
	if err != nil {
		return nil, pathError(f.path, err)
	}
	if len(b) > verifier.MaxCheckpointSize {
		return nil, &Error{Path: f.path, Problem: "too large for a checkpoint, which has at most 64 MiB"}
	}
	return b, nil
}

// oneFile is a checkpoint by itself.
type oneFile struct{ file }

func (f oneFile) feed(r *run) error { return r.send(job{files: []file{f.file}}) }
func (f oneFile) finish() error     { return nil }

// leftOut is a file by itself that is no part of a history.
type leftOut struct {
	file
	kind verifier.Kind
}

func (f leftOut) feed(r *run) error {
	if r.leftFile == "" {
		r.leftFile, r.leftKind = f.path, f.kind
	}
	r.leaveOut(f.kind, f.name)
	return nil
}

func (f leftOut) finish() error { return nil }

type folder struct {
	path  string
	found bool
	batch []file
}

func (d *folder) feed(r *run) error {
	// A stack of folders, by their names below d.path: recursion could go as deep as a path is long.
	for todo := []string{""}; len(todo) > 0; {
		name := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		below, err := d.list(r, name)
		if err != nil {
			return err
		}
		todo = append(todo, below...)
	}
	if !d.found {
		return &Error{Path: d.path, Problem: "no " + Ext + " file in this folder or below it", Hint: "give the folder that has the checkpoints, or the .car file itself"}
	}
	return d.flush(r)
}

// list sends the checkpoints of one folder and returns the folders in it.
func (d *folder) list(r *run, name string) (below []string, err error) {
	path, prefix := d.path, ""
	if name != "" {
		path, prefix = d.path+string(os.PathSeparator)+name, name+"/"
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, pathError(path, err)
	}
	defer f.Close()
	for {
		entries, err := f.ReadDir(dirBatch)
		for _, e := range entries {
			full, inside := path+string(os.PathSeparator)+e.Name(), prefix+e.Name()
			if e.IsDir() {
				below = append(below, inside)
				continue
			}
			kind := verifier.KindOf(inside, nil)
			if !e.Type().IsRegular() {
				info, err := os.Stat(full)
				switch {
				case err == nil && info.IsDir():
					kind = verifier.KindFolderLink
				case kind != verifier.KindCheckpoint:
				case err != nil:
					return nil, pathError(full, err)
				case !info.Mode().IsRegular():
					return nil, irregular(full)
				}
			}
			if kind != verifier.KindCheckpoint {
				r.leaveOut(kind, inside)
				continue
			}
			d.found = true
			d.batch = append(d.batch, file{path: full, name: inside})
			if len(d.batch) == filesPerJob {
				if err := d.flush(r); err != nil {
					return nil, err
				}
			}
		}
		switch {
		case err == io.EOF:
			return below, nil
		case err != nil:
			return nil, pathError(path, err)
		}
	}
}

func (d *folder) flush(r *run) error {
	if len(d.batch) == 0 {
		return nil
	}
	j := job{files: d.batch}
	d.batch = make([]file, 0, filesPerJob)
	return r.send(j)
}

func (d *folder) finish() error { return nil }

type carSource struct {
	name   string
	input  io.Reader
	closer io.Closer
	reader verifier.CARReader
}

func (c *carSource) feed(r *run) error {
	if c.closer != nil {
		defer c.closer.Close()
	}
	for {
		var chunk []byte
		select {
		case chunk = <-r.chunks:
		default:
			chunk = make([]byte, chunkSize)
		}
		n, err := io.ReadFull(c.input, chunk)
		c.reader.Feed(chunk[:n])
		j := job{car: c, chunk: chunk}
		malformed := c.blocks(&j)
		if err := r.send(j); err != nil {
			return err
		}
		switch {
		case malformed != nil:
			r.sequence++ // the blocks before it come first
			return c.fail(malformed)
		case err == io.EOF || err == io.ErrUnexpectedEOF:
			return nil
		case err != nil:
			return pathError(c.name, err)
		}
	}
}

// blocks adds to the job the blocks that the last input completed.
func (c *carSource) blocks(j *job) error {
	for {
		b, ok, err := c.reader.Next()
		if !ok {
			return err
		}
		j.blocks = append(j.blocks, b)
	}
}

func (c *carSource) finish() error {
	if err := c.reader.Close(); err != nil {
		return c.fail(err)
	}
	return nil
}

func (c *carSource) fail(err error) error {
	return &Error{Path: c.name, Problem: err.Error(), Hint: "ask for the file again, or for the checkpoints themselves", Err: err}
}
