// Igor-node runs agents on a machine that other nodes can reach, and hands them over to
// those. See docs/node.md.
package main

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"igor.dev/authority/fleet"
	"igor.dev/internal/homes"
	"igor.dev/internal/manual"
	"igor.dev/internal/monitor"
	"igor.dev/internal/rentserver"
	"igor.dev/internal/verifycli"
	"igor.dev/node"
	"igor.dev/node/api"
	"igor.dev/runtime"
	"igor.dev/verifier"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // the second signal ends the process
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// Exit codes are those of igor, in docs/operating.md.
const (
	exitFailed  = 1
	exitUsage   = 2
	exitMissing = 66
	exitLocked  = 75
	exitConfig  = 78
)

// run runs the program, and returns its exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := command()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return 0
	}
	asked := root.Name()
	if cmd != nil {
		asked = cmd.CommandPath()
	}
	fmt.Fprintf(stderr, "igor-node: %s\n", verifycli.Printable(strings.ReplaceAll(err.Error(), "\n", "; "))) // of several errors
	var h interface{ NextStep() string }
	var old interface{ Hint() string }
	code, next := exitUsage, asked+" --help explains the usage"
	switch {
	case errors.Is(err, api.ErrNotRunning), api.Missing(err), errors.As(err, new(*noFolder)):
		code, next = exitMissing, ""
	case errors.Is(err, errHeld):
		code, next = exitLocked, ""
	case errors.As(err, new(*configError)):
		code, next = exitConfig, ""
	case errors.As(err, new(*failure)):
		code, next = exitFailed, ""
	}
	switch {
	case errors.As(err, &h) && h.NextStep() != "":
		next = h.NextStep()
	case errors.As(err, &old):
		next = old.Hint()
	}
	if next != "" {
		fmt.Fprintf(stderr, "hint: %s\n", verifycli.Printable(next))
	}
	return code
}

// A failure is an error of what was asked for, rather than of how.
type failure struct{ error }

func (e *failure) Unwrap() error { return e.error }

func failed(err error) error {
	if err == nil {
		return nil
	}
	return &failure{err}
}

type configError struct{ error }

// A noFolder says that there is no node's folder.
type noFolder struct{ error }

func (e *noFolder) Unwrap() error { return e.error }

func (e *configError) Unwrap() error { return e.error }

type hintError struct {
	error
	next string
}

func (e *hintError) Unwrap() error    { return e.error }
func (e *hintError) NextStep() string { return e.next }

func hinted(err error, next string) error { return &hintError{err, next} }

func command() *cobra.Command {
	var dir string
	root := &cobra.Command{
		Use:   "igor-node",
		Short: "Run agents on a machine that other nodes can reach, and hand them over",
		Long: `Igor-node runs agents as igor up does, and hands them over to other nodes: igor
migrate. A node is a folder. It has one key for ever, which is its name to others
and signs its receipts.`,
		Example: `  igor-node init
  igor-node start
  igor-node add ./watcher
  igor migrate watcher --to did:key:z6Mk…`,
		Version:       verifier.Version(),
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE:          func(cmd *cobra.Command, args []string) error { return cmd.Help() },
		Args:          cobra.NoArgs,
	}
	root.CompletionOptions.DisableDefaultCmd = true
	manual.Narrow(root)
	root.PersistentFlags().StringVar(&dir, "dir", "", "`FOLDER` of the node (default: $IGOR_NODE, or igor/node in the user's configuration folder)")
	where := func() (string, error) {
		if dir != "" {
			return filepath.Abs(dir)
		}
		return api.DefaultDir()
	}
	root.AddCommand(initCommand(where), startCommand(where), statusCommand(where), peersCommand(where), offerCommand(where), agentsCommand(where), keysCommand(where),
		drainCommand(where), stopCommand(where), addCommand(where), manual.Command("igor-node"))
	return root
}

type whereFunc func() (string, error)

