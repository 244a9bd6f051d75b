package verifycli

import (
	"os"
	"path/filepath"

	"igor.dev/verifier"
	"igor.dev/verifier/history"
)

// A locator finds the file that a problem is about, for systems that show a
// problem at its file. A report has the names of checkpoints, not their paths,
// so that it does not depend on where they lie.
type locator struct {
	workspace string            // absolute; paths in it are given relative to it
	files     map[string]string // by base name
	folders   []string
	car       string // the first
	first     string
}

func newLocator(paths []string) *locator {
	l := &locator{workspace: os.Getenv("GITHUB_WORKSPACE"), files: make(map[string]string)}
	if l.workspace == "" {
		l.workspace, _ = os.Getwd()
	}
	for _, p := range paths {
		if p == "-" {
			continue
		}
		if l.first == "" {
			l.first = p
		}
		info, err := os.Stat(p)
		switch {
		case err != nil:
		case info.IsDir():
			l.folders = append(l.folders, p)
		case isCAR(p):
			if l.car == "" {
				l.car = p
			}
		default:
			if _, ok := l.files[info.Name()]; !ok {
				l.files[info.Name()] = p
			}
		}
	}
	return l
}

func isCAR(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	kind, err := history.KindOf(filepath.Base(path), f)
	return err == nil && (kind == verifier.KindCAR || kind == verifier.KindCARv2)
}

// locate returns the path of what a problem is about: with / between its parts,
// relative to the workspace if it is in there, "" if it is no file.
func (l *locator) locate(q verifier.Problem) string {
	return l.relative(l.find(q.Name))
}

func (l *locator) find(name string) string {
	if name == "" {
		return l.first
	}
	if p, ok := l.files[name]; ok {
		return p
	}
	for _, folder := range l.folders {
		p := filepath.Join(folder, filepath.FromSlash(name))
		if _, err := os.Lstat(p); err == nil {
			return p
		}
	}
	if _, err := verifier.ParseCID(name); err == nil && l.car != "" {
		return l.car
	}
	return l.first
}

func (l *locator) relative(path string) string {
	if path == "" {
		return ""
	}
	if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	if rel, err := filepath.Rel(l.workspace, path); err == nil && filepath.IsLocal(rel) {
		path = rel
	}
	return filepath.ToSlash(path)
}
