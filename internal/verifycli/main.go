// Package verifycli is the command line of igor-verify, which igor verify and
// igor inspect share. It does not verify anything itself: it parses arguments,
// runs package history, and writes the report in the format asked for.
package verifycli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"igor.dev/verifier"
	"igor.dev/verifier/history"
)

// exitFailed is the exit code when there is no verdict. The others are
// [verifier.Verdict.ExitCode]'s; docs/ci.md has them all.
const exitFailed = 2

// A failure keeps the program from giving a verdict.
type failure struct {
	problem string
	hint    string // the next step
}

func (f *failure) Error() string { return f.problem }

// An outputFailure is one in which the output was not written, or a part of it.
type outputFailure struct {
	failure
	err error
}

func (o *outputFailure) Unwrap() error { return o.err }

// invocation is one run of the program.
type invocation struct {
	name           string
	stdin          io.Reader
	stdout, stderr io.Writer
	pins           verifier.Pins
	format         string
	spec           int // of the report; 0 is the current one
	paths          []string
	beside         besideFlags
}

// formats are the values of --format, the default first.
var formats = []string{"text", "json", "github", "junit", "sarif", "svg"}

// Main runs the program called name with args and returns its exit code.
// "inspect" as the first argument inspects one checkpoint, "receipts" checks receipts,
// "fork-proof" checks that a key lived twice.
func Main(name string, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	return run(name, args, stdin, stdout, stderr, (*invocation).main)
}

// Receipts runs the part of [Main] that checks receipts.
func Receipts(name string, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	return run(name, args, stdin, stdout, stderr, (*invocation).receipts)
}

// Fail is [Main] for what was found out before: there is no verdict, for such a problem.
func Fail(name string, args []string, stdout, stderr io.Writer, problem, hint string) int {
	return run(name, args, nil, stdout, stderr, func(in *invocation, args []string, _ *bufio.Writer) (int, error) {
		in.format = formatOf(args, formats)
		if hint == "" {
			hint = name + " --help explains the usage"
		}
		return 0, &failure{problem, hint}
	})
}

// Formats returns the values of --format, the default first.
func Formats() []string { return slices.Clone(formats) }

// Usage returns what --help says of the program called name.
func Usage(name string) string { return fmt.Sprintf(usage, name, strings.Join(formats, "|")) }

func run(name string, args []string, stdin io.Reader, stdout, stderr io.Writer, main func(*invocation, []string, *bufio.Writer) (int, error)) int {
	// A closed pipe is an error to report, with the exit code of errors.
	signal.Ignore(syscall.SIGPIPE)

	out := bufio.NewWriterSize(stdout, 64<<10)
	in := &invocation{name: name, stdin: stdin, stdout: stdout, stderr: stderr}
	code, err := main(in, args, out)
	if err == nil {
		err = outputError(out.Flush())
	}
	if err == nil {
		return code
	}
	f := in.explain(err)
	if written := new(outputFailure); !errors.As(err, &written) && in.writeFailure(out, f) == nil {
		out.Flush() // where this fails too, the exit code says enough
	}
	if !errors.Is(err, syscall.EPIPE) { // else who reads has what they wanted
		fmt.Fprintf(stderr, "%s: %s\nhint: %s\n", name, Printable(f.problem), Printable(f.hint))
	}
	return exitFailed
}

// main does everything but flushing out.
func (in *invocation) main(args []string, out *bufio.Writer) (code int, err error) {
	var of string
	if len(args) == 2 && (args[0] == "inspect" || args[0] == "receipts" || args[0] == "fork-proof") {
		of = args[1]
	} else if len(args) == 1 {
		of = args[0]
	}
	switch strings.Replace(of, "--", "-", 1) {
	case "-help", "-h":
		fmt.Fprint(out, Usage(in.name))
		return 0, nil
	case "-version":
		if len(args) == 1 {
			fmt.Fprintln(out, verifier.Version())
			return 0, nil
		}
	}
	if len(args) > 0 && args[0] == "inspect" {
		return in.inspect(args[1:], out)
	}
	if len(args) > 0 && args[0] == "receipts" {
		return in.receipts(args[1:], out)
	}
	if len(args) > 0 && args[0] == "fork-proof" {
		return in.forkProof(args[1:], out)
	}
	if err := in.parse(args, formats, besideNames...); err != nil {
		return 0, err
	}
	lying, err := in.readBeside()
	if err != nil {
		return 0, err
	}
	for _, note := range lying.notes {
		fmt.Fprintf(in.stderr, "%s: %s\n", in.name, Printable(note))
	}
	r, err := in.verify(in.paths, in.pins, lying.lookedAt)
	if err != nil {
		return 0, err
	}
	if in.beside.predecessor != "" {
		if lying.successor.Old, err = in.verify([]string{in.beside.predecessor}, verifier.Pins{}, nil); err != nil {
			return 0, err
		}
	}
	lying.report(r)
	if err := in.write(out, r); err != nil {
		return 0, err
	}
	return r.Verdict().ExitCode(), nil
}

