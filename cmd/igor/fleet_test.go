package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"igor.dev/authority/dir"
	"igor.dev/authority/fleet"
	"igor.dev/authority/https"
	"igor.dev/authority/member"
	"igor.dev/runtime"
	"igor.dev/verifier"
)

// forgetful is a fleet of one whose store can lose everything.
type forgetful struct {
	mu   sync.Mutex
	m    *member.Member
	name string
}

func (f *forgetful) Serve(ctx context.Context, caller verifier.PublicKey, request []byte) []byte {
	f.mu.Lock()
	m := f.m
	f.mu.Unlock()
	return m.Serve(ctx, caller, request)
}

// lose has the store lose everything but blobs.
func (f *forgetful) lose(t *testing.T, operator verifier.PublicKey, blobs string) {
	t.Helper()
	r, err := dir.Blobs(blobs)
	if err != nil {
		t.Fatal(err)
	}
	m, err := member.New(member.Config{Engine: member.NewMemory(), Replica: r, Operators: []verifier.PublicKey{operator}})
	if err != nil {
		t.Fatal(err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.m = m
}

// TestFleet lives an agent whose home is a fleet, has that lose its data, and recovers it.
func TestFleet(t *testing.T) {
	config := t.TempDir()
	t.Setenv("XDG_CONFIG_HOME", config)
	t.Setenv("XDG_CACHE_HOME", config)
	node, err := runtime.NodeKey(filepath.Join(config, "igor", "node.key"))
	if err != nil {
		t.Fatal(err)
	}
	operator := verifier.PublicKey(node.Public().(ed25519.PublicKey))
	blobs := t.TempDir()
	f := &forgetful{}
	f.lose(t, operator, blobs)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	memberKey := ed25519.NewKeyFromSeed(slices.Repeat([]byte{3}, 32))
	s, err := https.Serve(l, memberKey, f, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	f.name = fleet.Prefix + fleet.Member{Key: verifier.PublicKey(memberKey.Public().(ed25519.PublicKey)), Address: s.Addr().String()}.String()

	program, _ := trader(t)
	agents := t.TempDir()
	folder := filepath.Join(agents, "trader")
	do := expects(t)
	do(0, "", "run", program, "--dir", folder, "--ticks", "4", "--tick-interval", "0", "--checkpoint-every", "2", "--store", f.name, "-q")
	do(0, "", "resume", folder, "--ticks", "2", "--tick-interval", "0", "-q")
	copied := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(copied, os.DirFS(folder)); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(copied, "key"), 0o600); err != nil {
		t.Fatal(err)
	}
	do(0, "", "resume", folder, "--ticks", "2", "--tick-interval", "0", "-q")
	do(0, "active", "fleet", "status", f.name)
	do(0, "1 of 1 agents are as nodes know them", "fleet", "recover", f.name, agents)

	f.lose(t, operator, blobs)
	do(76, "lost data", "resume", folder, "--ticks", "2", "-q")
	do(1, "the store lost the newest position", "fleet", "recover", f.name, agents)
	do(76, "lost data", "resume", folder, "--ticks", "2", "-q") // nothing was put back
	do(0, "restored", "fleet", "recover", f.name, agents, "--yes")
	do(0, "", "resume", folder, "--ticks", "2", "--tick-interval", "0", "-q")
	do(0, "1 of 1", "fleet", "recover", f.name, agents)

	// What is put back may be an older copy, where nobody has a newer one; then the newer one
	// is divided from it.
	f.lose(t, operator, blobs)
	do(0, "restored", "fleet", "recover", f.name, copied, "--yes")
	out := do(1, "", "fleet", "recover", f.name, agents, "--json")
	var found []findingJSON
	if err := json.Unmarshal([]byte(out), &found); err != nil || len(found) != 1 || found[0].Verdict != "lost" && found[0].Verdict != "divided" {
		t.Fatalf("%v: %s", err, out)
	}
	do(0, "restored", "fleet", "recover", f.name, agents, "--yes", "--pick", found[0].DID+"="+found[0].Candidates[len(found[0].Candidates)-1].Position)
	do(0, "", "resume", folder, "--ticks", "2", "--tick-interval", "0", "-q")

	// Not everybody may.
	other := filepath.Join(t.TempDir(), "other.key")
	do(1, "operators of the fleet's members", "fleet", "status", f.name, "--node-key", other)
	do(66, "or as agents do", "fleet", "status", "/mnt/backup")
}

// TestFleetTakeOver kills an agent's owner, and has another node, as a process with a key of
// its own and nothing but the agent's, take over from a fleet's members, to and fro: its
// side effects were all done once, and it knows of them.
func TestFleetTakeOver(t *testing.T) {
	tmp := t.TempDir()
	in := func(names ...string) string { return filepath.Join(append([]string{tmp}, names...)...) }
	nodes := []string{in("one.key"), in("two.key")}
	var dids []string
	for _, file := range nodes {
		k, err := runtime.NodeKey(file)
		if err != nil {
			t.Fatal(err)
		}
		dids = append(dids, verifier.PublicKey(k.Public().(ed25519.PublicKey)).DID())
	}
	engine := member.NewMemory()
	var members []string
	for i := range 3 {
		blobs, err := dir.Blobs(in(fmt.Sprint("blobs", i)))
		if err != nil {
			t.Fatal(err)
		}
		m, err := member.New(member.Config{Engine: engine, Replica: blobs})
		if err != nil {
			t.Fatal(err)
		}
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		k := ed25519.NewKeyFromSeed(slices.Repeat([]byte{byte(30 + i)}, 32))
		s, err := https.Serve(l, k, m, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		members = append(members, fmt.Sprintf("%q", fleet.Member{Key: verifier.PublicKey(k.Public().(ed25519.PublicKey)), Address: s.Addr().String()}))
	}
	program, c := trader(t)
	manifest, err := os.ReadFile(beside(program))
	if err != nil {
		t.Fatal(err)
	}
	manifest = bytes.Replace(manifest, []byte(`{"capabilities"`), fmt.Appendf(nil, `{"home": {"fleet": [%s]}, "migration_policy": {"allowed_nodes": [%q, %q]}, "capabilities"`, strings.Join(members, ", "), dids[0], dids[1]), 1)
	if err := os.WriteFile(beside(program), manifest, 0o600); err != nil {
		t.Fatal(err)
	}
	name := fleet.Prefix + strings.ReplaceAll(strings.Join(members, ","), `"`, "")
	flags := []string{"--checkpoint-every=3", "--lease-duration=1s"}
	dir, key := in("agent"), in("agent.key")
	p := start(t, append([]string{"run", program, "--dir", dir, "--budget=10", "--node-key", nodes[0]}, flags...)...)
	acked, did := ack{}, ""
	rounds := max(3, *killRounds/4)
	for round := range rounds {
		did, acked = p.killSomewhere(t, did, acked)
		if round == 0 {
			copyKey(t, dir, key)
		}
		old, before, node := dir, nodes[round%2], nodes[(round+1)%2]
		dir = in(fmt.Sprint("agent", round))
		restore := func() (string, int) {
			cmd := igor(t, "restore", name, dir, "--key", key, "--node-key", node, "--take-over")
			out, _ := cmd.CombinedOutput()
			return string(out), cmd.ProcessState.ExitCode()
		}
		out, code := restore()
		if code == exitConflict && !strings.Contains(out, "lease") {
			t.Fatalf("igor restore: %s", out)
		}
		for began := time.Now(); code == exitConflict && time.Since(began) < 30*time.Second; out, code = restore() {
			time.Sleep(100 * time.Millisecond)
		}
		if code != 0 || !strings.Contains(out, did) {
			t.Fatalf("igor restore: exit code %d\n%s", code, out)
		}
		p = start(t, append([]string{"resume", dir, "--node-key", node}, flags...)...)
		a, ok := <-p.acks
		if !ok || a.tick <= acked.tick {
			t.Fatalf("after tick %d it went on at %d: %v\n%s", acked.tick, a.tick, ok, &p.stderr)
		}
		acked = a
		cmd := igor(t, "resume", old, "--ticks=5", "--node-key", before)
		if out, _ := cmd.CombinedOutput(); cmd.ProcessState.ExitCode() != exitConflict {
			t.Fatalf("the node that was taken over from: exit code %d\n%s", cmd.ProcessState.ExitCode(), out)
		}
	}
	if err := p.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if acked, err = p.wait(acked); err != nil {
		t.Fatalf("%v\n%s", err, &p.stderr)
	}
	b, err := os.ReadFile(filepath.Join(dir, "history", fmt.Sprintf("%010d.ckpt", acked.tick)))
	if err != nil {
		t.Fatal(err)
	}
	last, err := verifier.Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	if last.LeaseGeneration != uint64(rounds) {
		t.Errorf("its checkpoint counts %d takeovers of %d", last.LeaseGeneration, rounds)
	}
	state := last.State[len(last.State)-88:]
	word := func(at int) int { return int(binary.LittleEndian.Uint64(state[at:])) }
	c.mu.Lock()
	defer c.mu.Unlock()
	if uint64(word(0)) != acked.tick {
		t.Errorf("it is at tick %d, and counted %d", acked.tick, word(0))
	}
	if sent := len(c.posts); sent < rounds || sent < word(16) || sent > word(16)+word(24) {
		t.Errorf("%d posts came; the agent knows of %d, and of %d that may have", sent, word(16), word(24))
	}
	for id, n := range c.posts {
		if n > 1 {
			t.Errorf("effect %s came %d times", id, n)
		}
	}
}
