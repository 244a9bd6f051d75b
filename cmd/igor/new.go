package main

import (
	"archive/zip"
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"text/template"

	"github.com/spf13/cobra"
)

//go:generate go run ./internal/packsdk ../.. sdk.zip

//go:embed template
var templates embed.FS

// sdkZip has the sources of igor.dev/sdk and igor.dev/effects: a nested module
// cannot be embedded from here.
//
//go:embed sdk.zip
var sdkZip []byte

// made are the files of a new agent, and the templates that they are made of.
var made = []struct{ name, template string }{
	{"main.go", "main.go.tmpl"},
	{"main_test.go", "main_test.go.tmpl"},
	{"{{.Name}}.manifest.json", "manifest.json.tmpl"},
	{"Makefile", "Makefile.tmpl"},
	{"go.mod", "go.mod.tmpl"},
	{"README.md", "README.md.tmpl"},
	{".gitignore", "gitignore.tmpl"},
}

// sdkFolder is where a new agent has the SDK.
const sdkFolder = "igor.dev"

func newCommand() *cobra.Command {
	var sdk string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "new NAME",
		Short: "Make a new agent's source: program, test, manifest, Makefile",
		Long: `New makes the folder NAME with an agent in Go that works: program, test, manifest,
Makefile. It builds without a network, for the SDK is in the folder too.`,
		Example: `  igor new demo
  cd demo && make test simulate`,
		Args: operands("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkName(args[0]); err != nil {
				return err
			}
			if err := makeAgent(args[0], sdk); err != nil {
				return failed(err)
			}
			if asJSON {
				return failed(writeJSON(cmd.OutOrStdout(), struct {
					Name     string `json:"name"`
					Folder   string `json:"folder"`
					Program  string `json:"program"`
					Manifest string `json:"manifest"`
				}{args[0], args[0], args[0] + ".wasm", args[0] + ".manifest.json"}))
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s/ has an agent, its test, its manifest and a Makefile\nnext: cd %s && make test simulate\n", args[0], args[0])
			return failed(err)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "write what was made as JSON")
	cmd.Flags().StringVar(&sdk, "sdk", "", "`FOLDER` of a checkout's SDK to build with (default: a copy of the one in igor)")
	return cmd
}

var nameForm = regexp.MustCompile(`^[a-z][a-z0-9]*(-[a-z0-9]+)*$`)

const maxName = 40

// taken are names that the go command keeps to itself: the standard library's, and
// what cannot be a file everywhere.
var taken = strings.Fields(`
	archive arena bufio builtin bytes cmd cmp compress container context crypto database debug embed encoding errors expvar
	flag fmt go hash html image index internal io iter log maps math mime net os path plugin reflect regexp runtime simd
	slices sort strconv strings structs sync syscall testing text time unicode unique unsafe vendor weak
	aux con nul prn com1 com2 com3 com4 com5 com6 com7 com8 com9 lpt1 lpt2 lpt3 lpt4 lpt5 lpt6 lpt7 lpt8 lpt9`)

// checkName reports what keeps a name from being a folder, a Go module and a file.
func checkName(name string) error {
	switch {
	case !nameForm.MatchString(name) || len(name) > maxName:
		return fmt.Errorf("%q is no name for an agent: it has up to %d lower-case letters, digits and single hyphens, and begins with a letter, as price-watch does", name, maxName)
	case slices.Contains(taken, name):
		return fmt.Errorf("%q is a name that Go keeps to itself: take a longer one, such as %s-agent", name, name)
	}
	return nil
}

// makeAgent makes the folder name, whole or not at all.
func makeAgent(name, sdk string) (err error) {
	values := struct {
		Name, Title, Go, SDK, Effects string
		Copied                        bool
	}{Name: name, Title: strings.ToUpper(name[:1]) + name[1:]}
	if values.Copied = sdk == ""; values.Copied {
		values.SDK, values.Effects = "./"+sdkFolder+"/sdk", "./"+sdkFolder+"/effects"
	} else if values.SDK, values.Effects, err = checkout(sdk); err != nil {
		return err
	}
	archive, err := zip.NewReader(bytes.NewReader(sdkZip), int64(len(sdkZip)))
	if err != nil {
		return err
	}
	mod, err := fs.ReadFile(archive, "sdk/go.mod")
	if err != nil {
		return err
	}
	values.Go = string(regexp.MustCompile(`(?m)^go (.*)$`).FindSubmatch(mod)[1])

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
	for _, f := range made {
		text, err := templates.ReadFile("template/" + f.template)
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
		if err := os.WriteFile(filepath.Join(name, path.String()), []byte(content.String()), 0o644); err != nil {
			return err
		}
	}
	if !values.Copied {
		return nil
	}
	return os.CopyFS(filepath.Join(name, sdkFolder), archive)
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
