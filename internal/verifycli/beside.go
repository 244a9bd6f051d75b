package verifycli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"igor.dev/verifier"
	"igor.dev/verifier/witness"
)

// The files that may lie beside a history.
const (
	proofName      = "head.tlog-proof"
	wordName       = "head.monitor"
	successionName = "succession"
	commitmentName = "successor.tlog-proof"
)

// besideFlags say what of these to look at, and whom to believe.
type besideFlags struct {
	witness, required, monitor, proof, predecessor string
}

var besideNames = []string{"witness", "require-witness", "monitor", "proof", "predecessor"}

// readBeside reads what lies beside the history.
func (in *invocation) readBeside() (*witness.Beside, *witness.Successor, error) {
	f := &in.beside
	b, next := &witness.Beside{Require: f.required != ""}, new(witness.Successor)
	policy := f.required
	switch {
	case f.witness != "" && f.required != "":
		return nil, nil, in.usageError("--witness and --require-witness are one or the other")
	case policy == "":
		policy = f.witness
	}
	if policy == "" && (f.monitor != "" || f.proof != "") {
		return nil, nil, in.usageError("--%s needs --witness or --require-witness", choose(f.monitor != "", "monitor", "proof"))
	}
	var err error
	if policy != "" {
		if b.Policy, err = readPolicy(policy); err != nil {
			return nil, nil, err
		}
	}
	if f.monitor != "" {
		if b.Monitor, err = witness.ParseMonitorKey(f.monitor); err != nil {
			return nil, nil, &failure{"--monitor: " + err.Error(), "copy the key from where the monitor publishes it"}
		}
	}
	if f.proof != "" {
		if b.Proof, err = readSmall(f.proof, witness.MaxProof); err != nil {
			return nil, nil, err
		}
		if b.Word, err = readIfThere(filepath.Join(filepath.Dir(f.proof), wordName), witness.MaxMonitorWord); err != nil {
			return nil, nil, err
		}
	}
	for _, file := range []struct {
		name string
		most int64
		to   *[]byte
	}{{proofName, witness.MaxProof, &b.Proof}, {wordName, witness.MaxMonitorWord, &b.Word}, {commitmentName, witness.MaxProof, &next.Commitment}, {successionName, witness.MaxProof, &next.Statement}} {
		for _, path := range in.paths {
			if path == "-" || *file.to != nil || b.Policy == nil && file.name != successionName {
				continue
			}
			dir := path
			if info, err := os.Stat(path); err == nil && !info.IsDir() {
				dir = filepath.Dir(path)
			}
			if *file.to, err = readIfThere(filepath.Join(dir, file.name), file.most); err != nil {
				return nil, nil, err
			}
		}
	}
	if f.predecessor != "" && next.Statement == nil {
		return nil, nil, &failure{"--predecessor: there is no file " + successionName + " beside the checkpoints", "igor succeed writes it into the successor's folder"}
	}
	if next.Policy = b.Policy; next.Statement == nil {
		next = nil
	}
	return b, next, nil
}

func readPolicy(path string) (*witness.Policy, error) {
	b, err := readSmall(path, witness.MaxPolicy)
	if err != nil {
		return nil, err
	}
	p, err := witness.ParsePolicy(b)
	if err != nil {
		return nil, &failure{path + ": " + err.Error(), "a policy is a file of c2sp.org/tlog-policy: docs/witnessing.md has one"}
	}
	return p, nil
}

// readSmall reads a file that is short.
func readSmall(path string, most int64) ([]byte, error) {
	info, err := os.Stat(path)
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("it is not a file")
	}
	var f *os.File
	if err == nil {
		f, err = os.Open(path)
	}
	var b []byte
	if err == nil {
		defer f.Close()
		b, err = io.ReadAll(io.LimitReader(f, most+1))
	}
	if err == nil && int64(len(b)) > most {
		err = fmt.Errorf("it is longer than %d bytes", most)
	}
	if err != nil {
		return nil, &failure{path + ": " + cause(err), "check the path"}
	}
	return b, nil
}

func readIfThere(path string, most int64) ([]byte, error) {
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) || err != nil && strings.HasSuffix(err.Error(), "not a directory") {
		return nil, nil
	}
	return readSmall(path, most)
}

// witnessedText says what a proof proves, with who saw it.
func witnessedText(w *verifier.Witnessed) string {
	if w.Problem != "" {
		return "not shown to be logged: " + w.Problem
	}
	var names []string
	for _, c := range w.Cosigners {
		names = append(names, c.Name)
	}
	s := fmt.Sprintf("tick %d, in log %s at index %d of %d", w.Tick, w.Log, w.Index, w.Size)
	if len(names) > 0 {
		s += ", cosigned by " + strings.Join(names, ", ")
	}
	if w.Before > 0 {
		s += "; existed before " + verifier.FormatTime(w.Before)
	}
	if m := w.Monitor; m != nil {
		switch {
		case m.Forks > 0:
			s += fmt.Sprintf("; THE KEY LIVED TWICE, %s has proofs", m.Name)
		case m.Latest != w.Checkpoint:
			s += fmt.Sprintf("; a newer head (tick %d) is in the log, says %s", m.Tick, m.Name)
		default:
			s += fmt.Sprintf("; no newer head up to entry %d, says %s", m.Size, m.Name)
		}
	}
	return Printable(s)
}
