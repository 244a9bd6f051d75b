package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"
)

var everyDamage = flag.Bool("every-damage", false, "have TestEveryFile damage every file in every way")

// damages are what is done to a file, one at a time.
var damages = []struct {
	name string
	do   func(path string, b []byte) error
}{
	{"deleted", func(path string, _ []byte) error { return os.Remove(path) }},
	{"emptied", func(path string, _ []byte) error { return os.Truncate(path, 0) }},
	{"cut", func(path string, b []byte) error { return os.Truncate(path, int64(len(b)/2)) }},
	{"flipped", func(path string, b []byte) error {
		if len(b) == 0 {
			return os.WriteFile(path, []byte{1}, 0o600)
		}
		b = bytes.Clone(b)
		b[len(b)/2] ^= 4
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		return os.WriteFile(path, b, info.Mode())
	}},
}

// harmless are files whose loss loses nothing but what they say to people.
var harmless = []string{"lock", "run"}

// stutter finds what an error says twice in a row.
func stutter(text string) string {
	words := strings.Fields(text)
	for i := range words[:max(0, len(words)-1)] {
		if strings.HasSuffix(words[i], ":") && strings.TrimSuffix(words[i+1], ":") == strings.TrimSuffix(words[i], ":") {
			return words[i] + " " + words[i+1]
		}
	}
	return ""
}

// accusations are words for what somebody did, not for what happened to a file.
var accusations = regexp.MustCompile(`forg|tamper|another history|do not rely|not by the agent|wrong-key`)

// identifiers are names that may have any word in them: DIDs, CIDs and hashes, and paths of
// folders that a test made.
var identifiers = regexp.MustCompile(`did:key:\w+|bafk\w+|\b[0-9a-f]{8,}\b|` + regexp.QuoteMeta(filepath.Clean(os.TempDir())) + `/[^\s"']*`)

// wording leaves out the identifiers in a text.
func wording(text string) string { return identifiers.ReplaceAllString(text, "_") }

func TestWording(t *testing.T) {
	if got := wording(proof("bafkreioyforglajop did:key:z6MkpanicXforg " + filepath.Join(t.TempDir(), "forg") + ": abcdef0123 says panic")); got != "_ _ _ _ says panic" {
		t.Errorf("%q", got)
	}
}

// TestEveryFile damages each file of a stopped agent's folder in turn, and asks every
// command. None panics, none accuses anybody of what a disk did, and what is lost is
// said: by resume, unless it loses nothing, and by status and repair in any case. What
// repair mends from a copy of the folder is as before. With -v, it shows a table of what
// each command says.
func TestEveryFile(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	t.Cleanup(server.Close)
	u, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	for name, born := range map[string][]string{
		"observer": {"run", filepath.Join(agents(t), "observer.wasm"), "--ticks=7"},
		"actor":    {"run", actor(t, u, "unsafe"), "--ticks=8", "--budget=1", "--price=0", "--pay-at=" + server.URL},
		"packed":   {"run", filepath.Join(agents(t), "observer.wasm"), "--ticks=40"},
	} {
		t.Run(name, func(t *testing.T) {
			home := t.TempDir()
			whole := filepath.Join(home, "whole")
			if got := tell(append(born, "--dir", whole, "--tick-interval=0", "--checkpoint-every=3", "-q")...); got.code != 0 {
				t.Fatalf("%+v", got)
			}
			if name == "packed" {
				pack(t, whole)
			}
			segments, err := filepath.Glob(filepath.Join(whole, "events", "*.events"))
			if err != nil || len(segments) < 4 {
				t.Fatalf("%q, %v", segments, err)
			}
			m := &damageMatrix{T: t, open: "events/" + filepath.Base(segments[len(segments)-1]), newest: "events/" + filepath.Base(segments[len(segments)-2]), whole: whole, logs: tell("logs", whole).out, effects: tell("effects", whole, "--json").out}
			var files []string
			err = filepath.WalkDir(whole, func(path string, d fs.DirEntry, err error) error {
				if err == nil && d.Type().IsRegular() {
					rel, _ := filepath.Rel(whole, path)
					files = append(files, rel)
				}
				return err
			})
			if err != nil || len(files) < 14 {
				t.Fatalf("%q, %v", files, err)
			}
			for i, file := range files {
				packed := file == "packed" || file == "receipts" || slices.Contains([]string{".car", ".pack"}, filepath.Ext(file))
				if name == "packed" && !packed {
					continue // as of those that are not
				}
				for j, d := range damages {
					if !*everyDamage && (i+j)%len(damages) != 0 && !(name == "packed" && file == "packed") {
						continue // each file once, and not always by the same
					}
					m.try(file, d.name, d.do)
				}
			}
			m.show()
		})
	}
}

