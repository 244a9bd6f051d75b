package runtime

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"igor.dev/authority"
	"igor.dev/authority/authoritytest"
	"igor.dev/verifier"
)

// storedIn finds homes in memory by their names.
type storedIn map[string]*Home

func (s storedIn) find(name string) (*Home, error) {
	if h, ok := s[name]; ok {
		c := *h
		return &c, nil
	}
	return nil, errors.New("no home " + name)
}

// dying dies after it appended that an agent left.
type dying struct {
	*authoritytest.Store
	dies bool
}

func (d *dying) Append(ctx context.Context, agent verifier.PublicKey, prev, next authority.Position) error {
	err := d.Store.Append(ctx, agent, prev, next)
	if err == nil && d.dies && next.State == authority.Retired {
		return &authority.RuleError{Reason: "it died here"}
	}
	return err
}

// TestRehome changes an agent's home by its manifest, with a process that dies between the
// two: it goes on in the new one, and nowhere else.
func TestRehome(t *testing.T) {
	for _, dies := range []bool{false, true} {
		t.Run(fmt.Sprint("dies ", dies), func(t *testing.T) {
			l := newTrading(t)
			l.every = 2
			a, b := &dying{authoritytest.NewStore(), dies}, authoritytest.NewStore()
			homes := storedIn{"/a": at(a), "/b": at(b), "/a too": at(a)}
			for name, h := range homes {
				h.Name = name
			}
			with := func(home string) Birth {
				birth := l.birth
				birth.Manifest = bytes.Replace(birth.Manifest, []byte(`{"capabilities"`), fmt.Appendf(nil, `{"home": {"folder": %q}, "capabilities"`, home), 1)
				return birth
			}
			config := func(n uint64) settings {
				c := l.config(n)
				c.through, c.Homes = nil, homes.find
				return c
			}
			dir := filepath.Join(t.TempDir(), "agent")
			wrong := config(3)
			wrong.Home = homes["/b"]
			if _, err := Start(t.Context(), dir, with("/a"), wrong); err == nil || !strings.Contains(err.Error(), "names the home /a") {
				t.Fatalf("in another home than its manifest's: %v", err)
			}
			first, err := Start(t.Context(), dir, with("/a"), config(3))
			if err != nil {
				t.Fatal(err)
			}
			key, err := fileKeys{}.Key(dir)
			if err != nil {
				t.Fatal(err)
			}
			agent := publicOf(key.(ed25519.PrivateKey))
			if p, err := a.Read(t.Context(), agent); err != nil || p.Head != first.Head {
				t.Fatalf("the home of its manifest has %+v, %v", p, err)
			}
			old := copyOf(t, dir)
			upgrade := func(home string) error {
				c := config(1)
				e, err := c.engine()
				if err != nil {
					t.Fatal(err)
				}
				defer e.Close()
				c.Paused = true
				agent := e.Resume(t.Context(), dir, c.Config)
				_, err = agent.Upgrade(t.Context(), Upgrade{Manifest: with(home).Manifest})
				agent.Stop(t.Context())
				return err
			}
			// Another name of the same store is no other home.
			if err := upgrade("/a too"); err != nil {
				t.Fatal(err)
			}
			if _, err := Resume(t.Context(), dir, config(1)); err != nil {
				t.Fatal(err)
			}
			if p, err := a.Read(t.Context(), agent); err != nil || p.State != authority.Active {
				t.Fatalf("by another name it has %+v, %v", p, err)
			}
			if err := upgrade("/b"); err != nil {
				t.Fatal(err)
			}
			r, err := Resume(t.Context(), dir, config(3))
			if dies {
				if err == nil {
					t.Fatal("it does not die")
				}
				a.dies = false
				r, err = Resume(t.Context(), dir, config(3))
			}
			if err != nil {
				t.Fatal(err)
			}
			left, err := a.Read(t.Context(), agent)
			if err != nil || left.State != authority.Retired {
				t.Errorf("the old home has %+v, %v", left, err)
			}
			if p, err := b.Read(t.Context(), agent); err != nil || p.Head != r.Head || p.State != authority.Active {
				t.Errorf("the new home has %+v, %v", p, err)
			}
			// Neither a copy from before nor a restore goes on from the old home.
			if _, err := Resume(t.Context(), old, config(3)); !errors.Is(err, ErrConflict) {
				t.Errorf("an old copy ends with %v", err)
			}
			if _, err := Restore(t.Context(), filepath.Join(t.TempDir(), "x"), RestoreConfig{Home: homes["/a"], Key: key.(ed25519.PrivateKey), Node: l.node}); !errors.Is(err, ErrConflict) {
				t.Errorf("from the old home: %v", err)
			}
			// It goes on, from a restore too.
			again := filepath.Join(t.TempDir(), "again")
			if _, err := Restore(t.Context(), again, RestoreConfig{Home: homes["/b"], Key: key.(ed25519.PrivateKey), Node: l.node}); err != nil {
				t.Fatal(err)
			}
			if next, err := Resume(t.Context(), again, config(2)); err != nil || next.Tick != r.Tick+2 {
				t.Errorf("it goes on to %+v, %v", next, err)
			}
			for id, n := range l.shop.posts {
				if n > 1 {
					t.Errorf("effect %s was sent %d times", id, n)
				}
			}
		})
	}
}
