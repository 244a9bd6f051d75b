package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"igor.dev/archive"
	"igor.dev/authority/fleet"
	"igor.dev/internal/monitor"
	"igor.dev/internal/verifycli"
	"igor.dev/runtime"
	"igor.dev/verifier"
)

// liveFlags are the flags that igor run and igor resume have in common.
type liveFlags struct {
	engine       runtime.EngineConfig
	config       runtime.Config
	tickInterval time.Duration
	maxFailed    uint
	cacheDir     string
	nodeKey      string
	store        string
	lease, grace time.Duration
	ledger       string
	payments     string
	logFormat    string
	quiet        bool
	asJSON       bool
	metrics      string
	witness      string
	headEvery    runtime.Every
	witnessed    bool
	publishFork  bool
	monitor      *monitor.Monitor // nil = nobody looks
	archive      archiveFlags
	log          logWriter
	closers      []func() // of what finish began
}

// add declares the flags of a command that runs one agent.
func (f *liveFlags) add(cmd *cobra.Command) {
	f.addShared(cmd)
	flags := cmd.Flags()
	flags.Uint64Var(&f.config.MaxTicks, "ticks", 0, "stop after `N` ticks (default: no limit)")
	flags.BoolVar(&f.config.UntilIdle, "until-idle", false, "stop when the agent has nothing more to do")
	flags.StringVar(&f.store, "store", "", "`STORE` that decides who lives the agent, and keeps what igor restore needs: a folder on another disk, the file of a fleet, fleet:DID@HOST:PORT,… or s3://BUCKET/PREFIX (default: what the agent's folder or its manifest says)")
	flags.BoolVar(&f.asJSON, "json", false, "write how the run ended as JSON")
}

// addShared declares the flags that say how agents are run, one or many.
func (f *liveFlags) addShared(cmd *cobra.Command) {
	flags := cmd.Flags()
	f.config.CheckpointEvery = runtime.Every{Time: runtime.DefaultCheckpointEvery}
	flags.DurationVar(&f.tickInterval, "tick-interval", 0, "`TIME` between ticks, such as 0 or 500ms (default: the agent's own pace, 10ms while it has more to do and 1s when idle)")
	flags.Var((*everyFlag)(&f.config.CheckpointEvery), "checkpoint-every", "`N|TIME`: checkpoint after so many ticks, or after so much time")
	flags.UintVar(&f.maxFailed, "max-failed-ticks", runtime.DefaultMaxFailedTicks, "`N`: end with an error when so many ticks in a row fail by the agent's own doing, 0 for never")
	flags.StringVar(&f.engine.PayAt, "pay-at", "", "`URL` of the endpoint that settles the agent's payments (default: payments fail)")
	flags.StringVar(&f.payments, "payments", "", "`FILE` that says how to pay servers that ask for it by x402: the wallet, and nodes of chains (default: nothing is paid so)")
	f.config.Replay = runtime.ReplayPolicy{Mode: runtime.ReplayOff, Interval: runtime.DefaultReplayInterval, OnDivergence: runtime.DivergenceLog}
	flags.Var(&choice[runtime.ReplayMode]{&f.config.Replay.Mode, []runtime.ReplayMode{runtime.ReplayOff, runtime.ReplayPeriodic, runtime.ReplayOnResume, runtime.ReplayFull}},
		"replay-mode", "`MODE`: run the agent's own ticks again and compare: off, periodic, on-resume or full")
	flags.DurationVar(&f.config.Replay.Interval, "verify-interval", f.config.Replay.Interval, "`TIME` after which --replay-mode periodic does so again")
	flags.Var(&choice[runtime.OnDivergence]{&f.config.Replay.OnDivergence, []runtime.OnDivergence{runtime.DivergenceLog, runtime.DivergencePause, runtime.DivergenceIntensify}},
		"on-divergence", "`WHAT` to do if they differ: log, pause or intensify")
	flags.Var((*bytesFlag)(&f.config.MaxDisk), "max-disk", "`BYTES` that an agent's folder may have, such as 500M or 2G; then it is stopped (default: what its manifest asks for)")
	flags.Var((*amountFlag)(&f.config.PriceStored), "price-stored", "`AMOUNT` that a gigabyte of an agent's checkpoints and event log costs it, once, when it is written (default: nothing)")
	flags.StringVar(&f.witness, "witness", "", "`POLICY` file of logs and witnesses: say there, in public, where agents stand (default: nowhere)")
	f.headEvery = runtime.Every{Time: time.Minute}
	flags.Var((*everyFlag)(&f.headEvery), "witness-every", "`N|TIME`: say it after so many checkpoints, or with a checkpoint after so much time")
	flags.BoolVar(&f.witnessed, "require-witness", false, "stop an agent whose state was not logged in 30s, rather than have it live on")
	flags.StringVar(&f.nodeKey, "node-key", "", "`FILE` of the key that signs receipts, made if it is absent (default: igor/node.key in the user's configuration folder)")
	flags.DurationVar(&f.lease, "lease-duration", fleet.DefaultLease, "`TIME` without a word from this node after which another node of a fleet may take its agents over")
	flags.DurationVar(&f.grace, "lease-grace", 0, "`TIME` before that at which this node stops by itself (default: a fifth of it)")
	flags.StringVar(&f.ledger, "ledger", "", "`FOLDER` in which the node keeps the receipts that it gives, by agent (default: only the agent has them)")
	flags.StringVar(&f.cacheDir, "cache-dir", "", "`FOLDER` for compiled code (default: igor in the user's cache folder)")
	flags.StringVar(&f.metrics, "metrics", "", "`ADDRESS` at which to serve /metrics, /healthz and /readyz, such as 9464 (this machine only) or 0.0.0.0:9464 (default: nowhere)")
	f.archive.declare(flags)
	f.logFormat = "text"
	flags.Var(&choice[string]{&f.logFormat, []string{"text", "json"}}, "log-format", "`FORMAT` of the log on standard error: text or json")
	flags.BoolVarP(&f.quiet, "quiet", "q", false, "log warnings only")
}

