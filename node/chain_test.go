package node

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"flag"
	"io"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"igor.dev/runtime"
	"igor.dev/verifier"
)

var (
	chainMoves = flag.Int("moves", 9, "how often TestChain moves an agent")
	chainState = flag.Int("state", 1<<10, "how many bytes the state of TestChain's agent has")
)

// TestChain has an agent go round three nodes many times: -moves says how often, and -state
// how large it is. What it has stays its own: state, budget, DID, what it may do, and does in
// each tick. It says how long an agent stands still, from its stop to its arrival,
// beside the time that a checkpoint of it takes over a stream, in the same run.
func TestChain(t *testing.T) { everyHome(t, testChain) }

func testChain(t *testing.T, home *testHome) {
	moves := *chainMoves
	change := func(c *Config) {
		home.at(c)
		if *chainState > 1<<20 { // a large one makes a checkpoint now and then, as they do
			c.MoveLimit, c.Silence = time.Minute, 30*time.Second
			c.Agent = func(string) runtime.Config {
				return runtime.Config{TickInterval: 20 * time.Millisecond, CheckpointEvery: runtime.Every{Time: time.Minute}}
			}
		}
	}
	all := []*aNode{newNode(t, 1, change), newNode(t, 2, change), newNode(t, 3, change)}
	meet(t, all...)
	all[0].home = home.name
	man, _ := json.Marshal(map[string]any{"capabilities": map[string]any{"clock": map[string]any{"version": 1}}, "migration_policy": map[string]any{"enabled": true, "allowed_nodes": []string{did(1), did(2), did(3)}}})
	program := keeping(*chainState)
	agent := all[0].bearWith("watcher", program, man)
	var stood, plain []time.Duration
	tick, budget := uint64(0), int64(1e9)
	for i := range moves {
		from, to := all[i%3], all[(i+1)%3]
		at := from.awaitTicks("watcher", 2)
		if at < tick {
			t.Fatalf("it went back from tick %d to %d", tick, at)
		}
		m, err := from.Move(t.Context(), "watcher", MoveConfig{To: []verifier.PublicKey{to.public}})
		if err != nil || !m.Arrived {
			t.Fatalf("move %d: %+v, %v", i+1, m, err)
		}
		stood = append(stood, m.Stood)
		plain = append(plain, send(t, from, to, *chainState+verifier.HeaderSize))
		tick = to.awaitTicks("watcher", 1)
		l, err := runtime.ReadLife(to.agentDir("watcher"))
		if err != nil || l.Agent != agent || l.Tick < at {
			t.Fatalf("move %d: %+v, %v", i+1, l, err)
		}
		for name, want := range map[string][]byte{"agent.wasm": program, "agent.manifest.json": man} {
			if got, err := os.ReadFile(filepath.Join(to.agentDir("watcher"), name)); err != nil || !bytes.Equal(got, want) {
				t.Fatalf("move %d: %s is another one: %v", i+1, name, err)
			}
		}
		policy, err := to.policyOf(to.agentDir("watcher"))
		if err != nil || !maps.Equal(policy.Capabilities, map[string]int{"clock": 1}) {
			t.Fatalf("move %d: it may use %v, %v", i+1, policy.Capabilities, err)
		}
		counted(t, to.agentDir("watcher"))
		to.mu.Lock()
		left := to.agents["watcher"].Agent.Status().Budget
		to.mu.Unlock()
		if left > budget {
			t.Errorf("move %d: it has %d, and had %d", i+1, left, budget)
		}
		budget = left
	}
	last := all[moves%3]
	last.awaitTicks("watcher", 2)
	last.stop()
	dir := filepath.Join(last.dir, "agents", "watcher")
	oneLife(t, dir, agent, moves)
	counted(t, dir)
	l, err := runtime.ReadLife(dir)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(stood)
	slices.Sort(plain)
	t.Logf("%d moves of %d bytes, to tick %d: stood still for %v at the median, %v at the worst; the bytes alone take %v at the median: a ratio of %.1f", moves, *chainState, l.Tick,
		stood[len(stood)/2], stood[len(stood)-1], plain[len(plain)/2], float64(stood[len(stood)/2])/float64(plain[len(plain)/2]))
}

