package runtime

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"

	"igor.dev/runtime/internal/fuel"
	"igor.dev/runtime/internal/manifest"
	"igor.dev/runtime/internal/replay"
	"igor.dev/runtime/internal/sandbox"
	"igor.dev/runtime/internal/store"
	"igor.dev/verifier"
)

// A library has the programs with which a life was lived, and their manifests: those
// that it has now, and those of before its upgrades, which are kept beside its event
// log. It compiles each of them once, when it is asked for.
type library struct {
	log      *slog.Logger
	cacheDir string
	older    string // the folder of those of before
	wasm     []byte
	manifest []byte
	wasmHash verifier.Hash
	manHash  verifier.Hash

	mu       sync.Mutex
	compiled map[metered]*volume
}

// A metered program is one as it is run.
type metered struct {
	wasm, manifest verifier.Hash
	schedule       uint32
}

type volume struct {
	once     sync.Once
	program  *sandbox.Program
	manifest *manifest.Manifest
	err      error
}

// The names of files in it.
func programName(wasm verifier.Hash) string { return wasm.String() + ".wasm" }
func manifestName(man verifier.Hash) string { return man.String() + ".manifest.json" }

func newLibrary(wasm, man []byte, events string, log *slog.Logger, cacheDir string) *library {
	return &library{log: log, cacheDir: cacheDir, older: filepath.Join(events, store.DirPrograms), wasm: wasm, manifest: man,
		wasmHash: sha256.Sum256(wasm), manHash: sha256.Sum256(man), compiled: map[metered]*volume{}}
}

// Program implements what [replay.Engine] asks for.
func (l *library) Program(ctx context.Context, wasm, man verifier.Hash, schedule uint32) (*sandbox.Program, *manifest.Manifest, error) {
	key := metered{wasm, man, schedule}
	l.mu.Lock()
	v := l.compiled[key]
	if v == nil {
		v = new(volume)
		l.compiled[key] = v
	}
	l.mu.Unlock()
	v.once.Do(func() { v.program, v.manifest, v.err = l.compile(context.WithoutCancel(ctx), key) })
	return v.program, v.manifest, v.err
}

func (l *library) compile(ctx context.Context, key metered) (*sandbox.Program, *manifest.Manifest, error) {
	code, man, err := l.find(key.wasm, key.manifest)
	if err != nil {
		return nil, nil, err
	}
	m, err := manifest.Parse(man)
	if err != nil {
		return nil, nil, err
	}
	if key.schedule > fuel.Version1 {
		return nil, nil, fmt.Errorf("%w: it is metered by version %d of the schedule, which this igor does not have", replay.ErrMissing, key.schedule)
	}
	p, err := sandbox.Compile(ctx, code, sandbox.Config{Manifest: m, Metering: key.schedule, Log: l.log, CacheDir: l.cacheDir})
	return p, m, err
}

// find returns a program and a manifest by their hashes.
func (l *library) find(wasm, man verifier.Hash) (code, text []byte, err error) {
	if code, text = l.wasm, l.manifest; wasm != l.wasmHash {
		code, err = l.read(programName(wasm), wasm, MaxWASM)
		if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("%w: it was lived by the program with SHA-256 %s, and this one has %s", replay.ErrMissing, wasm, l.wasmHash)
		}
	}
	if err == nil && man != l.manHash {
		text, err = l.read(manifestName(man), man, MaxManifest)
		if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("%w: the segment was recorded with the manifest of SHA-256 %s, and this one has %s", replay.ErrMissing, man, l.manHash)
		}
	}
	return code, text, err
}

// read reads a file that is named by its content.
func (l *library) read(name string, hash verifier.Hash, most int64) ([]byte, error) {
	path := filepath.Join(l.older, name)
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > most {
		return nil, fmt.Errorf("%s is not a file of at most %d bytes", path, most)
	}
	b, err := os.ReadFile(path)
	if err == nil && sha256.Sum256(b) != hash {
		err = fmt.Errorf("%w: %s does not have the content of its name", replay.ErrMissing, path)
	}
	return b, err
}

// close lets go of what was compiled.
func (l *library) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, v := range l.compiled {
		if v.program != nil {
			v.program.Close()
		}
	}
	l.compiled = nil
}
