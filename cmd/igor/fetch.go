package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"igor.dev/internal/verifycli"
	"igor.dev/publish"
	"igor.dev/verifier"
	"igor.dev/verifier/witness"
)

// fetchFlags are those of fetch and of verify, where it fetches.
type fetchFlags struct {
	from        []string
	bytes       uint64
	checkpoints uint64
	timeout     time.Duration
}

func (f *fetchFlags) declare(flags *pflag.FlagSet) {
	flags.StringArrayVar(&f.from, "from", nil, "a `SERVER` to ask, as https://HOST, or a folder that was published to; give it several times to ask several")
	flags.Uint64Var(&f.bytes, "max-bytes", uint64(publish.DefaultLimits.Bytes), "fetch no more than `N` bytes")
	flags.Uint64Var(&f.checkpoints, "max-checkpoints", publish.DefaultLimits.Checkpoints, "fetch no more than `N` checkpoints")
	flags.DurationVar(&f.timeout, "timeout", time.Hour, "give up after this `TIME`")
}

// request makes a request of an operand.
func (f *fetchFlags) request(what string) (*publish.Request, error) {
	address, err := publish.ParseAddress(what)
	if err != nil {
		return nil, err
	}
	switch {
	case f.bytes == 0 || f.bytes > 1<<62 || f.checkpoints == 0 || f.timeout <= 0:
		return nil, errors.New("a limit of 0 lets nothing through")
	case address.File != nil && len(f.from) > 0:
		return nil, &hinted{fmt.Errorf("%s is an address already, and names no life", what), "give the DID or the CID with --from, or the address alone if there is a history in one file"}
	}
	limits := publish.DefaultLimits
	limits.Bytes, limits.Checkpoints = int64(f.bytes), f.checkpoints
	address.From = append(slices.Clone(f.from), address.From...)
	return &publish.Request{Address: *address, Limits: limits, Progress: new(publish.Progress)}, nil
}

func fetchCommand() *cobra.Command {
	var f fetchFlags
	var seen witnessFlags
	var out string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "fetch DID|CID|URL",
		Short: "Get a life from a server, as one .car file",
		Long: `Fetch gets the life of the agent with a DID, or the one that a checkpoint with a CID
is of, from the servers that --from names, or from where the URL says. It writes one
.car file to standard output, or to the file that -o names. It asks nobody else.

What it writes is only what a server says: fetch sees to it that every checkpoint has
its CID and follows the one before it. Whether the life is good, verify says:

  igor fetch DID --from https://HOST | igor-verify --did DID -

With -o FILE.car, what lies with the life is written beside it, where igor verify looks
at it: FILE.tlog-proof, that its head was logged, FILE.handovers, who gave the agent to
whom, and so on. With --witness it says whether the head is witnessed; with
--require-witness nothing is written unless it is.

A fetch to a file that was interrupted goes on when it is run again.`,
		Example: `  igor fetch did:key:z6Mk… --from https://agent.example -o life.car
  igor fetch DID --from https://HOST -o life.car --witness heads.policy
  igor fetch bafkrei… --from https://agent.example | igor-verify -`,
		Args: operands("DID|CID|URL"),
		RunE: func(cmd *cobra.Command, args []string) error {
			request, err := f.request(args[0])
			if err != nil {
				return err
			}
			if err := seen.read(); err != nil {
				return failed(err)
			}
			request.Beside = true
			ctx, cancel := context.WithTimeout(cmd.Context(), f.timeout)
			defer cancel()
			if out == "" || out == "-" {
				if asJSON {
					return errors.New("--json needs -o FILE: standard output has the history")
				}
				if verifycli.IsTerminal(cmd.OutOrStdout()) {
					return &hinted{errors.New("a history is no text, and standard output is a terminal"), "name a file with -o, or pipe it into igor-verify -"}
				}
				request.Beside = seen.policy != nil
				return failed(fetchThrough(ctx, cmd, request, &seen))
			}
			stop := verifycli.ShowProgress(cmd.ErrOrStderr(), request.Progress.String)
			got, err := fetchTo(ctx, request, out, &seen)
			stop()
			if err != nil {
				return failed(err)
			}
			if asJSON {
				return failed(writeJSON(cmd.OutOrStdout(), fetchedJSON(out, got, &seen)))
			}
			describeFetched(cmd.ErrOrStderr(), request, got)
			seen.describe(cmd.ErrOrStderr(), got)
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "wrote   %s\n", out)
			return failed(err)
		},
	}
	f.declare(cmd.Flags())
	cmd.Flags().StringVar(&seen.witness, "witness", "", "`POLICY` file that names logs and witnesses: say whether the head that was fetched is witnessed")
	cmd.Flags().StringVar(&seen.required, "require-witness", "", "`POLICY` file: write nothing unless it is")
	cmd.Flags().BoolVar(&asJSON, "json", false, "with -o, write what was fetched as JSON")
	cmd.Flags().StringVarP(&out, "output", "o", "", "the `FILE` to write, - for standard output (default: standard output)")
	return cmd
}