// counted holds the state of each of the newest checkpoints against its tick, which is how
// often the agent counted; and what it read from the clock against the one before.
func counted(t testing.TB, dir string) {
	t.Helper()
	n, next := 0, uint64(math.MaxUint64)
	for b, err := range runtime.Blocks(dir) {
		if err != nil {
			t.Fatal(err)
		}
		c, err := verifier.Parse(b)
		if err != nil {
			t.Fatal(err)
		}
		count, clock := binary.LittleEndian.Uint64(c.State), binary.LittleEndian.Uint64(c.State[8:])
		if count != c.TickNumber || clock >= next || (clock == 0) != (count == 0) {
			t.Fatalf("tick %d: it counted %d, and the clock said %d, and %d later", c.TickNumber, count, clock, next)
		}
		n, next = n+1, clock
		if n == 5 {
			return
		}
	}
}

// send sends so many bytes from a node to another one, which makes them durable, and says
// how long that takes until the sender knows.
func send(t *testing.T, from, to *aNode, n int) time.Duration {
	t.Helper()
	const plain = "/test/plain"
	to.serve(plain, 1, 1, time.Minute, func(_ context.Context, _ verifier.PublicKey, c *conn) error {
		f, err := os.CreateTemp(t.TempDir(), "plain")
		if err != nil {
			return err
		}
		defer f.Close()
		if _, err := io.CopyN(f, c, int64(n)); err != nil {
			return err
		}
		if err := f.Sync(); err != nil {
			return err
		}
		_, err = c.Write([]byte{1})
		return err
	})
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i * i >> 8)
	}
	began := time.Now()
	c, err := from.open(t.Context(), to.public, plain, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write(b); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, b[:1]); err != nil {
		t.Fatal(err)
	}
	return time.Since(began)
}

// keeping is an agent that counts its ticks, reads the clock in each, and whose state has a
// size.
func keeping(size int) []byte {
	uleb := func(n int) (b []byte) {
		for ; n >= 0x80; n >>= 7 {
			b = append(b, byte(n)|0x80)
		}
		return append(b, byte(n))
	}
	sized := func(b []byte) []byte { return append(uleb(len(b)), b...) }
	vector := func(all ...string) (b []byte) {
		b = uleb(len(all))
		for _, s := range all {
			b = append(b, s...)
		}
		return b
	}
	constant := func(n int) string { // i32.const
		b := []byte{0x41}
		for n >= 0x40 {
			b, n = append(b, byte(n)|0x80), n>>7
		}
		return string(append(b, byte(n)))
	}
	count := "\x41\x00\x41\x00\x29\x03\x00\x42\x01\x7c\x37\x03\x00" // store(0, load(0) + 1)
	read := "\x41\x00\x10\x00\x37\x03\x08"                          // store(8, clock_now())
	export := func(name string, kind, index byte) string {
		return string(sized([]byte(name))) + string([]byte{kind, index})
	}
	body := func(code string) string { return string(sized([]byte("\x00" + code + "\x0b"))) }
	out := []byte("\x00asm\x01\x00\x00\x00")
	section := func(id byte, b []byte) { out = append(append(out, id), sized(b)...) }
	section(1, vector("\x60\x00\x00", "\x60\x00\x01\x7f", "\x60\x02\x7f\x7f\x00", "\x60\x01\x7f\x01\x7f", "\x60\x00\x01\x7e"))
	section(2, vector("\x04igor\x09clock_now\x00\x04"))
	section(3, []byte("\x06\x00\x01\x01\x01\x02\x03"))
	section(5, append([]byte("\x01\x00"), uleb(size>>16+2)...))
	section(7, vector(export("agent_init", 0, 1), export("agent_tick", 0, 2), export("agent_checkpoint", 0, 3), export("agent_checkpoint_ptr", 0, 4),
		export("agent_resume", 0, 5), export("malloc", 0, 6), export("memory", 2, 0)))
	section(10, vector(body(""), body(count+read+constant(1)), body(constant(size)), body(constant(0)),
		body("\x41\x00\x20\x00\x29\x03\x00\x37\x03\x00\x41\x00\x20\x00\x29\x03\x08\x37\x03\x08"), body("\x41\x80\x01")))
	return out
}
