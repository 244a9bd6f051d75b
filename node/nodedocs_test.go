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
	"sync"
	"testing"
	"time"

	"igor.dev/internal/netns"
)

// buildBoth builds igor and igor-node, as they are released, into a folder, once.
var buildBoth = sync.OnceValues(func() (bin string, err error) {
	bin = filepath.Join(cache, "bin")
	out, err := exec.Command("go", "build", "-o", bin+"/", "igor.dev/cmd/igor", "igor.dev/cmd/igor-node").CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%w\n%s", err, out)
	}
	return bin, err
})

// machines are those of an operator who has igor's commands on each, and a shell.
func machines(t *testing.T, network *netns.Network) (machine func(int) string, command func(int, string) *exec.Cmd) {
	t.Helper()
	bin, err := buildBoth()
	if err != nil {
		t.Fatal(err)
	}
	tmp := t.TempDir()
	machine = func(i int) string { return filepath.Join(tmp, fmt.Sprint(i)) }
	command = func(i int, line string) *exec.Cmd {
		c := network.Command(i, "sh", "-c", line)
		c.Dir = machine(i)
		c.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "XDG_CONFIG_HOME="+machine(i), "XDG_CACHE_HOME="+cache, "IGOR_NODE=")
		return c
	}
	return machine, command
}

// TestNodeDocs does what docs/node.md says to begin with, word for word, on two machines.
func TestNodeDocs(t *testing.T) {
	network := netns.New(t, 2)
	page, err := os.ReadFile("../docs/node.md")
	if err != nil {
		t.Fatal(err)
	}
	steps := regexp.MustCompile("(?s)```node (each|first|second)\n(.*?)```").FindAllSubmatch(page, -1)
	manifest := regexp.MustCompile("(?s)```json\n(.*?)```").FindSubmatch(page)
	if len(steps) != 8 || manifest == nil {
		t.Fatalf("the page has %d steps", len(steps))
	}
	machine, command := machines(t, network)
	var logs [2]bytes.Buffer
	var started []*exec.Cmd
	t.Cleanup(func() {
		for i, c := range started {
			c.Process.Kill()
			c.Wait()
			if t.Failed() {
				t.Logf("machine %d:\n%s", i+1, &logs[i])
			}
		}
	})
	var words []string
	for i := range 2 {
		if err := os.MkdirAll(machine(i), 0o700); err != nil {
			t.Fatal(err)
		}
		words = append(words, fmt.Sprintf("192.0.2.%d", i+1), network.Address(i).String())
	}
	program, err := os.ReadFile(counter)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name string, b []byte) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(machine(0), name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("watcher.wasm", program)
	for _, step := range steps {
		line := strings.NewReplacer(words...).Replace(strings.TrimSpace(string(step[2])))
		for _, i := range map[string][]int{"each": {0, 1}, "first": {0}, "second": {1}}[string(step[1])] {
			if line == "igor node start" {
				c := command(i, "exec "+line)
				c.Stdout, c.Stderr = &logs[i], &logs[i]
				if err := c.Start(); err != nil {
					t.Fatal(err)
				}
				started = append(started, c)
				continue
			}
			if strings.HasPrefix(line, "igor run") {
				write("watcher.manifest.json", []byte(strings.NewReplacer(words...).Replace(string(manifest[1]))))
			}
			var out []byte
			// A node is there in a moment, and an agent lives in one.
			for began := time.Now(); ; time.Sleep(50 * time.Millisecond) {
				if out, err = command(i, line).CombinedOutput(); err == nil && (line != "igor node agents" || bytes.Contains(out, []byte("alive"))) {
					break
				}
				if time.Since(began) > 60*time.Second {
					t.Fatalf("machine %d: %s: %v\n%s", i+1, line, err, out)
				}
			}
			t.Logf("$ %s\n%s", line, out)
			if strings.HasPrefix(line, "igor node init") {
				words = append(words, "did:key:z6Mk"+string("AB"[i])+"…", regexp.MustCompile(`did:key:\w+`).FindString(string(out)))
			}
		}
	}
}
