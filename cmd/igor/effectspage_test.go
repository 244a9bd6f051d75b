package main

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// A shop is that of docs/effects.md. It kills who orders, when it is told to.
type shop struct {
	mu     sync.Mutex
	sold   map[string]int  // by item
	taken  map[string]bool // by id
	off    map[string]chan struct{}
	plan   fate
	victim *exec.Cmd
	n      int // requests of the victim
	late   sync.WaitGroup
}

// A fate is what happens to the nth request of a process: none at 0.
type fate struct {
	n    int
	what string
}

// fates are: killed, and the order is lost; or taken, and nobody hears of it; or
// taken when the next process has asked; or killed soon after the answer.
var fates = []string{"lost", "taken", "late", "answered"}

func (s *shop) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id := strings.TrimPrefix(r.URL.Path, "/orders/")
	s.mu.Lock()
	s.n++
	fate, victim := s.plan.what, s.victim
	if s.n != s.plan.n {
		fate = ""
	}
	off := s.off[id]
	if off == nil {
		off = make(chan struct{})
		s.off[id] = off
	}
	s.mu.Unlock()
	switch fate {
	case "":
	case "answered":
		defer time.AfterFunc(rand.N(3*time.Millisecond), func() { victim.Process.Kill() })
	default:
		victim.Process.Kill()
		if fate == "lost" {
			return
		}
		if fate == "late" && r.Method == "POST" {
			s.late.Add(1)
			go func() {
				defer s.late.Done()
				select {
				case <-off:
				case <-time.After(20 * time.Second): // never asked about
				}
				s.take(r.Method, id)
			}()
			return
		}
	}
	w.WriteHeader(s.take(r.Method, id))
}

// take takes an order, or a calling off, and answers.
func (s *shop) take(method, id string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	item, _, _ := strings.Cut(id, "-")
	select {
	case <-s.off[id]:
		return map[string]int{"POST": 409, "DELETE": 200}[method]
	default:
	}
	if method == "POST" {
		s.sold[item]++
		s.taken[id] = true
		return 200
	}
	if s.taken[id] {
		return 409
	}
	close(s.off[id])
	return 200
}

// run runs a program, that may be killed.
func (s *shop) run(t *testing.T, cmd *exec.Cmd, f fate) (killed bool) {
	t.Helper()
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	s.mu.Lock()
	s.plan, s.n, s.victim = f, 0, cmd
	err := cmd.Start()
	s.mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	if err = cmd.Wait(); err != nil && f.n == 0 {
		t.Fatalf("%v\n%s", err, &out)
	}
	return err != nil
}

// open opens the shop that is then current.
func open(t *testing.T) (current **shop, url string) {
	t.Helper()
	current = new(*shop)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { (*current).ServeHTTP(w, r) }))
	t.Cleanup(server.Close)
	return current, server.URL
}

func newShop() *shop {
	return &shop{sold: map[string]int{}, taken: map[string]bool{}, off: map[string]chan struct{}{}}
}

// lives lives a life for each fate of the given orders, with another fate after it,
// and then to its end.
func lives(t *testing.T, current **shop, orders []int, command func(t *testing.T, dir string) *exec.Cmd, end func(t *testing.T, dir string, sold map[string]int)) {
	kills := 0
	for _, n := range orders {
		for i, what := range fates {
			again := fate{1, fates[(i+n)%len(fates)]}
			t.Run(fmt.Sprintf("%s-%d-%s", what, n, again.what), func(t *testing.T) {
				s, dir := newShop(), t.TempDir()
				*current = s
				for _, f := range []fate{{n, what}, again, {}} {
					if s.run(t, command(t, dir), f) {
						kills++
					}
				}
				s.late.Wait()
				s.mu.Lock()
				sold := maps.Clone(s.sold)
				s.mu.Unlock()
				end(t, dir, sold)
			})
		}
	}
	if kills < len(orders)*len(fates) {
		t.Errorf("%d kills", kills)
	}
}

