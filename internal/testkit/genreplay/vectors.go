package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"igor.dev/internal/testkit"
)

var (
	alice = testkit.NewAgent("alice")
	bob   = testkit.NewAgent("bob")
)

const (
	price    = 1000
	budget   = 1_000_000
	start    = int64(1_000_000_000_000_000_000) // when the lives are lived
	second   = int64(1_000_000_000)
	manifest = `{"capabilities": {"clock": {"version": 1}, "rand": {"version": 1}, "log": {"version": 1}}}` + "\n"
)

// A stretch is the part of a life between two checkpoints.
type stretch struct {
	records [][]byte
	f       testkit.Fields // of the checkpoint after it
}

// A life of agent.wat.
type life struct {
	agent *testkit.Agent
	wasm  []byte
	past  []stretch
}

// draw is the randomness of a tick.
func draw(tick uint64) []byte {
	size := 4
	if tick == 6 {
		size = 4100
	}
	return bytes.Repeat([]byte{byte(0xa0 + tick)}, size)
}

func at(tick uint64) int64 { return start + int64(tick)*second }

// state is what agent.wat comes to after a tick, if its last agent_resume was before
// tick first.
func state(tick, first uint64) []byte {
	b := le.AppendUint64(nil, tick)
	if tick == 0 {
		return append(b, make([]byte, 20)...)
	}
	b = le.AppendUint64(b, uint64(at(first)-second/2))
	b = le.AppendUint64(b, uint64(at(tick)))
	return append(b, draw(tick)[:4]...)
}

// lived is what agent.wat observes in a stretch of ticks.
func lived(first, last uint64) [][]byte {
	records := [][]byte{clock(first, at(first)-second/2)}
	for tick := first; tick <= last; tick++ {
		records = append(records, clock(tick, at(tick)), random(tick, draw(tick)), line(tick, "tick"), end(tick, int64(tick&1), 1))
	}
	return records
}

// newLife is a life of five ticks, with checkpoints at 0, 2 and 5.
func newLife(wasm []byte) *life {
	fields := func(tick, first uint64) testkit.Fields {
		return testkit.Fields{Budget: budget - int64(tick), Price: price, Tick: tick, WASMHash: sha256.Sum256(wasm), State: state(tick, first)}
	}
	return &life{alice, wasm, []stretch{
		{[][]byte{birth(0, budget), line(0, "born"), end(0, 0, 0)}, fields(0, 0)},
		{lived(1, 2), fields(2, 1)},
		{lived(3, 5), fields(5, 3)},
	}}
}

// newFork is a life that begins with that of newLife after tick 4.
func newFork(wasm []byte, from []byte) *life {
	l := newLife(wasm)
	l.agent = bob
	l.past = l.past[1:]
	l.past[0] = stretch{[][]byte{birth(4, 500), comesFrom(4, alice, from)}, l.past[1].f}
	l.past[0].f.Tick, l.past[0].f.Budget, l.past[0].f.State = 4, 500, state(4, 3)
	l.past[1] = stretch{lived(5, 5), l.past[1].f}
	l.past[1].f.Tick, l.past[1].f.Budget, l.past[1].f.State = 5, 499, state(5, 5)
	return l
}

func (l *life) checkpoints() [][]byte {
	var all [][]byte
	for _, s := range l.past {
		if len(all) > 0 {
			s.f.PrevHash = testkit.Hash(all[len(all)-1])
		}
		all = append(all, l.agent.Checkpoint(s.f))
	}
	return all
}

const (
	fileLife   = "life.car"
	fileEvents = "life.events/"
)

func fileSegment(first uint64) string { return fmt.Sprintf("%s%010d.events", fileEvents, first) }

func filePayload(b []byte) string {
	h := sha256.Sum256(b)
	return fileEvents + "payloads/" + hex.EncodeToString(h[:])
}