func initCommand(where whereFunc) *cobra.Command {
	s := defaults()
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Make a node's folder, and its key if there is none",
		Long: `Init makes a node's folder with its settings in node.json, and the node's key if
the user has none. Igor signs receipts with the same key.`,
		Args: operands(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir, err := where()
			if err != nil {
				return failed(err)
			}
			if s.Key == "" {
				s.Key = defaults().Key
			}
			for _, file := range []*string{&s.Key, &s.NetworkKey, &s.Ledger, &s.Payments} {
				if *file != "" {
					if *file, err = filepath.Abs(*file); err != nil {
						return failed(err)
					}
				}
			}
			if err := s.check(); err != nil {
				return err
			}
			for _, d := range []string{dir, filepath.Join(dir, "agents"), filepath.Join(dir, "incoming")} {
				if err := os.MkdirAll(d, 0o700); err != nil {
					return failed(err)
				}
			}
			if err := s.write(dir); err != nil {
				return failed(err)
			}
			key, err := runtime.NodeKey(s.Key)
			if err != nil {
				return failed(err)
			}
			return rows(cmd, "node", didOf(key), "folder", dir, "key", s.Key, "next", "igor-node start")
		},
	}
	f := cmd.Flags()
	f.StringVar(&s.Key, "key", "", "`FILE` of the node's key, made if it is absent (default: igor/node.key in the user's configuration folder)")
	f.StringArrayVar(&s.Listen, "listen", s.Listen, "`ADDRESS` to listen at, such as /ip4/0.0.0.0/tcp/7447; may be given again")
	f.StringArrayVar(&s.Peers, "peer", nil, "`PEER`: a node's DID, and its addresses behind it; may be given again")
	f.StringArrayVar(&s.TakeFrom, "take-from", s.TakeFrom, "`WHOM` to take agents of: peers, or a node's DID; may be given again")
	f.StringVar(&s.Price, "price", s.Price, "`AMOUNT` that a second of tick time costs here")
	f.StringVar(&s.PriceStored, "price-stored", s.PriceStored, "`AMOUNT` that a gigabyte of checkpoints and event log costs, once")
	f.StringArrayVar(&s.Regions, "region", nil, "`NAME` of where the node is; may be given again")
	f.IntVar(&s.MaxAgents, "max-agents", 0, "`N` agents at most (default: no limit)")
	f.StringVar(&s.MaxMemory, "max-memory", "", "`BYTES` for the memories of all agents, such as 4G (default: no limit)")
	f.StringVar(&s.NetworkKey, "network-key", "", "`FILE` with the key of a private network, 64 hexadecimal digits")
	f.StringVar(&s.CheckpointEvery, "checkpoint-every", s.CheckpointEvery, "`TIME` between checkpoints")
	f.StringVar(&s.TickInterval, "tick-interval", "", "`TIME` between ticks (default: the agent's own pace)")
	f.StringVar(&s.Ledger, "ledger", "", "`FOLDER` in which the node keeps the receipts that it gives")
	f.StringVar(&s.PayAt, "pay-at", "", "`URL` of the endpoint that settles agents' payments")
	f.StringVar(&s.Payments, "payments", "", "`FILE` that says how the node pays by x402: a wallet, and nodes of chains")
	f.StringVar(&s.RentGrace, "rent-grace", "", "`TIME` for which an agent may live here without a lease, as igor rent sells them (default: for ever)")
	f.StringVar(&s.ReplayMode, "replay-mode", "", "`MODE`: run the ticks of the agents that live here again and compare: off, periodic, on-resume or full (default: off)")
	f.StringVar(&s.VerifyInterval, "verify-interval", "", "`TIME` after which --replay-mode periodic does so again (default: 10m)")
	f.StringVar(&s.OnDivergence, "on-divergence", "", "`WHAT` to do if they differ: log, pause, intensify or migrate (default: log)")
	f.IntVar(&s.MigrationRetries, "migration-retries", 0, "`N` times to ask nodes again that may take an agent later, where an agent asks to go or has to leave")
	f.StringVar(&s.MigrationRetryDelay, "migration-retry-delay", "", "`TIME` before that; then twice as long, each time (default: 5s)")
	f.BoolVar(&s.Replay, "replay", true, "run the lives of agents that come again before they are taken")
	return cmd
}

func didOf(key ed25519.PrivateKey) string {
	return verifier.PublicKey(key.Public().(ed25519.PublicKey)).DID()
}

