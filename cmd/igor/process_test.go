package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

var killRounds = flag.Int("kill-rounds", 12, "how often TestKill kills a running agent")

// igor returns a command that runs this program as a process.
func igor(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(filepath.Dir(t.TempDir()), "igor") // TestMain goes by the name
	if err := os.Symlink(self, link); err != nil && !errors.Is(err, fs.ErrExist) {
		t.Fatal(err)
	}
	cmd := exec.Command(link, args...)
	cmd.Env = append(os.Environ(), "XDG_CONFIG_HOME="+filepath.Join(filepath.Dir(link), "config"))
	return cmd
}

// An ack is a checkpoint that igor said is durable.
type ack struct {
	tick uint64
	cid  string
}

// A process is a running agent whose log is read.
type process struct {
	cmd    *exec.Cmd
	stdout bytes.Buffer
	acks   chan ack
	did    chan string
	stderr bytes.Buffer // complete once acks is closed
}

func start(t *testing.T, args ...string) *process {
	t.Helper()
	p := &process{
		cmd:  igor(t, append([]string{args[0], "--log-format=json", "--tick-interval=0", "--checkpoint-every=1"}, args[1:]...)...),
		acks: make(chan ack, 1<<20),
		did:  make(chan string, 1),
	}
	p.cmd.Stdout = &p.stdout
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.cmd.Process.Kill() })
	go func() {
		defer close(p.acks)
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			p.stderr.Write(append(lines.Bytes(), '\n'))
			var line struct {
				Msg, CID, DID string
				Tick          uint64
			}
			if json.Unmarshal(lines.Bytes(), &line) != nil {
				continue // cut by the kill, or an error's text
			}
			switch line.Msg {
			case "alive":
				select {
				case p.did <- line.DID:
				default: // many agents live in the process
				}
			case "checkpoint":
				p.acks <- ack{line.Tick, line.CID}
			}
		}
	}()
	return p
}

// wait ends the process, as it is told to, and returns what it acknowledged last.
func (p *process) wait(last ack) (ack, error) {
	for a := range p.acks {
		last = a
	}
	return last, p.cmd.Wait()
}

// kill ends the process as a power failure would. It returns who lived, and what
// was acknowledged last; both are as given, if the process did not come to say.
func (p *process) kill(t *testing.T, did string, last ack) (string, ack) {
	t.Helper()
	if err := p.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	last, err := p.wait(last)
	if err == nil {
		t.Fatal("igor ended before it was killed")
	}
	select {
	case d := <-p.did:
		if did != "" && d != did {
			t.Fatalf("lives as %s, and was %s", d, did)
		}
		did = d
	default:
	}
	return did, last
}

// verify wants the whole life in dir green, by this identity, with this
// checkpoint in it.
func verify(t *testing.T, dir, did, head string) {
	t.Helper()
	args := []string{"verify"}
	if did != "" {
		args = append(args, "--did", did)
	}
	if head != "" {
		args = append(args, "--head", head)
	}
	if out, err := igor(t, append(args, dir)...).CombinedOutput(); err != nil {
		t.Fatalf("igor verify: %v\n%s", err, out)
	}
}

// replayed wants the whole life in dir to come to the same states again.
func replayed(t *testing.T, dir string) {
	t.Helper()
	if out, err := igor(t, "replay", dir).CombinedOutput(); err != nil {
		t.Fatalf("igor replay: %v\n%s", err, out)
	}
}

// TestKill kills running agents at random moments, and each time goes on with
// the same life: the same identity, a verified history, and every checkpoint
// that was said to be durable.
func TestKill(t *testing.T) {
	const roundsPerLife = 20
	counter := filepath.Join(agents(t), "counter.wasm")
	var dir, did string
	var last ack
	checkpoints, early, beforeBirth := 0, 0, 0
	for round := range *killRounds {
		var p *process
		if round%roundsPerLife == 0 {
			if dir != "" {
				finish(t, dir, did, last)
			}
			dir, did, last = filepath.Join(t.TempDir(), "agent"+strconv.Itoa(round)), "", ack{}
		}
		born := true
		if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
			born = false
			p = start(t, "run", counter, "--dir", dir)
		} else {
			p = start(t, "resume", dir)
		}
		if rand.IntN(4) == 0 {
			early++
			time.Sleep(rand.N(40 * time.Millisecond)) // at its start
		} else {
			for range 1 + rand.IntN(60) {
				a, ok := <-p.acks
				if !ok {
					t.Fatalf("round %d: igor ended by itself:\n%s", round, p.stderr.Bytes())
				}
				last = a
				checkpoints++
			}
			time.Sleep(rand.N(2 * time.Millisecond))
		}
		did, last = p.kill(t, did, last)
		if _, err := os.Stat(dir); err != nil && !born {
			beforeBirth++ // killed before there was anything
			continue
		}
		if last.cid != "" {
			verify(t, dir, did, last.cid)
		}
	}
	finish(t, dir, did, last)
	t.Logf("%d kills, %d of them at the start, %d before there was a folder; %d checkpoints waited for",
		*killRounds, early, beforeBirth, checkpoints)
	if *killRounds == 0 {
		t.Error("no kills")
	}
}

// finish lives one more tick in peace.
func finish(t *testing.T, dir, did string, last ack) {
	t.Helper()
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return
	}
	p := start(t, "resume", dir, "--ticks=1")
	newest, err := p.wait(last)
	if err != nil {
		t.Fatalf("%v\n%s", err, p.stderr.Bytes())
	}
	if d := <-p.did; did != "" && d != did {
		t.Fatalf("lives as %s, and was %s", d, did)
	}
	if newest.tick <= last.tick {
		t.Fatalf("at tick %d after tick %d was durable", newest.tick, last.tick)
	}
	verify(t, dir, did, newest.cid)
	if last.cid != "" {
		verify(t, dir, did, last.cid)
	}
	replayed(t, dir)
	if _, err := os.Stat(filepath.Join(dir, "damaged")); !errors.Is(err, fs.ErrNotExist) {
		t.Error("a kill damaged a checkpoint")
	}
}

