package lab

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

const example = "../docs/lab/round.yaml"

func TestScript(t *testing.T) {
	s, err := ReadScript(example)
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Nodes) != 3 || len(s.Steps) < 10 || s.Steps[1].String() != "move actor to B" || s.Steps[1].background || !s.Steps[7].may || !s.Steps[7].background {
		t.Errorf("%+v", s)
	}
	b, err := os.ReadFile(example)
	if err != nil {
		t.Fatal(err)
	}
	for from, to := range map[string]string{
		"wait 300ms":      "wait 300",
		"move actor to B": "move actor to D",
		"kill B":          "kill",
		"start B":         "begin B",
		"cut B C":         "cut B C &",
		"at: A":           "at: X",
		"seed: 1":         "sed: 1",
		"name: C":         "name: A",
		"name: actor":     "name: ../actor",
		"price: 1000":     "price: -1",
		"wait 200ms":      "kill B paying", // without a chain
		"wait 500ms":      "say",
		"nodes:":          "fleet: {members: [D]}\nnodes:",
		"steps:":          "fleet: {members: [A], lease: long}\nsteps:",
		"agents:":         "fleet: {members: []}\nagents:",
		"seed":            "simulated: true\nchain: true\nseed",
	} {
		changed := strings.Replace(string(b), from, to, 1)
		if changed == string(b) {
			t.Fatalf("%q is not in the example", from)
		}
		if _, err := ParseScript([]byte(changed)); err == nil {
			t.Errorf("%q is taken", to)
		}
	}
}

// TestExamples reads every script of the documentation. Programs of some are built first, by
// those who run them.
func TestExamples(t *testing.T) {
	all, err := filepath.Glob("../docs/lab/*.yaml")
	if err != nil || len(all) < 3 {
		t.Fatalf("%q, %v", all, err)
	}
	for _, path := range all {
		if _, err := ReadScript(path); err != nil {
			t.Error(err)
		}
	}
}

func FuzzScript(f *testing.F) {
	b, err := os.ReadFile(example)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte("nodes: [{name: A}]\nagents: [{name: a, at: A, program: a}]\nsteps: [try move a &, 'cut A > A', skew A -1h]"))
	f.Fuzz(func(t *testing.T, b []byte) { ParseScript(b) })
}

