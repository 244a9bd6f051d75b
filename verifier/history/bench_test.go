//go:build unix

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
	"syscall"
	"testing"
	"time"

	"igor.dev/verifier"
)

var benchN = flag.Int("bench.checkpoints", 20_000, "how long a history BenchmarkVerify verifies")

// BenchmarkVerify verifies histories of 1 KiB states and reports, by the least CPU time
// of the whole process, system calls and garbage collection included:
//
//   - x-ed25519: how many times faster than crypto/ed25519.Verify, called for one
//     checkpoint of a good history after the other in the same run, and
//   - x-good: how many times the cost of a good history, for those that are not.
//
// The benchmark's name says what is verified: a folder or a CAR, by how many workers,
// and what is wrong with it.
//
//	go test -run '^$' -bench Verify -benchtime 5x ./verifier/history
func BenchmarkVerify(b *testing.B) {
	dir := b.TempDir()
	good := func(*verifier.Checkpoint) {}
	pub, messages, signatures := writeHistory(b, dir, "good", *benchN, good)
	writeHistory(b, dir, "bad-signatures", *benchN, func(c *verifier.Checkpoint) { c.Signature[0]++ })
	writeHistory(b, dir, "bad-keys", *benchN, func(c *verifier.Checkpoint) {
		binary.LittleEndian.PutUint64(c.AgentPubKey[:], c.TickNumber)
	})
	writeHistory(b, dir, "unparsable", *benchN, func(c *verifier.Checkpoint) { c.Version = 9 })

	peer := func() {
		for i := range messages {
			if !ed25519.Verify(pub, messages[i], signatures[i]) {
				b.Fatal("bad signature")
			}
		}
	}
	verify := func(path string, workers int, want verifier.Verdict) {
		source, err := Path(path)
		if err != nil {
			b.Fatal(err)
		}
		v := Verification{Workers: workers}
		report, err := v.Run(context.Background(), source)
		if err != nil || report.Verdict() != want {
			b.Fatal(report, err)
		}
	}
	for _, name := range []string{"good", "good.car", "bad-signatures.car", "bad-keys.car", "unparsable.car"} {
		for _, workers := range []int{1, 2} {
			b.Run(fmt.Sprintf("%s/workers=%d", name, workers), func(b *testing.B) {
				var ours, theirs, goods leastTime
				path, want := filepath.Join(dir, name), verifier.Verified
				if name != "good" && name != "good.car" {
					want = verifier.Invalid
				}
				for b.Loop() {
					theirs.of(peer)
					ours.of(func() { verify(path, workers, want) })
					if want == verifier.Invalid {
						goods.of(func() { verify(filepath.Join(dir, "good.car"), workers, verifier.Verified) })
					}
				}
				b.ReportMetric(theirs.seconds/ours.seconds, "x-ed25519")
				if goods.seconds > 0 {
					b.ReportMetric(ours.seconds/goods.seconds, "x-good")
				}
				b.ReportMetric(ours.seconds*1e6/float64(*benchN), "CPU-µs/checkpoint")
				b.ReportMetric(0, "ns/op")
			})
		}
	}
}

// A leastTime is the least CPU time that this process spent in what was run: other
// programs on the same machine make it longer, and never shorter.
type leastTime struct{ seconds float64 }

// of runs f. What earlier work left to the garbage collector is not counted.
func (t *leastTime) of(f func()) {
	runtime.GC()
	start := rusage()
	f()
	if took := (rusage() - start).Seconds(); t.seconds == 0 || took < t.seconds {
		t.seconds = took
	}
}

func rusage() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// writeHistory writes a life, each checkpoint of it changed after it was signed, as a
// CAR and, if it is a good one, as a folder.
func writeHistory(tb testing.TB, dir, name string, n int, change func(*verifier.Checkpoint)) (pub ed25519.PublicKey, messages, signatures [][]byte) {
	tb.Helper()
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	pub = key.Public().(ed25519.PublicKey)
	folder := filepath.Join(dir, name)
	if err := os.MkdirAll(folder, 0o777); err != nil {
		tb.Fatal(err)
	}
	c := verifier.Checkpoint{Version: verifier.Version4, Budget: 1e12}
	var blocks []byte
	for i := range n {
		c.Version, c.AgentPubKey = verifier.Version4, verifier.PublicKey(pub)
		c.TickNumber = uint64(i + 1)
		c.State = make([]byte, 1024)
		binary.LittleEndian.PutUint64(c.State, uint64(i))
		message := c.AppendMessage(nil)
		c.Signature = [64]byte(ed25519.Sign(key, message))
		messages = append(messages, message)
		signatures = append(signatures, append([]byte(nil), c.Signature[:]...))
		change(&c)
		b := c.Append(nil)
		c.PrevHash = sha256.Sum256(b)
		blocks = verifier.AppendCARBlock(blocks, c.PrevHash, b)
		if name == "good" {
			if err := os.WriteFile(filepath.Join(folder, fmt.Sprintf("%010d.ckpt", c.TickNumber)), b, 0o666); err != nil {
				tb.Fatal(err)
			}
		}
	}
	if err := os.WriteFile(folder+".car", append(verifier.AppendCARHeader(nil, c.PrevHash), blocks...), 0o666); err != nil {
		tb.Fatal(err)
	}
	return pub, messages, signatures
}
