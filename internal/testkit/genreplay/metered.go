package main

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"

	"igor.dev/internal/testkit"
)

// Lives in version 2 of the event log. What agent.wat uses by version 1 of
// docs/spec/metering.md:
const (
	fuelInit       = 1014
	fuelResume     = 1049 // malloc too
	fuelTick       = 3110
	fuelCheckpoint = 2
)

// An owing is what a life has at a place of it.
type owing struct {
	budget int64
	rest   uint64
}

// take charges for fuel.
func (o *owing) take(fuel uint64) (rest, cost uint64) {
	owed := o.rest + fuel*price
	o.rest = owed % 1_000_000_000
	o.budget -= int64(owed / 1_000_000_000)
	return o.rest, owed / 1_000_000_000
}

func uvarints(b []byte, values ...uint64) []byte {
	for _, v := range values {
		b = binary.AppendUvarint(b, v)
	}
	return b
}

// An event is a record of version 2; fuel is what a tick's end has, 0 for others.
type event struct {
	payload []byte
	end     bool
	fuel    uint64
	result  int64
	failed  bool
	more    int // on top of the right cost, rest and fuel, to be wrong
	moreRest,
	moreFuel int
}

// seed2 is the randomness of a tick, and drawn2 what it gives first.
func seed2(tick uint64) []byte {
	s := make([]byte, 32)
	for i := range s {
		s[i] = byte(0xa0 + tick)
	}
	return s
}

func drawn2(tick uint64) []byte {
	block := append([]byte("igor/rand/v2\x00"), seed2(tick)...)
	sum := sha256.Sum256(append(block, make([]byte, 8)...))
	return sum[:4]
}

func data2(b []byte) []byte { return append(binary.AppendUvarint(nil, uint64(len(b))), b...) }

func state2(tick, first uint64) []byte {
	b := state(tick, first)
	if tick > 0 {
		copy(b[24:], drawn2(tick))
	}
	return b
}

func clock2(now int64) event { return event{payload: binary.AppendVarint([]byte{clockNow}, now)} }

func line2(s string) event { return event{payload: append([]byte{logEmit, 0}, data2([]byte(s))...)} }

func random2(tick uint64) event {
	p := append([]byte{randBytes, 0}, data2(le.AppendUint32(nil, 4))...)
	return event{payload: append(p, data2(seed2(tick))...)}
}

func lived2(first, last uint64) []event {
	all := []event{clock2(at(first) - second/2)}
	for tick := first; tick <= last; tick++ {
		fuel := uint64(fuelTick)
		if tick == first {
			fuel += fuelResume
		}
		all = append(all, clock2(at(tick)), random2(tick), line2("tick"), event{end: true, fuel: fuel, result: int64(tick & 1)})
	}
	return all
}

// A metered stretch is one of version 2.
type stretch2 struct {
	first     uint64
	events    []event
	schedule  uint32
	rest      int // more than is owed, to be wrong
	moreSeal  int // fuel
	tick      uint64
	stateWant []byte
	version1  [][]byte // its records in version 1 instead
}

type life2 struct {
	wasm []byte
	past []stretch2
}

func newLife2(wasm []byte) *life2 {
	birth := append([]byte{account, 1}, uvarints(nil, budget, price)...)
	return &life2{wasm, []stretch2{
		{0, []event{{payload: birth}, line2("born"), {end: true, fuel: fuelInit}}, 1, 0, 0, 0, state(0, 0), nil},
		{1, lived2(1, 2), 1, 0, 0, 2, state2(2, 1), nil},
		{3, lived2(3, 5), 1, 0, 0, 5, state2(5, 3), nil},
	}}
}

