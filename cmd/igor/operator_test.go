package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// An operator does what docs/operating.md says, below a root of its own. The service
// manager is this test, which runs what the units have; other machines and users are
// folders; and the package, packaging/debian/try.sh installs.
type operator struct {
	*desk
	root, other string
	paths       *strings.Replacer
	service     *exec.Cmd // nil while the service is stopped
	log         bytes.Buffer
}

func (o *operator) watcher() string { return filepath.Join(o.root, "var/lib/igor/watcher") }

// serve starts the service igor, as its unit says.
func (o *operator) serve() {
	o.t.Helper()
	unit, err := os.ReadFile("../../packaging/systemd/igor.service")
	if err != nil {
		o.t.Fatal(err)
	}
	flags, err := os.ReadFile(filepath.Join(o.root, "etc/igor/igor.env"))
	if err != nil {
		o.t.Fatal(err)
	}
	_, start, ok := strings.Cut(string(unit), "\nExecStart=/usr/bin/")
	start, _, _ = strings.Cut(start, "\n")
	_, value, set := strings.Cut(strings.TrimSpace(string(flags)), "IGOR_FLAGS=")
	if !ok || !set {
		o.t.Fatalf("the unit says %q, and its flags are %q", start, flags)
	}
	start = strings.ReplaceAll(o.paths.Replace(start), "$IGOR_FLAGS", value)
	o.service = exec.Command("sh", "-c", "exec "+start)
	o.service.Dir, o.service.Env, o.service.Stderr = o.root, o.env, &o.log
	if err := o.service.Start(); err != nil {
		o.t.Fatal(err)
	}
}

// end stops the service, as systemd does.
func (o *operator) end() {
	o.t.Helper()
	if o.service == nil {
		return
	}
	o.service.Process.Signal(syscall.SIGTERM)
	if err := o.service.Wait(); err != nil {
		o.t.Errorf("the service ended with %v\n%s", err, o.log.Bytes())
	}
	o.service = nil
}

// until waits for what a service does soon.
func (o *operator) until(what string, is func() bool) {
	o.t.Helper()
	for deadline := time.Now().Add(time.Minute); !is(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			o.t.Fatalf("not %s:\n%s", what, o.log.Bytes())
		}
	}
}

// unresolved returns the IDs of effects of which nobody knows.
func (o *operator) unresolved() (ids []string) {
	o.t.Helper()
	out, err := o.shell("igor effects " + o.watcher() + " --json")
	var all []struct{ ID, State string }
	if err == nil {
		err = json.Unmarshal([]byte(out), &all)
	}
	if err != nil {
		o.t.Fatalf("%v\n%s", err, out)
	}
	for _, e := range all {
		if e.State == "unresolved" {
			ids = append(ids, e.ID[:16])
		}
	}
	return ids
}

// alive has the service run, and waits for the watcher to live in it.
func (o *operator) alive() {
	o.t.Helper()
	if o.service == nil {
		o.serve()
	}
	o.until("alive", func() bool { _, err := o.shell("igor checkpoint " + o.watcher()); return err == nil })
}

// do does what a line of the page says, and wants it to exit with code.
func (o *operator) do(line string, code int) {
	o.t.Helper()
	word, rest, _ := strings.Cut(line, " ")
	own := o.paths.Replace(line)
	switch word {
	case "apt-get", "useradd", "make": // packaging/debian/try.sh
		return
	case "systemctl":
		switch rest {
		case "daemon-reload":
		case "stop igor":
			o.end()
		case "start igor", "enable --now igor":
			o.serve()
		default:
			o.t.Fatalf("the test knows no %s", line)
		}
		return
	case "journalctl":
		o.until("in the log", func() bool { return bytes.Contains(o.log.Bytes(), []byte(`"msg":"alive"`)) })
		return
	case "sudo":
		own = strings.TrimPrefix(own, "sudo -u igor ")
	case "ssh":
		own = strings.ReplaceAll(strings.TrimPrefix(own, "ssh other "), o.root, o.other)
	case "rsync":
		from, to, ok := strings.Cut(strings.TrimPrefix(own, "rsync -a --chown=igor:igor "), " other:")
		if !ok {
			o.t.Fatalf("the test knows no %s", line)
		}
		own = "cp -a " + from + ". " + strings.ReplaceAll(to, o.root, o.other)
	}
	if strings.Contains(own, "igor logs ") { // that follows never ends
		own = strings.ReplaceAll(own, " -f", "")
	}
	out, err := o.shell(own)
	if got := exitOf(err); got != code {
		o.t.Fatalf("%s: %v\n%s", own, err, out)
	}
}

func exitOf(err error) int {
	if err == nil {
		return 0
	}
	if exit, ok := err.(*exec.ExitError); ok {
		return exit.ExitCode()
	}
	return -1
}

