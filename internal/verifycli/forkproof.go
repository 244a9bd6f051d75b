package verifycli

import (
	"bufio"
	"fmt"
	"io"
	"os"

	"igor.dev/verifier"
	"igor.dev/verifier/witness"
)

// forkProof checks a file that shows that a key lived twice. Its exit code is 0 if it
// does, and 1 if it does not.
func (in *invocation) forkProof(args []string, out *bufio.Writer) (code int, err error) {
	if err := in.parse(args, []string{"text", "json"}, "witness"); err != nil {
		return 0, err
	}
	switch {
	case in.pins.Head != nil:
		return 0, in.usageError("fork-proof has no flag --head")
	case in.spec != 0:
		return 0, in.usageError("fork-proof has no flag --report")
	case len(in.paths) != 1:
		return 0, in.usageError("fork-proof checks one file")
	}
	var policy *witness.Policy
	if in.beside.witness != "" {
		if policy, err = readPolicy(in.beside.witness); err != nil {
			return 0, err
		}
	}
	var b []byte
	if in.paths[0] == "-" {
		b, err = io.ReadAll(io.LimitReader(in.stdin, witness.MaxForkProof+1))
	} else {
		b, err = readForkFile(in.paths[0])
	}
	if err != nil {
		return 0, &failure{in.paths[0] + ": " + cause(err), "check the path"}
	}
	proof, err := witness.ParseForkProof(b)
	if err != nil {
		return 0, &failure{in.paths[0] + ": " + err.Error(), "a monitor gives such a file; get it again"}
	}
	fork, err := proof.Check(policy)
	if err == nil && in.pins.DID != nil && *in.pins.DID != fork.Agent {
		err = fmt.Errorf("it is about another agent, %s", fork.Agent.DID())
	}
	if err != nil {
		fork = nil
	}
	if in.format == "json" {
		return exitOf(fork), writeAll(out, witness.AppendForkJSON(nil, fork, err))
	}
	writeFork(out, fork, err, PaletteOf(in.stdout))
	return exitOf(fork), nil
}

func readForkFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, witness.MaxForkProof+1))
}

func exitOf(f *witness.Fork) int {
	if f == nil {
		return 1
	}
	return 0
}

const (
	forkUnproven = "Nothing: this file does not show that a key lived twice."
	notProven    = "not proven"
)

func writeFork(w io.Writer, f *witness.Fork, err error, p Palette) {
	if f == nil {
		for _, line := range p.Proves(forkUnproven, "") {
			fmt.Fprintln(w, line)
		}
		for _, line := range Wrap(p.Paint(Yellow, notProven)+": "+Printable(err.Error()), columns) {
			fmt.Fprintln(w, line)
		}
		return
	}
	row := func(label, text string) {
		for _, line := range Wrap(text, columns-labelWidth) {
			fmt.Fprintf(w, "%s%s\n", p.Paint(Dim, fmt.Sprintf("%-*s", labelWidth, label)), line)
			label = ""
		}
	}
	row("agent", f.Agent.DID())
	for i := range f.Sides {
		s := &f.Sides[i]
		row(choose(i == 0, "one", "other"), fmt.Sprintf("tick %d: %s", s.Tick, s.Checkpoint.CID()))
		switch got := f.Sides[i].Witnessed; {
		case got != nil:
			text := fmt.Sprintf("in log %s at index %d", got.Log, got.Index)
			if got.Before > 0 {
				text += ", existed before " + verifier.FormatTime(got.Before)
			}
			row("", Printable(text))
		case s.Log != "":
			row("", Printable(fmt.Sprintf("a proof that it is in log %s lies with it, which no policy here counts", s.Log)))
		}
	}
	fmt.Fprintln(w)
	for _, line := range p.Proves(f.Proves(), f.DoesNotProve()) {
		fmt.Fprintln(w, line)
	}
	fmt.Fprintf(w, "\n%s: this key lived twice\n", p.Paint(Red, "fork proven"))
}

func writeAll(out *bufio.Writer, b []byte) error {
	_, err := out.Write(b)
	return outputError(err)
}
