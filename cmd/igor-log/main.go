// Igor-log serves what shows that an agent lived only once: a transparency log of head
// statements, a witness of logs, and a monitor that reads a log and finds agents that lived
// twice. See docs/witnessing.md.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/spf13/cobra"
	"k8s.io/klog/v2"

	"igor.dev/internal/manual"
	"igor.dev/internal/verifycli"
	"igor.dev/verifier"
	"igor.dev/verifier/witness"
	"igor.dev/witness/server"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run runs the program, and returns its exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := command()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	if cmd, err := root.ExecuteContextC(ctx); err != nil {
		fmt.Fprintf(stderr, "igor-log: %s\nhint: %s\n", verifycli.Printable(err.Error()), verifycli.Printable(nextStep(cmd, err)))
		return 2
	}
	return 0
}

// nextStep returns what to do about an error.
func nextStep(cmd *cobra.Command, err error) string {
	named, _ := errors.AsType[*server.KeyNameError](err)
	switch {
	case named != nil:
		return "the name is part of the key, and never changes: give --name " + named.Name + ", or another folder"
	case errors.Is(err, server.ErrKey):
		return "igor-log serve FOLDER --name NAME --print-key prints the key of a log"
	case errors.Is(err, errPolicy):
		return "a policy is a file of c2sp.org/tlog-policy: docs/witnessing.md has one"
	case errors.Is(err, syscall.EADDRINUSE):
		return "--listen names another address"
	case errors.Is(err, fs.ErrNotExist):
		return "check the path"
	case errors.Is(err, fs.ErrPermission):
		return "check who may read and write there"
	}
	return cmd.CommandPath() + " --help explains the usage"
}

var errPolicy = errors.New("not a policy that counts")

// common are the flags that all commands have.
type common struct {
	name, listen string
	printKey     bool
	dir          string
	log          *slog.Logger
}

func (c *common) add(cmd *cobra.Command, port string) {
	f := cmd.Flags()
	f.StringVar(&c.name, "name", "", "`NAME` that its key has, such as log.example.com/heads; it never changes")
	f.StringVar(&c.listen, "listen", "127.0.0.1:"+port, "`ADDRESS` to serve at; put a server with TLS before it")
	f.BoolVar(&c.printKey, "print-key", false, "print the public key, as a policy has it, and end; the key is made if there is none")
	cmd.MarkFlagRequired("name")
}

// open opens the key; done says that there is nothing more to do.
func (c *common) open(cmd *cobra.Command, dir string, kind byte) (key *server.Key, done bool, err error) {
	c.dir = dir
	c.log = slog.New(slog.NewTextHandler(verifycli.SafeLog(cmd.ErrOrStderr(), true), nil))
	klog.SetSlogLogger(slog.New(slog.NewTextHandler(verifycli.SafeLog(cmd.ErrOrStderr(), true), &slog.HandlerOptions{Level: slog.LevelWarn})))
	key, err = server.OpenKey(filepath.Join(dir, "key"), c.name, kind)
	if err == nil && c.printKey {
		fmt.Fprintln(cmd.OutOrStdout(), key)
		return nil, true, nil
	}
	return key, false, err
}

// serve serves until ctx is done.
func (c *common) serve(ctx context.Context, key *server.Key, h http.Handler, figures []prometheus.Collector) error {
	l, err := net.Listen("tcp", c.listen)
	if err != nil {
		return err
	}
	c.log.Info("serving", "url", "http://"+l.Addr().String(), "key", key.String())
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "ok\n") })
	registry := prometheus.NewRegistry() // of what is public anyway: no address of its own
	registry.MustRegister(figures...)
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	mux.Handle("/", h)
	s := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 20 * time.Second, WriteTimeout: 5 * time.Minute, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10,
		ErrorLog: slog.NewLogLogger(c.log.Handler(), slog.LevelDebug)}
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	done, stop := context.WithTimeout(context.Background(), 10*time.Second)
	defer stop()
	return s.Shutdown(done)
}

