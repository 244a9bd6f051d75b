// Command genvectors writes testdata/vectors. Every expectation is stated by hand, from
// docs/spec; nothing here verifies.
package main

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"igor.dev/internal/testkit"
)

func main() {
	dir, err := vectorsDir()
	if err == nil {
		err = write(dir, vectors())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "genvectors:", err)
		os.Exit(1)
	}
}

// vectorsDir finds testdata/vectors of the module around the working directory.
func vectorsDir() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return filepath.Join(dir, "testdata", "vectors"), nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("no go.mod above the working directory; run it inside the module")
		}
		dir = parent
	}
}

// write makes dir hold exactly these vectors, beside the files at its top.
func write(dir string, vs []vector) error {
	old, err := filepath.Glob(filepath.Join(dir, "*", "vector.json"))
	if err != nil {
		return err
	}
	for _, file := range old {
		if err := os.RemoveAll(filepath.Dir(file)); err != nil {
			return err
		}
	}
	for name, b := range tree(vs) {
		to := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(to), 0o777); err != nil {
			return err
		}
		if err := os.WriteFile(to, b, 0o666); err != nil {
			return err
		}
	}
	return nil
}

// tree returns the vectors' files by their path inside testdata/vectors.
func tree(vs []vector) map[string][]byte {
	all := make(map[string][]byte)
	for _, v := range vs {
		if _, ok := all[v.name+"/vector.json"]; ok {
			panic("two vectors are named " + v.name)
		}
		all[v.name+"/vector.json"] = v.json()
		for name, b := range v.files {
			all[path.Join(v.name, name)] = b
		}
	}
	return all
}

// read returns the files that lie in the folders of dir, likewise.
func read(dir string) (map[string][]byte, error) {
	all := make(map[string][]byte)
	err := filepath.WalkDir(dir, func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, file)
		if err != nil || !strings.ContainsRune(rel, filepath.Separator) {
			return err
		}
		all[filepath.ToSlash(rel)], err = os.ReadFile(file)
		return err
	})
	return all, err
}

type files map[string][]byte

// vector is a testkit.Vector on its way to disk.
type vector struct {
	name, description string
	args              testkit.Args
	inputs            []string
	names             map[string]string
	files             files
	expect            any // outcome or refusal
}

// outcome is the expectation of a verdict; it writes even its zero counts.
type outcome struct {
	Verdict     string   `json:"verdict"`
	Exit        int      `json:"exit"`
	Codes       []string `json:"codes"`
	DID         string   `json:"did,omitempty"`
	Checkpoints int      `json:"checkpoints"`
	Duplicates  int      `json:"duplicates"`

	Lives       []int          `json:"lives,omitempty"`
	NotLookedAt map[string]int `json:"notLookedAt,omitempty"`
	Accused     []string       `json:"accused,omitempty"`
}

// refusal is the expectation of no verdict.
type refusal struct {
	Exit  int    `json:"exit"`
	Error string `json:"error"`
}

func (v vector) json() []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	err := e.Encode(struct {
		Description string            `json:"description"`
		Args        testkit.Args      `json:"args,omitzero"`
		Inputs      []string          `json:"inputs"`
		Names       map[string]string `json:"names,omitempty"`
		Expect      any               `json:"expect"`
	}{v.description, v.args, v.inputs, v.names, v.expect})
	if err != nil {
		panic(err)
	}
	return b.Bytes()
}

func (o outcome) duplicates(n int) outcome { o.Duplicates = n; return o }

// lives says how many authentic checkpoints are by each key.
func (o outcome) lives(n ...int) outcome { o.Lives = n; return o }

// accused names the files of the problems, in their order.
func (o outcome) accused(names ...string) outcome { o.Accused = names; return o }

// beside says how many files of a kind are not looked at.
func (o outcome) beside(kind string, files int) outcome {
	o.NotLookedAt = maps.Clone(o.NotLookedAt)
	if o.NotLookedAt == nil {
		o.NotLookedAt = make(map[string]int)
	}
	o.NotLookedAt[kind] = files
	return o
}

func verified(did string, n int) outcome {
	return outcome{Verdict: "verified", Codes: []string{}, DID: did, Checkpoints: n}
}

func invalid(did string, n int, codes ...string) outcome {
	return outcome{Verdict: "invalid", Exit: 1, Codes: codes, DID: did, Checkpoints: n}
}

func incomplete(did string, n int, codes ...string) outcome {
	return outcome{Verdict: "incomplete", Exit: 3, Codes: codes, DID: did, Checkpoints: n}
}

func refused(why string) refusal { return refusal{2, why} }

// folder names checkpoints as writers do; those that share a tick number get -b, -c ….
func folder(checkpoints ...[]byte) files {
	f := make(files)
	for _, c := range checkpoints {
		name := strings.TrimSuffix(testkit.FileName(c), ".ckpt")
		suffix := ""
		for i := 'b'; f[path.Join("history", name+suffix+".ckpt")] != nil; i++ {
			suffix = "-" + string(i)
		}
		f[path.Join("history", name+suffix+".ckpt")] = c
	}
	return f
}

// with adds a file to the history folder.
func (f files) with(name string, b []byte) files {
	f["history/"+name] = b
	return f
}

// set collects vectors.
type set []vector

// folder adds a vector of a folder of checkpoints.
func (s *set) folder(name, description string, f files, expect any) {
	s.pinned(name, description, testkit.Args{}, f, expect)
}

// pinned adds a vector of a folder of checkpoints, with pins.
func (s *set) pinned(name, description string, args testkit.Args, f files, expect any) {
	*s = append(*s, vector{name: name, description: description, args: args, inputs: []string{"history"}, files: f, expect: expect})
}

// car adds a vector of one CAR.
func (s *set) car(name, description string, car []byte, expect any) {
	*s = append(*s, vector{name: name, description: description, inputs: []string{"history.car"}, files: files{"history.car": car}, expect: expect})
}

// flip returns the checkpoints with some bits of one byte of one of them flipped.
func flip(checkpoints [][]byte, i, offset int, bits byte) [][]byte {
	return replace(checkpoints, i, flipByte(checkpoints[i], offset, bits))
}

func flipByte(b []byte, offset int, bits byte) []byte {
	b = slices.Clone(b)
	b[offset] ^= bits
	return b
}

// replace returns the checkpoints with another one in place of number i.
func replace(checkpoints [][]byte, i int, c []byte) [][]byte {
	checkpoints = slices.Clone(checkpoints)
	checkpoints[i] = c
	return checkpoints
}

// without returns the checkpoints without those numbers.
func without(checkpoints [][]byte, numbers ...int) [][]byte {
	var kept [][]byte
	for i, c := range checkpoints {
		if !slices.Contains(numbers, i) {
			kept = append(kept, c)
		}
	}
	return kept
}

func unhex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}
