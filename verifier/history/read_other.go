//go:build !unix

package history

import "os"

// readFile reads a regular file as readAll does.
func readFile(path string, buf []byte) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readAll(f, buf)
}
