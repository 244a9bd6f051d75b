// Igor runs agents, and verifies their lives.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"igor.dev/internal/verifycli"
	"igor.dev/verifier"
)

// Exit codes. igor verify and igor inspect have those of igor-verify.
const (
	exitOK     = 0
	exitFailed = 1 // refused, or the agent failed
	exitUsage  = 2
)

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

// run is main without the process around it.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // the second signal ends the process
	// Nobody reading the log must not end a life.
	signal.Ignore(syscall.SIGPIPE)

	code := exitOK
	root := command(&code)
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return code
	}
	if _, ok := errors.AsType[*fs.PathError](err); ok && !errors.As(err, new(*refusal)) {
		err = failed(err) // also what cobra itself cannot write
	}
	hint, code := cmd.CommandPath()+" --help explains the usage", exitUsage
	_, isRefusal := errors.AsType[*refusal](err)
	if _, ok := errors.AsType[*failure](err); ok || isRefusal {
		if hint = ""; ok {
			code = exitFailed
		}
		if h, ok := errors.AsType[interface {
			error
			Hint() string
		}](err); ok {
			hint = h.Hint()
		} else if errors.Is(err, syscall.ENOSPC) {
			hint = "make room, and do it again; nothing that was acknowledged is lost"
		}
	}
	fmt.Fprintf(stderr, "igor: %s\n", verifycli.Printable(err.Error()))
	if hint != "" {
		fmt.Fprintf(stderr, "hint: %s\n", verifycli.Printable(hint))
	}
	return code
}

// command returns the whole command line. Some commands have an exit code that says
// more than whether they could do their work.
func command(code *int) *cobra.Command {
	root := &cobra.Command{
		Use:   "igor",
		Short: "Run agents whose whole life can be verified",
		Long: `Igor runs agents: WebAssembly programs that pay for their time, and whose life
is a chain of signed checkpoints that anybody can verify.`,
		Version:       verifier.Version(),
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.ArbitraryArgs, // noCommand says what is wrong with them
		RunE:          noCommand,
	}
	root.SetVersionTemplate("{{.Version}}\n")
	root.AddCommand(
		newCommand(),
		simulateCommand(),
		runCommand(),
		resumeCommand(),
		verifyCommand(code),
		inspectCommand(code),
		historyCommand(),
		replayCommand(code),
		forkCommand(),
		effectsCommand(),
		lsCommand(),
		logsCommand(),
		receiptsCommand(code),
		siteCommand(),
		manCommand(),
	)
	explainUsage(root)
	return root
}

// noCommand is what a command that only has commands below it does.
func noCommand(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("there is no command %q", args[0])
	}
	return errors.New("there is no command")
}

// A failure is an error of what a command does. Every other error is one of
// how it is called.
type failure struct{ error }

func (f *failure) Unwrap() error { return f.error }

func failed(err error) error {
	if err == nil {
		return nil
	}
	return &failure{err}
}

// operands wants one operand for each name.
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

// writeJSON writes what a command came to for programs.
func writeJSON(w io.Writer, v any) error {
	encode := json.NewEncoder(w)
	encode.SetIndent("", "  ")
	encode.SetEscapeHTML(false)
	return encode.Encode(v)
}
