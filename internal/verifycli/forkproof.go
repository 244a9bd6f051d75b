package verifycli

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"

	"igor.dev/verifier"
	"igor.dev/verifier/witness"
)

const forkFormat = "igor-fork-report/1"

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
		return exitOf(fork), outputError(writeForkJSON(out, fork, err))
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
		switch got := f.Witnessed[i]; {
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

func writeForkJSON(w io.Writer, f *witness.Fork, problem error) error {
	type logged struct {
		Log    string `json:"log"`
		Index  uint64 `json:"index,string"`
		Before string `json:"before,omitempty"`
	}
	type side struct {
		Checkpoint string  `json:"checkpoint"`
		Epoch      uint64  `json:"epoch,string"`
		Tick       uint64  `json:"tick,string"`
		Log        string  `json:"claimedLog,omitempty"`
		Witnessed  *logged `json:"witnessed,omitempty"`
	}
	report := struct {
		Format       string `json:"format"`
		Proven       bool   `json:"proven"`
		DID          string `json:"did,omitempty"`
		Kind         string `json:"kind,omitempty"`
		Sides        []side `json:"sides,omitempty"`
		Problem      string `json:"problem,omitempty"`
		Proves       string `json:"proves"`
		DoesNotProve string `json:"doesNotProve,omitempty"`
	}{Format: forkFormat, Proven: f != nil, Proves: forkUnproven}
	if f == nil {
		report.Problem = problem.Error()
	} else {
		report.DID, report.Kind, report.Proves, report.DoesNotProve = f.Agent.DID(), f.Kind.String(), f.Proves(), f.DoesNotProve()
		for i, s := range f.Sides {
			out := side{s.Checkpoint.CID(), s.Epoch, s.Tick, s.Log, nil}
			if got := f.Witnessed[i]; got != nil {
				out.Witnessed = &logged{Log: got.Log, Index: got.Index}
				if got.Before > 0 {
					out.Witnessed.Before = verifier.FormatTime(got.Before)
				}
			}
			report.Sides = append(report.Sides, out)
		}
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	if err := e.Encode(report); err != nil {
		return err
	}
	_, err := w.Write(SafeJSON(b.Bytes()))
	return err
}
