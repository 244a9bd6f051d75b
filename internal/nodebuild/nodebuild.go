// Package nodebuild builds igor-node for tests and for the laboratory: with a clock that can
// be wrong, or with other source files. It needs a clone, and Go.
package nodebuild

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// Skew is the variable of the environment that says by how much the clock of a process is
// wrong, if it can be.
const Skew = "IGOR_LAB_SKEW"

// Build builds igor-node, in a clone, into a folder; files, by their absolute paths, are
// compiled in the place of those that are there, or beside them. A process has one wall
// clock, which is the kernel's; so with wrongClock the standard library's time.Now adds what
// [Skew] says.
func Build(ctx context.Context, dir string, wrongClock bool, files map[string][]byte) (program string, err error) {
	program = filepath.Join(dir, "igor-node")
	all := map[string][]byte{}
	if wrongClock {
		if all, err = clock(ctx); err != nil {
			return "", err
		}
	}
	maps.Copy(all, files)
	args := []string{"build", "-o", program}
	if len(all) > 0 {
		overlay, err := replaceAll(dir, all)
		if err != nil {
			return "", err
		}
		args = append(args, "-overlay", overlay)
	}
	out, err := exec.CommandContext(ctx, "go", append(args, "igor.dev/cmd/igor-node")...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("igor-node cannot be built; it is, in a clone: %w\n%s", err, out)
	}
	return program, nil
}

const clockOf = `package time

import "syscall"

// wrongBy is what the wall clock of this process is wrong by, in seconds.
var wrongBy = func() int64 {
	s, _ := syscall.Getenv("IGOR_LAB_SKEW")
	d, _ := ParseDuration(s)
	return int64(d / Second)
}()
`

// clock is a time package whose wall clock can be wrong.
func clock(ctx context.Context) (files map[string][]byte, err error) {
	out, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	if err != nil {
		return nil, err
	}
	source := filepath.Join(strings.TrimSpace(string(out)), "src", "time")
	b, err := os.ReadFile(filepath.Join(source, "time.go"))
	if err != nil {
		return nil, err
	}
	const now = "func Now() Time {\n\tsec, nsec, mono := runtimeNow()\n"
	changed := strings.Replace(string(b), now, now+"\tsec += wrongBy\n", 1)
	if changed == string(b) {
		return nil, fmt.Errorf("this version of Go has another time.Now: clocks cannot be wrong with it")
	}
	return map[string][]byte{filepath.Join(source, "time.go"): []byte(changed), filepath.Join(source, "igor_lab.go"): []byte(clockOf)}, nil
}

// replaceAll writes files into a folder, and beside them what has the compiler take them for
// those whose paths they have.
func replaceAll(dir string, files map[string][]byte) (overlay string, err error) {
	replace := map[string]string{}
	for i, path := range slices.Sorted(maps.Keys(files)) {
		replace[path] = filepath.Join(dir, fmt.Sprintf("%d-%s", i, filepath.Base(path)))
		if err := os.WriteFile(replace[path], files[path], 0o600); err != nil {
			return "", err
		}
	}
	b, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	overlay = filepath.Join(dir, "overlay.json")
	return overlay, os.WriteFile(overlay, b, 0o600)
}
