// Igor runs agents, and verifies their lives.
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"igor.dev/internal/verifycli"
	"igor.dev/runtime"
	"igor.dev/verifier"
)

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

// run is main without the process around it.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), verifycli.Signals()...)
	defer stop()
	// The second signal ends the process. One that comes at once with the first is the first
	// again: timeout(1) and npm send it to the process and to its group.
	context.AfterFunc(ctx, func() { time.AfterFunc(time.Second, stop) })
	// Nobody reading the log must not end a life.
	signal.Ignore(syscall.SIGPIPE)

	code := exitOK
	root := command(&code)
	var unshown error
	root.SetHelpFunc(help(root.HelpFunc(), &unshown))
	if len(args) > 0 && (args[0] == cobra.ShellCompRequestCmd || args[0] == cobra.ShellCompNoDescRequestCmd) {
		unquoteUsages(root)
	}
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		err = failed(unshown)
	}
	if err == nil {
		return code
	}
	if _, ok := errors.AsType[*fs.PathError](err); ok && !errors.As(err, new(*refusal)) {
		err = failed(err) // also what cobra itself cannot write
	}
	hint, code := cmp.Or(nextStep(err), cmd.CommandPath()+" --help explains the usage"), exitUsage
	_, isRefusal := errors.AsType[*refusal](err)
	if _, ok := errors.AsType[*failure](err); ok || isRefusal {
		if ok {
			code = exitStatus(err)
		}
		hint = cmp.Or(nearAgent(cmd, err), nextStep(err))
	}
	switch {
	case errors.Is(err, syscall.EPIPE) && outputFailed(err):
		// Who reads has what they wanted.
	case wantsJSON(cmd, args):
		writeLine(stderr, shownError{plain(err).Error(), hint, code})
	default:
		fmt.Fprintf(stderr, "igor: %s\n", verifycli.Printable(plain(err).Error()))
		if hint != "" {
			fmt.Fprintf(stderr, "hint: %s\n", verifycli.Printable(hint))
		}
	}
	return code
}

// A shownError is how a command that writes JSON says on standard error why it failed.
type shownError struct {
	Error string `json:"error"`
	Hint  string `json:"hint,omitempty"`
	Exit  int    `json:"exitCode"`
}

// wantsJSON reports whether a command was asked for JSON, also where the rest of what
// it was asked for could not be read.
func wantsJSON(cmd *cobra.Command, args []string) bool {
	if f := cmd.Flags().Lookup("json"); f == nil {
		return false
	} else if f.Changed {
		return f.Value.String() == "true"
	}
	end := slices.Index(args, "--")
	if end < 0 {
		end = len(args)
	}
	return slices.Contains(args[:end], "--json")
}

// outputFailed reports whether an error is one of writing to standard output.
func outputFailed(err error) bool {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		return p.Path == os.Stdout.Name()
	}
	return errors.As(err, new(*refusal)) // see unwritten
}

// writeLine writes a JSON object on a line.
func writeLine(w io.Writer, v any) error {
	encode := json.NewEncoder(w)
	encode.SetEscapeHTML(false)
	return encode.Encode(v)
}

// nearAgent returns the hint of an error about a folder that is not there, and was
// mistyped.
func nearAgent(cmd *cobra.Command, err error) string {
	if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, runtime.ErrNotFolder) {
		return ""
	}
	for _, arg := range cmd.Flags().Args() {
		if near := nearestAgent(arg); near != "" {
			return "did you mean " + near + "?"
		}
	}
	return ""
}

// nextStep returns what to do about an error, "" if nobody knows.
func nextStep(err error) string {
	if h, ok := errors.AsType[interface {
		error
		Hint() string
	}](err); ok {
		return h.Hint()
	}
	is := func(targets ...error) bool {
		return slices.ContainsFunc(targets, func(target error) bool { return errors.Is(err, target) })
	}
	switch p, _ := errors.AsType[*fs.PathError](err); {
	case p != nil && p.Path == os.Stdout.Name():
		return "look at where the output goes; what was done is done all the same"
	case is(syscall.ENOSPC, syscall.EDQUOT):
		return "make room, and do it again; nothing that was acknowledged is lost"
	case is(fs.ErrNotExist, syscall.ENOTDIR, syscall.EISDIR):
		return "check the path"
	case is(fs.ErrPermission, syscall.EROFS):
		return "check who may read and write there"
	}
	return ""
}