// TestSignals checks that SIGINT, SIGTERM and SIGHUP end a life in peace.
func TestSignals(t *testing.T) {
	for _, s := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		dir := filepath.Join(t.TempDir(), "agent")
		p := start(t, "run", filepath.Join(agents(t), "counter.wasm"), "--dir", dir)
		for range 3 {
			<-p.acks
		}
		if err := p.cmd.Process.Signal(s); err != nil {
			t.Fatal(err)
		}
		last, err := p.wait(ack{})
		if err != nil {
			t.Fatalf("%v: %v\n%s", s, err, p.stderr.Bytes())
		}
		if out := p.stdout.String(); !strings.Contains(out, ": as asked\n") || !strings.Contains(out, last.cid) {
			t.Errorf("%v: got\n%s\nwant the reason, and the head %s", s, out, last.cid)
		}
		verify(t, dir, <-p.did, last.cid)
	}
}

// TestInUse checks that a life is not lived twice at a time.
func TestInUse(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "agent")
	p := start(t, "run", filepath.Join(agents(t), "counter.wasm"), "--dir", dir)
	<-p.acks
	out, err := igor(t, "resume", dir).CombinedOutput()
	want := "is in use by process " + strconv.Itoa(p.cmd.Process.Pid) + " on "
	if e, ok := errors.AsType[*exec.ExitError](err); !ok || e.ExitCode() != exitLocked || !strings.Contains(string(out), want) {
		t.Errorf("got %v\n%s\nwant %q", err, out, want)
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if _, err := p.wait(ack{}); err != nil {
		t.Error(err)
	}
}

// TestFollow shows what an agent says while it lives and after it was killed, each line
// once, and ends by a signal without an error.
func TestFollow(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "agent")
	observer := filepath.Join(agents(t), "observer.wasm")
	p := start(t, "run", observer, "--dir", dir)
	<-p.acks
	logs := igor(t, "logs", dir, "-f", "--json")
	out, err := logs.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	logs.Stderr = &said
	if err := logs.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { logs.Process.Kill() })
	lines := bufio.NewScanner(out)
	var last uint64
	follow := func(to uint64) {
		t.Helper()
		for last < to && lines.Scan() {
			var l struct {
				Tick uint64 `json:",string"`
				Line string
				Time time.Time
			}
			if err := json.Unmarshal(lines.Bytes(), &l); err != nil || l.Tick != last+1 || l.Line != "observed" || time.Since(l.Time) > time.Hour {
				t.Fatalf("after tick %d: %s, %v", last, lines.Bytes(), err)
			}
			last = l.Tick
		}
		if last < to {
			t.Fatalf("it ended after tick %d", last)
		}
	}
	for a := range p.acks {
		if a.tick >= 20 {
			break
		}
	}
	follow(20)
	_, newest := p.kill(t, "", ack{})
	p = start(t, "resume", dir, "--ticks=30")
	if newest, err = p.wait(newest); err != nil {
		t.Fatalf("%v\n%s", err, p.stderr.Bytes())
	}
	follow(newest.tick)
	if err := logs.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if lines.Scan() {
		t.Errorf("it goes on after tick %d: %s", last, lines.Bytes())
	}
	if err := logs.Wait(); err != nil || said.Len() > 0 {
		t.Errorf("%v: %s", err, &said)
	}
}

// TestStates looks at agents as an operator does, from another process.
func TestStates(t *testing.T) {
	home := t.TempDir()
	dir := filepath.Join(home, "agent")
	see := func() (o struct {
		State, Reason string
		PID           int
		Since         time.Time
		Run           *struct{ PID int }
		Live          *struct{ Phase string }
	}) {
		t.Helper()
		var all []json.RawMessage
		out, err := igor(t, "ls", home, "--json").Output()
		if err == nil {
			err = json.Unmarshal(out, &all)
		}
		if err == nil && len(all) == 1 {
			err = json.Unmarshal(all[0], &o)
		}
		if err != nil || len(all) != 1 {
			t.Fatalf("%v\n%s", err, out)
		}
		text, err := igor(t, "ls", home).Output()
		if err != nil || !strings.Contains(string(text), "agent  "+o.State) {
			t.Errorf("%v\n%s", err, text)
		}
		if out, err := igor(t, "status", dir).CombinedOutput(); err != nil || !strings.Contains(string(out), "state      "+o.State) {
			t.Errorf("%v\n%s", err, out)
		}
		return o
	}
	p := start(t, "run", filepath.Join(agents(t), "counter.wasm"), "--dir", dir)
	<-p.acks
	<-p.acks
	if o := see(); o.State != "alive" || o.PID != p.cmd.Process.Pid || o.Live == nil || time.Since(o.Since) > time.Hour {
		t.Errorf("alive, it is %+v", o)
	}
	if out, err := igor(t, "pause", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if o := see(); o.State != "paused" {
		t.Errorf("paused, it is %+v", o)
	}
	p.kill(t, "", ack{})
	if o := see(); o.State != "crashed" || o.PID != 0 || o.Run == nil || o.Run.PID != p.cmd.Process.Pid {
		t.Errorf("killed, it is %+v", o)
	}
	p = start(t, "resume", dir)
	<-p.acks
	if out, err := igor(t, "stop", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if _, err := p.wait(ack{}); err != nil {
		t.Fatal(err)
	}
	if o := see(); o.State != "stopped" {
		t.Errorf("stopped, it is %+v", o)
	}
}
