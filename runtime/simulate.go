package runtime

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"igor.dev/runtime/internal/hint"
	"igor.dev/runtime/internal/hostcall"
	"igor.dev/runtime/internal/journal"
	"igor.dev/runtime/internal/request"
	"igor.dev/runtime/internal/sim"
	"igor.dev/verifier"
	"igor.dev/verifier/receipt"
)

// MaxRecording is the most bytes that a recording of HTTP answers has.
const MaxRecording = sim.MaxRecording

// What a simulated machine is like.
const (
	simulatedTick     = time.Millisecond // that a call into the agent takes
	simulatedDowntime = 10 * time.Second // after a crash
)

// simulatedBirth is when every simulated life begins.
var simulatedBirth = time.Date(2022, 1, 1, 0, 0, 0, 0, time.UTC)

// A SimulationConfig says what to simulate.
type SimulationConfig struct {
	Log *slog.Logger // required; for what the agent says, in simulated time

	Seed            uint64 // decides everything that is left to chance
	Ticks           uint64 // to live, at least 1
	CheckpointEvery Every  // of simulated time; zero = DefaultCheckpointEvery

	// HTTP is a recording of answers (docs/agents.md). What is not in it, fails.
	HTTP []byte

	// Nodes is a list of nodes (docs/agents.md), nil = there are none. The life begins on
	// the first, and goes on where the agent asks to be moved.
	Nodes []byte

	// CrashEvery kills the machine in every tick whose number is a multiple, 0 =
	// never: in a side effect that has left and is not answered yet, or when the
	// tick is over. The life goes on after ten seconds.
	CrashEvery uint64

	// MaxFailedTicks is that of [Config]. The agent is told in the next tick what a tick
	// did that failed, as it is in a real life.
	MaxFailedTicks int

	// Verify runs the life again, twice: as it was, and with a fresh instance of the
	// agent for each tick.
	Verify bool

	// Dir keeps the life there, without its key; "" = it is not kept.
	Dir string

	CacheDir string // for compiled code, "" = none is kept
}

// A SimulationResult is how a simulated life ended.
type SimulationResult struct {
	Result
	Time     time.Duration  // that the life took, simulated
	Crashes  int            // of the machine
	Requests int            // that the recording answered
	Failed   int            // ticks
	Told     int            // findings, by which the agent heard what those did
	Payments map[string]int // by what became of them
	Moves    int            // from node to node
	Node     string         // the name of the last
	Costs    *Costs         // of the life, until its newest checkpoint

	// Replayed is what running the life again came to, and Restarted the same with
	// a fresh instance for each tick; nil without Verify.
	Replayed, Restarted *ReplayReport
}