// files are the life as igor history export --events writes it.
func (l *life) files() map[string][]byte {
	checkpoints := l.checkpoints()
	all := map[string][]byte{
		fileLife:                           testkit.CAR(checkpoints[len(checkpoints)-1], checkpoints...),
		fileEvents + "agent.manifest.json": []byte(manifest),
	}
	for i, s := range l.past {
		first, prev := uint64(0), []byte(nil)
		if i > 0 {
			first, prev = l.past[i-1].f.Tick+1, checkpoints[i-1]
		}
		all[fileSegment(first)] = segment(l.agent, prev, checkpoints[i], []byte(manifest), s.records...)
		if s.f.Tick >= 6 {
			all[filePayload(draw(6))] = draw(6)
		}
	}
	return all
}

// report is what a replay of the whole life says, but for the problems.
func (l *life) report() *report {
	r := &report{Format: "igor-replay-report/1", Verdict: "replayed", DID: l.agent.DID(), Lineage: "verified", Intervals: len(l.past), Replayed: len(l.past), Problems: []problem{}}
	h := sha256.Sum256(l.wasm)
	r.WASM = hex.EncodeToString(h[:])
	last := len(l.past) - 1
	if r.FirstTick, r.LastTick = 0, l.past[last].f.Tick; last < 2 {
		r.FirstTick = l.past[0].f.Tick
	}
	for i, s := range l.past {
		r.Ticks += l.ticks(i)
		r.Observations += observations(s.records)
	}
	return r
}

// ticks returns how many ticks a stretch has.
func (l *life) ticks(i int) uint64 {
	if i == 0 {
		return 0
	}
	return l.past[i].f.Tick - l.past[i-1].f.Tick
}

func observations(records [][]byte) (n uint64) {
	for _, r := range records {
		if r[0] != account && r[0] != origin {
			n++
		}
	}
	return n
}

// without takes a stretch out of what was replayed.
func (r *report) without(l *life, i int, verdict string, p problem) *report {
	r.Verdict = verdict
	r.Replayed--
	r.Ticks -= l.ticks(i)
	r.Observations -= observations(l.past[i].records)
	if p.To = l.past[i].f.Tick; i > 0 {
		p.From = l.past[i-1].f.Tick + 1
	}
	r.Problems = append(r.Problems, p)
	return r
}

var exits = map[string]int{"replayed": 0, "diverged": 1, "incomplete": 3}

// A set collects the vectors.
type set struct {
	wasm []byte
	all  []*vector
}

func (s *set) add(name, description string, files map[string][]byte, r *report, args ...string) *vector {
	if !slices.Contains(args, "--wasm") {
		args = append([]string{"--wasm", "../agent.wasm"}, args...)
	}
	v := &vector{name: name, Description: description, files: files, Args: append([]string{fileLife}, args...), Report: r, Exit: 2}
	if r != nil {
		v.Exit = exits[r.Verdict]
	}
	s.all = append(s.all, v)
	return v
}

// refused is for what has no verdict.
func (s *set) refused(name, description string, files map[string][]byte, exit int, err string, args ...string) {
	v := s.add(name, description, files, nil, args...)
	v.Exit, v.Error = exit, err
}

// diverged is a life that its key signed, and that its program does not live. change is
// to the stretch of ticks 3 to 5.
func (s *set) diverged(name, description string, p problem, change func(*stretch)) {
	honest := newLife(s.wasm)
	l := newLife(s.wasm)
	change(&l.past[2])
	if p.Code == "" {
		p.Code = "divergence"
	}
	s.add(name, description, l.files(), honest.report().without(honest, 2, "diverged", p))
}

// bad is a segment of ticks 3 to 5 that does not verify.
func (s *set) bad(name, description string, change func(l *life, files map[string][]byte)) {
	l := newLife(s.wasm)
	files := l.files()
	change(l, files)
	s.add(name, description, files, newLife(s.wasm).report().without(l, 2, "diverged", problem{Code: "bad-segment"}))
}

