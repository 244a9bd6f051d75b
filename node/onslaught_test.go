package node

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/protocol/identify"
	pb "github.com/libp2p/go-libp2p/p2p/protocol/identify/pb"
	"github.com/libp2p/go-msgio/pbio"
	ma "github.com/multiformats/go-multiaddr"

	"igor.dev/node/price"
	"igor.dev/verifier"
)

var onslaught = flag.Int("onslaught", 200, "how many streams, identities and connections TestOnslaught has")

// raiders is how many peers attack together.
const raiders = 10

// memoryOf returns the memory of a process, now and at most since it began, in MiB.
func memoryOf(t testing.TB, pid int) (now, most int) {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Skip("no /proc")
	}
	of := func(name string) int {
		m := regexp.MustCompile(name + `:\s+(\d+) kB`).FindSubmatch(b)
		if m == nil {
			t.Fatalf("no %s in %s", name, b)
		}
		kB, _ := strconv.Atoi(string(m[1]))
		return kB >> 10
	}
	return of("VmRSS"), of("VmHWM")
}

// TestOnslaught attacks a node, in a process of its own, by peers that keep to no limit: with
// streams, identities, connections that say nothing, and what they tell of themselves. Its
// memory stays bounded, and another peer is answered all the time.
func TestOnslaught(t *testing.T) {
	t.Run("closed", func(t *testing.T) { testOnslaught(t, false) })
	if *onslaught >= 1000 {
		t.Run("open", func(t *testing.T) { testOnslaught(t, true) })
	}
}