// finish makes an engine and the config of its agents of what was given, and begins to
// serve metrics. The caller has to close f.
func (f *liveFlags) finish(cmd *cobra.Command) (*runtime.Engine, runtime.Config, error) {
	c, e := f.config, f.engine
	e.Control = true
	c.TickInterval = runtime.AgentPace
	if cmd.Flags().Changed("tick-interval") {
		if f.tickInterval < 0 {
			return nil, c, errors.New("--tick-interval is negative")
		}
		c.TickInterval = f.tickInterval
	}
	if cmd.Flags().Changed("ticks") && c.MaxTicks == 0 {
		return nil, c, &hinted{errors.New("--ticks 0: want 1 or more"), "without --ticks there is no limit"}
	}
	if c.MaxFailedTicks = int(min(f.maxFailed, math.MaxInt32)); c.MaxFailedTicks == 0 {
		c.MaxFailedTicks = -1
	}
	if f.config.Replay.Interval <= 0 {
		return nil, c, errors.New("--verify-interval has to be more than 0")
	}
	options := &slog.HandlerOptions{}
	if f.quiet {
		options.Level = slog.LevelWarn
	}
	f.log.Writer = cmd.ErrOrStderr()
	e.Log = slog.New(slog.NewTextHandler(verifycli.SafeLog(&f.log, true), options))
	if f.logFormat == "json" {
		e.Log = slog.New(slog.NewJSONHandler(verifycli.SafeLog(&f.log, false), options))
	}
	if f.nodeKey == "" {
		if dir, err := os.UserConfigDir(); err == nil {
			f.nodeKey = filepath.Join(dir, "igor", "node.key")
		}
	}
	if f.nodeKey == "" {
		e.Log.Warn("no receipts are given: the user has no configuration folder, and there is no --node-key")
	} else {
		var err error
		e.NodeKey, err = runtime.NodeKey(f.nodeKey)
		if err != nil && !cmd.Flags().Changed("node-key") && isNone(f.nodeKey) {
			// Nobody asked for receipts, and none were given here before.
			e.Log.Warn("no receipts are given: the user's configuration folder cannot be written, and there is no --node-key", "error", err)
			err = nil
		}
		if err != nil {
			return nil, c, failed(err)
		}
	}
	if f.ledger != "" {
		if e.NodeKey == nil {
			return nil, c, errors.New("--ledger needs --node-key: the user has no configuration folder, or it cannot be written")
		}
		ledger, err := runtime.OpenLedger(f.ledger)
		if err != nil {
			return nil, c, failed(err)
		}
		e.Budgets = ledger
		f.closers = append(f.closers, func() { ledger.Close() })
	}
	if f.payments != "" {
		var err error
		if e.Payments, err = runtime.OpenPayments(cmd.Context(), f.payments, e.Log); err != nil {
			return nil, c, failed(err)
		}
		e.Log.Info("servers that ask for it by x402 are paid", "wallet", e.Payments.Wallet.Address())
	}
	var err error
	if e.Archive, err = f.archive.archiver(cmd.Flags(), archive.Config{Log: e.Log}); err != nil {
		return nil, c, err
	}
	e.CacheDir = f.cacheDir
	if !cmd.Flags().Changed("cache-dir") {
		e.CacheDir = userCache()
	}
	if cmd.Flags().Changed("metrics") {
		m, at, stop, err := monitor.Serve(f.metrics)
		if err != nil {
			return nil, c, failed(err)
		}
		f.monitor, f.closers = m, append(f.closers, stop)
		e.Log.Info("metrics", "url", "http://"+at.String()+"/metrics")
	}
	f.engine.Log = e.Log
	finder := asNode(e.NodeKey)
	finder.Lease, finder.Grace = f.lease, f.grace
	f.closers = append(f.closers, func() { finder.Close() })
	e.Homes = finder.Find
	if c.Witness, err = f.witnessing(cmd); err != nil {
		return nil, c, err
	}
	if f.store != "" {
		var err error
		if c.Home, err = finder.Open(f.store); err != nil {
			return nil, c, failed(err)
		}
	}
	engine, err := runtime.NewEngine(e)
	if err != nil {
		return nil, c, failed(err)
	}
	f.closers = append(f.closers, func() { engine.Close() })
	if f.monitor != nil {
		f.monitor.Of(engine)
	}
	return engine, c, nil
}

