// Package monitor says over HTTP how the agents of a process are: metrics for Prometheus,
// and its health. docs/operating.md describes what it says.
package monitor

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"igor.dev/internal/verifycli"
	"igor.dev/runtime"
	"igor.dev/verifier"
)

// A Monitor says over HTTP how the agents of this process are.
type Monitor struct {
	registry *prometheus.Registry
	ticks    prometheus.Histogram
	saves    prometheus.Histogram

	mu     sync.Mutex
	engine *runtime.Engine       // nil until there is one
	alone  bool                  // it is well without agents
	agents map[string]*monitored // by the name of its folder
}

// A monitored is an agent as it was last seen.
type monitored struct {
	status   runtime.Status      // its Phase is "" until the agent lives
	state    runtime.Supervision // "" = nobody supervises it
	restarts int
}

// New makes the monitor of a process in which nothing has begun.
func New() *Monitor {
	m := &Monitor{
		registry: prometheus.NewRegistry(),
		agents:   map[string]*monitored{},
		ticks: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "igor_tick_duration_seconds", Help: "Time that ticks took.",
			Buckets: []float64{.0001, .0005, .001, .005, .01, .05, .1, .5, 1, 5, 15},
		}),
		saves: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "igor_checkpoint_duration_seconds", Help: "Time for which making a checkpoint kept the agent from ticking.",
			Buckets: []float64{.001, .005, .01, .05, .1, .5, 1, 5, 15, 60},
		}),
	}
	m.registry.MustRegister(m, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Watch returns what takes the statuses of an agent's run.
func (m *Monitor) Watch(name string) func(runtime.Status) {
	return func(s runtime.Status) {
		m.mu.Lock()
		defer m.mu.Unlock()
		a := m.agent(label(name))
		if s.Ticks > a.status.Ticks {
			m.ticks.Observe(s.TickTime.Seconds())
		}
		if a.status.Phase == runtime.Saving {
			m.saves.Observe(s.SaveTime.Seconds())
		}
		a.status = s
	}
}

// Of says whose ceilings there are.
func (m *Monitor) Of(e *runtime.Engine) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.engine = e
}

// Register adds what else is to be said of this process.
func (m *Monitor) Register(c prometheus.Collector) { m.registry.MustRegister(c) }

// Alone says that the process has begun, and is well without agents too.
func (m *Monitor) Alone() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.alone = true
}

// Changed takes how an agent is that is supervised.
func (m *Monitor) Changed(s runtime.Supervised) {
	m.mu.Lock()
	defer m.mu.Unlock()
	name := label(s.Name)
	if s.State == "" {
		delete(m.agents, name)
		return
	}
	a := m.agent(name)
	a.state, a.restarts, a.status = s.State, s.Restarts, runtime.Status{}
}

// label makes the name of a folder one that a label can have: UTF-8.
func label(name string) string {
	if utf8.ValidString(name) {
		return name
	}
	return strings.Trim(strconv.Quote(name), `"`)
}

func (m *Monitor) agent(name string) *monitored {
	a := m.agents[name]
	if a == nil {
		a = &monitored{}
		m.agents[name] = a
	}
	return a
}

// now returns the agents as they were last seen, by their names in order.
func (m *Monitor) now() (names []string, agents []monitored) {
	m.mu.Lock()
	defer m.mu.Unlock()
	names = slices.Sorted(maps.Keys(m.agents))
	for _, name := range names {
		agents = append(agents, *m.agents[name])
	}
	return names, agents
}

