//go:build linux

package node

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"igor.dev/internal/netns"
)

// TestFleetDocs does what docs/node.md says to make three machines a fleet, word for word,
// in three network namespaces; then cuts one off.
func TestFleetDocs(t *testing.T) {
	network := netns.New(t, 3)
	page, err := os.ReadFile("../docs/node.md")
	if err != nil {
		t.Fatal(err)
	}
	steps := regexp.MustCompile("(?s)```fleet (each|first|others)\n(.*?)```").FindAllSubmatch(page, -1)
	if len(steps) != 6 {
		t.Fatalf("the page has %d steps", len(steps))
	}
	bin, tmp := t.TempDir(), t.TempDir()
	for _, program := range []string{"igor", "igor-node"} {
		if out, err := exec.Command("go", "build", "-o", filepath.Join(bin, program), "igor.dev/cmd/"+program).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	machine := func(i int) string { return filepath.Join(tmp, fmt.Sprint(i)) }
	command := func(i int, line string) *exec.Cmd {
		c := network.Command(i, "sh", "-c", line)
		c.Dir = machine(i)
		c.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "XDG_CONFIG_HOME="+machine(i), "XDG_CACHE_HOME="+cache, "IGOR_NODE=")
		return c
	}
	do := func(i int, line string) (string, error) {
		out, err := command(i, line).CombinedOutput()
		return string(out), err
	}
	must := func(i int, line string) string {
		t.Helper()
		out, err := do(i, line)
		if err != nil {
			t.Fatalf("machine %d: %s: %v\n%s", i+1, line, err, out)
		}
		return out
	}
	logs := [3]bytes.Buffer{}
	replace := []string{}
	for i := range 3 {
		if err := os.MkdirAll(machine(i), 0o700); err != nil {
			t.Fatal(err)
		}
		replace = append(replace, fmt.Sprintf("192.0.2.%d", i+1), network.Address(i).String())
	}
	must(0, "igor run "+absolute(t, counter)+" --dir watcher --budget 20 --ticks 2 --tick-interval 0 -q")
	began := time.Now()
	for _, step := range steps {
		who := map[string][]int{"each": {0, 1, 2}, "first": {0}, "others": {1, 2}}[string(step[1])]
		line := strings.NewReplacer(replace...).Replace(strings.TrimSpace(string(step[2])))
		for _, i := range who {
			switch {
			case strings.HasPrefix(line, "igor node init"):
				did := regexp.MustCompile(`did:key:\w+`).FindString(must(i, line))
				replace = append(replace, "did:key:z6Mk"+string("ABC"[i])+"…", did)
			case strings.HasPrefix(line, "igor fleet join"):
				b, err := os.ReadFile(filepath.Join(machine(0), "acme.json"))
				if err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(machine(i), "acme.json"), b, 0o644); err != nil {
					t.Fatal(err)
				}
				must(i, line)
			case strings.HasPrefix(line, "igor node start"):
				c := command(i, "exec "+line)
				c.Stdout, c.Stderr = &logs[i], &logs[i]
				if err := c.Start(); err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { c.Process.Signal(syscall.SIGTERM); c.Wait() })
			default: // of a fleet that has to come first
				for out, err := do(i, line); ; out, err = do(i, line) {
					if err == nil && (!strings.Contains(line, "fleet status") || strings.Count(out, "follows") == 2) {
						t.Logf("$ %s\n%s", line, out)
						break
					}
					if time.Since(began) > 90*time.Second {
						t.Fatalf("%s: %v\n%s", line, err, out)
					}
					time.Sleep(100 * time.Millisecond)
				}
			}
		}
	}
	await := func(i int, line string, want ...string) {
		t.Helper()
		for began := time.Now(); ; time.Sleep(200 * time.Millisecond) {
			out, err := do(i, line)
			missing := false
			for _, w := range want {
				missing = missing || !strings.Contains(out, w)
			}
			if err == nil && !missing {
				t.Logf("$ %s\n%s", line, out)
				return
			}
			if time.Since(began) > 60*time.Second {
				t.Fatalf("%s: %q was due, %v\n%s", line, want, err, out)
			}
		}
	}
	await(0, "igor node agents", "alive")
	await(1, "igor fleet status", "AGENT", "active")
	if err := network.Split(2); err != nil {
		t.Fatal(err)
	}
	await(0, "igor fleet status", "not reached", "leads", "follows", "active")
	await(2, "igor node status", "not reached: agents whose home it is wait", "nobody: no majority of the members is there")
	if err := network.Join(2); err != nil {
		t.Fatal(err)
	}
	await(2, "igor fleet status", "leads", "active")
	for i := range 3 {
		must(i, "igor node stop")
	}
}

func absolute(t testing.TB, path string) string {
	t.Helper()
	abs, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return abs
}
