package lab

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// skews reports whether a script has nodes whose clocks are wrong.
func (s *Script) skews() bool {
	return slices.ContainsFunc(s.Steps, func(s Step) bool { return s.verb == "skew" })
}

// Build builds the igor-node that a script needs, in a clone, into a folder: with clocks
// that can be wrong where it says so. A process has one wall clock, which is the kernel's;
// so there the standard library's time.Now adds what the environment says.
func Build(ctx context.Context, s *Script, dir string) (program string, err error) {
	program = filepath.Join(dir, "igor-node")
	args := []string{"build", "-o", program}
	if s.skews() {
		overlay, err := wrongClock(ctx, dir)
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

// wrongClock writes a time package whose wall clock can be wrong.
func wrongClock(ctx context.Context, dir string) (overlay string, err error) {
	out, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	if err != nil {
		return "", err
	}
	source := filepath.Join(strings.TrimSpace(string(out)), "src", "time")
	b, err := os.ReadFile(filepath.Join(source, "time.go"))
	if err != nil {
		return "", err
	}
	const now = "func Now() Time {\n\tsec, nsec, mono := runtimeNow()\n"
	changed := strings.Replace(string(b), now, now+"\tsec += wrongBy\n", 1)
	if changed == string(b) {
		return "", fmt.Errorf("this version of Go has another time.Now: clocks cannot be wrong with it")
	}
	files := map[string]string{"time.go": changed, "igor_lab.go": clockOf}
	replace := map[string]string{}
	for name, content := range files {
		replace[filepath.Join(source, name)] = filepath.Join(dir, name)
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			return "", err
		}
	}
	b, err = json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	overlay = filepath.Join(dir, "overlay.json")
	return overlay, os.WriteFile(overlay, b, 0o600)
}
