// Package ans104 writes and reads the data items of ANS-104 that are signed with Ed25519:
// what is bundled into transactions of Arweave.
//
//	signature type 2 u16le, signature 64, owner 32, target flag, anchor flag,
//	tag count u64le, tag bytes u64le, tags (Avro), data
//
// What is signed is a deep hash, with SHA-384, of the list "dataitem", "1", the signature
// type in decimal, owner, target, anchor, the tags' bytes and the data. The published text
// of the standard leaves out the signature type and lists the tags one by one; all software
// does as it is here. The name of an item is the SHA-256 of its signature.
package ans104

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
)

// TypeEd25519 is the signature type of the items that this package knows.
const TypeEd25519 = 2

// Limits of an item's tags.
const (
	MaxTags  = 128
	MaxName  = 1024 // bytes
	MaxValue = 3072

	// MaxTagBytes is how many bytes all tags may have that are written here: some software
	// refuses more. Readers take what the other limits allow.
	MaxTagBytes = 4096
	maxRead     = MaxTags*(MaxName+MaxValue+4) + 4
)

const headerSize = 2 + ed25519.SignatureSize + ed25519.PublicKeySize

// A Tag is a name and a value that go with an item, for finding it. Anybody can give an
// item any tags.
type Tag struct{ Name, Value string }

// An Item is a data item.
type Item struct {
	Signature [ed25519.SignatureSize]byte
	Owner     [ed25519.PublicKeySize]byte
	Target    []byte // 32 bytes, nil = none
	Anchor    []byte // 32 bytes, nil = none
	Tags      []Tag
	Data      []byte

	rawTags []byte
}

// Sign makes an item. The same arguments give the same item, so the same name.
func Sign(key ed25519.PrivateKey, tags []Tag, data []byte) (*Item, error) {
	raw, err := appendTags(nil, tags)
	if err != nil {
		return nil, err
	}
	if len(raw) > MaxTagBytes {
		return nil, fmt.Errorf("the tags have %d bytes: want at most %d", len(raw), MaxTagBytes)
	}
	i := &Item{Tags: tags, Data: data, rawTags: raw}
	copy(i.Owner[:], key.Public().(ed25519.PublicKey))
	copy(i.Signature[:], ed25519.Sign(key, i.message()))
	return i, nil
}

// ID returns the item's name.
func (i *Item) ID() string { return ID(i.Signature[:]) }

