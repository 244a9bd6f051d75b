package history

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"igor.dev/internal/testkit"
	"igor.dev/verifier"
)

func verify(t testing.TB, paths ...string) (*verifier.Report, error) {
	t.Helper()
	var sources []Source
	for _, p := range paths {
		s, err := Path(p)
		if err != nil {
			return nil, err
		}
		sources = append(sources, s)
	}
	var v Verification
	return v.Run(context.Background(), sources...)
}

func reportJSON(t testing.TB, r *verifier.Report) string {
	t.Helper()
	var b bytes.Buffer
	if err := r.WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestRealHistories verifies lives that another implementation lived.
func TestRealHistories(t *testing.T) {
	expects, err := filepath.Glob("../../testdata/histories/*/EXPECT.json")
	if err != nil || len(expects) == 0 {
		t.Fatalf("no histories: %v", err)
	}
	for _, path := range expects {
		dir := filepath.Dir(path)
		t.Run(filepath.Base(dir), func(t *testing.T) {
			raw, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			var want struct {
				Verdict     string
				Exit        int
				Codes       []string
				DID         string
				Checkpoints int
			}
			if err := json.Unmarshal(raw, &want); err != nil {
				t.Fatal(err)
			}
			r, err := verify(t, dir)
			if err != nil {
				t.Fatal(err)
			}
			var codes []string
			for p := range r.Problems() {
				codes = append(codes, p.Code.String())
			}
			did := ""
			if k, ok := r.Key(); ok {
				did = k.DID()
			}
			n, _ := r.Checkpoints()
			if r.Verdict().String() != want.Verdict || r.Verdict().ExitCode() != want.Exit ||
				!slices.Equal(slices.Compact(codes), want.Codes) || did != want.DID || n != want.Checkpoints {
				t.Errorf("%s %d %v %s %d, want %+v", r.Verdict(), r.Verdict().ExitCode(), codes, did, n, want)
			}
		})
	}
}

func TestSources(t *testing.T) {
	history := testkit.NewAgent("alice").History(300, 2000)
	dir := t.TempDir()
	write := func(name string, b []byte) string {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, b, 0o666); err != nil {
			t.Fatal(err)
		}
		return path
	}
	var files []string
	for i, b := range history {
		// In folders, the deeper the later, beside files that are no checkpoints.
		files = append(files, write(fmt.Sprintf("life/%s%03d.ckpt", strings.Repeat("deeper/", i/100), i), b))
	}
	write("life/notes.txt", []byte("not a checkpoint"))
	car := write("life.car", testkit.CAR(history[299], history...))
	empty := write("empty/x.txt", nil)

	byFolder, err := verify(t, filepath.Join(dir, "life"))
	if err != nil || byFolder.Verdict() != verifier.Verified {
		t.Fatal(byFolder, err)
	}
	for name, paths := range map[string][]string{
		"files":          files,
		"CAR":            {car},
		"all of them":    append(slices.Clone(files), car, filepath.Join(dir, "life")),
		"slash at end":   {filepath.Join(dir, "life") + "/"},
		"CAR and a file": {car, files[7]},
	} {
		paths = append(paths, filepath.Join(dir, "life/notes.txt")) // which the folder has
		if name == "all of them" || name == "slash at end" {
			paths = paths[:len(paths)-1]
		}
		r, err := verify(t, paths...)
		if err != nil || r.Verdict() != verifier.Verified {
			t.Fatalf("%s: %v %v", name, r, err)
		}
		_, duplicates := r.Checkpoints()
		want := strings.Replace(reportJSON(t, byFolder), `"duplicates": 0`, fmt.Sprintf(`"duplicates": %d`, duplicates), 1)
		if got := reportJSON(t, r); got != want {
			t.Errorf("%s: another report:\n%s\n%s", name, got, want)
		}
	}

	for name, test := range map[string]struct {
		paths []string
		want  string
	}{
		"nothing":                    {nil, "nothing to verify"},
		"no such path":               {[]string{filepath.Join(dir, "nowhere")}, "no such file or folder"},
		"empty folder":               {[]string{filepath.Join(dir, "life"), filepath.Dir(empty)}, "no .ckpt file"},
		"a CAR that is a checkpoint": {[]string{write("none.car", history[0])}, "this is a checkpoint, and no CAR"},
		"a CAR that is none":         {[]string{write("text.car", []byte("text"))}, "malformed CAR"},
		"cut CAR":                    {[]string{write("cut.car", testkit.CAR(history[299], history...)[:5000])}, "malformed CAR: block 2"},
		"too large":                  {[]string{tooLarge(t, filepath.Join(dir, "large.ckpt"))}, "64 MiB"},
		"device":                     {[]string{"/dev/null"}, "not a regular file"},
		"dangling link":              {[]string{dangling(t, filepath.Join(dir, "dangling"))}, "no such file"},
	} {
		r, err := verify(t, test.paths...)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: report %v, error %v, want %q", name, r, err, test.want)
		}
	}
}