// files are the life as igor history export --events writes it, and the fuel of each
// of its stretches.
func (l *life2) files() (files map[string][]byte, fuel []uint64) {
	files = map[string][]byte{fileEvents + "agent.manifest.json": []byte(manifest)}
	has := owing{budget: budget}
	var checkpoints [][]byte
	for _, s := range l.past {
		var prev []byte
		if len(checkpoints) > 0 {
			prev = checkpoints[len(checkpoints)-1]
		}
		if s.version1 != nil {
			cost := int64(0)
			for tick := s.first; tick <= s.tick && tick > 0; tick++ {
				cost++
			}
			has.budget -= cost
			f := testkit.Fields{Budget: has.budget, Price: price, Tick: s.tick, WASMHash: sha256.Sum256(l.wasm), State: s.stateWant}
			if prev != nil {
				f.PrevHash = testkit.Hash(prev)
			}
			c := alice.Checkpoint(f)
			files[fileSegment(s.first)] = segment(alice, prev, c, []byte(manifest), s.version1...)
			checkpoints, fuel, has.rest = append(checkpoints, c), append(fuel, 0), 0
			continue
		}
		used := uint64(0)
		begins := uint64(int64(has.rest) + int64(s.rest))
		has.rest = begins
		var records []byte
		for _, e := range s.events {
			p := e.payload
			if e.end {
				spent := uint64(int64(e.fuel) + int64(e.moreFuel))
				rest, cost := has.take(spent)
				used += spent
				rest, cost = uint64(int64(rest)+int64(e.moreRest)), uint64(int64(cost)+int64(e.more))
				has.budget -= int64(e.more)
				p = binary.AppendVarint([]byte{tickEnd}, e.result)
				if e.failed {
					p = []byte{132, 1, 5} // a trap in agent_tick
				}
				p = uvarints(p, spent, 0, rest, cost)
			}
			records = append(records, frame(p)...)
		}
		made := uint64(fuelCheckpoint + s.moreSeal)
		rest, cost := has.take(made)
		used += made
		f := testkit.Fields{Budget: has.budget, Price: price, Tick: s.tick, WASMHash: sha256.Sum256(l.wasm), State: s.stateWant}
		if prev != nil {
			f.PrevHash = testkit.Hash(prev)
		}
		c := alice.Checkpoint(f)
		files[fileSegment(s.first)] = segment2(alice, prev, c, s, begins, records, made, rest, cost)
		checkpoints, fuel = append(checkpoints, c), append(fuel, used)
	}
	files[fileLife] = testkit.CAR(checkpoints[len(checkpoints)-1], checkpoints...)
	return files, fuel
}

func segment2(signer *testkit.Agent, prev, next []byte, s stretch2, begins uint64, records []byte, made, rest, cost uint64) []byte {
	var before [32]byte
	if prev != nil {
		before = testkit.Hash(prev)
	}
	man := sha256.Sum256([]byte(manifest))
	header := append([]byte{0}, "igor/events/v2\x00"...)
	header = append(header, before[:]...)
	header = append(header, next[testkit.OffWASMHash:testkit.OffMajorVersion]...)
	header = append(header, man[:]...)
	header = le.AppendUint64(header, s.first)
	header = le.AppendUint32(header, s.schedule)
	header = le.AppendUint64(header, begins)
	header = append(header, make([]byte, 16)...) // epoch
	b := append(frame(header), records...)
	root, after := sha256.Sum256(b), testkit.Hash(next)
	took := le.AppendUint64(le.AppendUint64(le.AppendUint64(nil, made), rest), cost)
	message := slices.Concat([]byte("igor/event-segment/v2\x00"), before[:], after[:], root[:], took)
	footer := slices.Concat([]byte{255}, root[:], after[:], took, ed25519.Sign(signer.Private, message))
	return append(b, frame(footer)...)
}

