package runtime

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"igor.dev/runtime/internal/wasmtest"
)

// The benchmarks of what a life costs hold two things against one another in
// turns, in one run, so that both see the same machine: the ratio is the figure.

// firstCheckpoint has the time when the first checkpoint was acknowledged.
type firstCheckpoint struct {
	slog.Handler
	at time.Time
}

func (f *firstCheckpoint) Enabled(context.Context, slog.Level) bool { return true }

func (f *firstCheckpoint) Handle(_ context.Context, r slog.Record) error {
	if r.Message == "checkpoint" && f.at.IsZero() {
		f.at = time.Now()
	}
	return nil
}

// BenchmarkDurable holds the rate of durable checkpoints, one a tick, against the
// least that a disk has to do for a file each: a new file, written and synced, and
// its folder synced.
func BenchmarkDurable(b *testing.B) {
	_, node, err := ed25519.GenerateKey(nil)
	if err != nil {
		b.Fatal(err)
	}
	const lot = 200
	var living, writing time.Duration
	var lived, written int
	for i := 0; b.Loop(); i++ {
		dir := filepath.Join(b.TempDir(), fmt.Sprint(i))
		first := new(firstCheckpoint)
		c := ticks(lot, 1)
		c.Log, c.NodeKey = slog.New(first), node
		r, err := Start(b.Context(), dir, birth(wasmtest.Agent{}), c)
		if err != nil {
			b.Fatal(err)
		}
		living += time.Since(first.at)
		lived += r.Checkpoints - 1

		checkpoint, err := os.ReadFile(filepath.Join(dir, "history", "0000000001.ckpt"))
		if err != nil {
			b.Fatal(err)
		}
		raw := filepath.Join(b.TempDir(), fmt.Sprint("raw", i))
		if err := os.Mkdir(raw, 0o755); err != nil {
			b.Fatal(err)
		}
		began := time.Now()
		for n := range lot {
			if err := writeDurably(raw, fmt.Sprintf("%010d", n), checkpoint); err != nil {
				b.Fatal(err)
			}
		}
		writing += time.Since(began)
		written += lot
	}
	checkpoints, writes := float64(lived)/living.Seconds(), float64(written)/writing.Seconds()
	b.ReportMetric(checkpoints, "checkpoints/s")
	b.ReportMetric(writes, "writes/s")
	b.ReportMetric(checkpoints/writes, "of-writes")
}

func writeDurably(dir, name string, content []byte) error {
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.Write(content); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
