// Package kv is the key-value store of an agent. It is agent state, not an
// effect: it lives in memory, and in the checkpoint.
//
// The state in the checkpoints of an agent whose manifest declares the
// capability kv is an envelope, little-endian:
//
//	"igor/kv-state/v1\0"
//	count u32, then for each entry: key length u32, key, value length u32, value
//	the agent's own state
//
// Entries are sorted by key, byte by byte, and no key stands twice, so that the
// same content is the same bytes. Without kv, the state is the agent's own.
package kv

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"
)

// Limits, in bytes.
const (
	MaxKey   = 1 << 10
	MaxValue = 1 << 20

	// MaxTotal is how much a store holds, if its manifest does not say less:
	// each entry counts as its key, its value and Overhead.
	MaxTotal = 16 << 20
	Overhead = 8

	tag = "igor/kv-state/v1\x00"

	// MaxEnvelope is how much longer an envelope is than the agent's own state.
	MaxEnvelope = len(tag) + 4 + MaxTotal
)

// What can be wrong with an entry.
var (
	ErrTooLong = errors.New("a key or a value is too long")
	ErrFull    = errors.New("the store is full")
)

type entry struct {
	key   string
	value []byte
}

// A Map is an agent's store. It is not safe for concurrent use.
type Map struct {
	entries []entry // sorted by key
	limit   int
	size    int
}

// New returns an empty store that holds at most limit bytes.
func New(limit int) *Map { return &Map{limit: min(limit, MaxTotal)} }

func (m *Map) find(key []byte) (int, bool) {
	return sort.Find(len(m.entries), func(i int) int { return strings.Compare(string(key), m.entries[i].key) })
}

// Len returns the number of entries, and Size what they count for.
func (m *Map) Len() int  { return len(m.entries) }
func (m *Map) Size() int { return m.size }

// Get returns the value of key, which must not be changed.
func (m *Map) Get(key []byte) ([]byte, bool) {
	i, ok := m.find(key)
	if !ok {
		return nil, false
	}
	return m.entries[i].value, true
}

// Put sets the value of key. It keeps copies. An error changes nothing.
func (m *Map) Put(key, value []byte) error {
	if len(key) > MaxKey || len(value) > MaxValue {
		return ErrTooLong
	}
	i, ok := m.find(key)
	size := m.size + len(value)
	if ok {
		size -= len(m.entries[i].value)
	} else {
		size += len(key) + Overhead
	}
	if size > m.limit {
		return ErrFull
	}
	if !ok {
		m.entries = slices.Insert(m.entries, i, entry{key: string(key)})
	}
	m.entries[i].value = slices.Clone(value)
	m.size = size
	return nil
}

// Delete removes key and reports whether it was there.
func (m *Map) Delete(key []byte) bool {
	i, ok := m.find(key)
	if ok {
		m.size -= len(m.entries[i].key) + len(m.entries[i].value) + Overhead
		m.entries = slices.Delete(m.entries, i, i+1)
	}
	return ok
}

// Append appends the envelope of the store and the agent's own state.
func (m *Map) Append(dst, own []byte) []byte {
	dst = slices.Grow(dst, len(tag)+4+m.size+len(own))
	dst = append(dst, tag...)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(m.entries)))
	for _, e := range m.entries {
		dst = binary.LittleEndian.AppendUint32(dst, uint32(len(e.key)))
		dst = append(dst, e.key...)
		dst = binary.LittleEndian.AppendUint32(dst, uint32(len(e.value)))
		dst = append(dst, e.value...)
	}
	return append(dst, own...)
}

// Parse reads an envelope into a store that holds at most limit bytes. own is
// part of b.
func Parse(b []byte, limit int) (m *Map, own []byte, err error) {
	section, ok := bytes.CutPrefix(b, []byte(tag))
	if !ok {
		return nil, nil, errors.New("kv: the state does not begin with a key-value store, and the manifest declares one")
	}
	m = New(limit)
	d := decoder{b: section}
	count := d.uint32()
	for i := range count {
		key := d.bytes(MaxKey)
		value := d.bytes(MaxValue)
		if d.err != nil {
			break
		}
		if i > 0 && m.entries[i-1].key >= string(key) {
			return nil, nil, fmt.Errorf("kv: entry %d is not sorted behind the one before it", i)
		}
		if m.size += len(key) + len(value) + Overhead; m.size > m.limit {
			return nil, nil, fmt.Errorf("kv: the store has more than the %d bytes that the manifest allows", m.limit)
		}
		m.entries = append(m.entries, entry{string(key), slices.Clone(value)})
	}
	if d.err != nil {
		return nil, nil, fmt.Errorf("kv: %w", d.err)
	}
	return m, d.b, nil
}

type decoder struct {
	b   []byte
	err error
}

func (d *decoder) uint32() uint32 {
	if len(d.b) < 4 {
		d.fail(errors.New("the store is cut short"))
		return 0
	}
	v := binary.LittleEndian.Uint32(d.b)
	d.b = d.b[4:]
	return v
}

func (d *decoder) bytes(limit uint32) []byte {
	size := d.uint32()
	switch {
	case d.err != nil:
		return nil
	case size > limit:
		d.fail(fmt.Errorf("a key or a value of %d bytes, and at most %d are allowed", size, limit))
		return nil
	case uint64(size) > uint64(len(d.b)):
		d.fail(errors.New("the store is cut short"))
		return nil
	}
	out := d.b[:size]
	d.b = d.b[size:]
	return out
}

func (d *decoder) fail(err error) {
	if d.err == nil {
		d.err = err
	}
	d.b = nil
}
