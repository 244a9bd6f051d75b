//go:build !wasip1

package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"igor.dev/agents/internal/life"
)

var rounds = flag.Int("rounds", 5, "how often the benchmark measures each time")

// BenchmarkLanguages lives the heartbeat of each language in the simulator, which has
// the real sandbox, hostcalls, event log and checkpoints, and no disk: its size, what a
// start costs with and without compiled code that was kept, a tick, and a checkpoint
// with the fresh instance after it; and what a tick of the heartbeat costs in fuel, and
// one of primes, which computes. Times are the processor's, and each is a median.
func BenchmarkLanguages(b *testing.B) {
	tmp := b.TempDir()
	run := func(name string, args ...string) {
		b.Helper()
		cmd := exec.Command(name, args...)
		cmd.Env = append(os.Environ(), "GOFLAGS=-buildvcs=false")
		if len(args) > 1 && args[1] == "-buildmode=c-shared" {
			cmd.Env = append(cmd.Env, "GOOS=wasip1", "GOARCH=wasm")
		}
		if out, err := cmd.CombinedOutput(); err != nil {
			b.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	run("go", "build", "-C", "../..", "-o", tmp, "./cmd/igor")
	run("make", "-s", "-C", "..", "heartbeat", "OUT="+tmp)

	const ticks, checkpoints = 100_000, 400
	cost := func(wasm, cache string, args ...string) time.Duration {
		b.Helper()
		cmd := exec.Command(filepath.Join(tmp, "igor"), append([]string{"simulate", wasm, "--quiet", "--cache-dir", cache}, args...)...)
		if out, err := cmd.CombinedOutput(); err != nil {
			b.Fatalf("%v\n%s", err, out)
		}
		return cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	}
	// fuel returns what a tick costs, from what is left of a budget at a price of one
	// microcent for each unit.
	fuel := func(wasm, manifest string) int64 {
		b.Helper()
		left := func(ticks int) int64 {
			out, err := exec.Command(filepath.Join(tmp, "igor"), "simulate", wasm, "--quiet", "--manifest", manifest, "--cache-dir", filepath.Join(tmp, "cache"), "--json",
				"--budget=1000000", "--price=1000", "--checkpoint-every=1000000", fmt.Sprint("--ticks=", ticks)).Output()
			var r struct {
				Budget int64 `json:"budgetMicrocents,string"`
			}
			if err = errors.Join(err, json.Unmarshal(out, &r)); err != nil {
				b.Fatalf("%v\n%s", err, out)
			}
			return r.Budget
		}
		return (left(11) - left(31)) / 20
	}
	run("go", "build", "-buildmode=c-shared", "-ldflags=-s", "-o", filepath.Join(tmp, "primes.wasm"), "./primes")
	fmt.Printf("%-15s %10s %12s %12s %10s %14s %10s %10s\n", "", "bytes", "cold start", "warm start", "ticks/s", "checkpoints/s", "fuel", "primes")
	for _, language := range append([]string{"go"}, life.Languages...) {
		wasm := filepath.Join(tmp, "heartbeat.wasm")
		if language != "go" {
			life.Installed(b, language)
			run("make", "-s", "-C", "..", "heartbeat-"+language, "OUT="+tmp)
			wasm = filepath.Join(tmp, "heartbeat-"+language+".wasm")
			run("make", "-s", "-C", "..", "program-"+language, "FROM=heartbeat/primes/"+language, "NAME=primes", "TO="+filepath.Join(tmp, "primes.wasm"))
		}
		info, err := os.Stat(wasm)
		if err != nil {
			b.Fatal(err)
		}
		var cold, warm, many, fresh []time.Duration
		for round := range *rounds {
			cache := filepath.Join(tmp, fmt.Sprint("cache-", language, round))
			cold = append(cold, cost(wasm, cache, "--ticks=1"))
			start := cost(wasm, cache, "--ticks=1")
			warm = append(warm, start)
			many = append(many, cost(wasm, cache, "--checkpoint-every=1000000", fmt.Sprint("--ticks=", ticks))-start)
			fresh = append(fresh, cost(wasm, cache, "--checkpoint-every=1", fmt.Sprint("--ticks=", checkpoints))-start)
		}
		rate := func(n int, d time.Duration) int { return int(float64(n) / d.Seconds()) }
		fmt.Printf("%-15s %10d %12v %12v %10d %14d %10d %10d\n", language, info.Size(), median(cold), median(warm), rate(ticks, median(many)),
			rate(checkpoints, median(fresh)), fuel(wasm, "heartbeat.manifest.json"), fuel(filepath.Join(tmp, "primes.wasm"), "primes/primes.manifest.json"))
	}
}

func median(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/2].Round(time.Millisecond)
}