func startCommand(where whereFunc) *cobra.Command {
	var format string
	var quiet, verbose bool
	var cacheDir, metrics string
	cmd := &cobra.Command{
		Use:   "start",
		Short: "Run the node and its agents, until it is stopped",
		Long: `Start runs the node: its agents live, other nodes reach it, and igor migrate moves
agents to and from it. Ctrl-C, SIGTERM or igor-node stop ends it, each agent with a
last checkpoint.`,
		Args: operands(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir, err := where()
			if err != nil {
				return failed(err)
			}
			s, err := readSettings(dir)
			if errors.As(err, new(*noFolder)) {
				return failed(err)
			}
			if err != nil {
				return &configError{err}
			}
			c, life, err := s.config(dir)
			if err != nil {
				return &configError{err}
			}
			if format != "text" && format != "json" {
				return fmt.Errorf("--log-format %q: want text or json", format)
			}
			letGo, err := hold(dir)
			if errors.Is(err, errHeld) {
				return failed(hinted(fmt.Errorf("a node runs in %s already, or is still ending: %w", dir, err), "igor-node stop ends it, and waits until it has ended"))
			}
			if err != nil {
				return failed(err)
			}
			defer letGo()
			if os.Getenv("GOGC") == "" {
				debug.SetGCPercent(25) // as igor up: nearly all of the heap has no pointers
			}
			options := &slog.HandlerOptions{}
			if quiet {
				options.Level = slog.LevelWarn
			}
			if verbose {
				options.Level = slog.LevelDebug
			}
			c.Log = slog.New(slog.NewTextHandler(verifycli.SafeLog(cmd.ErrOrStderr(), true), options))
			if format == "json" {
				c.Log = slog.New(slog.NewJSONHandler(verifycli.SafeLog(cmd.ErrOrStderr(), false), options))
			}
			var books *books
			var rents *rentserver.Config // nil = no rent is served
			if s.Rent != "" {
				if rents, err = s.readRent(dir); err != nil {
					return &configError{err}
				}
			}
			var looks *monitor.Monitor // nil = nobody looks
			if cmd.Flags().Changed("metrics") {
				m, at, done, err := monitor.Serve(metrics)
				if err != nil {
					return failed(err)
				}
				defer done()
				looks = m
				c.Changed = m.Changed
				c.Log.Info("metrics", "url", "http://"+at.String()+"/metrics")
			}
			e := runtime.EngineConfig{Log: c.Log, NodeKey: c.Key, Control: true, PayAt: s.PayAt, CacheDir: cacheDir}
			e.Ceilings.Memory = c.MaxMemory
			if cacheDir == "" {
				if cache, err := os.UserCacheDir(); err == nil && os.MkdirAll(filepath.Join(cache, "igor"), 0o700) == nil {
					e.CacheDir = filepath.Join(cache, "igor")
				}
			}
			if s.Ledger != "" {
				ledger, err := runtime.OpenLedger(s.Ledger)
				if err != nil {
					return failed(err)
				}
				defer ledger.Close()
				e.Budgets = ledger
				books = newBooks(ledger)
				if s.RentGrace != "" {
					c.Leases = books
				}
			}
			if s.Payments != "" {
				if e.Payments, err = runtime.OpenPayments(cmd.Context(), s.Payments, c.Log); err != nil {
					return failed(err)
				}
			}
			c.Carrier = node.NewCarrier(c.Key)
			finder := &homes.Finder{
				Node:      func() (ed25519.PrivateKey, error) { return c.Key, nil },
				Transport: func(ed25519.PrivateKey) fleet.Transport { return c.Carrier },
			}
			if finder.Lease, finder.Grace, err = s.lease(); err != nil {
				return &configError{err}
			}
			if finder.Fleet, err = fleet.DescriptionIn(dir); err != nil {
				return &configError{err}
			}
			e.Homes = finder.Find
			if finder.Fleet != nil {
				member, err := takePart(&c, finder, s.MemberListen)
				if err != nil {
					return failed(err)
				}
				if member != nil {
					defer member.Close()
				}
			}
			defer finder.Close()
			c.AgentsEnded = func() error {
				// Where all nodes stop, the last ones reach no majority any more.
				if err := finder.Close(); err != nil {
					c.Log.Warn(err.Error())
				}
				return nil
			}
			if c.Engine, err = runtime.NewEngine(e); err != nil {
				return failed(err)
			}
			defer c.Engine.Close()
			c.CacheDir, c.Homes = e.CacheDir, finder.Find
			c.Agent = func(name string) runtime.Config {
				its := life
				if looks != nil {
					its.Watch = looks.Watch(name)
				}
				return its
			}
			n, err := node.Start(c)
			if err != nil {
				return failed(err)
			}
			defer n.Close()
			if looks != nil {
				looks.Of(c.Engine)
				looks.Register(newFigures(n, books))
				looks.Alone()
			}
			ctx, stop := context.WithCancel(cmd.Context())
			defer stop()
			if err := n.Control(stop); err != nil {
				return failed(err)
			}
			for _, a := range n.Addresses() {
				c.Log.Info("listening", "node", n.Key().DID(), "address", a)
			}
			var over <-chan error // nothing ends it
			if rents != nil {
				rents.Rent.Key, rents.Rent.Books, rents.Rent.Hosts = c.Key, books, n.Hosts
				server, err := rentserver.Serve(ctx, rents, c.Log)
				if err != nil {
					return failed(fmt.Errorf("rent: %w", err))
				}
				defer server.Close()
				over = server.Over
				c.Log.Info("rent", "url", server.URL+"/rent/DID")
			}
			select {
			case err := <-over:
				return failed(errors.Join(fmt.Errorf("rent is served no more: %w", err), n.Close()))
			case <-ctx.Done():
			}
			c.Log.Info("stopping")
			return failed(n.Close())
		},
	}
	f := cmd.Flags()
	f.StringVar(&format, "log-format", "text", "`FORMAT` of the log on standard error: text or json")
	f.BoolVarP(&quiet, "quiet", "q", false, "log warnings only")
	f.BoolVarP(&verbose, "verbose", "v", false, "log what each stream does, too")
	f.StringVar(&metrics, "metrics", "", "`ADDRESS` at which HTTP serves /metrics, /healthz and /readyz; of a port alone, for this machine only")
	f.StringVar(&cacheDir, "cache-dir", "", "`FOLDER` for compiled code (default: igor in the user's cache folder)")
	return cmd
}

