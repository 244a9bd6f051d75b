package verifier_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"igor.dev/internal/testkit"
	"igor.dev/verifier"
)

// readCAR reads a CAR as its users do, fed in chunks.
func readCAR(car []byte, chunk int) (blocks [][]byte, err error) {
	return readCARHandingOver(0, car, chunk)
}

// readCARHandingOver reads a CAR and keeps blocks over the given size itself.
func readCARHandingOver(size int, car []byte, chunk int) (blocks [][]byte, err error) {
	r := verifier.CARReader{HandOver: size}
	for len(car) > 0 {
		n := min(chunk, len(car))
		r.Feed(car[:n])
		car = car[n:]
		for {
			b, ok, err := r.Next()
			if err != nil {
				return nil, err
			}
			if !ok {
				break
			}
			if b.Missing > 0 {
				n := min(b.Missing, len(car))
				r.Pass(n)
				b.Data = append(bytes.Clone(b.Data), car[:n]...)
				if car = car[n:]; n < b.Missing {
					break
				}
			}
			f := verifier.Examine(b.Data)
			if err := r.Check(b.Index, b.UnverifiedCID, &f); err != nil {
				return nil, err
			}
			blocks = append(blocks, bytes.Clone(b.Data))
		}
	}
	return blocks, r.Close()
}

func TestCAR(t *testing.T) {
	history := testkit.NewAgent("alice").History(5, 150)
	want := testkit.CAR(history[4], history...)
	got := verifier.AppendCARHeader(nil, testkit.Hash(history[4]))
	for _, b := range history {
		got = verifier.AppendCARBlock(got, testkit.Hash(b), b)
	}
	if !bytes.Equal(got, want) {
		t.Fatalf("written CAR is\n%x, want\n%x", got, want)
	}
	for chunk := 1; chunk < len(want)+2; chunk += 1 + chunk/7 {
		blocks, err := readCAR(want, chunk)
		if err != nil || len(blocks) != 5 {
			t.Fatalf("in chunks of %d: %d blocks, %v", chunk, len(blocks), err)
		}
		for i := range blocks {
			if !bytes.Equal(blocks[i], history[i]) {
				t.Fatalf("in chunks of %d: block %d is another", chunk, i)
			}
		}
	}
	// Every truncation and every flipped bit is refused by the reader itself.
	for n := range want {
		if _, err := readCAR(want[:n], 64<<10); err == nil {
			t.Errorf("cut to %d bytes, it is read", n)
		}
	}
	for bit := range 8 * len(want) {
		want[bit/8] ^= 1 << (bit % 8)
		if _, err := readCAR(want, 64<<10); err == nil {
			t.Errorf("with bit %d flipped, it is read", bit)
		}
		want[bit/8] ^= 1 << (bit % 8)
	}
	if _, err := readCAR(nil, 1); err == nil {
		t.Error("an empty CAR is read")
	}
	// A block that is handed over is the same block, and the same is wrong with it.
	for i, chunk := range []int{1, 40, 300, len(want)} {
		for at := i; at < len(want); at += 11 {
			sameHandedOver(t, want[:at], chunk)
			want[at] ^= 1
			sameHandedOver(t, want, chunk)
			want[at] ^= 1
		}
	}
	if blocks, err := readCARHandingOver(100, want, 80); err != nil || len(blocks) != 5 {
		t.Errorf("handing over: %d blocks, %v", len(blocks), err)
	}
	if _, err := readCAR(append(bytes.Clone(want), 0), 64<<10); err == nil {
		t.Error("a byte more, and it is read")
	}
}

// sameHandedOver holds that a reader that hands over blocks of over 100 bytes gives the blocks and the error of one that does not.
func sameHandedOver(t *testing.T, car []byte, chunk int) {
	t.Helper()
	blocks, err := readCAR(car, chunk)
	again, err2 := readCARHandingOver(100, car, chunk)
	if (err == nil) != (err2 == nil) || err != nil && err.Error() != err2.Error() || len(blocks) != len(again) {
		t.Fatalf("%d blocks, %v; handing over in chunks of %d: %d blocks, %v", len(blocks), err, chunk, len(again), err2)
	}
	for i := range blocks {
		if !bytes.Equal(blocks[i], again[i]) {
			t.Fatalf("handing over in chunks of %d, block %d is another", chunk, i)
		}
	}
}

