package interop

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"igor.dev/archive"
	"igor.dev/archive/archivetest"
	"igor.dev/archive/arweave"
	"igor.dev/internal/testkit"
	"igor.dev/segment"
)

// arlocal runs arlocal, with a bundler before it, and returns its address.
func arlocal(t *testing.T) string {
	t.Helper()
	if _, err := os.Stat("arweave/node_modules/arlocal"); err != nil {
		t.Skip("arlocal is not here: make internal/interop/arweave/node_modules")
	}
	_, out := script(t, "arweave/arlocal.mjs", t.TempDir())
	line, err := out.ReadString('\n')
	if err != nil {
		t.Fatalf("arlocal did not start: %v", err)
	}
	return strings.TrimSpace(line)
}

// TestArlocal archives to a chain of Arweave and its gateway, which are others' software: an
// agent's life by igor itself, made anew from there; and a longer one, until it is final.
func TestArlocal(t *testing.T) {
	at := arlocal(t)
	t.Run("igor", func(t *testing.T) { recoverFrom(t, "arweave+"+at+"/v1") })
	t.Run("final", func(t *testing.T) { finalIn(t, "arweave+"+at+"/v1") })
}

func recoverFrom(t *testing.T, target string) {
	igor := program(t, "igor")
	counter, err := filepath.Abs("../../cmd/igor/testdata/agents/counter.wasm")
	if err != nil {
		t.Fatal(err)
	}
	home, dir := t.TempDir(), t.TempDir()
	run := func(args ...string) string {
		t.Helper()
		cmd := exec.Command(igor, args...)
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "HOME="+home, "XDG_CACHE_HOME=", "XDG_CONFIG_HOME=")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("igor %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		return string(out)
	}
	run("run", counter, "--dir", "agent", "--ticks", "50", "--checkpoint-every", "1", "--tick-interval", "0", "--quiet", "--archive", target, "--archive-every", "20")
	// An agent waits ten seconds at its end for its archive. What was not sent then is sent when it goes on.
	for round := 0; ; round++ {
		_, head, _ := strings.Cut(run("status", "agent", "--json"), `"cid": "`)
		head, _, _ = strings.Cut(head, `"`)
		cmd := exec.Command(igor, "archive", "verify", "agent", "--from", target, "--json")
		cmd.Dir = dir
		if out, _ := cmd.Output(); strings.Contains(string(out), `"head": "`+head+`"`) && strings.Contains(string(out), `"verdict": "verified"`) && strings.Contains(string(out), `"canGoOn": true`) {
			break
		} else if round == 10 {
			t.Fatalf("it is not archived to %s: %s", head, out)
		}
		run("resume", "agent", "--ticks", "1", "--tick-interval", "0", "--quiet", "--archive", target, "--archive-every", "1")
	}
	run("history", "export", "agent", "-o", "before.car")
	key, err := os.ReadFile(filepath.Join(dir, "agent", "key"))
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "safe.key"), key, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	_, did, _ := strings.Cut(run("status", "agent", "--json"), `"did": "`)
	did, _, _ = strings.Cut(did, `"`)
	if err := os.RemoveAll(filepath.Join(dir, "agent")); err != nil {
		t.Fatal(err)
	}
	run("recover", did, "again", "--from", target, "--key", "safe.key", "--accept-old-copy")
	run("history", "export", "again", "-o", "after.car")
	before, err := os.ReadFile(filepath.Join(dir, "before.car"))
	if err != nil {
		t.Fatal(err)
	}
	after, err := os.ReadFile(filepath.Join(dir, "after.car"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(before, after) {
		t.Errorf("it was %d bytes, and %d other ones came back", len(before), len(after))
	}
	run("resume", "again", "--ticks", "5", "--tick-interval", "0", "--quiet")
	if out := run("verify", "again"); !strings.Contains(out, "\nverified") {
		t.Error(out)
	}
}

// finalIn has segments that are several chunks of a transaction.
func finalIn(t *testing.T, target string) {
	life := archivetest.NewLife("arlocal", 2000)
	c, err := arweave.ParseURL(target)
	if err != nil {
		t.Fatal(err)
	}
	c.Key = testkit.NewAgent("archive key").Private
	to, err := arweave.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	a, err := archive.New(archive.Config{Targets: []archive.Target{to}, Rule: segment.Rule{Checkpoints: 1000}, Parts: archive.DefaultParts, Key: c.Key,
		Retry: 10 * time.Millisecond, Ask: 100 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	task := a.Begin(life.Archive(t.TempDir()))
	last := life.Tick(life.Len() - 1)
	task.Saved(last)
	for end := time.Now().Add(5 * time.Minute); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if tick, _ := task.Final(); tick == last {
			break
		}
	}
	if tick, _ := task.Final(); tick != last {
		t.Errorf("final to tick %d of %d: %+v", tick, last, task.Status())
	}
	ctx, done := context.WithTimeout(t.Context(), time.Second)
	defer done()
	task.End(ctx)

	var all []byte
	f := archive.Fetch{Targets: []archive.Target{to}, Agent: life.Key(), Segment: func(_ archive.Cut, b []byte) error {
		all = append(all, b...)
		return nil
	}}
	found, err := f.Life(t.Context())
	if err != nil || !found.Whole() || found.Last().Last != last {
		t.Fatal(found, err)
	}
	if len(all) < 2<<18 {
		t.Errorf("segments of %d bytes are no chunks", len(all))
	}
	for i := range life.Len() {
		if !bytes.Contains(all, life.Checkpoint(i)) {
			t.Fatalf("checkpoint %d did not come back", i)
		}
	}
}