// dial reaches the node.
func dial(where whereFunc) (*api.Client, error) {
	dir, err := where()
	if err != nil {
		return nil, failed(err)
	}
	c, err := api.Dial(dir)
	if errors.Is(err, api.ErrNotRunning) {
		err = hinted(err, "igor-node start runs it; --dir names another one's folder")
		if _, no := readSettings(dir); errors.As(no, new(*noFolder)) {
			err = no
		}
	}
	return c, failed(err)
}

// operands are a command's.
func operands(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < len(names):
			return fmt.Errorf("%s is missing", names[len(args)])
		case len(args) > len(names):
			return fmt.Errorf("%q is one too many", args[len(names)])
		}
		return nil
	}
}

// show makes a command that asks the node for something, and shows it.
func show[T any](where whereFunc, cmd *cobra.Command, ask func(ctx context.Context, c *api.Client) (T, error), print func(cmd *cobra.Command, got T) error) *cobra.Command {
	var asJSON bool
	if cmd.Args == nil {
		cmd.Args = operands()
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := dial(where)
		if err != nil {
			return err
		}
		got, err := ask(cmd.Context(), c)
		if err != nil {
			return failed(err)
		}
		if asJSON {
			e := json.NewEncoder(cmd.OutOrStdout())
			e.SetIndent("", "  ")
			return failed(e.Encode(got))
		}
		return failed(print(cmd, got))
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "write it as JSON")
	return cmd
}

func get[T any](path string) func(context.Context, *api.Client) (T, error) {
	return func(ctx context.Context, c *api.Client) (got T, err error) { return got, c.Get(ctx, path, &got) }
}

