// Package receipt parses and verifies receipts: what a node says that it took
// for a part of an agent's life, and what an agent's key says that it paid. See
// docs/spec/receipts.md.
//
// Like package verifier it reads no file, asks no clock and holds no private key.
package receipt

import (
	"bufio"
	"errors"
	"io"
	"strconv"

	"igor.dev/verifier"
	"igor.dev/verifier/internal/le"
	"igor.dev/verifier/internal/rfc8032"
	"igor.dev/verifier/internal/sha2"
)

const (
	executionTag = "igor/execution-receipt/v1\x00"
	paymentTag   = "igor/payment-receipt/v1\x00"
	nonceTag     = "igor/payment-nonce/v1\x00"

	signatureSize = 64
)

// Sizes and limits, in bytes.
const (
	ExecutionSize = len(executionTag) + 4*32 + 9*8 + signatureSize

	MaxRecipient = 256
	MaxMemo      = 1 << 10

	paymentFixed   = len(paymentTag) + 2*32 + 2*8 + 2 + 2 + signatureSize
	MaxPaymentSize = paymentFixed + MaxRecipient + MaxMemo

	// MaxSize is the size of the largest receipt.
	MaxSize = MaxPaymentSize
)

// A Receipt is an [*Execution], a [*Payment], an [*Onchain] or a [*Rent].
type Receipt interface {
	// Append appends the wire form: what Parse read, byte for byte.
	Append(dst []byte) []byte
	// AppendMessage appends the bytes that the signer signs: all but the signature.
	AppendMessage(dst []byte) []byte
	// Authentic reports whether the signer, whose key is not weak, signed it.
	// Only then is anything that the receipt says to be believed.
	Authentic() bool
	// Signer returns the key that is to have signed it.
	Signer() verifier.PublicKey
	// AgentKey returns whose life it is of.
	AgentKey() verifier.PublicKey
}

// An Execution is a node's receipt for the part of a life between two
// checkpoints. Amounts are in microcents.
type Execution struct {
	Agent, Node      verifier.PublicKey
	Prev, Checkpoint verifier.Hash // Prev is zero before the genesis
	Tick             uint64        // of Checkpoint
	Ticks            uint64        // that were lived since Prev
	Elapsed          uint64        // nanoseconds that they took
	Price            int64         // per second, as in Checkpoint
	Added            int64         // to the budget: birth, top-ups, what was held and went back
	Cost             int64         // of the ticks' time
	Paid             int64         // by calls, and held for them
	Budget           int64         // as in Checkpoint
	Time             int64         // of the receipt, Unix nanoseconds
	Signature        [signatureSize]byte
}

// AppendMessage implements [Receipt].
func (e *Execution) AppendMessage(dst []byte) []byte {
	dst = append(dst, executionTag...)
	dst = append(dst, e.Agent[:]...)
	dst = append(dst, e.Node[:]...)
	dst = append(dst, e.Prev[:]...)
	dst = append(dst, e.Checkpoint[:]...)
	for _, v := range []uint64{e.Tick, e.Ticks, e.Elapsed, uint64(e.Price), uint64(e.Added),
		uint64(e.Cost), uint64(e.Paid), uint64(e.Budget), uint64(e.Time)} {
		dst = le.AppendUint64(dst, v)
	}
	return dst
}

// Append implements [Receipt].
func (e *Execution) Append(dst []byte) []byte { return append(e.AppendMessage(dst), e.Signature[:]...) }

// Authentic implements [Receipt].
func (e *Execution) Authentic() bool { return authentic(e, e.Signature) }

// Signer implements [Receipt]: the node signs.
func (e *Execution) Signer() verifier.PublicKey { return e.Node }

// AgentKey implements [Receipt].
func (e *Execution) AgentKey() verifier.PublicKey { return e.Agent }

// A Payment is the payer's signed promise of an amount, in microcents. It is
// made before it leaves the machine, and a repeat is the same bytes.
type Payment struct {
	Payer     verifier.PublicKey // the agent's key, which signs it
	Nonce     [32]byte           // see PaymentNonce
	Amount    int64              // microcents
	Time      int64              // Unix nanoseconds
	Recipient string             // 1 to MaxRecipient bytes
	Memo      string             // at most MaxMemo bytes
	Signature [signatureSize]byte
}

// AppendMessage implements [Receipt].
func (p *Payment) AppendMessage(dst []byte) []byte {
	dst = append(dst, paymentTag...)
	dst = append(dst, p.Payer[:]...)
	dst = append(dst, p.Nonce[:]...)
	dst = le.AppendUint64(dst, uint64(p.Amount))
	dst = le.AppendUint64(dst, uint64(p.Time))
	dst = le.AppendUint16(dst, uint16(len(p.Recipient)))
	dst = le.AppendUint16(dst, uint16(len(p.Memo)))
	dst = append(dst, p.Recipient...)
	return append(dst, p.Memo...)
}

// Append implements [Receipt].
func (p *Payment) Append(dst []byte) []byte { return append(p.AppendMessage(dst), p.Signature[:]...) }

// Authentic implements [Receipt].
func (p *Payment) Authentic() bool { return authentic(p, p.Signature) }

// Signer implements [Receipt]: the agent signs.
func (p *Payment) Signer() verifier.PublicKey { return p.Payer }

// AgentKey implements [Receipt].
func (p *Payment) AgentKey() verifier.PublicKey { return p.Payer }