// witnessFlags say whom to believe about the head that was fetched.
type witnessFlags struct {
	witness, required string
	policy            *witness.Policy
}

func (f *witnessFlags) read() (err error) {
	file := f.witness
	switch {
	case f.witness != "" && f.required != "":
		return errors.New("--witness and --require-witness are one or the other")
	case f.required != "":
		file = f.required
	}
	if file != "" {
		f.policy, err = readPolicy(file)
	}
	return err
}

// check says what the proof that came with a life shows, and why its head is not witnessed,
// "" if it is.
func (f *witnessFlags) check(got *publish.Fetched) (w *verifier.Witnessed, why string) {
	w = (&witness.Beside{Policy: f.policy, Proof: got.Beside[verifier.RoleProof.File()]}).Check(got.Agent)
	switch {
	case w.Problem != "":
		return w, w.Problem
	case w.Checkpoint != got.Head:
		return w, fmt.Sprintf("what is witnessed is another checkpoint, %s after tick %d", w.Checkpoint.CID(), w.Tick)
	}
	return w, ""
}

// says says it in a sentence.
func (f *witnessFlags) says(got *publish.Fetched) string {
	w, why := f.check(got)
	if why != "" {
		return "The head is not witnessed: " + why + "."
	}
	return w.Says()
}

func (f *witnessFlags) describe(w io.Writer, got *publish.Fetched) {
	if f.policy != nil {
		describeLine(w, "seen", "%s", f.says(got))
	}
}

// demand is an error unless the head is witnessed, if that is demanded.
func (f *witnessFlags) demand(got *publish.Fetched) error {
	if f.required == "" {
		return nil
	}
	if _, why := f.check(got); why != "" {
		return &hinted{fmt.Errorf("the head that was fetched, of tick %d, is not witnessed as %s wants it: %s", got.Tick, f.required, why), "ask another server with --from, or the agent’s owner; --witness fetches it all the same"}
	}
	return nil
}

// fetchThrough fetches to standard output: through a file, where it has to be witnessed first.
func fetchThrough(ctx context.Context, cmd *cobra.Command, request *publish.Request, seen *witnessFlags) error {
	out := cmd.OutOrStdout()
	if seen.required != "" {
		tmp, err := os.CreateTemp("", "igor-fetch-*.car")
		if err != nil {
			return err
		}
		defer os.Remove(tmp.Name())
		defer tmp.Close()
		out = tmp
	}
	stop := verifycli.ShowProgress(cmd.ErrOrStderr(), request.Progress.String)
	got, err := publish.Fetch(ctx, request, out)
	stop()
	if err == nil {
		err = seen.demand(got)
	}
	if err != nil {
		return err
	}
	if tmp, ok := out.(*os.File); ok && seen.required != "" {
		if _, err := tmp.Seek(0, io.SeekStart); err != nil {
			return err
		}
		if _, err := io.Copy(cmd.OutOrStdout(), tmp); err != nil {
			return err
		}
	}
	describeFetched(cmd.ErrOrStderr(), request, got)
	seen.describe(cmd.ErrOrStderr(), got)
	return nil
}

