//go:build !wasip1

// Package life gives an agent of this module a real life in a test: the agent as
// WebAssembly, igor as a process that can be killed, and igor-verify as the judge.
package life

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// A Life is one agent in its folder.
type Life struct {
	t            testing.TB
	tmp, dir     string
	igor, verify string

	WASM string // the agent's program
}

// New builds igor, igor-verify and the agent whose test is running, in Go or, in
// its folder of that name, in one of [Languages]. server, the URL of a server in the
// agent's source and in its manifest, is made to be local, that of one in the test.
func New(t testing.TB, language, server, local string) *Life {
	t.Helper()
	tmp := t.TempDir()
	l := &Life{t: t, tmp: tmp, dir: filepath.Join(tmp, "agent"), WASM: filepath.Join(tmp, "agent.wasm")}
	bin := l.build("plain", "igor.dev/cmd/igor", "igor.dev/cmd/igor-verify")
	l.igor, l.verify = filepath.Join(bin, "igor"), filepath.Join(bin, "igor-verify")
	if language == "go" {
		build := exec.Command("go", "build", "-buildmode=c-shared", "-ldflags=-s -X main.server="+local, "-o", l.WASM, ".")
		build.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm")
		l.run(build)
	} else {
		l.program(language, server, local)
	}

	files, err := filepath.Glob("*.manifest.json")
	if err != nil || len(files) != 1 {
		t.Fatalf("want one manifest, got %q, %v", files, err)
	}
	manifest, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	from, to := l.host(server), l.host(local)
	if !bytes.Contains(manifest, []byte(`"`+from+`"`)) {
		t.Fatalf("%s does not allow %s, and the agent uses it", files[0], from)
	}
	manifest = bytes.ReplaceAll(manifest, []byte(`"`+from+`"`), []byte(`"`+to+`"`))
	if err := os.WriteFile(filepath.Join(tmp, "agent.manifest.json"), manifest, 0o644); err != nil {
		t.Fatal(err)
	}
	return l
}

// Languages are those that an agent of this module may be in, beside Go.
var Languages = []string{"rust", "c", "assemblyscript"}

// Installed skips the test if this machine has no toolchain for a language.
func Installed(t testing.TB, language string) {
	t.Helper()
	if language == "go" {
		return
	}
	if out, err := exec.Command("make", "-s", "-C", filepath.Join("..", "..", "sdk"), "has-"+language).CombinedOutput(); err != nil {
		t.Skipf("%s is not here: tools/needs.sh languages gets it\n%s", language, out)
	}
}

// program builds the agent in another language, from a copy of its source in which
// server is local.
func (l *Life) program(language, server, local string) {
	l.t.Helper()
	Installed(l.t, language)
	agent, err := os.Getwd()
	if err != nil {
		l.t.Fatal(err)
	}
	copied := filepath.Join(l.tmp, "source")
	if err := os.CopyFS(copied, os.DirFS(language)); err != nil {
		l.t.Fatal(err)
	}
	replace := func(file, old, new string) {
		b, err := os.ReadFile(file)
		if err != nil || !bytes.Contains(b, []byte(old)) {
			l.t.Fatalf("%s has no %s: %v", file, old, err)
		}
		if err := os.WriteFile(file, bytes.ReplaceAll(b, []byte(old), []byte(new)), 0o644); err != nil {
			l.t.Fatal(err)
		}
	}
	name := filepath.Base(agent)
	replace(filepath.Join(copied, name+map[string]string{"rust": ".rs", "c": ".c", "assemblyscript": ".ts"}[language]), server, local)
	if language == "rust" {
		replace(filepath.Join(copied, "Cargo.toml"), `"../../../sdk/`, `"`+filepath.Join(agent, "..", "..", "sdk")+`/`)
	}
	l.run(exec.Command("make", "-s", "-C", "..", "program-"+language, "FROM="+copied, "NAME="+name, "TO="+l.WASM))
}

// build builds commands, and returns the folder of this test in which they are.
// What was built stays in bin/test of the repository, so that the go command,
// which knows what is up to date, links once for all packages and runs.
func (l *Life) build(name string, args ...string) (bin string) {
	l.t.Helper()
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		l.t.Fatal(err)
	}
	bin = filepath.Join(l.tmp, name)
	if err := os.Mkdir(bin, 0o755); err != nil {
		l.t.Fatal(err)
	}
	kept := filepath.Join(root, "bin", "test", name)
	if os.MkdirAll(kept, 0o755) != nil {
		kept = bin // in a clone that nobody may write to, nothing stays
	}
	folder, err := os.Open(kept)
	if err != nil {
		l.t.Fatal(err)
	}
	defer folder.Close()
	if err := syscall.Flock(int(folder.Fd()), syscall.LOCK_EX); err != nil { // until it is closed
		l.t.Fatal(err)
	}
	build := exec.Command("go", append([]string{"build", "-buildvcs=false", "-o", kept}, args...)...)
	build.Dir = root
	l.run(build)
	if kept == bin {
		return bin
	}
	// A copy, for a later build replaces the files.
	if err := os.CopyFS(bin, os.DirFS(kept)); err != nil {
		l.t.Fatal(err)
	}
	return bin
}

func (l *Life) host(address string) string {
	l.t.Helper()
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		l.t.Fatalf("%q is no URL: %v", address, err)
	}
	return u.Host
}

func (l *Life) run(cmd *exec.Cmd) string {
	l.t.Helper()
	out, err := cmd.CombinedOutput()
	if err != nil {
		l.t.Fatalf("%s: %v\n%s", strings.Join(cmd.Args, " "), err, out)
	}
	return string(out)
}

