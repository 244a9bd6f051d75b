package node

import (
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	p2p "github.com/libp2p/go-libp2p/core/protocol"
	ma "github.com/multiformats/go-multiaddr"

	"igor.dev/authority/fleet"
	"igor.dev/authority/https"
	"igor.dev/authority/protocol"
	"igor.dev/verifier"
)

// ProtocolAuthority is docs/spec/authority.md over libp2p.
const ProtocolAuthority p2p.ID = protocol.ID

// Limits of what a member does for others over libp2p, beside its own.
const (
	authorityStreams = 512 // by all nodes
	authorityOfOne   = 32  // by one node
	authorityAtOnce  = 24  // what a node asks one member
	authorityLarge   = 4   // requests over 1 MiB that are read at once
	authorityLimit   = time.Minute
	largeRequest     = 1 << 20
)

// A Carrier carries requests to the members of fleets: by HTTP, or by libp2p where the
// member's address is one of that. It is a [fleet.Transport].
type Carrier struct {
	http *https.Transport

	mu    sync.Mutex
	node  *Node
	there chan struct{} // closed when there is a node
	busy  map[verifier.PublicKey]chan struct{}
}

// NewCarrier returns a carrier of a node that need not run yet ([Config.Carrier]).
func NewCarrier(key ed25519.PrivateKey) *Carrier {
	return &Carrier{http: https.NewTransport(key), there: make(chan struct{}), busy: map[verifier.PublicKey]chan struct{}{}}
}

// attach has a carrier go by a node's host.
func (c *Carrier) attach(n *Node) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.node == nil {
		c.node = n
		close(c.there)
	}
}

// Do implements [fleet.Transport].
func (c *Carrier) Do(ctx context.Context, m fleet.Member, request []byte) ([]byte, error) {
	if !fleet.IsMultiaddr(m.Address) {
		return c.http.Do(ctx, m, request)
	}
	select {
	case <-c.there:
	case <-ctx.Done():
		return nil, errors.New("the node does not run yet")
	}
	c.mu.Lock()
	n, busy := c.node, c.busy[m.Key]
	if busy == nil {
		busy = make(chan struct{}, authorityAtOnce)
		c.busy[m.Key] = busy
	}
	c.mu.Unlock()
	select {
	case busy <- struct{}{}:
		defer func() { <-busy }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return n.askMember(ctx, m, request)
}

// askMember asks a member on a stream of its own.
func (n *Node) askMember(ctx context.Context, m fleet.Member, request []byte) ([]byte, error) {
	if m.Key == n.public {
		if n.config.Member == nil {
			return nil, errors.New("this node is no member")
		}
		return n.config.Member.Serve(ctx, n.public, request), nil
	}
	id, err := idOf(m.Key)
	if err != nil {
		return nil, err
	}
	at, err := ma.NewMultiaddr(m.Address)
	if err != nil {
		return nil, err
	}
	if err := n.connect(ctx, id, []ma.Multiaddr{at}); err != nil {
		return nil, err
	}
	s, err := n.host.NewStream(ctx, id, ProtocolAuthority)
	if r := n.otherVersion(m.Key, id, ProtocolAuthority); err != nil && r != nil {
		return nil, r
	}
	if err != nil {
		return nil, err
	}
	until, ok := ctx.Deadline()
	if !ok {
		until = time.Now().Add(authorityLimit)
	}
	c := &conn{Stream: s, until: until, silence: n.config.Silence}
	stop := context.AfterFunc(ctx, func() { s.Reset() })
	defer stop()
	answer, err := ask(c, request)
	if err != nil {
		s.Reset()
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, err
	}
	s.Close()
	return answer, nil
}

// ask writes a request, and reads the answer.
func ask(c io.ReadWriter, request []byte) ([]byte, error) {
	if err := writeFrame(c, request); err != nil {
		return nil, err
	}
	if w, ok := c.(interface{ CloseWrite() error }); ok {
		if err := w.CloseWrite(); err != nil {
			return nil, err
		}
	}
	var size [4]byte
	if _, err := io.ReadFull(c, size[:]); err != nil {
		return nil, err
	}
	n, most := binary.LittleEndian.Uint32(size[:]), protocol.MaxAnswer(protocol.Kind(request[protocol.PrefixSize-1]))
	if uint64(n) > uint64(most) {
		return nil, fmt.Errorf("its answer has %d bytes, and at most %d are read", n, most)
	}
	return readAll(c, nil, int(n))
}

// writeFrame writes bytes after their length.
func writeFrame(w io.Writer, b []byte) error {
	if len(b) <= largeRequest {
		_, err := w.Write(append(binary.LittleEndian.AppendUint32(make([]byte, 0, 4+len(b)), uint32(len(b))), b...))
		return err
	}
	_, err := w.Write(binary.LittleEndian.AppendUint32(nil, uint32(len(b))))
	if err == nil {
		_, err = w.Write(b)
	}
	return err
}

// readAll reads n more bytes behind b. It takes no more memory than twice what came.
func readAll(r io.Reader, b []byte, n int) ([]byte, error) {
	for n > 0 {
		at := len(b)
		more := min(n, max(4096, len(b)))
		b = append(b, make([]byte, more)...)
		if _, err := io.ReadFull(r, b[at:]); err != nil {
			return nil, err
		}
		n -= more
	}
	return b, nil
}

// answerAuthority has the member that is in this process answer.
func (n *Node) answerAuthority(large chan struct{}) func(context.Context, verifier.PublicKey, *conn) error {
	return func(ctx context.Context, from verifier.PublicKey, c *conn) error {
		request, done, err := readRequest(ctx, c, large)
		if err != nil {
			return err
		}
		answer := n.config.Member.Serve(ctx, from, request)
		done()
		return writeFrame(c, answer)
	}
}

// readRequest reads a request, whose beginning says how long it may be. Of large ones a few
// are read at once; done is to be called when the request is not used any more.
func readRequest(ctx context.Context, r io.Reader, large chan struct{}) (request []byte, done func(), err error) {
	var head [4 + protocol.PrefixSize]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, nil, err
	}
	n, first := binary.LittleEndian.Uint32(head[:4]), head[4:]
	if most := protocol.MaxRequest(first); int64(n) < int64(protocol.PrefixSize) || uint64(n) > uint64(most) {
		return nil, nil, fmt.Errorf("a request of %d bytes, and at most %d are read", n, most)
	}
	done = func() {}
	if n > largeRequest {
		select {
		case large <- struct{}{}:
			done = func() { <-large }
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		}
	}
	request, err = readAll(r, append([]byte(nil), first...), int(n)-len(first))
	if err != nil {
		done()
		return nil, nil, err
	}
	return request, done, nil
}
