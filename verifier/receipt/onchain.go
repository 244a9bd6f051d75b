package receipt

import "igor.dev/verifier/internal/le"

import "igor.dev/verifier"

const (
	onchainTag = "igor/x402-receipt/v1\x00"

	// OnchainSize is the size of a receipt on a chain.
	OnchainSize = len(onchainTag) + 32 + 32 + 8 + 8 + 3*20 + 8 + 32 + 8 + 32 + 2 + 8 + signatureSize
)

// An Onchain is the agent's word on a payment that its node made by x402: which
// transaction of which chain moved what, as the nodes of the chain said that were
// asked. Whoever has a node can ask again.
type Onchain struct {
	Payer       verifier.PublicKey // the agent's key, which signs it
	Nonce       [32]byte           // see PaymentNonce; of the authorization on the chain
	Index       uint64             // its place among the agent's receipts of payments of both kinds, from 0
	Chain       uint64             // of EIP-155
	Asset       [20]byte           // the token's contract
	From, To    [20]byte
	Amount      int64 // base units, which are microcents
	Transaction [32]byte
	Block       uint64
	BlockHash   [32]byte
	Agreed      uint8 // how many nodes of the chain said so
	Asked       uint8 // of how many
	Time        int64 // of the receipt, Unix nanoseconds
	Signature   [signatureSize]byte
}

// AppendMessage implements [Receipt].
func (o *Onchain) AppendMessage(dst []byte) []byte {
	dst = append(dst, onchainTag...)
	dst = append(dst, o.Payer[:]...)
	dst = append(dst, o.Nonce[:]...)
	dst = le.AppendUint64(dst, o.Index)
	dst = le.AppendUint64(dst, o.Chain)
	dst = append(dst, o.Asset[:]...)
	dst = append(dst, o.From[:]...)
	dst = append(dst, o.To[:]...)
	dst = le.AppendUint64(dst, uint64(o.Amount))
	dst = append(dst, o.Transaction[:]...)
	dst = le.AppendUint64(dst, o.Block)
	dst = append(dst, o.BlockHash[:]...)
	dst = append(dst, o.Agreed, o.Asked)
	return le.AppendUint64(dst, uint64(o.Time))
}

// Append implements [Receipt].
func (o *Onchain) Append(dst []byte) []byte { return append(o.AppendMessage(dst), o.Signature[:]...) }

// Authentic implements [Receipt].
func (o *Onchain) Authentic() bool { return authentic(o, o.Signature) }

// Signer implements [Receipt]: the agent signs.
func (o *Onchain) Signer() verifier.PublicKey { return o.Payer }

// AgentKey implements [Receipt].
func (o *Onchain) AgentKey() verifier.PublicKey { return o.Payer }

func parseOnchain(b []byte) *Onchain {
	o := new(Onchain)
	b = b[len(onchainTag):]
	take := func(to []byte) { b = b[copy(to, b):] }
	number := func() uint64 { n := le.Uint64(b); b = b[8:]; return n }
	take(o.Payer[:])
	take(o.Nonce[:])
	o.Index = number()
	o.Chain = number()
	take(o.Asset[:])
	take(o.From[:])
	take(o.To[:])
	o.Amount = int64(number())
	take(o.Transaction[:])
	o.Block = number()
	take(o.BlockHash[:])
	o.Agreed, o.Asked, b = b[0], b[1], b[2:]
	o.Time = int64(number())
	take(o.Signature[:])
	return o
}