// isNone reports whether there is nothing at a path, as far as anybody can know.
func isNone(path string) bool {
	_, err := os.Lstat(path)
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}

// of returns the config of the agent in a folder.
func (f *liveFlags) of(dir string, c runtime.Config) runtime.Config {
	if f.monitor != nil {
		if abs, err := filepath.Abs(dir); err == nil {
			dir = abs
		}
		c.Watch = f.monitor.Watch(filepath.Base(dir))
	}
	return c
}

func (f *liveFlags) close() {
	for _, c := range slices.Backward(f.closers) {
		c()
	}
}

// userCache returns the folder for compiled code, "" if there can be none: a
// machine without a cache folder runs agents too, only their start takes longer.
func userCache() string {
	dir, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	dir = filepath.Join(dir, "igor")
	if os.MkdirAll(dir, 0o700) != nil {
		return ""
	}
	return dir
}

// An everyFlag reads a number of ticks or a duration.
type everyFlag runtime.Every

func (e *everyFlag) String() string {
	if e.Ticks > 0 {
		return strconv.FormatUint(e.Ticks, 10)
	}
	return e.Time.String()
}

func (*everyFlag) Type() string { return "N|TIME" }

func (e *everyFlag) Set(s string) error {
	if n, err := strconv.ParseUint(s, 10, 64); err == nil && n > 0 {
		*e = everyFlag{Ticks: n}
		return nil
	}
	if d, err := time.ParseDuration(s); err == nil && d > 0 {
		*e = everyFlag{Time: d}
		return nil
	}
	return errors.New("want a number of ticks, such as 10, or a time, such as 1m")
}

// A bytesFlag reads a size, such as 500M.
type bytesFlag int64

func (b *bytesFlag) String() string {
	if *b == 0 {
		return ""
	}
	return strconv.FormatInt(int64(*b), 10)
}

func (*bytesFlag) Type() string { return "BYTES" }

