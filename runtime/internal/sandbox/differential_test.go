package sandbox

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"igor.dev/runtime/internal/fuel"
	"igor.dev/runtime/internal/hostcall"
	"igor.dev/runtime/internal/kv"
	"igor.dev/runtime/internal/manifest"
)

// A busyWorld answers everything that the example agents ask for, well, badly or not
// at all, as a seed decides, and keeps what they do.
type busyWorld struct {
	hostcall.Live
	chance *rand.ChaCha8
	time   int64
	orders int
	did    []string
}

func newWorld(seed byte) *busyWorld {
	w := &busyWorld{chance: rand.NewChaCha8([32]byte{seed}), time: 1_700_000_000_000_000_000}
	w.Live = hostcall.Live{Random: w.chance, Web: w, Payer: w, KV: kv.New(kv.MaxTotal),
		Balance: func() int64 { return 100_000_000 - int64(len(w.did)) }, Price: func() int64 { return 1000 }}
	return w
}

func (w *busyWorld) does(format string, args ...any) {
	w.did = append(w.did, fmt.Sprintf(format, args...))
}

func (w *busyWorld) oneOf(n uint64) bool { return w.chance.Uint64()%n == 0 }

func (w *busyWorld) ClockNow() int64 {
	w.time += 40_000_000 + int64(w.chance.Uint64()%400_000_000)
	return w.time
}

func (w *busyWorld) LogEmit(line []byte) { w.does("log %s", line) }

func (w *busyWorld) KVPut(key, value []byte) int32 {
	w.does("put %x %x", key, value)
	return w.Live.KVPut(key, value)
}

// Do answers a request.
func (w *busyWorld) Do(_ context.Context, r *hostcall.HTTPRequest) ([]byte, int32) {
	w.does("%s %s %s %x", r.Method, r.URL, r.Headers, r.Body)
	switch {
	case w.oneOf(20):
		return nil, []int32{hostcall.CodeFailed, hostcall.CodeTimeout, hostcall.CodeTooLarge}[w.chance.Uint64()%3]
	case r.Effect() && w.oneOf(6):
		return nil, hostcall.CodeUnresolved
	case w.oneOf(20):
		return []byte("{"), []int32{500, 404, 200}[w.chance.Uint64()%3]
	}
	u, err := r.Target()
	if err != nil {
		panic(err)
	}
	n := w.chance.Uint64()
	state := func(all ...string) string { return all[n%uint64(len(all))] }
	image := strings.Repeat("ab", 32)
	order := fmt.Sprintf("order-%d", w.orders)
	answer := func(v any) ([]byte, int32) {
		b, err := json.Marshal(v)
		if err != nil {
			panic(err)
		}
		return b, 200
	}
	switch path := u.Path; {
	case path == "/prices":
		var after int64
		fmt.Sscan(u.Query().Get("after"), &after)
		lines := ""
		for range n % 4 {
			after += 1_000_000 + int64(w.chance.Uint64()%1_000_000_000)
			lines += fmt.Sprintln(after, 80_000+w.chance.Uint64()%60_000)
		}
		return []byte(lines), 200
	case path == "/balance":
		return []byte(fmt.Sprint(n % 200_000)), 200
	case strings.HasPrefix(path, "/transfers"):
		return nil, []int32{200, 201, 404, 410, 500}[n%5]
	case path == "/report" && r.Headers == "":
		w.orders++
		return []byte(fmt.Sprintf(`{"accepts":[{"scheme":"exact","maxAmountRequired":"%d","payTo":"shop","extra":{"order":"%s"}}]}`, 1+n%5000, order)), 402
	case path == "/report":
		return []byte("report " + order), []int32{200, 200, 410, 503}[n%4]
	case path == "/offer":
		w.orders++
		return answer(map[string]string{"order": order, "image": image, "amount": fmt.Sprint(1 + n%50_000), "payTo": "provider"})
	case strings.HasPrefix(path, "/orders/"):
		return answer(map[string]any{"state": state("open", "paid", "deployed", "cancelled"), "receipt": []byte("receipt"), "deployment": "d-1"})
	case path == "/deployments":
		return []byte(fmt.Sprint("d-", w.orders)), []int32{201, 201, 200, 409, 500}[n%5]
	case strings.HasPrefix(path, "/deployments/"):
		return answer(map[string]string{"state": state("starting", "running", "gone"), "image": image, "did": "did:key:z6Mk"})
	}
	return []byte(fmt.Sprintf(`{"bitcoin":{"usd":%d.%02d}}`, n%100_000, n%100)), 200
}

// Pay makes a payment.
func (w *busyWorld) Pay(_ context.Context, p *hostcall.Payment) ([]byte, int32) {
	w.does("pay %d %s %s", p.Amount, p.Recipient, p.Memo)
	switch w.chance.Uint64() % 6 {
	case 0:
		return nil, hostcall.CodeUnresolved
	case 1:
		return nil, hostcall.CodeFailed
	}
	return fmt.Appendf(nil, "receipt for %s", p.Memo), 0
}

// A course is what came of a life in a busy world.
type course struct {
	did    []string
	states []string
	fuel   []uint64
}

