// Package receipt signs receipts and keeps them in the agent's folder, so that
// they go where the agent goes. What they are, and how they are verified, is
// package [igor.dev/verifier/receipt] and docs/spec/receipts.md.
package receipt

import (
	"bufio"
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

// Name is the file of receipts in an agent's folder.
const Name = "receipts"

// SignExecution signs a receipt with the key of the node that gives it.
func SignExecution(e *receipt.Execution, node ed25519.PrivateKey) {
	e.Node = public(node)
	copy(e.Signature[:], ed25519.Sign(node, e.AppendMessage(nil)))
}

// SignPayment signs a payment with the payer's key. The payment of an effect has
// the nonce that [receipt.PaymentNonce] makes of its id.
func SignPayment(p *receipt.Payment, payer ed25519.PrivateKey) error {
	if err := p.Check(); err != nil {
		return err
	}
	p.Payer = public(payer)
	copy(p.Signature[:], ed25519.Sign(payer, p.AppendMessage(nil)))
	return nil
}

func public(key ed25519.PrivateKey) verifier.PublicKey {
	return verifier.PublicKey(key.Public().(ed25519.PublicKey))
}

// A period is what an execution receipt is for.
type period struct{ prev, checkpoint verifier.Hash }

// A File has the receipts of one agent. It is not safe for concurrent use.
type File struct {
	f       wal.File
	end     int64
	durable int64    // how much of it is
	recent  []period // of the newest execution receipts
	err     error
}

// Open opens the receipts of an agent, or begins them. A last receipt that is cut
// short, or ends in zeros, was never acknowledged, and is cut off; anything else that is no receipt
// is an error, and changes nothing.
func Open(folder wal.Folder) (_ *File, err error) {
	f, err := folder.Open(Name)
	if errors.Is(err, fs.ErrNotExist) {
		if f, err = folder.Create(Name); err == nil {
			if err = folder.Sync(); err != nil {
				f.Close()
			}
		}
	}
	if err != nil {
		return nil, fmt.Errorf("receipts: %w", err)
	}
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	file := &File{f: f}
	size, err := f.Size()
	if err != nil {
		return nil, fmt.Errorf("receipts: %w", err)
	}
	r := receipt.NewReader(io.NewSectionReader(f, 0, size))
	var newest receipt.Receipt
	var before File // the newest
	for {
		got, err := r.Next()
		if err != nil {
			// A file system may have made the file longer before it wrote the data: of one
			// receipt there may be a part, and then come zeros.
			if err != io.EOF && !errors.Is(err, receipt.ErrTruncated) && !zeros(f, min(r.Offset()+int64(receipt.MaxSize), size-1), size) {
				return nil, hint.Wrap(err, "restore the file %s from a copy, or move it away: the receipts before it are then no longer with the agent", Name)
			}
			break
		}
		newest, before = got, *file
		file.end = r.Offset()
		file.has(got)
	}
	if newest != nil && zeros(f, file.end-1, size) && !newest.Authentic() {
		*file = before
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
