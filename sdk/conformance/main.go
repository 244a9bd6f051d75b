//go:build !wasip1

// Conformance says of an SDK whether agents made with it are what docs/spec/abi.md
// asks, and if not, what fails. It is given a probe, an agent that README.md
// describes, and runs it with the igor in the PATH.
//
//	go run ./conformance PROBE.wasm
package main

import (
	"bytes"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"igor.dev/sdk"
)

//go:embed probe.manifest.json answers.json want.state
var files embed.FS

const (
	ticks = "50"
	every = "25"
	seed  = "7"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: conformance PROBE.wasm")
		os.Exit(2)
	}
	program, err := os.ReadFile(os.Args[1])
	if err == nil {
		err = errors.Join(checkModule(program)...)
	}
	if err == nil {
		err = live(os.Args[1])
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "conformance: %v\n", err)
		os.Exit(1)
	}
	fmt.Println("it exports and imports what an agent does, and its life of " + ticks + " ticks has every state as it should be")
}

// exports are those of an agent, and their signatures.
var exports = map[string]signature{
	"agent_init":           {},
	"agent_tick":           {results: "i32"},
	"agent_checkpoint":     {results: "i32"},
	"agent_checkpoint_ptr": {results: "i32"},
	"agent_resume":         {params: "i32 i32"},
	"malloc":               {params: "i32", results: "i32"},
}

// imports are those of module igor, and their signatures.
var imports = map[string]signature{
	"clock_now":            {results: "i64"},
	"rand_bytes":           {"i32 i32", "i32"},
	"log_emit":             {params: "i32 i32"},
	"kv_get":               {"i32 i32 i32 i32", "i32"},
	"kv_put":               {"i32 i32 i32 i32", "i32"},
	"kv_delete":            {"i32 i32", "i32"},
	"wallet_balance":       {results: "i64"},
	"wallet_receipt_count": {results: "i32"},
	"wallet_receipt":       {"i32 i32 i32", "i32"},
	"node_price":           {results: "i64"},
	"http_request":         {"i32 i32 i32 i32 i32 i32 i32 i32 i32 i32", "i32"},
	"wallet_pay":           {"i64 i32 i32 i32 i32 i32 i32", "i32"},
	"node_id":              {"i32 i32", "i32"},
	"peer_count":           {results: "i32"},
	"peer_offer":           {"i32 i32 i32", "i32"},
	"migrate":              {"i32 i32", "i32"},
	"migrate_status":       {results: "i32"},
	"drain_deadline":       {results: "i64"},
}

// absent says what to do about an import that no agent has.
var absent = map[string]string{
	"env.abort":        "AssemblyScript: --use abort=FUNCTION, or extend the SDK's asconfig.json",
	"env.seed":         "AssemblyScript's Math.random: use rand_bytes",
	"env.trace":        "AssemblyScript's trace: use log_emit",
	"env.console.log":  "AssemblyScript's console: use log_emit",
	"env.Date.now":     "AssemblyScript's Date.now: use clock_now",
	"env.memory":       "memory is the module's own, and exported",
	"wbg":              "wasm-bindgen: an agent has no JavaScript around it",
	"__wbindgen_place": "wasm-bindgen: an agent has no JavaScript around it",
}