// Simulate makes a new agent and lives on a simulated machine: its clock moves by
// the agent's pace and never waits, a call into the agent takes a millisecond of
// it, and all that is left to chance follows from the seed. So the same agent, the
// same seed and the same configuration give the same life everywhere, byte for
// byte. All else is real: sandbox, hostcalls, event log, journal and checkpoints.
//
// The agent's key follows from the seed too. It is written nowhere, and whoever
// knows the seed has it: a simulated identity is nobody's.
func Simulate(ctx context.Context, b Birth, c SimulationConfig) (r SimulationResult, err error) {
	if c.Ticks == 0 {
		return r, errors.New("a simulation has at least one tick")
	}
	s := newSimulation(c)
	if len(c.HTTP) > 0 {
		if s.web.Answers, err = sim.ParseRecording(c.HTTP); err != nil {
			return r, err
		}
	}
	if len(c.Nodes) > 0 {
		nodes, err := sim.ParseNodes(c.Nodes, c.Seed)
		if err != nil {
			return r, err
		}
		s.node = &simulatedNode{sim: s, all: nodes, here: nodes[0]}
		b.Price = nodes[0].Price
	}
	dir := c.Dir
	if dir == "" {
		tmp, err := os.MkdirTemp("", "igor-simulate-*")
		if err != nil {
			return r, err
		}
		defer os.RemoveAll(tmp)
		dir = filepath.Join(tmp, "agent")
	}
	s.log = slog.New(simulatedLog{c.Log.Handler(), s, true})
	engine, err := NewEngine(EngineConfig{Log: slog.New(simulatedLog{c.Log.Handler(), s, false}), CacheDir: c.CacheDir})
	if err != nil {
		return r, err
	}
	defer engine.Close()
	live := Config{TickInterval: AgentPace, CheckpointEvery: c.CheckpointEvery, MaxTicks: c.Ticks, MaxFailedTicks: c.MaxFailedTicks, machine: s}
	there := s.on(ctx, &live)
	r.Result, err = engine.Start(there, dir, b, live).Wait(context.WithoutCancel(ctx))
	for s.goesOn(there, &r.Result, err) {
		live.MaxTicks = c.Ticks - s.tick
		there = s.on(ctx, &live)
		r.Result, err = engine.Resume(there, dir, live).Wait(context.WithoutCancel(ctx))
	}
	if lived, lookErr := Look(dir); lookErr == nil {
		r.Checkpoints = len(lived)
	}
	if newest, lookErr := NewestCheckpoint(dir); lookErr == nil {
		if _, all, lookErr := CostsOf(ctx, newest); lookErr == nil {
			r.Costs = &all
		}
	}
	r.Hostcalls = nil // their times are the real machine's
	r.Time, r.Crashes, r.Requests, r.Failed, r.Told = s.time.Sub(simulatedBirth), s.crashes, s.web.Requests, s.failed, s.told
	r.Payments = map[string]int{}
	if s.node != nil {
		r.Moves, r.Node = s.node.moves, s.node.here.Name
	}
	for outcome, n := range s.payments.Counts {
		r.Payments[string(outcome)] = n
	}
	if err != nil || !c.Verify {
		return r, err
	}
	again := ReplayConfig{WASM: b.WASM, Manifest: b.Manifest, Events: filepath.Join(dir, "events"), Log: slog.New(slog.DiscardHandler), CacheDir: c.CacheDir}
	if r.Replayed, err = Replay(ctx, dir, again); err != nil {
		return r, err
	}
	again.restart = true
	r.Restarted, err = Replay(ctx, dir, again)
	return r, err
}

// errCrash ends a simulated process where it stands.
var errCrash = errors.New("the simulated machine crashed")

// A simulation is a machine on which a life is simulated.
type simulation struct {
	time     time.Time
	key      ed25519.PrivateKey
	random   io.Reader // the agent's
	chance   interface{ Uint64() uint64 }
	web      sim.Web
	payments sim.Payments
	node     *simulatedNode // nil = there is none
	log      *slog.Logger

	life       *life
	failed     int    // ticks
	told       int    // findings
	tick       uint64 // the newest that is over
	last       uint64 // in which there is no crash: nothing would come after it
	crashEvery uint64
	crashed    uint64 // the tick of the newest crash
	crashes    int
}

func newSimulation(c SimulationConfig) *simulation {
	var seed [ed25519.SeedSize]byte
	sim.Stream(c.Seed, "key").Read(seed[:])
	s := &simulation{
		time:       simulatedBirth,
		key:        ed25519.NewKeyFromSeed(seed[:]),
		random:     sim.Stream(c.Seed, "agent"),
		chance:     sim.Stream(c.Seed, "crashes"),
		last:       c.Ticks,
		crashEvery: c.CrashEvery,
	}
	s.web.Left, s.payments.Left = s.left, s.left
	s.web.Missing = func(method, url string) {
		s.log.Warn("no answer is recorded: such requests fail", "method", method, "url", url)
	}
	s.payments.Random = sim.Stream(c.Seed, "payments")
	s.payments.Ended = func(o sim.Outcome, p *receipt.Payment) {
		level := slog.LevelInfo
		if o != sim.Settled {
			level = slog.LevelWarn
		}
		s.log.Log(context.Background(), level, "payment", "outcome", string(o), "amount", verifier.FormatMicrocents(p.Amount), "recipient", p.Recipient)
	}
	return s
}

func (s *simulation) now() time.Time { return s.time }

func (s *simulation) since(time.Time) time.Duration { return simulatedTick }

func (s *simulation) wait(_ context.Context, until time.Time, _ <-chan *order) *order {
	if until.After(s.time) {
		s.time = until
	}
	return nil
}

func (s *simulation) hint(e *AgentError) string {
	if !e.Born {
		return e.Hint()
	}
	return "the same seed fails in the same tick again"
}

func (s *simulation) passedOver(tick uint64) string {
	return fmt.Sprintf("the same seed fails in tick %d again", tick)
}

