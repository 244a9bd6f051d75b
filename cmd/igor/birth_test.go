package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestKilledBirth kills births as soon as there is something of them. The next command
// that makes or runs an agent in the same place removes it, for a key is in it.
func TestKilledBirth(t *testing.T) {
	wasm := filepath.Join(agents(t), "counter.wasm")
	left := func(folder string) []string {
		t.Helper()
		found, err := filepath.Glob(filepath.Join(folder, ".igor-new-*"))
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	killed := func() string {
		t.Helper()
		for range 200 {
			folder := t.TempDir()
			cmd := igor(t, "run", wasm, "--dir", filepath.Join(folder, "agent"), "--ticks=1", "--tick-interval=0")
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			over := make(chan struct{})
			go func() { cmd.Wait(); close(over) }()
			for alive := true; alive && len(left(folder)) == 0; {
				select {
				case <-over:
					alive = false
				default:
				}
			}
			cmd.Process.Kill()
			<-over
			for _, path := range left(folder) {
				old := time.Now().Add(-time.Minute) // what is young may be about to be locked
				if err := os.Chtimes(path, old, old); err != nil {
					t.Fatal(err)
				}
				return folder
			}
		}
		t.Fatal("no birth could be killed")
		return ""
	}
	for name, next := range map[string]func(folder string) []string{
		"run": func(folder string) []string {
			return []string{"run", wasm, "--dir", filepath.Join(folder, "next"), "--ticks=1", "--tick-interval=0"}
		},
		"fork": func(folder string) []string {
			agent := filepath.Join(t.TempDir(), "agent")
			if out, err := igor(t, "run", wasm, "--dir", agent, "--ticks=1", "--tick-interval=0").CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			return []string{"fork", agent, "--at=0", "--dir", filepath.Join(folder, "next")}
		},
	} {
		folder := killed()
		if out, err := igor(t, next(folder)...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", name, err, out)
		}
		if rest := left(folder); len(rest) > 0 {
			t.Errorf("%s leaves %q", name, rest)
		}
	}

	folder := killed()
	up := igor(t, "up", folder)
	if err := up.Start(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); len(left(folder)) > 0 && time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
	}
	up.Process.Kill()
	up.Wait()
	if rest := left(folder); len(rest) > 0 {
		t.Errorf("up leaves %q", rest)
	}
}