func (b *bytesFlag) Set(s string) error {
	number, shift := s, 0
	if i := strings.IndexAny("KMGT", s[max(0, len(s)-1):]); s != "" && i >= 0 {
		number, shift = s[:len(s)-1], 10*(i+1)
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n <= 0 || n > math.MaxInt64>>shift {
		return errors.New("want a number of bytes, such as 500M or 2G")
	}
	*b = bytesFlag(n << shift)
	return nil
}

// A choice reads one of several words.
type choice[T ~string] struct {
	value *T
	words []T
}

func (c *choice[T]) String() string {
	if c.value == nil {
		return ""
	}
	return string(*c.value)
}

func (*choice[T]) Type() string { return "word" }

// Words returns what it can be.
func (c *choice[T]) Words() []string {
	var words []string
	for _, w := range c.words {
		words = append(words, string(w))
	}
	return words
}

func (c *choice[T]) Set(s string) error {
	if !slices.Contains(c.words, T(s)) {
		return fmt.Errorf("want one of %q", c.words)
	}
	*c.value = T(s)
	return nil
}

// An amountFlag reads an amount of currency units.
type amountFlag int64

func (a *amountFlag) String() string { return verifier.FormatMicrocents(int64(*a)) }

func (*amountFlag) Type() string { return "AMOUNT" }

func (a *amountFlag) Set(s string) error {
	v, err := runtime.ParseAmount(s)
	*a = amountFlag(v)
	return err
}

// What an agent gets if nobody says otherwise.
const (
	defaultBudget amountFlag = 1_000_000
	defaultPrice  amountFlag = 1_000
)

func runCommand() *cobra.Command {
	var live liveFlags
	var dir, manifest string
	budget, price := defaultBudget, defaultPrice
	cmd := &cobra.Command{
		Use:   "run AGENT.wasm",
		Short: "Start a new agent and run it",
		Long: `Run starts a new agent, with a new identity, in a folder of its own, and runs it
until it is stopped (Ctrl-C or SIGTERM), its budget is exhausted, or a limit is
reached. What it may reach stands in AGENT.manifest.json beside AGENT.wasm.`,
		Example: `  igor run heartbeat.wasm --ticks 20 --checkpoint-every 5 --tick-interval 0
  igor verify heartbeat`,
		Args: operands("AGENT.wasm"),
		RunE: func(cmd *cobra.Command, args []string) error {
			defer live.close()
			if runtime.IsAgentFolder(args[0]) {
				return &hinted{fmt.Errorf("%s is an agent's folder, and igor run takes a program", args[0]), "to go on with its life: igor resume " + args[0]}
			}
			engine, c, err := live.finish(cmd)
			if err != nil {
				return err
			}
			b, err := readBirth(args[0], manifest)
			if err != nil {
				return failed(err)
			}
			b.Budget, b.Price = int64(budget), int64(price)
			if dir == "" {
				if dir = filepath.Base(strings.TrimSuffix(args[0], ".wasm")); dir == filepath.Base(args[0]) {
					dir += ".agent" // AGENT had no .wasm to take off
				}
			}
			result, err := engine.Start(cmd.Context(), dir, b, live.of(dir, c)).Wait(context.Background())
			if err != nil {
				return failed(named(args[0], manifest, err))
			}
			return printResult(cmd.OutOrStdout(), dir, result, live.asJSON)
		},
	}
	live.add(cmd)
	cmd.Flags().StringVar(&dir, "dir", "", "the agent's new `FOLDER` (default: AGENT, here)")
	cmd.Flags().StringVar(&manifest, "manifest", "", "manifest `FILE` (default: AGENT.manifest.json beside AGENT.wasm)")
	cmd.Flags().Var(&budget, "budget", "`AMOUNT` that the agent has to live on, in currency units")
	cmd.Flags().Var(&price, "price", "`AMOUNT` that a second of its ticks costs, in currency units")
	return cmd
}

func resumeCommand() *cobra.Command {
	var live liveFlags
	var topUp, price amountFlag
	cmd := &cobra.Command{
		Use:   "resume FOLDER",
		Short: "Go on with an agent's life",
		Long: `Resume verifies the history in an agent's folder, or in a copy of it, and goes on
with the same identity from its newest checkpoint.`,
		Example: `  igor resume heartbeat
  igor resume heartbeat --top-up 5 --metrics 9464`,
		Args: operands("FOLDER"),
		RunE: func(cmd *cobra.Command, args []string) error {
			defer live.close()
			engine, c, err := live.finish(cmd)
			if err != nil {
				return err
			}
			c.TopUp = int64(topUp)
			if cmd.Flags().Changed("price") {
				c.Price = (*int64)(&price)
			}
			ctx, stop := withProgress(cmd)
			live.log.stop = stop
			result, err := engine.Resume(ctx, args[0], live.of(args[0], c)).Wait(context.Background())
			stop()
			if err != nil {
				return failed(err)
			}
			return printResult(cmd.OutOrStdout(), args[0], result, live.asJSON)
		},
	}
	live.add(cmd)
	cmd.Flags().BoolVar(&live.config.AcceptOldCopy, "accept-old-copy", false, "go on although the --ledger knows that the agent lived on without this folder: all since is lost, and the life is a fork wherever the other part is known")
	cmd.Flags().BoolVar(&live.publishFork, "publish-fork", false, "go on although a newer head of the agent is public: everybody can see then, for ever, that its key lived twice")
	cmd.Flags().Var(&topUp, "top-up", "`AMOUNT` to add to the budget, in currency units; durable when the first tick begins")
	cmd.Flags().Var(&price, "price", "`AMOUNT` that a second of its ticks costs from now on (default: as before)")
	return cmd
}

// readBirth reads an agent's program and manifest. Without a name, the manifest is
// the one beside the program; if there is none, it grants nothing.
func readBirth(wasm, manifest string) (b runtime.Birth, err error) {
	if b.WASM, err = readLimited(wasm, runtime.MaxWASM); err != nil {
		return b, err
	}
	if manifest != "" {
		b.Manifest, err = readLimited(manifest, runtime.MaxManifest)
		return b, err
	}
	b.Manifest, err = readLimited(beside(wasm), runtime.MaxManifest)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return b, err
}

// beside returns where the manifest of a program is, if nobody says otherwise.
func beside(wasm string) string { return strings.TrimSuffix(wasm, ".wasm") + ".manifest.json" }

// named says which file is no agent, or no manifest.
func named(wasm, manifest string, err error) error {
	if m, ok := errors.AsType[*runtime.ManifestError](err); ok {
		if manifest == "" {
			manifest = beside(wasm)
		}
		next := nextStep(err)
		if next == "" {
			next = "docs/spec/abi.md has what a manifest can say"
		}
		return &hinted{&worded{err, fmt.Sprintf("%s line %d: %v", manifest, m.Line, m.Err)}, next}
	}
	if errors.Is(err, runtime.ErrNotAgent) {
		return &hinted{fmt.Errorf("%s: %w", wasm, err), cmp.Or(nextStep(err), "igor new makes an agent to begin with; docs/spec/abi.md has what every one exports")}
	}
	if e, ok := errors.AsType[*runtime.UndeclaredError](err); ok {
		if manifest == "" {
			manifest = beside(wasm)
		}
		if isNone(manifest) {
			return &hinted{fmt.Errorf("there is no %s: %w", manifest, err), fmt.Sprintf(`make it, to grant that: {"capabilities": {%s}}`, e.Declaration)}
		}
	}
	return err
}

func readLimited(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return limited(path, f, limit)
}

func limited(name string, r io.Reader, limit int64) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(b)) > limit {
		return nil, fmt.Errorf("%s is larger than %d bytes", name, limit)
	}
	return b, nil
}

