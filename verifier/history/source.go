package history

import (
	"errors"
	"hash/maphash"
	"io"
	"io/fs"
	"os"
	"slices"

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
	if err == nil && info.IsDir() {
		return &folder{path: path, seed: maphash.MakeSeed()}, nil
	}
	f, err := Open(path)
	if err != nil {
		return nil, err
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

// Open opens a regular file. What is none, also if it has become so just now, is an
// [*Error]: it could have no end, or wait for somebody who writes to it.
func Open(path string) (*os.File, error) {
	info, err := os.Stat(path)
	if err == nil && !info.Mode().IsRegular() {
		err = errIrregular // to open it could do something
	}
	var f *os.File
	if err == nil {
		f, err = open(path)
	}
	if err != nil {
		return nil, pathError(path, err)
	}
	if info, err = f.Stat(); err == nil && !info.Mode().IsRegular() {
		err = errIrregular
	}
	if err != nil {
		f.Close()
		return nil, pathError(path, err)
	}
	return f, nil
}

var errIrregular = errors.New("not a regular file")

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

// IsCheckpoint reports whether a file of that name in a folder is a checkpoint.
func IsCheckpoint(name string) bool { return verifier.KindOf(name, nil) == verifier.KindCheckpoint }

// Ignored reports whether a name is one that macOS gives to what it adds to a folder
// that it copies. Such a file is no part of a life, whatever its name ends in.
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
	case err == errIrregular:
		return irregular(path)
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
	path   string
	name   string
	listed bool // in a folder
}

// errGone says that a file is not there any more that was listed.
var errGone = errors.New("it is not there any more")

// read reads the file into the memory of buf, or a larger one.
func (f *file) read(buf []byte) ([]byte, error) {
	b, err := readFile(f.path, buf[:cap(buf)])
	if f.listed && gone(f.path, err) {
		return nil, errGone
	}
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
	r.leaveOut(f.kind, f.path, f.name)
	return nil
}

func (f leftOut) finish() error { return nil }

// An Entry is a file in a folder or below it.
type Entry struct {
	Path string
	Name string // inside the folder, with / between the parts
	Kind verifier.Kind

	// Segment says that it is a segment of the history, a CAR that is read with the
	// checkpoints.
	Segment bool
}

// Walk calls each with all that is in a folder and below it, but for the folders
// themselves, each of the kind that its name gives. It follows links to files and
// none to folders. What is of one of the kinds that are to be read, and is no regular
// file, is an [*Error]; so is a folder that cannot be read. All that reads folders
// reads them by this, so that everything sees the same history.
func Walk(folder string, each func(Entry) error, read ...verifier.Kind) error {
	// A stack of folders, by their names below it: recursion could go as deep as a path is long.
	for todo := []string{""}; len(todo) > 0; {
		name := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		below, err := list(folder, name, each, read)
		if err != nil {
			return err
		}
		todo = append(todo, below...)
	}
	return nil
}

type folder struct {
	path  string
	found bool
	batch []file
	cars  []*carSource // of this pass

	listed func() // for tests: called once it was listed

	again bool // it was listed before
	seed  maphash.Seed
	seen  []uint64 // of every checkpoint and segment, its name's hash
}

// folders returns the folders among sources, to be listed again.
func folders(sources []Source) (all []Source) {
	for _, s := range sources {
		if d, ok := s.(*folder); ok {
			d.again = true
			all = append(all, d)
		}
	}
	return all
}

func (d *folder) feed(r *run) error {
	slices.Sort(d.seen)
	before := d.seen
	err := Walk(d.path, func(e Entry) error {
		if e.Kind != verifier.KindCheckpoint && !e.Segment {
			if !d.again {
				r.leaveOut(e.Kind, e.Path, e.Name)
			}
			return nil
		}
		name := maphash.String(d.seed, e.Name)
		if _, ok := slices.BinarySearch(before, name); ok && d.again {
			return nil
		}
		d.seen = append(d.seen, name)
		d.found = true
		if e.Segment {
			return d.segment(r, e.Path)
		}
		d.batch = append(d.batch, file{path: e.Path, name: e.Name, listed: true})
		if len(d.batch) < filesPerJob {
			return nil
		}
		return d.flush(r)
	}, verifier.KindCheckpoint)
	if err != nil {
		return err
	}
	if !d.found {
		return &Error{Path: d.path, Problem: "no " + Ext + " file in this folder or below it", Hint: "give the folder that has the checkpoints, or the .car file itself"}
	}
	if d.listed != nil && !d.again {
		d.listed()
	}
	return d.flush(r)
}

// segment reads a segment of the history.
func (d *folder) segment(r *run, path string) error {
	f, err := Open(path)
	if gone(path, err) {
		return nil
	}
	if err != nil {
		return err
	}
	c := &carSource{name: path, input: f, closer: f}
	d.cars = append(d.cars, c)
	return c.feed(r)
}

// gone reports whether a file is not there any more that was listed: an agent that lives
// puts its checkpoints together, and what is missing then is found when the folder is
// listed again.
func gone(path string, err error) bool {
	if !errors.Is(err, fs.ErrNotExist) {
		return false
	}
	_, err = os.Lstat(path)
	return errors.Is(err, fs.ErrNotExist)
}

// list calls each with the files of one folder and returns the folders in it.
func list(root, name string, each func(Entry) error, read []verifier.Kind) (below []string, err error) {
	path, prefix := root, ""
	if name != "" {
		path, prefix = root+string(os.PathSeparator)+name, name+"/"
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
			kind, segment := verifier.KindOf(inside, nil), verifier.IsSegment(inside)
			if !e.Type().IsRegular() {
				info, err := os.Stat(full)
				switch {
				case err == nil && info.IsDir():
					kind, segment = verifier.KindFolderLink, false
				case !slices.Contains(read, kind) && !(segment && slices.Contains(read, verifier.KindCheckpoint)):
				case err != nil:
					return nil, pathError(full, err)
				case !info.Mode().IsRegular():
					return nil, irregular(full)
				}
			}
			if err := each(Entry{full, inside, kind, segment}); err != nil {
				return nil, err
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

func (d *folder) finish() error {
	for _, c := range d.cars {
		if err := c.finish(); err != nil {
			return err
		}
	}
	d.cars = nil
	return nil
}

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
	for first := true; ; {
		var chunk []byte
		select {
		case chunk = <-r.chunks:
		default:
			chunk = make([]byte, chunkSize)
		}
		n, err := io.ReadFull(c.input, chunk)
		if first {
			first = false
			if kind := verifier.KindOfBytes(chunk[:min(n, verifier.KindStart)]); kind == verifier.KindCheckpoint {
				return &Error{Path: c.name, Problem: "this is a checkpoint, and no CAR", Hint: "give it as a file whose name ends in " + Ext}
			} else if kind.Use() == verifier.Refuse {
				return refused(c.name, kind)
			}
		}
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
