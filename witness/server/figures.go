package server

import (
	"context"
	"os"
	"path/filepath"

	"github.com/prometheus/client_golang/prometheus"
)

func gauge(name, help string, value func() float64) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value)
}

// Figures are the log's metrics.
func (l *Log) Figures() []prometheus.Collector {
	return []prometheus.Collector{
		gauge("igor_log_entries", "entries of the checkpoint that is published", func() float64 { return float64(l.Size()) }),
		gauge("igor_log_entries_waiting", "entries that the log took and that are in no published checkpoint", func() float64 {
			published := l.Size() // first, so that it is never the larger one
			size, err := l.reader.IntegratedSize(context.Background())
			if err != nil {
				return 0
			}
			return float64(max(size, published) - published)
		}),
		gauge("igor_log_published_seconds", "when the newest checkpoint was published, since 1970", func() float64 {
			i, err := os.Stat(filepath.Join(l.config.Dir, "checkpoint"))
			if err != nil {
				return 0
			}
			return float64(i.ModTime().Unix())
		}),
	}
}

var logEntries = prometheus.NewDesc("igor_log_witness_entries", "entries of what was cosigned last of a log", []string{"log"}, nil)

// Figures are the witness's metrics.
func (w *Witness) Figures() []prometheus.Collector {
	return []prometheus.Collector{w.refused, (*cosigned)(w)}
}

// cosigned says what was cosigned last.
type cosigned Witness

func (c *cosigned) Describe(to chan<- *prometheus.Desc) { to <- logEntries }

func (c *cosigned) Collect(to chan<- prometheus.Metric) {
	w := (*Witness)(c)
	w.mu.Lock()
	defer w.mu.Unlock()
	for name := range w.logs {
		if last, err := w.read(name); err == nil {
			to <- prometheus.MustNewConstMetric(logEntries, prometheus.GaugeValue, float64(last.N), name)
		}
	}
}

// Figures are the monitor's metrics.
func (m *Monitor) Figures() []prometheus.Collector {
	return []prometheus.Collector{
		gauge("igor_log_monitor_entries", "entries of the log that the monitor has read", func() float64 { n, _, _, _, _ := m.State(); return float64(n) }),
		gauge("igor_log_monitor_heads", "head statements that it keeps", func() float64 { _, n, _, _, _ := m.State(); return float64(n) }),
		gauge("igor_log_monitor_keys", "keys that those are of", func() float64 { _, _, n, _, _ := m.State(); return float64(n) }),
		gauge("igor_log_monitor_forks", "fork proofs that it has", func() float64 { _, _, _, n, _ := m.State(); return float64(n) }),
		gauge("igor_log_monitor_following", "1 as long as the log took nothing back", func() float64 {
			if _, _, _, _, refused := m.State(); refused != nil {
				return 0
			}
			return 1
		}),
		gauge("igor_log_monitor_read_seconds", "when the log was last read whole, since 1970", func() float64 { return float64(m.readAt.Load()) }),
	}
}
