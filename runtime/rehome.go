package runtime

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"igor.dev/authority"
	"igor.dev/runtime/internal/failpoint"
	"igor.dev/runtime/internal/hint"
	"igor.dev/runtime/internal/store"
	"igor.dev/verifier"
)

// An agent's home changes with its manifest: the last append in the old one says where it
// went (docs/spec/position.md), and the first one in the new one goes on from there. In
// between nobody lives it, and the folder, whose home the old one still is, leads on.

const homeContext = "igor/home/v1\x00"

// homeStatement says what an agent's home is after an append in the old one.
func homeStatement(agent verifier.PublicKey, sequence uint64, name string) []byte {
	b := append([]byte(homeContext), agent[:]...)
	return append(binary.LittleEndian.AppendUint64(b, sequence), name...)
}

// parseHome reads such a statement.
func parseHome(b []byte, agent verifier.PublicKey, sequence uint64) (name string, ok bool) {
	name, ok = strings.CutPrefix(string(b), string(homeStatement(agent, sequence, "")))
	return name, ok && name != ""
}

// leftFor reports whether a position says that the home is another one now, the one of the
// agent's manifest.
func (l *life) leftFor(p authority.Position) bool {
	to := l.body.manifest.Home
	return p.State == authority.Retired && to != "" && p.Record == sha256.Sum256(homeStatement(l.public, p.Sequence, to))
}

// homeOfManifest has a life that is given no home have that of its manifest.
func (l *life) homeOfManifest() (err error) {
	switch to := l.body.manifest.Home; {
	case to == "":
		return nil
	case l.Home == nil && l.engine.config.Homes == nil:
		return fmt.Errorf("%w: the agent's home is %s, and this engine does not know it", ErrConflict, to)
	case l.Home == nil:
		l.Home, err = l.engine.config.Homes(to)
		return err
	case l.Home.Name != "" && l.Home.Name != to:
		return hint.Wrap(fmt.Errorf("the agent's manifest names the home %s, and it was given %s", to, l.Home.Name), "leave it to the manifest, or change that")
	}
	return nil
}

// moveHome has the agent's home be the one that its manifest names, if that is another one.
func (l *life) moveHome() error {
	h, to := &l.home, l.body.manifest.Home
	if !h.remote() || h.given.Name == "" || to == "" || to == h.given.Name {
		return nil
	}
	if l.engine.config.Homes == nil {
		return fmt.Errorf("%w: the agent's home is to be %s, and this engine does not know it", ErrConflict, to)
	}
	given, err := l.engine.config.Homes(to)
	if err != nil {
		return err
	}
	from := h.given.Name
	ctx, done := h.within()
	defer done()
	have, err := given.Authority.Read(ctx, l.public)
	switch {
	case err == nil && have == h.at && !h.left:
		// The same store by another name, such as a fleet that got one more member.
		l.Log.Info("the agent's home has another name", "name", to, "before", from)
		h.given.Name = to
		return l.store.SetHome(store.Home{Name: to, Known: true})
	case err == nil && h.left:
		// It lives on there already, and this folder is a copy from before, or will do.
		err := &conflictError{hint.Wrap(fmt.Errorf("the agent's home is %s by now", to), "this folder knows now: resume it again")}
		return errors.Join(err, l.store.SetHome(store.Home{Name: to, Known: true}))
	case err == nil:
		return &conflictError{fmt.Errorf("the agent's new home, %s, knows it already: %w", to, &authority.Conflict{Have: have})}
	case !errors.Is(err, authority.ErrNone):
		return fmt.Errorf("the agent's new home cannot be reached: %w", err)
	}
	if !h.left {
		if err := l.commit(); err != nil {
			return err
		}
		statement := homeStatement(l.public, h.at.Sequence+1, to)
		next := h.at
		next.State, next.Record = authority.Retired, sha256.Sum256(statement)
		if r, ok := h.authority.(authority.Recording); ok && h.guarded != nil {
			h.authority = withRecord{r, statement}
		}
		if err := h.append(next, nil); err != nil {
			return err
		}
	}
	failpoint.Reach(failpoint.HomeLeft)
	if err := l.store.SetHome(store.Home{Name: to}); err != nil {
		return err
	}
	if h.seen.file != nil {
		if err := h.seen.file.Truncate(0); err != nil {
			return err
		}
	}
	l.Home = given
	was := l.home
	l.home = home{given: given, agent: was.agent, key: was.key, owner: was.owner, log: was.log, terms: was.terms, seen: remembered{file: was.seen.file}}
	l.home.known = func() error { return l.store.SetHome(store.Home{Name: to, Known: true}) }
	if given.Node != (verifier.PublicKey{}) {
		l.home.owner = given.Node
	}
	if err := l.home.open(was.epoch); err != nil {
		return err
	}
	l.Log.Info("the agent's home is another one", "home", to, "before", from)
	return nil
}

// withRecord has something go with each append.
type withRecord struct {
	authority.Recording
	record []byte
}

func (w withRecord) Append(ctx context.Context, agent verifier.PublicKey, prev, next authority.Position) error {
	return w.AppendRecord(ctx, agent, prev, next, w.record)
}

// goneTo says where an agent went whose position in a home says that it is over there.
func goneTo(ctx context.Context, h *Home, key authority.Recording, agent verifier.PublicKey) error {
	p, record, err := key.Record(ctx, agent)
	if err == nil && p.State == authority.Retired {
		if name, ok := parseHome(record, agent, p.Sequence); ok {
			return hint.Wrap(fmt.Errorf("%w in %s: its home is %s", ErrConflict, h.Name, name), "igor restore %s …", name)
		}
	}
	return ErrRetired
}
