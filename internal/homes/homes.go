// Package homes finds agents' homes by what their folders and manifests call them:
//
//	/mnt/backup/igor                            a folder (authority/dir)
//	fleet:did:key:z6Mk…@host:port,did:key:…     a fleet's members (authority/fleet)
//	acme.json                                   the same, by the fleet's description
//	s3://bucket/prefix?endpoint=…               a bucket (authority/bucket)
package homes

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"igor.dev/authority"
	"igor.dev/authority/bucket"
	"igor.dev/authority/dir"
	"igor.dev/authority/fleet"
	"igor.dev/authority/https"
	"igor.dev/runtime"
	"igor.dev/verifier"
)

// A Finder finds homes, as a node. It is safe for concurrent use.
type Finder struct {
	// Node returns the node's key; nil, or a nil key = this process has none.
	Node func() (ed25519.PrivateKey, error)

	// Lease is how long an owner may be silent before a fleet's other nodes may take over,
	// and Grace how long before that it stops by itself; 0 = the defaults.
	Lease, Grace time.Duration

	// Transport carries requests to a fleet's members, nil = HTTP.
	Transport func(node ed25519.PrivateKey) fleet.Transport

	// Fleet is the one in which the node takes part, nil = none. Its members are asked as
	// it names them, whatever names agents have for it: some of those are of before.
	Fleet *fleet.Description

	mu     sync.Mutex
	fleets map[string]*fleet.Client
}

// Find returns a home that has to be there.
func (f *Finder) Find(name string) (*runtime.Home, error) { return f.find(name, dir.Find) }

// Open returns a home; a folder is made if it is absent.
func (f *Finder) Open(name string) (*runtime.Home, error) { return f.find(name, dir.Open) }

func (f *Finder) find(name string, folder func(string) (*dir.Store, error)) (*runtime.Home, error) {
	if rest, ok := strings.CutPrefix(name, fleet.Prefix); ok {
		return f.fleet(name, rest)
	}
	if strings.HasPrefix(name, "s3://") {
		ctx, done := context.WithTimeout(context.Background(), probeLimit)
		defer done()
		b, err := bucket.Open(ctx, name)
		if err != nil {
			return nil, err
		}
		return &runtime.Home{Authority: b, Replicas: authority.Replicas{Places: []authority.Replica{b}}, Name: name}, nil
	}
	if info, err := os.Stat(name); err == nil && info.Mode().IsRegular() { // the description of a fleet
		d, err := fleet.ReadDescription(name)
		if err != nil {
			return nil, err
		}
		return f.find(d.Home(), folder)
	}
	s, err := folder(name)
	if err != nil {
		return nil, err
	}
	return &runtime.Home{Authority: s, Replicas: authority.Replicas{Places: []authority.Replica{s}}, Name: s.Dir()}, nil
}

// probeLimit is how long it may take to find out what a bucket can do.
const probeLimit = 30 * time.Second

// errNoNode says that there is no node's key.
var errNoNode = errors.New("a fleet is asked by a node with a key, and there is none: name its file with --node-key")

func (f *Finder) fleet(name, members string) (*runtime.Home, error) {
	all, err := fleet.ParseMembers(members)
	if err != nil {
		return nil, err
	}
	if f.Node == nil {
		return nil, errNoNode
	}
	node, err := f.Node()
	if err != nil {
		return nil, err
	}
	if node == nil {
		return nil, errNoNode
	}
	known := name
	if f.Fleet != nil && f.Fleet.Same(all) {
		all, known = f.Fleet.Members(), f.Fleet.Home()
	}
	c, err := f.client(known, all, node)
	if err != nil {
		return nil, err
	}
	return &runtime.Home{Authority: c, Replicas: Replicas(c), Name: name, Node: verifier.PublicKey(node.Public().(ed25519.PublicKey))}, nil
}

// maxFleets is how many fleets' members a process asks: a node is told by others what their
// agents' homes are called, and keeps a lease at each.
const maxFleets = 64

// client returns the one client that this process has of a fleet: what it lives there, it
// lives with one lease.
func (f *Finder) client(name string, members []fleet.Member, node ed25519.PrivateKey) (*fleet.Client, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if c, ok := f.fleets[name]; ok {
		return c, nil
	}
	if len(f.fleets) >= maxFleets {
		return nil, fmt.Errorf("this process asks the members of %d fleets already, and at most so many", maxFleets)
	}
	var via fleet.Transport = https.NewTransport(node)
	if f.Transport != nil {
		via = f.Transport(node)
	}
	c, err := fleet.New(fleet.Config{Members: members, Via: via, Lease: f.Lease, Grace: f.Grace})
	if err != nil {
		return nil, err
	}
	if f.fleets == nil {
		f.fleets = map[string]*fleet.Client{}
	}
	f.fleets[name] = c
	c.KeepLease()
	return c, nil
}

// Replicas are a fleet's members, of which a majority keeps what is appended.
func Replicas(c *fleet.Client) authority.Replicas {
	places := c.Places()
	return authority.Replicas{Places: places, Need: len(places)/2 + 1}
}

// Close gives leases back: the agents that this process lived may be lived by others at
// once.
func (f *Finder) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	var errs []error
	for _, c := range f.fleets {
		errs = append(errs, c.Close())
	}
	f.fleets = nil
	return errors.Join(errs...)
}
