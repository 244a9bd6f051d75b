// Package receipt signs receipts and keeps them in the agent's folder, so that
// they go where the agent goes. What they are, and how they are verified, is
// package [igor.dev/verifier/receipt] and docs/spec/receipts.md.
package receipt

import (
	"bufio"
	"bytes"
	"crypto"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"

	"igor.dev/runtime/internal/hint"
	"igor.dev/runtime/internal/wal"
	"igor.dev/verifier"
	"igor.dev/verifier/receipt"
)

// The files of receipts in an agent's folder. nextName is what a new one is called until
// it is whole.
const (
	Name    = "receipts"
	Onchain = "receipts.x402" // of payments on a chain, apart so that older programs read the others

	nextName = ".receipts.next"
)

// MaxUnsynced is how many receipts may be written and not be durable.
const (
	MaxUnsynced = 128
	maxTorn     = MaxUnsynced * int64(receipt.MaxSize)
)

// SignExecution signs a receipt with the key of the node that gives it.
func SignExecution(e *receipt.Execution, node ed25519.PrivateKey) {
	e.Node = public(node)
	copy(e.Signature[:], ed25519.Sign(node, e.AppendMessage(nil)))
}

// SignOnchain signs a receipt of a payment on a chain with the payer's key.
func SignOnchain(o *receipt.Onchain, payer crypto.Signer) error {
	o.Payer = public(payer)
	signature, err := payer.Sign(nil, o.AppendMessage(nil), crypto.Hash(0))
	copy(o.Signature[:], signature)
	return err
}

// SignPayment signs a payment with the payer's key. The payment of an effect has
// the nonce that [receipt.PaymentNonce] makes of its id.
func SignPayment(p *receipt.Payment, payer crypto.Signer) error {
	if err := p.Check(); err != nil {
		return err
	}
	p.Payer = public(payer)
	signature, err := payer.Sign(nil, p.AppendMessage(nil), crypto.Hash(0))
	copy(p.Signature[:], signature)
	return err
}

func public(key crypto.Signer) verifier.PublicKey {
	return verifier.PublicKey(key.Public().(ed25519.PublicKey))
}

// A period is what an execution receipt is for.
type period struct{ prev, checkpoint verifier.Hash }

// A File has the receipts of one agent. It is not safe for concurrent use.
type File struct {
	f       wal.File
	name    string
	end     int64
	durable int64    // how much of it is
	recent  []period // of the newest execution receipts
	from    int64    // where they begin, if what is before that was not read
	err     error

	payments []*receipt.Payment // that it had when it was opened
}

// A Beginning is what is known of a file, of which all but the newest receipts need not be
// read again then.
type Beginning struct {
	End        int64    // where what comes after them begins
	Tick       uint64   // no execution receipt of them is of a later one
	Executions uint64   // how many of these there are
	Payments   []uint64 // where the others are, in order
}

// Fits reports whether a file begins so, as far as that can be told by its payments, and by
// the newest [Recent] execution receipts of the beginning.
func (b *Beginning) Fits(f io.ReaderAt) bool { return new(File).begin(f, b) }

// begin takes what is known of the beginning for read, if it fits.
func (f *File) begin(r io.ReaderAt, b *Beginning) bool {
	const size = int64(receipt.ExecutionSize)
	ends := make([]int64, len(b.Payments)) // of the payments
	end, executions := int64(0), uint64(0)
	between := func(to int64) bool { // there are execution receipts, each of its size
		executions += uint64(max(0, to-end) / size)
		return to >= end && (to-end)%size == 0
	}
	buf := make([]byte, receipt.MaxSize)
	for i, at := range b.Payments {
		if at >= uint64(b.End) || !between(int64(at)) {
			return false
		}
		n, err := r.ReadAt(buf[:min(int64(len(buf)), b.End-int64(at))], int64(at))
		if err != nil && err != io.EOF {
			return false
		}
		got, n, err := receipt.Parse(buf[:n])
		if _, is := got.(*receipt.Execution); err != nil || is {
			return false
		}
		f.note(got)
		end = int64(at) + int64(n)
		ends[i] = end
	}
	if !between(b.End) || executions != b.Executions {
		return false
	}
	// Back to where the newest execution receipts begin.
	from, left := b.End, int64(Recent)
	for i := len(ends); ; i-- {
		after := int64(0)
		if i > 0 {
			after = ends[i-1]
		}
		n := min(left, (from-after)/size)
		from, left = from-n*size, left-n
		if left == 0 || i == 0 {
			break
		}
		from = int64(b.Payments[i-1])
	}
	f.from, f.end = from, from
	for known := receipt.NewReader(io.NewSectionReader(r, from, b.End-from)); f.end < b.End; {
		got, err := known.Next()
		if err != nil {
			return false
		}
		if e, is := got.(*receipt.Execution); is {
			if e.Tick > b.Tick {
				return false
			}
			f.has(got)
		} else if _, listed := slices.BinarySearch(b.Payments, uint64(f.end)); !listed {
			return false
		}
		f.end = from + known.Offset()
	}
	return true
}