func testOnslaught(t *testing.T, open bool) {
	const honest = 99
	p := processes(t, 1, func(_ int, settings map[string]any) {
		peers := []string{did(honest)}
		for i := range raiders {
			peers = append(peers, did(byte(100+i)))
		}
		settings["peers"], settings["open"] = peers, open
	})[0]
	p.start("")
	k, err := verifier.ParseDID(p.did)
	if err != nil {
		t.Fatal(err)
	}
	id, err := idOf(k)
	if err != nil {
		t.Fatal(err)
	}
	at := peer.AddrInfo{ID: id, Addrs: []ma.Multiaddr{ma.StringCast(fmt.Sprintf("/ip4/127.0.0.1/tcp/%d", p.port))}}
	friend := newEvil(t, honest)
	if err := friend.host.Connect(t.Context(), at); err != nil {
		t.Fatal(err)
	}
	var asked, slowest atomic.Int64
	ask := func() error {
		ctx, done := context.WithTimeout(t.Context(), 30*time.Second)
		defer done()
		began := time.Now()
		s, err := friend.host.NewStream(ctx, id, ProtocolPrice)
		if err != nil {
			return err
		}
		defer s.Close()
		b, err := io.ReadAll(io.LimitReader(s, 1<<20))
		if err != nil {
			return err
		}
		if o, err := price.Parse(b); err != nil || o.Node != k {
			return fmt.Errorf("the offer: %w", err)
		}
		asked.Add(1)
		if took := time.Since(began).Milliseconds(); took > slowest.Load() {
			slowest.Store(took)
		}
		return nil
	}
	var hosts []host.Host
	for i := range raiders {
		h := newRaider(t, byte(100+i))
		if err := h.Connect(t.Context(), at); err != nil {
			t.Fatal(err)
		}
		hosts = append(hosts, h)
	}
	attack := func(name string, do func(ctx context.Context) string) {
		t.Helper()
		before, _ := memoryOf(t, p.cmd.Process.Pid)
		asked.Store(0)
		slowest.Store(0)
		ctx, stop := context.WithTimeout(t.Context(), 2*time.Minute)
		done := make(chan error, 1)
		go func() {
			for {
				if err := ask(); err != nil || ctx.Err() != nil {
					done <- err
					return
				}
				time.Sleep(20 * time.Millisecond)
			}
		}()
		began := time.Now()
		did := do(ctx)
		took := time.Since(began)
		if err := ask(); err != nil {
			t.Errorf("%s: another peer is not answered at its end: %v", name, err)
		}
		stop()
		if err := <-done; err != nil {
			t.Errorf("%s: another peer is not answered: %v", name, err)
		}
		now, most := memoryOf(t, p.cmd.Process.Pid)
		t.Logf("%s: %s in %v; memory %d MiB before, %d now, %d at most; another peer was answered %d times, after %d ms at most", name, did, took.Round(time.Millisecond), before, now, most, asked.Load(), slowest.Load())
		if most > 400 {
			t.Errorf("%s: the node took %d MiB", name, most)
		}
		if p.dead() {
			t.Fatalf("%s: the node died: %s", name, p.tail())
		}
	}
	streams := func(ctx context.Context, h host.Host, count int) (opened int) {
		for i := range count {
			s, err := h.Network().NewStream(ctx, id)
			if err != nil {
				if h.Network().Connectedness(id) != network.Connected {
					if h.Connect(ctx, at) != nil {
						return opened
					}
				}
				continue
			}
			opened++
			of := []protocol.ID{ProtocolPrice, ProtocolHistory, ProtocolHandOver, "/ipfs/ping/1.0.0", identify.IDPush, "/igor/none/1"}[i%6]
			s.SetWriteDeadline(time.Now().Add(time.Second))
			switch i % 4 {
			case 0:
				s.Write([]byte{0x13}) // a negotiation that never ends
			case 1:
				fmt.Fprintf(s, "\x13/multistream/1.0.0\n%c%s\n", len(of)+1, of)
			case 2:
				fmt.Fprintf(s, "\x13/multistream/1.0.0\n%c%s\n", len(of)+1, of)
				s.Write([]byte{0xff, 0xff, 0, 0}) // a message that never comes
			case 3:
				s.Write(bytes.Repeat([]byte{0x13}, 4<<10))
			}
		}
		return opened
	}
	attack("streams of one peer", func(ctx context.Context) string {
		return fmt.Sprintf("%d streams of %d came about", streams(ctx, hosts[0], *onslaught), *onslaught)
	})
	attack("streams of ten peers", func(ctx context.Context) string {
		var opened atomic.Int64
		var wg sync.WaitGroup
		for _, h := range hosts {
			wg.Go(func() { opened.Add(int64(streams(ctx, h, *onslaught/raiders))) })
		}
		wg.Wait()
		return fmt.Sprintf("%d streams of %d came about", opened.Load(), *onslaught)
	})
	attack("streams that say nothing", func(ctx context.Context) string {
		var all []network.Stream
		for _, h := range hosts {
			for range peerStreams {
				if s, err := h.Network().NewStream(ctx, id); err == nil {
					s.Write([]byte{0x13}) // the first byte of a negotiation
					all = append(all, s)
				}
			}
		}
		time.Sleep(time.Second)
		for _, s := range all {
			s.Reset()
		}
		return fmt.Sprintf("%d came about", len(all))
	})
	attack("streams that are filled and never read", func(ctx context.Context) string {
		var wrote atomic.Int64
		var wg sync.WaitGroup
		for _, h := range hosts {
			for range min(peerStreams, *onslaught/raiders) {
				s, err := h.Network().NewStream(ctx, id)
				if err != nil {
					continue
				}
				wg.Go(func() {
					defer s.Reset()
					s.SetWriteDeadline(time.Now().Add(2 * time.Second))
					s.Write([]byte("\x13/multistream/1.0.0\n"))
					for range 64 {
						n, err := s.Write(bytes.Repeat([]byte("\x03ls\n"), 4<<10)) // what is answered by more
						if wrote.Add(int64(n)); err != nil {
							return
						}
					}
				})
			}
		}
		wg.Wait()
		return fmt.Sprintf("%d MiB were written", wrote.Load()>>20)
	})
	attack("what peers tell of themselves", func(ctx context.Context) string {
		var told atomic.Int64
		var wg sync.WaitGroup
		for n, h := range hosts {
			wg.Go(func() {
				for i := range *onslaught / raiders {
					s, err := h.NewStream(ctx, id, identify.IDPush)
					if err != nil {
						continue
					}
					s.SetDeadline(time.Now().Add(5 * time.Second))
					m := &pb.Identify{}
					for j := range 300 {
						m.ListenAddrs = append(m.ListenAddrs, ma.StringCast(fmt.Sprintf("/ip4/10.%d.%d.%d/tcp/%d", n, i%256, j%256, 1+i)).Bytes())
						if j < 100 {
							m.Protocols = append(m.Protocols, fmt.Sprintf("/told/%d/%d/%d", n, i, j))
						}
					}
					if pbio.NewDelimitedWriter(s).WriteMsg(m) == nil {
						told.Add(1)
					}
					s.Close()
				}
			})
		}
		wg.Wait()
		return fmt.Sprintf("%d of %d pushes were written, each with 300 addresses and 100 protocols", told.Load(), *onslaught)
	})
	attack("identities", func(ctx context.Context) string {
		var connected, answered atomic.Int64
		var wg sync.WaitGroup
		each := make(chan int)
		for range 8 {
			wg.Go(func() {
				for i := range each {
					c, s := stranger(ctx, t, i, at)
					connected.Add(int64(c))
					answered.Add(int64(s))
				}
			})
		}
		for i := range *onslaught / 5 {
			each <- i
		}
		close(each)
		wg.Wait()
		if !open && answered.Load() > 0 {
			t.Error("strangers are answered")
		}
		return fmt.Sprintf("%d of %d were connected, %d answered", connected.Load(), *onslaught/5, answered.Load())
	})
	attack("connections that say nothing", func(ctx context.Context) string {
		var all []net.Conn
		for i := range *onslaught / 5 {
			c, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", p.port), time.Second)
			if err != nil {
				continue
			}
			all = append(all, c)
			if i%2 == 0 {
				c.Write([]byte("\x13/multistream/1.0.0\n"))
			}
		}
		time.Sleep(time.Second)
		for _, c := range all {
			c.Close()
		}
		return fmt.Sprintf("%d of %d came about", len(all), *onslaught/5)
	})
	if b, err := os.ReadFile(filepath.Join(p.dir, "peers.json")); err != nil || !json.Valid(b) || strings.Contains(string(b), "/ip4/10.") {
		t.Errorf("peers.json: %v", err)
	}
}

// stranger connects by a key of its own and asks for an offer. It says whether it was
// connected, and answered.
func stranger(ctx context.Context, t testing.TB, i int, at peer.AddrInfo) (connected, answered int) {
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Error(err)
		return
	}
	h, err := rawHost(key, libp2p.NoListenAddrs)
	if err != nil {
		t.Error(err)
		return
	}
	defer h.Close()
	ctx, done := context.WithTimeout(ctx, 5*time.Second)
	defer done()
	if h.Connect(ctx, at) != nil {
		return
	}
	connected = 1
	s, err := h.NewStream(ctx, at.ID, ProtocolPrice)
	if err != nil {
		return
	}
	s.SetDeadline(time.Now().Add(5 * time.Second))
	if n, _ := io.Copy(io.Discard, s); n > 0 {
		answered = 1
	}
	return
}
