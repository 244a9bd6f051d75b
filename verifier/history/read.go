package history

import (
	"io"
	"os"

	"igor.dev/verifier"
)

// readFile reads a file into buf, or into a larger buffer, up to one byte more
// than a checkpoint can have.
func readFile(path string, buf []byte) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if len(buf) == 0 {
		buf = make([]byte, 64<<10)
	}
	n := 0
	for {
		m, err := f.Read(buf[n:])
		n += m
		switch {
		case err == io.EOF || n > verifier.MaxCheckpointSize:
			return buf[:n], nil
		case err != nil:
			return nil, err
		case n == len(buf):
			larger := make([]byte, min(2*len(buf), verifier.MaxCheckpointSize+1))
			copy(larger, buf)
			buf = larger
		}
	}
}
