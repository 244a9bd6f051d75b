//go:build unix

package history

import (
	"bytes"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// A read that returns fewer bytes than were asked for is not the end of a file: a
// pipe gives what there is, as FUSE and network file systems may.
func TestShortReads(t *testing.T) {
	want := bytes.Repeat([]byte("0123456789abcdef"), 10_000)
	var fds [2]int
	if err := syscall.Pipe(fds[:]); err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(fds[0])
	go func() {
		defer syscall.Close(fds[1])
		for rest := want; len(rest) > 0; {
			n := min(100, len(rest))
			if _, err := syscall.Write(fds[1], rest[:n]); err != nil {
				return
			}
			rest = rest[n:]
		}
	}()
	got, err := readAll(&rawFile{fd: fds[0]}, nil)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("read %d bytes of %d: %v", len(got), len(want), err)
	}
}

// What became a pipe after it was listed is not taken for an empty checkpoint, and is not
// waited for.
func TestPipeInstead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "0000000001.ckpt")
	if err := syscall.Mkfifo(path, 0o666); err != nil {
		t.Skip(err)
	}
	if b, err := readFile(path, nil); err == nil {
		t.Errorf("a pipe without a writer is read: %q", b)
	}
	w, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if b, err := readFile(path, nil); err == nil {
		t.Errorf("a pipe without data is read: %q", b)
	}
	f, err := open(path) // does not wait
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	if f, err := Open(path); err == nil {
		f.Close()
		t.Error("a pipe is opened")
	}
}