// carV2 puts a CAR into the envelope of version 2, which begins and ends with padding.
func carV2(car []byte, padding int) []byte {
	b := append([]byte("\x0a\xa1\x67version\x02"), make([]byte, 16)...)
	b = binary.LittleEndian.AppendUint64(b, uint64(51+padding))
	b = binary.LittleEndian.AppendUint64(b, uint64(len(car)))
	b = binary.LittleEndian.AppendUint64(b, uint64(51+padding+len(car)))
	b = append(b, make([]byte, padding)...)
	return append(append(b, car...), make([]byte, padding)...)
}

// inside returns the CAR in the envelope of version 2, or one that has none.
func inside(car []byte) []byte {
	if !bytes.HasPrefix(car, []byte("\x0a\xa1\x67version\x02")) {
		return car
	}
	at, size := binary.LittleEndian.Uint64(car[27:]), binary.LittleEndian.Uint64(car[35:])
	return car[at : at+size]
}

func TestCARv2(t *testing.T) {
	history := testkit.NewAgent("alice").History(5, 150)
	car := testkit.CAR(history[4], history...)
	for _, padding := range []int{0, 1, 1000} {
		v2 := carV2(car, padding)
		for chunk := 1; chunk < len(v2)+2; chunk += 1 + chunk/7 {
			if blocks, err := readCAR(v2, chunk); err != nil || len(blocks) != 5 {
				t.Fatalf("padding %d, in chunks of %d: %d blocks, %v", padding, chunk, len(blocks), err)
			}
		}
		for n := range len(v2) - padding {
			if _, err := readCAR(v2[:n], 64<<10); err == nil {
				t.Errorf("padding %d, cut to %d bytes, it is read", padding, n)
			}
		}
	}
	v2 := carV2(car, 0)
	for bit := range 8 * 120 { // beyond, it is as TestCAR has it
		if bit/8 >= 11 && bit/8 < 27 || bit/8 >= 43 && bit/8 < 51 {
			continue // characteristics and an index that is not there
		}
		v2[bit/8] ^= 1 << (bit % 8)
		if _, err := readCAR(v2, 64<<10); err == nil {
			t.Errorf("with bit %d flipped, it is read", bit)
		}
		v2[bit/8] ^= 1 << (bit % 8)
	}
}

// FuzzCAR holds that a reader takes only what a writer wrote, in chunks of any size.
func FuzzCAR(f *testing.F) {
	history := testkit.NewAgent("alice").History(3, 10)
	f.Add(testkit.CAR(history[2], history...), 7)
	f.Add(testkit.CAR(history[0], history[0]), 1)
	f.Add(testkit.CAR(history[1], history...), 100)
	f.Add(carV2(testkit.CAR(history[2], history...), 0), 7)
	f.Add(carV2(testkit.CAR(history[2], history...), 60), 7)
	f.Add([]byte{10, 0xa1, 0x67, 'v', 'e', 'r', 's', 'i', 'o', 'n', 2}, 3)
	f.Fuzz(func(t *testing.T, car []byte, chunk int) {
		blocks, err := readCAR(car, len(car)+1)
		if chunk > 0 {
			sameHandedOver(t, car, chunk)
			again, err2 := readCAR(car, chunk)
			if (err == nil) != (err2 == nil) || err != nil && err.Error() != err2.Error() || len(blocks) != len(again) {
				t.Fatalf("%d blocks, %v; in chunks of %d: %d blocks, %v", len(blocks), err, chunk, len(again), err2)
			}
		}
		if err != nil {
			var malformed *verifier.CARError
			if !errors.As(err, &malformed) {
				t.Fatalf("error of another type: %v", err)
			}
			return
		}
		var r verifier.CARReader
		r.Feed(car)
		if _, _, err := r.Next(); err != nil {
			t.Fatal(err)
		}
		written := verifier.AppendCARHeader(nil, r.Root())
		for _, b := range blocks {
			written = verifier.AppendCARBlock(written, testkit.Hash(b), b)
		}
		if !bytes.Equal(written, inside(car)) {
			t.Error("read and written, it is another")
		}
	})
}
