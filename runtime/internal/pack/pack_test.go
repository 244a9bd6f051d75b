package pack

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"slices"
	"testing"

	"igor.dev/internal/testkit"
	"igor.dev/verifier"
)

// files are segments and payloads of sizes from 0 to 3 MiB, some compressible.
func files(seed uint64) (segments map[uint64][]byte, ticks []uint64, payloads map[verifier.Hash][]byte) {
	rng := rand.New(rand.NewPCG(seed, 1))
	content := func() []byte {
		size := []int{0, 1, 300, 5000, 70_000, 1 << 20, 1<<20 + 1, 3 << 20}[min(rng.IntN(20), 7)]
		if size > 5000 && rng.IntN(3) > 0 {
			size = 300
		}
		b := bytes.Repeat([]byte("observed "), size/9+1)[:size]
		for i := range b[:size/2] {
			b[i] = byte(rng.Uint32())
		}
		return b
	}
	segments, payloads = map[uint64][]byte{}, map[verifier.Hash][]byte{}
	for tick := uint64(0); len(ticks) < 60; tick += 1 + rng.Uint64N(9) {
		ticks, segments[tick] = append(ticks, tick), content()
		for range rng.IntN(2) {
			b := content()
			payloads[sha256.Sum256(b)] = b
		}
	}
	return segments, ticks, payloads
}

func write(t testing.TB, segments map[uint64][]byte, ticks []uint64, payloads map[verifier.Hash][]byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := NewWriter(&out)
	for _, tick := range ticks {
		if err := w.Segment(tick, int64(len(segments[tick])), bytes.NewReader(segments[tick])); err != nil {
			t.Fatal(err)
		}
	}
	for hash, b := range payloads {
		if err := w.Payload(hash, int64(len(b)), bytes.NewReader(b)); err != nil || !w.HasPayload(hash) {
			t.Fatal(err)
		}
	}
	size, sum, err := w.Close()
	if err != nil || size != int64(out.Len()) || sum != sha256.Sum256(out.Bytes()) {
		t.Fatalf("%d bytes, %v: %v", size, sum, err)
	}
	return out.Bytes()
}

func TestPack(t *testing.T) {
	for seed := range uint64(2) {
		segments, ticks, payloads := files(seed)
		b := write(t, segments, ticks, payloads)
		r, err := Open(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Check(); err != nil {
			t.Error(err)
		}
		if !slices.Equal(r.Ticks(), ticks) || len(r.Payloads()) != len(payloads) {
			t.Errorf("%d segments and %d payloads", len(r.Ticks()), len(r.Payloads()))
		}
		is := func(f io.ReaderAt, size int64, err error, want []byte) {
			t.Helper()
			got, readErr := []byte(nil), error(nil)
			if err == nil {
				got, readErr = io.ReadAll(io.NewSectionReader(f, 0, size))
			}
			if err := errors.Join(err, readErr); err != nil || !bytes.Equal(got, want) {
				t.Fatalf("%d bytes of %d: %v", len(got), len(want), err)
			}
		}
		for _, tick := range slices.Backward(ticks) {
			f, size, err := r.Segment(tick)
			is(f, size, err, segments[tick])
		}
		for hash, want := range payloads {
			f, size, err := r.Payload(hash)
			is(f, size, err, want)
		}
		if _, _, err := r.Segment(1 << 40); !errors.Is(err, fs.ErrNotExist) {
			t.Error(err)
		}
		if _, _, err := r.Payload(verifier.Hash{1}); !errors.Is(err, fs.ErrNotExist) {
			t.Error(err)
		}
		for range 60 { // a flipped bit is found: by a checksum, or by what is read
			at := rand.IntN(len(b) * 8)
			b[at/8] ^= 1 << (at % 8)
			if r, err := Open(bytes.NewReader(b), int64(len(b))); err == nil && at/8 >= len(magic) {
				if err := r.Check(); err == nil {
					t.Fatalf("bit %d is flipped, and nothing is wrong", at)
				}
			}
			b[at/8] ^= 1 << (at % 8)
		}
		for range 50 {
			cut := rand.IntN(len(b))
			if _, err := Open(bytes.NewReader(b[:cut]), int64(cut)); err == nil {
				t.Fatalf("%d of %d bytes are a pack", cut, len(b))
			}
		}
	}
}

func FuzzPack(f *testing.F) {
	f.Add(write(f, nil, nil, nil))
	small := map[uint64][]byte{0: []byte("a segment"), 7: bytes.Repeat([]byte("x"), 3000)}
	f.Add(write(f, small, []uint64{0, 7}, map[verifier.Hash][]byte{{1}: []byte("payload")}))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := Open(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return
		}
		r.Check()
		read := func(f io.ReaderAt, size int64, err error) {
			if err == nil && size < 8<<20 {
				io.ReadAll(io.NewSectionReader(f, 0, size))
			}
		}
		for _, tick := range r.Ticks() {
			read(r.Segment(tick))
		}
		for _, hash := range r.Payloads() {
			read(r.Payload(hash))
		}
	})
}

