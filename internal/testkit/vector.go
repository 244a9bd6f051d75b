package testkit

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Vector is one scenario with its expected outcome; testdata/vectors/README.md says what
// the fields mean.
type Vector struct {
	Name        string            `json:"-"`
	Dir         string            `json:"-"`
	Description string            `json:"description"`
	Args        Args              `json:"args,omitzero"`
	Inputs      []string          `json:"inputs"`
	Names       map[string]string `json:"names,omitempty"`
	Expect      Expect            `json:"expect"`
}

// Args are what the caller pins; an empty one is not pinned.
type Args struct {
	DID  string `json:"did,omitempty"`
	Head string `json:"head,omitempty"`
}

// Expect is what a verifier has to say. With exit code 2 there is no verdict, and only
// Exit and Error are set.
type Expect struct {
	Verdict     string   `json:"verdict"`
	Exit        int      `json:"exit"`
	Codes       []string `json:"codes"`
	DID         string   `json:"did"`
	Checkpoints int      `json:"checkpoints"`
	Duplicates  int      `json:"duplicates"`
	Error       string   `json:"error"`

	Lives       []int          `json:"lives"`
	NotLookedAt map[string]int `json:"notLookedAt"`
	Accused     []string       `json:"accused"`
}

// Paths returns the vector's inputs as paths.
func (v Vector) Paths() []string {
	paths := make([]string, len(v.Inputs))
	for i, in := range v.Inputs {
		paths[i] = filepath.Join(v.Dir, filepath.FromSlash(in))
	}
	return paths
}

// CopyTo copies the vector's files into the folder dir, under the names that Names gives
// them, and returns the vector that lies there. It is how the names that no repository
// can carry come to be tested.
func (v Vector) CopyTo(dir string) (Vector, error) {
	err := filepath.WalkDir(v.Dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(v.Dir, path)
		if err != nil {
			return err
		}
		to := filepath.ToSlash(rel)
		if name, ok := v.Names[to]; ok {
			to = name
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		to = filepath.Join(dir, filepath.FromSlash(to))
		if err := os.MkdirAll(filepath.Dir(to), 0o777); err != nil {
			return err
		}
		return os.WriteFile(to, b, 0o666)
	})
	v.Dir = dir
	return v, err
}

// LoadVectors loads every vector of the folder dir. A folder without vectors is an error,
// so that no test passes by finding nothing.
func LoadVectors(dir string) ([]Vector, error) {
	return load(dir, "vector.json", func(b []byte, v *Vector) error { return decode(b, v) })
}

// LoadHistories loads every folder of dir with an EXPECT.json as a vector. A folder without
// any is an error.
func LoadHistories(dir string) ([]Vector, error) {
	return load(dir, "EXPECT.json", func(b []byte, v *Vector) error {
		v.Inputs = []string{"."}
		return decode(b, &v.Expect)
	})
}

func load(dir, file string, parse func([]byte, *Vector) error) ([]Vector, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var vectors []Vector
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		v := Vector{Name: e.Name(), Dir: filepath.Join(dir, e.Name())}
		b, err := os.ReadFile(filepath.Join(v.Dir, file))
		if err != nil {
			return nil, err
		}
		if err := parse(b, &v); err != nil {
			return nil, fmt.Errorf("%s/%s: %w", v.Name, file, err)
		}
		if err := v.check(); err != nil {
			return nil, fmt.Errorf("%s/%s: %w", v.Name, file, err)
		}
		vectors = append(vectors, v)
	}
	if len(vectors) == 0 {
		return nil, fmt.Errorf("no vectors in %s", dir)
	}
	return vectors, nil
}

func decode(b []byte, to any) error {
	d := json.NewDecoder(strings.NewReader(string(b)))
	d.DisallowUnknownFields()
	if err := d.Decode(to); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("more than one JSON value")
	}
	return nil
}

// check refuses an expectation that contradicts itself.
func (v *Vector) check() error {
	exit, ok := map[string]int{"verified": 0, "invalid": 1, "": 2, "incomplete": 3}[v.Expect.Verdict]
	switch {
	case !ok:
		return fmt.Errorf("unknown verdict %q", v.Expect.Verdict)
	case exit != v.Expect.Exit:
		return fmt.Errorf("verdict %q with exit code %d", v.Expect.Verdict, v.Expect.Exit)
	case exit == 2:
		return nil
	case (exit == 0) != (len(v.Expect.Codes) == 0):
		return fmt.Errorf("verdict %q with codes %q", v.Expect.Verdict, v.Expect.Codes)
	case v.Expect.Checkpoints == 0:
		return errors.New("a verdict on no checkpoint")
	}
	return nil
}
