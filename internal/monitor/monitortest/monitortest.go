// Package monitortest holds what people read of a program's metrics, which is its page of
// docs, its alert rules and its dashboard, against the metrics that it has.
package monitortest

import (
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

var described = regexp.MustCompile(`fqName: "(\w+)".* variableLabels: \{([^}]*)\}`)

// Same wants of a page that it has the metrics of collectors whose names begin with a
// prefix, each in a row of a table, and no other ones. It returns their names, with their
// labels in braces.
func Same(t testing.TB, page, prefix string, collectors ...prometheus.Collector) (names []string) {
	t.Helper()
	for _, c := range collectors {
		descs := make(chan *prometheus.Desc, 100)
		c.Describe(descs)
		close(descs)
		for d := range descs {
			parts := described.FindStringSubmatch(d.String())
			if parts == nil {
				t.Fatal(d)
			}
			if parts[2] != "" {
				parts[1] += "{" + parts[2] + "}"
			}
			names = append(names, parts[1])
		}
	}
	b, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	var has []string
	for _, row := range regexp.MustCompile("(?m)^\\| `("+prefix+"[^`]+)` \\|").FindAllStringSubmatch(string(b), -1) {
		has = append(has, row[1])
	}
	slices.Sort(names)
	slices.Sort(has)
	if !slices.Equal(names, has) {
		t.Errorf("%s has\n%s\nand the program\n%s", page, strings.Join(has, "\n"), strings.Join(names, "\n"))
	}
	return names
}

// Known wants of a file, such as alert rules, that each metric in it whose name begins with
// a prefix is one of these, and that there are some.
func Known(t testing.TB, file, prefix string, names []string) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(prefix+`\w+`).FindAllString(string(b), -1)
	for _, name := range found {
		if !slices.ContainsFunc(names, func(h string) bool { return h == name || strings.HasPrefix(h, name+"{") }) {
			t.Errorf("%s knows %s, which is none", file, name)
		}
	}
	if len(found) < 4 {
		t.Errorf("%s is of %q", file, found)
	}
}

// Rules has Prometheus read alert rules, where it is.
func Rules(t testing.TB, file string) {
	t.Helper()
	if _, err := exec.LookPath("promtool"); err != nil {
		t.Log("promtool is not here: tools/needs.sh go gets it")
		return
	}
	if out, err := exec.Command("promtool", "check", "rules", file).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
