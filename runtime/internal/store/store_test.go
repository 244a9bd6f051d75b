package store

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"igor.dev/verifier"
)

// holdLock makes the test binary a process that holds a folder's lock.
const holdLock = "IGOR_TEST_HOLD_LOCK"

func TestMain(m *testing.M) {
	if dir := os.Getenv(holdLock); dir != "" {
		s, err := Open(dir)
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println("held")
		os.Stdin.Read(make([]byte, 1)) // until the test closes it
		s.Close()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// create makes an agent that has not begun to live.
func create(dir string) error {
	return Create(dir, []byte("\x00asm"), []byte("{}"), func(s *Store) error { _, err := NewKey(s.Path()); return err })
}

// newAgent makes a folder with a history of n checkpoints, ticks 10, 20, ….
func newAgent(t *testing.T, n int) (dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "agent")
	if err := create(dir); err != nil {
		t.Fatal(err)
	}
	s := open(t, dir)
	defer s.Close()
	recoverStore(t, s)
	for i := range n {
		appendNext(t, s, uint64(10*(i+1)))
	}
	return dir
}

func open(t *testing.T, dir string) *Store {
	t.Helper()
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func key(t *testing.T, s *Store) ed25519.PrivateKey {
	t.Helper()
	k, err := s.Key()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func tryRecover(t *testing.T, s *Store) (Recovery, error) {
	t.Helper()
	return s.Recover(t.Context(), key(t, s).Public().(ed25519.PublicKey))
}

func recoverStore(t *testing.T, s *Store) Recovery {
	t.Helper()
	r, err := tryRecover(t, s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// sign makes a checkpoint by the key.
func sign(key ed25519.PrivateKey, prev verifier.Hash, tick uint64) []byte {
	c := verifier.Checkpoint{Version: verifier.Version4, TickNumber: tick, PrevHash: prev, State: binary.BigEndian.AppendUint64(nil, tick)}
	copy(c.AgentPubKey[:], key.Public().(ed25519.PublicKey))
	copy(c.Signature[:], ed25519.Sign(key, c.AppendMessage(nil)))
	return c.Append(nil)
}

func appendNext(t *testing.T, s *Store, tick uint64) []byte {
	t.Helper()
	next := sign(key(t, s), s.head, tick)
	if err := s.Append(s.head, nothing, next); err != nil {
		t.Fatal(err)
	}
	return next
}

// nothing has to be durable before a checkpoint.
func nothing() error { return nil }

func ckpt(dir string, tick uint64) string { return filepath.Join(dir, DirHistory, FileName(tick)) }

// tree lists the files below dir with their content.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := fs.WalkDir(os.DirFS(dir), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || path == fileLock {
			return err
		}
		b, err := os.ReadFile(filepath.Join(dir, path))
		files[path] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func wantError(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got error %v, want one with %q", err, want)
	}
}

func TestCreate(t *testing.T) {
	dir := newAgent(t, 0)
	s := open(t, dir)
	wasm, err1 := s.WASM()
	man, err2 := s.Manifest()
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	if string(wasm) != "\x00asm" || string(man) != "{}" {
		t.Errorf("got %q, %q", wasm, man)
	}
	if _, _, made, err := s.Events(); made || err != nil {
		t.Errorf("a new agent has no folder of events, or %v", err)
	}
	if info, err := os.Stat(filepath.Join(dir, fileKey)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("key has mode %v, error %v, want 0600", info.Mode(), err)
	}
	if r := recoverStore(t, s); r.Newest != nil {
		t.Errorf("a new agent has a checkpoint: %x", r.Newest)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(dir), ".igor-new-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestCreateRefuses(t *testing.T) {
	dir := newAgent(t, 2)
	before := tree(t, dir)
	wantError(t, create(dir), "already holds an agent")
	if err := os.RemoveAll(filepath.Join(dir, DirHistory)); err != nil {
		t.Fatal(err)
	}
	wantError(t, create(dir), "already holds an agent")
	if after := tree(t, dir); after[fileKey] != before[fileKey] {
		t.Error("the key was changed")
	}

	other := t.TempDir()
	if err := create(other); err != nil { // there, and empty
		t.Error(err)
	}
	full := t.TempDir()
	if err := os.WriteFile(filepath.Join(full, "notes"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	wantError(t, create(full), "is not empty")
	file := filepath.Join(full, "notes")
	if err := create(file); err == nil {
		t.Error("a file was replaced")
	}
	if _, err := os.Stat(file); err != nil {
		t.Error(err)
	}
}

func TestKey(t *testing.T) {
	dir := newAgent(t, 1)
	path := filepath.Join(dir, fileKey)
	s := open(t, dir)
	original, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, mode := range []fs.FileMode{0o640, 0o604, 0o644, 0o660, 0o610} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		_, err := s.Key()
		wantError(t, err, "can be read by others")
	}
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"", "seed", string(original[:len(original)/2]), string(original) + string(original),
		strings.Replace(string(original), "PRIVATE", "PUBLIC", 2), strings.Repeat("x", maxKeyFile+1)} {
		if err := os.WriteFile(path, []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Key(); err == nil {
			t.Errorf("took the key %q", bad)
		}
		if b, _ := os.ReadFile(path); string(b) != bad {
			t.Error("a bad key was overwritten")
		}
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	_, err = s.Key()
	wantError(t, err, "has no key")
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Error("a key was made")
	}
}

func TestAppend(t *testing.T) {
	dir := newAgent(t, 0)
	s := open(t, dir)
	k := key(t, s)
	wantConflict := func(err error) {
		t.Helper()
		if !errors.Is(err, ErrConflict) {
			t.Errorf("got error %v, want ErrConflict", err)
		}
	}
	genesis := sign(k, verifier.Hash{}, 1)
	wantConflict(s.Append(verifier.Hash{}, nothing, genesis)) // not recovered
	recoverStore(t, s)
	wantConflict(s.Append(verifier.Hash{1}, nothing, genesis))
	if err := s.Append(verifier.Hash{}, nothing, genesis); err != nil {
		t.Fatal(err)
	}
	wantConflict(s.Append(verifier.Hash{}, nothing, sign(k, verifier.Hash{}, 2)))
	head := verifier.Hash(sha256.Sum256(genesis))
	if err := os.WriteFile(ckpt(dir, 7), []byte("by somebody else"), 0o644); err != nil {
		t.Fatal(err)
	}
	wantConflict(s.Append(head, nothing, sign(k, head, 7)))
	if b, _ := os.ReadFile(ckpt(dir, 7)); string(b) != "by somebody else" {
		t.Error("a file of the history was replaced")
	}
	if err := s.Append(head, nothing, sign(k, head, 8)); err != nil {
		t.Error(err)
	}
	if left, err := filepath.Glob(filepath.Join(dir, DirHistory, "*"+extNext)); err != nil || len(left) > 0 {
		t.Errorf("still there: %q, %v", left, err)
	}
}

// TestAppendFails checks that a failed write changes nothing, and that what is
// acknowledged is exactly what is there.
func TestAppendFails(t *testing.T) {
	dir := newAgent(t, 2)
	s := open(t, dir)
	recoverStore(t, s)
	before := tree(t, dir)
	head := s.head
	if err := os.Mkdir(ckpt(dir, 30)+extNext, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(ckpt(dir, 30)+extNext, "x"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := s.Append(head, nothing, sign(key(t, s), head, 30)); err == nil {
		t.Error("appended although nothing could be written")
	}
	if err := os.RemoveAll(ckpt(dir, 30) + extNext); err != nil {
		t.Fatal(err)
	}
	if after := tree(t, dir); len(after) != len(before) {
		t.Errorf("got %d files, want %d", len(after), len(before))
	}
	appendNext(t, s, 30)
}

// TestLeftover checks that what a killed process left is cleared away, also
// where it still is another name of a checkpoint.
func TestLeftover(t *testing.T) {
	dir := newAgent(t, 2)
	next := ckpt(dir, 30) + extNext
	before := tree(t, dir)
	for _, leave := range []func() error{
		func() error { return os.WriteFile(next, []byte("half a checkp"), 0o644) },
		func() error { return os.Link(ckpt(dir, 20), next) },
	} {
		if err := leave(); err != nil {
			t.Fatal(err)
		}
		s := open(t, dir)
		recoverStore(t, s)
		s.Close()
		if after := tree(t, dir); fmt.Sprint(after) != fmt.Sprint(before) {
			t.Errorf("got %q, want %q", after, before)
		}
	}
}

// TestFinish leaves of a group of checkpoints any that have their names, and the first
// names of the others: the history goes up to the newest that has its own.
func TestFinish(t *testing.T) {
	whole := newAgent(t, 5)
	group := []uint64{30, 40, 50}
	for set := range 1 << len(group) {
		for name, first := range map[string]func(b []byte) []byte{
			"whole": func(b []byte) []byte { return b },
			"other": func(b []byte) []byte { return append(bytes.Clone(b), 0) },
			"empty": func([]byte) []byte { return nil },
		} {
			dir := filepath.Join(t.TempDir(), "agent")
			if err := errors.Join(os.CopyFS(dir, os.DirFS(whole)), os.Chmod(filepath.Join(dir, fileKey), 0o600)); err != nil {
				t.Fatal(err)
			}
			newest, gap := uint64(20), false
			for i, tick := range group {
				b, err := os.ReadFile(ckpt(dir, tick))
				if err != nil {
					t.Fatal(err)
				}
				if set&(1<<i) != 0 {
					gap = gap || newest != tick-10
					newest = tick
				} else if err := errors.Join(os.Remove(ckpt(dir, tick)), os.WriteFile(ckpt(dir, tick)+extNext, first(b), 0o644)); err != nil {
					t.Fatal(err)
				}
			}
			s := open(t, dir)
			r, err := tryRecover(t, s)
			if gap && name != "whole" {
				wantError(t, err, "is incomplete")
				continue
			}
			if err != nil || r.Tick != newest {
				t.Errorf("%03b, %s: got tick %d, %v; want %d", set, name, r.Tick, err, newest)
			}
			if left, err := filepath.Glob(filepath.Join(dir, DirHistory, "*"+extNext)); err != nil || len(left) > 0 {
				t.Errorf("%03b, %s: left is %q, %v", set, name, left, err)
			}
			if err == nil {
				appendNext(t, s, newest+10)
			}
		}
	}
}

func TestRecover(t *testing.T) {
	dir := newAgent(t, 3)
	s := open(t, dir)
	r := recoverStore(t, s)
	want, err := os.ReadFile(ckpt(dir, 30))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(r.Newest, want) || r.Hash != sha256.Sum256(want) || r.Damaged != "" {
		t.Errorf("got %+v", r)
	}
	appendNext(t, s, 31)
}

// TestDamagedNewest cuts and flips the newest file in each way that matters.
func TestDamagedNewest(t *testing.T) {
	dir := newAgent(t, 3)
	good, err := os.ReadFile(ckpt(dir, 30))
	if err != nil {
		t.Fatal(err)
	}
	var damages [][]byte
	for size := range good {
		damages = append(damages, good[:size])
	}
	for i := range good {
		flipped := bytes.Clone(good)
		flipped[i] ^= 1
		damages = append(damages, flipped)
	}
	damages = append(damages, append(bytes.Clone(good), 0), make([]byte, len(good)))
	for i, damaged := range damages {
		if err := os.WriteFile(ckpt(dir, 30), damaged, 0o644); err != nil {
			t.Fatal(err)
		}
		s := open(t, dir)
		r := recoverStore(t, s)
		if r.Damaged == "" || r.Damage == "" {
			t.Fatalf("damage %d was not reported: %+v", i, r)
		}
		if kept, err := os.ReadFile(r.Damaged); err != nil || !bytes.Equal(kept, damaged) {
			t.Fatalf("damage %d: set aside %x, %v, want %x", i, kept, err, damaged)
		}
		if second, _ := os.ReadFile(ckpt(dir, 20)); !bytes.Equal(r.Newest, second) {
			t.Fatalf("damage %d: does not go on from the one before", i)
		}
		if _, err := os.Stat(ckpt(dir, 30)); !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("damage %d: still in the history: %v", i, err)
		}
		if i == 0 {
			appendNext(t, s, 30) // the name is free again
			if err := os.Remove(ckpt(dir, 30)); err != nil {
				t.Fatal(err)
			}
		}
		s.Close()
	}
	kept, err := os.ReadDir(filepath.Join(dir, dirDamaged))
	if err != nil || len(kept) != len(damages) {
		t.Errorf("%d files were set aside and kept, error %v, want %d", len(kept), err, len(damages))
	}
}

// A folder that macOS copied has a file more for each, of which none is a checkpoint.
func TestRecoverBesideMacOSFiles(t *testing.T) {
	dir := newAgent(t, 3)
	double := append([]byte("\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X        "), make([]byte, 80)...)
	for _, path := range []string{ckpt(dir, 10), ckpt(dir, 20), ckpt(dir, 30), ckpt(dir, 30) + extNext, filepath.Join(dir, fileKey)} {
		if err := os.WriteFile(filepath.Join(filepath.Dir(path), "._"+filepath.Base(path)), double, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, DirHistory, ".DS_Store"), double, 0o644); err != nil {
		t.Fatal(err)
	}
	if r := recoverStore(t, open(t, dir)); r.Tick != 30 {
		t.Errorf("recovered tick %d", r.Tick)
	}
	car := filepath.Join(t.TempDir(), "life.car")
	if report, err := Export(t.Context(), dir, car); err != nil || report.Verdict() != verifier.Verified {
		t.Errorf("exported: %v", err)
	}
	if report, files, err := Checkpoints(t.Context(), dir); err != nil || len(files) != 3 || report.Verdict() != verifier.Verified {
		t.Errorf("%d checkpoints: %v", len(files), err)
	}
}

func TestRecoverRefuses(t *testing.T) {
	flip := func(path string) error {
		b, err := os.ReadFile(path)
		if err == nil {
			b[len(b)-1] ^= 1
			err = os.WriteFile(path, b, 0o644)
		}
		return err
	}
	for _, tt := range []struct {
		name string
		n    int
		harm func(dir string) error
		want string
	}{
		{"an older one is damaged", 3, func(dir string) error { return flip(ckpt(dir, 20)) }, "is invalid: 0000000020.ckpt: the signature"},
		{"the two newest are damaged", 3, func(dir string) error {
			return errors.Join(flip(ckpt(dir, 20)), flip(ckpt(dir, 30)))
		}, "is invalid"},
		{"the only one is damaged", 1, func(dir string) error { return flip(ckpt(dir, 10)) }, "nothing before it to go on from"},
		{"one is missing", 3, func(dir string) error { return os.Remove(ckpt(dir, 20)) }, "is incomplete"},
		{"the genesis is missing", 3, func(dir string) error { return os.Remove(ckpt(dir, 10)) }, "is incomplete"},
		{"one has a foreign name", 3, func(dir string) error {
			return os.Rename(ckpt(dir, 20), filepath.Join(dir, DirHistory, "20.ckpt"))
		}, "does not have a name that igor gives"},
		{"the newest has another name", 3, func(dir string) error { return os.Rename(ckpt(dir, 30), ckpt(dir, 40)) }, "holds the checkpoint of tick 30"},
		{"two names are swapped", 3, func(dir string) error {
			return errors.Join(os.Rename(ckpt(dir, 30), ckpt(dir, 40)), os.Rename(ckpt(dir, 20), ckpt(dir, 30)), os.Rename(ckpt(dir, 40), ckpt(dir, 20)))
		}, "holds the checkpoint of tick 20"},
		{"the newest is a folder", 2, func(dir string) error { return os.Mkdir(ckpt(dir, 30), 0o755) }, "not a regular file"},
		{"the newest is a link out of the folder", 2, func(dir string) error {
			return os.Symlink(filepath.Join(filepath.Dir(dir), "outside"), ckpt(dir, 30))
		}, "escapes"},
		{"it forks", 3, func(dir string) error {
			s, err := Open(dir)
			if err != nil {
				return err
			}
			defer s.Close()
			k, err := s.Key()
			if err != nil {
				return err
			}
			first, err := os.ReadFile(ckpt(dir, 10))
			if err != nil {
				return err
			}
			return os.WriteFile(ckpt(dir, 40), sign(k, sha256.Sum256(first), 40), 0o644)
		}, "is invalid"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := newAgent(t, tt.n)
			if err := os.WriteFile(filepath.Join(filepath.Dir(dir), "outside"), nil, 0o644); err != nil {
				t.Fatal(err)
			}
			if err := tt.harm(dir); err != nil {
				t.Fatal(err)
			}
			var before []string
			filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
				before = append(before, path)
				return err
			})
			s := open(t, dir)
			_, err := tryRecover(t, s)
			wantError(t, err, tt.want)
			if err := s.Append(s.head, nothing, sign(key(t, s), s.head, 50)); !errors.Is(err, ErrConflict) {
				t.Errorf("appended to what was refused: %v", err)
			}
			var after []string
			filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
				after = append(after, path)
				return err
			})
			if !slices.Equal(before, after) {
				t.Errorf("the folder was changed: %v, before %v", after, before)
			}
		})
	}
}

func TestRecoverOtherKey(t *testing.T) {
	dir := newAgent(t, 2)
	other, err := os.ReadFile(filepath.Join(newAgent(t, 0), fileKey))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, fileKey), other, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = tryRecover(t, open(t, dir))
	wantError(t, err, "is not its agent's: it is that of did:key:z6Mk")
	if !errors.Is(err, ErrNoKey) {
		t.Errorf("%v is not ErrNoKey", err)
	}
}

