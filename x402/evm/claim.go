package evm

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// A Claim is what somebody says that a transaction moved, by an authorization.
type Claim struct {
	Chain       uint64
	Token       Address
	From, To    Address
	Value       uint64
	Nonce       Hash
	Transaction Hash
	Block       uint64
	BlockHash   Hash // zero = not said, nor the block
}

// A Standing is how a claim stands against a chain.
type Standing uint8

// The standings.
const (
	Unsaid    Standing = iota // too few nodes answer, or they disagree
	Holds                     // the transaction moved just that
	NotFound                  // there is no such transaction, or it is not final enough yet
	Different                 // there is, and it did something else
)

func (s Standing) String() string {
	return [...]string{"not known", "confirmed", "not found", "differs"}[s]
}

// A Holding is what nodes say of a claim.
type Holding struct {
	Standing Standing
	Agreed   int    // how many nodes say so
	Asked    int    // of how many
	Why      string // of the first of them, where it is not that it holds; or which block it is in by now
}

// Holds asks one node about a claim.
func (n *Node) Holds(ctx context.Context, c *Claim, confirmations uint64) (Standing, string, error) {
	if err := n.on(ctx, c.Chain); err != nil {
		return Unsaid, "", err
	}
	latest, err := n.Block(ctx, Latest)
	if err != nil {
		return Unsaid, "", err
	}
	r, err := n.Receipt(ctx, c.Transaction)
	if errors.Is(err, ErrNotFound) {
		used, err := n.Used(ctx, c.Token, c.From, c.Nonce, Latest)
		switch {
		case err != nil:
			return NotFound, "it has no such transaction", nil
		case used:
			return NotFound, "it has no such transaction; the nonce was used in another one", nil
		}
		return NotFound, "it has no such transaction, and the nonce was not used", nil
	}
	if err != nil {
		return Unsaid, "", err
	}
	a := Authorization{From: c.From, To: c.To, Value: c.Value}
	switch {
	case !r.Success:
		return Different, "the transaction failed", nil
	case !r.has(c.Token, usedTopic, c.From.word(), c.Nonce):
		return Different, fmt.Sprintf("the transaction does not use this nonce of %s at token %s", c.From, c.Token), nil
	case !r.moved(c.Token, &a):
		return Different, fmt.Sprintf("the transaction does not move %d from %s to %s", c.Value, c.From, c.To), nil
	}
	depth := uint64(0)
	if latest.Number >= r.Block {
		depth = latest.Number - r.Block + 1
	}
	if confirmations == 0 {
		final, err := n.Block(ctx, Finalized)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return Unsaid, "", err
		}
		if final.Hash == (Hash{}) || r.Block > final.Number {
			return NotFound, fmt.Sprintf("it is in block %d, which is not final yet", r.Block), nil
		}
	} else if depth < confirmations {
		return NotFound, fmt.Sprintf("it is in block %d, which has %d confirmations of %d", r.Block, depth, confirmations), nil
	}
	if c.BlockHash != (Hash{}) && (r.Block != c.Block || r.BlockHash != c.BlockHash) {
		return Holds, fmt.Sprintf("in block %d by now", r.Block), nil
	}
	return Holds, "", nil
}

// Holds asks all nodes at once. What Quorum of them say counts.
func (n *Nodes) Holds(ctx context.Context, c *Claim, confirmations uint64) Holding {
	h := Holding{Asked: len(n.All)}
	if err := n.Check(); err != nil {
		h.Why = err.Error()
		return h
	}
	type said struct {
		standing Standing
		why      string
	}
	all, errs := atOnce(ctx, n.All, func(ctx context.Context, node *Node) (said, error) {
		s, why, err := node.Holds(ctx, c, confirmations)
		return said{s, why}, err
	})
	count := map[Standing]int{}
	first := map[Standing]string{}
	var failed []string
	for i, s := range all {
		if errs[i] != nil {
			failed = append(failed, errs[i].Error())
			continue
		}
		if count[s.standing]++; count[s.standing] == 1 {
			first[s.standing] = s.why
		}
	}
	for s, agreed := range count {
		if agreed >= n.Quorum {
			h.Standing, h.Agreed, h.Why = s, agreed, first[s]
			return h
		}
	}
	var parts []string
	for _, s := range []Standing{Holds, NotFound, Different} {
		if count[s] > 0 {
			parts = append(parts, fmt.Sprintf("%d of %d say: %s", count[s], len(n.All), s))
		}
	}
	h.Why = strings.Join(append(parts, failed...), "; ")
	return h
}
