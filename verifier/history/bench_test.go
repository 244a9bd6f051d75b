package history

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"igor.dev/verifier"
)

var benchN = flag.Int("bench.checkpoints", 100_000, "how long a history BenchmarkVerify verifies")

// BenchmarkVerify verifies a history of 1 KiB states from a folder and from a
// CAR, and reports the speed as a ratio against crypto/ed25519.Verify called for
// one checkpoint after the other on one core, in the same run.
//
//	go test -run '^$' -bench Verify -benchtime 1x ./verifier/history
func BenchmarkVerify(b *testing.B) {
	dir := b.TempDir()
	folder, car := filepath.Join(dir, "history"), filepath.Join(dir, "history.car")
	pub, messages, signatures := writeHistory(b, *benchN, 1024, folder, car)

	peer := func() time.Duration {
		start := time.Now()
		for i := range messages {
			if !ed25519.Verify(pub, messages[i], signatures[i]) {
				b.Fatal("bad signature")
			}
		}
		return time.Since(start)
	}
	for _, path := range []string{folder, car} {
		for _, workers := range []int{1, 2} {
			b.Run(fmt.Sprintf("%s/workers=%d", filepath.Base(path), workers), func(b *testing.B) {
				var ours, theirs time.Duration
				for b.Loop() {
					theirs += peer()
					start := time.Now()
					source, err := Path(path)
					if err != nil {
						b.Fatal(err)
					}
					v := Verification{Workers: workers}
					report, err := v.Run(context.Background(), source)
					if err != nil || report.Verdict() != verifier.Verified {
						b.Fatal(report, err)
					}
					ours += time.Since(start)
				}
				b.ReportMetric(theirs.Seconds()/ours.Seconds(), "x-ed25519.Verify")
				b.ReportMetric(float64(b.N**benchN)/ours.Seconds(), "checkpoints/s")
				b.ReportMetric(0, "ns/op")
			})
		}
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
}

// writeHistory writes a verified life both as a folder and as a CAR.
func writeHistory(tb testing.TB, n, stateSize int, folder, car string) (pub ed25519.PublicKey, messages, signatures [][]byte) {
	tb.Helper()
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	pub = key.Public().(ed25519.PublicKey)
	if err := os.MkdirAll(folder, 0o777); err != nil {
		tb.Fatal(err)
	}
	c := verifier.Checkpoint{Version: verifier.Version4, Budget: 1e12, AgentPubKey: verifier.PublicKey(pub)}
	var blocks []byte
	for i := range n {
		c.TickNumber = uint64(i + 1)
		c.State = make([]byte, stateSize)
		binary.LittleEndian.PutUint64(c.State, uint64(i))
		message := c.AppendMessage(nil)
		c.Signature = [64]byte(ed25519.Sign(key, message))
		messages = append(messages, message)
		signatures = append(signatures, append([]byte(nil), c.Signature[:]...))
		b := c.Append(nil)
		c.PrevHash = sha256.Sum256(b)
		blocks = verifier.AppendCARBlock(blocks, c.PrevHash, b)
		if err := os.WriteFile(filepath.Join(folder, fmt.Sprintf("%010d.ckpt", c.TickNumber)), b, 0o666); err != nil {
			tb.Fatal(err)
		}
	}
	if err := os.WriteFile(car, append(verifier.AppendCARHeader(nil, c.PrevHash), blocks...), 0o666); err != nil {
		tb.Fatal(err)
	}
	return pub, messages, signatures
}
