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
	"os"
	"os/exec"
	"path/filepath"
	"sort"
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
var licensed = []string{"uplot", "fflate", "@fontsource-variable/ibm-plex-sans", "@fontsource/ibm-plex-mono"}

const modules = "node_modules"

// site writes the static site.
func (b *bundler) site(dir string, w *wasm) error {
	app := filepath.Join(dir, "app")
	if err := errors.Join(emptyDir(dir), os.MkdirAll(app, 0o777)); err != nil {
		return err
	}
	version, err := verifierVersion()
	if err != nil {
		return err
	}
	files, err := pages.Render(os.DirFS("docs"), os.DirFS("testdata/histories"), pages.Build{Version: version, WASMHash: w.sha256})
	if err != nil {
		return err
	}
	for name, from := range fonts {
		if files["fonts/"+name], err = os.ReadFile(filepath.Join(modules, filepath.FromSlash(from))); err != nil {
			return fmt.Errorf("%w (run npm ci)", err)
		}
	}
	if files["licenses.txt"], err = licenses(); err != nil {
		return err
	}
	for name, content := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o777), os.WriteFile(path, content, 0o666)); err != nil {
			return err
		}
	}
	err = errors.Join(
		b.bundle(app, api.PlatformBrowser, "site/app/main.ts", "site/app/narrow.ts", "site/app/embed.ts", "site/app/text.ts"),
		b.bundle(app, api.PlatformBrowser, "site/verify/worker.ts"),
		styles(filepath.Join(dir, "styles")),
		w.write(app),
	)
	if err != nil {
		return err
	}
	if err := b.serviceWorker(dir); err != nil {
		return err
	}
	return pack(dir, embeddedSite)
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

func styles(dir string) error {
	entries, err := filepath.Glob("site/styles/*.css")
	if err != nil {
		return err
	}
	result := api.Build(api.BuildOptions{
		EntryPoints:      entries,
		Outdir:           dir,
		MinifyWhitespace: true,
		Write:            true,
		LogLevel:         api.LogLevelSilent,
	})
	return failure(result)
}

// serviceWorker writes the service worker, which knows all of the site's files.
func (b *bundler) serviceWorker(dir string) error {
	var names []string
	sum := sha256.New()
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
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
		fmt.Fprintf(sum, "%s %x\n", name, sha256.Sum256(content))
		names = append(names, name)
		if folder, ok := strings.CutSuffix(name, "index.html"); ok {
			names = append(names, "./"+folder) // how it is asked for
		}
		return nil
	})
	if err != nil {
		return err
	}
	sort.Strings(names)
	list, err := json.Marshal(names)
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
			"IGOR_SITE_HASH":  `"` + hex.EncodeToString(sum.Sum(nil))[:16] + `"`,
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
