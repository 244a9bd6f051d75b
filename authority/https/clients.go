package https

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"igor.dev/authority/fleet"
	"igor.dev/verifier"
)

// connections is how many a client has to one member at most.
const connections = 64

// clients are an HTTP client for each member: a connection belongs to the key that it was
// made for.
type clients struct {
	mu  sync.Mutex
	all map[fleet.Member]*http.Client
}

func (c *clients) of(m fleet.Member, node ed25519.PrivateKey, dial func(context.Context, string, string) (net.Conn, error)) (*http.Client, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if client, ok := c.all[m]; ok {
		return client, nil
	}
	tls, err := config(node, func(key verifier.PublicKey) error {
		if key != m.Key {
			return fmt.Errorf("at %s there is the node %s, and not %s", m.Address, key.DID(), m.Key.DID())
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if dial == nil {
		dial = (&net.Dialer{Timeout: 3 * time.Second}).DialContext
	}
	client := &http.Client{
		Transport: &http.Transport{
			TLSClientConfig:     tls,
			TLSHandshakeTimeout: 5 * time.Second,
			DialContext:         dial,
			MaxConnsPerHost:     connections, // what waits for one costs no handshake
			MaxIdleConnsPerHost: connections,
			IdleConnTimeout:     time.Minute,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	if c.all == nil {
		c.all = map[fleet.Member]*http.Client{}
	}
	c.all[m] = client
	return client, nil
}

func (c *clients) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, client := range c.all {
		client.CloseIdleConnections()
	}
}
