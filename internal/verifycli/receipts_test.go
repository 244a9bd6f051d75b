package verifycli

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestReceiptFolders checks that receipts reads folders as verification does.
func TestReceiptFolders(t *testing.T) {
	var vector struct {
		Receipts    string
		Checkpoints []string
	}
	b, err := os.ReadFile("../../testdata/receipts/whole.json")
	if err == nil {
		err = json.Unmarshal(b, &vector)
	}
	if err != nil {
		t.Fatal(err)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	bytesOf := func(s string) []byte {
		b, err := hex.DecodeString(s)
		must(err)
		return b
	}
	elsewhere, dir := t.TempDir(), t.TempDir()
	write := func(path string, b []byte) { t.Helper(); must(os.WriteFile(path, b, 0o666)) }
	must(os.Mkdir(filepath.Join(dir, "history"), 0o777))
	write(filepath.Join(elsewhere, "r"), bytesOf(vector.Receipts))
	must(os.Symlink(filepath.Join(elsewhere, "r"), filepath.Join(dir, "receipts")))
	for i, c := range vector.Checkpoints {
		name := fmt.Sprintf("%d.ckpt", i)
		if i == 0 {
			write(filepath.Join(elsewhere, name), bytesOf(c))
			must(os.Symlink(filepath.Join(elsewhere, name), filepath.Join(dir, "history", name)))
			continue
		}
		write(filepath.Join(dir, "history", strings.ToUpper(name)), bytesOf(c))
	}
	run := func(args ...string) (out string, code int) {
		var o bytes.Buffer
		code = Receipts("igor receipts", args, strings.NewReader(""), &o, &o)
		return o.String(), code
	}
	if out, code := run(dir); code != 0 {
		t.Fatalf("exit code %d: %s", code, out)
	}
	// What macOS adds, and a link to a folder, change nothing.
	write(filepath.Join(dir, "._receipts"), []byte("\x00\x05\x16\x07"))
	write(filepath.Join(dir, "history", "._0.ckpt"), []byte("\x00\x05\x16\x07"))
	must(os.Symlink(elsewhere, filepath.Join(dir, "more")))
	want, _ := run(dir)
	if out, code := run(dir); code != 0 || out != want {
		t.Errorf("exit code %d: %s", code, out)
	}
	for name, make := range map[string]func(path string) error{
		"a device":     func(path string) error { return os.Symlink("/dev/zero", path) },
		"nowhere":      func(path string) error { return os.Symlink(elsewhere+"/nowhere", path) },
		"cut receipts": func(path string) error { return os.WriteFile(path, bytesOf(vector.Receipts)[:100], 0o666) },
		"checkpoint named receipts": func(path string) error {
			return os.WriteFile(path, bytesOf(vector.Checkpoints[0]), 0o666)
		},
	} {
		path := filepath.Join(dir, "history", "receipts")
		must(make(path))
		if out, code := run(dir); code != 2 {
			t.Errorf("%s: exit code %d: %s", name, code, out)
		}
		must(os.Remove(path))
	}
	for name, b := range map[string]string{"a.zip": "PK\x03\x04", "x": "version https://git-lfs.github.com/spec/v1\n", "._receipts": ""} {
		path := filepath.Join(t.TempDir(), name)
		write(path, []byte(b))
		if out, code := run(dir, path); code != 2 || !strings.Contains(out, "this is ") {
			t.Errorf("%s: exit code %d: %s", name, code, out)
		}
	}
}

// TestReceiptList says who gave how much for what.
func TestReceiptList(t *testing.T) {
	for name, want := range map[string][]string{
		"whole-with-payment": {
			"\nnode  did:key:z6Mk", ": 3 executions,\n      ticks 0 to ", "\nadded 0.001000, at its birth\n", "\npaid  0.000115 to \"bob\" for \"for data\", 2023-",
			`"nodes":[{"did":"did:key:z6Mk`, `"added":[{"node":"did:key:z6Mk`, `"paid":[{"recipient":"bob","memo":"for data","amountMicrocents":"115"`,
		},
		// Its sums are beyond 64 bits.
		"added-beyond-64-bits": {"money added 18446744073709.551614, cost 9223372036854.775807,", "left 9223372036854.775807\n", `"addedMicrocents":"18446744073709551614"`, "\nverified: "},
	} {
		var vector struct{ Receipts string }
		b, err := os.ReadFile("../../testdata/receipts/" + name + ".json")
		if err == nil {
			err = json.Unmarshal(b, &vector)
		}
		if err != nil {
			t.Fatal(err)
		}
		b, err = hex.DecodeString(vector.Receipts)
		if err != nil {
			t.Fatal(err)
		}
		var out, compact bytes.Buffer
		for _, format := range []string{"text", "json"} {
			at := out.Len()
			if code := Receipts("igor receipts", []string{"--format", format, "-"}, bytes.NewReader(b), &out, &out); code != 0 {
				t.Fatalf("%s: exit code %d\n%s", name, code, &out)
			}
			if format == "json" {
				if err := json.Compact(&compact, out.Bytes()[at:]); err != nil {
					t.Fatal(err)
				}
			}
		}
		for _, w := range want {
			if !strings.Contains(out.String()+compact.String(), w) {
				t.Errorf("%s: without %q\n%s%s", name, w, &out, &compact)
			}
		}
	}
}

// TestReceiptKeys names the agents of a mixed pile, none of them as the agent unless it is
// pinned.
func TestReceiptKeys(t *testing.T) {
	var vector struct{ Receipts, Agent string }
	for name, want := range map[string][]string{
		"strangers-outnumber":        {"keys  did:key:z6Mk", "(4 receipts)\n", "(3 receipts)\n", `"lives":[{"did":"did:key:z6Mk`},
		"strangers-outnumber-pinned": {"(pinned)", "\nalso  did:key:z6Mk", "(4 receipts)\n", `"lives":[{"did":"did:key:z6Mk`, "invalid: 4 problems"},
	} {
		vector.Agent = ""
		b, err := os.ReadFile("../../testdata/receipts/" + name + ".json")
		if err == nil {
			err = json.Unmarshal(b, &vector)
		}
		if err != nil {
			t.Fatal(err)
		}
		b, err = hex.DecodeString(vector.Receipts)
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		args := []string{"-"}
		if vector.Agent != "" {
			args = append(args, "--did", vector.Agent)
		}
		for _, format := range []string{"text", "json"} {
			var one bytes.Buffer
			if code := Receipts("igor receipts", append(args, "--format", format), bytes.NewReader(b), &one, &one); code != 1 {
				t.Fatalf("%s: exit code %d\n%s", name, code, &one)
			}
			if format == "json" {
				if err := json.Compact(&out, one.Bytes()); err != nil {
					t.Fatal(err)
				}
				continue
			}
			out.Write(one.Bytes())
		}
		for _, w := range want {
			if !strings.Contains(out.String(), w) {
				t.Errorf("%s: without %q\n%s", name, w, &out)
			}
		}
		if vector.Agent == "" && strings.Contains(out.String(), "agent did:key") {
			t.Errorf("%s names one as the agent:\n%s", name, &out)
		}
	}
}