func command() *cobra.Command {
	root := &cobra.Command{
		Use:   "igor-log",
		Short: "Serve a log of agents' heads, a witness of logs, or a monitor",
		Long: `Igor-log serves what shows that an agent lived only once: a transparency log in
which agents say where they stand, witnesses that cosign it as long as it takes
nothing back, and monitors that read it and find agents that lived twice. A log and
its witnesses belong to different people.`,
		SilenceErrors: true, SilenceUsage: true,
		Version: verifier.Version(),
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetVersionTemplate("{{.Version}}\n")
	root.AddCommand(serveCommand(), witnessCommand(), monitorCommand(), manual.Command("igor-log"))
	manual.Narrow(root)
	return root
}

func serveCommand() *cobra.Command {
	var c common
	var policy string
	var config server.LogConfig
	config.PerSource, config.PerKey = server.Rate{PerSecond: 20, Burst: 200}, server.Rate{PerSecond: 1, Burst: 60}
	cmd := &cobra.Command{
		Use:   "serve FOLDER",
		Short: "Serve a transparency log of head statements",
		Long: `Serve keeps a log (c2sp.org/tlog-tiles) in FOLDER, and takes statements that are signed
by the key that they name. POLICY names the witnesses, with their addresses, and how
many have to cosign: nothing is published that they did not. One process serves a
FOLDER.`,
		Example: `  igor-log serve /var/lib/igor-log --name log.example.com/heads --print-key
  igor-log serve /var/lib/igor-log --name log.example.com/heads --policy witnesses.policy`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			key, done, err := c.open(cmd, args[0], server.Signs)
			if err != nil || done {
				return err
			}
			config.Dir, config.Key, config.Logger = filepath.Join(c.dir, "log"), key, c.log
			if policy != "" {
				if config.Policy, err = os.ReadFile(policy); err != nil {
					return err
				}
				if _, err := witness.ParsePolicy(config.Policy); err != nil {
					return fmt.Errorf("%s: %w: %w", policy, errPolicy, err)
				}
			}
			l, err := server.OpenLog(cmd.Context(), config)
			for err != nil && policy != "" && strings.Contains(err.Error(), "witness policy was not satisfied") {
				// Its newest checkpoint has to be cosigned before anything else is.
				c.log.Warn("too few witnesses can be reached, or they know another log of this name; trying again", "error", err)
				select {
				case <-time.After(5 * time.Second):
				case <-cmd.Context().Done():
					return nil
				}
				l, err = server.OpenLog(cmd.Context(), config)
			}
			if err != nil {
				return err
			}
			defer l.Close()
			return c.serve(cmd.Context(), key, l, l.Figures())
		},
	}
	c.add(cmd, "9460")
	f := cmd.Flags()
	f.StringVar(&policy, "policy", "", "`POLICY` file (c2sp.org/tlog-policy) that names the witnesses, with their addresses (default: nobody cosigns)")
	f.DurationVar(&config.Interval, "interval", time.Second, "`TIME` between two checkpoints of the log")
	f.Float64Var(&config.PerSource.PerSecond, "per-source", config.PerSource.PerSecond, "`N` requests a second that one address may make in the long run, 0 for any")
	f.Float64Var(&config.PerKey.PerSecond, "per-key", config.PerKey.PerSecond, "`N` statements a second that one agent may make in the long run, 0 for any")
	return cmd
}

func witnessCommand() *cobra.Command {
	var c common
	var keys []string
	cmd := &cobra.Command{
		Use:   "witness FOLDER",
		Short: "Serve a witness that cosigns logs",
		Long: `Witness cosigns what the logs that it knows say of themselves (c2sp.org/tlog-witness),
as long as they take nothing back. FOLDER has what it cosigned last of each: if that is
lost, or an old copy is put in its place, the witness is one no more.`,
		Example: `  igor-log witness /var/lib/igor-witness --name witness.example.org --log log.example.com/heads+…`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			key, done, err := c.open(cmd, args[0], server.Cosigns)
			if err != nil || done {
				return err
			}
			if len(keys) == 0 {
				return errors.New("--log KEY is missing: the key of a log that it cosigns")
			}
			w, err := server.OpenWitness(server.WitnessConfig{Dir: filepath.Join(c.dir, "witness"), Key: key, Logs: keys, Logger: c.log})
			if err != nil {
				return err
			}
			return c.serve(cmd.Context(), key, w, w.Figures())
		},
	}
	c.add(cmd, "9461")
	cmd.Flags().StringArrayVar(&keys, "log", nil, "`KEY` of a log that it cosigns, may be given several times")
	return cmd
}

func monitorCommand() *cobra.Command {
	var c common
	var policy string
	var config server.MonitorConfig
	cmd := &cobra.Command{
		Use:   "monitor FOLDER",
		Short: "Read a log, and find agents that lived twice",
		Long: `Monitor reads all of a log, says of a key what is in it, and makes fork proofs where
the heads of a key contradict each other: igor-verify fork-proof checks them. Where two
heads are of different ticks, it asks the addresses given with --lives for what is
between them. A log that takes something back is not followed any more.

It answers at /igor/v1/key/DID, /igor/v1/key/DID/proof, /igor/v1/key/DID/fork and
/igor/v1/forks.`,
		Example: `  igor-log monitor /var/lib/igor-monitor --name monitor.example.net --policy heads.policy --lives https://lives.example.com`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			key, done, err := c.open(cmd, args[0], server.Signs)
			if err != nil || done {
				return err
			}
			if policy == "" {
				return errors.New("--policy FILE is missing: it names the log, with its address, and who has to have cosigned it")
			}
			b, err := os.ReadFile(policy)
			if err != nil {
				return err
			}
			if config.Policy, err = witness.ParsePolicy(b); err != nil {
				return fmt.Errorf("%s: %w: %w", policy, errPolicy, err)
			}
			config.Dir, config.Key, config.Logger = filepath.Join(c.dir, "monitor"), key, c.log
			m, err := server.OpenMonitor(config)
			if err != nil {
				return err
			}
			defer m.Close()
			ctx, stop := context.WithCancel(cmd.Context())
			ended := make(chan struct{})
			go func() { defer close(ended); m.Run(ctx) }()
			err = c.serve(ctx, key, m, m.Figures())
			stop()
			<-ended
			return err
		},
	}
	c.add(cmd, "9462")
	f := cmd.Flags()
	f.StringVar(&policy, "policy", "", "`POLICY` file (c2sp.org/tlog-policy) with one log, its address, and who has to have cosigned it")
	f.StringArrayVar(&config.Lives, "lives", nil, "`URL` at which agents' lives are published, may be given several times")
	f.DurationVar(&config.Interval, "interval", 10*time.Second, "`TIME` between two looks at the log")
	return cmd
}
