package store

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"igor.dev/verifier"
)

func TestExportImport(t *testing.T) {
	dir := newAgent(t, 5)
	car := filepath.Join(t.TempDir(), "life.car")
	report, err := Export(t.Context(), dir, car)
	if err != nil {
		t.Fatal(err)
	}
	if n, _ := report.Checkpoints(); report.Verdict() != verifier.Verified || n != 5 {
		t.Errorf("exported %d checkpoints, %v", n, report.Verdict())
	}
	to := filepath.Join(t.TempDir(), "copy")
	if report, err = Import(t.Context(), car, to); err != nil {
		t.Fatal(err)
	}
	if report.Verdict() != verifier.Verified {
		t.Errorf("imported %v", report.Verdict())
	}
	want, got := tree(t, filepath.Join(dir, DirHistory)), tree(t, to)
	if len(got) != len(want) {
		t.Errorf("imported %d files, want %d", len(got), len(want))
	}
	for name, b := range want {
		if got[DirHistory+"/"+name] != b {
			t.Errorf("%s differs", name)
		}
	}
	again := filepath.Join(t.TempDir(), "again.car")
	if _, err := Export(t.Context(), to, again); err != nil {
		t.Fatal(err)
	}
	a, _ := os.ReadFile(car)
	b, _ := os.ReadFile(again)
	if !bytes.Equal(a, b) {
		t.Error("the same history makes two different CARs")
	}

	_, err = Export(t.Context(), dir, car)
	wantError(t, err, "is there already")
	_, err = Import(t.Context(), car, to)
	wantError(t, err, "is not empty")
	_, err = Import(t.Context(), car, dir)
	wantError(t, err, "is not empty")
	for _, d := range []string{car, to} {
		if left, _ := filepath.Glob(filepath.Join(filepath.Dir(d), ".igor-new-*")); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	}
}

func TestExportImportWrong(t *testing.T) {
	dir := newAgent(t, 4)
	car := filepath.Join(t.TempDir(), "life.car")
	if _, err := Export(t.Context(), dir, car); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(car)
	if err != nil {
		t.Fatal(err)
	}
	to := filepath.Join(t.TempDir(), "to")
	for i := 0; i < len(whole); i += 7 {
		flipped := bytes.Clone(whole)
		flipped[i] ^= 0x10
		for _, b := range [][]byte{flipped, whole[:i]} {
			if err := os.WriteFile(car, b, 0o644); err != nil {
				t.Fatal(err)
			}
			if report, err := Import(t.Context(), car, to); err == nil && report.Verdict() == verifier.Verified {
				t.Fatalf("imported a wrong CAR (byte %d) as verified", i)
			}
			if _, err := os.Stat(to); err == nil {
				if err := os.RemoveAll(to); err != nil { // incomplete, but right
					t.Fatal(err)
				}
			}
		}
	}

	b, err := os.ReadFile(ckpt(dir, 20))
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)-1] ^= 1
	if err := os.WriteFile(ckpt(dir, 20), b, 0o644); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "wrong.car")
	_, err = Export(t.Context(), dir, out)
	wantError(t, err, "is invalid: history/0000000020.ckpt: ")
	if _, err := os.Stat(out); !errors.Is(err, fs.ErrNotExist) {
		t.Error("a wrong history was exported")
	}
}

// TestIncomplete checks that a history that is not whole can be shared, and is
// said to be what it is.
func TestIncomplete(t *testing.T) {
	dir := newAgent(t, 4)
	for _, tick := range []uint64{10, 30} {
		if err := os.Remove(ckpt(dir, tick)); err != nil {
			t.Fatal(err)
		}
	}
	car := filepath.Join(t.TempDir(), "part.car")
	report, err := Export(t.Context(), dir, car)
	if err != nil || report.Verdict() != verifier.Incomplete {
		t.Fatal(report, err)
	}
	report, err = Import(t.Context(), car, filepath.Join(t.TempDir(), "part"))
	if err != nil || report.Verdict() != verifier.Incomplete {
		t.Fatal(report, err)
	}
}
