// Command genwitness writes testdata/witness. Every expectation is stated by hand, from
// docs/spec/heads.md, forkproof.md and succession.md; nothing here verifies.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	dir, err := vectorsDir()
	if err == nil {
		err = write(dir, files())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "genwitness:", err)
		os.Exit(1)
	}
}

// vectorsDir finds testdata/witness of the module around the working directory.
func vectorsDir() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return filepath.Join(dir, "testdata", "witness"), nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("no go.mod above the working directory; run it inside the module")
		}
		dir = parent
	}
}

// write makes dir hold exactly these vectors.
func write(dir string, files map[string][]byte) error {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	old, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		return err
	}
	for _, name := range old {
		if err := os.Remove(name); err != nil {
			return err
		}
	}
	for name, b := range files {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o666); err != nil {
			return err
		}
	}
	return nil
}

func files() map[string][]byte {
	all := make(map[string][]byte)
	for _, v := range vectors() {
		b, err := json.MarshalIndent(v, "", "  ")
		if err != nil {
			panic(err)
		}
		name := v.Kind + "-" + v.name + ".json"
		if all[name] != nil {
			panic(name + " twice")
		}
		all[name] = append(b, '\n')
	}
	return all
}

// A vector is one case; testdata/witness/README.md says what the fields mean.
type vector struct {
	name        string
	Description string   `json:"description"`
	Kind        string   `json:"kind"`
	File        string   `json:"file,omitempty"`
	Policy      string   `json:"policy,omitempty"`
	Checkpoints []string `json:"checkpoints,omitempty"`
	Proof       string   `json:"proof,omitempty"`
	Monitor     string   `json:"monitor,omitempty"`
	Word        string   `json:"word,omitempty"`
	Require     bool     `json:"require,omitempty"`
	Succession  string   `json:"succession,omitempty"`
	Commitment  string   `json:"commitment,omitempty"`
	Old         []string `json:"old,omitempty"`
	Expect      outcome  `json:"expect"`
}

type outcome struct {
	Exit      int      `json:"exit"`
	DID       string   `json:"did,omitempty"`
	ForkKind  string   `json:"forkKind,omitempty"`
	Ticks     []string `json:"ticks,omitempty"`
	Witnessed []bool   `json:"witnessed,omitempty"`

	Problem   bool     `json:"problem,omitempty"` // the member has a problem
	Tick      string   `json:"tick,omitempty"`
	Before    string   `json:"before,omitempty"`
	Cosigners []string `json:"cosigners,omitempty"`
	Latest    string   `json:"latest,omitempty"` // as a monitor says
	Forks     string   `json:"forks,omitempty"`
	Life      string   `json:"life,omitempty"`
}
