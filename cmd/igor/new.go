package main

import (
	"archive/zip"
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"text/template"

	"github.com/spf13/cobra"
)

//go:generate go run ../../internal/packsdk ../.. sdk.zip

//go:embed template
var templates embed.FS

// sdkZip has the SDKs, a folder a language, and their licence: what is in a nested
// module cannot be embedded from here.
//
//go:embed sdk.zip
var sdkZip []byte

// A language is one that igor new makes agents in.
type language struct {
	name, title string

	// made are the files of a new agent, and the templates that they are made of.
	made []madeFile
	// needs are the programs that build it, and how they are got.
	needs []need
	// next is what to do with it.
	next string
	// taken are names that the language keeps to itself.
	taken []string
}

type madeFile struct{ name, template string }

type need struct{ program, get string }

var languages = []language{
	{
		name: "go", title: "Go",
		made: []madeFile{
			{"main.go", "go/main.go"},
			{"main_test.go", "go/main_test.go"},
			{"{{.Name}}.manifest.json", "manifest.json"},
			{"Makefile", "go/Makefile"},
			{"go.mod", "go/go.mod"},
			{"README.md", "go/README.md"},
			{".gitignore", "go/gitignore"},
		},
		needs: []need{{"go", "https://go.dev/dl"}},
		next:  "make test simulate",
		taken: strings.Fields(`
	archive arena bufio builtin bytes cmd cmp compress container context crypto database debug embed encoding errors expvar
	flag fmt go hash html image index internal io iter log maps math mime net os path plugin reflect regexp runtime simd
	slices sort strconv strings structs sync syscall testing text time unicode unique unsafe vendor weak`),
	},
	{
		name: "rust", title: "Rust",
		made: []madeFile{
			{"src/lib.rs", "rust/lib.rs"},
			{"{{.Name}}.manifest.json", "manifest.json"},
			{"Makefile", "rust/Makefile"},
			{"Cargo.toml", "rust/Cargo.toml"},
			{".cargo/config.toml", "rust/config.toml"},
			{"README.md", "rust/README.md"},
			{".gitignore", "rust/gitignore"},
		},
		needs: []need{{"cargo", "rustup.rs, or apt install cargo libstd-rust-dev-wasm32 lld"}},
		next:  "make test simulate",
		taken: strings.Fields(`
	abstract alloc as async await become box break const continue core crate do dyn else enum extern false final fn for gen if
	igor-sdk impl in let loop macro match mod move mut override priv proc-macro pub ref return self static std struct super test
	trait true try type typeof unsafe unsized use virtual where while yield`),
	},
	{
		name: "assemblyscript", title: "AssemblyScript",
		made: []madeFile{
			{"{{.Name}}.ts", "assemblyscript/agent.ts"},
			{"{{.Name}}.test.js", "assemblyscript/agent.test.js"},
			{"{{.Name}}.manifest.json", "manifest.json"},
			{"Makefile", "assemblyscript/Makefile"},
			{"asconfig.json", "assemblyscript/asconfig.json"},
			{"package.json", "assemblyscript/package.json"},
			{"tsconfig.json", "assemblyscript/tsconfig.json"},
			{"README.md", "assemblyscript/README.md"},
			{".gitignore", "assemblyscript/gitignore"},
		},
		needs: []need{{"node", "https://nodejs.org, 20 or later"}},
		next:  "npm install && make test simulate",
		taken: []string{"assemblyscript", "index"},
	},
	{
		name: "c", title: "C",
		made: []madeFile{
			{"{{.Name}}.c", "c/agent.c"},
			{"{{.Name}}_test.c", "c/agent_test.c"},
			{"{{.Name}}.manifest.json", "manifest.json"},
			{"Makefile", "c/Makefile"},
			{"README.md", "c/README.md"},
			{".gitignore", "c/gitignore"},
		},
		needs: []need{{"clang", "apt install clang lld wasi-libc libclang-rt-dev-wasm32"}, {"wasm-ld", "apt install lld"}},
		next:  "make test simulate",
	},
}