func statusCommand(where whereFunc) *cobra.Command {
	return show(where, &cobra.Command{Use: "status", Short: "Show the node, and where it can be reached"}, get[api.Status]("/v1/status"), func(cmd *cobra.Command, s api.Status) error {
		all := []string{"node", s.Node}
		for _, a := range s.Addresses {
			all = append(all, "address", a)
		}
		all = append(all, "agents", fmt.Sprint(s.Agents), "moving", fmt.Sprintf("%d away, %d here", s.Moving, s.Taking), "peers", fmt.Sprint(s.Peers))
		if !s.Pays {
			all = append(all, "pays", "nothing: agents that buy get the 402")
		}
		if s.Draining != "" {
			all = append(all, "drains", "until "+s.Draining)
		}
		return rows(cmd, append(all, fleetRows(s.Fleet)...)...)
	})
}

// fleetRows say how the node's fleet is.
func fleetRows(f *api.Fleet) (all []string) {
	if f == nil {
		return nil
	}
	name := fmt.Sprintf("%s, version %d", f.Name, f.Version)
	if f.Newest > f.Version {
		name += fmt.Sprintf("; the fleet has %d: igor fleet join it here too", f.Newest)
	}
	reached := "reached"
	if !f.Reached {
		reached = "not reached: agents whose home it is wait"
	}
	all = []string{"fleet", name, "", reached}
	switch {
	case f.Member == "":
		return append(all, "member", "no, a node that runs agents")
	case f.Error != "":
		return append(all, "member", "not yet: "+f.Error)
	}
	leader := f.Leader
	if leader == "" {
		leader = "nobody: no majority of the members is there"
	}
	all = append(all, "member", "at "+f.Member, "leader", leader)
	for _, m := range f.Members {
		if !m.Came {
			all = append(all, "expected", m.DID)
		}
	}
	return all
}

func peersCommand(where whereFunc) *cobra.Command {
	var add, remove string
	ask := func(ctx context.Context, c *api.Client) (all []api.Peer, err error) {
		if add != "" {
			err = c.Post(ctx, "/v1/peers", api.PeerChange{Peer: add}, nil)
		}
		if remove != "" && err == nil {
			err = c.Post(ctx, "/v1/peers", api.PeerChange{Peer: remove, Remove: true}, nil)
		}
		if err == nil {
			err = c.Get(ctx, "/v1/peers", &all)
		}
		return all, err
	}
	cmd := show(where, &cobra.Command{Use: "peers", Short: "Show the nodes that this one knows, and make others known",
		Long: `Peers shows the nodes that this one knows: what a second costs there, how often they
were reached and were not, how long the newest answer took, and their version. A node
lets in and reaches those that it knows, so two of them have to know each other. With
--remove a node is forgotten, unless the settings or the fleet name it.`,
		Example: "  igor-node peers --add \"did:key:z6Mk… /ip4/192.0.2.7/tcp/7447\"",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 && add != "" {
				return fmt.Errorf("%q is one too many: a peer's DID and its addresses are one argument, in quotes", args[0])
			}
			return operands()(nil, args)
		},
		PreRunE: func(*cobra.Command, []string) error {
			for flag, peer := range map[string]string{"add": add, "remove": remove} {
				if _, err := node.ParsePeer(peer); peer != "" && err != nil {
					return fmt.Errorf("--%s: %w", flag, err)
				}
			}
			return nil
		}}, ask, func(cmd *cobra.Command, all []api.Peer) error {
		if len(all) == 0 {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), `no peers: igor-node peers --add "DID ADDRESS" makes one known`)
			return err
		}
		t := table(cmd, "NODE", "ADDRESSES", "PRICE", "CONTACTS", "LATENCY", "VERSION")
		for _, p := range all {
			price := "-"
			if p.Offer != nil {
				price = verifier.FormatMicrocents(p.Offer.Price)
			}
			latency := "-"
			if p.LatencyMS > 0 {
				latency = fmt.Sprintf("%.1fms", p.LatencyMS)
			}
			t.Row(p.Node, cmp.Or(strings.Join(p.Addresses, " "), "-"), price, fmt.Sprintf("%d good, %d not", p.Successes, p.Failures), latency, cmp.Or(p.Version, "-"))
		}
		if err := t.flush(); err != nil {
			return err
		}
		for _, p := range all {
			if p.Failure != "" {
				for _, line := range verifycli.Wrap(verifycli.Printable(p.Failure), 80) {
					fmt.Fprintln(cmd.OutOrStdout(), line)
				}
			}
		}
		return nil
	})
	cmd.Flags().StringVar(&add, "add", "", "`PEER`: a node's DID, and its addresses behind it")
	cmd.Flags().StringVar(&remove, "remove", "", "`DID` of a node to forget")
	return cmd
}