// reason says why a life stopped, after "stopped".
func reason(r runtime.Reason) string {
	if r == runtime.Stopped {
		return "as asked"
	}
	return string(r)
}

func printResult(w io.Writer, dir string, r runtime.Result, asJSON bool) error {
	if asJSON {
		return failed(writeJSON(w, struct {
			DID         string          `json:"did"`
			Reason      runtime.Reason  `json:"reason"`
			Tick        uint64          `json:"tick,string"`
			Head        string          `json:"head"`
			Budget      int64           `json:"budgetMicrocents,string"`
			Checkpoints int             `json:"checkpoints"` // made by this run
			Hostcalls   []runtime.Usage `json:"hostcalls"`   // of this run
			Folder      string          `json:"folder"`
		}{r.DID, r.Reason, r.Tick, r.Head.CID(), r.Budget, r.Checkpoints, append([]runtime.Usage{}, r.Hostcalls...), dir}))
	}
	var err error
	row := func(name, format string, args ...any) {
		if err == nil {
			_, err = fmt.Fprintf(w, "%-8s"+format+"\n", append([]any{name}, args...)...)
		}
	}
	row("agent", "%s", r.DID)
	if r.Head.IsZero() && r.Reason == runtime.Stopped {
		row("stopped", "before it lived: %s", reason(r.Reason))
	} else {
		row("stopped", "at tick %d: %s", r.Tick, reason(r.Reason))
	}
	if !r.Head.IsZero() {
		row("head", "%s", r.Head.CID())
		row("budget", "%s", verifier.FormatMicrocents(r.Budget))
	}
	row("folder", "%s", dir)
	return failed(err)
}
