package testkit

import (
	"bytes"
	"crypto/ed25519"
	"encoding/binary"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"unicode"
)

const (
	vectorsDir   = "../../testdata/vectors"
	historiesDir = "../../testdata/histories"
)

// Whatever testkit is used to test must not help to build the tests.
func TestImports(t *testing.T) {
	seen := 0
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".go" {
			return err
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		seen++
		for _, i := range f.Imports {
			name, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				return err
			}
			first, _, _ := strings.Cut(name, "/")
			if strings.Contains(first, ".") && name != "igor.dev/internal/testkit" {
				t.Errorf("%s imports %s; only the standard library may be imported here", path, name)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if seen < 5 {
		t.Fatalf("only %d Go files seen", seen)
	}
}

func TestSpecExample(t *testing.T) {
	want := SpecBytes(t, "../../docs/spec", "checkpoint.md", "hex genesis")
	var seed [32]byte
	for i := range seed {
		seed[i] = byte(i)
	}
	a := AgentFromSeed(seed)
	f := Fields{Budget: 1000000, Price: 1000, Tick: 4, WASMHash: [32]byte(want[OffWASMHash:OffMajorVersion]), State: []byte("hello")}
	genesis := a.Checkpoint(f)
	if !bytes.Equal(genesis, want) {
		t.Errorf("genesis is\n%x, the spec says\n%x", genesis, want)
	}
	f.Budget, f.Tick, f.State = 999995, 9, []byte("world")
	successor := a.After(genesis, f)
	if want := SpecBytes(t, "../../docs/spec", "lineage.md", "hex successor"); !bytes.Equal(successor, want) {
		t.Errorf("successor is\n%x, the spec says\n%x", successor, want)
	}
	if got, want := a.DID(), "did:key:z6MkehRgf7yJbgaGfYsdoAsKdBPE3dj2CYhowQdcjqSJgvVd"; got != want {
		t.Errorf("DID is %s, the spec says %s", got, want)
	}
	if got, want := CID(genesis), "bafkreiaoktvrl5vklimutb5ytn4yu7sdnypoxjorc7u2ylhoeiu2cdblbu"; got != want {
		t.Errorf("CID is %s, the spec says %s", got, want)
	}
	if got, want := CAR(successor, genesis, successor), SpecBytes(t, "../../docs/spec", "car.md", "hex car"); !bytes.Equal(got, want) {
		t.Errorf("CAR is\n%x, the spec says\n%x", got, want)
	}
}

func TestHistory(t *testing.T) {
	a := NewAgent("alice")
	h := a.History(20, 100)
	if len(h) != 20 {
		t.Fatalf("%d checkpoints", len(h))
	}
	again := NewAgent("alice").History(20, 100)
	var previous [32]byte
	for i, c := range h {
		if !bytes.Equal(c, again[i]) {
			t.Errorf("checkpoint %d differs between two runs", i)
		}
		if len(c) != HeaderSizeV4+100 || !ed25519.Verify(a.Key, Message(c), c[OffSignature:OffState]) {
			t.Errorf("checkpoint %d has a wrong size or signature", i)
		}
		if [32]byte(c[OffPrevHash:OffKey]) != previous {
			t.Errorf("checkpoint %d does not name its predecessor", i)
		}
		previous = Hash(c)
	}
	dir := t.TempDir()
	if err := WriteFolder(dir, h...); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(dir, "0000000009.ckpt"))
	if err != nil || !bytes.Equal(b, h[1]) {
		t.Errorf("the second checkpoint's file is wrong: %v", err)
	}
	if err := WriteFolder(dir, h[1]); err == nil {
		t.Error("a file was overwritten")
	}
}

func TestLoadRefusesNothing(t *testing.T) {
	dir := t.TempDir()
	if _, err := LoadVectors(dir); err == nil {
		t.Error("a folder without vectors was loaded")
	}
	if _, err := LoadHistories(dir); err == nil {
		t.Error("a folder without histories was loaded")
	}
	if err := os.WriteFile(filepath.Join(dir, "README.md"), nil, 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadVectors(dir); err == nil {
		t.Error("a folder with a file alone was loaded")
	}
	if _, err := LoadVectors(filepath.Join(dir, "absent")); err == nil {
		t.Error("an absent folder was loaded")
	}
}

func TestLoadRefusesNonsense(t *testing.T) {
	for _, text := range []string{
		``, `{`, `[]`, `{"expect": {"exit": 2}} {}`,
		`{"surprise": 1, "expect": {"exit": 2}}`,
		`{"expect": {"exit": 0}}`,
		`{"expect": {"verdict": "fine", "exit": 0}}`,
		`{"expect": {"verdict": "verified", "exit": 0}}`,
		`{"expect": {"verdict": "verified", "exit": 1, "checkpoints": 1}}`,
		`{"expect": {"verdict": "verified", "exit": 0, "codes": ["gap"], "checkpoints": 1}}`,
		`{"expect": {"verdict": "invalid", "exit": 1, "codes": [], "checkpoints": 1}}`,
	} {
		dir := t.TempDir()
		if err := os.Mkdir(filepath.Join(dir, "v"), 0o777); err != nil {
			t.Fatal(err)
		}
		if _, err := LoadVectors(dir); err == nil {
			t.Error("a folder without a vector.json was loaded")
		}
		if err := os.WriteFile(filepath.Join(dir, "v", "vector.json"), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		if _, err := LoadVectors(dir); err == nil {
			t.Errorf("loaded: %s", text)
		}
	}
}

func TestLoadHistories(t *testing.T) {
	histories, err := LoadHistories(historiesDir)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range histories {
		files, err := filepath.Glob(filepath.Join(v.Dir, "*.ckpt"))
		if err != nil || len(files) != v.Expect.Checkpoints {
			t.Errorf("%s has %d files, and expects %d checkpoints", v.Name, len(files), v.Expect.Checkpoints)
		}
	}
}

// The checkpoints of every vector that is to be verified have signatures that another
// implementation accepts.
func TestGoodVectors(t *testing.T) {
	vectors, err := LoadVectors(vectorsDir)
	if err != nil {
		t.Fatal(err)
	}
	if len(vectors) < 80 {
		t.Fatalf("only %d vectors", len(vectors))
	}
	seen := 0
	for _, v := range vectors {
		if v.Expect.Verdict != "verified" && v.Expect.Verdict != "incomplete" {
			continue
		}
		for _, c := range checkpoints(t, v) {
			seen++
			if c[0] != 4 || !ed25519.Verify(c[OffKey:OffSignature], Message(c), c[OffSignature:OffState]) {
				t.Errorf("%s: a signature is bad", v.Name)
			}
			if v.Expect.DID != DID(c[OffKey:OffSignature]) {
				t.Errorf("%s: a key is not the expected DID's", v.Name)
			}
		}
	}
	if seen == 0 {
		t.Fatal("no checkpoint seen")
	}
}

// checkpoints returns all checkpoints of a vector's inputs, which must be well-formed.
func checkpoints(t *testing.T, v Vector) (all [][]byte) {
	t.Helper()
	for _, input := range v.Paths() {
		err := filepath.WalkDir(input, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			named := strings.EqualFold(filepath.Ext(path), ".ckpt")
			segment, _ := regexp.MatchString(`^[0-9]+(-[0-9]+)?\.(car|CAR)$`, d.Name())
			if path != input && !named && !segment || strings.HasPrefix(d.Name(), "._") || strings.Contains(path, "__MACOSX") {
				return nil
			}
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			if len(b) > 51 && b[0] == 10 { // a CARv2
				at := binary.LittleEndian.Uint64(b[27:])
				b = b[at : at+binary.LittleEndian.Uint64(b[35:])]
			}
			isCAR := len(b) > 0 && b[0] == 58
			if !isCAR && !named && (len(b) == 0 || b[0] < 2 || b[0] > 4) {
				return nil
			}
			if !isCAR {
				all = append(all, b)
				return nil
			}
			for first := true; len(b) > 0; first = false {
				n, size := binary.Uvarint(b)
				if section := b[size : size+int(n)]; !first {
					all = append(all, section[36:])
				}
				b = b[size+int(n):]
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(all) != v.Expect.Checkpoints+v.Expect.Duplicates {
		t.Errorf("%s has %d checkpoints, and expects %d and %d duplicates", v.Name, len(all), v.Expect.Checkpoints, v.Expect.Duplicates)
	}
	return all
}

// Every problem code of the spec occurs in a vector alone or with its consequences.
func TestEveryCodeHasAVector(t *testing.T) {
	vectors, err := LoadVectors(vectorsDir)
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("../../docs/spec/lineage.md")
	if err != nil {
		t.Fatal(err)
	}
	first := make(map[string]bool)
	for _, v := range vectors {
		for _, c := range v.Expect.Codes {
			if !bytes.Contains(page, []byte("`"+c+"`")) {
				t.Errorf("%s: the spec has no code %q", v.Name, c)
			}
		}
		if len(v.Expect.Codes) > 0 {
			first[v.Expect.Codes[0]] = true
		}
	}
	for _, c := range []string{
		"empty", "unsupported-version", "truncated", "unsigned-version", "weak-key", "bad-signature", "negative-budget", "negative-price",
		"identity-mismatch", "fork", "tick-order", "missing-genesis", "gap", "head-not-found",
	} {
		if !first[c] {
			t.Errorf("no vector has %q as its first cause", c)
		}
	}
}

func TestCopyTo(t *testing.T) {
	vectors, err := LoadVectors(vectorsDir)
	if err != nil {
		t.Fatal(err)
	}
	renamed := 0
	for _, v := range vectors {
		if v.Names == nil {
			continue
		}
		dir := t.TempDir()
		to, err := v.CopyTo(dir)
		if err != nil {
			t.Skip("this file system does not take the names: ", err)
		}
		for from, name := range v.Names {
			renamed++
			a, err1 := os.ReadFile(filepath.Join(v.Dir, from))
			b, err2 := os.ReadFile(filepath.Join(to.Dir, name))
			if err1 != nil || err2 != nil || !bytes.Equal(a, b) {
				t.Errorf("%s: %q is not %q: %v %v", v.Name, name, from, err1, err2)
			}
		}
	}
	if renamed == 0 {
		t.Fatal("no vector has names")
	}
}

// A Go module's zip file, and so the module itself, takes only some names.
func TestNamesFitAModule(t *testing.T) {
	err := filepath.WalkDir("../../testdata", func(path string, d fs.DirEntry, err error) error {
		for _, r := range filepath.Base(path) {
			if !unicode.IsLetter(r) && (r >= unicode.MaxASCII || !strings.ContainsRune("0123456789!#$%&()+,-.=@[]^_{}~ ", r)) {
				t.Errorf("%q has the character %q, which no Go module may have in a name", path, r)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