// plain says an error without the operations in it: "x: no such file", not
// "open x: no such file". What several errors say stands on one line.
func plain(err error) error {
	if err == nil {
		return nil
	}
	text := err.Error()
	var each func(error)
	each = func(err error) {
		if p, ok := err.(*fs.PathError); ok {
			path := p.Path
			if path == os.Stdout.Name() {
				path = "cannot write the output"
			}
			text = strings.Replace(text, p.Error(), path+": "+p.Err.Error(), 1)
		}
		switch err := err.(type) {
		case interface{ Unwrap() error }:
			if next := err.Unwrap(); next != nil {
				each(next)
			}
		case interface{ Unwrap() []error }:
			for _, next := range err.Unwrap() {
				each(next)
			}
		}
	}
	each(err)
	if errors.Is(err, context.Canceled) { // by a signal: nothing else cancels
		text = "interrupted before it was done"
	}
	return &worded{err, strings.ReplaceAll(text, "\n", "; ")}
}

// A worded error says the same in other words.
type worded struct {
	error
	text string
}

func (w *worded) Error() string { return w.text }
func (w *worded) Unwrap() error { return w.error }

// command returns the whole command line. Some commands have an exit code that says
// more than whether they could do their work.
func command(code *int) *cobra.Command {
	root := &cobra.Command{
		Use:           "igor",
		Short:         "Run agents whose whole life can be verified",
		Long:          "Igor runs agents, whose whole life is a chain of signed checkpoints.",
		Version:       verifier.Version(),
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.ArbitraryArgs, // noCommand says what is wrong with them
		RunE:          noCommand,

		PersistentPreRunE: noEmptyFlag,
	}
	root.SetFlagErrorFunc(flagError)
	root.SetVersionTemplate("{{.Version}}\n")
	root.AddCommand(
		newCommand(),
		simulateCommand(),
		runCommand(),
		resumeCommand(),
		upCommand(),
		topUpCommand(),
		walletCommand(),
		rentCommand(),
		priceCommand(),
		checkpointCommand(),
		pauseCommand(),
		continueCommand(),
		stopCommand(),
		verifyCommand(code),
		inspectCommand(code),
		historyCommand(),
		replayCommand(code),
		forkCommand(),
		upgradeCommand(),
		restoreCommand(),
		archiveCommand(),
		recoverCommand(),
		retireCommand(),
		fleetCommand(),
		migrateCommand(),
		nodeCommand(),
		succeedCommand(),
		effectsCommand(),
		repairFolderCommand(),
		lsCommand(),
		statusCommand(),
		logsCommand(),
		receiptsCommand(code),
		publishCommand(),
		serveCommand(),
		fetchCommand(),
		siteCommand(),
		manCommand(),
	)
	explainUsage(root)
	return root
}

// noCommand is what a command that only has commands below it does.
func noCommand(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		var names []string
		for _, c := range cmd.Commands() {
			names = append(names, c.Name())
		}
		return meant(fmt.Errorf("there is no command %q", args[0]), args[0], names, cmd.CommandPath()+" ")
	}
	return errors.New("there is no command")
}

// noEmptyFlag refuses the flag that a script gave with a variable that was not set.
func noEmptyFlag(cmd *cobra.Command, _ []string) (err error) {
	cmd.Flags().Visit(func(f *pflag.Flag) {
		if f.Value.Type() == "string" && f.Value.String() == "" && f.Name != "note" {
			err = fmt.Errorf("--%s has an empty value", f.Name)
		}
	})
	return err
}

// flagError names the flag, its value, and what would be one.
func flagError(cmd *cobra.Command, err error) error {
	if unknown, ok := errors.AsType[*pflag.NotExistError](err); ok && unknown.GetSpecifiedShortnames() == "" {
		var names []string
		cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
		name := unknown.GetSpecifiedName()
		return meant(fmt.Errorf("there is no flag --%s", name), name, names, "--")
	}
	invalid, ok := errors.AsType[*pflag.InvalidValueError](err)
	if !ok {
		return err
	}
	f, want := invalid.GetFlag(), invalid.Unwrap().Error()
	switch f.Value.Type() {
	case "uint64":
		want = "want a whole number, such as 10"
	case "duration":
		want = "want a time, such as 500ms or 10m"
	case "bool":
		want = "want true or false"
	}
	return fmt.Errorf("--%s %s: %s", f.Name, invalid.GetValue(), want)
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
