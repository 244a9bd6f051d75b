//go:build !unix

package history

import "os"

func open(path string) (*os.File, error) { return os.Open(path) }

// readFile reads a regular file as readAll does.
func readFile(path string, buf []byte) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readAll(f, buf)
}
