package arweave_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"igor.dev/archive"
	"igor.dev/archive/archivetest"
	"igor.dev/archive/arweave"
	"igor.dev/archive/arweave/ans104"
	"igor.dev/archive/arweave/arweavetest"
	"igor.dev/archive/targettest"
	"igor.dev/internal/testkit"
	"igor.dev/segment"
	"igor.dev/verifier/published"
)

var (
	_ archive.Target    = (*arweave.Target)(nil)
	_ archive.Confirmer = (*arweave.Target)(nil)
)

var key = testkit.NewAgent("archive key").Private

func open(t *testing.T, more string, handlers ...http.Handler) *arweave.Target {
	t.Helper()
	var urls []string
	for _, h := range handlers {
		server := httptest.NewServer(h)
		t.Cleanup(server.Close)
		urls = append(urls, server.URL)
	}
	name := "arweave+" + urls[0] + "/v1?"
	for _, g := range urls[1:] {
		name += "gateway=" + g + "&"
	}
	c, err := arweave.ParseURL(strings.TrimRight(strings.ReplaceAll(name+more, "BUNDLER", urls[0]), "?&"))
	if err != nil {
		t.Fatal(err)
	}
	c.Key, c.LostAfter = key, 50*time.Millisecond
	target, err := arweave.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	return target
}

func TestTarget(t *testing.T) { targettest.Run(t, open(t, "", arweavetest.New(1))) }

// archiveTo archives a life to a target until it is final, or time is over.
func archiveTo(t *testing.T, l *archivetest.Life, dir string, wait time.Duration, targets ...archive.Target) *archive.Task {
	t.Helper()
	return archiveUntil(t, l, dir, wait, func(task *archive.Task) bool {
		tick, _ := task.Final()
		return tick == l.Tick(l.Len()-1)
	}, targets...)
}

func archiveUntil(t *testing.T, l *archivetest.Life, dir string, wait time.Duration, done func(*archive.Task) bool, targets ...archive.Target) *archive.Task {
	t.Helper()
	a, err := archive.New(archive.Config{Targets: targets, Rule: segment.Rule{Checkpoints: 5}, Parts: archive.DefaultParts, Key: key, Retry: time.Millisecond, Ask: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	task := a.Begin(l.Archive(dir))
	task.Saved(l.Tick(l.Len() - 1))
	for end := time.Now().Add(wait); time.Now().Before(end) && !done(task); time.Sleep(time.Millisecond) {
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	task.End(ctx)
	return task
}

func fetch(t *testing.T, l *archivetest.Life, target archive.Target) (*archive.Found, error) {
	t.Helper()
	f := archive.Fetch{Targets: []archive.Target{target}, Agent: l.Key(), Segment: func(archive.Cut, []byte) error { return nil }}
	return f.Life(t.Context())
}

func TestArchive(t *testing.T) {
	l, server := archivetest.NewLife("arweave", 20), arweavetest.New(1)
	server.Free, server.Price = 100, 3
	target := open(t, "price=BUNDLER/v1", server)
	dir := t.TempDir()
	task := archiveTo(t, l, dir, 10*time.Second, target)
	if tick, _ := task.Final(); tick != l.Tick(19) {
		t.Fatal(task.Status())
	}
	if s := task.Status()[0]; s.Spent < 1000 || s.Behind != 0 {
		t.Errorf("%+v", s)
	}
	for name, of := range server.Items() {
		if len(of) != 1 {
			t.Errorf("%s is there %d times", name, len(of))
		}
	}
	found, err := fetch(t, l, open(t, "", server))
	if err != nil || !found.Whole() || found.Last().Last != l.Tick(19) {
		t.Fatal(found, err)
	}
	// Without its records, and with another key, nothing is uploaded that is there.
	before, _ := server.Ever()
	again := archiveTo(t, l, t.TempDir(), 10*time.Second, target)
	if tick, _ := again.Final(); tick != l.Tick(19) {
		t.Fatal(again.Status())
	}
	after, _ := server.Ever()
	if len(after) != len(before) {
		t.Errorf("%d items are %d", len(before), len(after))
	}
}

// TestSpam: others put items there that claim to be the life's.
func TestSpam(t *testing.T) {
	l, server := archivetest.NewLife("spam", 20), arweavetest.New(1)
	other := testkit.NewAgent("spammer").Private
	spam := func(name string, data []byte) {
		i, err := ans104.Sign(other, []ans104.Tag{{Name: "App-Name", Value: "Igor"}, {Name: "DID", Value: l.Key().DID()}, {Name: "Name", Value: name}}, data)
		if err != nil {
			t.Fatal(err)
		}
		server.Add(i)
	}
	for i := range 250 {
		spam("segments/0.car", fmt.Appendf(nil, "spam %d", i))
		spam("segments/9999.car", fmt.Appendf(nil, "spam %d", i))
	}
	spam("segments/1.parts", []byte("spam"))
	target := open(t, "", server)
	if task := archiveTo(t, l, t.TempDir(), 20*time.Second, target); task.Status()[0].Behind > 0 {
		t.Fatal(task.Status())
	}
	found, err := fetch(t, l, open(t, "", server))
	if err != nil || !found.Whole() {
		t.Fatal(found, err)
	}
}

// TestGateways: of several gateways some lie, and what only the bundler's own shows is not
// final.
func TestGateways(t *testing.T) {
	l, server := archivetest.NewLife("gateways", 10), arweavetest.New(1)
	liar := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/raw/") {
			fmt.Fprint(w, "something else")
			return
		}
		server.ServeHTTP(w, r)
	})
	if task := archiveTo(t, l, t.TempDir(), 10*time.Second, open(t, "", server, liar, server)); task.Status()[0].Behind > 0 {
		t.Fatal("one of two gateways lies:", task.Status())
	}
	l = archivetest.NewLife("gateways 2", 10)
	task := archiveTo(t, l, t.TempDir(), 300*time.Millisecond, open(t, "", server, liar, liar))
	if s := task.Status()[0]; s.Segments > 0 || !strings.Contains(s.Error, "other bytes") {
		t.Fatalf("both lie: %+v", s)
	}
	nothing := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/graphql" {
			server.ServeHTTP(w, r)
			return
		}
		http.NotFound(w, r)
	})
	l = archivetest.NewLife("gateways 3", 10)
	task = archiveTo(t, l, t.TempDir(), 300*time.Millisecond, open(t, "", server, nothing))
	if s := task.Status()[0]; s.Segments > 0 || !strings.Contains(s.Error, "gateways do not have it") {
		t.Fatalf("none has it: %+v", s)
	}
}

