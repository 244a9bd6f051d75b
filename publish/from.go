package publish

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"igor.dev/verifier/published"
)

// A from is a server or a folder that has published lives.
type from interface {
	String() string // for people
	// open opens the file with a key, from an offset on if it can.
	open(ctx context.Context, key string, offset, limit int64) (*answer, error)
	close()
}

// newFrom returns what --from names: an address, or a folder.
func newFrom(s string, c *client) (from, error) {
	if !strings.Contains(s, "://") {
		if info, err := os.Stat(s); err == nil && info.IsDir() {
			root, err := os.OpenRoot(s)
			if err != nil {
				return nil, err
			}
			return &folder{s, root}, nil
		}
	}
	u, err := parseBase(s)
	if err != nil {
		return nil, err
	}
	if u.RawQuery != "" {
		return nil, problem(s, "give the server’s address alone, such as https://HOST/", "an address to fetch from has no ? in it")
	}
	if i := strings.Index(u.Path, "/igor/did:"); i >= 0 {
		u.Path, u.RawPath = u.Path[:i]+"/", ""
	}
	return &server{u, c}, nil
}

// A server is one that speaks HTTP.
type server struct {
	base *url.URL
	*client
}

func (s *server) String() string { return s.base.Redacted() }
func (s *server) close()         { s.http.CloseIdleConnections() }

func (s *server) open(ctx context.Context, key string, offset, limit int64) (*answer, error) {
	u := s.base.JoinPath(strings.Split(key, "/")...)
	accept := ""
	if strings.HasPrefix(key, "ipfs/") {
		u.RawQuery, accept = "format=raw", published.TypeRaw
	}
	return s.get(ctx, u, accept, offset, limit)
}

// A folder is one on this machine.
type folder struct {
	path string
	root *os.Root
}

func (f *folder) String() string { return f.path }
func (f *folder) close()         { f.root.Close() }

func (f *folder) open(_ context.Context, key string, offset, limit int64) (*answer, error) {
	file, err := openRegular(f.root, filepath.FromSlash(key))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &statusError{code: 404}
	} else if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err == nil && info.Size() > limit {
		err = errTooLarge
	}
	if err == nil {
		_, err = file.Seek(offset, io.SeekStart)
	}
	if err != nil {
		file.Close()
		return nil, err
	}
	return &answer{file, offset, info.Size()}, nil
}

const attempts = 5 // without a byte in between

// again calls try until it succeeds, or fails for good.
func again(ctx context.Context, try func() (more bool, err error)) error {
	for attempt := 1; ; attempt++ {
		more, err := try()
		if err == nil || ctx.Err() != nil {
			return err
		}
		wait, ok := temporary(err)
		if more {
			attempt = 0 // it goes on
		}
		if !ok || attempt >= attempts {
			return err
		}
		select {
		case <-time.After(max(wait, time.Duration(attempt*attempt)*pause)):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

var pause = 250 * time.Millisecond // a variable for tests

// small reads a small file whole.
func small(ctx context.Context, f from, key string, limit int64) (b []byte, err error) {
	err = again(ctx, func() (bool, error) {
		a, err := f.open(ctx, key, 0, limit)
		if err != nil {
			return false, err
		}
		defer a.Close()
		b, err = io.ReadAll(a)
		if err == nil && a.size >= 0 && int64(len(b)) < a.size {
			err = io.ErrUnexpectedEOF
		}
		return false, err
	})
	return b, err
}

// download copies a file to where name says, going on where an earlier try ended. It is
// there under its name only once it is whole.
func download(ctx context.Context, f from, key, name string, limit int64, count func(int)) error {
	if _, err := os.Stat(name); err == nil {
		return nil
	}
	part, err := os.OpenFile(name+".part", os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	defer part.Close()
	size, err := part.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	err = again(ctx, func() (more bool, err error) {
		a, err := f.open(ctx, key, size, limit)
		if status, ok := errors.AsType[*statusError](err); ok && status.code == 416 && size > 0 {
			// What there is is all, or is of another file: begin anew.
			size = 0
			if err := part.Truncate(0); err != nil {
				return false, err
			}
			a, err = f.open(ctx, key, 0, limit)
		}
		if err != nil {
			return false, err
		}
		defer a.Close()
		if a.offset != size { // it knows no ranges
			if size = a.offset; size > 0 {
				return false, errTooLarge
			}
			if err := part.Truncate(0); err != nil {
				return false, err
			}
		}
		if _, err := part.Seek(size, io.SeekStart); err != nil {
			return false, err
		}
		n, err := io.Copy(part, &counting{a, count})
		size += n
		if err == nil && a.size >= 0 && size < a.size {
			err = io.ErrUnexpectedEOF
		}
		return n > 0, err
	})
	if err != nil {
		return err
	}
	if err := part.Close(); err != nil {
		return err
	}
	return os.Rename(name+".part", name)
}

type counting struct {
	io.Reader
	count func(int)
}

func (c *counting) Read(b []byte) (int, error) {
	n, err := c.Reader.Read(b)
	c.count(n)
	return n, err
}
