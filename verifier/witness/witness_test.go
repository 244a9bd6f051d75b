package witness

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"

	"igor.dev/verifier"
)

// A party is a log or a witness of a test.
type party struct {
	name string
	kind byte
	key  ed25519.PrivateKey
}

func newParty(name string, kind byte, seed byte) party {
	return party{name, kind, ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, 32))}
}

func (s party) material() []byte {
	return append([]byte{s.kind}, s.key.Public().(ed25519.PublicKey)...)
}

func (s party) id() []byte {
	sum := sha256.Sum256(append([]byte(s.name+"\n"), s.material()...))
	return sum[:4]
}

func (s party) vkey() string {
	return fmt.Sprintf("%s+%x+%s", s.name, s.id(), base64.StdEncoding.EncodeToString(s.material()))
}

func (s party) line(text string, time uint64) string {
	sig := s.id()
	if s.kind == typeCosigning {
		sig = binary.BigEndian.AppendUint64(sig, time)
		text = fmt.Sprintf("cosignature/v1\ntime %d\n%s", time, text)
	}
	sig = append(sig, ed25519.Sign(s.key, []byte(text))...)
	return "\u2014 " + s.name + " " + base64.StdEncoding.EncodeToString(sig) + "\n"
}

// merkle returns the root of some leaves, and the hashes that prove one of them (RFC 6962,
// section 2.1, by its definitions).
func merkle(leaves [][]byte, m int) (root [32]byte, proof [][32]byte) {
	if len(leaves) == 1 {
		return sha256.Sum256(append([]byte{0}, leaves[0]...)), nil
	}
	k := 1
	for 2*k < len(leaves) {
		k *= 2
	}
	left, inLeft := merkle(leaves[:k], min(m, k-1))
	right, inRight := merkle(leaves[k:], max(0, m-k))
	root = sha256.Sum256(slices.Concat([]byte{1}, left[:], right[:]))
	if m < k {
		return root, append(inLeft, right)
	}
	return root, append(inRight, left)
}

type world struct {
	log       party
	witnesses []party
	policy    *Policy
	leaves    [][]byte
}

func newWorld(t testing.TB, entries int, quorum string) *world {
	t.Helper()
	w := &world{log: newParty("log.example/heads", typeLog, 1)}
	text := "# whom we trust\nlog " + w.log.vkey() + " https://log.example/\n\n"
	for i := range 3 {
		s := newParty(fmt.Sprintf("w%d.example", i), typeCosigning, byte(10+i))
		w.witnesses = append(w.witnesses, s)
		text += fmt.Sprintf("\twitness W%d %s\n", i, s.vkey())
	}
	text += "group two 2 W0 W1 W2\nquorum " + quorum + "\n"
	var err error
	if w.policy, err = ParsePolicy([]byte(text)); err != nil {
		t.Fatal(err)
	}
	for i := range entries {
		w.leaves = append(w.leaves, fmt.Appendf(nil, "entry %d", i))
	}
	return w
}

func (w *world) proof(index int, cosigners ...int) []byte {
	root, hashes := merkle(w.leaves, index)
	text := fmt.Sprintf("%s\n%d\n%s\n", w.log.name, len(w.leaves), base64.StdEncoding.EncodeToString(root[:]))
	s := proofTag + fmt.Sprintf("index %d\n", index)
	for _, h := range hashes {
		s += base64.StdEncoding.EncodeToString(h[:]) + "\n"
	}
	s += "\n" + text + "\n" + w.log.line(text, 0)
	for _, c := range cosigners {
		s += w.witnesses[c].line(text, uint64(1_800_000_000+c))
	}
	return []byte(s)
}

// A checked is what a proof proves, and the root that it is of.
type checked struct {
	*verifier.Witnessed
	Root [32]byte
}

func (w *world) check(entry, b []byte) (got checked, err error) {
	p, err := ParseProof(b)
	if err != nil {
		return got, err
	}
	got.Root = p.root
	got.Witnessed, err = w.policy.Check(entry, p)
	return got, err
}

