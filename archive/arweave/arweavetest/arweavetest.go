// Package arweavetest is a bundler and its gateway, as far as archives need them, in
// memory: upload, status, price, /raw with Range, and queries by tags. It goes wrong on
// purpose.
package arweavetest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"igor.dev/archive/arweave/ans104"
)

// Faults say how often things go wrong, in requests of a hundred.
type Faults struct {
	Busy, Broken int           // 429, 500, and nothing is done
	Unsaid       int           // it is done, and the answer is lost
	Lie          int           // it says that it took what it did not
	Rot          int           // a read gives other bytes
	Lose         int           // of the items that were CONFIRMED, at each question for the status of one
	LoseNext     int           // so many of them are lost for certain
	Slow         time.Duration // at most
	Poor         bool          // 402: nothing is taken
}

// A Server is both.
type Server struct {
	// Final is how often the status of an item is asked before it is FINALIZED.
	Final int
	Free  int64 // bytes
	Price int64 // of a byte, above

	mu     sync.Mutex
	faults Faults
	rng    *rand.Rand
	items  []*held
	ever   map[string]int // items that were ever taken: how often
	lost   int
}

type held struct {
	item  *ans104.Item
	id    string
	asked int
}

// New returns a server with nothing in it.
func New(seed uint64) *Server {
	return &Server{Final: 3, Free: 1 << 20, Price: 2, rng: rand.New(rand.NewPCG(seed, 9)), ever: map[string]int{}}
}

// Set sets what goes wrong from now on.
func (s *Server) Set(f Faults) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = f
}

// Items returns what is there, by the Name tag of each: of how many items, and their data.
func (s *Server) Items() map[string][][]byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := map[string][][]byte{}
	for _, h := range s.items {
		all[tag(h.item, "Name")] = append(all[tag(h.item, "Name")], bytes.Clone(h.item.Data))
	}
	return all
}

// Ever returns the items that were ever taken, and how often each was uploaded, and how
// many were lost.
func (s *Server) Ever() (uploads map[string]int, lost int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := map[string]int{}
	for id, n := range s.ever {
		all[id] = n
	}
	return all, s.lost
}

// Add puts an item there, as anybody could.
func (s *Server) Add(i *ans104.Item) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.items = append(s.items, &held{item: i, id: i.ID()})
}

func tag(i *ans104.Item, name string) string {
	for _, t := range i.Tags {
		if t.Name == name {
			return t.Value
		}
	}
	return ""
}

// ServeHTTP implements [http.Handler]. The bundler's API is below /v1.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<28))
	if err != nil {
		return
	}
	s.mu.Lock()
	f, n := s.faults, s.rng.IntN(100)
	wait := time.Duration(0)
	if f.Slow > 0 {
		wait = time.Duration(s.rng.Int64N(int64(f.Slow)))
	}
	s.mu.Unlock()
	time.Sleep(wait)
	switch {
	case n < f.Busy:
		w.WriteHeader(http.StatusTooManyRequests)
		return
	case n < f.Busy+f.Broken:
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	n -= f.Busy + f.Broken
	s.mu.Lock()
	defer s.mu.Unlock()
	path := r.URL.Path
	switch {
	case path == "/v1/info":
		answer(w, map[string]any{"version": "0.2.0", "gateway": "http://" + r.Host, "freeUploadLimitBytes": s.Free})
	case strings.HasPrefix(path, "/v1/price/bytes/"):
		size, _ := strconv.ParseInt(strings.TrimPrefix(path, "/v1/price/bytes/"), 10, 64)
		answer(w, map[string]any{"winc": strconv.FormatInt(s.cost(size), 10)})
	case path == "/v1/tx" && r.Method == http.MethodPost:
		s.take(w, body, f, n)
	case strings.HasPrefix(path, "/v1/tx/") && strings.HasSuffix(path, "/status"):
		s.status(w, strings.TrimSuffix(strings.TrimPrefix(path, "/v1/tx/"), "/status"), f)
	case strings.HasPrefix(path, "/raw/"):
		h := s.get(strings.TrimPrefix(path, "/raw/"))
		if h == nil {
			http.NotFound(w, r)
			return
		}
		data := bytes.Clone(h.item.Data)
		if n < f.Rot && len(data) > 0 {
			data[s.rng.IntN(len(data))] ^= 1 << s.rng.IntN(8)
		}
		w.Header().Set("Content-Type", "application/octet-stream")
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
	case path == "/graphql":
		s.query(w, body)
	default:
		http.NotFound(w, r)
	}
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(v)
}

