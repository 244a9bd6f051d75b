package receipt

import "igor.dev/verifier/internal/le"

import "igor.dev/verifier"

const (
	rentTag = "igor/rent-receipt/v1\x00"

	// RentSize is the size of a receipt for rent.
	RentSize = len(rentTag) + 2*32 + 8 + 3*20 + 8 + 2*32 + 2*32 + 8 + 3*8 + signatureSize
)

// A Rent is a node's word that somebody paid it on a chain for an agent's life: for a
// lease, a time from Begins to Ends, or for what it had taken, its execution receipts
// after Prev and up to Checkpoint. What is of the other one is zero.
type Rent struct {
	Agent, Node      verifier.PublicKey
	Chain            uint64   // of EIP-155
	Asset            [20]byte // the token's contract
	From, To         [20]byte // who paid, and the node's address
	Amount           int64    // base units, which are microcents
	Nonce            [32]byte // of the authorization on the chain
	Transaction      [32]byte
	Prev, Checkpoint verifier.Hash // Prev is zero before the node's first receipt
	Receipts         uint64        // how many execution receipts were paid, 0 for a lease
	Begins, Ends     int64         // of the lease, Unix nanoseconds
	Time             int64         // of the receipt, Unix nanoseconds
	Signature        [signatureSize]byte
}

// Lease reports whether it is for a time.
func (r *Rent) Lease() bool { return r.Receipts == 0 }

// AppendMessage implements [Receipt].
func (r *Rent) AppendMessage(dst []byte) []byte {
	dst = append(dst, rentTag...)
	dst = append(dst, r.Agent[:]...)
	dst = append(dst, r.Node[:]...)
	dst = le.AppendUint64(dst, r.Chain)
	dst = append(dst, r.Asset[:]...)
	dst = append(dst, r.From[:]...)
	dst = append(dst, r.To[:]...)
	dst = le.AppendUint64(dst, uint64(r.Amount))
	dst = append(dst, r.Nonce[:]...)
	dst = append(dst, r.Transaction[:]...)
	dst = append(dst, r.Prev[:]...)
	dst = append(dst, r.Checkpoint[:]...)
	for _, v := range []uint64{r.Receipts, uint64(r.Begins), uint64(r.Ends), uint64(r.Time)} {
		dst = le.AppendUint64(dst, v)
	}
	return dst
}

// Append implements [Receipt].
func (r *Rent) Append(dst []byte) []byte { return append(r.AppendMessage(dst), r.Signature[:]...) }

// Authentic implements [Receipt].
func (r *Rent) Authentic() bool { return authentic(r, r.Signature) }

// Signer implements [Receipt]: the node signs.
func (r *Rent) Signer() verifier.PublicKey { return r.Node }

// AgentKey implements [Receipt].
func (r *Rent) AgentKey() verifier.PublicKey { return r.Agent }

func parseRent(b []byte) *Rent {
	r := new(Rent)
	b = b[len(rentTag):]
	take := func(to []byte) { b = b[copy(to, b):] }
	number := func() uint64 { n := le.Uint64(b); b = b[8:]; return n }
	take(r.Agent[:])
	take(r.Node[:])
	r.Chain = number()
	take(r.Asset[:])
	take(r.From[:])
	take(r.To[:])
	r.Amount = int64(number())
	take(r.Nonce[:])
	take(r.Transaction[:])
	take(r.Prev[:])
	take(r.Checkpoint[:])
	r.Receipts = number()
	r.Begins, r.Ends, r.Time = int64(number()), int64(number()), int64(number())
	take(r.Signature[:])
	return r
}