// TestEveryTree proves every entry of trees of every size up to some, and no entry as
// another one.
func TestEveryTree(t *testing.T) {
	for n := 1; n <= 40; n++ {
		w := newWorld(t, n, "two")
		for i := range n {
			b := w.proof(i, 0, 2)
			got, err := w.check(w.leaves[i], b)
			if err != nil || got.Index != uint64(i) || got.Size != uint64(n) || len(got.Cosigners) != 2 || got.Cosigners[1] != (verifier.Cosigner{Name: "W2", Key: "w2.example", Time: 1_800_000_002}) {
				t.Fatalf("entry %d of %d: %+v, %v", i, n, got, err)
			}
			for j := range n {
				if j != i {
					if _, err := w.check(w.leaves[j], b); err == nil {
						t.Fatalf("entry %d of %d is proved by the proof of %d", j, n, i)
					}
				}
			}
		}
	}
}

// TestEveryBit flips each bit of a proof, and cuts it everywhere. It is not accepted, or
// the policy is met without the line that changed.
func TestEveryBit(t *testing.T) {
	for _, cosigners := range [][]int{{0, 1}, {0, 1, 2}} {
		w := newWorld(t, 5, "two")
		entry, b := w.leaves[3], w.proof(3, cosigners...)
		want, err := w.check(entry, b)
		if err != nil {
			t.Fatal(err)
		}
		accepted := 0
		for i := range len(b) * 8 {
			bad := bytes.Clone(b)
			bad[i/8] ^= 1 << (i % 8)
			got, err := w.check(entry, bad)
			if err != nil {
				continue
			}
			accepted++
			// A witness's name or key id is another one, so that the line is nobody's.
			if len(got.Cosigners) != len(want.Cosigners)-1 || len(got.Cosigners) < 2 || got.Root != want.Root || got.Index != want.Index || got.Size != want.Size {
				t.Errorf("bit %d of %q: %+v", i, b[i/8], got)
			}
		}
		if (accepted > 0) != (len(cosigners) == 3) {
			t.Errorf("%d flips accepted, with %d cosigners", accepted, len(cosigners))
		}
		for n := range b {
			got, err := w.check(entry, b[:n])
			if err == nil && (len(cosigners) == 2 || len(got.Cosigners) != 2) {
				t.Errorf("%d of %d bytes are enough: %+v", n, len(b), got)
			}
		}
	}
}