const usage = `usage: %[1]s [--did DID] [--head CID] [--format FORMAT] [--report N]
                   PATH...
                   [--witness POLICY | --require-witness POLICY] [--monitor KEY]
       %[1]s inspect FILE
       %[1]s fork-proof [--did DID] [--witness POLICY] FILE
       %[1]s receipts [--did DID] [--format text|json] PATH...
       %[1]s --version

Says whether the checkpoints at the PATHs are one whole, untampered life of an
agent. A PATH is a checkpoint, a folder (searched for *.ckpt with all below it),
a history in a .car file, or - for a CAR on standard input. All PATHs together
are one history; their order and names do not matter.

  --did DID        the agent that the history has to be by (did:key:z6Mk...)
  --head CID       a checkpoint that has to be in it (bafkrei...): the newest
                   one you know shows that the history was not cut before it
  --format FORMAT  %[2]s
  --report N       2, or 1 for the report of spec version 1

Was its newest checkpoint logged, and seen by others? POLICY is a file that
names logs and witnesses; the proof is head.tlog-proof beside the checkpoints.

  --witness POLICY          say what the proof proves
  --require-witness POLICY  incomplete unless it proves that the head is logged
  --monitor KEY             take this monitor's word, in head.monitor, too
  --proof FILE              the proof, if it is elsewhere
  --predecessor PATH        the life that this one succeeds, as the file
                            succession beside the checkpoints says

inspect prints one checkpoint field by field. fork-proof checks a file that
shows that one key lived twice; exit code 0: it does. receipts checks what nodes
and the agent signed for; a PATH is an agent's folder, its file receipts, or
checkpoints.

exit codes: 0 verified, 1 invalid, 3 incomplete (nothing is wrong, but something
is missing), 2 no verdict (wrong usage, or something could not be read)
`

func (in *invocation) usageError(format string, args ...any) error {
	return &failure{fmt.Sprintf(format, args...), in.name + " --help explains the usage"}
}

// parse reads the arguments, of which --format is one of formats, and more are the names of
// flags that not every command has. Flags may stand before and after paths. Package flag
// would stop at the first path and let a later flag win over an earlier one.
func (in *invocation) parse(args, formats []string, more ...string) error {
	in.format = formatOf(args, formats)
	given := make(map[string]string)
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		if arg == "--" {
			in.paths = append(in.paths, args...)
			break
		}
		if arg == "-" || !strings.HasPrefix(arg, "-") {
			in.paths = append(in.paths, arg)
			continue
		}
		flag, value, hasValue := strings.Cut(strings.TrimPrefix(arg[1:], "-"), "=")
		switch flag {
		case "did", "head", "format", "report":
		case "witness", "require-witness", "monitor", "proof", "predecessor":
			if !slices.Contains(more, flag) {
				return in.usageError("no flag --%s here", flag)
			}
		case "help", "h", "version":
			return in.usageError("--%s stands alone: nothing would be verified", flag)
		default:
			return in.usageError("unknown flag %s", arg)
		}
		if _, twice := given[flag]; twice {
			return in.usageError("flag --%s is given twice", flag)
		}
		if !hasValue && (len(args) == 0 || strings.HasPrefix(args[0], "-")) {
			return in.usageError("flag --%s needs a value", flag)
		}
		if !hasValue {
			value, args = args[0], args[1:]
		}
		if value == "" {
			// An unset variable in a script must not turn a pin off.
			return in.usageError("flag --%s has an empty value", flag)
		}
		given[flag] = value
	}

	var err error
	if in.pins, err = verifier.ParsePins(given["did"], ""); err != nil {
		return &failure{"--did " + given["did"] + ": " + err.Error(), "copy the DID from where the agent's owner publishes it"}
	}
	head, err := verifier.ParsePins("", given["head"])
	if err != nil {
		return &failure{"--head " + given["head"] + ": " + err.Error(), `a report has it as "head", and inspect prints it as the CID`}
	}
	in.pins.Head = head.Head

	switch report, ok := given["report"]; {
	case report == "1":
		in.spec = 1
	case ok && report != "2":
		return &failure{"unknown report version " + report, "the versions are 1 and 2; without --report it is 2"}
	}

	in.beside = besideFlags{given["witness"], given["require-witness"], given["monitor"], given["proof"], given["predecessor"]}
	if f, ok := given["format"]; ok && !slices.Contains(formats, f) {
		return &failure{problem: "unknown format " + f, hint: "the formats are " + strings.Join(formats, ", ")}
	}
	return in.checkPaths()
}

