package archive

import (
	"bytes"
	"os"
	"path/filepath"
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

// FuzzRecords reads the records of a target, which may be damaged: what is taken has a key
// that can be one, and a last line that was cut off never counted.
func FuzzRecords(f *testing.F) {
	f.Add([]byte("{\"target\":\"/mnt/lives\"}\n{\"key\":\"segments/0.car\",\"stage\":\"final\"}\n{\"key\":\"ind"))
	f.Add([]byte("{}\n{}\n"))
	f.Add([]byte("\n\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		path := filepath.Join(t.TempDir(), "to-x")
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		_, all, lines, err := readRecords(path)
		if lines > bytes.Count(b, []byte("\n")) {
			t.Errorf("%d lines of %q", lines, b)
		}
		for key, r := range all {
			if err == nil && (CheckKey(key) != nil || r.Key != key || r.Stage > Lost) {
				t.Errorf("a record of %q: %+v", key, r)
			}
		}
	})
}