func TestHostile(t *testing.T) {
	w := newWorld(t, 8, "two")
	good := string(w.proof(3, 0, 1))
	root, _ := merkle(w.leaves, 0)
	text := fmt.Sprintf("%s\n%d\n%s\n", w.log.name, len(w.leaves), base64.StdEncoding.EncodeToString(root[:]))
	other := newWorld(t, 8, "two")
	other.log = newParty(w.log.name, typeLog, 99)
	mldsa := "\u2014 w9.example " + base64.StdEncoding.EncodeToString(make([]byte, 4+8+2420)) + "\n"
	for name, c := range map[string]struct {
		proof string
		want  string // "" = accepted
	}{
		"as it should be":                 {good, ""},
		"extra data":                      {strings.Replace(good, "index", "extra aGk=\nindex", 1), ""},
		"a signature of an unknown kind":  {good + mldsa, ""},
		"an unknown witness":              {good + newParty("w9.example", typeCosigning, 77).line(text, 5), ""},
		"one witness":                     {string(w.proof(3, 1)), "too few"},
		"no witness":                      {string(w.proof(3)), "too few"},
		"one witness twice":               {string(w.proof(3, 1, 1)), "two signatures"},
		"one witness under two names":     {string(w.proof(3, 1)) + func() string { s := w.witnesses[1]; s.name = "w0.example"; return s.line(text, 5) }(), "too few"},
		"a log with another key":          {string(other.proof(3, 0, 1)), "no log of the policy"},
		"a witness that signs as the log": {strings.Replace(good, w.log.line(text, 0), "", 1), "no log of the policy"},
		"a bad signature of a witness":    {good + w.witnesses[2].line("another text\n", 5), "that is none"},
		"extra that is none":              {strings.Replace(good, "index", "extra !\nindex", 1), "extra"},
		"no index":                        {strings.Replace(good, "index 3\n", "", 1), "index"},
		"an index with a zero before it":  {strings.Replace(good, "index 3", "index 03", 1), "number"},
		"an index past the end":           {strings.Replace(good, "index 3", "index 8", 1), "not in the log"},
		"an index of 2^63":                {strings.Replace(good, "index 3", "index 9223372036854775808", 1), "number"},
		"a line too many":                 {strings.Replace(good, "index 3\n", "index 3\n"+base64.StdEncoding.EncodeToString(root[:])+"\n", 1), "not in the log"},
		"thousands of hashes":             {strings.Replace(good, "index 3\n", "index 3\n"+strings.Repeat(base64.StdEncoding.EncodeToString(root[:])+"\n", 1000), 1), "too many"},
		"thousands of signatures":         {good + strings.Repeat(mldsa, 70), "more than"},
		"longer than a proof is":          {good + strings.Repeat("x", MaxProof), "longer"},
		"CR LF":                           {strings.ReplaceAll(good, "\n", "\r\n"), "not a proof"},
		"nothing":                         {"", "not a proof"},
		"version 2":                       {strings.Replace(good, "@v1", "@v2", 1), "not a proof"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := w.check(w.leaves[3], []byte(c.proof))
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestPolicy(t *testing.T) {
	log, a, b := newParty("log.example", typeLog, 1), newParty("a.example", typeCosigning, 2), newParty("b.example", typeCosigning, 3)
	lines := func(s ...string) string { return strings.Join(s, "\n") }
	l, wa, wb := "log "+log.vkey(), "witness A "+a.vkey(), "witness B "+b.vkey()
	for text, want := range map[string]string{
		lines(l, wa, "quorum A"):                            "",
		lines(l, wa, wb, "group g any A B", "quorum g", ""): "",
		lines(l, "quorum none"):                             "",
		lines("  # hello", "\t", l, wa, wb, "group g 2 A B", "group h all g", "quorum h"): "",
		lines(l, wa):               "no quorum",
		lines(wa, "quorum A"):      "no log",
		lines(l, l, "quorum none"): "another line has",
		lines(l, wa, strings.Replace(wa, " A ", " C ", 1), "quorum A"):                                              "another line has",
		lines(l, wa, "witness A "+b.vkey(), "quorum A"):                                                             "taken",
		lines(l, "quorum A", wa):                                                                                    "no witness or group",
		lines(l, wa, "group g any A A", "quorum g"):                                                                 "in a group already",
		lines(l, wa, wb, "group g any A", "group h any A B", "quorum h"):                                            "in a group already",
		lines(l, wa, "group g 2 A", "quorum g"):                                                                     "from 1 to 1",
		lines(l, wa, "group g 0 A", "quorum g"):                                                                     "from 1 to 1",
		lines(l, wa, "group g any none", "quorum g"):                                                                "no witness or group",
		lines(l, wa, "group g any", "quorum g"):                                                                     "not log KEY",
		lines(l, wa, "quorum A", "quorum A"):                                                                        "second quorum",
		lines("log "+a.vkey(), wa, "quorum A"):                                                                      "type 4",
		lines(l, "witness A "+log.vkey(), "quorum A"):                                                               "type 1",
		lines(l, "witness none "+a.vkey(), "quorum none"):                                                           "taken",
		lines("log log.example+00000000+"+strings.Split(log.vkey(), "+")[2], "quorum none"):                         "four bytes",
		lines(l, "witness A "+party{"log.example", typeCosigning, log.key}.vkey(), "quorum A"):                      "another line has", // the log is its own witness
		lines(l, wa, "witness B "+party{"other.example", typeCosigning, a.key}.vkey(), "group g 2 A B", "quorum g"): "another line has", // one witness under two names
		lines(l, wa, wb, "group g 3 A B", "quorum g"):                                                               "from 1 to 2",
		lines(l, wa, "group g -1 A", "quorum g"):                                                                    "from 1 to 1",
		lines(l, "quorum 0"):                                                                                        "no witness or group",
		lines(l, "witness \u0410 "+a.vkey(), "quorum A"):                                                            "no witness or group", // Cyrillic
		lines(l+"\x01", "quorum none"):                                                                              "control",
		lines(l, "threshold 1"):                                                                                     "not log KEY",
		"":                                                                                                          "no quorum",
	} {
		_, err := ParsePolicy([]byte(text))
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s\ngot %v, want %q", text, err, want)
		}
	}
}

// TestTimes: clocks of witnesses are theirs. One that lies about the past does not make a head
// older than what enough others saw, and one that lies about the future makes none older at all.
func TestTimes(t *testing.T) {
	w := newWorld(t, 8, "two")
	root, _ := merkle(w.leaves, 0)
	text := fmt.Sprintf("%s\n%d\n%s\n", w.log.name, len(w.leaves), base64.StdEncoding.EncodeToString(root[:]))
	const far = 1<<63 - 1
	for name, c := range map[string]struct {
		times []uint64 // of the witnesses that cosigned
		want  uint64
	}{
		"one in the past":        {[]uint64{1, 1_800_000_000}, 1_800_000_000},
		"one in the past of 3":   {[]uint64{1, 1_800_000_000, 1_800_000_009}, 1_800_000_000},
		"one in the future":      {[]uint64{1_800_000_000, far}, far},
		"two in the future of 3": {[]uint64{1_800_000_000, far, far - 1}, far - 1},
		"no time":                {[]uint64{0, 1_800_000_000}, 1_800_000_000},
	} {
		proof := string(w.proof(3))
		for i, at := range c.times {
			proof += w.witnesses[i].line(text, at)
		}
		got, err := w.check(w.leaves[3], []byte(proof))
		if err != nil || got.Before != c.want {
			t.Errorf("%s: %+v, %v; want %d", name, got.Witnessed, err, c.want)
		}
	}
	if got, err := w.check(w.leaves[3], []byte(string(w.proof(3, 0))+w.witnesses[1].line(text, far+1))); err == nil {
		t.Errorf("a time that is none: %+v", got.Witnessed)
	}
}

func TestHead(t *testing.T) {
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{5}, 32))
	h := &Head{Agent: verifier.PublicKey(key.Public().(ed25519.PublicKey)), Epoch: 1, Tick: 9, Checkpoint: verifier.Hash{7}}
	copy(h.Signature[:], ed25519.Sign(key, h.AppendMessage(nil)))
	b := h.Append(nil)
	if got, err := ParseHead(b); err != nil || *got != *h || !got.Authentic() || HeadMessageSize != 93 || len(b) != HeadSize {
		t.Fatalf("got %+v, %v", got, err)
	}
	for i := range len(b) * 8 {
		bad := bytes.Clone(b)
		bad[i/8] ^= 1 << (i % 8)
		if got, err := ParseHead(bad); err == nil && got.Authentic() {
			t.Errorf("bit %d does not count", i)
		}
	}
	for n := range b {
		if _, err := ParseHead(b[:n]); err == nil {
			t.Errorf("%d bytes are enough", n)
		}
	}
}