// languageNamed returns one of the languages.
func languageNamed(name string) (language, error) {
	var names []string
	for _, l := range languages {
		if l.name == name {
			return l, nil
		}
		names = append(names, l.name)
	}
	return language{}, fmt.Errorf("--lang is %q, and igor new knows %s: docs/agents.md says what another language has to export", name, strings.Join(names, ", "))
}

// missing returns what is needed to build an agent, and is not on this machine.
func (l language) missing() (missing []string) {
	for _, n := range l.needs {
		if _, err := exec.LookPath(n.program); err != nil {
			missing = append(missing, n.program+" is not here, and "+l.title+" needs it: "+n.get)
		}
	}
	return missing
}

// sdkFolder is where a new agent has the SDK.
const sdkFolder = "igor.dev"

func newCommand() *cobra.Command {
	var lang, sdk string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "new NAME",
		Short: "Make a new agent's source: program, test, manifest, Makefile",
		Long: `New makes the folder NAME with an agent that works: program, test, manifest, Makefile.
It builds without a network where the language is installed, for the SDK is in the
folder too.`,
		Example: `  igor new demo
  igor new demo --lang rust
  cd demo && make test simulate`,
		Args: operands("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			l, err := languageNamed(lang)
			if err != nil {
				return err
			}
			if err := l.checkName(args[0]); err != nil {
				return err
			}
			if err := l.makeAgent(args[0], sdk); err != nil {
				return failed(err)
			}
			if asJSON {
				return failed(writeJSON(cmd.OutOrStdout(), struct {
					Name     string `json:"name"`
					Language string `json:"language"`
					Folder   string `json:"folder"`
					Program  string `json:"program"`
					Manifest string `json:"manifest"`
				}{args[0], l.name, args[0], args[0] + ".wasm", args[0] + ".manifest.json"}))
			}
			for _, m := range l.missing() {
				fmt.Fprintf(cmd.ErrOrStderr(), "igor: %s\n", m)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s/ has an agent, its test, its manifest and a Makefile\nnext: cd %s && %s\n", args[0], args[0], l.next)
			return failed(err)
		},
	}
	cmd.Flags().StringVar(&lang, "lang", "go", "`LANGUAGE` of the agent: go, rust, assemblyscript or c")
	cmd.RegisterFlagCompletionFunc("lang", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		var names []string
		for _, l := range languages {
			names = append(names, l.name)
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	})
	cmd.Flags().BoolVar(&asJSON, "json", false, "write what was made as JSON")
	cmd.Flags().StringVar(&sdk, "sdk", "", "`FOLDER` of a checkout's SDK to build with (default: a copy of the one in igor)")
	return cmd
}

var nameForm = regexp.MustCompile(`^[a-z][a-z0-9]*(-[a-z0-9]+)*$`)

const maxName = 40

// notFiles cannot be files everywhere.
var notFiles = strings.Fields(`
	aux con nul prn com1 com2 com3 com4 com5 com6 com7 com8 com9 lpt1 lpt2 lpt3 lpt4 lpt5 lpt6 lpt7 lpt8 lpt9`)

// checkName reports what keeps a name from being a folder, a module of the language
// and a file.
func (l language) checkName(name string) error {
	switch {
	case !nameForm.MatchString(name) || len(name) > maxName:
		return fmt.Errorf("%q is no name for an agent: it has up to %d lower-case letters, digits and single hyphens, and begins with a letter, as price-watch does", name, maxName)
	case slices.Contains(l.taken, name):
		return fmt.Errorf("%q is a name that %s keeps to itself: take a longer one, such as %s-agent", name, l.title, name)
	case slices.Contains(notFiles, name):
		return fmt.Errorf("%q is a name that some systems keep to themselves: take a longer one, such as %s-agent", name, name)
	}
	return nil
}

// places are what the templates say of the agent and of its SDK.
type places struct {
	Name, Title string
	Crate       string // Rust's name for it
	Go          string // the Go version
	SDK         string
	Effects     string // of Go
	Testing     string // of AssemblyScript
	Copied      bool   // the SDK is in the folder
}

