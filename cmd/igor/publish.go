package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"igor.dev/internal/verifycli"
	"igor.dev/publish"
	"igor.dev/runtime"
	"igor.dev/segment"
	"igor.dev/verifier"
)

func publishCommand() *cobra.Command {
	var blocks, asJSON bool
	cmd := &cobra.Command{
		Use:   "publish FOLDER TO",
		Short: "Write a life where a web server serves it",
		Long: `Publish writes the history in FOLDER into the folder TO, in files that any web server
can serve. What was published before stays, and what is new is added; so it can be run
again and again, by hand or by a timer.

All that it writes is public, the states of the agent among it, and what was public
once cannot be taken back. Keys, journals and event logs are never written.

Whoever has the agent's DID and the server's address can then verify it:

  igor verify DID --from https://HOST`,
		Example: `  igor publish heartbeat /var/www/html
  igor publish heartbeat public && igor serve public`,
		Args: operands("FOLDER", "TO"),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, stop := withProgress(cmd)
			result, err := publishFolder(ctx, args[0], args[1], blocks)
			stop()
			if err != nil {
				return failed(err)
			}
			h := result.Head
			if asJSON {
				return failed(writeJSON(cmd.OutOrStdout(), struct {
					DID         string `json:"did"`
					Head        string `json:"head"`
					Tick        string `json:"tick"`
					Checkpoints uint64 `json:"checkpoints"`
					Added       uint64 `json:"added"`
					Bytes       int64  `json:"bytes"`
					To          string `json:"to"`
				}{h.Agent.DID(), h.Checkpoint.CID(), fmt.Sprint(h.Tick), h.Checkpoints, result.Added, result.Bytes, args[1]}))
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "agent   %s\nhead    %s, tick %d\nlife    %s, %d new\nto      %s\n", h.Agent.DID(), h.Checkpoint.CID(), h.Tick,
				verifycli.Plural(int(h.Checkpoints), "checkpoint"), result.Added, args[1])
			return failed(err)
		},
	}
	cmd.Flags().BoolVar(&blocks, "blocks", false, "write every checkpoint also by itself, for IPFS gateways and who knows only a CID; igor serve does without")
	cmd.Flags().BoolVar(&asJSON, "json", false, "write what was published as JSON")
	return cmd
}

// publishFolder publishes the history in a folder.
func publishFolder(ctx context.Context, dir, to string, blocks bool) (*publish.Result, error) {
	if inside(to, dir) {
		return nil, &hinted{fmt.Errorf("%s is inside the agent’s folder", to), "publish to a folder of its own: what a web server serves must not be beside a key"}
	}
	beside, err := publish.Beside(dir)
	if err != nil {
		return nil, err
	}
	life, done, err := lifeOf(ctx, dir)
	if err != nil {
		return nil, err
	}
	defer done()
	return publish.Publish(ctx, to, life, publish.Options{Blocks: blocks, Beside: beside})
}

// inside reports whether a path is a folder or in it.
func inside(path, dir string) bool {
	a, err := filepath.Abs(path)
	b, err2 := filepath.Abs(dir)
	if err != nil || err2 != nil {
		return false
	}
	for ; ; a = filepath.Dir(a) {
		if x, err := os.Stat(a); err == nil {
			if y, err := os.Stat(b); err == nil && os.SameFile(x, y) {
				return true
			}
		}
		if a == filepath.Dir(a) {
			return false
		}
	}
}

// lifeOf returns the checkpoints of a folder's history, until done is called.
func lifeOf(ctx context.Context, dir string) (life publish.Life, done func(), err error) {
	if runtime.IsAgentFolder(dir) {
		return func(tick uint64, all bool) iter.Seq2[[]byte, error] {
			return runtime.CheckpointsAfter(dir, tick, all)
		}, func() {}, nil
	}
	// Any other folder with checkpoints.
	tmp, err := os.MkdirTemp("", "igor-publish-*")
	if err != nil {
		return nil, nil, err
	}
	done = func() { os.RemoveAll(tmp) }
	file := filepath.Join(tmp, "life.car")
	report, err := runtime.ExportHistory(ctx, dir, file)
	if err == nil && report.Verdict() != verifier.Verified {
		err = &hinted{fmt.Errorf("%s: the history is %s", dir, report.Verdict()), "publish a whole life: igor verify " + dir + " says what is missing"}
	}
	if err != nil {
		done()
		return nil, nil, err
	}
	return func(tick uint64, all bool) iter.Seq2[[]byte, error] {
		return func(yield func([]byte, error) bool) {
			f, err := os.Open(file)
			if err != nil {
				yield(nil, err)
				return
			}
			defer f.Close()
			enough := errors.New("enough")
			_, err = segment.Read(f, func(b []byte, f *verifier.Finding) error {
				if (all || f.TickNumber > tick) && !yield(b, nil) {
					return enough
				}
				return nil
			})
			if err != nil && err != enough {
				yield(nil, err)
			}
		}
	}, done, nil
}
