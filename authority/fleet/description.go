package fleet

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"igor.dev/verifier"
)

// A Description says who is in a fleet. It is a file that operators copy to each node, and
// has nothing secret. See docs/spec/authority.md.
type Description struct {
	Name      string
	Version   uint64 // 1 = how it began; each change of the nodes counts up
	Store     uint64 // the version with which the members' store began, such as after they lost it; 0 = 1
	Nodes     []Node
	Operators []verifier.PublicKey // beside the members
}

// A Node is one that takes part in a fleet.
type Node struct {
	Key       verifier.PublicKey
	Addresses []string // of libp2p
	Member    string   // where it is reached as a member ([Member.Address]); "" = it is none
	Domain    string   // what fails together has the same name; "" = it fails alone
}

// FileDescription is a description's name in a node's folder.
const FileDescription = "fleet.json"

// Limits of a description.
const (
	MaxDescription = 256 << 10 // bytes
	MaxNodes       = 256
	maxOperators   = 64
	maxAddresses   = 16 // of one node
	maxName        = 64
)

type descriptionFile struct {
	Fleet     string     `json:"fleet"`
	Version   uint64     `json:"version"`
	Store     uint64     `json:"store,omitempty"`
	Nodes     []nodeFile `json:"nodes"`
	Operators []string   `json:"operators"`
}

type nodeFile struct {
	DID       string   `json:"did"`
	Addresses []string `json:"addresses"`
	Member    string   `json:"member,omitempty"`
	Domain    string   `json:"domain,omitempty"`
}

// ParseDescription reads a description.
func ParseDescription(b []byte) (*Description, error) {
	if len(b) > MaxDescription {
		return nil, fmt.Errorf("it has more than %d bytes", MaxDescription)
	}
	var f descriptionFile
	r := json.NewDecoder(bytes.NewReader(b))
	r.DisallowUnknownFields()
	if err := r.Decode(&f); err != nil {
		return nil, err
	}
	if _, err := r.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something comes after it")
	}
	d := &Description{Name: f.Fleet, Version: f.Version, Store: f.Store}
	for _, n := range f.Nodes {
		k, err := verifier.ParseDID(n.DID)
		if err != nil {
			return nil, fmt.Errorf("node %q: %w", n.DID, err)
		}
		d.Nodes = append(d.Nodes, Node{k, n.Addresses, n.Member, n.Domain})
	}
	for _, did := range f.Operators {
		k, err := verifier.ParseDID(did)
		if err != nil {
			return nil, fmt.Errorf("operator %q: %w", did, err)
		}
		d.Operators = append(d.Operators, k)
	}
	return d, d.Check()
}

// Check reports what is wrong with a description.
func (d *Description) Check() error {
	switch {
	case !isName(d.Name):
		return fmt.Errorf("the fleet's name %q: want up to %d of a-z, 0-9, dots, - and _", d.Name, maxName)
	case d.Version == 0:
		return errors.New("its version is 1 or more")
	case d.Store > d.Version || d.Store == 1:
		return errors.New("its store is the version with which that began: from 2 to its own, or absent")
	case len(d.Nodes) == 0 || len(d.Nodes) > MaxNodes:
		return fmt.Errorf("a fleet has 1 to %d nodes, and not %d", MaxNodes, len(d.Nodes))
	case len(d.Operators) > maxOperators:
		return fmt.Errorf("a fleet has at most %d operators", maxOperators)
	}
	seen, taken := map[verifier.PublicKey]bool{}, map[string]verifier.PublicKey{}
	for _, n := range d.Nodes {
		bad := func(err error) error { return fmt.Errorf("node %s: %w", n.Key.DID(), err) }
		if seen[n.Key] {
			return bad(errors.New("it is there twice"))
		}
		seen[n.Key] = true
		if len(n.Addresses) > maxAddresses {
			return bad(fmt.Errorf("more than %d addresses", maxAddresses))
		}
		for _, a := range n.Addresses {
			if _, _, err := HostPort(a); err != nil || !IsMultiaddr(a) {
				return bad(fmt.Errorf("%q is no address such as /ip4/192.0.2.7/tcp/7447", a))
			}
		}
		if n.Domain != "" && !isName(n.Domain) {
			return bad(fmt.Errorf("the domain %q: want up to %d of a-z, 0-9, dots, - and _", n.Domain, maxName))
		}
		if n.Member == "" {
			continue
		}
		peer, err := PeerAddress(n.Member)
		if err != nil {
			return bad(err)
		}
		for _, a := range []string{n.Member, peer} {
			if other, is := taken[a]; is {
				return bad(fmt.Errorf("%s is the address of %s too", a, other.DID()))
			}
			taken[a] = n.Key
		}
	}
	return check(d.Members())
}