// TestFaults: what a bundler does wrong, the archive gets over.
func TestFaults(t *testing.T) {
	for name, f := range map[string]arweavetest.Faults{
		"busy": {Busy: 30}, "broken": {Broken: 30}, "unsaid": {Unsaid: 30}, "lies": {Lie: 30}, "rots": {Rot: 30}, "loses": {Lose: 40},
		"all": {Busy: 10, Broken: 10, Unsaid: 10, Lie: 10, Rot: 20, Lose: 40, Slow: 2 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, server := archivetest.NewLife("arweave "+name, 20), arweavetest.New(7)
			server.Set(f)
			task := archiveTo(t, l, t.TempDir(), 30*time.Second, open(t, "", server))
			if tick, _ := task.Final(); tick != l.Tick(19) {
				t.Fatal(task.Status())
			}
			server.Set(arweavetest.Faults{})
			for name, of := range server.Items() {
				if len(of) != 1 {
					t.Errorf("%s is there %d times", name, len(of))
				}
			}
			if found, err := fetch(t, l, open(t, "", server)); err != nil || !found.Whole() {
				t.Fatal(found, err)
			}
			if _, lost := server.Ever(); f.Lose > 0 && lost == 0 {
				t.Error("nothing was lost")
			}
		})
	}
}

// TestMoney: what costs too much, or is not paid for, is not archived, and it is said why.
func TestMoney(t *testing.T) {
	for name, c := range map[string]struct {
		more, want string
		poor       bool
	}{
		"too much":  {"price=BUNDLER/v1&most=2000", "may cost at most 2000", false},
		"not known": {"most=500", "is not known", false},
		"poor":      {"", "wants money first", true},
	} {
		l, server := archivetest.NewLife("money "+name, 10), arweavetest.New(1)
		server.Free = 10
		server.Set(arweavetest.Faults{Poor: c.poor})
		refused := func(task *archive.Task) bool { return task.Status()[0].Error != "" }
		task := archiveUntil(t, l, t.TempDir(), 20*time.Second, refused, open(t, c.more, server))
		if s := task.Status()[0]; s.Segments > 0 || s.Spent > 0 && c.poor || !strings.Contains(s.Error, c.want) {
			t.Errorf("%s: %+v", name, s)
		}
	}
}