// TestTimeline draws a run of which it is known what was.
func TestTimeline(t *testing.T) {
	s := &Script{Nodes: []Node{{Name: "A"}, {Name: "B"}}, Agents: []Agent{{Name: "one"}}}
	at := func(d float64) time.Duration { return time.Duration(d * float64(time.Second)) }
	events := []Event{
		{Began: 0, Ended: at(.1), What: Saw, Node: "A", Lives: map[string]Lives{"one": {}}},
		{Began: at(4), Ended: at(4.9), What: Saw, Node: "A", Lives: map[string]Lives{"one": {}}},
		{Began: at(4.5), Ended: at(5), What: Moved, Agent: "one", Node: "A", To: "B", Moves: 1},
		{Began: at(5), Ended: at(5.1), What: Saw, Node: "B", Lives: map[string]Lives{"one": {Moves: 1}}},
		{Began: at(6), Ended: at(6), What: Did, Node: "A", Step: "kill A"},
		{Began: at(8), Ended: at(8), What: Did, Node: "A", Step: "start A"},
		{Began: at(9), Ended: at(10), What: Saw, Node: "B", Lives: map[string]Lives{"one": {Moves: 1}}},
	}
	track := newTrack(s, events)
	want := `lived  at   0                                                            10.0 s
one    A    #################################..................................
       B    .................................##################################
faults A    ........................................xxxxxxxxxxxxxx.............
            x does not run, = stopped for a while, ~ a link is cut
`
	if got := track.text(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if svg := track.svg(); strings.Count(svg, `class="moved"`) != 1 || !strings.Contains(svg, "A does not run, 6.00 to 8.00 s") {
		t.Error(svg)
	}
}

// TestRun runs the example, and wants what is wrong with a recording to be found.
func TestRun(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("network namespaces need root")
	}
	s, err := ReadScript(example)
	if err != nil {
		t.Fatal(err)
	}
	program, err := Build(t.Context(), s, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "round")
	r, err := Run(t.Context(), Config{Script: s, Dir: dir, Program: program, Say: t.Logf})
	if err != nil {
		t.Fatal(err)
	}
	t.Log("\n" + r.Summary())
	if a := r.Agents[0]; len(r.Problems()) > 0 || a.Moves < 1 || a.Nodes < 2 || a.Looks < 4 || a.Sent < 1 || a.Tick < 5 {
		t.Fatalf("%q, %+v", r.Problems(), a)
	}
	again, err := ReadScript(dir)
	if err != nil || len(again.Steps) != len(s.Steps) || again.Seed != s.Seed || !present(again.Agents[0].Program) {
		t.Fatalf("the recording's script: %+v, %v", again, err)
	}
	if r, err = Check(t.Context(), dir); err != nil || len(r.Problems()) > 0 {
		t.Fatalf("looked at again: %v, %v", r, err)
	}
	at := r.Agents[0].At
	other := map[string]string{"A": "B", "B": "C", "C": "B"}[at] // nor where it began: there it may have been seen
	events := filepath.Join(dir, fileEvents)
	recorded, err := os.ReadFile(events)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		says string
		do   func() error
	}{
		{"is not linearizable", func() error {
			f, err := os.OpenFile(events, os.O_WRONLY|os.O_APPEND, 0)
			if err == nil {
				_, err = f.WriteString(`{"began":1,"ended":2,"what":"saw","node":"` + other + `","lives":{"actor":{"tick":1,"moves":0}}}` + "\n")
				f.Close()
			}
			return err
		}},
		{"was confirmed, and is not there", func() error {
			return os.WriteFile(events, append(recorded, []byte(`{"began":1,"ended":2,"what":"moved","agent":"actor","node":"A","to":"B","moves":99}`+"\n")...), 0o600)
		}},
		{"both have it", func() error {
			os.WriteFile(events, recorded, 0o600)
			return os.CopyFS(filepath.Join(dir, dirNodes, other, "agents", "actor2"), os.DirFS(filepath.Join(dir, dirNodes, at, "agents", "actor")))
		}},
	} {
		if err := c.do(); err != nil {
			t.Fatal(err)
		}
		if c.says == "both have it" {
			mine := filepath.Join(dir, dirNodes, other, "agents", "actor")
			os.RemoveAll(mine)
			if err := os.Rename(mine+"2", mine); err != nil {
				t.Fatal(err)
			}
		}
		r, err := Check(t.Context(), dir)
		if err != nil || !strings.Contains(strings.Join(r.Problems(), "\n"), c.says) {
			t.Errorf("it is not found that %q: %v, %v", c.says, r.Problems(), err)
		}
	}
}

// TestSimulation runs nodes in simulated time.
func TestSimulation(t *testing.T) {
	s, err := ReadScript("../docs/lab/simulated.yaml")
	if err != nil {
		t.Fatal(err)
	}
	last := &s.Steps[len(s.Steps)-1]
	if last.verb != "faults" {
		t.Fatal("the example has no faults")
	}
	last.for_, last.line = 2*time.Minute, "faults 2m"
	dir := filepath.Join(t.TempDir(), "simulated")
	r, err := Run(t.Context(), Config{Script: s, Dir: dir, Say: t.Logf, Bubble: func(do func()) { synctest.Test(t, func(*testing.T) { do() }) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Log("\n" + r.Summary())
	moves := 0
	for _, a := range r.Agents {
		moves += a.Moves
		if a.Tick < 150 {
			t.Errorf("%s came to tick %d", a.Name, a.Tick)
		}
	}
	if len(r.Problems()) > 0 || moves < 3 || r.Length < 4*time.Minute {
		t.Errorf("%q, %d moves in %v", r.Problems(), moves, r.Length)
	}
}