func FuzzProof(f *testing.F) {
	w := newWorld(f, 9, "two")
	f.Add([]byte("log "+w.log.vkey()+"\nquorum none\n"), w.proof(4, 0, 1))
	f.Fuzz(func(t *testing.T, policy, proof []byte) {
		ParseHead(proof)
		p, err := ParseProof(proof)
		if err != nil {
			return
		}
		if got, err := w.policy.Check([]byte("never logged"), p); err == nil {
			t.Fatalf("accepted: %+v", got)
		}
		if other, err := ParsePolicy(policy); err == nil {
			other.Check([]byte("never logged"), p)
		}
	})
}

// FuzzPolicy: no policy accepts what no log of it signed, whatever else it says.
func FuzzPolicy(f *testing.F) {
	for _, v := range loadVectors(f) {
		f.Add([]byte(v.Policy))
	}
	w := newWorld(f, 3, "two")
	proof, err := ParseProof(w.proof(1, 0, 1))
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte("log " + w.log.vkey() + "\nquorum none\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		ParseMonitorKey(string(b))
		p, err := ParsePolicy(b)
		if err != nil {
			if p != nil {
				t.Fatal("a policy beside an error")
			}
			return
		}
		if len(p.Logs()) == 0 || len(p.Logs()) != len(p.URLs()) {
			t.Fatalf("%d logs, %d addresses", len(p.Logs()), len(p.URLs()))
		}
		if got, err := p.Check(w.leaves[0], proof); err == nil {
			t.Fatalf("an entry that is not there is accepted: %+v", got)
		}
	})
}
