package segment

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"iter"
	"slices"
	"testing"
	"testing/iotest"
	"time"

	"igor.dev/internal/testkit"
	"igor.dev/verifier"
	"igor.dev/verifier/history"
)

func each(checkpoints [][]byte) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		for _, c := range checkpoints {
			if !yield(c, nil) {
				return
			}
		}
	}
}

func write(t testing.TB, checkpoints ...[]byte) []byte {
	t.Helper()
	var b bytes.Buffer
	if _, err := Write(&b, sha256.Sum256(checkpoints[len(checkpoints)-1]), each(checkpoints)); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// carV2 puts a CAR into the envelope of version 2.
func carV2(car []byte) []byte {
	b := append([]byte("\x0a\xa1\x67version\x02"), make([]byte, 16)...)
	b = binary.LittleEndian.AppendUint64(b, 51)
	b = binary.LittleEndian.AppendUint64(b, uint64(len(car)))
	b = binary.LittleEndian.AppendUint64(b, 0)
	return append(b, car...)
}

// TestSpec holds the page's example against the code.
func TestSpec(t *testing.T) {
	const spec = "../docs/spec"
	life := [][]byte{testkit.SpecBytes(t, spec, "checkpoint.md", "hex genesis")}
	car := testkit.SpecBytes(t, spec, "car.md", "hex car")
	history.EachBlock(bytes.NewReader(car), func(b []byte, _ *verifier.Finding) error {
		life = append(life, slices.Clone(b))
		return nil
	})
	if life = life[1:]; len(life) != 2 {
		t.Fatalf("the example has %d checkpoints", len(life))
	}
	if whole := write(t, life...); !bytes.Equal(whole, car) {
		t.Error("the segment of the whole life is not the CAR")
	}
	want := testkit.SpecBytes(t, spec, "segments.md", "hex segment")
	if got := write(t, life[1]); !bytes.Equal(got, want) {
		t.Errorf("the second segment is\n%s", hex.EncodeToString(got))
	}
	if sum := sha256.Sum256(want); !bytes.Equal(sum[:], testkit.SpecBytes(t, spec, "segments.md", "hex hash")) {
		t.Errorf("its hash is %x", sum)
	}
}

func TestReadWrite(t *testing.T) {
	a := testkit.NewAgent("segments")
	life := a.History(9, 30)
	var all []Info
	for cut := range slices.Chunk(life, 4) {
		b := write(t, cut...)
		if got := testkit.CAR(cut[len(cut)-1], cut...); !bytes.Equal(b, got) {
			t.Fatal("it is not the CAR that the spec describes")
		}
		for name, r := range map[string]func() *bytes.Reader{"at once": func() *bytes.Reader { return bytes.NewReader(b) }} {
			var got [][]byte
			info, err := Read(iotest.OneByteReader(r()), func(c []byte, f *verifier.Finding) error {
				if !f.Authentic() {
					t.Errorf("%s: it is not authentic", name)
				}
				got = append(got, slices.Clone(c))
				return nil
			})
			if err != nil || !slices.EqualFunc(got, cut, bytes.Equal) {
				t.Fatalf("%s: %d checkpoints, %v", name, len(got), err)
			}
			want := Info{Agent: verifier.PublicKey(a.Key), Root: sha256.Sum256(cut[len(cut)-1]), First: testkit.Tick(cut[0]), Last: testkit.Tick(cut[len(cut)-1]),
				Checkpoints: len(cut), Size: int64(len(b))}
			if len(all) > 0 {
				want.Prev = all[len(all)-1].Root
			}
			if info != want {
				t.Fatalf("%s: got %+v, want %+v", name, info, want)
			}
			all = append(all, info)
		}
	}
	if len(all) != 3 {
		t.Fatalf("%d segments", len(all))
	}
}

// TestList finds what Read reads, of small states and of large ones.
func TestList(t *testing.T) {
	for _, size := range []int{0, 20, 127 - 36, 5000, 17 << 10, 70_000} {
		life := testkit.NewAgent("segments").History(20, size)
		b := write(t, life...)
		n := 0
		for e, err := range List(bytes.NewReader(b), int64(len(b))) {
			if err != nil {
				t.Fatal(size, n, err)
			}
			if want := life[n]; !bytes.Equal(b[e.Offset:e.Offset+e.Size], want) || e.Tick != testkit.Tick(want) || e.UnverifiedHash != sha256.Sum256(want) {
				t.Fatalf("states of %d: checkpoint %d is listed as %+v", size, n, e)
			}
			n++
		}
		if n != len(life) {
			t.Errorf("states of %d: %d checkpoints are listed", size, n)
		}
		for _, cut := range []int{1, 58, 59, 60, 100, 300, len(b) - 1} {
			var last error
			for _, err := range List(bytes.NewReader(b[:cut]), int64(cut)) {
				last = err
			}
			if last == nil && cut != 59 {
				t.Errorf("of %d bytes all is listed", cut)
			}
		}
	}
}

// TestNoSegment reads what is a CAR, and no segment, or no CAR.
func TestNoSegment(t *testing.T) {
	life := testkit.NewAgent("segments").History(5, 30)
	other := testkit.NewAgent("another").History(5, 30)
	changed := slices.Clone(life[1])
	changed[0] = 3
	whole := testkit.CAR(life[2], life[:3]...)
	car2 := carV2(whole)
	for name, b := range map[string][]byte{
		"nothing":         nil,
		"no block":        testkit.CAR(life[2]),
		"root in between": testkit.CAR(life[1], life[0], life[1], other[0]),
		"a hole":          testkit.CAR(life[3], life[0], life[3]),
		"another order":   testkit.CAR(life[2], life[1], life[0], life[2]),
		"twice":           testkit.CAR(life[1], life[0], life[0], life[1]),
		"of two agents":   testkit.CAR(other[1], life[0], other[1]),
		"other version":   testkit.CAR(changed, changed),
		"CARv2":           car2,
		"cut":             whole[:len(whole)-1],
		"without the end": testkit.CAR(life[2], life[:2]...),
		"one byte more":   append(slices.Clone(whole), 0),
	} {
		_, err := Read(bytes.NewReader(b), nil)
		if _, ok := errors.AsType[*MalformedError](err); !ok {
			t.Errorf("%s: %v", name, err)
		}
	}
	for i := range whole {
		b := slices.Clone(whole)
		b[i] ^= 1
		if _, err := Read(bytes.NewReader(b), nil); err == nil {
			t.Errorf("byte %d is changed, and it is a segment", i)
		}
	}
	for name, cut := range map[string][][]byte{"none": nil, "a hole": {life[0], life[3]}, "two agents": {life[0], other[1]}, "root": life[:2]} {
		if _, err := Write(&bytes.Buffer{}, sha256.Sum256(life[3]), each(cut)); err == nil {
			t.Errorf("%s: it is written", name)
		}
	}
	if _, err := Write(&bytes.Buffer{}, verifier.Hash{}, func(yield func([]byte, error) bool) { yield(nil, iotest.ErrTimeout) }); err != iotest.ErrTimeout {
		t.Errorf("got %v", err)
	}
	if _, err := Read(iotest.TimeoutReader(bytes.NewReader(whole)), nil); err != iotest.ErrTimeout {
		t.Errorf("got %v", err)
	}
}

func TestRule(t *testing.T) {
	size := func(n int) int64 { return HeaderSize + int64(n)*BlockSize(100) }
	for _, tt := range []struct {
		name  string
		rule  Rule
		sizes int // checkpoints of 100 bytes that wait
		waits time.Duration
		want  int
	}{
		{"none waits", Default, 0, time.Hour, 0},
		{"too few", Rule{Checkpoints: 8}, 7, time.Hour, 0},
		{"enough", Rule{Checkpoints: 8}, 8, 0, 8},
		{"more", Rule{Checkpoints: 8}, 30, 0, 8},
		{"young", Rule{Checkpoints: 8, Age: time.Minute}, 7, time.Minute - 1, 0},
		{"old", Rule{Checkpoints: 8, Age: time.Minute}, 7, time.Minute, 7},
		{"old and more", Rule{Checkpoints: 8, Age: time.Minute}, 9, time.Minute, 8},
		{"not full", Rule{Bytes: size(3)}, 2, 0, 0},
		{"just full", Rule{Bytes: size(3)}, 3, 0, 3},
		{"overfull", Rule{Bytes: size(3) + 1}, 4, 0, 3},
		{"one is too large", Rule{Bytes: 10}, 2, 0, 1},
		{"one, too large", Rule{Bytes: 10}, 1, 0, 1},
		{"no rule", Rule{}, 1000, time.Hour, 0},
	} {
		sizes := slices.Repeat([]int64{100}, tt.sizes)
		if got := tt.rule.Next(sizes, tt.waits); got != tt.want {
			t.Errorf("%s: got %d, want %d", tt.name, got, tt.want)
		}
	}
	if got := (Rule{}).Next(slices.Repeat([]int64{10 << 20}, 200), 0); int64(got)*BlockSize(10<<20) > MaxSize || got < 100 {
		t.Errorf("%d checkpoints of 10 MiB", got)
	}
	// What the rule says fits is a segment of that size.
	life := testkit.NewAgent("segments").History(4, 100-testkit.HeaderSizeV4+209)
	b := write(t, life...)
	var sizes []int64
	for _, c := range life {
		sizes = append(sizes, int64(len(c)))
	}
	if n := (Rule{Bytes: int64(len(b))}).Next(sizes, 0); n != 4 {
		t.Errorf("of a segment of its size the rule cuts %d", n)
	}
	if n := (Rule{Bytes: int64(len(b)) - 1}).Next(sizes, 0); n != 3 {
		t.Errorf("of a segment of one byte more the rule cuts %d", n)
	}
}

// FuzzRead: whatever is read as a segment is written again as the same bytes.
func FuzzRead(f *testing.F) {
	life := testkit.NewAgent("segments").History(5, 3)
	f.Add(testkit.CAR(life[2], life[:3]...))
	f.Add(testkit.CAR(life[4], life[4]))
	f.Add(carV2(testkit.CAR(life[0], life[0])))
	f.Fuzz(func(t *testing.T, b []byte) {
		for range List(bytes.NewReader(b), int64(len(b))) {
		}
		var got [][]byte
		info, err := Read(bytes.NewReader(b), func(c []byte, _ *verifier.Finding) error {
			got = append(got, slices.Clone(c))
			return nil
		})
		if err != nil {
			return
		}
		var again bytes.Buffer
		wrote, err := Write(&again, info.Root, each(got))
		if err != nil || wrote != info || !bytes.Equal(again.Bytes(), b) {
			t.Fatalf("%+v is written as %+v, %v", info, wrote, err)
		}
	})
}
