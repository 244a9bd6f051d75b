package bucket_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"

	"igor.dev/authority"
	"igor.dev/authority/bucket"
	"igor.dev/authority/dir"
	"igor.dev/verifier"
)

var agent = verifier.PublicKey{1}

func hash(s string) verifier.Hash { return sha256.Sum256([]byte(s)) }

// serve serves a bucket, through a handler that may spoil it, and returns its name.
func serve(t *testing.T, spoil func(http.Handler) http.Handler) string {
	t.Setenv("AWS_ACCESS_KEY_ID", "key")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	backend := s3mem.New()
	if err := backend.CreateBucket("homes"); err != nil {
		t.Fatal(err)
	}
	handler := http.Handler(gofakes3.New(backend).Server())
	if spoil != nil {
		handler = spoil(handler)
	}
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return "s3://homes/some/prefix?endpoint=" + server.URL
}

func begin() authority.Position {
	return authority.Position{Sequence: 1, State: authority.Active, Owner: verifier.PublicKey{9}, Writer: authority.WriterID{1},
		Head: hash("head"), Journal: hash("journal"), Log: hash("log")}
}

func chunk(kind authority.Kind, name, before string) authority.Blob {
	b := authority.Blob{Name: authority.Name{Kind: kind, Hash: hash(name)}, Data: []byte(name)}
	if before != "" {
		b.Before = hash(before)
	}
	return b
}

func TestStore(t *testing.T) {
	s, err := bucket.Open(t.Context(), serve(t, nil))
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	if _, err := s.Read(ctx, agent); !errors.Is(err, authority.ErrNone) {
		t.Fatalf("an empty one has %v", err)
	}
	first := begin()
	second := first
	second.Sequence, second.Log = 2, hash("log 2")
	if c, is := errors.AsType[*authority.Conflict](s.Append(ctx, agent, first, second)); !is || !c.Have.IsZero() {
		t.Error("it goes on from nothing")
	}
	if err := s.Put(ctx, agent, 1, chunk(authority.Checkpoint, "head", ""), chunk(authority.Log, "log", ""), chunk(authority.Journal, "journal", "")); err != nil {
		t.Fatal(err)
	}
	if err := s.Append(ctx, agent, authority.Position{}, first); err != nil {
		t.Fatal(err)
	}
	if c, is := errors.AsType[*authority.Conflict](s.Append(ctx, agent, authority.Position{}, first)); !is || c.Have != first {
		t.Error("it begins twice")
	}
	if _, is := errors.AsType[*authority.RuleError](s.Append(ctx, agent, first, first)); !is {
		t.Error("what may not follow does")
	}
	if err := s.Put(ctx, agent, 2, chunk(authority.Log, "log 2", "log"), chunk(authority.Log, "log 2 that lost", "log")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Get(ctx, agent, second, chunk(authority.Log, "log 2", "").Name); !errors.Is(err, authority.ErrNotNamed) {
		t.Errorf("it serves what was not accepted: %v", err)
	}
	if err := s.Append(ctx, agent, first, second); err != nil {
		t.Fatal(err)
	}
	if err := s.Accept(ctx, agent, second); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]error{"log": nil, "log 2": nil, "log 2 that lost": authority.ErrNotNamed} {
		if _, err := s.Get(ctx, agent, second, chunk(authority.Log, name, "").Name); !errors.Is(err, want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestCareless: a store that drops conditions in silence is no home.
func TestCareless(t *testing.T) {
	for _, header := range []string{"If-None-Match", "If-Match"} {
		name := serve(t, func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				r.Header.Del(header)
				next.ServeHTTP(w, r)
			})
		})
		if _, err := bucket.Open(t.Context(), name); err == nil || !strings.Contains(err.Error(), "replaces objects") {
			t.Errorf("a store without %s: %v", header, err)
		}
	}
}