// missing is something without which ticks cannot be run again.
func (s *set) missing(name, description string, stretches []int, change func(files map[string][]byte), args ...string) {
	l := newLife(s.wasm)
	if strings.HasPrefix(name, "payload") { // one tick more, which has one
		l.past[2].records = lived(3, 6)
		l.past[2].f.Tick, l.past[2].f.Budget, l.past[2].f.State = 6, budget-6, state(6, 3)
	}
	files := l.files()
	change(files)
	r := l.report()
	for _, i := range stretches {
		r.without(l, i, "incomplete", problem{Code: "cannot-be-re-executed"})
	}
	s.add(name, description, files, r, args...)
}

func place(tick uint64, hostcall int) problem { return problem{Tick: &tick, Hostcall: &hostcall} }

func (p problem) differs(at int, recorded, got string) problem {
	if at >= 0 {
		p.Byte = &at
	}
	p.Recorded, p.Got = recorded, got
	return p
}

func vectors(wasm []byte) []*vector {
	s := &set{wasm: wasm}
	s.lives()
	s.divergences()
	s.segments()
	s.gaps()
	s.forks()
	s.metered()
	return s.all
}

func (s *set) lives() {
	l := newLife(s.wasm)
	s.add("equal", "A life comes to its states again.", l.files(), l.report())
	r := l.report()
	r.FirstTick, r.Intervals, r.Replayed, r.Ticks, r.Observations = 3, 1, 1, 3, observations(l.past[2].records)
	s.add("equal-from", "Begun with the checkpoint of tick 2.", l.files(), r, "--from", "2")
	r = l.report()
	r.LastTick, r.Intervals, r.Replayed, r.Ticks = 1, 2, 2, 1
	r.Observations = observations(l.past[0].records) + 5
	s.add("equal-until", "Ended between two checkpoints, after tick 1.", l.files(), r, "--until", "1")
	s.refused("until-too-late", "There is no tick 6.", l.files(), 2, "the newest checkpoint is of tick 5", "--until", "6")
	s.refused("from-between", "There is no checkpoint of tick 3.", l.files(), 2, "no checkpoint of tick 3", "--from", "3")

	files := l.files()
	checkpoints := l.checkpoints()
	checkpoints[1][testkit.OffSignature]++
	files[fileLife] = testkit.CAR(checkpoints[2], checkpoints...)
	s.refused("lineage-invalid", "A signature in the history is bad: nothing is run.", files, 1, "the history is invalid")

	files = l.files()
	checkpoints = l.checkpoints()
	files[fileLife] = testkit.CAR(checkpoints[2], checkpoints[1:]...)
	r = l.report()
	r.Lineage, r.Intervals = "incomplete", 2
	r.without(l, 1, "incomplete", problem{Code: "cannot-be-re-executed"})
	r.Replayed, r.Observations = 1, observations(l.past[2].records)
	r.Problems[0].From = 0
	s.add("lineage-incomplete", "The genesis is not there: only what comes after the second checkpoint can be run.", files, r)
}

func (s *set) divergences() {
	// The calls of tick 3 are agent_resume's clock_now, clock_now, rand_bytes and log_emit.
	s.diverged("call-other", "The log has another hostcall than the agent makes.",
		place(4, 1).differs(-1, "log_emit", "rand_bytes"), func(st *stretch) { st.records[6] = line(4, "tick") })
	s.diverged("call-more", "The agent makes a hostcall that the log does not have.",
		place(4, 2).differs(-1, "tick end", "log_emit"), func(st *stretch) { st.records = slices.Delete(st.records, 7, 8) })
	s.diverged("call-less", "The log has a hostcall that the agent does not make.",
		place(4, 3).differs(-1, "log_emit", "tick end"), func(st *stretch) { st.records = slices.Insert(st.records, 8, line(4, "more")) })
	s.diverged("call-of-agent-resume", "The log has nothing of what agent_resume observes: its clock_now is taken for the tick's.",
		place(3, 1).differs(-1, "rand_bytes", "clock_now"), func(st *stretch) { st.records = st.records[1:] })
	s.diverged("request-other", "The agent logs another line than the log has.",
		place(5, 2).differs(2, "log_emit 74694b6b", "log_emit 7469636b"), func(st *stretch) { st.records[11] = line(5, "tiKk") })
	s.diverged("request-longer", "The line in the log goes on where the agent's ends.",
		place(5, 2).differs(4, "log_emit 7469636b73", "log_emit the end (4 bytes)"), func(st *stretch) { st.records[11] = line(5, "ticks") })
	s.diverged("return-other", "A tick says that it has more to do, and the log that it has not.",
		place(3, 4).differs(0, "tick end 0000000000000000", "tick end 0100000000000000"), func(st *stretch) { st.records[4] = end(3, 0, 1) })
	p := place(5, 0).differs(27, "0da5a5a5a4", "0da5a5a5a5")
	p.Code, p.Hostcall = "state-divergence", nil
	s.diverged("state-other", "Every observation is as recorded, and the state is another one.", p, func(st *stretch) {
		st.f.State[27]--
	})
}

