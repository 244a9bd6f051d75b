package monitor

import (
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"igor.dev/runtime"
)

func hintOf(err error) string {
	if h, ok := errors.AsType[*addressError](err); ok {
		return h.Hint()
	}
	return ""
}

// TestMetricsHost asks for metrics under names that a page elsewhere could have.
func TestMetricsHost(t *testing.T) {
	for _, address := range []string{"0", "[::1]:0"} {
		_, at, stop, err := Serve(address)
		if err != nil {
			t.Fatal(err)
		}
		_, port, err := net.SplitHostPort(at.String())
		if err != nil {
			t.Fatal(err)
		}
		for host, want := range map[string]int{
			at.String(): 200, "localhost": 200, "localhost:" + port: 200, "LOCALHOST.:" + port: 200, "127.0.0.1": 200, "[::1]:" + port: 200, "[::1]": 200, "192.168.0.7:" + port: 200,
			"evil.example": 421, "evil.example:" + port: 421, "localhost.evil.example": 421, "127.0.0.1.nip.example:" + port: 421,
		} {
			for _, path := range []string{"/metrics", "/healthz"} {
				r, err := http.NewRequest("GET", "http://"+at.String()+path, nil)
				if err != nil {
					t.Fatal(err)
				}
				r.Host = host
				got, err := http.DefaultClient.Do(r)
				if err != nil {
					t.Fatal(err)
				}
				got.Body.Close()
				if got.StatusCode != want {
					t.Errorf("%s at %s, as %q: %d, want %d", path, address, host, got.StatusCode, want)
				}
			}
		}
		stop()
	}
	_, at, stop, err := Serve("0.0.0.0:0") // a network may have whatever names
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	r, err := http.NewRequest("GET", "http://"+at.String()+"/healthz", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Host = "igor.example"
	if got, err := http.DefaultClient.Do(r); err != nil || got.StatusCode != 200 {
		t.Errorf("%v, %v", got, err)
	}
	if _, _, _, err := Serve("::1:9464"); err == nil || !strings.Contains(hintOf(err), "[::1]:9464") {
		t.Errorf("got %v", err)
	}
}

// TestMetricsNames scrapes agents whose folders have names that no label can have.
func TestMetricsNames(t *testing.T) {
	m := New()
	for _, name := range []string{"a", "\xff", "\xfe", "a\nb\"c", "ü"} {
		m.Changed(runtime.Supervised{Name: name, State: runtime.SupervisedAlive})
		m.Watch(name)(runtime.Status{Phase: runtime.Waiting})
	}
	families, err := m.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "igor_tick" && len(f.GetMetric()) != 5 {
			t.Errorf("%d agents", len(f.GetMetric()))
		}
	}
	m.Changed(runtime.Supervised{Name: "\xff"})
	if names, _ := m.now(); len(names) != 4 {
		t.Errorf("left are %q", names)
	}
}

func TestLoopback(t *testing.T) {
	for in, want := range map[string]string{"9464": "127.0.0.1:9464", ":9464": "127.0.0.1:9464", "0.0.0.0:9464": "0.0.0.0:9464",
		"[::]:1": "[::]:1", "localhost:0": "localhost:0"} {
		if got := loopback(in); got != want {
			t.Errorf("loopback(%q) = %q, want %q", in, got, want)
		}
	}
}

// TestUnhealthy asks a monitor how runs are that do not go as they should.
func TestUnhealthy(t *testing.T) {
	now := time.Now()
	for _, c := range []struct {
		path   string
		status runtime.Status
		want   string
	}{
		{"/healthz", runtime.Status{}, "200 starting\n"},
		{"/readyz", runtime.Status{}, "503 not ready: starting\n"},
		{"/healthz", runtime.Status{Phase: runtime.Recovering, Tick: 3}, "200 ok: recovering after tick 3\n"},
		{"/readyz", runtime.Status{Phase: runtime.Recovering}, "503 not ready: living again what was recorded after the newest checkpoint\n"},
		{"/readyz", runtime.Status{Phase: runtime.Waiting, Tick: 3, Due: now.Add(time.Hour)}, "200 ok: waiting after tick 3\n"},
		{"/healthz", runtime.Status{Phase: runtime.Saving, Tick: 3, Since: now.Add(-time.Hour), Due: now.Add(-time.Minute)}, "503 stalled after tick 3: saving for 1h0m0s\n"},
		{"/readyz", runtime.Status{Phase: runtime.Waiting, Tick: 9, Saved: 3, Due: now.Add(time.Hour), CheckpointDue: now.Add(-time.Hour)},
			"503 the checkpoint is overdue by 1h0m0s: the newest is of tick 3, and tick 9 is over\n"},
	} {
		m := New()
		m.Watch("agent")(c.status)
		w := httptest.NewRecorder()
		map[string]http.HandlerFunc{"/healthz": m.health, "/readyz": m.ready}[c.path](w, nil)
		if got := strconv.Itoa(w.Code) + " " + w.Body.String(); got != c.want {
			t.Errorf("%s of %+v: %q, want %q", c.path, c.status, got, c.want)
		}
	}
}

// TestAlone wants a process that is well without agents to be well and ready.
func TestAlone(t *testing.T) {
	m := New()
	m.Alone()
	for _, answer := range []http.HandlerFunc{m.health, m.ready} {
		w := httptest.NewRecorder()
		answer(w, nil)
		if w.Code != 200 || w.Body.String() != "ok: no agents\n" {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	}
}
