package main

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"hash/crc32"
	"slices"

	"igor.dev/internal/testkit"
)

// What docs/spec/eventlog.md says of records.
const (
	clockNow  = 1
	randBytes = 2
	logEmit   = 3
	tickEnd   = 128
	account   = 129
	origin    = 130
)

var le = binary.LittleEndian

func frame(payload []byte) []byte {
	sum := func(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }
	length := le.AppendUint32(nil, uint32(len(payload)))
	b := le.AppendUint32(slices.Clone(length), sum(length))
	b = append(b, payload...)
	return le.AppendUint32(b, sum(payload))
}

func kind(k byte, tick uint64) []byte { return le.AppendUint64([]byte{k}, tick) }

// data is a payload in its record: more than 4,096 bytes are a file of their own.
func data(b []byte) []byte {
	out := le.AppendUint32(nil, uint32(len(b)))
	if len(b) > 4096 {
		h := sha256.Sum256(b)
		return append(out, h[:]...)
	}
	return append(out, b...)
}

func clock(tick uint64, now int64) []byte { return le.AppendUint64(kind(clockNow, tick), uint64(now)) }

func random(tick uint64, b []byte) []byte {
	r := le.AppendUint64(kind(randBytes, tick), 0)
	r = append(r, data(le.AppendUint32(nil, uint32(len(b))))...)
	return append(r, data(b)...)
}

func line(tick uint64, s string) []byte {
	return append(le.AppendUint64(kind(logEmit, tick), 0), data([]byte(s))...)
}

func end(tick uint64, result int64, cost int64) []byte {
	r := le.AppendUint64(kind(tickEnd, tick), uint64(result))
	r = le.AppendUint64(r, uint64(cost)*1_000_000) // ns, at 1000 microcents per second
	return le.AppendUint64(r, uint64(cost))
}

func birth(tick uint64, amount int64) []byte {
	r := append(kind(account, tick), 1)
	r = le.AppendUint64(r, uint64(amount))
	r = le.AppendUint64(r, price)
	return append(r, make([]byte, 32)...)
}

func comesFrom(tick uint64, agent *testkit.Agent, checkpoint []byte) []byte {
	h := testkit.Hash(checkpoint)
	return append(append(kind(origin, tick), agent.Key...), h[:]...)
}

// segment is a sealed segment, signed by the agent. prev is nil before the genesis.
func segment(signer *testkit.Agent, prev, next []byte, manifest []byte, records ...[]byte) []byte {
	var before [32]byte
	if prev != nil {
		before = testkit.Hash(prev)
	}
	man := sha256.Sum256(manifest)
	header := append([]byte{0}, "igor/events/v1\x00"...)
	header = append(header, before[:]...)
	header = append(header, next[testkit.OffWASMHash:testkit.OffMajorVersion]...)
	header = append(header, man[:]...)
	b := frame(header)
	for _, r := range records {
		b = append(b, frame(r)...)
	}
	root, after := sha256.Sum256(b), testkit.Hash(next)
	message := slices.Concat([]byte("igor/event-segment/v1\x00"), before[:], after[:], root[:])
	footer := slices.Concat([]byte{255}, root[:], after[:], ed25519.Sign(signer.Private, message))
	return append(b, frame(footer)...)
}
