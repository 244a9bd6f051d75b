//go:build unix

package reference_test

import (
	"bytes"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"igor.dev/internal/verifycli"
)

// TestSpecialFiles gives verify.py folders with links, a device and a pipe, as the tests of package history do.
func TestSpecialFiles(t *testing.T) {
	genesis := unhex(t, block(t, "checkpoint.md", "hex genesis"))
	successor := unhex(t, block(t, "lineage.md", "hex successor"))
	link := func(to string) func(string) error { return func(path string) error { return os.Symlink(to, path) } }
	var cases []testCase
	did := "did:key:z6MkehRgf7yJbgaGfYsdoAsKdBPE3dj2CYhowQdcjqSJgvVd"
	for _, special := range []struct {
		name, file string
		make       func(path string) error
		left       map[string]int // nil: no verdict
	}{
		{"a link to a file", "x.ckpt", link("../more/0000000009.ckpt"), map[string]int{}},
		{"a link to a folder", "more", link("../more"), map[string]int{"folder-link": 1}},
		{"a link to a folder, named as a checkpoint", "more.ckpt", link("../more"), map[string]int{"folder-link": 1}},
		{"a link that leads nowhere", "x.ckpt", link("../nowhere"), nil},
		{"a link that leads nowhere, under another name", "x", link("../nowhere"), map[string]int{"other": 1}},
		{"a device", "x.ckpt", link("/dev/zero"), nil},
		{"a device under another name", "x", link("/dev/zero"), map[string]int{"other": 1}},
		{"a pipe", "x.ckpt", func(path string) error { return syscall.Mkfifo(path, 0o666) }, nil},
		{"a pipe under another name", "receipts", func(path string) error { return syscall.Mkfifo(path, 0o666) }, map[string]int{"receipts": 1}},
	} {
		dir := t.TempDir()
		for _, folder := range []string{"life", "more"} {
			if err := os.Mkdir(filepath.Join(dir, folder), 0o777); err != nil {
				t.Fatal(err)
			}
		}
		write(t, filepath.Join(dir, "life", "0000000004.ckpt"), genesis)
		write(t, filepath.Join(dir, "life", "0000000009.ckpt"), successor)
		write(t, filepath.Join(dir, "more", "0000000009.ckpt"), successor)
		if err := special.make(filepath.Join(dir, "life", special.file)); err != nil {
			t.Fatal(err)
		}
		c := testCase{name: special.name, Dir: dir, Args: []string{"life"}, expect: expectation{Exit: 2}}
		if special.left != nil {
			c.expect = expectation{Verdict: "verified", DID: did, Checkpoints: 2, NotLookedAt: special.left}
			if special.name == "a link to a file" {
				c.expect.Duplicates = 1
			}
		}
		cases = append(cases, c)

		// What the command says of the same.
		var out, errs bytes.Buffer
		code := verifycli.Main("igor-verify", []string{"--format", "json", filepath.Join(dir, "life")}, nil, &out, &errs)
		printed := outcome{Exit: &code, Stdout: out.String(), Stderr: errs.String()}
		t.Run(special.name+", igor-verify", func(t *testing.T) { compare(t, printed, c.expect) })
	}
	check(t, cases)
}