// TestTwoProcesses has processes fight for an agent while answers are lost: of one position
// on, only one goes.
func TestTwoProcesses(t *testing.T) {
	var mu sync.Mutex
	rng := rand.New(rand.NewPCG(1, 2))
	name := serve(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			n := rng.IntN(10)
			mu.Unlock()
			switch {
			case n == 0 && strings.HasSuffix(r.URL.Path, "position"): // done, and not answered
				next.ServeHTTP(httptest.NewRecorder(), r)
				w.WriteHeader(http.StatusBadGateway)
			case n == 1 && strings.HasSuffix(r.URL.Path, "position"):
				w.WriteHeader(http.StatusBadGateway)
			default:
				next.ServeHTTP(w, r)
			}
		})
	})
	var all sync.WaitGroup
	after, appends := map[authority.Position]int{}, 0
	for p := range 3 {
		s, err := bucket.Open(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		all.Go(func() {
			for n := range 15 {
				ctx, done := context.WithTimeout(t.Context(), 10*time.Second)
				at, err := s.Read(ctx, agent)
				next := at
				if next.Sequence++; errors.Is(err, authority.ErrNone) {
					next, err = begin(), nil
				}
				next.Writer = authority.WriterID{byte(p), byte(n), 1}
				if err == nil && authority.Settle(ctx, s, agent, at, next) == nil {
					mu.Lock()
					after[at]++
					appends++
					mu.Unlock()
				}
				done()
			}
		})
	}
	all.Wait()
	for p, n := range after {
		if n > 1 {
			t.Error(fmt.Sprint(n, " go on from append ", p.Sequence))
		}
	}
	if appends < 10 {
		t.Errorf("%d appends", appends)
	}
}

// TestRecord keeps what goes with an append in the object that the append replaces: nobody
// sees it before.
func TestRecord(t *testing.T) {
	b, err := bucket.Open(t.Context(), serve(t, nil))
	if err != nil {
		t.Fatal(err)
	}
	folder, err := dir.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for name, s := range map[string]authority.Recording{"bucket": b, "folder": folder} {
		ctx, first, record := t.Context(), begin(), []byte("a hand-over")
		if err := s.Append(ctx, agent, authority.Position{}, first); err != nil {
			t.Fatal(err)
		}
		offer := first
		offer.Sequence, offer.State, offer.Record = 2, authority.HandingOver, hash("a hand-over")
		if err := s.Append(ctx, agent, first, offer); err != nil {
			t.Fatal(err)
		}
		if p, with, err := s.Record(ctx, agent); err != nil || p != offer || with != nil {
			t.Errorf("%s: after the offer: %+v, %q, %v", name, p, with, err)
		}
		next := offer
		next.Sequence, next.State, next.Owner, next.Major, next.Writer = 3, authority.Active, verifier.PublicKey{8}, 1, authority.WriterID{2}
		if _, is := errors.AsType[*authority.RuleError](s.AppendRecord(ctx, agent, offer, next, []byte("another one"))); !is {
			t.Errorf("%s: it takes a record that the position does not name", name)
		}
		if err := s.AppendRecord(ctx, agent, offer, next, record); err != nil {
			t.Fatal(err)
		}
		if p, with, err := s.Record(ctx, agent); err != nil || p != next || string(with) != string(record) {
			t.Errorf("%s: %+v, %q, %v", name, p, with, err)
		}
		if p, err := s.Read(ctx, agent); err != nil || p != next {
			t.Errorf("%s: %+v, %v", name, p, err)
		}
		if c, is := errors.AsType[*authority.Conflict](s.AppendRecord(ctx, agent, offer, next, record)); !is || c.Have != next {
			t.Errorf("%s: again: %v", name, c)
		}
		claim := next
		claim.Sequence, claim.Writer, claim.Record = 4, authority.WriterID{3}, verifier.Hash{}
		if err := s.Append(ctx, agent, next, claim); err != nil {
			t.Fatal(err)
		}
		if p, with, err := s.Record(ctx, agent); err != nil || p != claim || with != nil {
			t.Errorf("%s: after the claim: %+v, %q, %v", name, p, with, err)
		}
	}
}
