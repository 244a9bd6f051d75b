package main

import (
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"igor.dev/witness/server"
)

// TestMetricsPage holds docs/witnessing.md, the alert rules and the dashboard against what
// there is.
func TestMetricsPage(t *testing.T) {
	key, err := server.OpenKey(t.TempDir()+"/key", "w.example", server.Cosigns)
	if err != nil {
		t.Fatal(err)
	}
	w, err := server.OpenWitness(server.WitnessConfig{Dir: t.TempDir(), Key: key})
	if err != nil {
		t.Fatal(err)
	}
	var have, described []string
	for _, c := range slices.Concat(new(server.Log).Figures(), w.Figures(), new(server.Monitor).Figures()) {
		descs := make(chan *prometheus.Desc, 10)
		c.Describe(descs)
		close(descs)
		for d := range descs {
			parts := regexp.MustCompile(`fqName: "(\w+)".* variableLabels: \{([^}]*)\}`).FindStringSubmatch(d.String())
			if parts == nil {
				t.Fatal(d)
			}
			if parts[2] != "" {
				parts[1] += "{" + parts[2] + "}"
			}
			have = append(have, parts[1])
		}
	}
	page, err := os.ReadFile("../../docs/witnessing.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range regexp.MustCompile("(?m)^\\| `(igor_log_[^`]+)` \\|").FindAllStringSubmatch(string(page), -1) {
		described = append(described, row[1])
	}
	slices.Sort(have)
	slices.Sort(described)
	if !slices.Equal(have, described) {
		t.Errorf("there are %q, and docs/witnessing.md has %q", have, described)
	}
	const rules = "../../packaging/prometheus/igor-log.rules.yml"
	for _, file := range []string{rules, "../../packaging/grafana/igor-log.json"} {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		found := regexp.MustCompile(`igor_log_\w+`).FindAllString(string(b), -1)
		for _, name := range found {
			if !slices.ContainsFunc(have, func(h string) bool { return h == name || strings.HasPrefix(h, name+"{") }) {
				t.Errorf("%s knows %s, which is none", file, name)
			}
		}
		if len(found) < 4 {
			t.Errorf("%s is of %q", file, found)
		}
	}
	if _, err := exec.LookPath("promtool"); err == nil {
		if out, err := exec.Command("promtool", "check", "rules", rules).CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
	}
}
