package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"igor.dev/internal/verifycli"
	"igor.dev/node/api"
	"igor.dev/node/wire"
	"igor.dev/verifier"
)

func migrateCommand() *cobra.Command {
	var to []string
	var dir string
	var q api.Migrate
	var delay time.Duration
	var asJSON, quiet bool
	cmd := &cobra.Command{
		Use:   "migrate AGENT [--to NODE]",
		Short: "Hand an agent over to another node",
		Long: `Migrate hands AGENT over, which lives at this machine's node: the name of its folder
there, its path, or its DID. The other node verifies its history and runs its life
again while it lives on; then it stands still for a moment, and goes on there. Its
identity, state, budget and history are the same.

NODE is a DID that the agent's manifest allows (migration_policy); given again, the
first that takes the agent has it. Without --to it is whom the manifest allows, in
the regions that it prefers, the cheapest first.

Until the move is committed the agent is this node's, whatever happens; after that it
is the other's. What was interrupted is either not begun, or ended by itself.`,
		Example: `  igor migrate watcher --to did:key:z6Mk…
  igor migrate watcher --migration-retries 5 --migration-retry-delay 10s`,
		Args: operands("AGENT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			q.Agent, q.To = args[0], to
			for _, s := range to {
				if _, err := verifier.ParseDID(s); err != nil {
					return fmt.Errorf("--to %s is no node: nodes are named by their DIDs, such as did:key:z6Mk…", s)
				}
			}
			if delay > 0 {
				q.RetryDelay = delay.String()
			}
			if dir == "" {
				dir = api.DirOf(args[0])
			}
			if dir == "" {
				var err error
				if dir, err = api.DefaultDir(); err != nil {
					return failed(err)
				}
			}
			node, err := api.Dial(dir)
			if errors.Is(err, api.ErrNotRunning) {
				err = &hinted{err, "igor node start runs it; --node names another one's folder"}
			}
			if err != nil {
				return failed(err)
			}
			tell := func(e api.Event) {
				if quiet || asJSON {
					return
				}
				line := e.State
				if e.Reason != "" {
					line += " (" + e.Reason + ")"
				}
				if e.Detail != "" {
					line += ": " + e.Detail
				}
				fmt.Fprintf(cmd.ErrOrStderr(), "%s: %s\n", verifycli.Printable(e.To), verifycli.Printable(line))
			}
			m, err := node.Migrate(cmd.Context(), q, tell)
			if err != nil {
				if e, ok := errors.AsType[*api.Error](err); ok && e.Reason != "" {
					err = &hinted{fmt.Errorf("the agent was not handed over (%s): %w", e.Reason, err), afterRefusal(wire.Reason(e.Reason))}
				}
				return failed(err)
			}
			if asJSON {
				return failed(writeJSON(cmd.OutOrStdout(), m))
			}
			lives := "it lives there, after " + time.Duration(m.StoodMS*float64(time.Millisecond)).Round(time.Millisecond).String()
			if !m.Arrived {
				lives = "committed; the other node has not said yet that it lives there"
			}
			return failed(writeRows(cmd.OutOrStdout(), "moved", m.Agent, "to", m.To, "head", m.Head, "hand-over", fmt.Sprint(m.Number), "now", lives))
		},
	}
	flags := cmd.Flags()
	flags.StringArrayVar(&to, "to", nil, "`NODE` to go to, a DID; may be given again (default: whom the agent's manifest allows)")
	flags.StringVar(&dir, "node", "", "`FOLDER` of this machine's node (default: the agent's own, $IGOR_NODE, or igor/node in the user's configuration folder)")
	flags.IntVar(&q.Retries, "migration-retries", 0, "`N` times to ask all nodes again that may say something else later")
	flags.DurationVar(&delay, "migration-retry-delay", 5*time.Second, "`TIME` before that; then twice as long, each time")
	flags.BoolVarP(&quiet, "quiet", "q", false, "do not say how it goes")
	flags.BoolVar(&asJSON, "json", false, "write what came of it as JSON")
	return cmd
}

// afterRefusal says what to do when an agent was not handed over.
func afterRefusal(r wire.Reason) string {
	switch {
	case r == wire.Unsupported || r == wire.SourceFailed:
		return "igor node agents says how it is"
	case r == wire.Transport:
		return "it lives on here. Is the other node up, and does it know this one? There: igor node peers"
	case r.Again():
		return "it lives on here; --migration-retries N has nodes asked again"
	}
	return "it lives on here"
}

// nodeCommand hands everything on to igor-node, which is a program of its own: it has
// libp2p in it.
func nodeCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "node [COMMAND]",
		Short: "Run a node, which other nodes can reach (igor-node)",
		Long: `Node runs igor-node, where that is installed: beside igor, or in the search path.
igor node --help shows what it does.`,
		Example:            "  igor node init\n  igor node start",
		DisableFlagParsing: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			path, err := findNode()
			if err != nil && slices.Contains(args, "--help") {
				return cmd.Help()
			}
			if err != nil {
				return failed(&hinted{errors.New("igor-node is not installed"), "put igor-node beside igor, or into the search path"})
			}
			return failed(execute(cmd.Context(), path, args))
		},
	}
}

func findNode() (string, error) {
	if self, err := os.Executable(); err == nil {
		path := filepath.Join(filepath.Dir(self), "igor-node")
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return path, nil
		}
	}
	return exec.LookPath("igor-node")
}

// execute becomes a program.
func execute(_ context.Context, path string, args []string) error {
	return syscall.Exec(path, append([]string{"igor-node"}, args...), os.Environ())
}
