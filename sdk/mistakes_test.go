package sdk

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const (
	rustState = "state! { version 1; #[derive(Default)] struct Counter { ticks: u64 } }\n"
	rustAgent = "impl Agent for Counter { fn tick(&mut self) -> Next { Next::Idle } }\nagent!(Counter);\n"

	cState = "#define COUNTER(FIELD) FIELD(u64, ticks)\nIGOR_STATE(counter, 1, COUNTER)\n"
	cAgent = "static void init(struct counter *c) { (void)c; }\nstatic int tick(struct counter *c) { c->ticks++; return IGOR_IDLE; }\n"

	scriptHead = `import { Agent, Decoder, Encoder, Result, http, kv, run } from "@igor-dev/sdk";
export * from "@igor-dev/sdk/exports";
`
	scriptSaved = "save(e: Encoder): void {} load(d: Decoder): void {} }\n"
)

// TestMistakes makes the usual mistakes in each language, and wants the compiler to
// say what is wrong in words that an author can go on with.
func TestMistakes(t *testing.T) {
	for _, tt := range []struct {
		language, mistake, source string
		want                      string // "" builds
	}{
		{"rust", "none", rustState + rustAgent, ""},
		{"rust", "a field of a type that is no field", strings.Replace(rustState, "u64", "u32", 1) + rustAgent,
			"the trait bound `u32: Field` is not satisfied"},
		{"rust", "no version", "state! { #[derive(Default)] struct Counter { ticks: u64 } }\n" + rustAgent,
			"state! begins with the version of the state: `version 1;` before the struct"},
		{"rust", "version 0", strings.Replace(rustState, "version 1", "version 0", 1) + rustAgent, "state!: versions begin with 1"},
		{"rust", "an enum", "state! { version 1; enum Counter { One } }\n", "state! takes a struct with named fields, not an enum; write its `impl State` by hand"},
		{"rust", "a tuple struct", "state! { version 1; struct Counter(u64); }\n", "state! takes a struct with named fields, not a tuple struct"},
		{"rust", "a generic struct", "state! { version 1; struct Counter<T> { ticks: T } }\n", "state! takes a struct with named fields, not a generic struct"},
		{"rust", "something else", "state! { version 1; }\n", "state! takes a version and a struct with named fields"},
		{"rust", "no Default", "state! { version 1; struct Counter { ticks: u64 } }\n" + rustAgent, "the trait bound `Counter: Default` is not satisfied"},
		{"rust", "no agent", rustState + "agent!(Counter);\n", "the trait bound `Counter: Agent` is not satisfied"},
		{"rust", "no type", rustState + "agent!();\n", "agent! takes the type of the agent: agent!(Heart);"},
		{"rust", "an agent without a state", "#[derive(Default)] struct Counter;\n" + rustAgent, "the trait bound `Counter: State` is not satisfied"},
		{"rust", "a tick that says whether", rustState + strings.Replace(rustAgent, "-> Next { Next::Idle }", "-> bool { true }", 1), "found `bool`"},

		{"c", "none", cState + cAgent + "IGOR_AGENT(counter, init, tick)\n", ""},
		{"c", "a kind that there is not", strings.Replace(cState, "u64", "u46", 1) + cAgent + "IGOR_AGENT(counter, init, tick)\n", "entry.c:3:1: error: use of undeclared identifier 'there_is_no_field_of_kind_u46'"},
		{"c", "a text without its size", strings.Replace(cState, "u64", "text", 1), "too few arguments provided to function-like macro invocation"},
		{"c", "version 0", strings.Replace(cState, "1", "0", 1), "IGOR_STATE: a version is 1 to 255"},
		{"c", "an agent without a state", cState + cAgent + "IGOR_AGENT(conter, init, tick)\n", "entry.c:6:1: error: invalid application of 'sizeof' to an incomplete type 'struct conter'"},
		{"c", "a function that is not there", cState + cAgent + "IGOR_AGENT(counter, init, tik)\n", "tik"},

		{"assemblyscript", "none", "class Counter extends Agent { tick(): bool { return false; } " + scriptSaved + "run(new Counter());\n", ""},
		{"assemblyscript", "no tick", "class Counter extends Agent { " + scriptSaved + "run(new Counter());\n",
			"entry/Counter' does not implement inherited abstract member 'tick' from '~lib/@igor-dev/sdk/index/Agent'."},
		{"assemblyscript", "no load", "class Counter extends Agent { tick(): bool { return false; } save(e: Encoder): void {} }\nrun(new Counter());\n",
			"does not implement inherited abstract member 'load'"},
		{"assemblyscript", "not an agent", "class Counter {}\nrun(new Counter());\n", "entry/Counter' is not assignable to type '~lib/@igor-dev/sdk/index/Agent'."},
		{"assemblyscript", "a result for its value", "export function f(): Uint8Array { return kv.get(\"a\"); }\n",
			"is not assignable to type '~lib/typedarray/Uint8Array'"},
	} {
		t.Run(tt.language+"/"+tt.mistake, func(t *testing.T) {
			if out, err := exec.Command("make", "-s", "has-"+tt.language).CombinedOutput(); err != nil {
				t.Skipf("%s is not here: tools/needs.sh languages gets it\n%s", tt.language, out)
			}
			here, err := filepath.Abs(".")
			if err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			files := map[string]string{}
			switch tt.language {
			case "rust":
				files["Cargo.toml"] = "[package]\nname = \"entry\"\nversion = \"0.1.0\"\nedition = \"2021\"\n[lib]\ncrate-type = [\"cdylib\"]\npath = \"entry.rs\"\n" +
					"[dependencies]\nigor-sdk = { path = \"" + here + "/rust\" }\n"
				files["entry.rs"] = "#![allow(unused)]\nuse igor_sdk::{agent, state, Agent, Next};\n" + tt.source
			case "c":
				files["entry.c"] = "#include \"igor.h\"\n" + tt.source
			case "assemblyscript":
				files["entry.ts"] = scriptHead + tt.source
			}
			for name, content := range files {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			build := exec.Command("make", "-s", "program-"+tt.language, "FROM="+dir, "NAME=entry", "TO="+filepath.Join(dir, "entry.wasm"))
			out, err := build.CombinedOutput()
			switch {
			case tt.want == "" && err != nil:
				t.Errorf("%v\n%s", err, out)
			case tt.want != "" && (err == nil || !strings.Contains(string(out), tt.want)):
				t.Errorf("%v, want %q in\n%s", err, tt.want, out)
			}
		})
	}
}