// Command returns a command of igor.
func (l *Life) Command(args ...string) *exec.Cmd {
	cmd := exec.Command(l.igor, args...)
	cmd.Env = append(os.Environ(), "XDG_CACHE_HOME="+filepath.Join(l.tmp, "cache"), "XDG_CONFIG_HOME="+filepath.Join(l.tmp, "config"))
	return cmd
}

// A Process is igor, running the agent.
type Process struct {
	l    *Life
	cmd  *exec.Cmd
	done chan struct{}

	mu     sync.Mutex
	more   chan struct{} // closed when there is more to read
	stderr strings.Builder
	says   []string
	asked  int      // how many of says Said has passed
	acks   []string // CIDs of the checkpoints that are durable
}

// Start starts the agent: igor run the first time, later igor resume. The only
// checkpoints are the genesis and the one of a peaceful end, unless args say more;
// so everything in between has to come through a kill by other means.
func (l *Life) Start(args ...string) *Process {
	l.t.Helper()
	return l.start("", args...)
}

func (l *Life) start(failpoint string, args ...string) *Process {
	l.t.Helper()
	command := []string{"resume", l.dir}
	if _, err := os.Stat(l.dir); err != nil {
		command = []string{"run", l.WASM, "--dir", l.dir, "--price=0"}
	}
	command = append(command, "--log-format=json", "--checkpoint-every=1h", "--tick-interval=20ms")
	p := &Process{l: l, cmd: l.Command(append(command, args...)...), done: make(chan struct{}), more: make(chan struct{})}
	if failpoint != "" {
		p.cmd.Env = append(p.cmd.Env, "IGOR_FAILPOINT="+failpoint)
	}
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		l.t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { p.cmd.Process.Kill() })
	go func() {
		defer close(p.done)
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			var line struct{ Msg, Says, CID string }
			json.Unmarshal(lines.Bytes(), &line) // one cut by the kill says nothing
			p.mu.Lock()
			p.stderr.Write(append(lines.Bytes(), '\n'))
			switch line.Msg {
			case "agent":
				p.says = append(p.says, line.Says)
			case "checkpoint":
				p.acks = append(p.acks, line.CID)
			}
			close(p.more)
			p.more = make(chan struct{})
			p.mu.Unlock()
		}
	}()
	return p
}

// Said waits for the agent to log a line with text in it, after those that Said
// returned before, and returns it.
func (p *Process) Said(text string) string {
	p.l.t.Helper()
	tooLong := time.After(time.Minute)
	for {
		p.mu.Lock()
		for p.asked < len(p.says) {
			line := p.says[p.asked]
			p.asked++
			if strings.Contains(line, text) {
				p.mu.Unlock()
				return line
			}
		}
		more := p.more
		p.mu.Unlock()
		select {
		case <-more:
		case <-p.done:
			p.l.t.Fatalf("the agent ended, and never said %q:\n%s", text, p.log())
		case <-tooLong:
			p.l.t.Fatalf("the agent does not say %q:\n%s", text, p.log())
		}
	}
}

func (p *Process) log() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stderr.String()
}

// Kill ends the process as a power failure would, and waits until it is gone.
func (p *Process) Kill() {
	p.l.t.Helper()
	if err := p.cmd.Process.Kill(); err != nil {
		p.l.t.Fatal(err)
	}
	<-p.done
	if err := p.cmd.Wait(); err == nil {
		p.l.t.Fatalf("igor ended before it was killed:\n%s", p.log())
	}
}

// Stop ends the process in peace: with a last checkpoint.
func (p *Process) Stop() {
	p.l.t.Helper()
	if err := p.cmd.Process.Signal(os.Interrupt); err != nil {
		p.l.t.Fatal(err)
	}
	<-p.done
	if err := p.cmd.Wait(); err != nil {
		p.l.t.Fatalf("igor: %v\n%s", err, p.log())
	}
}

// Verify wants the whole life green, its receipts too, and every tick to come to
// the same state when it is run again.
func (l *Life) Verify() {
	l.t.Helper()
	l.run(exec.Command(l.verify, l.dir))
	l.run(exec.Command(l.verify, "receipts", l.dir))
	l.run(l.Command("replay", l.dir))
}

// Effects returns what igor effects lists: the side effects whose outcome the
// journal does not know.
func (l *Life) Effects() string {
	l.t.Helper()
	return l.run(l.Command("effects", l.dir))
}

// State returns the state in the newest checkpoint.
func (l *Life) State() []byte {
	l.t.Helper()
	checkpoints := l.history()
	return checkpoints[len(checkpoints)-1][header:]
}

const header = 209 // of a checkpoint: docs/spec/checkpoint.md

// history returns the checkpoints, the newest last.
func (l *Life) history() (checkpoints [][]byte) {
	l.t.Helper()
	b, err := l.Command("history", "export", l.dir, "-o", "-").Output()
	if err != nil {
		l.t.Fatalf("igor history export: %v", err)
	}
	// docs/spec/car.md: a length and the header, then of each block a length, 36 bytes of
	// CID, and the checkpoint.
	for n := 0; len(b) > 0; n++ {
		size, k := binary.Uvarint(b)
		if k <= 0 || size > uint64(len(b)-k) {
			l.t.Fatal("a CAR that is cut short")
		}
		if block := b[k : k+int(size)]; n > 0 {
			if len(block) < 36+header {
				l.t.Fatalf("a block of %d bytes", len(block))
			}
			checkpoints = append(checkpoints, block[36:])
		}
		b = b[k+int(size):]
	}
	if len(checkpoints) == 0 {
		l.t.Fatal("no history")
	}
	tick := func(checkpoint []byte) uint64 { return binary.LittleEndian.Uint64(checkpoint[17:]) }
	slices.SortFunc(checkpoints, func(a, b []byte) int { return cmp.Compare(tick(a), tick(b)) })
	return checkpoints
}