func offerCommand(where whereFunc) *cobra.Command {
	var scan bool
	ask := func(ctx context.Context, c *api.Client) (all []api.Offer, err error) {
		if scan {
			return all, c.Post(ctx, "/v1/offers", struct{}{}, &all)
		}
		var own api.Offer
		err = c.Get(ctx, "/v1/offer", &own)
		return []api.Offer{own}, err
	}
	cmd := show(where, &cobra.Command{Use: "offer", Short: "Show what the node offers, or what its peers do"}, ask, func(cmd *cobra.Command, all []api.Offer) error {
		if len(all) == 0 {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), "no peer gives an offer: igor-node peers says who is known, and how it went")
			return err
		}
		t := table(cmd, "NODE", "PRICE", "STORED", "FREE", "REGIONS", "UNTIL")
		for _, o := range all {
			free := fmt.Sprint(o.FreeAgents)
			if o.Draining {
				free = "drains"
			}
			t.Row(o.Node, verifier.FormatMicrocents(o.Price), verifier.FormatMicrocents(o.StoredPrice), free, cmp.Or(strings.Join(o.Regions, " "), "-"), o.Expires)
		}
		return t.flush()
	})
	cmd.Flags().BoolVar(&scan, "peers", false, "ask all peers for theirs")
	return cmd
}

func agentsCommand(where whereFunc) *cobra.Command {
	return show(where, &cobra.Command{Use: "agents", Short: "Show the agents that live here, come, or were given away"}, get[[]api.Agent]("/v1/agents"), func(cmd *cobra.Command, all []api.Agent) error {
		if len(all) == 0 {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), "no agents: igor-node add FOLDER moves one here")
			return err
		}
		t := table(cmd, "AGENT", "STATE", "TICK", "BUDGET", "MOVES", "WHERE, OR WHO")
		for _, a := range all {
			who, budget := a.DID, verifier.FormatMicrocents(a.Budget)
			if a.To != "" {
				who, budget = "to "+a.To, "-" // it goes with the agent
			}
			if a.From != "" {
				who, budget = "from "+a.From, "-"
			}
			t.Row(a.Name, a.State, fmt.Sprint(a.Tick), budget, fmt.Sprint(a.Moves), who)
		}
		if err := t.flush(); err != nil {
			return err
		}
		for _, a := range all {
			if a.Error != "" {
				for _, line := range verifycli.Wrap(verifycli.Printable(a.Name+": "+a.Error), 80) {
					fmt.Fprintln(cmd.OutOrStdout(), line)
				}
			}
		}
		return nil
	})
}

func keysCommand(where whereFunc) *cobra.Command {
	agent := ""
	return show(where, &cobra.Command{Use: "keys AGENT", Short: "Show which nodes had an agent's key, and who says that it deleted it",
		Long: `Keys shows the nodes that had the key of an agent that lives here, or that was given
away, as far as its hand-overs and its fleet say, and which of them said, signed,
that they deleted it. That is their word: nothing proves that a key is gone.`,
		Args:   operands("AGENT"),
		PreRun: func(_ *cobra.Command, args []string) { agent = args[0] },
	}, func(ctx context.Context, c *api.Client) (all []api.KeyHolder, err error) {
		return all, c.Get(ctx, "/v1/keys?agent="+url.QueryEscape(agent), &all)
	}, keyRows)
}

func keyRows(cmd *cobra.Command, all []api.KeyHolder) error {
	t := table(cmd, "NODE", "LEFT BY", "KEY")
	for _, k := range all {
		left, key := "-", "had it, and does not say that it deleted it"
		if k.HandOver > 0 {
			left = fmt.Sprintf("hand-over %d", k.HandOver)
		}
		switch {
		case k.Owner:
			key = "has it, and the agent"
		case k.Sealed:
			key = "has it sealed, as the manifest allows"
		case k.Deleted != "":
			key = "says that it deleted it, " + k.Deleted
		}
		t.Row(k.Node, left, key)
	}
	return t.flush()
}

