package publish

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"igor.dev/verifier"
	"igor.dev/verifier/published"
)

// kinds are what the files that lie with a life look like: in the agent's folder, and in
// what is published, under the same name. What one says is for the verifier to judge.
var kinds = map[verifier.Role]verifier.Kind{
	verifier.RoleHandOvers:  verifier.KindHandOvers,
	verifier.RoleProof:      verifier.KindWitness,
	verifier.RoleWord:       verifier.KindWitness,
	verifier.RoleSuccession: verifier.KindSuccession,
	verifier.RoleCommitment: verifier.KindWitness,
}

// isBeside reports whether content is what a file with that name has.
func isBeside(name string, content []byte) bool {
	switch role := verifier.RoleInFolder(name); role {
	case verifier.NoRole:
		return false
	case verifier.RoleHandOvers:
		all, err := verifier.ParseHandOvers(content)
		return err == nil && len(all) > 0
	default:
		return int64(len(content)) <= role.MaxSize() && verifier.KindOf(name, content[:min(len(content), verifier.KindStart)]) == kinds[role]
	}
}

// checkBeside checks what is to be published of an agent: nothing that is not what its name
// says, and no hand-over that both nodes and the agent did not sign.
func checkBeside(agent verifier.PublicKey, name string, content []byte) error {
	if !isBeside(name, content) {
		return problem(name, "", "it is not what its name says")
	}
	if verifier.RoleInFolder(name) != verifier.RoleHandOvers {
		return nil
	}
	all, _ := verifier.ParseHandOvers(content)
	for _, h := range all {
		if code := h.Check(agent); code != verifier.HandOverCounts {
			return problem(name, "put it back from a copy of the folder, or move it elsewhere", "hand-over %d does not count: %s", h.Number, code.What())
		}
	}
	return nil
}

// besideLimit returns how large a file that lies with a life may be, 0 if none is called so.
func besideLimit(name string) int64 {
	if role := verifier.RoleInFolder(name); role != verifier.NoRole {
		return role.MaxSize()
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
	for _, role := range verifier.Roles {
		name := role.File()
		content, err := readSmall(root, name, role.MaxSize())
		if errors.Is(err, fs.ErrNotExist) {
			continue
		} else if err != nil {
			return nil, err
		}
		if len(content) == 0 && role == verifier.RoleHandOvers {
			continue // none yet
		}
		if !isBeside(name, content) {
			return nil, problem(filepath.Join(dir, name), "move it elsewhere", "it is not what its name says, and nothing else is published under that name")
		}
		all[name] = content
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
	for _, role := range verifier.Roles {
		name := role.File()
		content, err := small(ctx, f.main, published.Folder(f.agent)+"/"+name, min(role.MaxSize(), f.room()))
		f.count(len(content))
		switch {
		case ctx.Err() != nil:
			return f.failed("", ctx.Err())
		case err == nil && isBeside(name, content):
			f.result.Beside[name] = content
		}
	}
	return nil
}