// What is collected at a scrape, from the newest status.
var samples = []struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(*runtime.Status) float64
}{
	{describe("igor_ticks_total", "Ticks lived by this process, without those lived again after a crash.", "agent"), prometheus.CounterValue,
		func(s *runtime.Status) float64 { return float64(s.Ticks) }},
	{describe("igor_tick", "Number of the newest tick.", "agent"), prometheus.GaugeValue,
		func(s *runtime.Status) float64 { return float64(s.Tick) }},
	{describe("igor_tick_cost_microcents_total", "What the time of the ticks took from the budget.", "agent"), prometheus.CounterValue,
		func(s *runtime.Status) float64 { return float64(s.TickCost) }},
	{describe("igor_budget_microcents", "What the agent has left.", "agent"), prometheus.GaugeValue,
		func(s *runtime.Status) float64 { return float64(s.Budget) }},
	{describe("igor_price_microcents_per_second", "What a second of tick time costs.", "agent"), prometheus.GaugeValue,
		func(s *runtime.Status) float64 { return float64(s.Price) }},
	{describe("igor_price_stored_microcents_per_gigabyte", "What 10^9 bytes of its checkpoints and event log cost, once.", "agent"), prometheus.GaugeValue,
		func(s *runtime.Status) float64 { return float64(s.PriceStored) }},
	{describe("igor_held_microcents", "What unresolved side effects hold; it is not in the budget.", "agent"), prometheus.GaugeValue,
		func(s *runtime.Status) float64 { return float64(s.Held) }},
	{describe("igor_effects_unresolved", "Side effects of which nobody knows whether they happened.", "agent"), prometheus.GaugeValue,
		func(s *runtime.Status) float64 { return float64(s.Unresolved) }},
	{describe("igor_checkpoints_total", "Checkpoints made by this process.", "agent"), prometheus.CounterValue,
		func(s *runtime.Status) float64 { return float64(s.Checkpoints) }},
	{describe("igor_checkpoint_tick", "Tick of the newest checkpoint.", "agent"), prometheus.GaugeValue,
		func(s *runtime.Status) float64 { return float64(s.Saved) }},
	{describe("igor_checkpoint_timestamp_seconds", "Unix time at which the newest checkpoint was made, or the run began if that was later.", "agent"), prometheus.GaugeValue,
		func(s *runtime.Status) float64 { return float64(s.SavedAt.UnixMicro()) / 1e6 }},
	{describe("igor_replay_divergences_total", "Times that this process ran ticks again and came to something else.", "agent"), prometheus.CounterValue,
		func(s *runtime.Status) float64 { return float64(s.Divergences) }},
	{describe("igor_disk_bytes", "Bytes of the agent's folder, at most.", "agent"), prometheus.GaugeValue,
		func(s *runtime.Status) float64 { return float64(s.Disk) }},
	{describe("igor_disk_quota_bytes", "Bytes that it may have, 0 if there is no quota.", "agent"), prometheus.GaugeValue,
		func(s *runtime.Status) float64 { return float64(s.DiskQuota) }},
	{describe("igor_healthy", "1 if /healthz says ok, else 0.", "agent"), prometheus.GaugeValue,
		func(s *runtime.Status) float64 {
			if s.Health(time.Now()) != nil {
				return 0
			}
			return 1
		}},
}

var (
	buildInfo     = describe("igor_build_info", "This program; always 1.", "version", "goversion")
	agentCount    = describe("igor_agents", "Agents that this process knows: alive, waiting to be tried again, ended, or failed for good.", "state")
	agentRestarts = describe("igor_agent_restarts_total", "Times that this process began to run an agent again.", "agent")
	agentInfo     = describe("igor_agent_info", "An agent that lives in this process; always 1.", "agent", "did")
	ceilingLimit  = describe("igor_ceiling", "What the agents of this process may have together, 0 if there is no limit.", "ceiling")
	ceilingUsed   = describe("igor_ceiling_used", "What they have of it.", "ceiling")
	ceilingStops  = describe("igor_ceiling_refused_total", "Times that an agent did not start, or was stopped, since there was no room.", "ceiling")
	ceilingWaits  = describe("igor_ceiling_waited_seconds_total", "Time that agents waited before ticks, since they had more than their share.", "ceiling")
	syncsAsked    = describe("igor_syncs_asked_total", "Times that something was to be made durable.")
	syncsMade     = describe("igor_syncs_total", "Times that a disk was asked to, of one file or of all.")
	archiveTick   = describe("igor_archive_tick", "Newest tick that is final in a target of the archive, with all before it.", "agent", "target")
	archiveBehind = describe("igor_archive_checkpoints_behind", "Checkpoints that are not final in a target.", "agent", "target")
	archiveBytes  = describe("igor_archive_bytes_behind", "Bytes of them.", "agent", "target")
	archiveSpent  = describe("igor_archive_spent_total", "What a target took for what it keeps, in its smallest unit of money.", "agent", "target")
	archiveFails  = describe("igor_archive_failing", "1 if the newest attempt to get on with a target failed, else 0.", "agent", "target")
	witnessTick   = describe("igor_witness_tick", "Tick of the newest checkpoint that is logged in public.", "agent")
	witnessBehind = describe("igor_witness_ticks_behind", "Ticks from there to the newest durable checkpoint.", "agent")
	witnessFails  = describe("igor_witness_failing", "1 if the newest attempt to log one failed, else 0.", "agent")
	hostcalls     = describe("igor_hostcalls_total", "Hostcalls that an agent made.", "agent", "capability")
	hostcallBytes = describe("igor_hostcall_bytes_total", "Bytes that hostcalls moved in and out of an agent's memory.", "agent", "capability")
	hostcallTime  = describe("igor_hostcall_seconds_total", "Time that hostcalls took.", "agent", "capability")
)

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, labels, nil)
}

