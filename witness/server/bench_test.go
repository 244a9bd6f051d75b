package server

import (
	"context"
	"crypto/ed25519"
	"sync"
	"testing"
	"time"

	"github.com/transparency-dev/tessera"

	"igor.dev/internal/testkit"
	"igor.dev/verifier"
	"igor.dev/verifier/witness"
)

func statement(a *testkit.Agent, tick uint64) []byte {
	h := &witness.Head{Agent: verifier.PublicKey(a.Key), Tick: tick, Checkpoint: verifier.Hash{byte(tick), byte(tick >> 8), byte(tick >> 16)}}
	copy(h.Signature[:], ed25519.Sign(a.Private, h.AppendMessage(nil)))
	return h.Append(nil)
}

// BenchmarkHead is from a statement to a proof that two of three witnesses cosigned, one at
// a time; the log's interval of 100 ms is in it.
func BenchmarkHead(b *testing.B) {
	w := newWorld(b, "two")
	w.open(b.TempDir())
	tick := uint64(0)
	size := 0
	for b.Loop() {
		tick++
		size = len(w.add(statement(alice, tick)))
	}
	b.ReportMetric(float64(size), "B/proof")
}

// BenchmarkLeaves is how many statements the log takes in a second, by HTTP, from many at
// the same time.
func BenchmarkLeaves(b *testing.B) {
	w := newWorld(b, "none")
	w.open(b.TempDir())
	const at = 512
	var all [][]byte
	for i := range 8192 {
		all = append(all, statement(alice, uint64(i)))
	}
	began := time.Now()
	n := 0
	for b.Loop() {
		var wg sync.WaitGroup
		for i := range at {
			entry := all[(n+i)%len(all)]
			wg.Go(func() {
				if _, err := w.client.Add(context.Background(), entry); err != nil {
					b.Error(err)
				}
			})
		}
		wg.Wait()
		n += at
	}
	b.ReportMetric(float64(n)/time.Since(began).Seconds(), "heads/s")
}

// BenchmarkScan is how many leaves a monitor reads in a second, from a log of 20,000.
func BenchmarkScan(b *testing.B) {
	w := newWorld(b, "none")
	w.open(b.TempDir())
	const leaves = 20_000
	for i := range leaves {
		w.log.appender.Add(b.Context(), tessera.NewEntry(statement(alice, uint64(i))))
	}
	for w.log.Size() < leaves {
		time.Sleep(50 * time.Millisecond)
	}
	for b.Loop() {
		m := w.monitor(b.TempDir())
		if err := m.Read(b.Context()); err != nil {
			b.Fatal(err)
		}
		if _, heads, _, _, _ := m.State(); heads != leaves {
			b.Fatal(heads)
		}
	}
	b.ReportMetric(float64(leaves*b.N)/b.Elapsed().Seconds(), "leaves/s")
}
