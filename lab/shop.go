package lab

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
)

// A shop is a server that all nodes reach, one for each agent. It counts what it is sent.
type shop struct {
	server http.Server
	mu     sync.Mutex
	posts  map[string]int // by what was sent
}

// Where the shop of the first agent listens; the next one has the next port. placeholder is
// what stands for its address in a program, which has as many bytes.
const (
	shopPort    = 17447
	placeholder = "127.0.0.1:00000"
)

func openShop(l net.Listener) *shop {
	s := &shop{posts: map[string]int{}}
	s.server.Handler = s
	go s.server.Serve(l)
	return s
}

func (s *shop) close() { s.server.Close() }

// ServeHTTP implements [http.Handler].
func (s *shop) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil || r.Method != http.MethodPost {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.posts[fmt.Sprintf("%s %x", r.URL.Path, b)]++
}

// sent returns how many requests came, and which of them more than once.
func (s *shop) sent() (n int, twice []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for what, times := range s.posts {
		n += times
		if times > 1 {
			twice = append(twice, what)
		}
	}
	return n, twice
}