func (s *Server) cost(size int64) int64 {
	if size <= s.Free {
		return 0
	}
	return size * s.Price
}

func (s *Server) get(id string) *held {
	for _, h := range s.items {
		if h.id == id {
			return h
		}
	}
	return nil
}

func (s *Server) take(w http.ResponseWriter, body []byte, f Faults, n int) {
	item, err := ans104.Parse(body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if f.Poor {
		http.Error(w, "Insufficient balance", http.StatusPaymentRequired)
		return
	}
	id := item.ID()
	if n >= f.Lie {
		s.ever[id]++
		if s.get(id) == nil {
			item.Data = bytes.Clone(item.Data)
			s.items = append(s.items, &held{item: item, id: id})
		}
	}
	if n >= f.Lie && n < f.Lie+f.Unsaid {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	answer(w, map[string]any{"id": id, "winc": strconv.FormatInt(s.cost(int64(len(body))), 10), "timestamp": 1, "deadlineHeight": 2, "version": "0.2.0"})
}

func (s *Server) status(w http.ResponseWriter, id string, f Faults) {
	h := s.get(id)
	if h == nil {
		http.Error(w, "TX doesn't exist", http.StatusNotFound)
		return
	}
	h.asked++
	if h.asked < s.Final && (s.rng.IntN(100) < f.Lose || s.faults.LoseNext > 0) {
		s.faults.LoseNext--
		s.items = slices.DeleteFunc(s.items, func(o *held) bool { return o == h })
		s.lost++
		answer(w, map[string]any{"status": "FAILED", "info": "failed"})
		return
	}
	if h.asked < s.Final {
		answer(w, map[string]any{"status": "CONFIRMED", "info": "pending"})
		return
	}
	answer(w, map[string]any{"status": "FINALIZED", "info": "permanent", "bundleId": id})
}

// query answers a query by tags, of which it reads the variables alone.
func (s *Server) query(w http.ResponseWriter, body []byte) {
	var q struct {
		Variables struct {
			Tags []struct {
				Name   string
				Values []string
			}
			Owners []string
			After  string
			First  int
		}
	}
	if json.Unmarshal(body, &q) != nil {
		http.Error(w, "not a query", http.StatusBadRequest)
		return
	}
	v := &q.Variables
	type edge map[string]any
	edges, next := []edge{}, false
	skip := v.After != ""
	for _, h := range s.items {
		if skip {
			skip = h.id != v.After
			continue
		}
		ok := len(v.Owners) == 0 || slices.Contains(v.Owners, ans104.Address(h.item.Owner[:]))
		for _, f := range v.Tags {
			ok = ok && slices.Contains(f.Values, tag(h.item, f.Name))
		}
		if !ok {
			continue
		}
		if len(edges) == max(v.First, 10) {
			next = true
			break
		}
		var tags []map[string]string
		for _, t := range h.item.Tags {
			tags = append(tags, map[string]string{"name": t.Name, "value": t.Value})
		}
		edges = append(edges, edge{"cursor": h.id, "node": map[string]any{"id": h.id, "owner": map[string]any{"address": ans104.Address(h.item.Owner[:])},
			"tags": tags, "data": map[string]any{"size": fmt.Sprint(len(h.item.Data))}}})
	}
	answer(w, map[string]any{"data": map[string]any{"transactions": map[string]any{"pageInfo": map[string]any{"hasNextPage": next}, "edges": edges}}})
}