func mark(agent *testkit.Agent) *Mark {
	m := &Mark{Agent: verifier.PublicKey(agent.Key), Genesis: verifier.Hash{1}, Head: verifier.Hash{9}, Tick: 90, Checkpoints: 30}
	m.Index.Files = []Files{
		{First: 3, Last: 40, Checkpoints: 20, Head: verifier.Hash{4}, CAR: 1000, CARHash: verifier.Hash{5}, Pack: 50, PackHash: verifier.Hash{6}, Lines: 7, Receipts: 900, Executions: 3, Pruned: true, PackPruned: true},
		{First: 44, Last: 90, Checkpoints: 10, Head: verifier.Hash{9}, CAR: 500, CARHash: verifier.Hash{7}, Receipts: 1900, Executions: 6},
	}
	m.Index.Payments = []uint64{100, 1000, 1899}
	return m
}

func TestMark(t *testing.T) {
	agent := testkit.NewAgent("mark")
	want := mark(agent)
	b, err := want.Sign(agent.Private)
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParseMark(b, want.Agent)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := got.Sign(agent.Private); err != nil || !bytes.Equal(again, b) {
		t.Errorf("read and signed again it is another: %v", err)
	}
	for i := range b {
		b[i] ^= 1
		if _, err := ParseMark(b, want.Agent); err == nil {
			t.Fatalf("byte %d is changed, and it is a mark", i)
		}
		b[i] ^= 1
	}
	for n := range b {
		if _, err := ParseMark(b[:n], want.Agent); err == nil {
			t.Fatalf("%d bytes are a mark", n)
		}
	}
	other := testkit.NewAgent("another")
	if _, err := ParseMark(b, verifier.PublicKey(other.Key)); err == nil {
		t.Error("it is another agent's")
	}
	if _, err := want.Sign(other.Private); err == nil {
		t.Error("another agent signs it")
	}
	// What the key's holder signs has to be right by itself too.
	for name, change := range map[string]func(m *Mark){
		"no files":          func(m *Mark) { m.Index.Files = nil },
		"order":             func(m *Mark) { slices.Reverse(m.Index.Files) },
		"overlap":           func(m *Mark) { m.Index.Files[1].First = 40 },
		"upside down":       func(m *Mark) { m.Index.Files[0].First = 41 },
		"count":             func(m *Mark) { m.Checkpoints++ },
		"no checkpoint":     func(m *Mark) { m.Index.Files[0].Checkpoints, m.Checkpoints = 0, 10 },
		"head":              func(m *Mark) { m.Head[0]++ },
		"tick":              func(m *Mark) { m.Tick++ },
		"genesis":           func(m *Mark) { m.Genesis = verifier.Hash{} },
		"receipts go back":  func(m *Mark) { m.Index.Files[0].Receipts = 2000 },
		"pruned later":      func(m *Mark) { m.Index.Files[0].Pruned, m.Index.Files[1].Pruned = false, true },
		"pack pruned later": func(m *Mark) { m.Index.Files[0].PackPruned, m.Index.Files[1].PackPruned = false, true },
		"payment after":     func(m *Mark) { m.Index.Payments[2] = 1900 },
		"payments' order":   func(m *Mark) { slices.Reverse(m.Index.Payments) },
	} {
		m := mark(agent)
		change(m)
		b, err := m.Sign(agent.Private)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ParseMark(b, m.Agent); err == nil {
			t.Errorf("%s: it is a mark", name)
		}
	}
}

// TestSpec holds the page's example against the code.
func TestSpec(t *testing.T) {
	const spec = "../../../docs/spec"
	car := testkit.SpecBytes(t, spec, "car.md", "hex car")
	genesis := testkit.SpecBytes(t, spec, "checkpoint.md", "hex genesis")
	key := ed25519.NewKeyFromSeed([]byte("\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f"))
	m := &Mark{Agent: verifier.PublicKey(key.Public().(ed25519.PublicKey)), Genesis: sha256.Sum256(genesis), Head: verifier.Hash(car[17:49]), Tick: 9, Checkpoints: 2}
	m.Index.Files = []Files{{First: 4, Last: 9, Checkpoints: 2, Head: m.Head, CAR: uint64(len(car)), CARHash: sha256.Sum256(car)}}
	got, err := m.Sign(key)
	if err != nil {
		t.Fatal(err)
	}
	if want := testkit.SpecBytes(t, spec, "packed.md", "hex mark"); !bytes.Equal(got, want) {
		t.Errorf("the mark is, in %d bytes,\n%s", len(got), hex.EncodeToString(got))
	}
	if _, err := ParseMark(got, m.Agent); err != nil {
		t.Error(err)
	}
}

func FuzzMark(f *testing.F) {
	agent := testkit.NewAgent("mark")
	m := mark(agent)
	b, err := m.Sign(agent.Private)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b[MarkSize:])
	f.Fuzz(func(t *testing.T, index []byte) {
		x, err := parseIndex(index)
		if err == nil && !bytes.Equal(x.append(nil), index) {
			t.Error("read and written again it is another")
		}
	})
}
