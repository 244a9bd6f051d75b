package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"os"
	"runtime/debug"
	"slices"
	"sync"

	"github.com/spf13/cobra"

	"igor.dev/internal/verifycli"
	"igor.dev/runtime"
)

func upCommand() *cobra.Command {
	var live liveFlags
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "up [FOLDER]",
		Short: "Run all agents that are in a folder, in one process",
		Long: `Up runs the agents whose folders are in FOLDER (default: here), until it is
stopped (Ctrl-C or SIGTERM); then each makes a last checkpoint. An agent that comes
into FOLDER begins to run, and one that goes is stopped.

An agent that fails is tried again after a second, then two, four and so on up to
five minutes, if that can help. One that has more than its share where a ceiling is
reached (--max-memory and so on) waits before its ticks, or is stopped and tried
again. One whose budget is exhausted goes on when it is
given more (igor top-up), and one with a damaged file when somebody mends it. One
that igor stop stopped stays so until up is started again, and one that igor retire
retired for good.`,
		Example: `  igor up /var/lib/igor --metrics 9464
  igor top-up /var/lib/igor/watcher 5
  igor stop /var/lib/igor/watcher`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir := "."
			if len(args) > 0 {
				dir = args[0]
			}
			defer live.close()
			engine, c, err := live.finish(cmd)
			if err != nil {
				return err
			}
			if os.Getenv("GOGC") == "" {
				// Nearly all of the heap is agents' memory, which has no pointers: to collect it
				// more often costs little, and a hundred Go agents take 8.5 MB each, not 11.
				debug.SetGCPercent(25)
			}
			if names, err := runtime.AgentFolders(dir); err == nil && len(names) == 0 {
				live.engine.Log.Info("no agent is here yet; one that comes into the folder begins to run", "folder", dir)
			}
			seen := lastSeen{all: map[string]runtime.Supervised{}}
			err = engine.Supervise(cmd.Context(), dir, runtime.SupervisorConfig{
				Agent: func(name string) runtime.Config {
					its := live.of(name, c)
					its.Log = live.engine.Log.With("agent", name)
					return its
				},
				Changed: func(s runtime.Supervised) {
					seen.changed(s)
					if live.monitor != nil {
						live.monitor.Changed(s)
					}
				},
			})
			if err != nil {
				return failed(err)
			}
			return failed(seen.print(cmd, asJSON))
		},
	}
	live.addShared(cmd)
	flags, most := cmd.Flags(), &live.engine.Ceilings
	flags.Var((*bytesFlag)(&most.Memory), "max-memory", "`BYTES` that the memories of all agents may have together, such as 4G (default: no limit)")
	flags.Var((*bytesFlag)(&most.Code), "max-code", "`BYTES` that all programs may have together (default: no limit)")
	flags.IntVar(&most.Files, "max-files", 0, "`N` descriptors that all agents may have open together (default: what the system gives)")
	flags.IntVar(&most.Network, "max-network", 0, "`N` agents may be in a tick that reaches a network at the same time (default: no limit)")
	flags.Var((*bytesFlag)(&most.BytesPerSecond), "max-bytes-per-second", "`BYTES` that all agents may write in a second together (default: no limit)")
	flags.Int64Var(&most.EffectsPerSecond, "max-effects-per-second", 0, "`N` side effects that all agents may begin in a second together (default: no limit)")
	cmd.Flags().BoolVar(&asJSON, "json", false, "write how each agent ended as JSON")
	return cmd
}

// lastSeen is how agents were that are supervised, before their folder or the process
// was gone.
type lastSeen struct {
	mu  sync.Mutex
	all map[string]runtime.Supervised
}

func (l *lastSeen) changed(s runtime.Supervised) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s.State == "" { // it is over: how it was before is what there is to say
		if last, ok := l.all[s.Name]; ok {
			s.State = last.State
		}
	}
	l.all[s.Name] = s
}

// print says how the agents ended: each one as JSON, and for people how many ended how.
func (l *lastSeen) print(cmd *cobra.Command, asJSON bool) error {
	type ended struct {
		Agent    string `json:"agent"`
		Ended    string `json:"ended"`
		Tick     uint64 `json:"tick,string"`
		Restarts int    `json:"restarts"`
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	all := []ended{}
	count := map[string]int{}
	for _, name := range slices.Sorted(maps.Keys(l.all)) {
		s := l.all[name]
		e := ended{Agent: name, Ended: string(runtime.Stopped), Restarts: s.Restarts}
		if s.Agent != nil {
			r, err := s.Agent.Wait(context.Background())
			e.Tick, e.Ended = r.Tick, cmp.Or(string(r.Reason), e.Ended)
			if err != nil && s.State != runtime.SupervisedAlive {
				e.Ended = plain(err).Error()
			}
		}
		all = append(all, e)
		if s.State == runtime.SupervisedFailed || s.State == runtime.SupervisedWaiting {
			e.Ended = "failed"
		}
		count[e.Ended]++
	}
	out := cmd.OutOrStdout()
	if asJSON {
		return writeJSON(out, all)
	}
	rows := []string{"agents", fmt.Sprint(len(all))}
	for _, how := range slices.Sorted(maps.Keys(count)) {
		rows = append(rows, "", fmt.Sprintf("%d %s", count[how], verifycli.Printable(how)))
	}
	return writeRows(out, rows...)
}
