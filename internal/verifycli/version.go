package verifycli

import (
	"runtime/debug"

	"igor.dev/verifier"
)

// The commit is known from linking, as in a release, or else from what the Go command
// writes into a program: of a checkout the commit, of a module its version.
func init() {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return
	}
	commit := ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			commit = s.Value + commit
		case s.Key == "vcs.modified" && s.Value == "true":
			commit += "+changes"
		}
	}
	module := info.Main
	for _, m := range info.Deps {
		if m.Path == "igor.dev" {
			module = *m
		}
	}
	if commit == "" && module.Path == "igor.dev" && module.Version != "(devel)" {
		commit = module.Version
	}
	verifier.SetCommit(commit)
}