// fetchedJSON is what was fetched, for programs.
func fetchedJSON(out string, got *publish.Fetched, seen *witnessFlags) any {
	type server struct {
		From        string `json:"from"`
		Head        string `json:"head,omitempty"`
		Tick        string `json:"tick,omitempty"`
		Checkpoints uint64 `json:"checkpoints,omitempty"`
		Error       string `json:"error,omitempty"`
	}
	all := struct {
		Wrote       string   `json:"wrote"`
		DID         string   `json:"did,omitempty"`
		Head        string   `json:"head,omitempty"`
		Tick        string   `json:"tick,omitempty"`
		Checkpoints uint64   `json:"checkpoints,omitempty"`
		Bytes       int64    `json:"bytes"`
		Slow        string   `json:"slow,omitempty"`
		Servers     []server `json:"servers,omitempty"`
		Beside      []string `json:"beside,omitempty"`
		Witnessed   string   `json:"witnessed,omitempty"`
	}{Wrote: out, Checkpoints: got.Checkpoints, Bytes: got.Bytes, Slow: got.Slow}
	if !got.File {
		all.DID, all.Head, all.Tick = got.Agent.DID(), got.Head.CID(), strconv.FormatUint(got.Tick, 10)
	}
	for _, role := range verifier.Roles {
		if _, ok := got.Beside[role.File()]; ok {
			all.Beside = append(all.Beside, besideCAR(out, role))
		}
	}
	if seen.policy != nil {
		all.Witnessed = seen.says(got)
	}
	for _, s := range got.Servers {
		one := server{From: s.From}
		if s.Head != nil {
			one.Head, one.Tick, one.Checkpoints = s.Head.Checkpoint.CID(), strconv.FormatUint(s.Head.Tick, 10), s.Head.Checkpoints
		} else {
			one.Error = s.Err.Error()
		}
		all.Servers = append(all.Servers, one)
	}
	return all
}

