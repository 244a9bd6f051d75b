package signature

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
)

// A vector is a case of testdata/ed25519, with the decision that it wants.
type vector struct {
	id    string
	check Check
	want  Decision
}

func vectors(tb testing.TB) []vector {
	raw, err := os.ReadFile("../../../testdata/ed25519/edge_cases.json")
	if err != nil {
		tb.Fatal(err)
	}
	var file struct {
		Vectors []struct{ ID, Key, Sig, Msg, Decision string }
	}
	if err := json.Unmarshal(raw, &file); err != nil {
		tb.Fatal(err)
	}
	unhex := func(s string) []byte {
		b, err := hex.DecodeString(s)
		if err != nil {
			tb.Fatal(err)
		}
		return b
	}
	decisions := map[string]Decision{"accepted": Accepted, "weak-key": WeakKey, "bad-signature": Bad}
	var out []vector
	count := map[Decision]int{}
	for _, v := range file.Vectors {
		want, ok := decisions[v.Decision]
		if !ok {
			tb.Fatalf("%s: unknown decision %q", v.ID, v.Decision)
		}
		message := unhex(v.Msg)
		half := len(message) / 2
		count[want]++
		out = append(out, vector{v.ID, Check{(*[32]byte)(unhex(v.Key)), (*[64]byte)(unhex(v.Sig)), message[:half], message[half:]}, want})
	}
	if len(out) != 926 || count[Accepted] != 88 || count[WeakKey] != 530 {
		tb.Fatalf("the file has %d vectors, of these %v", len(out), count)
	}
	return out
}

// TestEdgeCases decides on every vector by package rfc8032 alone; as in a run of its
// key, by package onekey first; and by onekey without a second opinion.
func TestEdgeCases(t *testing.T) {
	asked := 0
	for _, v := range vectors(t) {
		inRun := Checker{key: *v.check.Key, run: prepareAfter - 1}
		noSecond := Checker{key: *v.check.Key, run: prepareAfter - 1, asked: secondOpinions}
		for name, c := range map[string]*Checker{"alone": {}, "in a run": &inRun, "without a second opinion": &noSecond} {
			decisions := make([]Decision, 1)
			if c.Check(decisions, []Check{v.check}); decisions[0] != v.want {
				t.Errorf("%s, %s: %v, want %v", v.id, name, decisions[0], v.want)
			}
		}
		if inRun.onekey != nil && noSecond.onekey != nil {
			asked++
		}
		if inRun.distrust {
			t.Errorf("%s: onekey refuses it, and rfc8032 does not", v.id)
		}
	}
	if asked != 926-530 {
		t.Errorf("package onekey was asked of %d vectors", asked)
	}
}

// TestTogether decides on the vectors in batches of all lengths, in the order of their keys
// and in none: each decision has to be that of the vector alone.
func TestTogether(t *testing.T) {
	all := vectors(t)
	rng := rand.New(rand.NewChaCha8([32]byte{}))
	byKey := func(a, b vector) int { return bytes.Compare(a.check.Key[:], b.check.Key[:]) }
	for round := range 6 {
		rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		if round%3 > 0 {
			slices.SortStableFunc(all, byKey)
		}
		var c Checker
		for rest := all; len(rest) > 0; {
			some := rest[:min(1+rng.IntN(100), len(rest))]
			rest = rest[len(some):]
			checks, decisions := make([]Check, len(some)), make([]Decision, len(some))
			for i := range some {
				checks[i] = some[i].check
				if round%3 == 1 {
					c.asked = secondOpinions // onekey's word is all there is
				}
			}
			c.Check(decisions, checks)
			for i, v := range some {
				if decisions[i] != v.want {
					t.Fatalf("round %d, %s: %v, want %v", round, v.id, decisions[i], v.want)
				}
			}
		}
	}
}