func (s *set) segments() {
	third := fileSegment(3)
	s.bad("segment-flipped", "A byte of a record is another one, and its checksum is right.", func(l *life, files map[string][]byte) {
		checkpoints := l.checkpoints()
		records := slices.Clone(l.past[2].records)
		records[1] = clock(3, at(3)+1)
		other := segment(l.agent, checkpoints[1], checkpoints[2], []byte(manifest), records...)
		footer := len(files[third]) - 129 - 12
		files[third] = append(other[:footer:footer], files[third][footer:]...)
	})
	s.bad("segment-checksum", "A byte of a record is another one.", func(_ *life, files map[string][]byte) { files[third][140]++ })
	s.bad("segment-cut", "The end of a segment is not there.", func(_ *life, files map[string][]byte) { files[third] = files[third][:300] })
	s.bad("segment-empty", "A segment has no byte.", func(_ *life, files map[string][]byte) { files[third] = nil })
	s.bad("segment-open", "A segment has no seal.", func(_ *life, files map[string][]byte) {
		files[third] = files[third][:len(files[third])-129-12]
	})
	s.bad("segment-more", "Something comes after a segment's seal.", func(_ *life, files map[string][]byte) {
		files[third] = append(files[third], frame(line(6, "more"))...)
	})
	s.bad("segment-of-another-key", "Another key sealed a segment.", func(l *life, files map[string][]byte) {
		c := l.checkpoints()
		files[third] = segment(bob, c[1], c[2], []byte(manifest), l.past[2].records...)
	})
	s.bad("segment-of-another-interval", "A segment is that of the interval before.", func(_ *life, files map[string][]byte) {
		files[third] = files[fileSegment(1)]
	})
	s.bad("segment-short", "A sealed segment ends a tick before its checkpoint.", func(l *life, files map[string][]byte) {
		c := l.checkpoints()
		files[third] = segment(alice, c[1], c[2], []byte(manifest), l.past[2].records[:9]...)
	})
	s.bad("segment-unknown-record", "A sealed segment has a record that nobody knows.", func(l *life, files map[string][]byte) {
		c := l.checkpoints()
		files[third] = segment(alice, c[1], c[2], []byte(manifest), append(l.past[2].records, kind(77, 5))...)
	})
	s.bad("segment-born-again", "A life gets the budget of a birth in its middle.", func(l *life, files map[string][]byte) {
		c := l.checkpoints()
		files[third] = segment(alice, c[1], c[2], []byte(manifest), append([][]byte{birth(3, 0)}, l.past[2].records...)...)
	})
	s.bad("segment-origin", "A life becomes a fork in its middle.", func(l *life, files map[string][]byte) {
		c := l.checkpoints()
		files[third] = segment(alice, c[1], c[2], []byte(manifest), append([][]byte{comesFrom(3, bob, c[0])}, l.past[2].records...)...)
	})
	s.bad("budget-other", "The costs of the ticks do not come to the checkpoint's budget.", func(l *life, files map[string][]byte) {
		c := l.checkpoints()
		records := slices.Clone(l.past[2].records)
		records[4] = end(3, 1, 2)
		files[third] = segment(alice, c[1], c[2], []byte(manifest), records...)
	})
}