// TestEffectsPage compiles the programs of docs/effects.md and kills them.
func TestEffectsPage(t *testing.T) {
	page, err := os.ReadFile("../../docs/effects.md")
	if err != nil {
		t.Fatal(err)
	}
	repo, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	tmp := t.TempDir()
	if err := os.Symlink(repo, filepath.Join(tmp, "igor")); err != nil {
		t.Fatal(err)
	}
	made := igor(t, "new", "agent")
	made.Dir = tmp
	if out, err := made.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if err := os.Remove(filepath.Join(tmp, "agent", "main_test.go")); err != nil {
		t.Fatal(err)
	}
	code, lines := map[string]string{}, 0
	for _, m := range regexp.MustCompile("(?s)```\\w+ (\\S+)\n(.*?)```").FindAllStringSubmatch(string(page), -1) {
		name, text := m[1], m[2]
		code[name] = text
		if !strings.HasSuffix(name, ".go") {
			continue
		}
		if name != "trap.go" {
			lines += strings.Count(text, "\n")
		}
		dir := filepath.Join(tmp, strings.TrimSuffix(name, ".go"))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if lines == 0 || lines > 200 {
		t.Errorf("the page has %d lines of code", lines)
	}
	in := func(name string, args ...string) {
		t.Helper()
		cmd := exec.Command(args[0], args[1:]...)
		cmd.Dir = filepath.Join(tmp, name)
		cmd.Env = append(os.Environ(), "GOFLAGS=", "GOPROXY=off", "GOWORK=off", "GOTOOLCHAIN=local")
		if name == "agent" {
			cmd.Env = append(cmd.Env, "GOOS=wasip1", "GOARCH=wasm")
		}
		if out, err := cmd.CombinedOutput(); err != nil || args[0] == "gofmt" && len(out) > 0 {
			t.Fatalf("%q: %v\n%s", args, err, out)
		}
	}
	edit := regexp.MustCompile(`(?m)^go mod edit .*$`).FindString(string(page))
	for _, name := range []string{"trap", "orders"} {
		in(name, "go", "mod", "init", name)
		in(name, strings.Fields(edit)...)
	}
	for _, name := range []string{"trap", "orders", "agent"} {
		in(name, "gofmt", "-d", "main.go")
		in(name, "go", "vet", ".")
	}
	in("trap", "go", "build", "-o", "trap")
	in("orders", "go", "build", "-o", "orders")

	items := []string{"item1", "item2", "item3"}
	t.Run("trap", func(t *testing.T) {
		current, url := open(t)
		s, file := newShop(), filepath.Join(t.TempDir(), "log")
		*current = s
		for _, f := range []fate{{2, "taken"}, {}} {
			s.run(t, exec.Command(filepath.Join(tmp, "trap", "trap"), append([]string{url, file}, items...)...), f)
		}
		if s.sold["item2"] != 2 {
			t.Errorf("the trap ordered an item %d times, and the page says twice", s.sold["item2"])
		}
	})
	once := func(t *testing.T, sold map[string]int) {
		t.Helper()
		for _, item := range items {
			if sold[item] != 1 {
				t.Errorf("%s was sold %d times", item, sold[item])
			}
		}
	}
	t.Run("orders", func(t *testing.T) {
		current, url := open(t)
		lives(t, current, []int{1, 2, 3}, func(t *testing.T, dir string) *exec.Cmd {
			return exec.Command(filepath.Join(tmp, "orders", "orders"), append([]string{url, filepath.Join(dir, "log")}, items...)...)
		}, func(t *testing.T, dir string, sold map[string]int) { once(t, sold) })
	})
	t.Run("agent", func(t *testing.T) {
		current, url := open(t)
		in("agent", "go", "build", "-buildmode=c-shared", "-ldflags=-s -X main.shop="+url, "-o", "agent.wasm")
		manifest := strings.Replace(code["agent.manifest.json"], "127.0.0.1:8803", strings.TrimPrefix(url, "http://"), 1)
		if err := os.WriteFile(filepath.Join(tmp, "agent", "agent.manifest.json"), []byte(manifest), 0o644); err != nil {
			t.Fatal(err)
		}
		lives(t, current, []int{1, 3}, func(t *testing.T, dir string) *exec.Cmd {
			life := filepath.Join(dir, "life")
			flags := []string{"--until-idle", "--tick-interval=1ms", "--checkpoint-every=2"}
			if _, err := os.Stat(life); err == nil {
				return igor(t, append([]string{"resume", life}, flags...)...)
			}
			return igor(t, append([]string{"run", filepath.Join(tmp, "agent", "agent.wasm"), "--dir", life}, flags...)...)
		}, func(t *testing.T, dir string, sold map[string]int) {
			once(t, sold)
			verify(t, filepath.Join(dir, "life"), "", "")
			replayed(t, filepath.Join(dir, "life"))
		})
	})
}
