package runtime

import (
	"crypto/ed25519"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"igor.dev/authority"
	dirstore "igor.dev/authority/dir"
)

// TestRestoreFromDamaged has an agent's folder be made anew of three replicas, of which the
// first has a damaged event log, the second none of its journal, and the third all: no part
// of what a replica has is believed before it comes to the position.
func TestRestoreFromDamaged(t *testing.T) {
	l := newTrading(t)
	dir := l.fresh(t)
	key, err := fileKeys{}.Key(dir)
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	var places []authority.Replica
	for _, name := range []string{"a", "b", "c"} {
		r, err := dirstore.Blobs(filepath.Join(folder, name))
		if err != nil {
			t.Fatal(err)
		}
		places = append(places, r)
	}
	store, err := dirstore.Open(filepath.Join(folder, "store"))
	if err != nil {
		t.Fatal(err)
	}
	home := func() *Home { return &Home{Authority: store, Replicas: authority.Replicas{Places: places}} }
	c := l.config(5)
	c.through = nil
	c.Home = home()
	r, err := Resume(t.Context(), dir, c)
	if err != nil {
		t.Fatal(err)
	}
	files := func(place, kind string) []string {
		t.Helper()
		all, err := filepath.Glob(filepath.Join(folder, place, "z6Mk*", "blobs", "*-"+kind+"-*"))
		if err != nil || len(all) == 0 {
			t.Fatalf("%s has no %s: %v", place, kind, err)
		}
		return all
	}
	damage := func(place string) {
		for _, file := range files(place, "log") {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			b[len(b)-1] ^= 1
			if err := os.WriteFile(file, b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	damage("a")
	for _, file := range files("b", "journal") {
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
	}
	restore := func() (Restored, error) {
		return Restore(t.Context(), filepath.Join(t.TempDir(), "again"), RestoreConfig{Home: home(), Key: key.(ed25519.PrivateKey), Node: l.node})
	}
	if restored, err := restore(); err != nil || restored.Head != r.Head || restored.Tick != r.Tick {
		t.Errorf("%+v, %v; it was %+v", restored, err, r)
	}
	damage("b")
	damage("c")
	if _, err := restore(); err == nil || !strings.Contains(err.Error(), "does not come to its position: the event log is another one") {
		t.Errorf("all of them are damaged: %v", err)
	}
}