func (s *set) gaps() {
	s.missing("segment-missing", "A segment is not there.", []int{1}, func(files map[string][]byte) { delete(files, fileSegment(1)) })
	s.missing("events-missing", "There is no event log.", []int{0, 1, 2}, func(files map[string][]byte) {}, "--events", "nowhere", "--manifest", fileEvents+"agent.manifest.json")
	s.missing("payload-there", "A payload that is a file of its own.", nil, func(files map[string][]byte) {})
	s.missing("payload-missing", "A payload is not there.", []int{2}, func(files map[string][]byte) { delete(files, filePayload(draw(6))) })
	s.missing("payload-other", "A payload's file has other bytes than those of its name.", []int{2}, func(files map[string][]byte) {
		files[filePayload(draw(6))] = make([]byte, 4100)
	})
	s.missing("payload-short", "A payload's file is cut.", []int{2}, func(files map[string][]byte) {
		files[filePayload(draw(6))] = draw(6)[:4000]
	})
	s.missing("manifest-other", "The manifest is not that with which the agent lived, if only by a space.", []int{0, 1, 2}, func(files map[string][]byte) {
		files["other.manifest.json"] = []byte(manifest + " ")
	}, "--manifest", "other.manifest.json")
	other := append(slices.Clone(s.wasm), "\x00\x05\x04note"...) // a custom section
	h := sha256.Sum256(other)
	s.missing("program-other", "The program is not that of the checkpoints, if only by a section that does nothing.", []int{0, 1, 2}, func(files map[string][]byte) {
		files["other.wasm"] = other
	}, "--wasm", "other.wasm")
	s.all[len(s.all)-1].Report.WASM = hex.EncodeToString(h[:])
}

func (s *set) forks() {
	origin := newLife(s.wasm)
	from := origin.checkpoints()[1]
	l := newFork(s.wasm, from)
	fork := func(checked bool) *report {
		r := l.report()
		r.Origin = &ancestry{DID: alice.DID(), Tick: 4, Checkpoint: testkit.CID(from), Checked: checked}
		return r
	}
	s.add("fork", "A life that begins with that of another after tick 4.", l.files(), fork(false))
	with := func(files map[string][]byte, o map[string][]byte) map[string][]byte {
		for name, b := range o {
			files["origin"+name[len("life"):]] = b
		}
		return files
	}
	s.add("fork-checked", "The same, with its origin.", with(l.files(), origin.files()), fork(true), "--origin", "origin.car")
	r := fork(false).without(l, 0, "incomplete", problem{Code: "cannot-be-re-executed"})
	r.Problems[0].From = 4
	o := origin.files()
	delete(o, fileSegment(3))
	s.add("fork-origin-without-events", "The origin's ticks cannot be run.", with(l.files(), o), r, "--origin", "origin.car")
	r = fork(false).without(l, 0, "diverged", problem{Code: "origin-mismatch"})
	r.Problems[0].From = 4
	s.add("fork-of-another", "The origin that is given is the fork itself.", l.files(), r, "--origin", fileLife)

	wrong := newFork(s.wasm, from)
	wrong.past[0].f.State[8]++
	r = fork(false).without(l, 0, "diverged", problem{Code: "origin-mismatch"}.differs(8,
		hex.EncodeToString(wrong.past[0].f.State[4:20]), hex.EncodeToString(state(4, 3)[4:20])))
	r.Problems[0].From = 4
	s.add("fork-other-state", "The fork begins with another state than that of its origin.", with(wrong.files(), origin.files()), r, "--origin", "origin.car")
	s.add("fork-other-state-unchecked", "Without the origin, nobody can see that.", wrong.files(), fork(false))
	s.refused("fork-until-before", "A fork has no ticks before its beginning.", l.files(), 2, "the life begins as a fork after tick 4", "--until", "3")
	s.refused("origin-of-no-fork", "A life that is no fork has no origin.", origin.files(), 2, "no beginning of a fork", "--origin", fileLife)
}