func TestOpenRefuses(t *testing.T) {
	_, err := Open(filepath.Join(t.TempDir(), "nothing"))
	wantError(t, err, "no such folder")
	_, err = Open(t.TempDir())
	wantError(t, err, "is not an agent's folder")
	dir := newAgent(t, 0)
	if err := os.RemoveAll(filepath.Join(dir, DirHistory)); err != nil {
		t.Fatal(err)
	}
	_, err = Open(dir)
	wantError(t, err, "its history is missing")
}

// TestLinkedKey takes a key that is a link, as a mounted secret is, also to elsewhere.
func TestLinkedKey(t *testing.T) {
	dir := newAgent(t, 0)
	path, elsewhere := filepath.Join(dir, fileKey), filepath.Join(t.TempDir(), "secret")
	want, err := Key(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Rename(path, elsewhere), os.Symlink(elsewhere, path)); err != nil {
		t.Fatal(err)
	}
	if got, err := Key(dir); err != nil || !got.Equal(want) {
		t.Errorf("linked: %v", err)
	}
	if got, err := NodeKey(path); err != nil || !got.Equal(want) {
		t.Errorf("a node's, linked: %v", err)
	}
	if err := os.Chmod(elsewhere, 0o644); err != nil {
		t.Fatal(err)
	}
	_, err = Key(dir)
	wantError(t, err, "can be read by others (mode 0644)")
	if err := os.Remove(elsewhere); err != nil {
		t.Fatal(err)
	}
	_, err = Key(dir)
	wantError(t, err, "leads to "+elsewhere+", where there is nothing")
	_, err = NodeKey(path)
	wantError(t, err, "leads to "+elsewhere+", where there is nothing")
	if _, err := os.Stat(elsewhere); !errors.Is(err, fs.ErrNotExist) {
		t.Error("a key was made where the link leads")
	}
}

