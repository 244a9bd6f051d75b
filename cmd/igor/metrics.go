package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"igor.dev/runtime"
	"igor.dev/verifier"
)

// A monitor says over HTTP how a run is. docs/operating.md describes what it says.
type monitor struct {
	registry *prometheus.Registry
	ticks    prometheus.Histogram
	saves    prometheus.Histogram

	mu     sync.Mutex
	status runtime.Status // its Phase is "" until the agent lives
}

// newMonitor makes the monitor of a run that has not begun.
func newMonitor() *monitor {
	m := &monitor{
		registry: prometheus.NewRegistry(),
		ticks: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "igor_tick_duration_seconds", Help: "Time that ticks took.",
			Buckets: []float64{.0001, .0005, .001, .005, .01, .05, .1, .5, 1, 5, 15},
		}),
		saves: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "igor_checkpoint_duration_seconds", Help: "Time for which making a checkpoint kept the agent from ticking.",
			Buckets: []float64{.001, .005, .01, .05, .1, .5, 1, 5, 15, 60},
		}),
	}
	m.registry.MustRegister(m, m.ticks, m.saves, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// watch takes a status of the run.
func (m *monitor) watch(s runtime.Status) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s.Ticks > m.status.Ticks {
		m.ticks.Observe(s.TickTime.Seconds())
	}
	if m.status.Phase == runtime.Saving {
		m.saves.Observe(s.SaveTime.Seconds())
	}
	m.status = s
}

func (m *monitor) now() runtime.Status {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.status
}

// What is collected at a scrape, from the newest status.
var samples = []struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(*runtime.Status) float64
}{
	{describe("igor_ticks_total", "Ticks lived by this process, without those lived again after a crash."), prometheus.CounterValue,
		func(s *runtime.Status) float64 { return float64(s.Ticks) }},
	{describe("igor_tick", "Number of the newest tick."), prometheus.GaugeValue,
		func(s *runtime.Status) float64 { return float64(s.Tick) }},
	{describe("igor_tick_cost_microcents_total", "What the time of the ticks took from the budget."), prometheus.CounterValue,
		func(s *runtime.Status) float64 { return float64(s.TickCost) }},
	{describe("igor_budget_microcents", "What the agent has left."), prometheus.GaugeValue,
		func(s *runtime.Status) float64 { return float64(s.Budget) }},
	{describe("igor_price_microcents_per_second", "What a second of tick time costs."), prometheus.GaugeValue,
		func(s *runtime.Status) float64 { return float64(s.Price) }},
	{describe("igor_held_microcents", "What unresolved side effects hold; it is not in the budget."), prometheus.GaugeValue,
		func(s *runtime.Status) float64 { return float64(s.Held) }},
	{describe("igor_effects_unresolved", "Side effects of which nobody knows whether they happened."), prometheus.GaugeValue,
		func(s *runtime.Status) float64 { return float64(s.Unresolved) }},
	{describe("igor_checkpoints_total", "Checkpoints made by this process."), prometheus.CounterValue,
		func(s *runtime.Status) float64 { return float64(s.Checkpoints) }},
	{describe("igor_checkpoint_tick", "Tick of the newest checkpoint."), prometheus.GaugeValue,
		func(s *runtime.Status) float64 { return float64(s.Saved) }},
	{describe("igor_checkpoint_timestamp_seconds", "Unix time at which the newest checkpoint was made, or the run began if that was later."), prometheus.GaugeValue,
		func(s *runtime.Status) float64 { return float64(s.SavedAt.UnixMicro()) / 1e6 }},
	{describe("igor_replay_divergences_total", "Times that this process ran ticks again and came to something else."), prometheus.CounterValue,
		func(s *runtime.Status) float64 { return float64(s.Divergences) }},
	{describe("igor_healthy", "1 if /healthz says ok, else 0."), prometheus.GaugeValue,
		func(s *runtime.Status) float64 {
			if s.Health(time.Now()) != nil {
				return 0
			}
			return 1
		}},
}