// report is what a replay of the whole life says, but for the problems; without leaves
// out a stretch that is not replayed.
func (l *life2) report(wasm []byte, fuel []uint64, without ...int) *report {
	r := newLife(wasm).report()
	r.Observations, r.Metered, r.Fuel, r.Ticks, r.Replayed = 0, 0, 0, 0, 0
	for i, s := range l.past {
		if slices.Contains(without, i) {
			continue
		}
		r.Replayed++
		if i > 0 {
			r.Ticks += s.tick - s.first + 1
		}
		if s.version1 != nil {
			r.Observations += observations(s.version1)
			continue
		}
		r.Metered++
		r.Fuel += fuel[i]
		for _, e := range s.events {
			if e.end || e.payload[0] != account {
				r.Observations++
			}
		}
	}
	return r
}

func (s *set) metered() {
	add := func(name, description string, change func(l *life2), verdict string, p *problem) {
		l := newLife2(s.wasm)
		change(l)
		files, fuel := l.files()
		if p == nil {
			s.add(name, description, files, l.report(s.wasm, fuel))
			return
		}
		r := l.report(s.wasm, fuel, 2)
		p.From, p.To, r.Verdict = 3, 5, verdict
		r.Problems = append(r.Problems, *p)
		s.add(name, description, files, r)
	}
	end := func(l *life2, tick uint64) *event { return &l.past[2].events[4*(tick-2)] }
	in := func(tick uint64, recorded, got string) *problem {
		return &problem{Code: "divergence", Tick: &tick, Recorded: recorded, Got: got}
	}
	call := func(p *problem, hostcall int) *problem { p.Hostcall = &hostcall; return p }
	after := func(what string, n int) string { return fmt.Sprintf("%s after %d units of fuel", what, n) }

	add("metered-equal", "A metered life comes to its states, its fuel and its costs again.", func(*life2) {}, "", nil)
	add("metered-after-version-1", "A life goes on in version 2 of the event log.", func(l *life2) {
		old := newLife(s.wasm)
		for i := range 2 {
			l.past[i].version1, l.past[i].stateWant = old.past[i].records, old.past[i].f.State
		}
	}, "", nil)
	owed := func(rest int, cost string) string { return fmt.Sprintf("a cost of %s and a rest of %d", cost, rest) }
	// What a life owes by the end of tick 4: it was resumed twice, and made two checkpoints.
	const right = (fuelInit + 2*fuelCheckpoint + 2*fuelResume + 4*fuelTick) * price
	add("metered-cost-other", "The cost of a tick is higher by one, and the budget lower by that.",
		func(l *life2) { end(l, 4).more = 1 }, "diverged", in(4, owed(right, "0.000001"), owed(right, "0.000000")))
	add("metered-rest-other", "What is owed after a tick is less by one.",
		func(l *life2) { end(l, 4).moreRest = -1 }, "diverged", in(4, owed(right-1, "0.000000"), owed(right, "0.000000")))
	add("metered-fuel-other", "A tick used a unit more by the log, which it costs.",
		func(l *life2) { end(l, 4).moreFuel = 1 }, "diverged", call(in(4, after("tick end", fuelTick+1), after("tick end", fuelTick)), 3))
	add("metered-checkpoint-fuel-other", "To make a checkpoint took a unit more by the log.",
		func(l *life2) { l.past[2].moreSeal = 1 }, "diverged", call(in(5, after("a checkpoint", 3), after("one", 2)), 0))
	add("metered-rest-between", "A segment begins with another rest than the one before it leaves.",
		func(l *life2) { l.past[2].rest = 1 }, "diverged", &problem{Code: "bad-segment"})
	add("metered-schedule-unknown", "A segment is metered by a schedule that nobody knows.",
		func(l *life2) { l.past[2].schedule = 1 << 20 }, "incomplete", &problem{Code: "cannot-be-re-executed"})
	add("metered-tick-failed", "The last tick failed by the log, and the agent's does not.",
		func(l *life2) {
			e := end(l, 5)
			e.failed, e.result = true, 0
			l.past[2].stateWant = state2(4, 3)
		}, "diverged", call(in(5, "tick failed (trap in agent_tick)", "tick end"), 3))
}
