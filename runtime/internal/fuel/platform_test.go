package fuel_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestPlatform checks that a page can meter: the package builds for it, and
// reaches no engine.
func TestPlatform(t *testing.T) {
	list := exec.Command("go", "list", "-deps", "igor.dev/runtime/internal/fuel")
	list.Env = append(os.Environ(), "GOOS=js", "GOARCH=wasm")
	out, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, dep := range strings.Fields(string(out)) {
		if strings.Contains(dep, ".") && !strings.HasPrefix(dep, "igor.dev/runtime/internal/") {
			t.Errorf("it depends on %s", dep)
		}
	}
	build := exec.Command("go", "build", "igor.dev/runtime/internal/fuel")
	build.Env = list.Env
	if out, err := build.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}