// Open opens the receipts of an agent, or begins them. What was never durable, and is
// cut short, ends in zeros or lacks what a disk writes at once, is cut off, but for the
// payments in it; anything else that is no receipt is an error, and changes nothing.
//
// Where it is known how the file begins, only the receipts after that are read, and of
// those before the payments and the newest; where it does not begin so, all of them.
func Open(folder wal.Folder, name string, beginning *Beginning) (_ *File, err error) {
	f, err := folder.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		if f, err = folder.Create(name); err == nil {
			if err = folder.Sync(); err != nil {
				f.Close()
			}
		}
	}
	if err != nil {
		return nil, fmt.Errorf("receipts: %w", err)
	}
	file := &File{f: f, name: name}
	defer func() {
		if err != nil {
			file.f.Close()
		}
	}()
	size, err := f.Size()
	if err != nil {
		return nil, fmt.Errorf("receipts: %w", err)
	}
	torn := false
	known := beginning != nil && file.begin(f, beginning)
	if known {
		torn, err = file.read(size)
	}
	if !known || err != nil {
		*file = File{f: f, name: name}
		if torn, err = file.read(size); err != nil {
			return nil, err
		}
	}
	if torn {
		if err := file.salvage(folder, size); err != nil {
			return nil, fmt.Errorf("receipts: %w", err)
		}
		return file, nil
	}
	if file.end < size {
		if err := f.Truncate(file.end); err != nil {
			return nil, fmt.Errorf("receipts: %w", err)
		}
	}
	if size > 0 {
		// What is there is relied on from now on, and whoever wrote it may not have
		// lived to sync it.
		if err := f.Sync(); err != nil {
			return nil, fmt.Errorf("receipts: %w", err)
		}
	}
	file.durable = file.end
	return file, nil
}

// read reads the receipts from where the file ends so far.
func (f *File) read(size int64) (torn bool, err error) {
	from := f.end
	r := receipt.NewReader(io.NewSectionReader(f.f, from, size-from))
	var newest receipt.Receipt
	var before File // the newest
	for {
		got, err := r.Next()
		if err == nil && !lacks(got, f.end) {
			newest, before = got, *f
			f.end = from + r.Offset()
			f.has(got)
			f.note(got)
			continue
		}
		if err == io.EOF || errors.Is(err, receipt.ErrTruncated) {
			break
		}
		if torn = isTorn(f.f, f.end, size); torn {
			break
		}
		// A file system may have made the file longer before it wrote the data: of one
		// receipt there may be a part, and then come zeros.
		if err != nil && !zeros(f.f, min(f.end+int64(receipt.MaxSize), size-1), size) {
			return false, hint.Wrap(&badError{err}, "restore the file %s from a copy; igor repair says what can be had back without one", f.name)
		}
		break
	}
	if newest != nil && (torn || zeros(f.f, f.end-1, size)) && !newest.Authentic() {
		*f = before
	}
	return torn, nil
}

// badError says that a file has something that is no receipt.
type badError struct{ error }

func (e *badError) Unwrap() error { return e.error }

// Bad reports whether an error of [Open] says that the file is damaged, rather than that
// it could not be read.
func Bad(err error) bool {
	_, ok := errors.AsType[*badError](err)
	return ok
}

// lacks reports whether a receipt at offset is none, for a sector of it was not written.
func lacks(r receipt.Receipt, offset int64) bool {
	b := r.Append(nil)
	return wal.Unwritten(b, offset, 0, len(b)) && !r.Authentic()
}

// isTorn reports whether what comes after offset, where no receipt is, may be what was
// never durable, of which a disk wrote some sectors and not others.
func isTorn(f io.ReaderAt, offset, size int64) bool {
	b := make([]byte, min(size-offset, int64(receipt.MaxSize)))
	_, err := f.ReadAt(b, offset)
	return (err == nil || err == io.EOF) && size-offset <= maxTorn && wal.Unwritten(b, offset, 0, len(b))
}

