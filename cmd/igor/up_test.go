package main

import (
	"encoding/binary"
	"encoding/json"
	"flag"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"igor.dev/runtime"
	"igor.dev/verifier"
)

var (
	upKills = flag.Int("up-kills", 25, "how often TestUpKill kills a process of many agents")
	upSeed  = flag.Uint64("up-seed", 1, "what TestUpKill does, and when")
)

// upPatience is how long a machine that has much to do may take for anything.
const upPatience = 5 * time.Minute

// A population is the agents of a folder that igor up runs.
type population struct {
	t              *testing.T
	rng            *rand.Rand
	folder, ledger string
	over           string // where the folders of the retired come to lie
	pay            string // a flag
	counter        []byte // a program
	versions       int

	living  []*resident
	retired []*resident // the newest of them are in the folder still
}

// A resident is one of the agents.
type resident struct {
	kind     string
	name     string
	dir      string
	server   *counter // nil: it acts on nothing
	did      string
	lastWord *runtime.Retirement
}

const (
	aActor    = "actor"    // acts outside and pays
	aStumbler = "stumbler" // fails in some of the ticks that it acts in
	aCounter  = "counter"  // counts, and is upgraded
)

func (p *population) born(kind string) {
	p.t.Helper()
	a := &resident{kind: kind, name: kind + strconv.Itoa(len(p.living)+len(p.retired))}
	a.dir = filepath.Join(p.folder, a.name)
	args := []string{"--dir", a.dir, "--ticks=1", "--tick-interval=0", "--budget=1", "--price=0.01", "--ledger", p.ledger, "--quiet", "--json"}
	switch kind {
	case aActor:
		server, u := newCounter(p.t, time.Millisecond)
		a.server, args = server, append(args, actor(p.t, u, "unsafe"), p.pay)
	case aStumbler:
		server, u := newCounter(p.t, time.Millisecond)
		a.server, args = server, append(args, stumbler(p.t, u))
	default:
		args = append(args, filepath.Join(agents(p.t), "counter.wasm"))
	}
	out, err := igor(p.t, append([]string{"run"}, args...)...).Output()
	var result struct{ DID string }
	if err == nil {
		err = json.Unmarshal(out, &result)
	}
	if err != nil {
		p.t.Fatalf("%s: %v\n%s", a.name, err, out)
	}
	a.did = result.DID
	p.living = append(p.living, a)
}

// up runs them all.
func (p *population) up() *process {
	p.t.Helper()
	return start(p.t, "up", p.folder, "--checkpoint-every=9", "--tick-interval=1ms", "--max-failed-ticks=0", "--ledger", p.ledger, p.pay)
}

// program returns the path of a program that does what the counter does, another one each
// time: it has a custom section with its number.
func (p *population) program() string {
	p.t.Helper()
	p.versions++
	b := append(slices.Clip(p.counter), 0, 10, 1, 'v')
	b = binary.LittleEndian.AppendUint64(b, uint64(p.versions))
	path := filepath.Join(p.folder, ".program.wasm")
	if err := os.WriteFile(path+".next", b, 0o644); err != nil {
		p.t.Fatal(err)
	}
	if err := os.Rename(path+".next", path); err != nil {
		p.t.Fatal(err)
	}
	return path
}

// some picks one of the living.
func (p *population) some(kind string) *resident {
	of := p.living
	if kind != "" {
		of = nil
		for _, a := range p.living {
			if a.kind == kind {
				of = append(of, a)
			}
		}
	}
	return of[p.rng.IntN(len(of))]
}

// A request is an igor beside the one that runs the agents.
type request struct {
	cmd  *exec.Cmd
	over chan error
}

// ask begins one, and waits for its end or, as often, for a moment at most.
func (p *population) ask(moment time.Duration, args ...string) (r request, done bool) {
	r = request{igor(p.t, args...), make(chan error, 1)}
	wait, pause := p.rng.IntN(2) == 0, rand.N(moment)
	go func() { r.over <- r.cmd.Run() }()
	if !wait {
		time.Sleep(pause)
		return r, false
	}
	err := <-r.over
	r.over <- err
	return r, err == nil
}

// buried moves those that are retired out of the way, and has others in their place.
func (p *population) buried() {
	p.t.Helper()
	var kinds []string
	p.living = slices.DeleteFunc(p.living, func(a *resident) bool {
		r, ok, err := runtime.ReadRetirement(a.dir)
		if err != nil {
			p.t.Fatal(err)
		}
		if ok {
			a.lastWord, kinds = &r, append(kinds, a.kind)
			p.retired = append(p.retired, a)
		}
		return ok
	})
	for _, kind := range kinds {
		p.born(kind)
	}
	for _, a := range p.retired[:max(0, len(p.retired)-3)] {
		if _, err := os.Stat(p.ledgerOf(a, "retired")); err != nil {
			continue // igor up has to meet it
		}
		if to := filepath.Join(p.over, a.name); a.dir != to {
			if err := os.Rename(a.dir, to); err != nil {
				p.t.Fatal(err)
			}
			a.dir = to
		}
	}
}