func drainCommand(where whereFunc) *cobra.Command {
	q := api.Drain{Within: "1h"}
	cmd := &cobra.Command{Use: "drain", Short: "Take no more agents, and move those that are here away", Args: operands(),
		Long: `Drain has the node take no agents, and hands its own over to those whom their
manifests allow and who take them. Those that nobody takes live on here.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if d, err := time.ParseDuration(q.Within); err != nil || d <= 0 {
				return fmt.Errorf("--within %q: want a time such as 10m", q.Within)
			}
			c, err := dial(where)
			if err != nil {
				return err
			}
			var s api.Status
			if err := c.Post(cmd.Context(), "/v1/drain", q, &s); err != nil {
				return failed(err)
			}
			if q.End {
				return rows(cmd, "node", "takes agents")
			}
			return rows(cmd, "drains", "until "+s.Draining, "next", "igor-node agents shows who is left, and why")
		}}
	cmd.Flags().StringVar(&q.Within, "within", q.Within, "`TIME` in which they should be gone")
	cmd.Flags().BoolVar(&q.End, "end", false, "take agents again")
	return cmd
}

// stopLimit is how long a node may take to end: that of a fleet which loses its majority waits
// for what is being appended.
const stopLimit = 2 * time.Minute

func stopCommand(where whereFunc) *cobra.Command {
	return &cobra.Command{Use: "stop", Short: "End the node, each agent with a last checkpoint", Args: operands(),
		Long: `Stop ends the node, each agent with a last checkpoint, and returns when its process has
ended: it can be started again then.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir, err := where()
			if err != nil {
				return failed(err)
			}
			ended := func() bool {
				letGo, err := hold(dir)
				if err == nil {
					letGo()
				}
				return !errors.Is(err, errHeld)
			}
			c, err := dial(where)
			if err != nil && ended() {
				return err
			}
			if err == nil {
				if err := c.Post(cmd.Context(), "/v1/stop", struct{}{}, nil); err != nil {
					return failed(err)
				}
			}
			for began := time.Now(); time.Since(began) < stopLimit; time.Sleep(20 * time.Millisecond) {
				if _, err := api.Dial(dir); err != nil && ended() {
					return rows(cmd, "node", "stopped")
				}
			}
			return failed(hinted(fmt.Errorf("the node still runs, %s after it was asked to stop", stopLimit), "its log says what it waits for"))
		}}
}

func addCommand(where whereFunc) *cobra.Command {
	var inFleet bool
	cmd := &cobra.Command{Use: "add FOLDER…", Short: "Have agents that igor made live at the node",
		Args: func(cmd *cobra.Command, args []string) error {
			return operands("FOLDER")(cmd, args[:min(1, len(args))])
		},
		Long: `Add moves the FOLDERs of agents that do not run into the node's own, which has to be
on the same file system. They live there from then on. With --fleet the home of those
whose home is their folder is the node's fleet from then on.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := dial(where)
			if err != nil {
				return err
			}
			for _, folder := range args {
				abs, err := filepath.Abs(folder)
				if err != nil {
					return failed(err)
				}
				if err := c.Post(cmd.Context(), "/v1/add", api.Add{Folder: abs, Fleet: inFleet}, nil); err != nil {
					return failed(err)
				}
				if err := rows(cmd, "added", filepath.Base(abs)); err != nil {
					return err
				}
			}
			return nil
		}}
	cmd.Flags().BoolVar(&inFleet, "fleet", false, "have the node's fleet be the agents' home")
	return cmd
}

// rows writes names and values.
func rows(cmd *cobra.Command, all ...string) error {
	w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
	for i := 0; i+1 < len(all); i += 2 {
		fmt.Fprintf(w, "%s\t%s\n", all[i], verifycli.Printable(all[i+1]))
	}
	return failed(w.Flush())
}

type tableWriter struct {
	cmd *cobra.Command
	*verifycli.Table
}

func table(cmd *cobra.Command, heads ...string) tableWriter {
	return tableWriter{cmd, verifycli.NewTable(heads...)}
}

func (t tableWriter) flush() error { return t.Write(t.cmd.OutOrStdout()) }
