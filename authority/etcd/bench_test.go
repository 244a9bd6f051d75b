//go:build linux

package etcd

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"igor.dev/authority"
	"igor.dev/authority/dir"
	"igor.dev/authority/fleet"
	"igor.dev/authority/https"
)

// BenchmarkAppends measures appends a second by agents that append one after the other, to
// members that are processes of their own, and beside it to a folder on the same disk.
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
	for b.Loop() {
		for which, store := range []authority.Authority{c, folder} {
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
		}
	}
	each := span.Seconds() * float64(b.N)
	b.ReportMetric(float64(n[0].Load())/each, "appends/s")
	b.ReportMetric(float64(n[1].Load())/each, "folder-appends/s")
	memory := 0
	for _, p := range a.members {
		memory = max(memory, resident(p.cmd.Process.Pid))
	}
	b.ReportMetric(float64(memory)/1024, "MB-each")
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
