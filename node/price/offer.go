// Package price has what a node offers to agents: its price, and what it can do. An offer
// is signed, and ends. See docs/spec/price.md.
package price

import (
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"igor.dev/verifier"
)

// An Offer is what a node says of itself to those who have agents.
type Offer struct {
	Node        verifier.PublicKey
	HPKE        [32]byte // to which an agent's key is sealed: X25519
	Issued      int64    // Unix seconds
	Expires     int64
	Price       int64 // microcents per metered second
	StoredPrice int64 // microcents per 10^9 bytes, once
	FreeAgents  uint32
	FreeMemory  uint64 // bytes
	Draining    bool   // it takes nobody

	Schedules    []uint32 // of metering, that it has; sorted
	Regions      []string // where it is; sorted
	Capabilities []Capability
	Signature    [64]byte
}

// A Capability is one that a node gives, with its newest version.
type Capability struct {
	Name    string
	Version uint8
}

const offerContext = "igor/offer/v1\x00"

// Limits of an offer.
const (
	MaxSize         = 8 << 10
	MaxSchedules    = 16
	MaxRegions      = 16
	MaxCapabilities = 64
	MaxName         = 64
	MaxLife         = 7 * 24 * time.Hour

	// Skew is how far two nodes' clocks may differ.
	Skew = 5 * time.Minute
)

const flagDraining = 1

var le = binary.LittleEndian

// AppendMessage appends the bytes that the node signs.
func (o *Offer) AppendMessage(dst []byte) []byte {
	dst = append(dst, offerContext...)
	dst = append(dst, o.Node[:]...)
	dst = append(dst, o.HPKE[:]...)
	for _, v := range []int64{o.Issued, o.Expires, o.Price, o.StoredPrice} {
		dst = le.AppendUint64(dst, uint64(v))
	}
	dst = le.AppendUint32(dst, o.FreeAgents)
	dst = le.AppendUint64(dst, o.FreeMemory)
	flags := byte(0)
	if o.Draining {
		flags = flagDraining
	}
	dst = append(dst, flags, byte(len(o.Schedules)))
	for _, s := range o.Schedules {
		dst = le.AppendUint32(dst, s)
	}
	dst = append(dst, byte(len(o.Regions)))
	for _, r := range o.Regions {
		dst = appendName(dst, r)
	}
	dst = append(dst, byte(len(o.Capabilities)))
	for _, c := range o.Capabilities {
		dst = append(appendName(dst, c.Name), c.Version)
	}
	return dst
}

func appendName(dst []byte, s string) []byte { return append(append(dst, byte(len(s))), s...) }

// Append appends the offer.
func (o *Offer) Append(dst []byte) []byte { return append(o.AppendMessage(dst), o.Signature[:]...) }

// Sign checks the offer and signs it with the node's key, which Node becomes.
func (o *Offer) Sign(key ed25519.PrivateKey) error {
	o.Node = verifier.PublicKey(key.Public().(ed25519.PublicKey))
	if err := o.check(); err != nil {
		return err
	}
	o.Signature = [64]byte(ed25519.Sign(key, o.AppendMessage(nil)))
	return nil
}

// Parse reads an offer, and verifies its signature. Whether it is still good, [Offer.At]
// says.
func Parse(b []byte) (*Offer, error) {
	if len(b) > MaxSize {
		return nil, fmt.Errorf("an offer of more than %d bytes", MaxSize)
	}
	if len(b) < len(offerContext) || string(b[:len(offerContext)]) != offerContext {
		return nil, errors.New("not an offer of version 1")
	}
	r := reader{b: b[len(offerContext):]}
	o := new(Offer)
	copy(o.Node[:], r.take(32))
	copy(o.HPKE[:], r.take(32))
	for _, v := range []*int64{&o.Issued, &o.Expires, &o.Price, &o.StoredPrice} {
		*v = int64(le.Uint64(r.take(8)))
	}
	o.FreeAgents, o.FreeMemory = le.Uint32(r.take(4)), le.Uint64(r.take(8))
	flags := r.take(1)[0]
	o.Draining = flags&flagDraining != 0
	for range r.count(MaxSchedules) {
		o.Schedules = append(o.Schedules, le.Uint32(r.take(4)))
	}
	for range r.count(MaxRegions) {
		o.Regions = append(o.Regions, r.name())
	}
	for range r.count(MaxCapabilities) {
		o.Capabilities = append(o.Capabilities, Capability{r.name(), r.take(1)[0]})
	}
	copy(o.Signature[:], r.take(64))
	switch {
	case r.short || flags&^flagDraining != 0:
		return nil, errors.New("an offer that is cut short, or has too many of something")
	case len(r.b) > 0:
		return nil, errors.New("an offer with something after it")
	}
	if err := o.check(); err != nil {
		return nil, err
	}
	if o.Node.Weak() || !ed25519.Verify(o.Node[:], o.AppendMessage(nil), o.Signature[:]) {
		return nil, errors.New("an offer that its node did not sign")
	}
	return o, nil
}

