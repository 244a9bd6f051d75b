package main

import (
	"slices"
	"testing"

	"igor.dev/internal/monitor/monitortest"
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
	names := monitortest.Same(t, "../../docs/witnessing.md", "igor_log_", slices.Concat(new(server.Log).Figures(), w.Figures(), new(server.Monitor).Figures())...)
	const rules = "../../packaging/prometheus/igor-log.rules.yml"
	for _, file := range []string{rules, "../../packaging/grafana/igor-log.json"} {
		monitortest.Known(t, file, "igor_log_", names)
	}
	monitortest.Rules(t, rules)
}