func checkModule(program []byte) (problems []error) {
	m, err := parse(program)
	if err != nil {
		return []error{err}
	}
	problem := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	if !m.memory {
		problem("it does not export its memory as memory")
	}
	for _, name := range sorted(exports) {
		got, ok := m.exports[name]
		want := exports[name]
		switch {
		case !ok:
			problem("it does not export %s, which is %v", name, want)
		case got != want && !(name == "agent_tick" && got == signature{}):
			problem("it exports %s as %v, which should be %v", name, got, want)
		}
	}
	if got, ok := m.exports["agent_observe"]; ok && got != (signature{params: "i32 i32"}) {
		problem("it exports agent_observe as %v, which should be %v", got, signature{params: "i32 i32"})
	}
	if got, ok := m.exports["_initialize"]; ok && got != (signature{}) {
		problem("it exports _initialize as %v, which should be %v", got, signature{})
	}
	if _, ok := m.exports["_start"]; ok {
		problem("it exports _start: it is built as a command, and has to be a library (C: -mexec-model=reactor, Go: -buildmode=c-shared, Rust: a cdylib)")
	}
	for _, i := range m.imports {
		want, ok := imports[i.name]
		hint := absent[i.module+"."+i.name]
		if hint == "" {
			hint = absent[i.module]
		}
		switch {
		case i.module == "wasi_snapshot_preview1":
		case i.module != "igor" || !ok:
			problem("it imports %s.%s, which no agent has (%s)", i.module, i.name, cmpOr(hint, "docs/spec/abi.md lists what there is"))
		case i.signature != want:
			problem("it imports %s as %v, which should be %v", i.name, i.signature, want)
		}
	}
	return problems
}

func cmpOr(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

func sorted(m map[string]signature) (names []string) {
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// live lives the probe's life, and compares the state at its end.
func live(program string) error {
	tmp, err := os.MkdirTemp("", "conformance")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	for _, name := range []string{"probe.manifest.json", "answers.json"} {
		b, err := files.ReadFile(name)
		if err == nil {
			err = os.WriteFile(filepath.Join(tmp, name), b, 0o644)
		}
		if err != nil {
			return err
		}
	}
	life := filepath.Join(tmp, "life")
	simulate := exec.Command("igor", "simulate", program, "--manifest", filepath.Join(tmp, "probe.manifest.json"),
		"--http", filepath.Join(tmp, "answers.json"), "--ticks", ticks, "--checkpoint-every", every, "--seed", seed, "--dir", life, "--verify", "--quiet")
	if out, err := simulate.CombinedOutput(); err != nil {
		return fmt.Errorf("igor simulate: %w\n%s", err, out)
	}
	var stderr bytes.Buffer
	replay := exec.Command("igor", "replay", life, "--until", ticks, "--dump")
	replay.Stderr = &stderr
	got, err := replay.Output()
	if err != nil {
		return fmt.Errorf("igor replay: %w\n%s", err, stderr.Bytes())
	}
	text, err := files.ReadFile("want.state")
	if err != nil {
		return err
	}
	want, err := hex.DecodeString(strings.Join(strings.Fields(string(text)), ""))
	if err != nil {
		return err
	}
	if !bytes.Equal(got, want) {
		return differ(got, want)
	}
	return nil
}

// differ says in what a probe's state is another one.
func differ(got, want []byte) error {
	g, gotErr := read(got)
	w, err := read(want)
	switch {
	case err != nil:
		return err
	case gotErr != nil:
		return fmt.Errorf("its state after tick %s is not in the form that README.md asks: %w\ngot  %x\nwant %x", ticks, gotErr, got, want)
	}
	for i, line := range w {
		if i >= len(g) || g[i] != line {
			return fmt.Errorf("its state after tick %s has %q, which should be %q", ticks, append(g, "")[min(i, len(g))], line)
		}
	}
	return fmt.Errorf("its state after tick %s is\n%x, which should be\n%x", ticks, got, want)
}

// read returns what is in a probe's state, a line each.
func read(state []byte) (lines []string, err error) {
	_, own, ok := bytes.Cut(state, []byte("igor/kv-state/v1\x00\x00\x00\x00\x00"))
	if !ok {
		return nil, errors.New("its store is not empty, or it has none")
	}
	d := sdk.NewDecoder(own, 1)
	lines = append(lines, fmt.Sprint("ticks ", d.Uint64()))
	lines = append(lines, strings.Split(d.Text()+d.Text(), "\n")...)
	var log sdk.EffectLog
	d.Value(&log)
	if d.Close() == nil {
		b, _ := log.MarshalBinary()
		defer func() { lines = append(lines, fmt.Sprintf("effect log %x", b)) }()
	}
	for i := range log.All() {
		lines = append(lines, fmt.Sprintf("intent %s %s %q", i.ID, i.State, i.Data))
	}
	return lines, d.Close()
}
