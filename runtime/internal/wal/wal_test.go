//go:build unix

package wal_test

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"igor.dev/runtime/internal/wal"
	"igor.dev/runtime/internal/wal/waltest"
)

const max = 1 << 10

func read(b []byte, max int) (records [][]byte, offset int64, err error) {
	s := wal.NewScanner(bytes.NewReader(b), max)
	for {
		p, err := s.Next()
		if err != nil {
			if _, again := s.Next(); again != err {
				return nil, 0, errors.New("a second call gives another error")
			}
			return records, s.Offset(), err
		}
		records = append(records, bytes.Clone(p))
	}
}

var payloads = [][]byte{{}, []byte("a"), bytes.Repeat([]byte{0}, 40), bytes.Repeat([]byte("x"), 300), []byte("end")}

func file(payloads ...[]byte) (b []byte, ends []int) {
	for _, p := range payloads {
		b = wal.AppendRecord(b, p)
		ends = append(ends, len(b))
	}
	return b, ends
}

func wholeBefore(ends []int, at int) (n, end int) {
	for _, e := range ends {
		if e > at {
			break
		}
		n, end = n+1, e
	}
	return n, end
}

func TestEveryTruncation(t *testing.T) {
	b, ends := file(payloads...)
	for at := range len(b) + 1 {
		records, offset, err := read(b[:at], max)
		n, end := wholeBefore(ends, at)
		if len(records) != n || offset != int64(end) {
			t.Fatalf("cut at %d: %d records to %d, want %d to %d", at, len(records), offset, n, end)
		}
		tail, torn := errors.AsType[*wal.TailError](err)
		switch {
		case at == end && err != io.EOF:
			t.Fatalf("cut at %d, the end of a record: %v", at, err)
		case at != end && (!torn || !tail.Torn || tail.Offset != int64(end)):
			t.Fatalf("cut at %d: %v, want a torn record at %d", at, err, end)
		}
	}
}

func TestEveryFlip(t *testing.T) {
	b, ends := file(payloads...)
	for bit := range 8 * len(b) {
		bad := bytes.Clone(b)
		bad[bit/8] ^= 1 << (bit % 8)
		records, _, err := read(bad, max)
		n, _ := wholeBefore(ends, bit/8)
		tail, ok := errors.AsType[*wal.TailError](err)
		if len(records) != n || !ok || tail.Torn {
			t.Fatalf("bit %d: %d records and %v, want %d and damage", bit, len(records), err, n)
		}
		for i, r := range records {
			if !bytes.Equal(r, payloads[i]) {
				t.Fatalf("bit %d: record %d is wrong", bit, i)
			}
		}
	}
}

func TestZerosAtTheEnd(t *testing.T) {
	b, _ := file(payloads...)
	records, _, err := read(append(b, make([]byte, 4096)...), max)
	if tail, ok := errors.AsType[*wal.TailError](err); !ok || !tail.Torn || len(records) != len(payloads) {
		t.Errorf("%d records, %v", len(records), err)
	}
	records, _, err = read(append(append(b, make([]byte, 4096)...), 1), max)
	if tail, ok := errors.AsType[*wal.TailError](err); !ok || tail.Torn || len(records) != len(payloads) {
		t.Errorf("with a byte after them: %d records, %v", len(records), err)
	}
}

// TestZerosInRecord has the file as long as it was to be, and the end of it zero.
func TestZerosInRecord(t *testing.T) {
	b, ends := file(payloads...)
	for at := range len(b) {
		records, offset, err := read(append(bytes.Clone(b[:at]), make([]byte, len(b)-at)...), max)
		n, end := wholeBefore(ends, at)
		if n+1 < len(ends) && bytes.Equal(b[at:ends[n]], make([]byte, ends[n]-at)) {
			n, end = n+1, ends[n] // what is zero there, was
		}
		tail, ok := errors.AsType[*wal.TailError](err)
		if len(records) != n || offset != int64(end) || !ok || !tail.Torn {
			t.Fatalf("zeros from %d on: %d records to %d, want %d to %d: %v", at, len(records), offset, n, end, err)
		}
	}
}

func TestLimit(t *testing.T) {
	b, _ := file(make([]byte, max), make([]byte, max+1))
	records, _, err := read(b, max)
	if tail, ok := errors.AsType[*wal.TailError](err); !ok || tail.Torn || len(records) != 1 {
		t.Errorf("%d records, %v", len(records), err)
	}
}

