// Package signature decides which Ed25519 signatures are accepted.
// See docs/spec/checkpoint.md, "Accepting a signature".
package signature

import (
	"igor.dev/verifier/internal/onekey"
	"igor.dev/verifier/internal/rfc8032"
)

// A Decision is what the acceptance rule says of one signature.
type Decision byte

const (
	Bad     Decision = iota // refused
	WeakKey                 // not looked at
	Accepted
)

// A Check is a signature to be decided on, of a message that is given in two parts.
type Check struct {
	Key           *[32]byte
	Signature     *[64]byte
	Message, Rest []byte
}

// A Checker decides on signatures, faster when many are by the same key, one after
// the other. The zero value is ready. It is not safe for concurrent use.
type Checker struct {
	key    [32]byte // of the last signature
	run    int      // how many had it, one after the other
	onekey *onekey.Verifier
	each   rfc8032.Verifier

	asked    int  // how many refusals of onekey rfc8032 was asked about
	passed   int  // how many since then it was not
	distrust bool // onekey refused what rfc8032 accepts: it is asked no more

	pending []int           // what onekey is still to be asked about
	signed  []onekey.Signed // the same
	valid   [onekey.Together]bool
	alone   []int // what onekey alone refused during this call

	// Lie changes what onekey says, for a test of what happens if it is wrong.
	Lie func(valid []bool)
}

const (
	// prepareAfter is the length of a run of one key after which the key is
	// prepared. That costs less than so many verifications, so that a history in which
	// every checkpoint has another key takes no longer than without.
	prepareAfter = 16

	// Of what onekey refuses, rfc8032 is asked about the first secondOpinions, and then
	// about one in laterOpinions.
	secondOpinions = 64
	laterOpinions  = 256
)

// Check sets decisions[i] to what the rule says of checks[i]. Package onekey may accept a
// signature. What it refuses is asked of package rfc8032 again, which costs several times
// as much, until they agreed about so many that a history is bad whatever the others are;
// then now and again. The first refusal is always confirmed, so that no good history is
// called bad by onekey: see RATIONALE.md, "Why our own Ed25519 arithmetic?".
func (c *Checker) Check(decisions []Decision, checks []Check) {
	for i := range checks {
		s := &checks[i]
		if Weak(s.Key) {
			decisions[i] = WeakKey
			continue
		}
		if *s.Key != c.key {
			c.ask(decisions, checks)
			c.key, c.run, c.onekey = *s.Key, 0, nil
		}
		if c.run++; c.run == prepareAfter && !c.distrust {
			c.onekey = onekey.New(c.key)
		}
		if c.onekey == nil {
			decisions[i] = c.decide(s)
			continue
		}
		c.pending = append(c.pending, i)
		c.signed = append(c.signed, onekey.Signed{Signature: s.Signature, Message: s.Message, Rest: s.Rest})
		if len(c.pending) == onekey.Together {
			c.ask(decisions, checks)
		}
	}
	c.ask(decisions, checks)
	c.alone = c.alone[:0]
}

// ask decides on what is pending.
func (c *Checker) ask(decisions []Decision, checks []Check) {
	if len(c.pending) == 0 {
		return
	}
	valid := c.valid[:len(c.pending)]
	c.onekey.Verify(valid, c.signed)
	if c.Lie != nil {
		c.Lie(valid)
	}
	for at, i := range c.pending {
		if valid[at] {
			decisions[i] = Accepted
			continue
		}
		if !c.distrust && c.asked >= secondOpinions && c.passed < laterOpinions-1 {
			c.passed++
			decisions[i] = Bad
			c.alone = append(c.alone, i)
			continue
		}
		c.asked++
		c.passed = 0
		if decisions[i] = c.decide(&checks[i]); decisions[i] == Accepted && !c.distrust {
			c.distrust = true
			for _, i := range c.alone {
				decisions[i] = c.decide(&checks[i])
			}
		}
	}
	clear(c.signed) // it holds on to messages
	c.pending, c.signed = c.pending[:0], c.signed[:0]
	if c.distrust {
		c.onekey = nil
	}
}

// Reset has the next refusal confirmed, as that of another history.
func (c *Checker) Reset() { c.passed = laterOpinions }

// decide asks package rfc8032.
func (c *Checker) decide(s *Check) Decision {
	if c.each.Verify(s.Key, s.Signature, s.Message, s.Rest) {
		return Accepted
	}
	return Bad
}

// Weak reports whether a key is no canonical encoding, or that of a point of small
// order: keys under which anybody can make signatures. It does not tell whether
// the key is on the curve at all; no signature verifies if it is not.
func Weak(key *[32]byte) bool {
	y := *key
	y[31] &= 0x7f
	// y >= p = 2^255 - 19, whose encoding is ed ff … ff 7f.
	if y[0] >= 0xed && y[31] == 0x7f {
		canonical := false
		for _, c := range y[1:31] {
			canonical = canonical || c != 0xff
		}
		if !canonical {
			return true
		}
	}
	for i := range smallOrderY {
		if y == smallOrderY[i] {
			return true
		}
	}
	return false
}

// smallOrderY has the y coordinates of the eight points whose order divides 8:
// 0 (order 4), 1 (order 1), -1 (order 2), and the two of order 8.
var smallOrderY = [5][32]byte{
	{},
	{1},
	{0xec, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
		0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f},
	{0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0,
		0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05},
	{0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f,
		0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a},
}