// salvage leaves of what comes after the end the payments. Execution receipts are made
// again.
func (f *File) salvage(folder wal.Folder, size int64) error {
	b := make([]byte, size-f.end)
	if _, err := f.f.ReadAt(b, f.end); err != nil && err != io.EOF {
		return err
	}
	var payments []byte
	for at := 0; at < len(b); at++ {
		r, n, err := receipt.Parse(b[at:])
		_, given := r.(*receipt.Execution)
		if err == nil && !given && r.Authentic() {
			f.note(r)
			payments = append(payments, b[at:at+n]...)
			at += n - 1 // its memo is what the agent chose
		}
	}
	content := io.MultiReader(io.NewSectionReader(f.f, 0, f.end), bytes.NewReader(payments))
	if err := wal.WriteFile(folder, nextName, f.name, content, true); err != nil {
		return err
	}
	whole, err := folder.Open(f.name)
	if err != nil {
		return err
	}
	f.f.Close()
	f.f = whole
	f.end += int64(len(payments))
	f.durable = f.end
	return nil
}

// zeros reports whether a part of a file is nothing but zeros.
func zeros(f io.ReaderAt, from, to int64) bool {
	r := bufio.NewReader(io.NewSectionReader(f, from, to-from))
	for {
		switch c, err := r.ReadByte(); {
		case err == io.EOF:
			return true
		case err != nil || c != 0:
			return false
		}
	}
}

// Recent is how many checkpoints Has knows at least.
const Recent = 256

// Has reports whether there is an execution receipt for a checkpoint, of the newest
// ones that have one. For a second one, with another time, nobody could say which
// counts.
func (f *File) Has(checkpoint verifier.Hash) bool {
	return slices.ContainsFunc(f.recent, func(p period) bool { return p.checkpoint == checkpoint })
}

// After reports whether there is one, of these, for any checkpoint whose predecessor
// is prev. A second one would be for time that was accounted for.
func (f *File) After(prev verifier.Hash) bool {
	return slices.ContainsFunc(f.recent, func(p period) bool { return p.prev == prev })
}

// Newest returns the checkpoint of the newest execution receipt, zero if there is none.
func (f *File) Newest() verifier.Hash {
	if len(f.recent) == 0 {
		return verifier.Hash{}
	}
	return f.recent[len(f.recent)-1].checkpoint
}

// Payments returns the receipts of payments of wallet_pay that there were when the file was
// opened, once.
func (f *File) Payments() []*receipt.Payment {
	all := f.payments
	f.payments = nil
	return all
}

func (f *File) note(r receipt.Receipt) {
	if p, ok := r.(*receipt.Payment); ok {
		f.payments = append(f.payments, p)
	}
}

// Read is from where on the receipts were read when the file was opened: the newest
// [Recent] execution receipts, or more.
func (f *File) Read() int64 { return f.from }

// Durable reads the receipts from an offset on that are durable.
func (f *File) Durable(from int64) *receipt.Reader {
	return receipt.NewReader(io.NewSectionReader(f.f, from, f.durable-from))
}

func (f *File) has(r receipt.Receipt) {
	e, ok := r.(*receipt.Execution)
	if !ok {
		return
	}
	if len(f.recent) == 2*Recent {
		f.recent = slices.Clone(f.recent[Recent:])
	}
	f.recent = append(f.recent, period{e.Prev, e.Checkpoint})
}

// Append adds a receipt. It is durable after Sync. After an error nothing can be
// appended any more.
func (f *File) Append(r receipt.Receipt) error {
	if f.err != nil {
		return f.err
	}
	b := r.Append(nil)
	if _, err := f.f.WriteAt(b, f.end); err != nil {
		return f.fail(err)
	}
	f.end += int64(len(b))
	f.has(r)
	return nil
}

// Sync makes all receipts durable.
func (f *File) Sync() error {
	if f.err != nil || f.durable == f.end {
		return f.err
	}
	if err := f.f.Sync(); err != nil {
		return f.fail(err)
	}
	f.durable = f.end
	return nil
}

func (f *File) fail(err error) error {
	f.err = fmt.Errorf("receipts: %w", err)
	return f.err
}

// Close makes all receipts durable, and closes the file.
func (f *File) Close() error { return errors.Join(f.Sync(), f.f.Close()) }