func tooLarge(t *testing.T, path string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte{4}, 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, verifier.MaxCheckpointSize+1); err != nil {
		t.Fatal(err)
	}
	return path
}

func dangling(t *testing.T, dir string) string {
	t.Helper()
	if err := os.Mkdir(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("nowhere", filepath.Join(dir, "a.ckpt")); err != nil {
		t.Fatal(err)
	}
	return dir
}

// What a folder has besides checkpoints: links are followed to files, and to nothing else.
func TestLinks(t *testing.T) {
	dir := t.TempDir()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	h := testkit.NewAgent("alice").History(4, 10)
	life, elsewhere := filepath.Join(dir, "life"), filepath.Join(dir, "elsewhere")
	must(testkit.WriteFolder(life, h[:2]...))
	must(testkit.WriteFolder(elsewhere, h[2:]...))
	link := func(to, name string) { must(os.Symlink(to, filepath.Join(life, name))) }
	link(filepath.Join(elsewhere, testkit.FileName(h[2])), "third.ckpt")
	link(elsewhere, "more")
	link(elsewhere, "folder.ckpt")
	link(filepath.Join(dir, "nowhere"), "dangling")
	link("/dev/null", "null")
	must(os.Mkdir(filepath.Join(life, "sub.ckpt"), 0o777))

	r, err := verify(t, life)
	must(err)
	if n, _ := r.Checkpoints(); n != 3 || r.Verdict() != verifier.Verified {
		t.Errorf("%s, %d checkpoints", r.Verdict(), n)
	}
	left := make(map[verifier.Kind]verifier.LeftOut)
	for l := range r.NotLookedAt() {
		left[l.Kind] = l
	}
	if l := left[verifier.KindFolderLink]; l.Files != 2 || l.Name != "folder.ckpt" {
		t.Errorf("links to folders: %+v", l)
	}
	if l := left[verifier.KindOther]; l.Files != 2 || l.Name != "dangling" {
		t.Errorf("others: %+v", l)
	}

	// A link to a folder that is given is followed.
	must(os.Symlink(life, filepath.Join(dir, "link")))
	if again, err := verify(t, filepath.Join(dir, "link")); err != nil || reportJSON(t, again) != reportJSON(t, r) {
		t.Errorf("by a link: %v", err)
	}

	for name, to := range map[string]string{"device.ckpt": "/dev/zero", "nowhere.ckpt": filepath.Join(dir, "nowhere")} {
		link(to, name)
		if r, err := verify(t, life); err == nil {
			t.Errorf("%s: %s", name, r.Verdict())
		}
		must(os.Remove(filepath.Join(life, name)))
	}
}

// A meanwhile is a source without checkpoints that does something when it has its turn.
type meanwhile func()

func (m meanwhile) feed(*run) error { m(); return nil }
func (m meanwhile) finish() error   { return nil }

// TestLiving verifies a folder to which its agent adds checkpoints meanwhile, so that the
// first listing of it has a later one and lacks one before.
func TestLiving(t *testing.T) {
	history := testkit.NewAgent("alice").History(40, 10)
	for name, test := range map[string]struct {
		first, then [][]byte
		want        verifier.Verdict
		checkpoints int
	}{
		"missed":        {append(slices.Clone(history[:10]), history[12:]...), history[10:12], verifier.Verified, 40},
		"missed twice":  {append(slices.Clone(history[:10]), history[15]), append(slices.Clone(history[10:15]), history[16:20]...), verifier.Verified, 20},
		"genesis":       {history[1:], history[:1], verifier.Verified, 40},
		"still missing": {append(slices.Clone(history[:10]), history[12:]...), history[10:11], verifier.Incomplete, 39},
		"nothing":       {append(slices.Clone(history[:10]), history[12:]...), nil, verifier.Incomplete, 38},
		"not asked":     {history[:10], history[11:], verifier.Verified, 10},
	} {
		dir := t.TempDir()
		if err := testkit.WriteFolder(dir, test.first...); err != nil {
			t.Fatal(err)
		}
		for name, b := range map[string][]byte{"copy.ckpt": test.first[0], "note.txt": nil} {
			if err := os.WriteFile(filepath.Join(dir, name), b, 0o666); err != nil {
				t.Fatal(err)
			}
		}
		source, err := Path(dir)
		if err != nil {
			t.Fatal(err)
		}
		var v Verification
		r, err := v.Run(context.Background(), source, meanwhile(func() {
			if err := testkit.WriteFolder(dir, test.then...); err != nil {
				t.Error(err)
			}
		}))
		if err != nil {
			t.Fatal(err)
		}
		n, duplicates := r.Checkpoints()
		if r.Verdict() != test.want || n != test.checkpoints || duplicates != 1 {
			t.Errorf("%s: %s, %d checkpoints, %d duplicates", name, r.Verdict(), n, duplicates)
		}
		for l := range r.NotLookedAt() {
			if l.Files != 1 {
				t.Errorf("%s: %d files were left out", name, l.Files)
			}
		}
	}
}

// TestPacking verifies a folder whose agent puts its checkpoints into segments meanwhile:
// what was listed is not there any more, and the segments were not listed.
func TestPacking(t *testing.T) {
	history := testkit.NewAgent("alice").History(20, 10)
	for i := range 3 {
		dir := t.TempDir()
		if err := testkit.WriteFolder(dir, history...); err != nil {
			t.Fatal(err)
		}
		source, err := Path(dir)
		if err != nil {
			t.Fatal(err)
		}
		pack := meanwhile(func() {
			for j, cut := range [][][]byte{history[:7], history[7:12]}[:i] {
				if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%d.car", j)), testkit.CAR(cut[len(cut)-1], cut...), 0o666); err != nil {
					t.Error(err)
				}
			}
			for _, c := range history[:12] {
				if err := os.Remove(filepath.Join(dir, testkit.FileName(c))); err != nil {
					t.Error(err)
				}
			}
		})
		source.(*folder).listed = pack
		var v Verification
		r, err := v.Run(context.Background(), source)
		if err != nil {
			t.Fatal(err)
		}
		want, checkpoints := verifier.Incomplete, []int{8, 15, 20}[i]
		if i == 2 {
			want = verifier.Verified
		}
		if n, _ := r.Checkpoints(); r.Verdict() != want || n != checkpoints {
			t.Errorf("%d segments: %s, %d checkpoints", i, r.Verdict(), n)
		}
	}
}

