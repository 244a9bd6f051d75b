package history

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"strings"

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
// *.ckpt files with everything below it; a CAR, by the ending .car; or else one
// checkpoint.
func Path(path string) (Source, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, pathError(path, err)
	case info.IsDir():
		return &folder{path: path}, nil
	case !info.Mode().IsRegular():
		return nil, irregular(path)
	case strings.HasSuffix(path, ".car"):
		f, err := os.Open(path)
		if err != nil {
			return nil, pathError(path, err)
		}
		return &carSource{name: path, input: f, closer: f}, nil
	}
	return oneFile{path: path, name: info.Name()}, nil
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

type oneFile file

func (f oneFile) feed(r *run) error { return r.send(job{files: []file{file(f)}}) }
func (f oneFile) finish() error     { return nil }

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
			full := path + string(os.PathSeparator) + e.Name()
			switch {
			case e.IsDir():
				below = append(below, prefix+e.Name())
				continue
			case !strings.HasSuffix(e.Name(), Ext):
				continue
			case !e.Type().IsRegular():
				if info, err := os.Stat(full); err != nil {
					return nil, pathError(full, err)
				} else if !info.Mode().IsRegular() {
					return nil, irregular(full)
				}
			}
			d.found = true
			d.batch = append(d.batch, file{path: full, name: prefix + e.Name()})
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