// makeAgent makes the folder name, whole or not at all.
func (l language) makeAgent(name, sdk string) (err error) {
	archive, err := zip.NewReader(bytes.NewReader(sdkZip), int64(len(sdkZip)))
	if err != nil {
		return err
	}
	values := places{Name: name, Title: strings.ToUpper(name[:1]) + name[1:], Crate: strings.ReplaceAll(name, "-", "_"), Copied: sdk == ""}
	if err := l.find(&values, archive, sdk); err != nil {
		return err
	}

	if err := os.Mkdir(name, 0o755); errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s is there already, and nothing was changed", name)
	} else if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.RemoveAll(name)
		}
	}()
	for _, f := range l.made {
		text, err := templates.ReadFile("template/" + f.template + ".tmpl")
		if err != nil {
			return err
		}
		var path, content strings.Builder
		if err := template.Must(template.New("").Parse(f.name)).Execute(&path, values); err != nil {
			return err
		}
		if err := template.Must(template.New("").Parse(string(text))).Execute(&content, values); err != nil {
			return err
		}
		file := filepath.Join(name, filepath.FromSlash(path.String()))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(file, []byte(content.String()), 0o644); err != nil {
			return err
		}
	}
	if !values.Copied {
		return nil
	}
	sources, err := fs.Sub(archive, l.name)
	if err != nil {
		return err
	}
	if err := os.CopyFS(filepath.Join(name, sdkFolder), sources); err != nil {
		return err
	}
	licence, err := fs.ReadFile(archive, "LICENSE")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(name, sdkFolder, "LICENSE"), licence, 0o644)
}

// find sets where the SDK is: a copy in the agent's folder, or in a checkout.
func (l language) find(p *places, archive fs.FS, sdk string) (err error) {
	if l.name == "go" {
		mod, err := fs.ReadFile(archive, "go/sdk/go.mod")
		if err != nil {
			return err
		}
		p.Go = string(regexp.MustCompile(`(?m)^go (.*)$`).FindSubmatch(mod)[1])
	}
	if sdk == "" {
		p.SDK = map[string]string{
			"go": "./" + sdkFolder + "/sdk", "rust": sdkFolder + "/igor-sdk", "assemblyscript": "./" + sdkFolder, "c": sdkFolder,
		}[l.name]
		p.Effects = "./" + sdkFolder + "/effects"
		p.Testing = p.SDK + "/@igor-dev/sdk/testing.js"
		return nil
	}
	if p.SDK, p.Effects, err = checkout(sdk); err != nil {
		return err
	}
	switch l.name {
	case "rust", "c":
		p.SDK = filepath.Join(p.SDK, l.name)
	case "assemblyscript": // as npm ci has it there
		p.SDK = filepath.Join(filepath.Dir(p.SDK), "node_modules")
		p.Testing = p.SDK + "/@igor-dev/sdk/testing.js"
		if _, err := os.Stat(p.Testing); err != nil {
			return fmt.Errorf("%s is not there: run npm ci in the checkout", p.Testing)
		}
	}
	return nil
}

// checkout returns where the SDK and the module that it needs are, as go.mod has it.
func checkout(sdk string) (_, effects string, err error) {
	if sdk, err = filepath.Abs(sdk); err != nil {
		return "", "", err
	}
	effects = filepath.Join(filepath.Dir(sdk), "effects")
	for _, m := range [][2]string{{sdk, "igor.dev/sdk"}, {effects, "igor.dev/effects"}} {
		dir, module := m[0], m[1]
		mod, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err != nil || !strings.HasPrefix(string(mod), "module "+module+"\n") {
			return "", "", fmt.Errorf("%s is not the module %s: --sdk names the folder sdk of a checkout, with effects beside it", dir, module)
		}
		if strings.ContainsAny(dir, " \t\"`'") {
			return "", "", fmt.Errorf("%s has a space or a quote in it, and go.mod cannot have that", dir)
		}
	}
	return sdk, effects, nil
}
