package publish

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"igor.dev/verifier"
	"igor.dev/verifier/published"
	"igor.dev/verifier/witness"
)

// beside are the small files that may lie with a life: in the agent's folder, and in what is
// published, under the same name. What one says is for the verifier to judge.
var beside = []struct {
	name  string
	limit int64
	kind  verifier.Kind // what it has to look like
}{
	{"head.tlog-proof", witness.MaxProof, verifier.KindWitness},
	{"head.monitor", witness.MaxMonitorWord, verifier.KindWitness},
	{"successor.tlog-proof", witness.MaxProof, verifier.KindWitness},
	{"succession", witness.MaxProof, verifier.KindSuccession},
	{handovers, verifier.MaxHandOvers * int64(verifier.HandOverSize), 0},
}

const handovers = "handovers"

// isBeside reports whether content is what a file with that name has.
func isBeside(name string, content []byte) bool {
	for _, b := range beside {
		switch {
		case b.name != name:
		case name == handovers:
			all, err := verifier.ParseHandOvers(content)
			return err == nil && len(all) > 0
		default:
			return int64(len(content)) <= b.limit && verifier.KindOf(name, content[:min(len(content), verifier.KindStart)]) == b.kind
		}
	}
	return false
}

// besideLimit returns how large a file that lies with a life may be, 0 if none is called so.
func besideLimit(name string) int64 {
	for _, b := range beside {
		if b.name == name {
			return b.limit
		}
	}
	return 0
}

// Beside reads the small files that lie with the life in an agent's folder, by their names.
func Beside(dir string) (map[string][]byte, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	all := make(map[string][]byte)
	for _, b := range beside {
		content, err := readSmall(root, b.name, b.limit)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		} else if err != nil {
			return nil, err
		}
		if !isBeside(b.name, content) {
			return nil, problem(filepath.Join(dir, b.name), "move it elsewhere", "it is not what its name says, and nothing else is published under that name")
		}
		all[b.name] = content
	}
	return all, nil
}

// fetchBeside gets what lies with the life where its head is. That something is not there is
// no error.
func (f *fetch) fetchBeside(ctx context.Context) error {
	f.result.Beside = make(map[string][]byte)
	if f.main == nil {
		return nil
	}
	for _, b := range beside {
		content, err := small(ctx, f.main, published.Folder(f.agent)+"/"+b.name, min(b.limit, f.room()))
		f.count(len(content))
		switch {
		case ctx.Err() != nil:
			return f.failed("", ctx.Err())
		case err == nil && isBeside(b.name, content):
			f.result.Beside[b.name] = content
		}
	}
	return nil
}