func (s *simulation) ended(tick uint64) error {
	s.tick = tick
	s.time = s.time.Add(simulatedTick) // and not when a tick is lived again
	if s.life.failed > 0 {
		s.failed++
	} else if s.life.in.observes {
		s.tell(s.life.in.host.Told())
	}
	if s.due(tick) {
		return s.crash(tick)
	}
	return nil
}

// tell shows what the tick that ended was told.
func (s *simulation) tell(findings [][]byte) {
	for _, b := range findings {
		f, err := request.ParseFinding(b)
		if err != nil {
			continue
		}
		s.told++
		call := "http_request"
		if f.Kind == uint8(journal.Payment) {
			call = "wallet_pay"
		}
		attrs := []any{"call", call, "of_tick", f.Tick, "outcome", f.Outcome}
		if f.Outcome == request.Ended {
			attrs = append(attrs, "result", f.Return)
		}
		s.log.Info("the agent was told what a tick did that failed", attrs...)
	}
}

// left is called when a side effect has left. Half of those that can are its end.
func (s *simulation) left() {
	if s.due(s.tick+1) && s.chance.Uint64()%2 == 0 {
		panic(s.crash(s.tick + 1))
	}
}

func (s *simulation) due(tick uint64) bool {
	return s.crashEvery > 0 && tick%s.crashEvery == 0 && tick != s.crashed && tick < s.last
}

// crash is the end of the machine in a tick.
func (s *simulation) crash(tick uint64) error {
	s.crashed = tick
	s.crashes++
	s.log.Warn("the machine crashes", "tick", tick)
	return errCrash
}

// on has a life be lived on the node where the agent is, if there are nodes.
func (s *simulation) on(ctx context.Context, c *Config) context.Context {
	if s.node == nil {
		return ctx
	}
	return s.node.on(ctx, c)
}

// goesOn reports whether a life goes on that ended: after a crash, or on another node.
func (s *simulation) goesOn(ctx context.Context, r *Result, err error) bool {
	switch {
	case errors.Is(err, errCrash):
		s.time = s.time.Add(simulatedDowntime)
	case s.node != nil && s.node.moved(ctx, r, err):
		s.time = s.time.Add(simulatedMove)
	default:
		return false
	}
	return true
}

// seedKey is the key that follows from a seed, and is written nowhere.
type seedKey struct{ ed25519.PrivateKey }

func (k seedKey) NewKey(string) (crypto.Signer, error) { return k.PrivateKey, nil }
func (k seedKey) Key(string) (crypto.Signer, error)    { return k.PrivateKey, nil }

func (s *simulation) keys() KeySource { return seedKey{s.key} }

// connect gives a life the simulated world.
func (s *simulation) connect(l *life) {
	s.life = l
	s.web.Options = l.body.manifest.HTTP
	l.world.Live.Now, l.world.Live.Random = s.now, s.random
	l.world.Live.Web, l.world.Live.Payer = &s.web, &s.payments
	if s.node != nil {
		l.world.Live.Web = distantWeb{&s.web, s.node}
	}
	l.world.Meter, l.world.Clock = nil, s.now
}

// simulatedLog logs in simulated time.
type simulatedLog struct {
	slog.Handler
	sim *simulation
	all bool // or of what is information, the agent's words alone
}

// Handle implements [slog.Handler].
func (h simulatedLog) Handle(ctx context.Context, r slog.Record) error {
	if !h.all && r.Level < slog.LevelWarn && r.Message != hostcall.AgentMessage {
		return nil
	}
	r.Time = h.sim.now()
	return h.Handler.Handle(ctx, r)
}

// Problem returns what is wrong with a life that was verified, nil if nothing is.
func (r *SimulationResult) Problem() error {
	switch {
	case r.Replayed == nil:
		return nil
	case r.Replayed.Verdict != Replayed:
		return hint.Wrap(errors.New("run again, the life is another one: "+firstProblem(r.Replayed)),
			"an agent's state may follow from its state and from hostcalls alone")
	case r.Restarted.Verdict == Diverged:
		return hint.Wrap(errors.New("with a fresh instance for each tick, the life is another one: "+firstProblem(r.Restarted)),
			"the agent keeps something outside its state, and loses it at every checkpoint: have agent_checkpoint (Marshal) return it")
	}
	return nil
}

func firstProblem(r *ReplayReport) string {
	if len(r.Problems) == 0 {
		return "its lineage is " + r.Lineage
	}
	return r.Problems[0].Message
}