// fetchTo fetches to a file, which is there once it is whole. Until then what came is kept
// beside it.
func fetchTo(ctx context.Context, request *publish.Request, out string, seen *witnessFlags) (*publish.Fetched, error) {
	names := []string{out}
	for _, role := range verifier.Roles {
		names = append(names, besideCAR(out, role))
	}
	for _, name := range names {
		if _, err := os.Lstat(name); err == nil {
			return nil, &hinted{fmt.Errorf("%s is there already", name), "name another file with -o"}
		}
	}
	request.Keep = out + ".part"
	if err := os.Mkdir(request.Keep, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	whole := filepath.Join(request.Keep, "whole")
	file, err := os.Create(whole)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	got, err := publish.Fetch(ctx, request, file)
	if err != nil {
		os.Remove(whole)
		if entries, listErr := os.ReadDir(request.Keep); listErr == nil && len(entries) == 0 {
			os.Remove(request.Keep) // nothing came
		}
		return nil, err
	}
	if err := errors.Join(file.Sync(), file.Close()); err != nil {
		return nil, err
	}
	if err := seen.demand(got); err != nil {
		return nil, errors.Join(err, os.RemoveAll(request.Keep))
	}
	if err := writeBeside(out, got.Beside); err != nil {
		return nil, err
	}
	if err := os.Link(whole, out); errors.Is(err, fs.ErrExist) {
		return nil, &hinted{fmt.Errorf("%s is there already", out), "name another file with -o"}
	} else if err != nil { // a file system without links
		if err := os.Rename(whole, out); err != nil {
			return nil, err
		}
	}
	return got, os.RemoveAll(request.Keep)
}

// writeBeside writes what lies with a life beside its CAR, whose name says of which it is.
func writeBeside(car string, files map[string][]byte) error {
	for _, role := range verifier.Roles {
		if content, ok := files[role.File()]; ok {
			if err := writeNew(besideCAR(car, role), content); err != nil {
				return err
			}
		}
	}
	return nil
}

// describeLine writes what a label stands before, in as many lines as it takes.
func describeLine(w io.Writer, label, format string, args ...any) {
	for i, text := range verifycli.Wrap(verifycli.Printable(fmt.Sprintf(format, args...)), columns-8) {
		if i > 0 {
			label = ""
		}
		fmt.Fprintf(w, "%-8s%s\n", label, text)
	}
}

// describeFetched says what was fetched, and what that is worth.
func describeFetched(w io.Writer, request *publish.Request, got *publish.Fetched) {
	line := func(label, format string, args ...any) { describeLine(w, label, format, args...) }
	if got.File {
		line("from", "%s: %s", got.From, megabytes(got.Bytes))
		line("note", "What an address names is what the address says. Whose history it has to be, say with --did.")
		return
	}
	for _, s := range got.Servers {
		switch {
		case s.Head != nil:
			line("from", "%s: head at tick %s, %s", s.From, strconv.FormatUint(s.Head.Tick, 10), verifycli.Plural(int(s.Head.Checkpoints), "checkpoint"))
		default:
			line("from", "%s: %v", s.From, s.Err)
		}
	}
	line("fetched", "%s, %s", verifycli.Plural(int(got.Checkpoints), "checkpoint"), megabytes(got.Bytes))
	if got.Slow != "" {
		line("slow", "One by one, for %s.", strings.TrimPrefix(got.Slow, "it "))
	}
	if got.Apart {
		line("note", "The checkpoint that was asked for is not in the life that this server has. Both were fetched: if both are the agent’s, it lives twice.")
	}
	if request.Linked && request.Agent != nil {
		line("note", "The address names %s. That is what the address says, not what you expect: compare it with what the agent’s owner publishes, and give the DID itself.", got.Agent.DID())
	}
	line("note", "A server cannot change or make up what this agent signed. It can withhold the newest: ask others too with --from, or name the newest checkpoint that you know with --head.")
}

func megabytes(n int64) string {
	if n < 1e6 {
		return fmt.Sprintf("%.1f kB", float64(n)/1e3)
	}
	return fmt.Sprintf("%.1f MB", float64(n)/1e6)
}

// fetchFor fetches, for verify, what its operands name that is not on this machine, and
// returns the arguments with files in their place.
func fetchFor(cmd *cobra.Command, args []string) (rest []string, done func(), err error) {
	done = func() {}
	var f fetchFlags
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	f.declare(flags)
	own := func(name string) bool { return flags.Lookup(name) != nil }
	given := make(map[string]bool)
	var addresses []int // in rest
	for i := 0; i < len(args); i++ {
		arg := args[i]
		if arg == "--" {
			rest = append(rest, args[i:]...)
			break
		}
		if arg == "-" || !strings.HasPrefix(arg, "-") {
			if publish.IsAddress(arg) {
				addresses = append(addresses, len(rest))
			}
			rest = append(rest, arg)
			continue
		}
		name, value, has := strings.Cut(strings.TrimLeft(arg, "-"), "=")
		if !has && i+1 < len(args) && !strings.HasPrefix(args[i+1], "-") {
			i++
			value, has = args[i], true
			if !own(name) {
				rest = append(rest, arg, value)
			}
		} else if !own(name) {
			rest = append(rest, arg)
		}
		given[name] = true
		if !own(name) {
			continue
		}
		if !has || value == "" {
			return nil, done, fmt.Errorf("--%s needs a value", name)
		}
		if err := flags.Set(name, value); err != nil {
			return nil, done, flagError(cmd, err)
		}
	}
	if len(addresses) == 0 {
		if flags.NFlag() > 0 {
			return nil, done, &hinted{errors.New("there is nothing to fetch: no DID, CID or URL is given"), "igor verify DID --from https://HOST"}
		}
		return rest, done, nil
	}
	tmp, err := os.MkdirTemp("", "igor-verify-*")
	if err != nil {
		return nil, done, failed(err)
	}
	done = func() { os.RemoveAll(tmp) }
	ctx, cancel := context.WithTimeout(cmd.Context(), f.timeout)
	defer cancel()
	var pins []string
	for i, at := range addresses {
		request, err := f.request(rest[at])
		if err != nil {
			return nil, done, err
		}
		request.Beside = true
		dir := filepath.Join(tmp, strconv.Itoa(i))
		if err := os.Mkdir(dir, 0o700); err != nil {
			return nil, done, failed(err)
		}
		file, err := os.Create(filepath.Join(dir, "life.car"))
		if err != nil {
			return nil, done, failed(err)
		}
		stop := verifycli.ShowProgress(cmd.ErrOrStderr(), request.Progress.String)
		got, err := publish.Fetch(ctx, request, file)
		stop()
		if err = errors.Join(err, file.Close()); err != nil {
			return nil, done, failed(err)
		}
		if err := writeBeside(file.Name(), got.Beside); err != nil {
			return nil, done, failed(err)
		}
		describeFetched(cmd.ErrOrStderr(), request, got)
		// What was named by itself is what is expected. What an address says is not.
		if !request.Linked && request.Agent != nil && !given["did"] {
			pins = append(pins, "--did", request.Agent.DID())
			given["did"] = true
		}
		if !request.Linked && request.Checkpoint != nil && !given["head"] {
			pins = append(pins, "--head", request.Checkpoint.CID())
			given["head"] = true
		}
		rest[at] = file.Name()
	}
	return append(pins, rest...), done, nil
}
