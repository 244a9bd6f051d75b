// Command build makes what the browser runs: the verifier's WASM, the npm
// package, and the site. Run it in the repository's root:
//
//	go run ./site/build
//
// It writes to dist: npm/, the files of the npm package that a page is served;
// package/, the package itself, but for its types, which `npm run types` adds; and
// site/, the files of the static site.
package main

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/evanw/esbuild/pkg/api"
)

func main() {
	out := flag.String("out", "dist", "the `folder` to write to")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintln(os.Stderr, "build: takes no arguments (see -help for its flags)")
		os.Exit(2)
	}
	if err := build(*out); err != nil {
		fmt.Fprintln(os.Stderr, "build:", err)
		os.Exit(1)
	}
}

func build(out string) error {
	if _, err := os.Stat("site/verify/index.ts"); err != nil {
		return errors.New("site/verify/index.ts is not here (run it in the repository's root)")
	}
	if err := os.MkdirAll(out, 0o777); err != nil {
		return err
	}
	wasm, err := buildWASM(out)
	if err != nil {
		return err
	}
	b := bundler{goroot: wasm.goroot, sha256: wasm.sha256}
	return errors.Join(
		b.npm(filepath.Join(out, "npm"), wasm),
		npmPackage(filepath.Join(out, "package"), filepath.Join(out, "npm")),
		b.site(filepath.Join(out, "site"), wasm),
	)
}

// ldflags are those of the commands, in the Makefile: the reports of both name
// the same commit and are the same bytes.
func ldflags() string {
	commit := "unknown"
	if out, err := exec.Command("git", "rev-parse", "--short=12", "HEAD").Output(); err == nil {
		commit = strings.TrimSpace(string(out))
	}
	return "-s -w -X igor.dev/verifier.commit=" + commit
}

// gcflags turn inlining off but where the time goes, which is in cryptography:
// that makes the compressed WASM 6% smaller, and no slower.
var gcflags = []string{
	"-gcflags=all=-l",
	"-gcflags=math/bits=",
	"-gcflags=igor.dev/verifier/internal/...=",
}

// A wasm is the verifier's WASM.
type wasm struct {
	raw, gz []byte
	sha256  string // hex
	goroot  string // of the toolchain that built it
}

func buildWASM(out string) (*wasm, error) {
	path := filepath.Join(out, wasmName)
	args := []string{"build", "-trimpath", "-buildvcs=false", "-ldflags", ldflags(), "-o", path}
	cmd := exec.Command("go", append(append(args, gcflags...), "./wasm")...)
	cmd.Env = append(os.Environ(), "GOOS=js", "GOARCH=wasm", "CGO_ENABLED=0")
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("go build ./wasm: %w", err)
	}
	goroot, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return nil, fmt.Errorf("go env GOROOT: %w", err)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if err := os.Remove(path); err != nil {
		return nil, err
	}
	sum := sha256.Sum256(raw)
	var gz bytes.Buffer
	w, err := gzip.NewWriterLevel(&gz, gzip.BestCompression)
	if err == nil {
		_, err = w.Write(raw)
	}
	if err = errors.Join(err, w.Close()); err != nil {
		return nil, err
	}
	return &wasm{raw: raw, gz: gz.Bytes(), sha256: hex.EncodeToString(sum[:]), goroot: strings.TrimSpace(string(goroot))}, nil
}

const wasmName = "igor-verify.wasm"

// write writes the WASM beside the scripts that load it: for hosts that
// compress it themselves, and compressed for those that do not.
func (w *wasm) write(dir string) error {
	return errors.Join(
		os.WriteFile(filepath.Join(dir, wasmName), w.raw, 0o666),
		os.WriteFile(filepath.Join(dir, wasmName+".gz"), w.gz, 0o666),
	)
}

// A bundler bundles scripts that load the WASM with this hash.
type bundler struct {
	goroot string
	sha256 string
	worker string // its script as JSON, to have it in the same file; "" to have it beside
}

// npm writes the files of the npm package.
func (b *bundler) npm(dir string, w *wasm) error {
	return errors.Join(
		emptyDir(dir),
		b.bundle(dir, api.PlatformBrowser, "site/verify/index.ts", "site/badge/element.ts", "site/badge/igor-lineage.ts"),
		b.bundle(dir, api.PlatformBrowser, "site/verify/worker.ts"),
		b.bundle(dir, api.PlatformNode, "site/verify/node.ts"),
		b.bundle(dir, api.PlatformNode, "site/verify/worker-node.ts"),
		b.single(dir),
		w.write(dir),
	)
}

const singleName = "igor-lineage.single"

// single writes the badge as one file, with the worker in it, and the integrity
// that a page can hold it to.
func (b *bundler) single(dir string) error {
	worker, err := os.ReadFile(filepath.Join(dir, "worker.js"))
	if err != nil {
		return err
	}
	script, _, _ := bytes.Cut(worker, []byte("\n//# sourceMappingURL="))
	text, err := json.Marshal(string(script))
	if err != nil {
		return err
	}
	alone := *b
	alone.worker = string(text)
	if err := alone.bundle(dir, api.PlatformBrowser, "site/badge/"+singleName+".ts"); err != nil {
		return err
	}
	content, err := os.ReadFile(filepath.Join(dir, singleName+".js"))
	if err != nil {
		return err
	}
	sum := sha512.Sum384(content)
	integrity := fmt.Sprintf("{\n  %q: \"sha384-%s\"\n}\n", singleName+".js", base64.StdEncoding.EncodeToString(sum[:]))
	return os.WriteFile(filepath.Join(dir, "integrity.json"), []byte(integrity), 0o666)
}