// FuzzCheck takes a checker through a run of one key, in which each byte of the
// program says what the next signature is like, and holds each decision against
// that of a new checker.
func FuzzCheck(f *testing.F) {
	f.Add([]byte("seed"), bytes.Repeat([]byte{0}, 40))
	f.Add([]byte("seed"), bytes.Repeat([]byte{0, 1, 0, 0, 2, 3, 4}, 20))
	f.Fuzz(func(t *testing.T, seed, program []byte) {
		if len(program) > 100 {
			return
		}
		private := ed25519.NewKeyFromSeed(slices.Concat(seed, make([]byte, 32))[:32])
		other := ed25519.NewKeyFromSeed(make([]byte, 32))
		checks := make([]Check, len(program))
		for i, op := range program {
			message := append(slices.Clone(seed), op, byte(i))
			key, signer := private, private
			switch op & 7 {
			case 1: // another key
				key, signer = other, other
			case 2: // another's signature
				signer = other
			}
			signature := ed25519.Sign(signer, message)
			switch op & 7 {
			case 3: // a flipped bit
				signature[2*(op>>3)+byte(i&1)] ^= 1 << (i >> 1 & 7)
			case 4: // S that is out of range
				signature[63] |= 0xe0
			case 5:
				message = append(message, op)
			}
			at := min(int(op>>3), len(message))
			checks[i] = Check{(*[32]byte)(key[32:]), (*[64]byte)(signature), message[:at], message[at:]}
			if op == 6 {
				checks[i].Key = &[32]byte{1}
			}
		}
		decisions := make([]Decision, len(checks))
		for _, asked := range []int{0, secondOpinions} {
			c := Checker{asked: asked}
			c.Check(decisions[:len(checks)/3], checks[:len(checks)/3])
			c.Check(decisions[len(checks)/3:], checks[len(checks)/3:])
			if c.distrust {
				t.Error("onekey refuses what rfc8032 accepts")
			}
			each(t, checks, decisions)
		}
	})
}

// each holds decisions against those of new checkers.
func each(t *testing.T, checks []Check, decisions []Decision) {
	t.Helper()
	for i := range checks {
		var alone Checker
		want := make([]Decision, 1)
		alone.Check(want, checks[i:i+1])
		if decisions[i] != want[0] {
			t.Errorf("signature %d: %v, alone %v", i, decisions[i], want[0])
		}
	}
}

// A run is signatures by one key, of which bad says which are not good.
func run(n int, bad func(i int) bool) []Check {
	private := ed25519.NewKeyFromSeed(make([]byte, 32))
	checks := make([]Check, n)
	for i := range checks {
		message := []byte{byte(i), byte(i >> 8), byte(i >> 16)}
		signature := ed25519.Sign(private, message)
		if bad(i) {
			signature[i%32] ^= 1 << (i % 8)
		}
		checks[i] = Check{(*[32]byte)(private[32:]), (*[64]byte)(signature), message, nil}
	}
	return checks
}

func refuseAll(valid []bool) { clear(valid) }

// TestWrongOnekey has package onekey refuse what is good, and counts whom that accuses:
// nobody where all is good, and nobody of whom rfc8032 is asked.
func TestWrongOnekey(t *testing.T) {
	const n = 500
	never := func(int) bool { return false }
	rng := rand.New(rand.NewPCG(1, 2))
	for name, lie := range map[string]func(valid []bool){
		"all": refuseAll,
		"one": func(valid []bool) { valid[len(valid)/2] = false },
		"some": func(valid []bool) {
			if rng.IntN(9) == 0 {
				valid[rng.IntN(len(valid))] = false
			}
		},
	} {
		for _, batch := range []int{1, 7, 64, n} {
			checks, decisions := run(n, never), make([]Decision, n)
			c := Checker{Lie: lie}
			for at := 0; at < n; at += batch {
				end := min(at+batch, n)
				c.Check(decisions[at:end], checks[at:end])
			}
			for i, d := range decisions {
				if d != Accepted {
					t.Fatalf("%s, by %d: good signature %d is %v", name, batch, i, d)
				}
			}
			if !c.distrust || c.onekey != nil {
				t.Errorf("%s, by %d: it is still trusted", name, batch)
			}
		}
	}

	// After many bad ones, good ones that are decided on together are still not accused
	// where one of them has a second opinion.
	const bad = 100
	checks, decisions := run(n, func(i int) bool { return i < bad }), make([]Decision, n)
	c := Checker{Lie: refuseAll}
	c.Check(decisions, checks)
	for i, d := range decisions {
		if (d == Bad) != (i < bad) {
			t.Fatalf("signature %d is %v", i, d)
		}
	}
}

// TestSecondOpinions holds how many second opinions there are: for as many bad signatures as
// make a history bad whatever the others are, and then for one in many.
func TestSecondOpinions(t *testing.T) {
	const bad = prepareAfter - 1 + secondOpinions
	checks := run(bad+2*laterOpinions, func(i int) bool { return i < bad })
	c := Checker{Lie: refuseAll}
	decision := make([]Decision, 1)
	for i := range checks { // one at a time, so that nothing is taken back
		c.Check(decision, checks[i:i+1])
		want := Accepted
		if i < bad+laterOpinions-1 {
			want = Bad
		}
		if decision[0] != want {
			t.Errorf("signature %d is %v", i, decision[0])
		}
	}
}