func isName(s string) bool {
	return s != "" && len(s) <= maxName && s[0] != '.' && s[0] != '-' && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789.-_") == ""
}

// Began is the version with which the members' store began.
func (d *Description) Began() uint64 { return max(1, d.Store) }

// Members are the nodes that are members.
func (d *Description) Members() (all []Member) {
	for _, n := range d.Nodes {
		if n.Member != "" {
			all = append(all, Member{n.Key, n.Member})
		}
	}
	return all
}

// Home is what agents call the fleet as their home.
func (d *Description) Home() string {
	var all []string
	for _, m := range d.Members() {
		all = append(all, m.String())
	}
	return Prefix + strings.Join(all, ",")
}

// Node returns a node that takes part, nil if it does not.
func (d *Description) Node(k verifier.PublicKey) *Node {
	if i := slices.IndexFunc(d.Nodes, func(n Node) bool { return n.Key == k }); i >= 0 {
		return &d.Nodes[i]
	}
	return nil
}

// Same reports whether a home's members are this fleet's, or were: they have one in common.
// No node is a member of two fleets.
func (d *Description) Same(members []Member) bool {
	return slices.ContainsFunc(members, func(m Member) bool {
		n := d.Node(m.Key)
		return n != nil && n.Member != ""
	})
}

// MarshalJSON writes it as its file has it.
func (d *Description) MarshalJSON() ([]byte, error) {
	f := descriptionFile{Fleet: d.Name, Version: d.Version, Store: d.Store, Nodes: []nodeFile{}, Operators: []string{}}
	for _, n := range d.Nodes {
		f.Nodes = append(f.Nodes, nodeFile{n.Key.DID(), append([]string{}, n.Addresses...), n.Member, n.Domain})
	}
	for _, k := range d.Operators {
		f.Operators = append(f.Operators, k.DID())
	}
	return json.Marshal(f)
}

// Bytes are what the description's file has.
func (d *Description) Bytes() ([]byte, error) {
	b, err := json.MarshalIndent(d, "", "  ")
	return append(b, '\n'), err
}

// ReadDescription reads a description's file.
func ReadDescription(path string) (*Description, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, MaxDescription+1))
	if err != nil {
		return nil, err
	}
	d, err := ParseDescription(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return d, nil
}

// DescriptionIn returns the description of the fleet in which the node in a folder takes
// part, nil if it takes part in none.
func DescriptionIn(dir string) (*Description, error) {
	d, err := ReadDescription(filepath.Join(dir, FileDescription))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return d, err
}

// Write makes a description a file, in place of one that is there.
func (d *Description) Write(path string) error {
	if err := d.Check(); err != nil {
		return err
	}
	b, err := d.Bytes()
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	err = errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}

// Ports of a node that names none: it listens at the first one; as a member it is reached
// at one some way behind, so that both and the members' own are next to each other.
const (
	DefaultPort = 7447
	memberPort  = 3
)

// ParseNode reads a node as an operator names it, DID@HOST or DID@HOST:PORT, the port being
// the one at which it listens for other nodes. A member is reached three ports behind that,
// and by the other members one behind that.
func ParseNode(s string, isMember bool) (n Node, err error) {
	bad := fmt.Errorf("%q is no node: want DID@HOST, or DID@HOST:PORT", s)
	did, where, ok := strings.Cut(s, "@")
	if !ok || where == "" {
		return n, bad
	}
	if n.Key, err = verifier.ParseDID(did); err != nil {
		return n, fmt.Errorf("node %q: %w", s, err)
	}
	if _, _, err := net.SplitHostPort(where); err != nil {
		where = net.JoinHostPort(strings.Trim(where, "[]"), strconv.Itoa(DefaultPort))
	}
	host, port, err := HostPort(where)
	if err != nil || IsMultiaddr(where) {
		return n, bad
	}
	n.Addresses = []string{multiaddr(host, port)}
	if isMember {
		if port > 65535-memberPort-1 {
			return n, fmt.Errorf("node %q: want a port from 1 to %d", s, 65535-memberPort-1)
		}
		n.Member = net.JoinHostPort(host, strconv.Itoa(int(port)+memberPort))
	}
	return n, nil
}