// npmPackage puts the package together: what is in site/npm, the licence, and what a page is served.
func npmPackage(dir, served string) error {
	return errors.Join(
		emptyDir(dir),
		os.CopyFS(dir, os.DirFS("site/npm")),
		os.CopyFS(filepath.Join(dir, "dist", "npm"), os.DirFS(served)),
		copyFile("LICENSE", filepath.Join(dir, "LICENSE")),
	)
}

func copyFile(from, to string) error {
	content, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, content, 0o666)
}

// emptyDir makes an empty folder, so that no file of an older build is left.
func emptyDir(dir string) error {
	return errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o777))
}

// bundle bundles entry points as ES modules, which share what they have in common.
func (b *bundler) bundle(dir string, platform api.Platform, entries ...string) error {
	return failure(api.Build(b.options(dir, platform, entries...)))
}

func (b *bundler) options(dir string, platform api.Platform, entries ...string) api.BuildOptions {
	worker := b.worker
	if worker == "" {
		worker = `""`
	}
	return api.BuildOptions{
		EntryPoints:       entries,
		Outdir:            dir,
		EntryNames:        "[name]",
		ChunkNames:        "[name]-[hash]",
		Bundle:            true,
		Splitting:         b.worker == "",
		Format:            api.FormatESModule,
		Platform:          platform,
		Target:            api.ES2022,
		MinifyWhitespace:  true,
		MinifyIdentifiers: true,
		MinifySyntax:      true,
		LegalComments:     api.LegalCommentsNone,
		Sourcemap:         api.SourceMapLinked,
		SourcesContent:    api.SourcesContentInclude,
		Define:            map[string]string{"IGOR_WASM_SHA256": `"` + b.sha256 + `"`, "IGOR_WORKER": worker},
		Plugins:           []api.Plugin{b.wasmExec(), forPlatform(platform)},
		Write:             true,
		LogLevel:          api.LogLevelSilent,
	}
}

func failure(result api.BuildResult) error {
	if len(result.Errors) == 0 {
		return nil
	}
	messages := api.FormatMessages(result.Errors, api.FormatMessagesOptions{Kind: api.ErrorMessage})
	return errors.New(strings.TrimSpace(strings.Join(messages, "")))
}

// wasmExec provides the module "wasm_exec", made of the file with this name in
// the toolchain. That is a script that sets globals, some of which libraries take
// for signs of Node; here it sees an object of its own in the place of the global one.
func (b *bundler) wasmExec() api.Plugin {
	const before = `
const { Object, Array, Uint8Array, crypto, performance, TextEncoder, TextDecoder } = globalThis;
const no = -1;
let written = "";
const fs = {
	constants: { O_WRONLY: no, O_RDWR: no, O_CREAT: no, O_TRUNC: no, O_APPEND: no, O_EXCL: no, O_DIRECTORY: no },
	writeSync(_, bytes) {
		// The runtime writes to standard error when it panics, and at no other time.
		written = (written + new TextDecoder().decode(bytes)).slice(-4096);
		return bytes.length;
	},
};
export const panicked = () => written;
const scope = { Object, Array, Uint8Array, crypto, performance, TextEncoder, TextDecoder, fs };
(function (globalThis) {
`
	const after = "\n})(scope);\nexport const Go = scope.Go;\n"
	return api.Plugin{Name: "wasm_exec", Setup: func(p api.PluginBuild) {
		p.OnResolve(api.OnResolveOptions{Filter: `^wasm_exec$`}, func(api.OnResolveArgs) (api.OnResolveResult, error) {
			return api.OnResolveResult{Path: "wasm_exec", Namespace: "toolchain"}, nil
		})
		p.OnLoad(api.OnLoadOptions{Filter: `.*`, Namespace: "toolchain"}, func(api.OnLoadArgs) (api.OnLoadResult, error) {
			source, err := os.ReadFile(filepath.Join(b.goroot, "lib", "wasm", "wasm_exec.js"))
			if err != nil {
				return api.OnLoadResult{}, err
			}
			contents := before + string(source) + after
			return api.OnLoadResult{Contents: &contents, Loader: api.LoaderJS}, nil
		})
	}}
}

// forPlatform puts platform-node.ts in the place of platform.ts for Node.
func forPlatform(platform api.Platform) api.Plugin {
	return api.Plugin{Name: "platform", Setup: func(p api.PluginBuild) {
		if platform != api.PlatformNode {
			return
		}
		p.OnResolve(api.OnResolveOptions{Filter: `/platform\.ts$`}, func(args api.OnResolveArgs) (api.OnResolveResult, error) {
			return api.OnResolveResult{Path: filepath.Join(args.ResolveDir, "platform-node.ts")}, nil
		})
	}}
}