// TestFirstError verifies a CAR that is wrong in two places: the earlier one is
// reported, whichever worker is faster.
func TestFirstError(t *testing.T) {
	history := testkit.NewAgent("alice").History(900, 1000)
	car := testkit.CAR(history[899], history...)
	car[len(car)/3] ^= 1
	car[len(car)/2] ^= 1
	car = car[:len(car)-1]
	want := ""
	for range 10 {
		v := Verification{Workers: 4}
		_, err := v.Run(context.Background(), CAR("x.car", bytes.NewReader(car)))
		if err == nil {
			t.Fatal("a CAR with flipped bits is verified")
		}
		if want == "" {
			want = err.Error()
		}
		if err.Error() != want || !strings.Contains(want, "block 29") && !strings.Contains(want, "block 30") {
			t.Fatalf("%v, before %v", err, want)
		}
	}
}

func TestCancel(t *testing.T) {
	history := testkit.NewAgent("alice").History(50, 10)
	dir := t.TempDir()
	if err := testkit.WriteFolder(dir, history...); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	s, err := Path(dir)
	if err != nil {
		t.Fatal(err)
	}
	var v Verification
	if r, err := v.Run(ctx, s); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled, it gives %v, %v", r, err)
	}
	// In the middle of a CAR that never ends.
	ctx, cancel = context.WithCancel(context.Background())
	var endless Verification
	in := &endlessCAR{history: history, v: &endless, stop: cancel}
	if r, err := endless.Run(ctx, CAR("-", in)); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled, it gives %v, %v", r, err)
	}
}

