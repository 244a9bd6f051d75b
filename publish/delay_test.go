package publish

import (
	"bytes"
	"context"
	"flag"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"igor.dev/internal/testkit"
)

var fetchN = flag.Int("fetch.checkpoints", 10_000, "how long a life BenchmarkFetch fetches")

// BenchmarkFetch fetches a life over a line with 40 ms a round trip and 100 Mbit/s, in the
// same run as one plain download of the same bytes, and reports how many times as long it
// took. Single is the same life without segments, and prevHash one without an index too; both are shorter.
//
//	go test -run '^$' -bench Fetch -benchtime 3x ./publish
func BenchmarkFetch(b *testing.B) {
	life := testkit.NewAgent("alice").History(*fetchN, 1024)
	agent := agentOf(b, life[0])
	dir := b.TempDir()
	mustPublish(b, dir, life, Options{})
	whole := carOf(life)
	plain := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Write(whole) })
	mux := http.NewServeMux()
	mux.Handle("/life.car", plain)
	mux.Handle("/", serveTree(b, dir))
	url := delayed(b, listen(b, mux), 20*time.Millisecond, 100e6/8)

	short := life[:200]
	shortDir := b.TempDir()
	mustPublish(b, shortDir, short, Options{Blocks: true})
	noSegments := delayed(b, listen(b, faulty(serveTree(b, shortDir), on(".car", status(404)))), 20*time.Millisecond, 100e6/8)
	noIndex := delayed(b, listen(b, faulty(serveTree(b, shortDir), on("/igor/", status(404)))), 20*time.Millisecond, 100e6/8)

	download := func() time.Duration {
		begun := time.Now()
		client := &http.Client{Transport: &http.Transport{}}
		defer client.CloseIdleConnections()
		r, err := client.Get(url + "/life.car")
		if err != nil {
			b.Fatal(err)
		}
		defer r.Body.Close()
		if n, err := io.Copy(io.Discard, r.Body); err != nil || n != int64(len(whole)) {
			b.Fatal(n, err)
		}
		return time.Since(begun)
	}
	fetch := func(a Address, want [][]byte, slow bool) time.Duration {
		begun := time.Now()
		var out bytes.Buffer
		got, err := Fetch(context.Background(), &Request{Address: a}, &out)
		if err != nil || !bytes.Equal(out.Bytes(), carOf(want)) || (got.Slow != "") != slow {
			b.Fatal(got, err)
		}
		return time.Since(begun)
	}
	b.Run("segments", func(b *testing.B) {
		var ours, theirs time.Duration
		for b.Loop() {
			theirs += download()
			ours += fetch(Address{Agent: &agent, From: []string{url}}, life, false)
		}
		b.ReportMetric(float64(ours)/float64(theirs), "x-download")
		b.ReportMetric(theirs.Seconds()/float64(b.N), "s/download")
		b.ReportMetric(0, "ns/op")
	})
	head := cidOf(short[len(short)-1])
	b.Run("single/200", func(b *testing.B) {
		var ours time.Duration
		for b.Loop() {
			ours += fetch(Address{Agent: &agent, From: []string{noSegments}}, short, true)
		}
		b.ReportMetric(ours.Seconds()/float64(b.N)/float64(len(short))*1000, "ms/checkpoint")
		b.ReportMetric(0, "ns/op")
	})
	b.Run("prevHash/200", func(b *testing.B) {
		var ours time.Duration
		for b.Loop() {
			ours += fetch(Address{Checkpoint: &head, From: []string{noIndex}}, short, true)
		}
		b.ReportMetric(ours.Seconds()/float64(b.N)/float64(len(short))*1000, "ms/checkpoint")
		b.ReportMetric(0, "ns/op")
	})
}

// delayed is a proxy on which every byte takes so long each way, and all together so many
// bytes a second come.
func delayed(b testing.TB, url string, each time.Duration, rate float64) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { l.Close() })
	var mu sync.Mutex
	free := time.Now() // when the line is free
	book := func(n int) time.Time {
		mu.Lock()
		defer mu.Unlock()
		if now := time.Now(); free.Before(now) {
			free = now
		}
		free = free.Add(time.Duration(float64(n) / rate * 1e9))
		return free
	}
	pipe := func(to, from net.Conn, limited bool) {
		type piece struct {
			at time.Time
			b  []byte
		}
		pieces := make(chan piece, 4096)
		go func() {
			defer close(pieces)
			for {
				p := make([]byte, 16<<10)
				n, err := from.Read(p)
				if n > 0 {
					at := time.Now()
					if limited {
						at = book(n)
					}
					pieces <- piece{at.Add(each), p[:n]}
				}
				if err != nil {
					return
				}
			}
		}()
		for p := range pieces {
			time.Sleep(time.Until(p.at))
			if _, err := to.Write(p.b); err != nil {
				break
			}
		}
		to.Close()
		from.Close()
		for range pieces {
		}
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				time.Sleep(2 * each) // the handshake
				s, err := net.Dial("tcp", url[len("http://"):])
				if err != nil {
					c.Close()
					return
				}
				go pipe(s, c, false)
				pipe(c, s, true)
			}()
		}
	}()
	return "http://" + l.Addr().String()
}
