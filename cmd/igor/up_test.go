package main

import (
	"encoding/binary"
	"encoding/json"
	"flag"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

var upKills = flag.Int("up-kills", 10, "how often TestUpKill kills a process of many agents")

// TestUpKill kills a process in which 20 agents live, again and again, at random
// moments: some act outside and pay, some fail in ticks that they act in, some are
// upgraded meanwhile, and any may be stopped. What they act on counts; every life verifies, is run again, and accounts
// for every microcent, in its own receipts and in the node's ledger.
func TestUpKill(t *testing.T) {
	const actors, stumblers, counters = 8, 6, 6
	folder := t.TempDir()
	ledger := filepath.Join(t.TempDir(), "ledger")
	type one struct {
		name   string
		server *counter
		did    string
	}
	var all []one
	born := func(name, wasm string, args ...string) {
		t.Helper()
		out, err := igor(t, append([]string{"run", wasm, "--dir", filepath.Join(folder, name), "--ticks=1", "--tick-interval=0", "--budget=1", "--price=0.01",
			"--ledger", ledger, "--quiet", "--json"}, args...)...).Output()
		var result struct{ DID string }
		if err == nil {
			err = json.Unmarshal(out, &result)
		}
		if err != nil {
			t.Fatalf("%s: %v\n%s", name, err, out)
		}
		all[len(all)-1].did = result.DID
	}
	// Payments go to one endpoint: which agent's they are, the receipts say.
	till, at := newCounter(t, time.Millisecond)
	pay := "--pay-at=" + at.String() + "/pay"
	for i := range actors {
		server, u := newCounter(t, time.Millisecond)
		all = append(all, one{"actor" + strconv.Itoa(i), server, ""})
		born(all[len(all)-1].name, actor(t, u, "unsafe"), pay)
	}
	for i := range stumblers {
		server, u := newCounter(t, time.Millisecond)
		all = append(all, one{"stumbler" + strconv.Itoa(i), server, ""})
		born(all[len(all)-1].name, stumbler(t, u))
	}
	for i := range counters {
		all = append(all, one{"counter" + strconv.Itoa(i), nil, ""})
		born(all[len(all)-1].name, filepath.Join(agents(t), "counter.wasm"))
	}

	up := func() *process {
		t.Helper()
		return start(t, "up", folder, "--checkpoint-every=9", "--tick-interval=1ms", "--max-failed-ticks=0", "--ledger", ledger, pay)
	}
	// Programs that do the same, each another one.
	counter, err := os.ReadFile(filepath.Join(agents(t), "counter.wasm"))
	if err != nil {
		t.Fatal(err)
	}
	versions := 0
	program := func() string {
		t.Helper()
		versions++
		b := append(counter[:len(counter):len(counter)], 0, 5, 4, 'v', byte('a'+versions/676), byte('a'+versions/26%26), byte('a'+versions%26)) // a custom section with this name
		path := filepath.Join(folder, ".program.wasm")
		if err := os.WriteFile(path+".next", b, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".next", path); err != nil {
			t.Fatal(err)
		}
		return path
	}
	kills, upgrades, stops := 0, 0, 0
	for round := range *upKills {
		p := up()
		if rand.IntN(4) == 0 {
			time.Sleep(rand.N(300 * time.Millisecond)) // at its start
		} else {
			for range 1 + rand.IntN(200) {
				select {
				case <-p.acks:
				case <-time.After(time.Minute):
					p.cmd.Process.Kill()
					p.wait(ack{})
					t.Fatalf("no checkpoint in a minute:\n%s", p.stderr.Bytes())
				}
			}
			if round%2 == 1 { // killed after it, or in the middle
				upgrade := igor(t, "upgrade", filepath.Join(folder, "counter"+strconv.Itoa(rand.IntN(counters))), "--wasm", program())
				over := make(chan bool, 1)
				go func() { over <- upgrade.Run() == nil }()
				if rand.IntN(2) == 0 {
					time.Sleep(rand.N(100 * time.Millisecond))
				} else if <-over {
					upgrades++
				}
			}
			if round%3 == 2 { // some of them end in peace, or begin to
				stop := igor(t, "stop", filepath.Join(folder, all[rand.IntN(len(all))].name))
				over := make(chan bool, 1)
				go func() { over <- stop.Run() == nil }()
				if rand.IntN(2) == 0 {
					time.Sleep(rand.N(50 * time.Millisecond))
				} else if <-over {
					stops++
				}
			}
			time.Sleep(rand.N(2 * time.Millisecond))
		}
		p.cmd.Process.Kill()
		if _, err := p.wait(ack{}); err == nil {
			t.Fatal("igor up ended before it was killed")
		}
		kills++
	}
	// In peace, so that what was under way is known or unresolved.
	p := up()
	for range 3 * len(all) {
		select {
		case <-p.acks:
		case <-time.After(time.Minute):
			t.Fatal("no checkpoint in a minute")
		}
	}
	if out, err := igor(t, "upgrade", filepath.Join(folder, "counter0"), "--wasm", program()).CombinedOutput(); err != nil {
		t.Fatalf("igor upgrade: %v\n%s", err, out)
	}
	upgrades++
	if err := p.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if _, err := p.wait(ack{}); err != nil {
		t.Fatalf("%v\n%s", err, p.stderr.Bytes())
	}

	var paid, paidOpen, meant, failed uint64
	for _, a := range all {
		dir := filepath.Join(folder, a.name)
		verify(t, dir, a.did, "")
		replayed(t, dir)
		accounted(t, dir)
		switch {
		case a.server == nil:
		case a.name[0] == 'a':
			got := actsOf(t, dir)
			meant, paid, paidOpen = meant+got.payments, paid+got.paid, paidOpen+got.paidOpen
			a.server.mu.Lock()
			check(t, a.name+"'s post", a.server.posts, got.posts, got.postsDone, got.postsOpen)
			if len(a.server.wrong) > 0 || got.posts == 0 {
				t.Errorf("%s: %+v, and its server says %q", a.name, got, a.server.wrong)
			}
			a.server.mu.Unlock()
		default:
			failed += stumbled(t, dir)
			a.server.mu.Lock()
			// Each act has a key of its own, and an act that failed with its tick is over.
			if len(a.server.keys) == 0 || len(a.server.wrong) > 0 {
				t.Errorf("%s acted %d times, and its server says %q", a.name, len(a.server.keys), a.server.wrong)
			}
			for n, times := range a.server.posts {
				if times != 1 {
					t.Errorf("%s sent %x %d times", a.name, n, times)
				}
			}
			a.server.mu.Unlock()
		}
	}
	till.mu.Lock()
	defer till.mu.Unlock()
	for nonce, times := range till.payments {
		if times != 1 {
			t.Errorf("payment %x came %d times", nonce, times)
		}
	}
	if got := uint64(len(till.payments)); got < paid || got > paid+paidOpen || len(till.wrong) > 0 {
		t.Errorf("%d payments arrived; the agents meant %d, know of %d, and of %d that they may have; wrong are %q", got, meant, paid, paidOpen, till.wrong)
	}
	for _, a := range all {
		accounted(t, filepath.Join(ledger, a.did[len("did:key:"):]))
	}
	t.Logf("%d kills of %d agents in one process, %d upgrades, %d stops; %d ticks failed and were passed, %d payments", kills, len(all), upgrades, stops, failed, len(till.payments))
	if kills == 0 || upgrades == 0 || failed == 0 || paid == 0 {
		t.Error("no kills, no upgrades, no failed ticks, or no payments")
	}
}

// accounted wants receipts for every microcent.
func accounted(t *testing.T, dir string) {
	t.Helper()
	if out, err := igor(t, "receipts", dir).CombinedOutput(); err != nil {
		t.Errorf("igor receipts %s: %v\n%s", dir, err, out)
	}
}

// stumbled returns how many ticks failed, by the newest checkpoint: those that its
// state does not know of.
func stumbled(t *testing.T, dir string) uint64 {
	t.Helper()
	c := newest(t, dir, 8)
	return c.TickNumber - binary.LittleEndian.Uint64(c.State)
}