// Check reports whether p can be written: its recipient and memo fit.
func (p *Payment) Check() error {
	switch {
	case len(p.Recipient) == 0:
		return errors.New("a payment receipt has no recipient")
	case len(p.Recipient) > MaxRecipient || len(p.Memo) > MaxMemo:
		return errors.New("a payment receipt has a recipient of more than " + strconv.Itoa(MaxRecipient) +
			" bytes, or a memo of more than " + strconv.Itoa(MaxMemo))
	}
	return nil
}

// PaymentNonce returns the nonce of the payment that is the effect with this id
// (docs/spec/journal.md).
func PaymentNonce(effect [32]byte) [32]byte {
	return sha2.Sum256(append([]byte(nonceTag), effect[:]...))
}

// authentic applies docs/spec/checkpoint.md, "Accepting a signature".
func authentic(r Receipt, signature [signatureSize]byte) bool {
	key := r.Signer()
	var v rfc8032.Verifier
	return !key.Weak() && v.Verify((*[32]byte)(&key), &signature, r.AppendMessage(nil), nil)
}

// ErrTruncated says that bytes are the beginning of a receipt.
var ErrTruncated = errors.New("a receipt is cut short")

// Parse reads the receipt at the beginning of b, and returns how long it is.
// What it says is unverified: see [Receipt.Authentic].
func Parse(b []byte) (r Receipt, size int, err error) {
	switch {
	case hasTag(b, executionTag):
		if len(b) < ExecutionSize {
			return nil, 0, ErrTruncated
		}
		return parseExecution(b[:ExecutionSize]), ExecutionSize, nil
	case hasTag(b, paymentTag):
		return parsePayment(b)
	case hasTag(b, onchainTag):
		if len(b) < OnchainSize {
			return nil, 0, ErrTruncated
		}
		return parseOnchain(b[:OnchainSize]), OnchainSize, nil
	case hasTag(b, rentTag):
		if len(b) < RentSize {
			return nil, 0, ErrTruncated
		}
		return parseRent(b[:RentSize]), RentSize, nil
	case len(b) < len(executionTag) && (hasPrefix(executionTag, b) || hasPrefix(paymentTag, b) || hasPrefix(onchainTag, b) || hasPrefix(rentTag, b)):
		return nil, 0, ErrTruncated
	}
	return nil, 0, errors.New("not a receipt of a known kind and version")
}

func hasTag(b []byte, tag string) bool { return len(b) >= len(tag) && string(b[:len(tag)]) == tag }

func hasPrefix(tag string, b []byte) bool { return len(b) <= len(tag) && tag[:len(b)] == string(b) }

func parseExecution(b []byte) *Execution {
	e := new(Execution)
	b = b[len(executionTag):]
	b = b[copy(e.Agent[:], b):]
	b = b[copy(e.Node[:], b):]
	b = b[copy(e.Prev[:], b):]
	b = b[copy(e.Checkpoint[:], b):]
	e.Tick, e.Ticks, e.Elapsed = le.Uint64(b), le.Uint64(b[8:]), le.Uint64(b[16:])
	for i, v := range []*int64{&e.Price, &e.Added, &e.Cost, &e.Paid, &e.Budget, &e.Time} {
		*v = int64(le.Uint64(b[24+8*i:]))
	}
	copy(e.Signature[:], b[72:])
	return e
}

func parsePayment(b []byte) (Receipt, int, error) {
	if len(b) < paymentFixed {
		return nil, 0, ErrTruncated
	}
	p, whole := new(Payment), b
	b = b[len(paymentTag):]
	b = b[copy(p.Payer[:], b):]
	b = b[copy(p.Nonce[:], b):]
	p.Amount, p.Time = int64(le.Uint64(b)), int64(le.Uint64(b[8:]))
	recipient, memo := int(le.Uint16(b[16:])), int(le.Uint16(b[18:]))
	b = b[20:]
	if recipient == 0 || recipient > MaxRecipient || memo > MaxMemo {
		return nil, 0, errors.New("a payment receipt whose recipient or memo has a length over its limit, or that has no recipient")
	}
	size := paymentFixed + recipient + memo
	if len(whole) < size {
		return nil, 0, ErrTruncated
	}
	p.Recipient, p.Memo = string(b[:recipient]), string(b[recipient:recipient+memo])
	copy(p.Signature[:], b[recipient+memo:])
	return p, size, nil
}

// A Reader reads receipts that follow one another, in bounded memory.
type Reader struct {
	r      *bufio.Reader
	offset int64
}

// NewReader reads receipts from r.
func NewReader(r io.Reader) *Reader { return &Reader{r: bufio.NewReaderSize(r, 4*MaxSize)} }

// Offset returns where the next receipt begins.
func (r *Reader) Offset() int64 { return r.offset }

// Next returns the next receipt, or io.EOF after the last one.
func (r *Reader) Next() (Receipt, error) {
	b, err := r.r.Peek(MaxSize)
	if len(b) == 0 || err != nil && err != io.EOF {
		return nil, err
	}
	receipt, size, err := Parse(b)
	if err != nil {
		return nil, &ReadError{r.offset, err}
	}
	r.r.Discard(size)
	r.offset += int64(size)
	return receipt, nil
}

// A ReadError says where something is that is not a receipt.
type ReadError struct {
	Offset int64
	err    error
}

func (e *ReadError) Error() string {
	return "receipts at byte " + strconv.FormatInt(e.Offset, 10) + ": " + e.err.Error()
}

// Unwrap returns what is wrong there, which may be [ErrTruncated].
func (e *ReadError) Unwrap() error { return e.err }