// lives lives ticks, and goes on in a fresh instance now and then.
func lives(t *testing.T, wasm []byte, m *manifest.Manifest, metering uint32, interpret bool, ticks int) (c course) {
	t.Helper()
	p, err := Compile(t.Context(), wasm, Config{Manifest: m, Host: hostcall.Live{}, Log: slog.New(slog.DiscardHandler), Metering: metering, interpret: interpret})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	w := newWorld(7)
	var in *Instance
	began := func(after []byte) {
		t.Helper()
		if in, err = p.Instantiate(t.Context()); err != nil {
			t.Fatal(err)
		}
		c.fuel = append(c.fuel, in.Fuel())
		in.Attach(w)
		if after == nil {
			err = in.Init(t.Context())
		} else {
			err = in.Resume(t.Context(), after)
		}
		if err != nil {
			t.Fatal(err)
		}
		c.fuel = append(c.fuel, in.Fuel())
	}
	began(nil)
	for n := range ticks {
		more, err := in.Tick(t.Context())
		if err != nil {
			t.Fatalf("tick %d: %v", n, err)
		}
		c.fuel = append(c.fuel, in.Fuel())
		w.does("tick %d: %d", n, more)
		if n%7 != 0 {
			continue
		}
		state, err := in.Checkpoint(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		c.fuel = append(c.fuel, in.Fuel())
		h := fnv.New128a()
		h.Write(state)
		c.states = append(c.states, hex.EncodeToString(h.Sum(nil)))
		if n%21 == 0 {
			in.Close()
			began(state)
		}
	}
	c.did = w.did
	return c
}

// effectful are the agents that have side effects.
var effectful = map[string]bool{"deployer": true, "sentinel": true, "x402buyer": true}

// TestDifferential lives the example agents with and without metering, and on both
// engines: from the same observations they do the same and come to the same states,
// byte for byte, for the same fuel.
func TestDifferential(t *testing.T) {
	const agents = "../../../agents"
	out := t.TempDir()
	var names []string
	found, err := filepath.Glob(agents + "/*/*.manifest.json")
	if err != nil || len(found) < 6 {
		t.Fatal(found, err)
	}
	for _, file := range found {
		name := filepath.Base(filepath.Dir(file))
		names = append(names, name)
		for language := range map[string]bool{"rust": true, "c": true, "assemblyscript": true} {
			if _, err := os.Stat(filepath.Join(agents, name, language)); err == nil {
				names = append(names, name+"-"+language)
			}
		}
	}
	slices.Sort(names)
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			ticks := 150
			if testing.Short() {
				ticks = 30
			}
			agent, language, _ := strings.Cut(name, "-")
			if b, err := exec.Command("make", "-C", agents, "OUT="+out, name).CombinedOutput(); err != nil {
				if language != "" {
					t.Skipf("make %s: %v, %.300s", name, err, b) // there are no tools of its language
				}
				t.Fatalf("make %s: %v\n%s", name, err, b)
			}
			wasm, err := os.ReadFile(filepath.Join(out, name+".wasm"))
			if err != nil {
				t.Fatal(err)
			}
			b, err := os.ReadFile(filepath.Join(agents, agent, agent+".manifest.json"))
			if err != nil {
				t.Fatal(err)
			}
			m, err := manifest.Parse(b)
			if err != nil {
				t.Fatal(err)
			}
			plain := lives(t, wasm, m, 0, false, ticks)
			metered := lives(t, wasm, m, fuel.Version1, false, ticks)
			interpreted := lives(t, wasm, m, fuel.Version1, true, ticks)
			for mode, other := range map[string]course{"with metering": metered, "with metering, interpreted": interpreted} {
				if i := differs(plain.did, other.did); i >= 0 {
					t.Fatalf("%s it does something else, after %d things: %.300q, want %.300q", mode, i, other.did[i:], plain.did[i:])
				}
				if i := differs(plain.states, other.states); i >= 0 {
					t.Fatalf("%s its state %d is another one", mode, i)
				}
			}
			if i := differs(metered.fuel, interpreted.fuel); i >= 0 {
				t.Fatalf("call %d: %d units on one engine, %d on the other", i, metered.fuel[i:], interpreted.fuel[i:])
			}
			effects := 0
			for _, d := range plain.did {
				if strings.HasPrefix(d, "POST ") || strings.HasPrefix(d, "pay ") {
					effects++
				}
			}
			t.Logf("%d ticks, %d things done, %d of them effects, %d states, %d units in a call at most", ticks, len(plain.did), effects, len(plain.states), slices.Max(metered.fuel))
			if len(plain.did) <= ticks || effects == 0 && effectful[agent] {
				t.Errorf("it did %d things in %d ticks, %d of them effects", len(plain.did), ticks, effects)
			}
		})
	}
}

// differs returns where two lists are not the same, -1 if they are.
func differs[T comparable](a, b []T) int {
	for i := range max(len(a), len(b)) {
		if i >= len(a) || i >= len(b) || a[i] != b[i] {
			return i
		}
	}
	return -1
}
