package runtime

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"

	"igor.dev/authority"
	"igor.dev/runtime/internal/hint"
	"igor.dev/runtime/internal/wal"
	"igor.dev/verifier"
)

// fileSeen is in a folder that is not its agent's home: what this node knows of the
// position there (docs/spec/authority.md). It is written in place and not synced: it says
// what a store forgot, and a machine that lost power forgot more.
const fileSeen = "position"

// remembered is that file.
type remembered struct {
	file wal.File // nil: nothing is remembered
	authority.Seen
}

// openSeen reads what this node knows of an agent.
func openSeen(folder wal.Folder, agent verifier.PublicKey, log *slog.Logger) (s remembered, err error) {
	s.file, err = folder.Open(fileSeen)
	if errors.Is(err, fs.ErrNotExist) {
		s.file, err = folder.Create(fileSeen)
	}
	if err != nil {
		return remembered{}, err
	}
	b, err := io.ReadAll(io.NewSectionReader(s.file, 0, int64(authority.MaxSeen)+1))
	if err != nil || len(b) == 0 {
		return s, err
	}
	s.Seen, err = authority.ParseSeen(b)
	if err == nil && s.Newest.Agent != agent {
		err = errors.New("it is another agent's")
	}
	if err != nil {
		// As after a power cut. Nothing is decided by it but a refusal.
		log.Warn("what this node knew of the agent's home cannot be read, and is begun anew", "file", fileSeen, "error", err)
		s.Seen = authority.Seen{}
		err = s.file.Truncate(0)
	}
	return s, err
}

func (s remembered) Close() error {
	if s.file == nil {
		return nil
	}
	return s.file.Close()
}

// check is an error where the home has an older position than this node knows.
func (s *remembered) check(have authority.Position) error {
	if err := s.Check(have); err != nil {
		return &conflictError{hint.Wrap(err, "the operator of the store restores it, such as with igor fleet recover; the agent must not live on from there")}
	}
	return nil
}

// remember writes down where the home is, after this process had it go there; found is
// where it was before, if that was another process's doing.
func (h *home) remember(found *authority.Position) error {
	if h.seen.file == nil {
		return nil
	}
	sign := func(p authority.Position) (e authority.Entry, err error) {
		e = authority.Entry{Agent: h.agent, Position: p}
		return e, e.Sign(h.key)
	}
	var err error
	if found != nil {
		if h.seen.Found, err = sign(*found); err != nil {
			return err
		}
	}
	if h.seen.Newest, err = sign(h.at); err != nil {
		return err
	}
	_, err = h.seen.file.WriteAt(h.seen.Append(nil), 0)
	return err
}

// terms are who may go on with the agent, as its manifest says.
func (l *life) terms() *authority.Terms {
	nodes := slices.Clone(l.body.manifest.Migration.AllowedNodes)
	slices.SortFunc(nodes, func(a, b verifier.PublicKey) int { return bytes.Compare(a[:], b[:]) })
	return &authority.Terms{Agent: l.public, Manifest: l.body.manHash, Nodes: nodes}
}

// ReadSeen returns what this node knows of the home of the agent in a folder; ok is false
// where there is nothing, as of an agent whose home is its folder.
func ReadSeen(dir string) (s authority.Seen, ok bool, err error) {
	f, err := os.Open(filepath.Join(dir, fileSeen))
	if errors.Is(err, fs.ErrNotExist) {
		return s, false, nil
	}
	if err != nil {
		return s, false, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, int64(authority.MaxSeen)+1))
	if err != nil || len(b) == 0 {
		return s, false, err
	}
	if s, err = authority.ParseSeen(b); err != nil {
		return s, false, fmt.Errorf("%s: %w", f.Name(), err)
	}
	return s, true, nil
}