// Describe implements [prometheus.Collector].
func (m *Monitor) Describe(c chan<- *prometheus.Desc) {
	m.ticks.Describe(c)
	m.saves.Describe(c)
	for _, d := range []*prometheus.Desc{buildInfo, agentCount, agentRestarts, agentInfo, ceilingLimit, ceilingUsed, ceilingStops, ceilingWaits, syncsAsked, syncsMade, archiveTick, archiveBehind, archiveBytes, archiveSpent, archiveFails, witnessTick, witnessBehind, witnessFails, hostcalls, hostcallBytes, hostcallTime} {
		c <- d
	}
	for _, s := range samples {
		c <- s.desc
	}
}

// Collect implements [prometheus.Collector].
func (m *Monitor) Collect(c chan<- prometheus.Metric) {
	m.ticks.Collect(c)
	m.saves.Collect(c)
	send := func(d *prometheus.Desc, kind prometheus.ValueType, v float64, labels ...string) {
		c <- prometheus.MustNewConstMetric(d, kind, v, labels...)
	}
	goVersion := "unknown"
	if b, ok := debug.ReadBuildInfo(); ok {
		goVersion = b.GoVersion
	}
	send(buildInfo, prometheus.GaugeValue, 1, verifier.Version(), goVersion)
	m.mu.Lock()
	engine := m.engine
	m.mu.Unlock()
	if engine != nil {
		for _, one := range engine.Ceilings() {
			send(ceilingLimit, prometheus.GaugeValue, one.Limit, one.Name)
			send(ceilingUsed, prometheus.GaugeValue, one.Used, one.Name)
			send(ceilingStops, prometheus.CounterValue, float64(one.Refused), one.Name)
			send(ceilingWaits, prometheus.CounterValue, one.Waited.Seconds(), one.Name)
		}
		asked, made := engine.Syncs()
		send(syncsAsked, prometheus.CounterValue, float64(asked))
		send(syncsMade, prometheus.CounterValue, float64(made))
		for dir, all := range engine.Archives() {
			if abs, err := filepath.Abs(dir); err == nil {
				dir = abs
			}
			name := label(filepath.Base(dir))
			for _, s := range all {
				failing := 0.0
				if s.Error != "" {
					failing = 1
				}
				send(archiveTick, prometheus.GaugeValue, float64(s.Tick), name, s.Target)
				send(archiveBehind, prometheus.GaugeValue, float64(s.Behind), name, s.Target)
				send(archiveBytes, prometheus.GaugeValue, float64(s.BytesBehind), name, s.Target)
				send(archiveSpent, prometheus.CounterValue, float64(s.Spent), name, s.Target)
				send(archiveFails, prometheus.GaugeValue, failing, name, s.Target)
			}
		}
	}
	names, agents := m.now()
	states := map[runtime.Supervision]int{}
	for i, name := range names {
		a := &agents[i]
		if a.state != "" {
			states[a.state]++
			send(agentRestarts, prometheus.CounterValue, float64(a.restarts), name)
		}
		if a.status.Phase == "" {
			continue
		}
		send(agentInfo, prometheus.GaugeValue, 1, name, a.status.DID)
		if w := a.status.Witness; w != nil {
			failing := 0.0
			if w.Error != "" {
				failing = 1
			}
			send(witnessTick, prometheus.GaugeValue, float64(w.Tick), name)
			send(witnessBehind, prometheus.GaugeValue, float64(w.Behind), name)
			send(witnessFails, prometheus.GaugeValue, failing, name)
		}
		for _, s := range samples {
			send(s.desc, s.kind, s.value(&a.status), name)
		}
		for _, u := range a.status.Hostcalls {
			send(hostcalls, prometheus.CounterValue, float64(u.Calls), name, u.Capability)
			send(hostcallBytes, prometheus.CounterValue, float64(u.Bytes), name, u.Capability)
			send(hostcallTime, prometheus.CounterValue, u.Time.Seconds(), name, u.Capability)
		}
	}
	if len(states) > 0 {
		for _, s := range []runtime.Supervision{runtime.SupervisedAlive, runtime.SupervisedWaiting, runtime.SupervisedEnded, runtime.SupervisedFailed} {
			send(agentCount, prometheus.GaugeValue, float64(states[s]), string(s))
		}
	}
}

// health answers /healthz: whether a restart could help. What has not begun is
// not unhealthy, however long its history takes to verify.
func (m *Monitor) health(w http.ResponseWriter, _ *http.Request) { m.answer(w, false) }