// TestPathCheck checks that no link leads out of the folder but that of the key.
func TestPathCheck(t *testing.T) {
	dir := newAgent(t, 0)
	outside := filepath.Join(filepath.Dir(dir), "outside")
	if err := os.WriteFile(outside, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{fileWASM, fileManifest} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(outside, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	s := open(t, dir)
	_, err := s.WASM()
	wantError(t, err, "escapes")
	_, err = s.Manifest()
	wantError(t, err, "escapes")
}

func TestLock(t *testing.T) {
	dir := newAgent(t, 0)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), holdLock+"="+dir)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line := make([]byte, 4)
	if _, err := stdout.Read(line); err != nil || string(line) != "held" {
		t.Fatalf("got %q, %v", line, err)
	}
	_, err = Open(dir)
	wantError(t, err, fmt.Sprintf("is in use by process %d on ", cmd.Process.Pid))
	if err := cmd.Process.Kill(); err != nil { // a killed process holds nothing
		t.Fatal(err)
	}
	cmd.Wait()
	stdin.Close()
	open(t, dir)
	_, err = Open(dir)
	wantError(t, err, fmt.Sprintf("is in use by process %d on ", os.Getpid()))
}

// TestCopy checks that a life goes on from a plain copy of its folder.
func TestCopy(t *testing.T) {
	dir := newAgent(t, 2)
	to := filepath.Join(t.TempDir(), "copy")
	if out, err := exec.Command("cp", "-r", dir, to).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	s := open(t, to)
	recoverStore(t, s)
	appendNext(t, s, 30)
}

