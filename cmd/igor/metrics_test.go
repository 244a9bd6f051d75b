package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"igor.dev/runtime"
)

// monitored is a running agent that says how it is.
type scraped struct {
	t      *testing.T
	cmd    *exec.Cmd
	stdout bytes.Buffer
	url    string
	log    *bufio.Scanner
}

// startMonitored starts an agent and returns when it has lived its first tick, after
// which it waits.
func startMonitored(t *testing.T, args ...string) *scraped {
	t.Helper()
	m := &scraped{t: t, cmd: igor(t, append(args, "--metrics", "0", "--log-format=json", "--json", "--tick-interval=1h", "--checkpoint-every=1")...)}
	m.cmd.Stdout = &m.stdout
	stderr, err := m.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := m.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.cmd.Process.Kill() })
	m.log = bufio.NewScanner(stderr)
	for m.url == "" && m.log.Scan() {
		var line struct{ Msg, URL string }
		if err := json.Unmarshal(m.log.Bytes(), &line); err != nil {
			t.Fatalf("%s: %v", m.log.Bytes(), err)
		}
		m.url = strings.TrimSuffix(line.URL, "/metrics")
	}
	if m.url == "" {
		t.Fatal("igor does not say where its metrics are")
	}
	ready := "200 ok: waiting"
	if args[0] == "up" {
		ready = "200 ok: 1 of 1 agent"
	}
	for deadline := time.Now().Add(time.Minute); !strings.HasPrefix(m.get("/readyz"), ready) || !strings.Contains(m.get("/metrics"), "\nigor_hostcalls_total"); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not ready: %s", m.get("/readyz"))
		}
	}
	return m
}

func (m *scraped) get(path string) string {
	m.t.Helper()
	r, err := http.Get(m.url + path)
	if err != nil {
		m.t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		m.t.Fatal(err)
	}
	return r.Status[:3] + " " + string(b)
}

// scrape returns the values of /metrics: of a histogram, its count.
func (m *scraped) scrape() map[string]float64 {
	m.t.Helper()
	text, ok := strings.CutPrefix(m.get("/metrics"), "200 ")
	if !ok {
		m.t.Fatal("no metrics")
	}
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(text))
	if err != nil {
		m.t.Fatal(err)
	}
	all := make(map[string]float64)
	for name, f := range families {
		if f.GetHelp() == "" {
			m.t.Errorf("%s has no help", name)
		}
		for _, s := range f.GetMetric() {
			key := name
			for _, l := range s.GetLabel() {
				key += "{" + l.GetValue() + "}"
			}
			switch f.GetType() {
			case dto.MetricType_HISTOGRAM:
				all[key] = float64(s.GetHistogram().GetSampleCount())
			case dto.MetricType_COUNTER:
				all[key] = s.GetCounter().GetValue()
			default:
				all[key] = s.GetGauge().GetValue()
			}
		}
	}
	return all
}

type ended struct {
	DID, Reason string
	Tick        uint64 `json:",string"`
	Budget      int64  `json:"budgetMicrocents,string"`
	Checkpoints int
	Hostcalls   []runtime.Usage
}

// stop ends the agent and returns the run's result.
func (m *scraped) stop() (r ended) {
	m.t.Helper()
	if err := m.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		m.t.Fatal(err)
	}
	for m.log.Scan() {
	}
	if err := m.cmd.Wait(); err != nil {
		m.t.Fatal(err)
	}
	if err := json.Unmarshal(m.stdout.Bytes(), &r); err != nil {
		m.t.Fatalf("%s: %v", m.stdout.Bytes(), err)
	}
	return r
}

