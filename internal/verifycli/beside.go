package verifycli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"igor.dev/verifier"
	"igor.dev/verifier/history"
	"igor.dev/verifier/witness"
)

// besideFlags say what of the files that lie beside a history to look at, and whom to
// believe.
type besideFlags struct {
	witness, required, monitor, proof, predecessor string
}

var besideNames = []string{"witness", "require-witness", "monitor", "proof", "predecessor"}

// evidence is what lies beside a history.
type evidence struct {
	witness   witness.Beside
	successor *witness.Successor // nil = it is nobody's
	handOvers []*verifier.HandOver

	lookedAt map[string]bool // paths
	notes    []string        // what is not looked at, and why
}

// report has the report say what it is worth.
func (b *evidence) report(r *verifier.Report) {
	b.witness.Report(r)
	if len(b.handOvers) > 0 {
		r.SetHandOvers(b.handOvers)
	}
	if b.successor != nil {
		b.successor.Report(r)
	}
}

// readBeside reads what lies beside the history: docs/spec/lineage.md, "Beside a history".
func (in *invocation) readBeside() (*evidence, error) {
	f := &in.beside
	b := &evidence{lookedAt: map[string]bool{}}
	policy := f.required
	switch {
	case f.witness != "" && f.required != "":
		return nil, in.usageError("--witness and --require-witness are one or the other")
	case policy == "":
		policy = f.witness
	}
	if policy == "" && (f.monitor != "" || f.proof != "") {
		return nil, in.usageError("--%s needs --witness or --require-witness", choose(f.monitor != "", "monitor", "proof"))
	}
	b.witness.Require = f.required != ""
	var err error
	if policy != "" {
		if b.witness.Policy, err = readPolicy(policy); err != nil {
			return nil, err
		}
	}
	if f.monitor != "" {
		if b.witness.Monitor, err = witness.ParseMonitorKey(f.monitor); err != nil {
			return nil, &failure{"--monitor: " + err.Error(), "copy the key from where the monitor publishes it"}
		}
	}
	found := &besideFiles{asked: map[string]bool{}}
	if f.proof != "" {
		proof, err := readSmall(f.proof, witness.MaxProof)
		if err != nil {
			return nil, err
		}
		path := filepath.Clean(f.proof)
		found.asked[path], found.of[verifier.RoleProof] = true, []besideFile{{path, proof}}
		if err := found.add(verifier.RoleWord, filepath.Join(filepath.Dir(f.proof), verifier.RoleWord.File())); err != nil {
			return nil, err
		}
	}
	for _, path := range in.paths {
		if err := found.find(path); err != nil {
			return nil, err
		}
	}
	if b.witness.Policy != nil {
		b.witness.Proof = b.take(found.of[verifier.RoleProof])
	}
	if b.witness.Policy != nil && b.witness.Monitor != nil {
		b.witness.Word = b.take(found.of[verifier.RoleWord])
	}
	if statement := b.take(found.of[verifier.RoleSuccession]); statement != nil {
		b.successor = &witness.Successor{Statement: statement, Policy: b.witness.Policy}
		if b.witness.Policy != nil {
			b.successor.Commitment = b.take(found.of[verifier.RoleCommitment])
		}
	} else if f.predecessor != "" {
		return nil, &failure{"--predecessor: there is no file " + verifier.RoleSuccession.File() + " beside the checkpoints", "igor succeed writes it into the successor's folder"}
	}
	b.takeHandOvers(found.of[verifier.RoleHandOvers])
	return b, nil
}

// take returns what the first file has. Another one that has something else is not looked at.
func (b *evidence) take(files []besideFile) []byte {
	if len(files) == 0 {
		return nil
	}
	for _, f := range files {
		if bytes.Equal(f.content, files[0].content) {
			b.lookedAt[f.path] = true
		}
	}
	if len(files[0].content) == 0 {
		return nil // as if there were none
	}
	return files[0].content
}

// takeHandOvers takes the records of all files that have such and nothing else.
func (b *evidence) takeHandOvers(files []besideFile) {
	for _, f := range files {
		if b.lookedAt[f.path] {
			continue // it was found twice
		}
		records, err := verifier.ParseHandOvers(f.content)
		if err == nil && len(b.handOvers)+len(records) > verifier.MaxHandOvers {
			err = verifier.ErrTooManyHandOvers
		}
		if err != nil {
			b.notes = append(b.notes, fmt.Sprintf("%s is not looked at: %v", f.path, err))
			continue
		}
		b.lookedAt[f.path] = true
		b.handOvers = append(b.handOvers, records...)
	}
}

// A besideFile is a file that lies beside a history.
type besideFile struct {
	path    string
	content []byte
}

// besideFiles are all that there are, by what they are looked at for.
type besideFiles struct {
	of    [len(verifier.Roles) + 1][]besideFile
	asked map[string]bool // paths
}

// find finds what lies beside what a path names, and what it names itself.
func (found *besideFiles) find(path string) error {
	if path == "-" {
		return nil
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil // whoever reads the history says so
	}
	for _, role := range verifier.Roles {
		var files []string
		switch ext := filepath.Ext(path); {
		case info.IsDir():
			files = []string{filepath.Join(path, role.File())}
			if abs, err := filepath.Abs(path); err == nil && filepath.Base(abs) == "history" {
				files = append(files, filepath.Join(filepath.Dir(abs), role.File())) // an agent's folder
			}
		case strings.EqualFold(ext, ".car"):
			files = []string{strings.TrimSuffix(path, ext) + role.Ext()}
			fallthrough
		default:
			if role != verifier.RoleHandOvers {
				files = append(files, filepath.Join(filepath.Dir(path), role.File()))
			}
		}
		for _, file := range files {
			if err := found.add(role, file); err != nil {
				return err
			}
		}
	}
	if !info.Mode().IsRegular() || history.IsCheckpoint(path) {
		return nil
	}
	f, err := history.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	start := make([]byte, verifier.KindStart)
	n, _ := io.ReadFull(f, start)
	if role := verifier.RoleOf(info.Name(), start[:n]); role != verifier.NoRole {
		return found.add(role, path)
	}
	return nil
}

// add adds a file, if it is there.
func (found *besideFiles) add(role verifier.Role, path string) error {
	path = filepath.Clean(path)
	if found.asked[path] {
		return nil
	}
	found.asked[path] = true
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() || errors.Is(err, fs.ErrNotExist) || err != nil && strings.HasSuffix(err.Error(), "not a directory") {
		return nil
	}
	f, err := history.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	// What is longer is none of its role, as whoever reads it finds.
	content, err := io.ReadAll(io.LimitReader(f, role.MaxSize()+1))
	if err != nil {
		return &failure{path + ": " + cause(err), "check the file"}
	}
	found.of[role] = append(found.of[role], besideFile{path, content})
	return nil
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
