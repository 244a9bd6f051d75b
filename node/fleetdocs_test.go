//go:build linux

package node

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
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
	machine, command := machines(t, network)
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
	logs, started := [3]bytes.Buffer{}, map[int]*exec.Cmd{}
	start := func(i int) {
		t.Helper()
		c := command(i, "exec igor node start")
		c.Stdout, c.Stderr = &logs[i], &logs[i]
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		started[i] = c
	}
	t.Cleanup(func() {
		for i, c := range started {
			c.Process.Kill()
			c.Wait()
			if t.Failed() {
				t.Logf("machine %d:\n%s", i+1, &logs[i])
			}
		}
	})
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
				start(i)
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
	// All of them stop at once, and lose what their members had. By the docs' words they begin
	// a new store, two of them first, and the agent goes on where it was.
	ended := func() {
		t.Helper()
		for _, c := range started {
			c.Process.Signal(syscall.SIGTERM)
		}
		for i, c := range started {
			stuck := time.AfterFunc(60*time.Second, func() { c.Process.Kill() })
			if c.Wait(); !stuck.Stop() {
				t.Errorf("machine %d does not end", i+1)
			}
		}
		clear(started)
	}
	tick := func() int {
		t.Helper()
		out := must(0, "igor node agents --json")
		m := regexp.MustCompile(`"tick": "(\d+)"`).FindStringSubmatch(out)
		if m == nil {
			t.Fatal(out)
		}
		n, err := strconv.Atoi(m[1])
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	before := tick()
	ended()
	page, err = os.ReadFile("../docs/operating.md")
	if err != nil {
		t.Fatal(err)
	}
	lost := regexp.MustCompile("(?s)```fleet lost (first|each)\n(.*?)```").FindAllSubmatch(page, -1)
	if len(lost) != 2 || string(lost[0][1]) != "first" {
		t.Fatalf("the page has %d steps for a fleet that lost its store", len(lost))
	}
	for i := range 3 {
		if err := os.RemoveAll(filepath.Join(machine(i), "igor", "node", "member")); err != nil {
			t.Fatal(err)
		}
	}
	must(0, strings.TrimSpace(string(lost[0][2])))
	changed, err := os.ReadFile(filepath.Join(machine(0), "acme.json"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if err := os.WriteFile(filepath.Join(machine(i), "acme.json"), changed, 0o644); err != nil {
			t.Fatal(err)
		}
		must(i, strings.TrimSpace(string(lost[1][2])))
	}
	start(0)
	start(1)
	await(0, "igor fleet status", "not reached", "leads", "follows")
	if out, err := do(0, "igor fleet recover acme.json"); err == nil || !strings.Contains(out, "the store lost the newest position") {
		t.Errorf("what is lost: %v\n%s", err, out)
	}
	await(0, "igor fleet recover acme.json --yes", "restored")
	await(0, "igor node agents", "alive")
	if after := tick(); after < before {
		t.Errorf("it was at tick %d, and is at %d", before, after)
	}
	start(2)
	for began := time.Now(); ; time.Sleep(200 * time.Millisecond) {
		out, err := do(2, "igor fleet status")
		if err == nil && strings.Count(out, "follows") == 2 {
			break
		}
		if time.Since(began) > 60*time.Second {
			t.Fatalf("the third member does not come: %v\n%s", err, out)
		}
	}
	await(2, "igor fleet recover acme.json", "1 of 1 agents are as nodes know them")
	ended()
}

func absolute(t testing.TB, path string) string {
	t.Helper()
	abs, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return abs
}
