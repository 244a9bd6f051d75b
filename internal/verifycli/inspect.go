package verifycli

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"io"
	"iter"
	"os"
	"strconv"
	"strings"
	"time"

	"igor.dev/verifier"
)

const (
	bytesPerLine = 16
	statePreview = 4 * bytesPerLine
	tableHead    = "offset  size  field           "
	valueColumn  = len(tableHead)
)

// inspect prints one checkpoint field by field, as far as its bytes go, and what
// examining it found.
func (in *invocation) inspect(args []string, out *bufio.Writer) (code int, err error) {
	var paths []string
	for i, arg := range args {
		switch {
		case arg == "--":
			paths = append(paths, args[i+1:]...)
		case arg != "-" && strings.HasPrefix(arg, "-"):
			return 0, in.usageError("inspect has no flag %s", arg)
		default:
			paths = append(paths, arg)
			continue
		}
		break
	}
	if len(paths) != 1 || paths[0] == "" {
		return 0, &failure{"inspect needs exactly one file", in.name + " --help explains the usage"}
	}
	r := in.stdin
	if path := paths[0]; path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return 0, &failure{path + ": " + cause(err), "check the path"}
		}
		defer f.Close()
		if info, err := f.Stat(); err == nil && info.IsDir() {
			return 0, &failure{path + ": is a folder", "give one checkpoint in it"}
		}
		r = f
	}
	b, err := readCheckpoint(paths[0], r)
	if err != nil {
		return 0, err
	}
	f := verifier.Examine(b)
	writeTable(out, b)
	writeExamination(out, b, &f, PaletteOf(in.stdout))
	if Authentic(&f) {
		return 0, nil
	}
	return 1, nil
}

// WriteInspection writes what inspect writes of the bytes of a checkpoint, and
// reports whether it is authentic.
func WriteInspection(w io.Writer, b []byte) (authentic bool, err error) {
	out := bufio.NewWriter(w)
	f := verifier.Examine(b)
	writeTable(out, b)
	writeExamination(out, b, &f, PaletteOf(w))
	return Authentic(&f), out.Flush()
}

// Authentic reports whether a checkpoint can be relied on by itself.
func Authentic(f *verifier.Finding) bool {
	return f.Authentic() && !f.Has(verifier.NegativeBudget) && !f.Has(verifier.NegativePrice)
}

// Problems returns the codes of what examining found.
func Problems(f *verifier.Finding) []string {
	codes := []string{}
	for q := range examined(f) {
		codes = append(codes, q.Code.String())
	}
	return codes
}

// examined returns what examining found. Linked by itself, a checkpoint also lacks
// its predecessor; that is no finding about it.
func examined(f *verifier.Finding) iter.Seq[verifier.Problem] {
	var pile verifier.Pile
	pile.Add(f, "")
	return func(yield func(verifier.Problem) bool) {
		for q := range verifier.Link(&pile, verifier.Pins{}).Problems() {
			if f.Has(q.Code) && !yield(q) {
				return
			}
		}
	}
}

// readCheckpoint reads what may be a checkpoint to its end.
func readCheckpoint(path string, r io.Reader) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, verifier.MaxCheckpointSize+1))
	if err != nil {
		return nil, &failure{path + ": cannot be read: " + cause(err), "check the path"}
	}
	if len(b) > verifier.MaxCheckpointSize {
		return nil, &failure{path + ": too large for a checkpoint, which has at most 64 MiB", "a .car history is verified, not inspected"}
	}
	return b, nil
}

// writeTable prints the offset table of b. The fields that a truncated header
// lacks are told from those that it has.
func writeTable(w io.Writer, b []byte) {
	fmt.Fprintln(w, tableHead+"value")
	row := func(offset, size int, name string, value []string) {
		left := fmt.Sprintf("%6d  %4d  %s", offset, size, name) // a large state's size takes of its name's room
		fmt.Fprintf(w, "%-*s%s\n", valueColumn, left, value[0])
		for _, v := range value[1:] {
			fmt.Fprintf(w, "%*s%s\n", valueColumn, "", v)
		}
	}
	if len(b) == 0 {
		return
	}
	// A header cut short has the fields of its version all the same.
	whole := b
	if len(whole) < verifier.HeaderSize {
		whole = append(b[:len(b):len(b)], make([]byte, verifier.HeaderSize-len(b))...)
	}
	c, err := verifier.Parse(whole)
	if err != nil {
		if k := verifier.KindOfBytes(b); k != verifier.KindOther && k != verifier.KindText {
			row(0, len(b), "?", []string{k.What()})
			return
		}
		row(0, 1, "version", []string{hex.EncodeToString(b[:1]) + "  unknown"})
		if len(b) > 1 {
			row(1, len(b)-1, "?", hexLines(b[1:], statePreview))
		}
		return
	}
	cut := false
	for _, f := range verifier.Fields(whole) {
		switch have := len(b) - f.Offset; {
		case f.Name == "state" && have < 0, have <= 0 && f.Size > 0:
			cut = true
		case f.Name == "state":
			row(f.Offset, have, f.Name, stateLines(b[f.Offset:]))
		case have < f.Size:
			lines := hexLines(b[f.Offset:], f.Size)
			lines[len(lines)-1] += "  cut: " + Plural(have, "byte") + " of " + strconv.Itoa(f.Size)
			row(f.Offset, have, f.Name, lines)
			cut = true
		default:
			lines := hexLines(b[f.Offset:f.Offset+f.Size], f.Size)
			switch d, last := decoded(&c, f.Name), &lines[len(lines)-1]; {
			case len(*last)+len(d)+len("  ") > columns-valueColumn:
				lines = append(lines, Wrap(d, columns-valueColumn)...)
			case d != "":
				*last += "  " + d
			}
			row(f.Offset, f.Size, f.Name, lines)
		}
	}
	if cut {
		fmt.Fprintf(w, "%6d        (the file ends here)\n", len(b))
	}
}