// ready answers /readyz: whether the agents live, and not again.
func (m *Monitor) ready(w http.ResponseWriter, _ *http.Request) { m.answer(w, true) }

// answer says how the agents are: all of them, or what is wrong with some.
func (m *Monitor) answer(w http.ResponseWriter, ready bool) {
	names, agents := m.now()
	ok := ""
	var wrong []string
	alive := 0
	for i := range agents {
		a := &agents[i]
		if a.state != "" && a.state != runtime.SupervisedAlive {
			continue // to restart this process would not help it
		}
		alive++
		err := a.health(ready)
		ok = fmt.Sprintf("ok: %s after tick %d", a.status.Phase, a.status.Tick)
		if a.status.Phase == "" {
			ok = "starting"
		}
		if err != nil {
			wrong = append(wrong, prefix(names[i], a.state)+err.Error())
		}
	}
	m.mu.Lock()
	alone := m.alone
	m.mu.Unlock()
	switch {
	case len(agents) == 0 && alone:
		answer(w, "ok: no agents", nil)
	case len(agents) == 0 && ready:
		answer(w, "", errors.New("not ready: starting"))
	case len(agents) == 0:
		answer(w, "starting", nil)
	case len(wrong) > 0:
		answer(w, "", errors.New(strings.Join(wrong, "\n")))
	case alive != 1 || agents[0].state != "":
		answer(w, fmt.Sprintf("ok: %d of %s", alive, verifycli.Plural(len(agents), "agent")), nil)
	default:
		answer(w, ok, nil)
	}
}

// prefix names an agent where there may be several.
func prefix(name string, state runtime.Supervision) string {
	if state == "" {
		return ""
	}
	return name + ": "
}

func (a *monitored) health(ready bool) error {
	switch {
	case a.status.Phase == "" && ready:
		return errors.New("not ready: starting")
	case a.status.Phase == "":
		return nil
	case a.status.Phase == runtime.Recovering && ready:
		return errors.New("not ready: living again what was recorded after the newest checkpoint")
	}
	return a.status.Health(time.Now())
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

// Serve serves a monitor at address until stop is called. The address is a flag's,
// --metrics.
func Serve(address string) (m *Monitor, at net.Addr, stop func(), err error) {
	l, err := net.Listen("tcp", loopback(address))
	if err != nil {
		hint := "choose another address, or port 0 for any"
		if strings.Count(address, ":") > 1 && !strings.Contains(address, "[") {
			hint = "an address of IPv6 stands in brackets: [::1]:9464"
		}
		return nil, nil, nil, &addressError{fmt.Errorf("--metrics %s: %w", address, bareOp(err)), hint}
	}
	m = New()
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", m.health)
	mux.HandleFunc("GET /readyz", m.ready)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		serve(ctx, l, hereOnly(l.Addr(), mux))
	}()
	return m, l.Addr(), func() { cancel(); <-done }, nil
}

// An addressError says which address would do.
type addressError struct {
	error
	hint string
}

func (e *addressError) Unwrap() error { return e.error }
func (e *addressError) Hint() string  { return e.hint }

// serve serves until ctx ends.
func serve(ctx context.Context, l net.Listener, handler http.Handler) {
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 64 << 10}
	stopped := make(chan struct{})
	context.AfterFunc(ctx, func() {
		defer close(stopped)
		patience, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		server.Shutdown(patience)
	})
	server.Serve(l)
	<-stopped
}

// hereOnly refuses requests for another name than this machine's, of what only this
// machine can reach: a web page that is open here can have a name of its own point
// here (DNS rebinding), and would read what is meant for this machine alone.
func hereOnly(at net.Addr, handler http.Handler) http.Handler {
	if tcp, ok := at.(*net.TCPAddr); !ok || !tcp.IP.IsLoopback() {
		return handler
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := r.Host
		if name, _, err := net.SplitHostPort(host); err == nil {
			host = name
		}
		if net.ParseIP(strings.Trim(host, "[]")) == nil && !strings.EqualFold(strings.TrimSuffix(host, "."), "localhost") {
			http.Error(w, "this address answers to localhost and to its IP address alone", http.StatusMisdirectedRequest)
			return
		}
		handler.ServeHTTP(w, r)
	})
}

// loopback reads an address: of a port alone, it is this machine's and nobody
// else can reach it.
func loopback(address string) string {
	if !strings.Contains(address, ":") {
		address = ":" + address
	}
	if strings.HasPrefix(address, ":") && strings.Count(address, ":") == 1 {
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