// ID returns the name of what has a signature.
func ID(signature []byte) string {
	sum := sha256.Sum256(signature)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// Address returns what an owner is called in queries.
func Address(owner []byte) string {
	sum := sha256.Sum256(owner)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// ParseID refuses what is no name of an item.
func ParseID(id string) error {
	b, err := base64.RawURLEncoding.Strict().DecodeString(id)
	if err != nil || len(b) != sha256.Size || len(id) != 43 {
		return errors.New("it is no ID of Arweave: want 43 characters of base64url")
	}
	return nil
}

// Append appends the item's bytes.
func (i *Item) Append(dst []byte) []byte {
	dst = binary.LittleEndian.AppendUint16(dst, TypeEd25519)
	dst = append(dst, i.Signature[:]...)
	dst = append(dst, i.Owner[:]...)
	for _, b := range [][]byte{i.Target, i.Anchor} {
		if b == nil {
			dst = append(dst, 0)
			continue
		}
		dst = append(append(dst, 1), b...)
	}
	dst = binary.LittleEndian.AppendUint64(dst, uint64(len(i.Tags)))
	dst = binary.LittleEndian.AppendUint64(dst, uint64(len(i.rawTags)))
	dst = append(dst, i.rawTags...)
	return append(dst, i.Data...)
}

// Parse reads an item whose signature is its owner's. Data aliases b.
func Parse(b []byte) (*Item, error) {
	if len(b) < headerSize+2+16 {
		return nil, errors.New("not a data item: it is cut short")
	}
	if t := binary.LittleEndian.Uint16(b); t != TypeEd25519 {
		return nil, fmt.Errorf("a data item of signature type %d: want %d, Ed25519", t, TypeEd25519)
	}
	i := new(Item)
	rest := b[2:]
	rest = rest[copy(i.Signature[:], rest):]
	rest = rest[copy(i.Owner[:], rest):]
	for _, to := range []*[]byte{&i.Target, &i.Anchor} {
		if len(rest) == 0 {
			return nil, errors.New("not a data item: it is cut short")
		}
		switch flag := rest[0]; {
		case flag > 1:
			return nil, errors.New("not a data item: a flag is neither 0 nor 1")
		case flag == 1 && len(rest) < 33:
			return nil, errors.New("not a data item: it is cut short")
		case flag == 1:
			*to, rest = rest[1:33:33], rest[33:]
		default:
			rest = rest[1:]
		}
	}
	if len(rest) < 16 {
		return nil, errors.New("not a data item: it is cut short")
	}
	count, size := binary.LittleEndian.Uint64(rest), binary.LittleEndian.Uint64(rest[8:])
	rest = rest[16:]
	if count > MaxTags || size > maxRead || size > uint64(len(rest)) {
		return nil, errors.New("not a data item: it has too many tags, or is cut short in them")
	}
	i.rawTags, i.Data = rest[:size:size], rest[size:]
	var err error
	if i.Tags, err = parseTags(i.rawTags); err != nil {
		return nil, fmt.Errorf("not a data item: %w", err)
	}
	if uint64(len(i.Tags)) != count {
		return nil, errors.New("not a data item: it does not have as many tags as it says")
	}
	if !ed25519.Verify(i.Owner[:], i.message(), i.Signature[:]) {
		return nil, errors.New("the data item's signature is not its owner's")
	}
	return i, nil
}

// message returns what is signed.
func (i *Item) message() []byte {
	sum := deepHash([]byte("dataitem"), []byte("1"), []byte(strconv.Itoa(TypeEd25519)), i.Owner[:], i.Target, i.Anchor, i.rawTags, i.Data)
	return sum[:]
}

// deepHash is the deep hash of a list of blobs.
func deepHash(list ...[]byte) (sum [sha512.Size384]byte) {
	sum = sha512.Sum384([]byte("list" + strconv.Itoa(len(list))))
	for _, blob := range list {
		tag, content := sha512.Sum384([]byte("blob"+strconv.Itoa(len(blob)))), sha512.Sum384(blob)
		of := sha512.Sum384(append(tag[:], content[:]...))
		sum = sha512.Sum384(append(sum[:], of[:]...))
	}
	return sum
}

// appendTags appends tags as Avro has an array of records: blocks, each with a count, and
// a block of none at the end. Without tags there is nothing.
func appendTags(dst []byte, tags []Tag) ([]byte, error) {
	if len(tags) > MaxTags {
		return nil, fmt.Errorf("%d tags: want at most %d", len(tags), MaxTags)
	}
	if len(tags) == 0 {
		return dst, nil
	}
	dst = binary.AppendVarint(dst, int64(len(tags)))
	for _, t := range tags {
		if err := t.check(); err != nil {
			return nil, err
		}
		for _, s := range []string{t.Name, t.Value} {
			dst = append(binary.AppendVarint(dst, int64(len(s))), s...)
		}
	}
	return append(dst, 0), nil
}

func (t *Tag) check() error {
	if len(t.Name) == 0 || len(t.Name) > MaxName || len(t.Value) == 0 || len(t.Value) > MaxValue {
		return fmt.Errorf("a tag's name has 1 to %d bytes, and its value 1 to %d", MaxName, MaxValue)
	}
	return nil
}

// parseTags reads tags. Others write blocks of any number, with their size or without.
func parseTags(b []byte) (tags []Tag, err error) {
	if len(b) == 0 {
		return nil, nil
	}
	r := bytes.NewReader(b)
	bad := errors.New("its tags are no Avro array")
	long := func() int64 {
		n, readErr := binary.ReadVarint(r)
		if readErr != nil {
			err = bad
		}
		return n
	}
	text := func(limit int) string {
		n := long()
		if err != nil || n < 0 || n > int64(limit) || n > int64(r.Len()) {
			err = bad
			return ""
		}
		s := make([]byte, n)
		r.Read(s)
		return string(s)
	}
	for {
		count := long()
		if count < 0 { // its size follows
			if count = -count; long() < 0 {
				err = bad
			}
		}
		switch {
		case err != nil:
			return nil, err
		case count == 0 && r.Len() > 0:
			return nil, errors.New("its tags go on after their end")
		case count == 0:
			return tags, nil
		case count < 0 || count > int64(MaxTags-len(tags)):
			return nil, fmt.Errorf("it has over %d tags", MaxTags)
		}
		for range count {
			t := Tag{text(MaxName), text(MaxValue)}
			if err != nil {
				return nil, err
			}
			tags = append(tags, t)
		}
	}
}