// An endlessCAR repeats a block and cancels once some were examined.
type endlessCAR struct {
	history [][]byte
	v       *Verification
	stop    func()
	out     []byte
}

func (e *endlessCAR) Read(p []byte) (int, error) {
	if e.out == nil {
		e.out = testkit.CAR(e.history[9])
	}
	for len(e.out) < len(p) {
		e.out = verifier.AppendCARBlock(e.out, testkit.Hash(e.history[5]), e.history[5])
	}
	n := copy(p, e.out)
	e.out = e.out[n:]
	if done, _ := e.v.Progress(); done > 100 {
		e.stop()
	}
	return n, nil
}

// TestMemory holds that a checkpoint takes at most 256 bytes, whatever its state.
func TestMemory(t *testing.T) {
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	const n = 200_000
	finding := verifier.Examine(testkit.NewAgent("alice").History(1, 0)[0])
	before := heap()
	var p verifier.Pile
	for i := range n {
		f := finding
		f.TickNumber = uint64(i)
		f.PrevHash = f.ContentHash
		f.ContentHash = testkit.Hash(fmt.Append(nil, i))
		f.AgentPubKey = verifier.PublicKey(testkit.Hash(fmt.Append(nil, "key", i))) // the worst that an attacker can do
		if err := p.Add(&f, fmt.Sprintf("%010d.ckpt", i)); err != nil {
			t.Fatal(err)
		}
	}
	r := verifier.Link(&p, verifier.Pins{})
	each := float64(heap()-before) / n
	t.Logf("%.0f bytes a checkpoint, %d problems", each, r.NumProblems())
	if each > 256 {
		t.Errorf("%.0f bytes a checkpoint", each)
	}
	runtime.KeepAlive(r)
}

// TestImports keeps package verifier and this one free of what would bloat the
// browser's WASM, and of everything outside the standard library.
func TestImports(t *testing.T) {
	direct, err := exec.Command("go", "list", "-f", "{{join .Imports \"\\n\"}}", "igor.dev/verifier", "igor.dev/verifier/history", "igor.dev/verifier/internal/onekey").Output()
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Fields(string(direct))
	if len(lines) < 10 {
		t.Fatalf("too few imports to be true: %v", lines)
	}
	for _, p := range lines {
		if slices.Contains([]string{"fmt", "reflect", "encoding/json", "encoding/binary", "encoding/hex", "log", "runtime/debug"}, p) {
			t.Errorf("%s is imported", p)
		}
	}
	all, err := exec.Command("go", "list", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", "igor.dev/verifier/history", "igor.dev/cmd/igor-verify").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range strings.Fields(string(all)) {
		if !strings.HasPrefix(p, "igor.dev/") || strings.HasPrefix(p, "igor.dev/runtime") {
			t.Errorf("%s is linked", p)
		}
	}
}

