package runtime

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"igor.dev/runtime/internal/eventlog"
	"igor.dev/runtime/internal/store"
	"igor.dev/runtime/internal/wasmtest"
	"igor.dev/verifier"
)

// files is what is in a folder, by content.
func files(t *testing.T, dir string) map[string]verifier.Hash {
	t.Helper()
	all := make(map[string]verifier.Hash)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		all[path] = sha256.Sum256(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestFork forks a life at each of its ticks while it is in use, and goes on with
// the forks: the state is the origin's, and the rest is their own.
func TestFork(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "agent")
	b := birth(watcher(""))
	b.Manifest, b.Price = []byte(watching), 0
	if _, err := Start(t.Context(), dir, b, ticks(7, 3)); err != nil {
		t.Fatal(err)
	}
	s, err := store.Open(dir) // as igor run has it
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	before := files(t, dir)
	origin := Past{dir, b.WASM, b.Manifest, filepath.Join(dir, "events")}
	keys := map[verifier.PublicKey]bool{newest(t, dir, 7).AgentPubKey: true}
	for at := range uint64(8) {
		fork := filepath.Join(t.TempDir(), "fork")
		price := int64(at)
		f, err := Fork(t.Context(), fork, ForkConfig{Origin: origin, At: at, Budget: 5, Price: &price, Log: quiet().Log})
		if err != nil {
			t.Fatal(err)
		}
		c := newest(t, fork, at)
		if !c.PrevHash.IsZero() || c.Budget != 5 || c.PricePerSecond != price || binary.LittleEndian.Uint64(c.State) != at || f.DID != c.AgentPubKey.DID() {
			t.Errorf("tick %d: got %+v", at, c)
		}
		if keys[c.AgentPubKey] {
			t.Errorf("tick %d: a second life under one key", at)
		}
		keys[c.AgentPubKey] = true
		if from := newest(t, dir, min(at/3*3, at)); at < 7 && f.Checkpoint != sha256.Sum256(from.Append(nil)) || f.Origin != from.AgentPubKey.DID() || f.Effects != 0 || f.Partial {
			t.Errorf("tick %d: got %+v", at, f)
		}
		for range 2 {
			if _, err := Resume(t.Context(), fork, ticks(2, 1)); err != nil {
				t.Fatal(err)
			}
		}
		if got, want := fmt.Sprint(counts(t, fork)), fmt.Sprint([]uint64{at, at + 1, at + 2, at + 3, at + 4}); got != want {
			t.Errorf("checkpoints at %s, want %s", got, want)
		}
		c2 := replayConfig(fork, b)
		for _, checked := range []bool{false, true} {
			if c2.Origin = nil; checked {
				c2.Origin = &origin
			}
			r, err := Replay(t.Context(), fork, c2)
			if err != nil || r.Verdict != Replayed || r.Ticks != 4 || r.FirstTick != at || r.Origin == nil || r.Origin.Checked != checked || r.Origin.Tick != at {
				t.Errorf("tick %d: got %+v, %v", at, r, err)
			}
		}
	}
	for path, hash := range files(t, dir) {
		if before[path] != hash {
			t.Errorf("%s has changed", path)
		}
	}
}

// TestForkEffects forks a life that acts outside: the effects after the tick are
// counted, and the fork's own have other ids.
func TestForkEffects(t *testing.T) {
	seen := make(map[string]int)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { seen[r.Header.Get("Idempotency-Key")]++ }))
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")
	wasm, err := os.ReadFile("../cmd/igor/testdata/agents/actor.wasm")
	if err != nil {
		t.Fatal(err)
	}
	wasm = bytes.Replace(wasm, []byte("127.0.0.1:00000"), fmt.Appendf(nil, "127.0.0.1:%05s", strings.Split(host, ":")[1]), 1)
	b := Birth{WASM: wasm, Budget: 1 << 40, Manifest: fmt.Appendf(nil, `{"capabilities": {"clock": {"version": 1},
		"http": {"version": 1, "options": {"allowed_hosts": [%q]}}, "x402": {"version": 1}}}`, host)}
	dir, fork := filepath.Join(t.TempDir(), "agent"), filepath.Join(t.TempDir(), "fork")
	if _, err := Start(t.Context(), dir, b, ticks(11, 3)); err != nil { // POSTs in ticks 2, 6 and 10
		t.Fatal(err)
	}
	origin := Past{dir, b.WASM, b.Manifest, filepath.Join(dir, "events")}
	f, err := Fork(t.Context(), fork, ForkConfig{Origin: origin, At: 5, Budget: 1, Log: quiet().Log})
	if err != nil || f.Effects != 2 || f.Partial {
		t.Errorf("got %+v, %v", f, err)
	}
	if _, err := Resume(t.Context(), fork, ticks(6, 2)); err != nil {
		t.Fatal(err)
	}
	if got, want := newest(t, fork, 11).State[:80], newest(t, dir, 11).State[:80]; !bytes.Equal(got, want) {
		t.Errorf("the fork did %x, and the origin %x", got, want)
	}
	if len(seen) != 5 {
		t.Errorf("effects by id: %v, want 3 of the origin and 2 of the fork", seen)
	}
	// Where the log is not whole, nobody knows.
	if err := os.Remove(filepath.Join(dir, "events", eventlog.FileName(10))); err != nil {
		t.Fatal(err)
	}
	if f, err = Fork(t.Context(), filepath.Join(t.TempDir(), "other"), ForkConfig{Origin: origin, At: 6, Log: quiet().Log}); err != nil || f.Effects != 0 || !f.Partial {
		t.Errorf("got %+v, %v", f, err)
	}
}

// TestForkRefused checks that a fork that cannot live is not made.
func TestForkRefused(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "agent")
	b := birth(watcher(""))
	b.Manifest = []byte(watching)
	if _, err := Start(t.Context(), dir, b, ticks(4, 2)); err != nil {
		t.Fatal(err)
	}
	origin := Past{dir, b.WASM, b.Manifest, filepath.Join(dir, "events")}
	other := origin
	other.WASM = wasmtest.Agent{}.Bytes()
	negative := int64(-1)
	for name, tt := range map[string]struct {
		c    ForkConfig
		want string
	}{
		"budget":   {ForkConfig{Origin: origin, At: 2, Budget: -1}, "negative"},
		"price":    {ForkConfig{Origin: origin, At: 2, Price: &negative}, "negative"},
		"tick":     {ForkConfig{Origin: origin, At: 5}, "the newest checkpoint is of tick 4, before tick 5"},
		"program":  {ForkConfig{Origin: other, At: 4}, "another program"},
		"between":  {ForkConfig{Origin: other, At: 3}, "the state after tick 3 cannot be had: cannot-be-re-executed"},
		"manifest": {ForkConfig{Origin: origin, At: 2, Manifest: []byte(`{}`)}, "does not declare capability"},
		"store":    {ForkConfig{Origin: origin, At: 2, Manifest: []byte(`{"capabilities": {"kv": {"version": 1}}}`)}, "kv"},
	} {
		fork := filepath.Join(t.TempDir(), "fork")
		tt.c.Log = quiet().Log
		if _, err := Fork(t.Context(), fork, tt.c); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got error %v, want %q", name, err, tt.want)
		}
		if _, err := os.Stat(fork); err == nil {
			t.Errorf("%s: a folder was made", name)
		}
	}
}
