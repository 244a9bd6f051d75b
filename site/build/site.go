package main

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/evanw/esbuild/pkg/api"

	"igor.dev/site/pages"
)

// The files that the site takes from npm packages as they are. What their
// licences ask for is in licenses.txt.
var fonts = map[string]string{
	"sans.woff2":        "@fontsource-variable/ibm-plex-sans/files/ibm-plex-sans-latin-wght-normal.woff2",
	"mono.woff2":        "@fontsource/ibm-plex-mono/files/ibm-plex-mono-latin-400-normal.woff2",
	"mono-medium.woff2": "@fontsource/ibm-plex-mono/files/ibm-plex-mono-latin-500-normal.woff2",
}

// The packages of which parts are in the site.
var licensed = []string{"uplot", "@zip.js/zip.js", "pako", "@fontsource-variable/ibm-plex-sans", "@fontsource/ibm-plex-mono"}

const modules = "node_modules"

// site writes the static site.
func (b *bundler) site(dir string, w *wasm) error {
	if err := emptyDir(dir); err != nil {
		return err
	}
	app, err := b.scripts(filepath.Join(dir, "app"), w)
	if err != nil {
		return err
	}
	styles, err := styles(filepath.Join(dir, "styles"))
	if err != nil {
		return err
	}
	files := make(map[string][]byte)
	for name, from := range fonts {
		if files["fonts/"+name], err = os.ReadFile(filepath.Join(modules, filepath.FromSlash(from))); err != nil {
			return fmt.Errorf("%w (run npm ci)", err)
		}
	}
	if files["licenses.txt"], err = licenses(); err != nil {
		return err
	}
	if err := writeAll(dir, files); err != nil {
		return err
	}
	version, err := verifierVersion()
	if err != nil {
		return err
	}
	build := pages.Build{Version: version, WASMHash: w.sha256, Scripts: app, Styles: styles}
	if err := b.pages(dir, build); err != nil {
		return err
	}
	if err := b.serviceWorker(dir); err != nil {
		return err
	}
	return pack(dir, embeddedSite)
}

// buildFile says which build the server has, by the ID that is in its pages too.
const buildFile = "build.json"

// pages writes the pages, with the ID of this build in them. The ID is the hash of all files as
// they are without it.
func (b *bundler) pages(dir string, build pages.Build) error {
	for _, last := range []bool{false, true} {
		files, err := pages.Render(os.DirFS("docs"), os.DirFS("testdata/histories"), build)
		if err != nil {
			return err
		}
		if last {
			files[buildFile] = fmt.Appendf(nil, "{\"build\": %q}\n", build.ID)
		}
		if err := writeAll(dir, files); err != nil {
			return err
		}
		if build.ID, _, err = hashAll(dir); err != nil {
			return err
		}
	}
	return nil
}

func writeAll(dir string, files map[string][]byte) error {
	for name, content := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o777), os.WriteFile(path, content, 0o666)); err != nil {
			return err
		}
	}
	return nil
}

// scripts writes the scripts and the verifier, each under a name with its hash, and returns the
// names of those that pages name.
func (b *bundler) scripts(dir string, w *wasm) (map[string]string, error) {
	wasmFile := "igor-verify-" + w.sha256[:8] + ".wasm"
	err := errors.Join(os.MkdirAll(dir, 0o777), os.WriteFile(filepath.Join(dir, wasmFile), w.raw, 0o666), os.WriteFile(filepath.Join(dir, wasmFile+".gz"), w.gz, 0o666))
	if err != nil {
		return nil, err
	}
	options := b.options(dir, api.PlatformBrowser, "site/verify/worker.ts", "site/app/archive/unpacker.ts")
	workers, err := hashed(options)
	if err != nil {
		return nil, err
	}
	options = b.options(dir, api.PlatformBrowser, "site/app/main.ts", "site/app/narrow.ts", "site/app/embed.ts", "site/app/text.ts")
	options.Define["IGOR_WASM_FILE"] = strconv.Quote(wasmFile)
	options.Define["IGOR_WORKER_FILE"] = strconv.Quote(workers["worker.js"])
	options.Define["IGOR_UNPACKER_FILE"] = strconv.Quote(workers["unpacker.js"])
	return hashed(options)
}

