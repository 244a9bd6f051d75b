package archive

import (
	"bytes"
	"testing"
)

// FuzzCut reads a line of the records of where a life was cut.
func FuzzCut(f *testing.F) {
	c := Cut{N: 1, First: 2, Last: 3, Checkpoints: 1, Size: 400, Root: [32]byte{1}}
	line, err := c.line()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(line)
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := parseCut(b)
		if err != nil {
			return
		}
		line, err := c.line()
		if err != nil {
			t.Fatal(err)
		}
		again, err := parseCut(line)
		if err != nil {
			t.Fatal(err)
		}
		if second, _ := again.line(); !bytes.Equal(line, second) {
			t.Errorf("%s is written as %s", line, second)
		}
	})
}
