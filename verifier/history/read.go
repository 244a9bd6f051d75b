package history

import (
	"io"

	"igor.dev/verifier"
)

const firstBuffer = 64 << 10

// readAll reads r to its end into buf, or into a larger buffer, up to one byte
// more than a checkpoint can have.
func readAll(r io.Reader, buf []byte) ([]byte, error) {
	if len(buf) == 0 {
		buf = make([]byte, firstBuffer)
	}
	n := 0
	for {
		m, err := r.Read(buf[n:])
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