// hashed builds files whose names have their hash in them, so that no cache ever mixes those of two
// builds. It returns the names of the entry points, by the names that they have without it.
func hashed(options api.BuildOptions) (map[string]string, error) {
	options.EntryNames = "[name]-[hash]"
	options.Metafile = true
	result := api.Build(options)
	if err := failure(result); err != nil {
		return nil, err
	}
	var meta struct {
		Outputs map[string]struct {
			EntryPoint string
		}
	}
	if err := json.Unmarshal([]byte(result.Metafile), &meta); err != nil {
		return nil, err
	}
	names := make(map[string]string)
	for output, about := range meta.Outputs {
		extension := filepath.Ext(output)
		if about.EntryPoint != "" && extension != ".map" {
			source := filepath.Base(about.EntryPoint)
			names[strings.TrimSuffix(source, filepath.Ext(source))+extension] = filepath.Base(output)
		}
	}
	return names, nil
}

// embeddedSite is what igor has the site from.
const embeddedSite = "site/embedded/files/site.zip"

// pack puts the site's files into an archive, always the same for the same files.
func pack(dir, to string) error {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || strings.HasSuffix(path, ".map") {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		e, err := w.Create(filepath.ToSlash(name))
		if err != nil {
			return err
		}
		_, err = e.Write(content)
		return err
	})
	if err := errors.Join(err, w.Close()); err != nil {
		return err
	}
	return os.WriteFile(to, b.Bytes(), 0o666)
}

// verifierVersion asks the verifier, built as the WASM is, for its name.
func verifierVersion() (string, error) {
	out, err := exec.Command("go", "run", "-ldflags", ldflags(), "./cmd/igor-verify", "--version").Output()
	if err != nil {
		return "", fmt.Errorf("igor-verify --version: %w", err)
	}
	return strings.TrimSpace(strings.TrimPrefix(string(out), "igor-verify: ")), nil
}

func styles(dir string) (map[string]string, error) {
	entries, err := filepath.Glob("site/styles/*.css")
	if err != nil {
		return nil, err
	}
	return hashed(api.BuildOptions{
		EntryPoints:      entries,
		Outdir:           dir,
		MinifyWhitespace: true,
		Write:            true,
		LogLevel:         api.LogLevelSilent,
	})
}

// hashAll returns a hash of all of the site's files, and how those of each begin, by their names.
func hashAll(dir string) (hash string, files map[string]string, err error) {
	sum := sha256.New()
	files = make(map[string]string)
	err = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || strings.HasSuffix(path, ".map") {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		name = filepath.ToSlash(name)
		own := sha256.Sum256(content)
		fmt.Fprintf(sum, "%s %x\n", name, own)
		files[name] = hex.EncodeToString(own[:8])
		return nil
	})
	return hex.EncodeToString(sum.Sum(nil))[:16], files, err
}

// serviceWorker writes the service worker, which knows all files that the site's pages want.
func (b *bundler) serviceWorker(dir string) error {
	hash, files, err := hashAll(dir)
	if err != nil {
		return err
	}
	delete(files, pages.SocialImage)
	for name, own := range maps.Clone(files) {
		if folder, ok := strings.CutSuffix(name, "index.html"); ok {
			files["./"+folder] = own // how it is asked for
		}
	}
	list, err := json.Marshal(files)
	if err != nil {
		return err
	}
	return failure(api.Build(api.BuildOptions{
		EntryPoints:       []string{"site/app/sw.ts"},
		Outdir:            dir,
		Bundle:            true,
		Format:            api.FormatIIFE,
		Target:            api.ES2022,
		MinifyWhitespace:  true,
		MinifyIdentifiers: true,
		MinifySyntax:      true,
		Define: map[string]string{
			"IGOR_SITE_FILES": string(list),
			"IGOR_SITE_HASH":  `"` + hash + `"`,
		},
		Write:    true,
		LogLevel: api.LogLevelSilent,
	}))
}

func licenses() ([]byte, error) {
	var b strings.Builder
	for _, name := range licensed {
		text, err := os.ReadFile(filepath.Join(modules, filepath.FromSlash(name), "LICENSE"))
		if err != nil {
			return nil, fmt.Errorf("%w (run npm ci)", err)
		}
		fmt.Fprintf(&b, "%s\n\n%s\n\n", name, strings.TrimSpace(string(text)))
	}
	return []byte(b.String()), nil
}