// ledgerOf is where the ledger has a file of an agent.
func (p *population) ledgerOf(a *resident, name string) string {
	return filepath.Join(p.ledger, a.did[len("did:key:"):], name)
}

// met has the ledger know of those that are retired: of one that did not run then, it does
// when an igor that has the ledger meets it.
func (p *population) met() {
	p.t.Helper()
	up := p.up()
	select {
	case <-up.acks: // it runs, and ends in peace when it is asked to
	case <-time.After(upPatience):
		p.t.Fatalf("no checkpoint in %v", upPatience)
	}
	for _, a := range p.living {
		if _, ok, err := runtime.ReadRetirement(a.dir); err != nil || !ok {
			continue
		}
		for began := time.Now(); ; time.Sleep(20 * time.Millisecond) {
			if _, err := os.Stat(p.ledgerOf(a, "retired")); err == nil {
				break
			}
			if time.Since(began) > upPatience {
				p.t.Errorf("the ledger is not told that %s is retired", a.name)
				break
			}
		}
	}
	if err := up.cmd.Process.Signal(os.Interrupt); err != nil {
		p.t.Fatal(err)
	}
	if _, err := up.wait(ack{}); err != nil {
		p.t.Fatalf("%v\n%s", err, up.stderr.Bytes())
	}
}

// resolve says of the side effects that nobody knows of that they happened.
func (p *population) resolve(a *resident) (all int) {
	out, err := igor(p.t, "effects", a.dir, "--json").Output()
	var open []struct{ ID string }
	if err != nil || json.Unmarshal(out, &open) != nil {
		return 0
	}
	for _, e := range open {
		if igor(p.t, "effects", "confirm", a.dir, e.ID).Run() == nil {
			all++
		}
	}
	return all
}

