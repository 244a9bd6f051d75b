package runtime

import (
	"crypto/ed25519"
	"crypto/sha256"
	"os"
	"path/filepath"
	"testing"

	"igor.dev/authority/authoritytest"
	"igor.dev/runtime/internal/store"
	"igor.dev/verifier"
)

// liveAt lives on in a folder for some ticks, with a home.
func (l *trading) liveAt(t *testing.T, home *authoritytest.Store, dir string, ticks uint64) {
	t.Helper()
	c := l.config(ticks)
	c.through, c.Home = nil, at(home)
	if _, err := Resume(t.Context(), dir, c); err != nil {
		t.Fatal(err)
	}
}

// TestPutBack has a life go on twice from what its home has, on folders that have nothing
// of what was before, and puts that back of what its folders before have: while nobody
// lives it, and while it lives.
func TestPutBack(t *testing.T) {
	for name, every := range map[string]uint64{"loose": 3, "packed": 1} {
		t.Run(name, func(t *testing.T) {
			l := newTrading(t)
			l.every = every
			home := authoritytest.NewStore()
			first := l.fresh(t)
			key, err := fileKeys{}.Key(first)
			if err != nil {
				t.Fatal(err)
			}
			live := func(dir string, ticks uint64) {
				t.Helper()
				l.liveAt(t, home, dir, ticks)
			}
			restore := func(dir string) {
				t.Helper()
				if _, err := Restore(t.Context(), dir, RestoreConfig{Home: at(home), Key: key.(ed25519.PrivateKey), Node: l.node}); err != nil {
					t.Fatal(err)
				}
			}
			verdict := func(dir string) verifier.Verdict {
				t.Helper()
				report, err := store.Verify(t.Context(), filepath.Join(dir, store.DirHistory))
				if err != nil {
					t.Fatal(err)
				}
				return report.Verdict()
			}
			live(first, 25)
			old := filepath.Join(t.TempDir(), "old") // as it was a while before
			if err := os.CopyFS(old, os.DirFS(first)); err != nil {
				t.Fatal(err)
			}
			live(first, 25)
			second, third := filepath.Join(t.TempDir(), "second"), filepath.Join(t.TempDir(), "third")
			restore(second)
			live(second, 25)
			restore(third)
			if whole, err := PutBack(third, old); err != nil || whole || verdict(third) != verifier.Incomplete || Whole(third) {
				t.Fatalf("of a copy that leads nowhere: %v, %v, %s", whole, err, verdict(third))
			}
			mark, err := os.ReadFile(filepath.Join(third, "restored"))
			if err != nil {
				t.Fatal(err)
			}
			if whole, err := PutBack(third, second); err != nil || whole || verdict(third) != verifier.Incomplete {
				t.Fatalf("of the folder before: %v, %v, %s", whole, err, verdict(third))
			}
			// A crash may leave the mark as it was.
			if err := os.WriteFile(filepath.Join(third, "restored"), mark, 0o644); err != nil {
				t.Fatal(err)
			}
			// The rest comes while it lives.
			e, err := NewEngine(EngineConfig{Log: l.config(1).Log, NodeKey: l.node, PayAt: l.pay})
			if err != nil {
				t.Fatal(err)
			}
			defer e.Close()
			c := l.config(0).Config
			c.Home = at(home)
			a := e.Resume(t.Context(), third, c)
			if whole, err := a.PutBack(t.Context(), old, first); err != nil || !whole {
				t.Errorf("while it lives: %v, %v", whole, err)
			}
			if _, err := a.Stop(t.Context()); err != nil {
				t.Fatal(err)
			}
			live(third, 25)
			if v := verdict(third); v != verifier.Verified || !Whole(third) {
				t.Errorf("it is %s", v)
			}
			r, err := Replay(t.Context(), filepath.Join(third, store.DirHistory), ReplayConfig{WASM: l.birth.WASM, Manifest: l.birth.Manifest, Events: filepath.Join(third, store.DirEvents)})
			if err != nil || r.Verdict != Replayed {
				t.Errorf("run again it is %+v, %v", r, err)
			}
		})
	}
}

// TestPutBackUpgraded has a life be taken over that was upgraded before: to run it again
// takes the program and the manifest of then, which its home does not have.
func TestPutBackUpgraded(t *testing.T) {
	l := newTrading(t)
	l.every = 3
	home := authoritytest.NewStore()
	first := l.fresh(t)
	key, err := fileKeys{}.Key(first)
	if err != nil {
		t.Fatal(err)
	}
	live := func(dir string, ticks uint64) {
		t.Helper()
		l.liveAt(t, home, dir, ticks)
	}
	live(first, 10)
	before := filepath.Join(t.TempDir(), "before") // its own are those of then
	if err := os.CopyFS(before, os.DirFS(first)); err != nil {
		t.Fatal(err)
	}
	e, err := NewEngine(EngineConfig{Log: l.config(1).Log, NodeKey: l.node, PayAt: l.pay})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	c := l.config(0).Config
	c.Home = at(home)
	a := e.Resume(t.Context(), first, c)
	manifest := append(l.birth.Manifest, '\n')
	if _, err := a.Upgrade(t.Context(), Upgrade{Manifest: manifest}); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	live(first, 10)
	second := filepath.Join(t.TempDir(), "second")
	if _, err := Restore(t.Context(), second, RestoreConfig{Home: at(home), Key: key.(ed25519.PrivateKey), Node: l.node}); err != nil {
		t.Fatal(err)
	}
	live(second, 10)
	without := filepath.Join(t.TempDir(), "without")
	if err := os.CopyFS(without, os.DirFS(first)); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(without, dirPrograms)); err != nil {
		t.Fatal(err)
	}
	if whole, err := PutBack(second, without); err != nil || whole {
		t.Fatalf("without the manifest of before: %v, %v", whole, err)
	}
	lacks, err := FindLacks(second)
	name := manifestName(sha256.Sum256(l.birth.Manifest))
	if err != nil || len(lacks.Segments) > 0 || len(lacks.Programs) != 1 || !lacks.Programs[name] || !lacks.Helps(dirPrograms+"/"+name) || !lacks.Helps("agent.manifest.json") || lacks.Helps(dirPrograms+"/x.wasm") {
		t.Fatalf("%+v, %v", lacks, err)
	}
	for _, copied := range []string{before, first} {
		dir := filepath.Join(t.TempDir(), "again")
		if err := os.CopyFS(dir, os.DirFS(second)); err != nil {
			t.Fatal(err)
		}
		if whole, err := PutBack(dir, copied); err != nil || !whole {
			t.Fatalf("%v, %v", whole, err)
		}
		r, err := Replay(t.Context(), filepath.Join(dir, store.DirHistory), ReplayConfig{WASM: l.birth.WASM, Manifest: manifest, Events: filepath.Join(dir, store.DirEvents)})
		if err != nil || r.Verdict != Replayed {
			t.Errorf("run again it is %+v, %v", r, err)
		}
	}
}