// pack lives on until checkpoints are packed, and their own files are gone.
func pack(t *testing.T, dir string) {
	t.Helper()
	for range 50 {
		_, err := os.Stat(filepath.Join(dir, "packed"))
		_, left := os.Stat(filepath.Join(dir, "history", "0000000000.ckpt"))
		if err == nil && left != nil {
			return
		}
		if got := tell("resume", dir, "--ticks=3", "--tick-interval=20ms", "--checkpoint-every=3", "-q"); got.code != 0 {
			t.Fatalf("%+v", got)
		}
	}
	t.Fatal("nothing is packed")
}

type damageMatrix struct {
	*testing.T
	whole         string
	open, newest  string // the segment in which nothing is yet, and the one before it
	logs, effects string // of the whole one
	rows          [][]string
}

var damageCommands = []string{"ls", "status", "verify", "resume", "replay", "receipts", "logs", "export", "fork", "repair", "mended"}

func (m *damageMatrix) copyOf(t *testing.T, name string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), name)
	if err := os.CopyFS(dir, os.DirFS(m.whole)); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(dir, "key"), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

func (m *damageMatrix) try(file, how string, do func(string, []byte) error) {
	m.Run(file+" "+how, func(t *testing.T) {
		b, err := os.ReadFile(filepath.Join(m.whole, file))
		if err != nil {
			t.Fatal(err)
		}
		damaged := func(name string) string {
			dir := m.copyOf(t, name)
			if err := do(filepath.Join(dir, file), b); err != nil {
				t.Fatal(err)
			}
			return dir
		}
		row := []string{file, how}
		said := map[string]told{}
		look := damaged("look") // for those that change nothing
		checkpoint := strings.HasPrefix(file, "history/")
		for _, command := range damageCommands {
			var got told
			switch command {
			case "ls":
				got = tell("ls", filepath.Dir(look))
			case "export":
				got = tell("history", "export", look, "-o", filepath.Join(filepath.Dir(look), "x.car"))
				os.Remove(filepath.Join(filepath.Dir(look), "x.car"))
			case "fork":
				got = tell("fork", look, "--at", "6", "--dir", filepath.Join(t.TempDir(), "fork"))
			case "resume":
				got = tell("resume", damaged("resumed"), "--ticks=1", "--tick-interval=0", "-q")
			case "mended":
				dir := damaged("mended")
				if got = tell("repair", dir, "--yes"); got.code == 0 {
					got = tell("resume", dir, "--ticks=1", "--tick-interval=0", "-q")
				}
			default:
				got = tell(command, look)
			}
			said[command] = got
			row = append(row, inShort(got))
			text := wording(proof(got.out + got.stderr))
			if strings.Contains(text, "panic") || strings.Contains(text, "goroutine ") || strings.Contains(text, "runtime error") {
				t.Errorf("%s panics:\n%s", command, text)
			}
			if s := stutter(got.stderr); s != "" {
				t.Errorf("%s stutters: %q in\n%s", command, s, got.stderr)
			}
			// A checkpoint that is cut is no whole history, and that verification says.
			if !checkpoint && accusations.MatchString(text) {
				t.Errorf("%s accuses:\n%s", command, text)
			}
			if got.code != 0 && got.stderr == "" && !slices.Contains([]string{"verify", "replay", "receipts"}, command) {
				t.Errorf("%s exits with %d, and does not say why", command, got.code)
			}
		}
		m.rows = append(m.rows, row)
		m.judge(t, file, how, said, damaged)
	})
}

// proof leaves out what a report says that it does not prove.
func proof(text string) string {
	if i := strings.Index(text, "\nIt does not prove "); i >= 0 {
		end := strings.Index(text[i:], "\n\n")
		if end < 0 {
			end = len(text) - i
		}
		return text[:i] + text[i+end:]
	}
	return text
}

