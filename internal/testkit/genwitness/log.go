package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"igor.dev/internal/testkit"
)

// A signer is a log, a witness or a monitor.
type signer struct {
	name string
	kind byte // 1 signs, 4 cosigns
	key  ed25519.PrivateKey
}

func newSigner(name string, kind byte) signer {
	seed := sha256.Sum256([]byte("igor/testkit/signer/" + name))
	return signer{name, kind, ed25519.NewKeyFromSeed(seed[:])}
}

func (s signer) material() []byte {
	return append([]byte{s.kind}, s.key.Public().(ed25519.PublicKey)...)
}

func (s signer) id() []byte {
	sum := sha256.Sum256(append([]byte(s.name+"\n"), s.material()...))
	return sum[:4:4]
}

func (s signer) vkey() string {
	return fmt.Sprintf("%s+%x+%s", s.name, s.id(), base64.StdEncoding.EncodeToString(s.material()))
}

func (s signer) line(text string, time uint64) string {
	sig := s.id()
	if s.kind == 4 {
		sig = binary.BigEndian.AppendUint64(sig, time)
		text = fmt.Sprintf("cosignature/v1\ntime %d\n%s", time, text)
	}
	sig = append(sig, ed25519.Sign(s.key, []byte(text))...)
	return "\u2014 " + s.name + " " + base64.StdEncoding.EncodeToString(sig) + "\n"
}

// merkle returns the root of some leaves, and the hashes that prove one of them (RFC 6962,
// section 2.1, by its definitions).
func merkle(leaves [][]byte, m int) (root [32]byte, proof [][32]byte) {
	if len(leaves) == 1 {
		return sha256.Sum256(append([]byte{0}, leaves[0]...)), nil
	}
	k := 1
	for 2*k < len(leaves) {
		k *= 2
	}
	left, inLeft := merkle(leaves[:k], min(m, k-1))
	right, inRight := merkle(leaves[k:], max(0, m-k))
	root = sha256.Sum256(slices.Concat([]byte{1}, left[:], right[:]))
	if m < k {
		return root, append(inLeft, right)
	}
	return root, append(inRight, left)
}

var (
	heads   = newSigner("log.example/heads", 1)
	w1      = newSigner("w1.example", 4)
	w2      = newSigner("w2.example", 4)
	w3      = newSigner("w3.example", 4)
	watcher = newSigner("monitor.example", 1)
)

var policy = strings.Join([]string{
	"log " + heads.vkey() + " https://log.example/heads",
	"witness W1 " + w1.vkey(),
	"witness W2 " + w2.vkey(),
	"witness W3 " + w3.vkey(),
	"group two 2 W1 W2 W3",
	"quorum two",
	"",
}, "\n")

const at = 1_800_000_000 // 2027-01-15T08:00:00Z

// cosigned are the witnesses of a proof, and when they cosigned.
type cosigned map[*signer]uint64

var twoOfThree = cosigned{&w1: at + 1, &w3: at + 3}

// checkpointOf is the log's checkpoint, signed and cosigned.
func checkpointOf(log signer, leaves [][]byte, by cosigned) string {
	root, _ := merkle(leaves, 0)
	text := fmt.Sprintf("%s\n%d\n%s\n", log.name, len(leaves), base64.StdEncoding.EncodeToString(root[:]))
	s := text + "\n" + log.line(text, 0)
	for _, w := range []*signer{&w1, &w2, &w3} {
		if time, ok := by[w]; ok {
			s += w.line(text, time)
		}
	}
	return s
}

// proofOf proves one of the leaves.
func proofOf(log signer, leaves [][]byte, index int, extra bool, by cosigned) string {
	_, hashes := merkle(leaves, index)
	s := "c2sp.org/tlog-proof@v1\n"
	if extra {
		s += "extra " + base64.StdEncoding.EncodeToString(leaves[index]) + "\n"
	}
	s += fmt.Sprintf("index %d\n", index)
	for _, h := range hashes {
		s += base64.StdEncoding.EncodeToString(h[:]) + "\n"
	}
	return s + "\n" + checkpointOf(log, leaves, by)
}

// head is a head statement.
func head(by *testkit.Agent, epoch, tick uint64, checkpoint [32]byte) []byte {
	b := append([]byte("igor/head/v1\x00"), by.Key...)
	b = binary.LittleEndian.AppendUint64(b, epoch)
	b = binary.LittleEndian.AppendUint64(b, tick)
	b = append(b, checkpoint[:]...)
	return append(b, ed25519.Sign(by.Private, b)...)
}

// headOf is a statement of a checkpoint.
func headOf(by *testkit.Agent, checkpoint []byte) []byte {
	return head(by, 0, testkit.Tick(checkpoint), testkit.Hash(checkpoint))
}

// forkProof lays one out.
func forkProof(kind byte, heads []logged, checkpoints ...[]byte) []byte {
	b := append([]byte("igor/fork-proof/v1\x00"), kind)
	for _, h := range heads {
		b = append(b, h.head...)
		b = binary.LittleEndian.AppendUint32(b, uint32(len(h.proof)))
		b = append(b, h.proof...)
	}
	for _, c := range checkpoints {
		b = binary.LittleEndian.AppendUint32(b, uint32(len(c)))
		b = append(b, c...)
	}
	return b
}

type logged struct {
	head  []byte
	proof string
}

// sorted are statements in the order that a proof has them.
func sorted(a, b logged) []logged {
	if bytes.Compare(a.head, b.head) > 0 {
		return []logged{b, a}
	}
	return []logged{a, b}
}

func word(by signer, log string, agent *testkit.Agent, leaves [][]byte, heads, index int, latest []byte, forks int) string {
	root, _ := merkle(leaves, 0)
	text := fmt.Sprintf("igor/monitor/v1\n%s\n%s\n%d %s\ntime %d\nheads %d\nlatest %d %d %s\nforks %d\n", log, agent.DID(), len(leaves), base64.StdEncoding.EncodeToString(root[:]),
		at+10, heads, index, testkit.Tick(latest), testkit.CID(latest), forks)
	return text + "\n" + by.line(text, 0)
}

func commitment(by, to *testkit.Agent) []byte {
	hash := sha256.Sum256(to.Key)
	b := slices.Concat([]byte("igor/commitment/v1\x00"), by.Key, hash[:])
	return append(b, ed25519.Sign(by.Private, b)...)
}

func succession(old, next *testkit.Agent, last, genesis []byte) []byte {
	lastHash, genesisHash := testkit.Hash(last), testkit.Hash(genesis)
	b := slices.Concat([]byte("igor/succession/v1\x00"), old.Key, next.Key, lastHash[:])
	b = binary.LittleEndian.AppendUint64(b, testkit.Tick(last))
	b = append(b, genesisHash[:]...)
	return slices.Concat(b, ed25519.Sign(old.Private, b), ed25519.Sign(next.Private, b))
}
