// Command genreplay writes testdata/replay: lives to be run again, each with what a
// replay has to report. The lives and the reports are stated by hand, from
// docs/spec/eventlog.md and docs/spec/replay.md; nothing here runs an agent.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

func main() {
	dir, err := replayDir()
	if err == nil {
		err = write(dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "genreplay:", err)
		os.Exit(1)
	}
}

// replayDir finds testdata/replay of the module around the working directory.
func replayDir() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return filepath.Join(dir, "testdata", "replay"), nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("no go.mod above the working directory; run it inside the module")
		}
		dir = parent
	}
}

// write makes the folders of dir hold exactly these vectors. What is in no folder (the
// agent, the README) is there already, and stays.
func write(dir string) error {
	want, err := tree(dir)
	if err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.IsDir() {
			if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	for name, b := range want {
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

// tree returns the vectors' files by their path inside dir.
func tree(dir string) (map[string][]byte, error) {
	wasm, err := os.ReadFile(filepath.Join(dir, "agent.wasm"))
	if err != nil {
		return nil, err
	}
	all := make(map[string][]byte)
	for _, v := range vectors(wasm) {
		b, err := json.MarshalIndent(v, "", "  ")
		if err != nil {
			return nil, err
		}
		v.files["replay.json"] = append(b, '\n')
		for name, b := range v.files {
			name = path.Join(v.name, name)
			if all[name] != nil {
				panic(name + " twice")
			}
			all[name] = b
		}
	}
	return all, nil
}

// read returns the files that are in the folders of dir, likewise.
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

// A vector is one folder.
type vector struct {
	name        string
	files       map[string][]byte
	Description string   `json:"description"`
	Args        []string `json:"args"` // of igor replay, in the vector's folder
	Exit        int      `json:"exit"`
	Report      *report  `json:"report,omitempty"` // absent: no verdict
	Error       string   `json:"error,omitempty"`
}

// A report is what is stated of one; what is in words binds nobody, and is not.
type report struct {
	Format       string    `json:"format"`
	Verdict      string    `json:"verdict"`
	DID          string    `json:"did"`
	Lineage      string    `json:"lineage"`
	WASM         string    `json:"wasmHash"`
	FirstTick    uint64    `json:"firstTick,string"`
	LastTick     uint64    `json:"lastTick,string"`
	Intervals    int       `json:"intervals"`
	Replayed     int       `json:"replayed"`
	Ticks        uint64    `json:"ticks,string"`
	Observations uint64    `json:"observations,string"`
	Metered      int       `json:"metered,omitempty"`
	Fuel         uint64    `json:"fuel,string,omitempty"`
	Origin       *ancestry `json:"origin,omitempty"`
	Problems     []problem `json:"problems"`
}

type ancestry struct {
	DID        string `json:"did"`
	Tick       uint64 `json:"tick,string"`
	Checkpoint string `json:"checkpoint"`
	Checked    bool   `json:"checked"`
}

type problem struct {
	Code     string  `json:"code"`
	From     uint64  `json:"fromTick,string"`
	To       uint64  `json:"toTick,string"`
	Tick     *uint64 `json:"tick,string,omitempty"`
	Hostcall *int    `json:"hostcall,omitempty"`
	Byte     *int    `json:"byte,omitempty"`
	Recorded string  `json:"recorded,omitempty"`
	Got      string  `json:"got,omitempty"`
}