// TestVectors gives every scenario of testdata/vectors its expected outcome.
func TestVectors(t *testing.T) {
	vectors, err := testkit.LoadVectors("../../testdata/vectors")
	if err != nil {
		t.Fatal(err)
	}
	for _, vector := range vectors {
		t.Run(vector.Name, func(t *testing.T) {
			if len(vector.Names) > 0 {
				copied, err := vector.CopyTo(t.TempDir())
				if err != nil {
					t.Fatal(err)
				}
				vector = copied
			}
			want := vector.Expect
			r, err := runVector(vector)
			if err != nil {
				if want.Exit != 2 {
					t.Errorf("%v, want %s", err, want.Verdict)
				}
				return
			}
			var codes []string
			for p := range r.Problems() {
				if c := p.Code.String(); !slices.Contains(codes, c) {
					codes = append(codes, c)
				}
			}
			did := ""
			if k, ok := r.Key(); ok {
				did = k.DID()
			}
			n, duplicates := r.Checkpoints()
			got := testkit.Expect{Verdict: r.Verdict().String(), Exit: r.Verdict().ExitCode(), Codes: codes, DID: did, Checkpoints: n, Duplicates: duplicates}
			if got.Verdict != want.Verdict || got.Exit != want.Exit || !slices.Equal(got.Codes, want.Codes) || got.DID != want.DID ||
				got.Checkpoints != want.Checkpoints || got.Duplicates != want.Duplicates {
				t.Errorf("%s\ngot  %+v\nwant %+v", vector.Description, got, want)
			}
		})
	}
}

// runVector runs a vector, where malformed pins count as no verdict.
func runVector(vector testkit.Vector) (*verifier.Report, error) {
	var v Verification
	var err error
	if v.Pins, err = verifier.ParsePins(vector.Args.DID, vector.Args.Head); err != nil {
		return nil, err
	}
	var sources []Source
	for _, p := range vector.Paths() {
		s, err := Path(p)
		if err != nil {
			return nil, err
		}
		sources = append(sources, s)
	}
	return v.Run(context.Background(), sources...)
}

// TestEachBlock reads CARs block by block, through readers that give little at a
// time, and refuses every one that is cut or changed.
func TestEachBlock(t *testing.T) {
	life := testkit.NewAgent("alice").History(5, 20)
	car := testkit.CAR(life[4], life...)
	read := func(r io.Reader) (blocks [][]byte, err error) {
		err = EachBlock(r, func(b []byte, f *verifier.Finding) error {
			if f.ContentHash != sha256.Sum256(b) || !f.Authentic() {
				t.Errorf("block %d is not what was examined", len(blocks))
			}
			blocks = append(blocks, bytes.Clone(b))
			return nil
		})
		return blocks, err
	}
	for _, r := range []io.Reader{bytes.NewReader(car), iotest.OneByteReader(bytes.NewReader(car)), iotest.DataErrReader(bytes.NewReader(car))} {
		if got, err := read(r); err != nil || !slices.EqualFunc(got, life, bytes.Equal) {
			t.Errorf("got %d blocks, %v", len(got), err)
		}
	}
	for n := range car {
		if _, err := read(bytes.NewReader(car[:n])); err == nil {
			t.Fatalf("%d of %d bytes are a CAR", n, len(car))
		}
	}
	car[len(car)-1]++
	if got, err := read(bytes.NewReader(car)); err == nil || len(got) != 4 {
		t.Errorf("a changed block: got %d blocks, %v", len(got), err)
	}
	broken := errors.New("broken")
	if _, err := read(iotest.ErrReader(broken)); err != broken {
		t.Errorf("got error %v", err)
	}
	if err := EachBlock(bytes.NewReader(testkit.CAR(life[4], life...)), func([]byte, *verifier.Finding) error { return broken }); err != broken {
		t.Errorf("got error %v", err)
	}
}
