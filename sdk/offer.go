package sdk

import (
	"encoding/binary"
	"errors"
	"time"
)

// An Offer is what another node says that it costs to live there, and what it can do.
type Offer struct {
	Node        string // its DID, for [Migrate]
	Issued      time.Time
	Expires     time.Time
	Price       int64 // microcents a second, as [NodePrice] has it
	StoredPrice int64 // microcents for 10^9 bytes of checkpoints and event log, once
	FreeAgents  uint32
	FreeMemory  uint64 // bytes, for the memories of agents together
	Draining    bool   // it takes nobody
	Regions     []string
}

const offerContext = "igor/offer/v1\x00"

// Offers returns the offers of all peers to which the agent could go, in the order of
// [PeerOffer]. The node has verified them. They stay the same for the tick.
func Offers() ([]Offer, error) {
	n, err := Peers()
	if err != nil {
		return nil, err
	}
	var offers []Offer
	for i := range n {
		b, err := PeerOffer(i)
		if err != nil {
			return nil, err
		}
		o, err := ReadOffer(b)
		if err != nil {
			return nil, err
		}
		offers = append(offers, o)
	}
	return offers, nil
}

// ReadOffer reads what [PeerOffer] returns, without verifying the signature: the node did.
func ReadOffer(b []byte) (o Offer, err error) {
	r := offerReader{rest: b}
	if string(r.take(len(offerContext))) != offerContext {
		return o, errors.New("not an offer of version 1")
	}
	o.Node = keyDID(r.take(32))
	r.take(32) // to seal keys to
	o.Issued, o.Expires = r.time(), r.time()
	o.Price, o.StoredPrice = r.int64(), r.int64()
	o.FreeAgents, o.FreeMemory = binary.LittleEndian.Uint32(r.take(4)), binary.LittleEndian.Uint64(r.take(8))
	o.Draining = r.take(1)[0] != 0
	r.take(4 * int(r.take(1)[0])) // versions of metering
	for range r.take(1)[0] {
		o.Regions = append(o.Regions, string(r.take(int(r.take(1)[0]))))
	}
	for range r.take(1)[0] { // capabilities
		r.take(int(r.take(1)[0]) + 1)
	}
	r.take(64) // signature
	if r.short || len(r.rest) > 0 {
		return Offer{}, errors.New("an offer that is cut short, or has something after it")
	}
	return o, nil
}

// An offerReader takes bytes from the front. What is not there is zeros.
type offerReader struct {
	rest  []byte
	short bool
}

func (r *offerReader) take(n int) []byte {
	if n > len(r.rest) {
		r.short, r.rest = true, nil
		return make([]byte, n)
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}

func (r *offerReader) int64() int64 { return int64(binary.LittleEndian.Uint64(r.take(8))) }

func (r *offerReader) time() time.Time { return time.Unix(r.int64(), 0).UTC() }

// keyDID is the did:key of an Ed25519 key: base58btc, behind the codec's two bytes.
func keyDID(key []byte) string {
	const alphabet = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
	var digits [47]byte // that 34 bytes of which the first is 0xed have, the least first
	for _, c := range append([]byte{0xed, 0x01}, key...) {
		carry := uint32(c)
		for i := range digits {
			carry += uint32(digits[i]) << 8
			digits[i] = byte(carry % 58)
			carry /= 58
		}
	}
	did := []byte("did:key:z")
	for i := len(digits) - 1; i >= 0; i-- {
		did = append(did, alphabet[digits[i]])
	}
	return string(did)
}
