package store

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// TestAgents has folders beside each other of which some are an agent's.
func TestAgents(t *testing.T) {
	dir := t.TempDir()
	var want []string
	for name, one := range map[string]struct {
		agent bool
		files []string
	}{
		"whole":             {true, []string{"history/00000000000000000000.ckpt", "key", "agent.wasm"}},
		"its-history-alone": {true, []string{"history/00000000000000000000.ckpt"}},
		"packed":            {true, []string{"history/00000000000000000000-00000000000000000009.car"}},
		"history-is-empty":  {true, []string{"history/", "lock"}},
		"history-is-gone":   {true, []string{"key", "agent.wasm"}},
		"a-go-package":      {false, []string{"history/source.go", "verifier.go"}},
		"a-file":            {false, []string{"history"}},
		"a-program":         {false, []string{"agent.wasm", "agent.manifest.json"}},
		"nothing":           {false, []string{"history/"}},
		".hidden":           {false, []string{"history/00000000000000000000.ckpt", "key"}},
		"__MACOSX":          {false, []string{"history/00000000000000000000.ckpt", "key"}},
	} {
		for _, file := range one.files {
			path := filepath.Join(dir, name, file)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if file[len(file)-1] == '/' {
				if err := os.Mkdir(path, 0o755); err != nil {
					t.Fatal(err)
				}
			} else if err := os.WriteFile(path, nil, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if one.agent {
			want = append(want, name)
		}
	}
	if err := os.Symlink("whole", filepath.Join(dir, "z-link")); err != nil {
		t.Fatal(err)
	}
	want = append(want, "z-link")
	slices.Sort(want)
	if got, err := Agents(dir); err != nil || !slices.Equal(got, want) {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
	if _, err := Agents(filepath.Join(dir, "absent")); err == nil {
		t.Error("a folder that is not there has agents")
	}
}
