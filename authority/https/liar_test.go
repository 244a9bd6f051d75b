package https_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"igor.dev/authority"
	"igor.dev/authority/fleet"
	"igor.dev/authority/https"
	"igor.dev/authority/member"
	"igor.dev/authority/protocol"
)

// says serves what a member with a key says, whatever that is.
func says(t *testing.T, node ed25519.PrivateKey, what http.HandlerFunc) fleet.Member {
	t.Helper()
	cert, err := https.Certificate(node)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body) // only then is it told that the other side is gone
		what(w, r)
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{cert}, ClientAuth: tls.RequireAnyClientCert, MinVersion: tls.VersionTLS13}
	s.StartTLS()
	t.Cleanup(func() { s.CloseClientConnections(); s.Close() })
	return fleet.Member{Key: public(node), Address: strings.TrimPrefix(s.URL, "https://")}
}

// TestMemberThatSays has a member, which has its key, answer with anything: for ever, slowly,
// compressed, from elsewhere, or nothing. The next member is asked, and nobody else is.
func TestMemberThatSays(t *testing.T) {
	agent, owner := key(1), key(3)
	honest := serve(t, key(2), member.Config{Engine: member.NewMemory()})
	of := public(agent)
	if err := signed(t, client(t, owner, honest), agent).Append(t.Context(), of, authority.Position{}, begin(owner, 1)); err != nil {
		t.Fatal(err)
	}
	var elsewhere atomic.Int32
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) }))
	defer other.Close()
	good := (&protocol.Answer{Status: protocol.None}).Append(nil, protocol.Read)
	endless := func(w http.ResponseWriter) {
		for {
			if _, err := w.Write(make([]byte, 1<<16)); err != nil {
				return
			}
		}
	}
	for what, say := range map[string]http.HandlerFunc{
		"for ever": func(w http.ResponseWriter, _ *http.Request) { w.Write(good[:10]); endless(w) },
		"a length that never comes": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "1000000000000")
			w.Write(good)
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		},
		"a byte now and then": func(w http.ResponseWriter, r *http.Request) {
			for i := 0; r.Context().Err() == nil; i++ {
				w.Write(good[i%len(good) : i%len(good)+1])
				w.(http.Flusher).Flush()
				time.Sleep(5 * time.Millisecond)
			}
		},
		"nothing at all": func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"headers for ever": func(w http.ResponseWriter, _ *http.Request) {
			c, _, err := w.(http.Hijacker).Hijack()
			if err != nil {
				return
			}
			defer c.Close()
			c.Write([]byte("HTTP/1.1 200 OK\r\n"))
			for {
				if _, err := c.Write([]byte("X: " + strings.Repeat("x", 1<<16) + "\r\n")); err != nil {
					return
				}
			}
		},
		"go elsewhere": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, other.URL+"/latest/meta-data", http.StatusTemporaryRedirect)
		},
		"an error of its own": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot); w.Write(good) },
		"compressed": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			w.Write(good)
		},
		"garbage": func(w http.ResponseWriter, _ *http.Request) { w.Write(bytes.Repeat([]byte{0xff}, 1000)) },
	} {
		via := https.NewTransport(owner)
		c, err := fleet.New(fleet.Config{Members: []fleet.Member{says(t, key(7), say), honest}, Via: via, Attempt: 300 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		ctx, done := context.WithTimeout(t.Context(), 20*time.Second)
		p, err := c.Read(ctx, of)
		if err != nil || p != begin(owner, 1) {
			t.Errorf("%s: it reads %+v, %v", what, p, err)
		}
		done()
		c.Close()
		via.Close()
	}
	if n := elsewhere.Load(); n > 0 {
		t.Errorf("%d requests went elsewhere", n)
	}
}

// TestEndlessList has a member tell an operator of more and more agents, or of the same ones
// again and again: there is an end to it.
func TestEndlessList(t *testing.T) {
	operator, node := key(6), key(7)
	var asked uint64
	for what, number := range map[string]func() uint64{"the same": func() uint64 { return 1 }, "the first again": func() uint64 { return asked % 5 }} {
		asked = 0
		m := says(t, node, func(w http.ResponseWriter, _ *http.Request) {
			asked++
			seed := sha256.Sum256(binary.LittleEndian.AppendUint64(nil, number()))
			made := ed25519.NewKeyFromSeed(seed[:])
			e := authority.Entry{Agent: public(made), Position: begin(node, 1)}
			e.Sign(made)
			w.Write((&protocol.Answer{Status: protocol.Done, More: true, Entries: []authority.Entry{e}}).Append(nil, protocol.List))
		})
		ctx, done := context.WithTimeout(t.Context(), 20*time.Second)
		all, err := client(t, operator, m).List(ctx)
		if err == nil || errors.Is(err, context.DeadlineExceeded) || len(all) > 100 {
			t.Errorf("%s: %d are taken, %v", what, len(all), err)
		}
		if _, err := client(t, operator, m).Seen(ctx, m); err == nil || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: what a node remembers: %v", what, err)
		}
		done()
	}
}