var (
	buildInfo     = describe("igor_build_info", "This program; always 1.", "version", "goversion")
	agentInfo     = describe("igor_agent_info", "The agent that lives in this process; always 1.", "did")
	hostcalls     = describe("igor_hostcalls_total", "Hostcalls that the agent made.", "capability")
	hostcallBytes = describe("igor_hostcall_bytes_total", "Bytes that hostcalls moved in and out of the agent's memory.", "capability")
	hostcallTime  = describe("igor_hostcall_seconds_total", "Time that hostcalls took.", "capability")
)

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, labels, nil)
}

// Describe implements [prometheus.Collector].
func (m *monitor) Describe(c chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{buildInfo, agentInfo, hostcalls, hostcallBytes, hostcallTime} {
		c <- d
	}
	for _, s := range samples {
		c <- s.desc
	}
}

// Collect implements [prometheus.Collector].
func (m *monitor) Collect(c chan<- prometheus.Metric) {
	send := func(d *prometheus.Desc, kind prometheus.ValueType, v float64, labels ...string) {
		c <- prometheus.MustNewConstMetric(d, kind, v, labels...)
	}
	goVersion := "unknown"
	if b, ok := debug.ReadBuildInfo(); ok {
		goVersion = b.GoVersion
	}
	send(buildInfo, prometheus.GaugeValue, 1, verifier.Version(), goVersion)
	now := m.now()
	if now.Phase == "" {
		return
	}
	send(agentInfo, prometheus.GaugeValue, 1, now.DID)
	for _, s := range samples {
		send(s.desc, s.kind, s.value(&now))
	}
	for _, u := range now.Hostcalls {
		send(hostcalls, prometheus.CounterValue, float64(u.Calls), u.Capability)
		send(hostcallBytes, prometheus.CounterValue, float64(u.Bytes), u.Capability)
		send(hostcallTime, prometheus.CounterValue, u.Time.Seconds(), u.Capability)
	}
}

// health answers /healthz: whether a restart could help. What has not begun is
// not unhealthy, however long its history takes to verify.
func (m *monitor) health(w http.ResponseWriter, _ *http.Request) {
	s := m.now()
	if s.Phase == "" {
		answer(w, "starting", nil)
		return
	}
	answer(w, fmt.Sprintf("ok: %s after tick %d", s.Phase, s.Tick), s.Health(time.Now()))
}

// ready answers /readyz: whether the agent lives, and not again.
func (m *monitor) ready(w http.ResponseWriter, r *http.Request) {
	switch m.now().Phase {
	case "":
		answer(w, "", errors.New("not ready: starting"))
	case runtime.Recovering:
		answer(w, "", errors.New("not ready: living again what was recorded after the newest checkpoint"))
	default:
		m.health(w, r)
	}
}

func answer(w http.ResponseWriter, ok string, err error) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	if err != nil {
		w.WriteHeader(http.StatusServiceUnavailable)
		ok = err.Error()
	}
	fmt.Fprintln(w, ok)
}

// serveMetrics serves a monitor at address until stop is called.
func serveMetrics(address string) (m *monitor, at net.Addr, stop func(), err error) {
	l, err := net.Listen("tcp", loopback(address))
	if err != nil {
		return nil, nil, nil, &hinted{fmt.Errorf("--metrics %s: %w", address, bareOp(err)), "choose another address, or port 0 for any"}
	}
	m = newMonitor()
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", m.health)
	mux.HandleFunc("GET /readyz", m.ready)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		serve(ctx, l, mux)
	}()
	return m, l.Addr(), func() { cancel(); <-done }, nil
}

// loopback reads an address: of a port alone, it is this machine's and nobody
// else can reach it.
func loopback(address string) string {
	if !strings.Contains(address, ":") {
		address = ":" + address
	}
	if strings.HasPrefix(address, ":") {
		return "127.0.0.1" + address
	}
	return address
}

// bareOp takes the operation and the address off a network error.
func bareOp(err error) error {
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op.Err
	}
	return err
}