// TestUpKill kills a process in which 20 agents live, again and again, at random
// moments: some act outside and pay, some fail in ticks that they act in, some are
// upgraded meanwhile, and any may be stopped, or retired, and then another one is born.
// What they act on counts; every life verifies, is run again, and accounts for every
// microcent, in its own receipts and in the node's ledger. A life that was retired ended
// where it says so.
func TestUpKill(t *testing.T) {
	p := &population{t: t, rng: rand.New(rand.NewPCG(*upSeed, 10)), folder: t.TempDir(), over: t.TempDir(), ledger: filepath.Join(t.TempDir(), "ledger")}
	// Payments go to one endpoint: which agent's they are, the receipts say.
	till, at := newCounter(t, time.Millisecond)
	p.pay = "--pay-at=" + at.String() + "/pay"
	var err error
	if p.counter, err = os.ReadFile(filepath.Join(agents(t), "counter.wasm")); err != nil {
		t.Fatal(err)
	}
	for kind, n := range map[string]int{aActor: 8, aStumbler: 6, aCounter: 6} {
		for range n {
			p.born(kind)
		}
	}
	population := len(p.living)
	acknowledged := func(up *process, n int) {
		t.Helper()
		for range n {
			select {
			case <-up.acks:
			case <-time.After(upPatience):
				up.cmd.Process.Kill()
				up.wait(ack{})
				t.Fatalf("no checkpoint in %v:\n%s", upPatience, up.stderr.Bytes())
			}
		}
	}
	kills, upgrades, stops, resolved := 0, 0, 0, 0
	for round := range *upKills {
		up := p.up()
		var retire *request
		if p.rng.IntN(4) == 0 {
			time.Sleep(rand.N(300 * time.Millisecond)) // at its start
		} else {
			acknowledged(up, 1+p.rng.IntN(200))
			if round%2 == 1 { // killed after it, or in the middle
				if _, done := p.ask(100*time.Millisecond, "upgrade", p.some(aCounter).dir, "--wasm", p.program()); done {
					upgrades++
				}
			}
			if round%3 == 2 { // some of them end in peace, or begin to
				if _, done := p.ask(50*time.Millisecond, "stop", p.some("").dir); done {
					stops++
				}
			}
			if round%4 != 3 { // and some for good
				a := p.some("")
				resolved += p.resolve(a)
				r, _ := p.ask(100*time.Millisecond, "retire", a.dir, "--yes")
				retire = &r
			}
			time.Sleep(rand.N(2 * time.Millisecond))
		}
		up.cmd.Process.Kill()
		if _, err := up.wait(ack{}); err == nil {
			t.Fatal("igor up ended before it was killed")
		}
		kills++
		if retire != nil {
			<-retire.over
		}
		p.buried()
		if kills%50 == 0 {
			t.Logf("%v: %d kills, %d upgrades, %d stops, %d retired", time.Now().Format(time.TimeOnly), kills, upgrades, stops, len(p.retired))
		}
	}
	// In peace, so that what was under way is known or unresolved.
	up := p.up()
	acknowledged(up, 3*population)
	for _, a := range []*resident{p.some(aCounter), p.some(aCounter)} {
		if out, err := igor(t, "upgrade", a.dir, "--wasm", p.program()).CombinedOutput(); err != nil {
			t.Fatalf("igor upgrade: %v\n%s", err, out)
		}
		upgrades++
	}
	for _, kind := range []string{aCounter, aActor} {
		a := p.some(kind)
		resolved += p.resolve(a)
		out, err := igor(t, "retire", a.dir, "--yes").CombinedOutput()
		for tries := 0; err != nil && tries < 20; tries++ { // it began another one meanwhile
			resolved += p.resolve(a)
			out, err = igor(t, "retire", a.dir, "--yes").CombinedOutput()
		}
		if err != nil {
			t.Fatalf("igor retire: %v\n%s", err, out)
		}
		if err := igor(t, "stop", a.dir).Run(); err != nil {
			t.Errorf("igor stop of one that is retired: %v", err)
		}
	}
	acknowledged(up, population)
	if err := up.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if _, err := up.wait(ack{}); err != nil {
		t.Fatalf("%v\n%s", err, up.stderr.Bytes())
	}
	p.met()
	p.buried()

	var paid, paidOpen, meant, failed uint64
	for _, a := range slices.Concat(p.living, p.retired) {
		verify(t, a.dir, a.did, "")
		replayed(t, a.dir)
		accounted(t, a.dir)
		ledger := p.ledgerOf(a, "")
		accounted(t, ledger)
		if a.lastWord != nil {
			a.isOver(t, ledger)
		}
		switch a.kind {
		case aActor:
			got := actsOf(t, a.dir)
			meant, paid, paidOpen = meant+got.payments, paid+got.paid, paidOpen+got.paidOpen
			a.server.mu.Lock()
			check(t, a.name+"'s post", a.server.posts, got.posts, got.postsDone, got.postsOpen)
			if len(a.server.wrong) > 0 || got.posts == 0 && got.ticks > 2 {
				t.Errorf("%s: %+v, and its server says %q", a.name, got, a.server.wrong)
			}
			a.server.mu.Unlock()
		case aStumbler:
			failed += stumbled(t, a.dir)
			a.server.mu.Lock()
			// Each act has a key of its own, and an act that failed with its tick is over.
			if len(a.server.wrong) > 0 || len(a.server.keys) == 0 && a.lastWord == nil {
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
	t.Logf("seed %d: %d kills of %d agents in one process, %d upgrades, %d stops, %d retired, %d effects resolved; %d ticks failed and were passed, %d payments",
		*upSeed, kills, population, upgrades, stops, len(p.retired), resolved, failed, len(till.payments))
	if kills == 0 || upgrades == 0 || failed == 0 || paid == 0 || len(p.retired) < 2 {
		t.Error("no kills, no upgrades, no failed ticks, no payments, or nobody was retired")
	}
}

// isOver wants a life to have ended where its last word says so, for good.
func (a *resident) isOver(t *testing.T, ledger string) {
	t.Helper()
	r, ok, err := runtime.ReadRetirement(a.dir)
	if err != nil || !ok || r != *a.lastWord {
		t.Errorf("%s: it was retired with %+v, and now that is %+v, %t, %v", a.name, a.lastWord, r, ok, err)
		return
	}
	path, err := runtime.NewestCheckpoint(a.dir)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	head := verifier.Examine(b)
	if err != nil || head.ContentHash != r.Head || head.TickNumber != r.Tick || r.Budget < head.Budget || r.Agent.DID() != a.did {
		t.Errorf("%s: its last word is %+v, and its newest checkpoint %+v, %v", a.name, r, head, err)
	}
	kept, err := os.ReadFile(filepath.Join(ledger, "retired"))
	if err != nil || string(kept) != string(r.Append(nil)) {
		t.Errorf("%s: the ledger has another last word: %x, %v", a.name, kept, err)
	}
	cmd := igor(t, "resume", a.dir, "--ticks=1", "-q")
	cmd.Stderr = io.Discard
	if cmd.Run(); cmd.ProcessState.ExitCode() != exitConflict {
		t.Errorf("%s: it is resumed: %v", a.name, cmd.ProcessState)
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
