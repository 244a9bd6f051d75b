//go:build unix

package history

import (
	"io"
	"io/fs"
	"os"
	"syscall"
)

// readFile reads a regular file as readAll does. It makes four system calls
// where os.Open, Read and Close make seven, which for a folder of small checkpoints
// is as long as it takes to verify them.
func readFile(path string, buf []byte) ([]byte, error) {
	// Should the file have become a pipe meanwhile, neither call waits for its writer.
	fd, err := retry(func() (int, error) {
		return syscall.Open(path, syscall.O_RDONLY|syscall.O_CLOEXEC|syscall.O_NONBLOCK, 0)
	})
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	f := &rawFile{fd: fd}
	defer syscall.Close(fd)
	b, err := readAll(f, buf)
	if err != nil {
		return nil, &fs.PathError{Op: "read", Path: path, Err: err}
	}
	if len(b) == 0 {
		// A pipe that nobody writes to ends at once, too: that is no empty checkpoint.
		var info syscall.Stat_t
		if err := syscall.Fstat(fd, &info); err != nil {
			return nil, &fs.PathError{Op: "stat", Path: path, Err: err}
		} else if info.Mode&syscall.S_IFMT != syscall.S_IFREG {
			return nil, errIrregular
		}
	}
	return b, nil
}

// open opens a file, and does not wait for the writer of a pipe.
func open(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
}

// A rawFile reads a file. That fewer bytes come than were asked for says nothing: a
// file system may give a file in pieces of any size. Only none is the end.
type rawFile struct {
	fd int
}

func (f *rawFile) Read(p []byte) (int, error) {
	n, err := retry(func() (int, error) { return syscall.Read(f.fd, p) })
	switch {
	case err != nil:
		return 0, err
	case n == 0 && len(p) > 0:
		return 0, io.EOF
	}
	return n, nil
}

func retry(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if err != syscall.EINTR {
			return n, err
		}
	}
}
