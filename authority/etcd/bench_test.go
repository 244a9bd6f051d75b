//go:build linux

package etcd

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"igor.dev/authority"
	"igor.dev/authority/dir"
	"igor.dev/authority/fleet"
	"igor.dev/authority/https"
)

// BenchmarkAppends measures appends a second by agents that append one after the other, to
// members that are processes of their own; beside it to a folder on the same disk, and plain
// puts of as many bytes to as many etcd servers of this process, by as many callers; and reads
// of positions and leases. On a machine that others use too, the processor time of each says
// more.
func BenchmarkAppends(b *testing.B) {
	for _, members := range []int{1, 3} {
		for _, agents := range []int{1, 64, 1000} {
			b.Run(fmt.Sprintf("members=%d/agents=%d", members, agents), func(b *testing.B) { benchmarkAppends(b, members, agents) })
		}
	}
}

func benchmarkAppends(b *testing.B, members, agents int) {
	a := &arena{t: b, ops: map[string]op{}}
	a.script = script{Lease: 30 * time.Second}
	a.script.Peers, a.script.Members = freePorts(b, "127.0.0.1", members), freePorts(b, "127.0.0.1", members)
	for i := range members {
		p := &process{a: a, role: "member", host: i, key: memberKey(i), dir: filepath.Join(b.TempDir(), fmt.Sprint("member", i))}
		a.members = append(a.members, p)
		defer p.kill()
	}
	began := time.Now()
	for _, p := range a.members {
		p.start()
	}
	for _, p := range a.members {
		p.wait("ready")
	}
	b.ReportMetric(time.Since(began).Seconds(), "s-to-start")
	via := https.NewTransport(key(200))
	c, err := fleet.New(fleet.Config{Members: a.script.members(), Via: via, Attempt: 20 * time.Second, Lease: time.Minute})
	if err != nil {
		b.Fatal(err)
	}
	c.KeepLease()
	defer c.Close()
	if err := c.WaitHeld(b.Context()); err != nil {
		b.Fatal(err)
	}
	folder, err := dir.Open(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	const span = 3 * time.Second
	n := [2]atomic.Int64{}
	puts, putTime, appendTime := int64(0), time.Duration(0), time.Duration(0)
	var reads atomic.Int64
	readTime := time.Duration(0)
	plain := plainEtcd(b, members)
	for b.Loop() {
		took := used()
		puts += plain(agents, span)
		putTime += used() - took
		for which, store := range []authority.Authority{c, folder} {
			took := used(a.members...)
			var all sync.WaitGroup
			ctx, stop := context.WithTimeout(b.Context(), span)
			for i := range agents {
				all.Go(func() {
					k := seeded(i)
					agent := public(k)
					s := store
					if which == 0 {
						r, err := c.SignedBy(k, nil)
						if err != nil {
							b.Error(err)
							return
						}
						s = r
					}
					at, err := s.Read(ctx, agent)
					next := at
					if next.Sequence++; err != nil {
						next = begin(public(key(200)), 1)
						at = authority.Position{}
					}
					for ctx.Err() == nil {
						if err := s.Append(ctx, agent, at, next); err != nil {
							if ctx.Err() == nil {
								b.Error(err)
							}
							return
						}
						n[which].Add(1)
						at = next
						next.Sequence++
					}
				})
			}
			all.Wait()
			stop()
			if which == 0 {
				appendTime += used(a.members...) - took
			}
		}
		took = used(a.members...)
		ctx, stop := context.WithTimeout(b.Context(), span)
		var all sync.WaitGroup
		for i := range agents {
			all.Go(func() {
				for agent := public(seeded(i)); ctx.Err() == nil; reads.Add(1) {
					if _, _, err := c.ReadLease(ctx, agent); err != nil {
						if ctx.Err() == nil {
							b.Error(err)
						}
						return
					}
				}
			})
		}
		all.Wait()
		stop()
		readTime += used(a.members...) - took
	}
	each := span.Seconds() * float64(b.N)
	b.ReportMetric(float64(n[0].Load())/each, "appends/s")
	b.ReportMetric(float64(n[1].Load())/each, "folder-appends/s")
	b.ReportMetric(float64(puts)/each, "etcd-puts/s")
	b.ReportMetric(float64(appendTime.Microseconds())/float64(n[0].Load()), "cpu-µs/append")
	b.ReportMetric(float64(putTime.Microseconds())/float64(puts), "cpu-µs/put")
	b.ReportMetric(float64(reads.Load())/each, "reads/s")
	b.ReportMetric(float64(readTime.Microseconds())/float64(max(1, reads.Load())), "cpu-µs/read")
	memory := 0
	for _, p := range a.members {
		memory = max(memory, resident(p.cmd.Process.Pid))
	}
	b.ReportMetric(float64(memory)/1024, "MB-each")
}

// plainEtcd starts etcd servers, and returns what has callers put something for a while, each
// its own, and says how often they did.
func plainEtcd(b *testing.B, members int) func(callers int, span time.Duration) int64 {
	var peers []Peer
	for i, at := range freePorts(b, "127.0.0.1", members) {
		peers = append(peers, Peer{public(key(byte(100 + i))), at})
	}
	var all []*Engine
	for i := range peers {
		e, err := Start(Config{Key: key(byte(100 + i)), Dir: b.TempDir(), Members: peers})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { e.Close() })
		all = append(all, e)
	}
	for _, e := range all {
		if err := e.Ready(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	value := strings.Repeat("x", authority.PositionSize)
	return func(callers int, span time.Duration) int64 {
		ctx, stop := context.WithTimeout(b.Context(), span)
		defer stop()
		var n atomic.Int64
		var wait sync.WaitGroup
		for i := range callers {
			wait.Go(func() {
				for name := fmt.Sprint("plain ", i); ctx.Err() == nil; {
					if _, err := all[0].client.Put(ctx, name, value); err == nil {
						n.Add(1)
					}
				}
			})
		}
		wait.Wait()
		return n.Load()
	}
}

// used is how much of the processors this process and others had.
func used(others ...*process) (sum time.Duration) {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	sum = time.Duration(u.Utime.Nano() + u.Stime.Nano())
	for _, p := range others {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
		if err != nil {
			continue
		}
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		for _, f := range fields[11:13] {
			n, _ := strconv.ParseInt(f, 10, 64)
			sum += time.Duration(n) * 10 * time.Millisecond
		}
	}
	return sum
}

// resident is how much memory a process has, in KiB.
func resident(pid int) (kib int) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			fmt.Sscan(rest, &kib)
		}
	}
	return kib
}

func seeded(i int) ed25519.PrivateKey {
	seed := hash(fmt.Sprint("agent ", i))
	return ed25519.NewKeyFromSeed(seed[:])
}