// hexLines writes up to limit bytes in hexadecimal.
func hexLines(b []byte, limit int) []string {
	var lines []string
	for rest := b[:min(len(b), limit)]; len(rest) > 0; {
		n := min(len(rest), bytesPerLine)
		lines = append(lines, hex.EncodeToString(rest[:n]))
		rest = rest[n:]
	}
	if len(b) > limit {
		lines = append(lines, "and "+Plural(len(b)-limit, "more byte"))
	}
	return lines
}

// stateLines writes the beginning of the state with its text beside it.
func stateLines(state []byte) []string {
	if len(state) == 0 {
		return []string{"(empty)"}
	}
	lines := hexLines(state, statePreview)
	for i := range lines {
		if start := i * bytesPerLine; start < min(len(state), statePreview) {
			text := []byte(state[start:min(len(state), start+bytesPerLine)])
			for j, c := range text {
				if c < 0x20 || c > 0x7e || j > 0 && c == text[j-1] && (c == ':' || c == '#') {
					text[j] = '.' // also in what CI systems take for commands
				}
			}
			lines[i] = fmt.Sprintf("%-*s  %s", 2*bytesPerLine, lines[i], text)
		}
	}
	return lines
}

// decoded writes a field's value for people.
func decoded(c *verifier.Checkpoint, field string) string {
	amount := func(v int64) string {
		return strconv.FormatInt(v, 10) + " microcents = " + verifier.FormatMicrocents(v)
	}
	number := func(v uint64) string { return strconv.FormatUint(v, 10) }
	switch field {
	case "version":
		return number(uint64(c.Version))
	case "budget":
		return amount(c.Budget)
	case "pricePerSecond":
		return amount(c.PricePerSecond)
	case "tickNumber":
		return number(c.TickNumber)
	case "majorVersion":
		return number(c.MajorVersion)
	case "leaseGeneration":
		return number(c.LeaseGeneration)
	case "leaseExpiry":
		if c.LeaseExpiry == 0 {
			return "no lease"
		}
		return time.Unix(0, c.LeaseExpiry).UTC().Format(time.RFC3339Nano)
	case "prevHash":
		if c.PrevHash.IsZero() {
			return "genesis"
		}
	}
	return ""
}

// writeExamination prints what follows from the bytes, the verdict on them last.
func writeExamination(w io.Writer, b []byte, f *verifier.Finding, p Palette) {
	fmt.Fprintf(w, "\nCID        %s\n", f.ContentHash.CID())
	if f.Parsed() && f.Version == verifier.Version4 {
		previous := "none: this is a genesis"
		if !f.PrevHash.IsZero() {
			previous = f.PrevHash.CID()
		}
		fmt.Fprintf(w, "previous   %s\nDID        %s\n", previous, f.AgentPubKey.DID())
		signature := "valid"
		switch {
		case f.Has(verifier.WeakKey):
			signature = "not evaluated: the key is weak"
		case f.Has(verifier.BadSignature):
			signature = "not valid"
		}
		fmt.Fprintf(w, "signature  %s\n", signature)
	}
	fmt.Fprintln(w)

	problems := 0
	for q := range examined(f) {
		problems++
		q.Name, q.Tick = "", ""
		for _, line := range problemInFull(q, p) {
			fmt.Fprintln(w, line)
		}
	}
	if problems > 0 {
		fmt.Fprintf(w, "\n%s: %s; do not rely on this checkpoint\n", p.Paint(Red, "invalid"), Plural(problems, "problem"))
		return
	}
	fmt.Fprintf(w, "%s: signed by this key; its place in a history is not judged\n", p.Paint(Green, "authentic"))
}