// TestOperator runs every command of docs/operating.md, from top to bottom.
func TestOperator(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("curl is not here")
	}
	page, err := os.ReadFile("../../docs/operating.md")
	if err != nil {
		t.Fatal(err)
	}
	silent := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	t.Cleanup(silent.Close)
	u, err := url.Parse(silent.URL)
	if err != nil {
		t.Fatal(err)
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(free.Addr().String())
	free.Close()
	o := &operator{desk: newDesk(t), root: t.TempDir(), other: t.TempDir()}
	o.paths = strings.NewReplacer("/var/lib/igor", o.root+"/var/lib/igor", "/var/cache/igor", o.root+"/var/cache/igor", "/etc/igor", o.root+"/etc/igor", "/backup", o.root+"/backup",
		"/usr/share/igor", must(filepath.Abs("../../packaging")), "9464", port, "https://pay.example/settle", silent.URL+"/pay", "--at 812", "--at 2")
	t.Cleanup(func() {
		if o.service != nil {
			o.service.Process.Kill()
			o.service.Wait()
		}
	})
	for _, dir := range []string{o.root + "/var/lib/igor", o.other + "/var/lib/igor/.watcher", o.root + "/var/cache/igor"} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	wasm := actor(t, u, "unsafe")
	program, err := os.ReadFile(wasm)
	if err != nil {
		t.Fatal(err)
	}
	mended := append(bytes.Clone(program), 0, 2, 1, 'v') // the same, and a custom section
	manifest, err := os.ReadFile(strings.TrimSuffix(wasm, ".wasm") + ".manifest.json")
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{"watcher.wasm": program, "watcher.manifest.json": manifest, "watcher-2.wasm": mended, "watcher-2.manifest.json": manifest} {
		if err := os.WriteFile(filepath.Join(o.dir, name), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}

	// What has to be so before a block, which its first line names.
	before := map[string]func(){
		"igor top-up /var/lib/igor/watcher 5": func() {
			o.alive()
			o.until("unresolved", func() bool { return len(o.unresolved()) > 0 })
		},
		"mkdir -p -m 700 /backup": func() { // after igor stop, the service begins again
			o.end()
			o.alive()
		},
		"igor stop /var/lib/igor/watcher": o.alive,
		"igor effects /var/lib/igor/watcher": func() {
			if err := os.Rename(filepath.Join(o.other, "var/lib/igor/watcher"), o.watcher()); err != nil { // it moved
				t.Fatal(err)
			}
			o.alive()
			o.until("unresolved", func() bool { return len(o.unresolved()) > 1 })
		},
		"igor repair /var/lib/igor/watcher": func() {
			o.end()
			file := filepath.Join(o.watcher(), "journal")
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			first := 12 + int(binary.LittleEndian.Uint32(b)) // the header; after it is an effect
			b[first+60] ^= 0x40
			if err := os.WriteFile(file, b, 0o644); err != nil {
				t.Fatal(err)
			}
		},
	}
	fails := map[string]int{"igor repair /var/lib/igor/watcher": 65} // what --yes would do
	blocks := regexp.MustCompile("(?ms)^```sh\n(.*?)^```$").FindAllStringSubmatch(string(page), -1)
	ran := 0
	for _, b := range blocks {
		lines := strings.Split(strings.TrimSpace(b[1]), "\n")
		if prepare := before[lines[0]]; prepare != nil {
			prepare()
			delete(before, lines[0])
		}
		for _, line := range lines {
			ran++
			if ids := regexp.MustCompile(`igor effects (confirm|compensate) \S+ [0-9a-f]{8}`); ids.MatchString(line) {
				line = regexp.MustCompile(` [0-9a-f]{8}\b`).ReplaceAllString(line, " "+o.unresolved()[0])
			}
			o.do(line, fails[line])
		}
	}
	o.end()
	if len(before) > 0 || ran < 40 {
		t.Errorf("%d commands, and no blocks for %d preparations", ran, len(before))
	}
	for _, dir := range []string{o.watcher(), filepath.Join(o.dir, "watcher-at-2")} {
		if out, err := o.shell("igor verify " + dir + " && igor replay " + dir); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
	}

	config := regexp.MustCompile("(?ms)^```yaml\n(.*?)^```$").FindSubmatch(page)
	if config == nil {
		t.Fatal("there is no configuration of Prometheus")
	}
	file := filepath.Join(o.root, "prometheus.yml")
	if err := os.WriteFile(file, []byte(o.paths.Replace(string(config[1]))), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := exec.LookPath("promtool"); err != nil {
		t.Skip("promtool is not here: tools/needs.sh go gets it")
	}
	if out, err := exec.Command("promtool", "check", "config", file).CombinedOutput(); err != nil || !bytes.Contains(out, []byte("7 rules found")) {
		t.Errorf("%v\n%s", err, out)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(fmt.Sprint("test: ", err))
	}
	return v
}