func FuzzParseKey(f *testing.F) {
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		f.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(pem.EncodeToMemory(&pem.Block{Type: pemType, Bytes: der}))
	f.Add([]byte("-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----"))
	f.Fuzz(func(t *testing.T, b []byte) {
		key, err := parseKey(b)
		if (err == nil) != (len(key) == ed25519.PrivateKeySize) {
			t.Errorf("got a key of %d bytes and error %v", len(key), err)
		}
	})
}

// BenchmarkAppend holds a durable append against the least that a disk has to
// do for one: a new file, written and synced.
func BenchmarkAppend(b *testing.B) {
	dir := filepath.Join(b.TempDir(), "agent")
	if err := create(dir); err != nil {
		b.Fatal(err)
	}
	s, err := Open(dir)
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	k, err := s.Key()
	if err != nil {
		b.Fatal(err)
	}
	if _, err := s.Recover(b.Context(), k.Public().(ed25519.PublicKey)); err != nil {
		b.Fatal(err)
	}
	raw, err := os.OpenRoot(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	defer raw.Close()
	var tick uint64
	var appending, writing time.Duration
	for b.Loop() { // in turns, so that both see the same disk
		tick++
		next := sign(k, s.head, tick)
		began := time.Now()
		if err := s.Append(s.head, nothing, next); err != nil {
			b.Fatal(err)
		}
		appending += time.Since(began)
		began = time.Now()
		if err := writeFile(raw, FileName(tick), next, 0o644); err != nil {
			b.Fatal(err)
		}
		writing += time.Since(began)
	}
	b.ReportMetric(appending.Seconds()/float64(b.N)*1e6, "µs/append")
	b.ReportMetric(writing.Seconds()/appending.Seconds(), "of-raw")
}