// formatOf returns the format that args ask for, whatever else is wrong with them, or
// the default.
func formatOf(args, formats []string) string {
	for i, arg := range args {
		if arg == "--" {
			break
		}
		flag, value, ok := strings.Cut(strings.TrimPrefix(arg, "-"), "=")
		if !strings.HasPrefix(arg, "-") || strings.TrimPrefix(flag, "-") != "format" {
			continue
		}
		if !ok && i+1 < len(args) {
			value = args[i+1]
		}
		if slices.Contains(formats, value) {
			return value
		}
	}
	return formats[0]
}

func (in *invocation) checkPaths() error {
	if len(in.paths) == 0 {
		return in.usageError("nothing to verify: no path is given")
	}
	stdin := 0
	for _, p := range in.paths {
		switch p {
		case "":
			return in.usageError("a path is empty")
		case "-":
			stdin++
		}
	}
	if stdin > 1 {
		return in.usageError("standard input (-) is given twice")
	}
	return nil
}

// Signals are those that ask a command to end. That its terminal is gone is one, unless
// it was started by nohup.
func Signals() []os.Signal {
	all := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) {
		all = append(all, syscall.SIGHUP)
	}
	return all
}

// verify runs the verification, with progress on a terminal, until it is done
// or a signal comes. The files with the paths that are looked at are so elsewhere.
func (in *invocation) verify(paths []string, pins verifier.Pins, lookedAt map[string]bool) (*verifier.Report, error) {
	sources := make([]history.Source, len(paths))
	for i, p := range paths {
		if p == "-" {
			sources[i] = history.CAR("standard input", in.stdin)
			continue
		}
		s, err := history.Path(p)
		if err != nil {
			return nil, err
		}
		sources[i] = s
	}
	ctx, stop := signal.NotifyContext(context.Background(), Signals()...)
	defer stop()

	v := &history.Verification{Pins: pins, Spec: in.spec, LookedAt: func(path string) bool { return lookedAt[filepath.Clean(path)] }}
	defer ShowProgress(in.stderr, func() string { return Examined(v.Progress()) })()
	type result struct {
		report *verifier.Report
		err    error
	}
	done := make(chan result, 1)
	go func() {
		r, err := v.Run(ctx, sources...)
		done <- result{r, err}
	}()
	select {
	case r := <-done:
		return r.report, r.err
	case <-ctx.Done():
		// Run may be waiting for input that never comes.
		return nil, ctx.Err()
	}
}

func (in *invocation) write(out *bufio.Writer, r *verifier.Report) error {
	l := newLocator(in.paths)
	switch in.format {
	case "json":
		return outputError(r.WriteJSON(out))
	case "github":
		return writeGitHub(out, r, l)
	case "junit":
		writeJUnit(out, r)
	case "sarif":
		return outputError(writeSARIF(out, r, l))
	case "svg":
		writeSVG(out, r)
	default:
		writeText(out, r, in.pins, PaletteOf(in.stdout))
	}
	return nil
}

// writeFailure says in a format for machines that there is no verdict, and why: what
// reads it must not take an empty file for a good one.
func (in *invocation) writeFailure(out *bufio.Writer, f *failure) error {
	switch in.format {
	case "github":
		writeGitHubFailure(out, f)
	case "junit":
		writeJUnitFailure(out, f)
	case "sarif":
		return writeSARIFFailure(out, f)
	case "svg":
		writeSVGFailure(out)
	}
	return nil
}

func outputError(err error) error {
	if err == nil {
		return nil
	}
	return &outputFailure{failure{"cannot write the output: " + cause(err), "there is no verdict without the whole output"}, err}
}

// explain gives every error its problem and its hint.
func (in *invocation) explain(err error) *failure {
	var f *failure
	var o *outputFailure
	var h *history.Error
	switch {
	case errors.As(err, &o):
		return &o.failure
	case errors.As(err, &f):
		return f
	case errors.As(err, &h):
		f = &failure{problem: h.Problem, hint: h.Hint}
		if h.Path != "" {
			f.problem = h.Path + ": " + h.Problem
		}
		if f.hint == "" {
			f.hint = in.name + " --help explains the usage"
		}
		return f
	case errors.Is(err, context.Canceled):
		return &failure{"interrupted", "nothing was judged; run it again for a verdict"}
	}
	return &failure{err.Error(), in.name + " --help explains the usage"}
}

// cause returns what went wrong without the path and operation around it.
func cause(err error) string {
	var p *os.PathError
	if errors.As(err, &p) {
		err = p.Err
	}
	return err.Error()
}