// judge checks that nothing is lost without a word.
func (m *damageMatrix) judge(t *testing.T, file, how string, said map[string]told, damaged func(string) string) {
	car, pack := filepath.Ext(file) == ".car", filepath.Ext(file) == ".pack"
	unread := how == "flipped" && (car || pack) // by those that do not read what is packed
	noMark := file == "packed" && how == "deleted"
	if slices.Contains(harmless, file) || noMark || file == m.open && (how == "emptied" || how == "cut") { // as a killed process leaves it
		for command, got := range said {
			if got.code != 0 {
				t.Errorf("%s exits with %d:\n%s", command, got.code, got.stderr)
			}
		}
		return
	}
	for _, command := range []string{"status", "repair"} {
		named := strings.Contains(said[command].out, file)
		if strings.HasPrefix(file, "history/") && how == "deleted" && command == "status" { // it names the one after it
			named = strings.Contains(said[command].out, "history/")
		}
		if pack && unread && command == "repair" { // it names what is in it
			named = strings.Contains(said[command].out, "events/")
		}
		if unread && command == "status" {
			continue
		}
		if got := said[command]; got.code == 0 || !named {
			t.Errorf("%s exits with %d, and does not name it:\n%s%s", command, got.code, got.out, got.stderr)
		}
	}
	resumed := said["resume"]
	if resumed.code != 0 {
		if !strings.Contains(resumed.stderr, "\nhint: ") {
			t.Errorf("resume does not say what to do:\n%s", resumed.stderr)
		}
		if !slices.Contains([]int{exitDamaged, exitNoAccess}, resumed.code) {
			t.Errorf("resume exits with %d:\n%s", resumed.code, resumed.stderr)
		}
		if inHistory := strings.HasPrefix(file, "history/"); said["ls"].code == 0 && !inHistory {
			t.Errorf("resume refuses, and ls does not say that it is broken:\n%s\n%s", resumed.stderr, said["ls"].out)
		}
	} else if resumed.stderr == "" {
		// Without a word: then everything is there.
		dir := damaged("silent")
		asked := [][]string{{"resume", dir, "--ticks=1", "--tick-interval=0", "-q"}, {"verify", dir}, {"receipts", dir}}
		old := strings.HasPrefix(file, "events/") && (pack || file < m.newest) // what is in it, resume does not need, and does not read
		if unread && car {
			if got := tell("verify", dir); got.code == 0 {
				t.Errorf("verify: exit code %d\n%s%s", got.code, got.out, got.stderr)
			}
			asked, old = asked[:1], true
		}
		if !old {
			asked = append(asked, []string{"replay", dir}, []string{"status", dir})
		} else if got := tell("logs", dir); got.code != exitDamaged && m.logs != "" && !car {
			t.Errorf("logs of %s: exit code %d\n%s", file, got.code, got.stderr)
		}
		for _, args := range asked {
			if got := tell(args...); got.code != 0 {
				t.Errorf("%q after a resume that said nothing: exit code %d\n%s%s", args[0], got.code, got.out, got.stderr)
			}
		}
		if got := tell("logs", dir); !old && (got.code != 0 || !strings.HasPrefix(clockless(got.out), clockless(m.logs))) {
			t.Errorf("the log after a resume that said nothing:\n%s%s\nwant it to begin with\n%s", got.out, got.stderr, m.logs)
		}
		if got := tell("effects", dir, "--json"); got.code != 0 || got.out != m.effects {
			t.Errorf("the effects after a resume that said nothing:\n%s%s\nwant\n%s", got.out, got.stderr, m.effects)
		}
	}
	// From a copy, all is as it was, but for what a copy cannot say: what happened since.
	dir := damaged("restored")
	tell("repair", dir, "--from", m.whole, "--yes")
	if file != "journal" && !regexp.MustCompile(`^(events|history)/0*(7|8|9)\.`).MatchString(file) {
		for _, command := range []string{"status", "repair", "verify", "replay", "receipts"} {
			if got := tell(command, dir); got.code != 0 {
				t.Errorf("%s after repair --from: exit code %d\n%s%s", command, got.code, got.out, got.stderr)
			}
		}
	}
	if got := tell("resume", dir, "--ticks=1", "--tick-interval=0", "-q"); got.code != 0 {
		t.Errorf("resume after repair --from: exit code %d\n%s", got.code, got.stderr)
	}
	if got := tell("verify", dir); got.code != 0 {
		t.Errorf("verify after repair --from and resume: exit code %d\n%s", got.code, got.out)
	}
}

// clockless leaves out the times of log lines, which files may say.
func clockless(logs string) string {
	return regexp.MustCompile(`(?m)^\S+ `).ReplaceAllString(logs, "")
}

// inShort says in a word what a command did: its exit code, and whether it warned.
func inShort(got told) string {
	s := fmt.Sprint(got.code)
	if got.code == 0 {
		s = "ok"
		if strings.Contains(got.stderr, "level=WARN") {
			s = "warns"
		}
		if strings.Contains(got.out, "damaged (") || strings.Contains(got.out, "are missing:") || strings.Contains(got.out, "it is missing") {
			s = "notes"
		}
	}
	return s
}

func (m *damageMatrix) show() {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 1, ' ', 0)
	fmt.Fprintln(w, "file\tdamage\t"+strings.Join(damageCommands, "\t"))
	for _, row := range m.rows {
		fmt.Fprintln(w, strings.Join(row, "\t"))
	}
	if err := errors.Join(w.Flush()); err != nil {
		m.Error(err)
	}
	m.Logf("what each command says: its exit code, whether it warns, or notes it in a list\n%s", &b)
}
