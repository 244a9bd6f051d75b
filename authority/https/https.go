// Package https carries /igor/authority/1 over HTTP: POST to a member's /igor/authority/1,
// the request's bytes in, the answer's out.
//
// Both sides show a certificate that they made and signed themselves with the node's key.
// Nobody else's word counts: what TLS 1.3 proves is that the other side has the key in it,
// and the key is the node. So there is no authority for certificates, no clock that has to
// be right, and no request that could be sent a second time by somebody who saw it.
package https

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"time"

	"igor.dev/authority/fleet"
	"igor.dev/authority/protocol"
	"igor.dev/verifier"
)

// Certificate makes a certificate of a node's key. It says nothing but the key.
func Certificate(node ed25519.PrivateKey) (tls.Certificate, error) {
	template := x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "igor node"},
		NotBefore:    time.Unix(0, 0),
		NotAfter:     time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, node.Public(), node)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: node}, err
}

// KeyOf returns the key of the node at the other end of a connection.
func KeyOf(s *tls.ConnectionState) (key verifier.PublicKey, err error) {
	if len(s.PeerCertificates) != 1 {
		return key, errors.New("a node shows one certificate")
	}
	k, ok := s.PeerCertificates[0].PublicKey.(ed25519.PublicKey)
	if !ok || copy(key[:], k) != len(key) {
		return key, errors.New("a node's certificate has an Ed25519 key")
	}
	return key, nil
}

// config is what both sides have in common. accept looks at the other side's key.
func config(node ed25519.PrivateKey, accept func(verifier.PublicKey) error) (*tls.Config, error) {
	own, err := Certificate(node)
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion:         tls.VersionTLS13,
		Certificates:       []tls.Certificate{own},
		ClientAuth:         tls.RequireAnyClientCert,
		InsecureSkipVerify: true, // by a name or an authority; VerifyConnection looks at the key
		VerifyConnection: func(s tls.ConnectionState) error {
			key, err := KeyOf(&s)
			if err != nil {
				return err
			}
			return accept(key)
		},
	}, nil
}

// A Handler answers requests, such as a [igor.dev/authority/member.Member].
type Handler interface {
	Serve(ctx context.Context, caller verifier.PublicKey, request []byte) []byte
}

// Limits of a server.
const (
	headerLimit = 5 * time.Second
	bodyLimit   = time.Minute // for the largest blob: 1.7 MB/s
	idleLimit   = 2 * time.Minute
	maxOpen     = 4096    // connections
	maxLarge    = 4       // bodies over 1 MiB that are read at once
	large       = 1 << 20 // bytes
)

// A Server serves a member.
type Server struct {
	http     http.Server
	listener net.Listener
	done     chan error
}

// Serve serves a member at a listener, until the server is closed.
func Serve(l net.Listener, node ed25519.PrivateKey, h Handler, log *slog.Logger) (*Server, error) {
	c, err := config(node, func(verifier.PublicKey) error { return nil }) // whom it serves the member says
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("POST "+protocol.ID, &endpoint{h: h, large: make(chan struct{}, maxLarge)})
	s := &Server{listener: l, done: make(chan error, 1), http: http.Server{
		Handler:           mux,
		TLSConfig:         c,
		ReadHeaderTimeout: headerLimit,
		ReadTimeout:       bodyLimit,
		WriteTimeout:      bodyLimit,
		IdleTimeout:       idleLimit,
		MaxHeaderBytes:    8 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}}
	go func() { s.done <- s.http.ServeTLS(limited(l), "", "") }()
	return s, nil
}

// Addr is where it listens.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// Close ends all connections.
func (s *Server) Close() error {
	err := s.http.Close()
	if e := <-s.done; !errors.Is(e, http.ErrServerClosed) {
		err = errors.Join(err, e)
	}
	return err
}

type endpoint struct {
	h     Handler
	large chan struct{}
}

func (e *endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	caller, err := KeyOf(r.TLS)
	if err != nil {
		http.Error(w, err.Error(), http.StatusForbidden)
		return
	}
	body, status := e.read(r)
	if status != 0 {
		http.Error(w, http.StatusText(status), status)
		return
	}
	answer := e.h.Serve(r.Context(), caller, body)
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Write(answer)
}

// read reads a request, of which the beginning says how long it may be. Only a few large
// ones are read at once.
func (e *endpoint) read(r *http.Request) (body []byte, status int) {
	first := make([]byte, protocol.PrefixSize)
	if _, err := io.ReadFull(r.Body, first); err != nil {
		return nil, http.StatusBadRequest
	}
	most := protocol.MaxRequest(first)
	if most == 0 {
		return nil, http.StatusBadRequest
	}
	if most > large && (r.ContentLength < 0 || r.ContentLength > large) {
		select {
		case e.large <- struct{}{}:
			defer func() { <-e.large }()
		case <-r.Context().Done():
			return nil, http.StatusServiceUnavailable
		}
	}
	var b bytes.Buffer
	b.Write(first)
	n, err := io.Copy(&b, io.LimitReader(r.Body, int64(most-len(first)+1)))
	switch {
	case err != nil:
		return nil, http.StatusBadRequest
	case n > int64(most-len(first)):
		return nil, http.StatusRequestEntityTooLarge
	}
	return b.Bytes(), 0
}

// limited is a listener with a bound on connections.
func limited(l net.Listener) net.Listener {
	return &limitedListener{l, make(chan struct{}, maxOpen)}
}

type limitedListener struct {
	net.Listener
	open chan struct{}
}

func (l *limitedListener) Accept() (net.Conn, error) {
	l.open <- struct{}{}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.open
		return nil, err
	}
	return &limitedConn{Conn: c, free: func() { <-l.open }}, nil
}

type limitedConn struct {
	net.Conn
	free func()
}

func (c *limitedConn) Close() error {
	err := c.Conn.Close()
	if !errors.Is(err, net.ErrClosed) {
		c.free()
	}
	return err
}

// A Transport asks members by HTTP, as a node. It is safe for concurrent use.
type Transport struct {
	// Dial connects to a member, as of [net/http.Transport]; nil = as usual. It is set
	// before the first request.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	node    ed25519.PrivateKey
	clients clients
}

// NewTransport returns a transport of a node.
func NewTransport(node ed25519.PrivateKey) *Transport { return &Transport{node: node} }

// Do implements [fleet.Transport].
func (t *Transport) Do(ctx context.Context, m fleet.Member, request []byte) ([]byte, error) {
	if fleet.IsMultiaddr(m.Address) {
		return nil, fmt.Errorf("%s is reached by libp2p, which igor-node alone speaks", m.Address)
	}
	c, err := t.clients.of(m, t.node, t.Dial)
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+m.Address+protocol.ID, bytes.NewReader(request))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/octet-stream")
	response, err := c.Do(r)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	most := protocol.MaxAnswer(protocol.Kind(request[protocol.PrefixSize-1]))
	b, err := io.ReadAll(io.LimitReader(response.Body, int64(most)+1))
	switch {
	case err != nil:
		return nil, err
	case response.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("it answers with HTTP status %d", response.StatusCode)
	case len(b) > most:
		return nil, errors.New("its answer is too long")
	}
	return b, nil
}

// Close ends connections that wait.
func (t *Transport) Close() { t.clients.close() }
