package node

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	ma "github.com/multiformats/go-multiaddr"

	"igor.dev/node/price"
	"igor.dev/verifier"
)

// A Peer is a node that this one knows.
type Peer struct {
	Node      verifier.PublicKey
	Addresses []string // multiaddresses, such as /ip4/192.0.2.7/tcp/7447

	Offer     *price.Offer // the newest, nil = none
	Successes int
	Failures  int
	Latency   time.Duration // from when it was asked for its offer, the last time, until it was there
	Seen      time.Time
	Failure   string // the newest, "" = the newest contact was good
}

// ParsePeer reads a peer as configurations have it: a DID, and addresses after it.
func ParsePeer(s string) (p Peer, err error) {
	fields := strings.Fields(s)
	if len(fields) == 0 {
		return p, errors.New("a peer is named by its DID")
	}
	if p.Node, err = verifier.ParseDID(fields[0]); err != nil {
		return p, fmt.Errorf("%q is no node's DID: want did:key:z6Mk… with 56 characters in all", fields[0])
	}
	for _, a := range fields[1:] {
		if _, err := ma.NewMultiaddr(a); err != nil {
			return p, fmt.Errorf("peer %s: %q is no address such as /ip4/192.0.2.7/tcp/7447 or /dns4/node.example/tcp/7447", fields[0], a)
		}
	}
	p.Addresses = fields[1:]
	return p, nil
}

// MaxPeers is how many peers a node knows.
const MaxPeers = 4096

// peers is who is known. There is no name without a key.
type peers struct {
	mu   sync.Mutex
	file string
	all  map[verifier.PublicKey]*Peer
}

type peerFile struct {
	Peers []peerEntry `json:"peers"`
}

type peerEntry struct {
	DID       string   `json:"did"`
	Addresses []string `json:"addresses"`
	Offer     []byte   `json:"offer,omitempty"`
}

const maxPeerFile = 64 << 20

func openPeers(dir string, given []Peer) (*peers, error) {
	p := &peers{file: filepath.Join(dir, "peers.json"), all: map[verifier.PublicKey]*Peer{}}
	b, err := os.ReadFile(p.file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err == nil {
		var f peerFile
		if len(b) > maxPeerFile {
			return nil, fmt.Errorf("%s is larger than %d bytes", p.file, maxPeerFile)
		}
		if err := json.Unmarshal(b, &f); err != nil {
			return nil, fmt.Errorf("%s: %w", p.file, err)
		}
		for _, e := range f.Peers {
			known, err := ParsePeer(strings.Join(append([]string{e.DID}, e.Addresses...), " "))
			if err != nil {
				return nil, fmt.Errorf("%s: %w", p.file, err)
			}
			known.Offer, _ = price.Parse(e.Offer) // one that cannot be read is fetched again
			p.all[known.Node] = &known
		}
	}
	for _, g := range given {
		if err := p.add(g); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// add makes a peer known, or adds addresses.
func (p *peers) add(given Peer) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	known := p.all[given.Node]
	if known == nil {
		if len(p.all) >= MaxPeers {
			return fmt.Errorf("more than %d peers", MaxPeers)
		}
		known = &Peer{Node: given.Node}
		p.all[given.Node] = known
	}
	for _, a := range given.Addresses {
		if !slices.Contains(known.Addresses, a) {
			known.Addresses = append(known.Addresses, a)
		}
	}
	return p.save()
}

func (p *peers) remove(k verifier.PublicKey) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.all[k] == nil {
		return &missing{fmt.Sprintf("%s is no peer of this node", k.DID()), "igor-node peers lists them"}
	}
	delete(p.all, k)
	return p.save()
}

func (p *peers) save() error {
	var f peerFile
	for _, known := range p.all {
		e := peerEntry{DID: known.Node.DID(), Addresses: known.Addresses}
		if known.Offer != nil {
			e.Offer = known.Offer.Append(nil)
		}
		f.Peers = append(f.Peers, e)
	}
	slices.SortFunc(f.Peers, func(a, b peerEntry) int { return cmp.Compare(a.DID, b.DID) })
	b, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return err
	}
	return writeFile(p.file, append(b, '\n'))
}

func (p *peers) knows(k verifier.PublicKey) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.all[k] != nil
}

func (p *peers) addresses(k verifier.PublicKey) (all []ma.Multiaddr) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if known := p.all[k]; known != nil {
		for _, s := range known.Addresses {
			if a, err := ma.NewMultiaddr(s); err == nil {
				all = append(all, a)
			}
		}
	}
	return all
}

// met notes how it went to reach a peer.
func (p *peers) met(k verifier.PublicKey, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	known := p.all[k]
	switch {
	case known == nil:
	case err != nil:
		known.Failures++
		known.Failure = err.Error()
	default:
		known.Successes++
		known.Seen, known.Failure = time.Now(), ""
	}
}

// answered notes how long a peer took to answer.
func (p *peers) answered(k verifier.PublicKey, took time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if known := p.all[k]; known != nil {
		known.Latency = took
	}
}

// offered takes notice of an offer. An older one than the one that is known is not taken:
// it was replayed.
func (p *peers) offered(o *price.Offer) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	known := p.all[o.Node]
	if known == nil {
		return errors.New("an offer by a node that is not known")
	}
	if known.Offer != nil && o.Issued < known.Offer.Issued {
		return fmt.Errorf("the offer of %s is older than one that it made before", o.Node.DID())
	}
	if known.Offer == nil || o.Issued > known.Offer.Issued {
		known.Offer = o
		return p.save()
	}
	return nil
}

// list returns all peers.
func (p *peers) list() (all []Peer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, known := range p.all {
		c := *known
		c.Addresses = slices.Clone(known.Addresses)
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b Peer) int { return slices.Compare(a.Node[:], b.Node[:]) })
	return all
}
