package runtime

import (
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"igor.dev/archive"
	"igor.dev/archive/archivetest"
	"igor.dev/archive/dir"
	"igor.dev/runtime/internal/wasmtest"
	"igor.dev/segment"
)

// BenchmarkArchive holds ticks beside an archiver to ticks without one, in turns: one whose
// target refuses everything, one whose target never answers, and one that works. A
// checkpoint is made every ten ticks, and a segment every ten checkpoints.
func BenchmarkArchive(b *testing.B) {
	const n = 600
	targets := map[string]func() archive.Target{
		"down": func() archive.Target { t := archivetest.New("down", 1); t.Set(archivetest.Faults{Fail: 100}); return t },
		"hung": func() archive.Target {
			t := archivetest.New("hung", 1)
			t.Set(archivetest.Faults{Slow: 1 << 60})
			return t
		},
		"folder": func() archive.Target {
			t, err := dir.Open(filepath.Join(b.TempDir(), "lives"))
			noError(b, err)
			return t
		},
	}
	names := []string{"none", "down", "hung", "folder", "same"}
	median, worst, cpu := map[string][]float64{}, map[string]float64{}, map[string][]float64{}
	lots := 0
	for ; b.Loop(); lots++ {
		for i := range names {
			name := names[(i+lots)%len(names)] // each has every place
			c := cached(b, n, 10)
			c.TickInterval = 100 * time.Microsecond
			c.ArchiveLimit = time.Millisecond
			if open := targets[name]; open != nil {
				a, err := archive.New(archive.Config{Targets: []archive.Target{open()}, Rule: segment.Rule{Checkpoints: 10}, Parts: archive.DefaultParts})
				noError(b, err)
				c.Archive = a
			}
			var took []float64
			last := uint64(0)
			c.Watch = func(s Status) {
				if s.Ticks > last {
					last = s.Ticks
					took = append(took, float64(s.TickTime))
				}
			}
			began := processorTime(b)
			if _, err := Start(b.Context(), filepath.Join(b.TempDir(), fmt.Sprint(name, lots)), birth(wasmtest.Agent{}), c); err != nil {
				b.Fatal(err)
			}
			cpu[name] = append(cpu[name], float64(processorTime(b)-began))
			slices.Sort(took)
			median[name] = append(median[name], took[len(took)/2])
			worst[name] = max(worst[name], took[len(took)*99/100])
		}
	}
	mid := func(of []float64) float64 { slices.Sort(of); return of[len(of)/2] }
	for _, name := range names[1:] {
		b.ReportMetric(mid(median[name])/mid(median["none"]), name+"-tick/none")
		b.ReportMetric(mid(cpu[name])/mid(cpu["none"]), name+"-cpu/none")
	}
	b.ReportMetric(0, "ns/op")
}

func noError(b *testing.B, err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}