// TestClaimedLength has a length of 4 GiB with a right checksum, and nothing after it.
func TestClaimedLength(t *testing.T) {
	b, _ := file(make([]byte, 200<<10))
	allocated := testing.AllocsPerRun(1, func() {
		if _, _, err := read(b[:20], 1<<30); err == nil {
			t.Error("no error")
		}
	})
	if allocated > 40 {
		t.Errorf("%v allocations", allocated)
	}
	if records, _, err := read(b, 1<<30); err != io.EOF || len(records) != 1 || len(records[0]) != 200<<10 {
		t.Errorf("%d records, %v", len(records), err)
	}
}

func TestWriter(t *testing.T) {
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	d := wal.Dir(root)
	if err := wal.WriteFile(d, "next", "log", bytes.NewReader([]byte("torn")), false); err != nil {
		t.Fatal(err)
	}
	if err := wal.WriteFile(d, "next", "log", bytes.NewReader(nil), false); !errors.Is(err, fs.ErrExist) {
		t.Fatalf("a taken name: %v", err)
	}
	f, err := d.Open("log")
	if err != nil {
		t.Fatal(err)
	}
	w, err := wal.NewWriter(f, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	want, _ := file(payloads...)
	for _, p := range payloads {
		if err := w.Append(p); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Sync(); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if w.Append(nil) == nil {
		t.Error("a closed writer appends")
	}
	if got, _ := os.ReadFile(filepath.Join(dir, "log")); !bytes.Equal(got, want) {
		t.Errorf("the file is %x", got)
	}
	aside, err := wal.SetAside(d, "log")
	if err != nil {
		t.Fatal(err)
	}
	second, err := wal.SetAside(d, "log")
	if err != nil || second == aside {
		t.Fatalf("%s, %s, %v", aside, second, err)
	}
	if err := wal.WriteFile(d, "next", "log", bytes.NewReader(nil), true); err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(filepath.Join(dir, aside)); !bytes.Equal(got, want) {
		t.Errorf("what was set aside is %x", got)
	}
	names, err := d.Names()
	if err != nil || len(names) != 3 {
		t.Errorf("%v, %v", names, err)
	}
	if err := os.Mkdir(filepath.Join(dir, "folder"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"folder", "pipe", "../log", "absent"} {
		if _, err := d.Open(name); err == nil {
			t.Errorf("%s opens", name)
		}
	}
}

// TestFaults has every step fail; what was synced is there afterwards.
func TestFaults(t *testing.T) {
	life := func(d *waltest.Folder) (synced int) {
		if wal.WriteFile(d, "next", "log", bytes.NewReader(nil), false) != nil {
			return -1
		}
		f, err := d.Open("log")
		if err != nil {
			return 0
		}
		w, err := wal.NewWriter(f, 0, nil)
		if err != nil {
			return 0
		}
		for i, p := range payloads {
			if w.Append(p) != nil || w.Sync() != nil {
				if w.Append(p) == nil || w.Sync() == nil {
					t.Error("it goes on after an error")
				}
				return i
			}
		}
		return len(payloads)
	}
	n := waltest.EachFault(life, func(when string, synced int, found *waltest.Folder) {
		b := found.Get("log")
		if b == nil {
			if synced >= 0 {
				t.Errorf("%s: there is no file", when)
			}
			return
		}
		records, _, err := read(b, max)
		if tail, ok := errors.AsType[*wal.TailError](err); err != io.EOF && (!ok || !tail.Torn) {
			t.Errorf("%s: %v", when, err)
		}
		if len(records) < synced || len(records) > synced+1 {
			t.Errorf("%s: %d records of %d that were synced", when, len(records), synced)
		}
	})
	if n < 50 {
		t.Fatalf("only %d folders were checked", n)
	}
}

func FuzzScanner(f *testing.F) {
	b, _ := file(payloads...)
	f.Add(b)
	f.Add(b[:len(b)-1])
	f.Add(make([]byte, 20))
	f.Fuzz(func(t *testing.T, b []byte) {
		records, offset, _ := read(b, max)
		again, _ := file(records...)
		if !bytes.Equal(again, b[:offset]) {
			t.Errorf("%x was read, and is written %x", b[:offset], again)
		}
	})
}

func BenchmarkSync(b *testing.B) {
	root, err := os.OpenRoot(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	defer root.Close()
	f, err := wal.Dir(root).Create("log")
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	w, err := wal.NewWriter(f, 0, nil)
	if err != nil {
		b.Fatal(err)
	}
	payload := make([]byte, 300)
	for b.Loop() {
		if w.Append(payload) != nil || w.Sync() != nil {
			b.Fatal("no")
		}
	}
}
