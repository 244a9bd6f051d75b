package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
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