// check refuses what no node means.
func (o *Offer) check() error {
	switch {
	case o.Price < 0 || o.StoredPrice < 0:
		return errors.New("an offer with a negative price")
	case o.Issued < 0 || o.Expires <= o.Issued || o.Expires-o.Issued > int64(MaxLife/time.Second):
		return fmt.Errorf("an offer that does not end within %v", MaxLife)
	case o.HPKE == [32]byte{}:
		return errors.New("an offer without an HPKE key")
	case len(o.Schedules) == 0 || len(o.Schedules) > MaxSchedules || !rising(o.Schedules, func(a, b uint32) bool { return a < b }):
		return errors.New("an offer whose schedules are none, too many, or not in order")
	case len(o.Regions) > MaxRegions || !rising(o.Regions, func(a, b string) bool { return a < b }):
		return errors.New("an offer whose regions are too many, or not in order")
	case len(o.Capabilities) > MaxCapabilities || !rising(o.Capabilities, func(a, b Capability) bool { return a.Name < b.Name }):
		return errors.New("an offer whose capabilities are too many, or not in order")
	}
	for _, r := range o.Regions {
		if !IsName(r) {
			return fmt.Errorf("an offer with the region %q", r)
		}
	}
	for _, c := range o.Capabilities {
		if !IsName(c.Name) || c.Version == 0 {
			return fmt.Errorf("an offer with the capability %q, version %d", c.Name, c.Version)
		}
	}
	return nil
}

func rising[T any](all []T, less func(a, b T) bool) bool {
	for i := 1; i < len(all); i++ {
		if !less(all[i-1], all[i]) {
			return false
		}
	}
	return true
}

// IsName reports whether a string can be a region's or a capability's name.
func IsName(s string) bool {
	for _, c := range []byte(s) {
		if !('a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-' || c == '_' || c == '.') {
			return false
		}
	}
	return 0 < len(s) && len(s) <= MaxName
}

// At says whether the offer is good at a time.
func (o *Offer) At(now time.Time) error {
	switch t := now.Unix(); {
	case t >= o.Expires:
		return fmt.Errorf("the offer of %s ended at %s", o.Node.DID(), time.Unix(o.Expires, 0).UTC().Format(time.RFC3339))
	case o.Issued > t+int64(Skew/time.Second):
		return fmt.Errorf("the offer of %s is of the future (%s): the clocks differ", o.Node.DID(), time.Unix(o.Issued, 0).UTC().Format(time.RFC3339))
	}
	return nil
}

// Has reports whether the node gives a capability in at least a version.
func (o *Offer) Has(name string, version int) bool {
	return slices.ContainsFunc(o.Capabilities, func(c Capability) bool { return c.Name == name && int(c.Version) >= version })
}

// A reader takes bytes from the front; what is not there is zeros, and short is set.
type reader struct {
	b     []byte
	short bool
}

var zeros [256]byte

func (r *reader) take(n int) []byte {
	if len(r.b) < n {
		r.short, r.b = true, nil
		return zeros[:n]
	}
	b := r.b[:n]
	r.b = r.b[n:]
	return b
}

func (r *reader) count(most int) int {
	n := int(r.take(1)[0])
	if n > most {
		r.short, r.b = true, nil
		return 0
	}
	return n
}

func (r *reader) name() string { return string(r.take(int(r.take(1)[0]))) }
