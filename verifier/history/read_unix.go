//go:build unix

package history

import (
	"io"
	"io/fs"
	"syscall"
)

// readFile reads a regular file as readAll does. It makes three system calls
// where os.Open, Read and Close make six, which for a folder of small checkpoints
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
	return b, nil
}

// A rawFile reads a regular file, where fewer bytes than asked for mean its end.
type rawFile struct {
	fd  int
	end bool
}

func (f *rawFile) Read(p []byte) (int, error) {
	if f.end {
		return 0, io.EOF
	}
	n, err := retry(func() (int, error) { return syscall.Read(f.fd, p) })
	if err != nil {
		return 0, err
	}
	if n < len(p) {
		f.end = true
		return n, io.EOF
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
