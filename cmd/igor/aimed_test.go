package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"igor.dev/runtime"
)

// TestAimedKills kills igor at the moments of a failed tick, of an upgrade and of an agent
// whose home is a store, that other crash tests do not come by, each several times: what was sent is sent once, every tick is
// paid once, an upgrade is whole or was never made, and the life goes on, verifies and
// replays.
func TestAimedKills(t *testing.T) {
	self := filepath.Join(t.TempDir(), "igor")
	if out, err := exec.Command("go", "build", "-tags", "failpoint", "-o", self, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	config := t.TempDir()
	run := func(at string, args ...string) (killed bool) {
		t.Helper()
		cmd := exec.Command(self, args...)
		cmd.Env = append(os.Environ(), "XDG_CONFIG_HOME="+config, "XDG_CACHE_HOME="+config, "IGOR_FAILPOINT="+at)
		out, err := cmd.CombinedOutput()
		if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() && status.Signal() == syscall.SIGKILL {
			return true
		}
		if err != nil && !strings.Contains(string(out), "already") {
			t.Fatalf("%s igor %q: %v\n%s", at, args, err, out)
		}
		return false
	}
	kills := map[string]int{}
	t.Run("failed ticks", func(t *testing.T) {
		server, u := newCounter(t, time.Millisecond)
		dir := filepath.Join(t.TempDir(), "agent")
		run("", "run", stumbler(t, u), "--dir", dir, "--ticks=1", "--tick-interval=0", "--budget=1", "--price=0.01", "--quiet", "--max-failed-ticks=0")
		for n := 1; n <= 4; n++ {
			for _, at := range []string{"tick-failed", "state-taken", "checkpoint-linked"} {
				if run(fmt.Sprintf("%s:%d", at, n), "resume", dir, "--ticks=40", "--tick-interval=0", "--checkpoint-every=7", "--quiet", "--max-failed-ticks=0") {
					kills[at]++
				}
			}
		}
		run("", "resume", dir, "--ticks=5", "--tick-interval=0", "--quiet", "--max-failed-ticks=0")
		if stumbled(t, dir) == 0 {
			t.Error("no tick failed")
		}
		for n, times := range server.posts {
			if times != 1 {
				t.Errorf("%x was sent %d times", n, times)
			}
		}
		if len(server.wrong) > 0 {
			t.Errorf("wrong are %q", server.wrong)
		}
		verify(t, dir, "", "")
		replayed(t, dir)
		accounted(t, dir)
	})
	t.Run("upgrades", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "agent")
		code, err := os.ReadFile(filepath.Join(agents(t), "counter.wasm"))
		if err != nil {
			t.Fatal(err)
		}
		run("", "run", filepath.Join(agents(t), "counter.wasm"), "--dir", dir, "--ticks=3", "--tick-interval=0", "--price=0", "--quiet")
		ticks := uint64(3)
		for n := 1; n <= 3; n++ {
			for _, at := range []string{"program-kept", "upgraded", "file-written", "file-named"} {
				next := filepath.Join(t.TempDir(), "counter.wasm")
				other := append(code[:len(code):len(code)], 0, 3, 1, byte('a'+n), at[0]+at[len(at)-1]) // a custom section
				if err := os.WriteFile(next, other, 0o644); err != nil {
					t.Fatal(err)
				}
				hit := fmt.Sprintf("%s:%d", at, 1+(n-1)*len(at)%3)
				if at == "program-kept" || at == "upgraded" {
					hit = at + ":1"
				}
				if run(hit, "upgrade", dir, "--wasm", next) {
					kills[at]++
				}
				// It is one program or the other, and the same upgrade can be asked for again.
				run("", "upgrade", dir, "--wasm", next)
				run("", "resume", dir, "--ticks=2", "--tick-interval=0", "--quiet")
				if ticks += 2; newest(t, dir, 8).TickNumber != ticks {
					t.Fatalf("%s: it is at tick %d, want %d", hit, newest(t, dir, 8).TickNumber, ticks)
				}
			}
		}
		verify(t, dir, "", "")
		replayed(t, dir)
	})
	t.Run("a home elsewhere", func(t *testing.T) {
		program, c := trader(t)
		tmp := t.TempDir()
		store, dir, key := filepath.Join(tmp, "store"), filepath.Join(tmp, "agent"), filepath.Join(tmp, "key")
		run("", "run", program, "--dir", dir, "--store", store, "--ticks=1", "--tick-interval=0", "--budget=10", "--quiet")
		b, err := os.ReadFile(filepath.Join(dir, "key"))
		if err == nil {
			err = os.WriteFile(key, b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		folders := 0
		for n := 1; n <= 3; n++ {
			for i, at := range []string{"position-kept", "position-appended", "effect-leaves", "segments-unsigned", "segments-signed", "checkpoint-linked", "journal-compacted"} {
				if run(fmt.Sprintf("%s:%d", at, 1+n), "resume", dir, "--ticks=12", "--tick-interval=0", "--checkpoint-every=3", "--quiet") {
					kills[at]++
				}
				if (n+i)%3 == 0 { // the folder is lost, too
					folders++
					dir = filepath.Join(tmp, fmt.Sprint("agent", folders))
					run("", "restore", store, dir, "--key", key)
				}
			}
		}
		run("", "resume", dir, "--ticks=5", "--tick-interval=0", "--quiet")
		for id, times := range c.posts {
			if times != 1 {
				t.Errorf("%s was sent %d times", id, times)
			}
		}
		if len(c.posts) < 20 {
			t.Errorf("%d posts", len(c.posts))
		}
		for _, e := range effects(t, dir) {
			run("", "effects", "confirm", dir, e)
		}
		for _, at := range []string{"position-kept", "position-appended", "retirement-kept"} {
			if run(at+":1", "retire", dir, "--yes") {
				kills[at]++
			}
		}
		run("", "retire", dir, "--yes")
		for _, args := range [][]string{{"resume", dir, "--ticks=1"}, {"restore", store, filepath.Join(tmp, "late"), "--key", key}} {
			cmd := exec.Command(self, args...)
			cmd.Env = append(os.Environ(), "XDG_CONFIG_HOME="+config, "XDG_CACHE_HOME="+config)
			if out, _ := cmd.CombinedOutput(); cmd.ProcessState.ExitCode() != exitConflict || !strings.Contains(string(out), "retired") {
				t.Errorf("igor %q: %s", args, out)
			}
		}
	})
	t.Logf("kills: %v", kills)
	for _, at := range []string{"position-kept", "position-appended", "effect-leaves", "segments-unsigned", "segments-signed"} {
		if kills[at] < 3 {
			t.Errorf("%d kills at %s", kills[at], at)
		}
	}
	if kills["retirement-kept"] < 1 {
		t.Error("no kill where a retirement is kept")
	}
	for _, at := range []string{"tick-failed", "program-kept", "upgraded"} {
		if kills[at] < 3 {
			t.Errorf("%d kills at %s", kills[at], at)
		}
	}
}

// effects returns the ids of the effects whose outcome nobody knows.
func effects(t *testing.T, dir string) (ids []string) {
	t.Helper()
	all, err := runtime.Effects(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range all {
		if e.Unresolved() {
			ids = append(ids, e.ID)
		}
	}
	return ids
}