// TestHostile asks servers that answer what they should not.
func TestHostile(t *testing.T) {
	k := published.SegmentKey(archivetest.NewLife("hostile", 1).Key(), 0)
	id := ans104.ID([]byte("x"))
	for name, c := range map[string]struct{ path, body string }{
		"endless":        {"/graphql", strings.Repeat(" ", 2<<20)},
		"no json":        {"/graphql", "<html>"},
		"null":           {"/graphql", "null"},
		"errors":         {"/graphql", `{"errors": [{"message": "\u001b[2J no"}]}`},
		"deep":           {"/graphql", strings.Repeat("[", 100000)},
		"too many":       {"/graphql", `{"data": {"transactions": {"edges": [` + strings.Repeat(`{"cursor": "a"},`, 200) + `{}]}}}`},
		"another status": {"/v1/tx/" + id + "/status", `{"status": "WHATEVER"}`},
		"a list":         {"/v1/tx/" + id + "/status", `["FINALIZED"]`},
		"a bad gateway":  {"/v1/info", `{"gateway": "file:///etc"}`},
	} {
		server := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch {
			case r.URL.Path == c.path:
				fmt.Fprint(w, c.body)
			case r.URL.Path == "/v1/info":
				fmt.Fprintf(w, `{"gateway": "http://%s"}`, r.Host)
			default:
				http.NotFound(w, r)
			}
		})
		target := open(t, "", server)
		_, statusErr := target.Confirm(t.Context(), k, id)
		err := target.Candidates(t.Context(), k, func(archive.Entry) error { return nil })
		if strings.Contains(c.path, "status") {
			err = statusErr
		}
		if err == nil || len(err.Error()) > 500 || strings.Contains(err.Error(), "\x1b") {
			t.Errorf("%s: %v", name, err)
		}
	}
	// A page that leads to itself, for ever.
	asked := 0
	server := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/graphql" {
			asked++
			fmt.Fprintf(w, `{"data": {"transactions": {"pageInfo": {"hasNextPage": true}, "edges": [{"cursor": "%d", "node": {}}]}}}`, asked)
			return
		}
		fmt.Fprintf(w, `{"gateway": "http://%s"}`, r.Host)
	})
	target := open(t, "", server)
	if err := target.Candidates(t.Context(), k, func(archive.Entry) error { return nil }); err == nil || asked > 2000 {
		t.Error(err, asked)
	}
	if _, err := target.Confirm(t.Context(), k, "../../etc"); err == nil {
		t.Error("asked for an ID that is none")
	}
}

func TestParseURL(t *testing.T) {
	for _, bad := range []string{"", "arweave", "arweave+ftp://h", "arweave+https://", "arweave+https://u:p@h", "arweave+https://h?x=1", "arweave+https://h?most=-1",
		"arweave+https://h?most=1&most=2", "arweave+https://h?gateway=x", "arweave+https://h?price=x", "arweave+https://h?gateway=%zz",
		"arweave+https://h?" + strings.Repeat("gateway=https://g&", 9)} {
		if c, err := arweave.ParseURL(bad); err == nil {
			t.Errorf("%q: %+v", bad, c)
		}
	}
	c, err := arweave.ParseURL("arweave+https://h/v1/?gateway=https://a&gateway=https://b/&most=5")
	if err != nil || c.Bundler != "https://h/v1" || !slices.Equal(c.Gateways, []string{"https://a", "https://b"}) || c.Most != 5 {
		t.Errorf("%+v, %v", c, err)
	}
	target, _ := arweave.Open(c)
	if _, err := target.Put(t.Context(), "igor/"+testkit.NewAgent("x").DID()+"/x", nil, true); !errors.Is(err, archive.ErrReadOnly) {
		t.Error(err)
	}
	if bytes.Equal(key, ed25519.PrivateKey{}) {
		t.Error("no key")
	}
}