func TestMetrics(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "agent")
	agree := func(m *scraped, checkpoints int) {
		t.Helper()
		if got := m.get("/healthz"); !strings.HasPrefix(got, "200 ok: waiting after tick ") {
			t.Errorf("/healthz: %s", got)
		}
		got := m.scrape()
		r := m.stop()
		want := map[string]float64{
			"igor_agent_info{agent}{" + r.DID + "}": 1,
			"igor_tick":                             float64(r.Tick),
			"igor_ticks_total":                      1,
			"igor_tick_duration_seconds":            1,
			"igor_checkpoints_total":                float64(r.Checkpoints),
			"igor_checkpoint_tick":                  float64(r.Tick),
			"igor_checkpoint_duration_seconds":      1,
			"igor_budget_microcents":                float64(r.Budget),
			"igor_price_microcents_per_second":      1e9,
			"igor_effects_unresolved":               0,
			"igor_held_microcents":                  0,
			"igor_replay_divergences_total":         0,
			"igor_healthy":                          1,
			// Of 9,000 that it had, or has now.
			"igor_tick_cost_microcents_total": float64(9_000_000_000*int64(r.Tick) - r.Budget),
		}
		if r.Tick == 2 { // the first tick was another process's
			delete(want, "igor_tick_cost_microcents_total")
		}
		for _, u := range r.Hostcalls {
			want["igor_hostcalls_total{agent}{"+u.Capability+"}"] = float64(u.Calls)
			want["igor_hostcall_bytes_total{agent}{"+u.Capability+"}"] = float64(u.Bytes)
			want["igor_hostcall_seconds_total{agent}{"+u.Capability+"}"] = u.Time.Seconds()
		}
		for name, v := range want {
			if !strings.Contains(name, "duration") && !strings.Contains(name, "{") {
				name += "{agent}"
			}
			if have, ok := got[name]; !ok || have != v {
				t.Errorf("%s is %v, want %v", name, have, v)
			}
		}
		if len(r.Hostcalls) != 3 || r.Checkpoints != checkpoints || got["igor_checkpoint_timestamp_seconds{agent}"] < 1e9 || got["go_goroutines"] == 0 {
			t.Errorf("the run came to %+v, and its metrics were %v", r, got)
		}
	}
	agree(startMonitored(t, "run", filepath.Join(agents(t), "observer.wasm"), "--dir", dir, "--budget=9000", "--price=1000"), 2)
	agree(startMonitored(t, "resume", dir), 1)
}

// TestMetricsBusy wants an address that is taken to end the run before it begins.
func TestMetricsBusy(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dir := filepath.Join(t.TempDir(), "agent")
	out, err := igor(t, "run", filepath.Join(agents(t), "observer.wasm"), "--dir", dir, "--ticks=1", "--metrics", l.Addr().String()).CombinedOutput()
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !ok || exit.ExitCode() != exitFailed || !strings.Contains(string(out), "igor: --metrics "+l.Addr().String()+": bind: address already in use\nhint: ") {
		t.Errorf("%v\n%s", err, out)
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("the agent began")
	}
}

// TestMetricsHost asks for metrics under names that a page elsewhere could have.
func TestMetricsHost(t *testing.T) {
	for _, address := range []string{"0", "[::1]:0"} {
		_, at, stop, err := serveMetrics(address)
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
	_, at, stop, err := serveMetrics("0.0.0.0:0") // a network may have whatever names
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
	if _, _, _, err := serveMetrics("::1:9464"); err == nil || !strings.Contains(nextStep(err), "[::1]:9464") {
		t.Errorf("got %v", err)
	}
}

// TestMetricsNames scrapes agents whose folders have names that no label can have.
func TestMetricsNames(t *testing.T) {
	m := newMonitor()
	for _, name := range []string{"a", "\xff", "\xfe", "a\nb\"c", "ü"} {
		m.changed(runtime.Supervised{Name: name, State: runtime.SupervisedAlive})
		m.watch(name)(runtime.Status{Phase: runtime.Waiting})
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
	m.changed(runtime.Supervised{Name: "\xff"})
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
		m := newMonitor()
		m.watch("agent")(c.status)
		w := httptest.NewRecorder()
		map[string]http.HandlerFunc{"/healthz": m.health, "/readyz": m.ready}[c.path](w, nil)
		if got := strconv.Itoa(w.Code) + " " + w.Body.String(); got != c.want {
			t.Errorf("%s of %+v: %q, want %q", c.path, c.status, got, c.want)
		}
	}
}
