package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// buildHeartbeat puts the heartbeat and its manifest into a folder.
func buildHeartbeat(t *testing.T, dir string) {
	t.Helper()
	build := exec.Command("go", "build", "-buildmode=c-shared", "-o", filepath.Join(dir, "heartbeat.wasm"), "./heartbeat")
	build.Dir = "../../agents"
	build.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "GOWORK=off")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	const manifest = "heartbeat.manifest.json"
	b, err := os.ReadFile("../../agents/heartbeat/" + manifest)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, manifest), b, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestHeartbeat builds the heartbeat, an agent in standard Go, and lives it:
// run, go on from a copy, verify.
func TestHeartbeat(t *testing.T) {
	tmp := t.TempDir()
	buildHeartbeat(t, tmp)
	dir, moved := filepath.Join(tmp, "here"), filepath.Join(tmp, "there")
	p := start(t, "run", filepath.Join(tmp, "heartbeat.wasm"), "--dir", dir, "--ticks=12")
	last, err := p.wait(ack{})
	if err != nil {
		t.Fatalf("%v\n%s", err, p.stderr.Bytes())
	}
	if log := p.stderr.String(); !strings.Contains(log, `"says":"alive"`) || !strings.Contains(log, `"says":"beat 10"`) {
		t.Errorf("the agent did not speak:\n%s", log)
	}
	did := <-p.did
	verify(t, dir, did, last.cid)

	if out, err := exec.Command("cp", "-r", dir, moved).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	p = start(t, "resume", moved, "--ticks=8")
	if last, err = p.wait(ack{}); err != nil {
		t.Fatalf("%v\n%s", err, p.stderr.Bytes())
	}
	if log := p.stderr.String(); !strings.Contains(log, `"says":"beat 20"`) || strings.Contains(log, `"says":"alive"`) {
		t.Errorf("the agent did not go on with its count:\n%s", log)
	}
	if last.tick != 20 {
		t.Errorf("the last tick is %d, want 20", last.tick)
	}
	verify(t, moved, did, last.cid)
}

// TestReturners lives two agents that were not made with the SDK and observe in
// agent_resume: run, kill, resume, verify, replay.
func TestReturners(t *testing.T) {
	goWASM := filepath.Join(t.TempDir(), "goreturner.wasm")
	build := exec.Command("go", "build", "-buildmode=c-shared", "-o", goWASM, "./goreturner")
	build.Dir = agents(t)
	build.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	manifest := "--manifest=" + filepath.Join(agents(t), "returner.manifest.json")
	for _, wasm := range []string{filepath.Join(agents(t), "returner.wasm"), goWASM} {
		dir := filepath.Join(t.TempDir(), "agent")
		p := start(t, "run", wasm, "--dir", dir, manifest, "--checkpoint-every=4")
		kills := 0
		var last ack
		var err error
		for ; kills < 4; kills++ {
			for range 3 {
				last = <-p.acks
			}
			if err := p.cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			if last, err = p.wait(last); err == nil {
				t.Fatal("igor was not killed")
			}
			p = start(t, "resume", dir, "--checkpoint-every=4")
		}
		<-p.acks
		if err := p.cmd.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
		if last, err = p.wait(last); err != nil {
			t.Fatalf("%v\n%s", err, p.stderr.Bytes())
		}
		verify(t, dir, <-p.did, last.cid)
		replayed(t, dir)
		out, err := igor(t, "logs", dir).Output()
		if n := strings.Count(string(out), " back\n"); err != nil || n < 3*kills {
			t.Errorf("%s: %v, came back %d times:\n%s", wasm, err, n, out)
		}
	}
}

// TestSmallest lives the agent that docs/spec/abi.md begins with: run, resume, verify,
// replay.
func TestSmallest(t *testing.T) {
	wat2wasm, err := exec.LookPath("wat2wasm")
	if err != nil {
		t.Skip("wat2wasm is not here (package wabt)")
	}
	page, err := os.ReadFile("../../docs/spec/abi.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(page), "```wat\n")
	text, _, ok := strings.Cut(text, "```")
	if !ok {
		t.Fatal("the page has no agent")
	}
	d := newDesk(t)
	if err := os.WriteFile(filepath.Join(d.dir, "small.wat"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := d.shell(wat2wasm + ` small.wat && igor run small.wasm --ticks 7 --tick-interval 0 --checkpoint-every 3 -q &&
		igor resume small --ticks 3 --tick-interval 0 -q && igor verify small && igor replay small && igor replay small --until 10 --dump | od -An -tx1`)
	if err != nil || !strings.HasSuffix(out, "\n 0a 00 00 00\n") {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestWAT checks that the agents in testdata are what their text says.
func TestWAT(t *testing.T) {
	wat2wasm, err := exec.LookPath("wat2wasm")
	if err != nil {
		t.Skip("wat2wasm is not here (package wabt)")
	}
	texts, err := filepath.Glob("testdata/agents/*.wat")
	if err != nil || len(texts) == 0 {
		t.Fatalf("no agents: %v", err)
	}
	texts = append(texts, "../../testdata/replay/agent.wat")
	for _, text := range texts {
		out := filepath.Join(t.TempDir(), "out.wasm")
		if b, err := exec.Command(wat2wasm, text, "-o", out).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", text, err, b)
		}
		want, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(strings.TrimSuffix(text, ".wat") + ".wasm")
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: the .wasm beside it is another program, %v", text, err)
		}
	}
}
