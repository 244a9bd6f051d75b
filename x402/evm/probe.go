package evm

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// A Fate is what became of an authorization.
type Fate uint8

// The fates. Only Paid, Cancelled and Never are final, once they are confirmed.
const (
	Unknown   Fate = iota // nobody knows, or those who say so are too few, or disagree
	Open                  // neither used nor cancelled, and it can still be used
	Paid                  // used, and the same transaction moved just that
	Cancelled             // cancelled, so that nothing was moved and nothing will be
	Never                 // not used, and no block can use it any more
	Conflict              // used, and what it moved is something else
)

func (f Fate) String() string {
	return [...]string{"unknown", "open", "paid", "cancelled", "never paid", "conflict"}[f]
}

// A Finding is a fate, and the transaction of it, where there is one.
type Finding struct {
	Fate        Fate
	Transaction Hash
	Block       uint64
	BlockHash   Hash
	// Confirmed is false for what a reorganisation could still take back, as far
	// as the one who asked wants to wait.
	Confirmed bool
	// Nodes is how many of those asked say so.
	Nodes int
}

// A Query is about one authorization.
type Query struct {
	Domain        Domain // of the token; its Name and Version are not needed
	Authorization Authorization
	Since         uint64 // the newest block when it was signed: nothing of it is in an older one
	Confirmations uint64 // blocks up to the newest that make it final; 0 = the chain's own finality
}

// on fails if the node is not one of a chain.
func (n *Node) on(ctx context.Context, chain uint64) error {
	have, err := n.Chain(ctx)
	if err == nil && have != chain {
		err = n.errorf("it is a node of chain %d, not of %d", have, chain)
	}
	return err
}

// Ask asks one node.
func (n *Node) Ask(ctx context.Context, q *Query) (Finding, error) {
	none := Finding{}
	if err := n.on(ctx, q.Domain.Chain); err != nil {
		return none, err
	}
	latest, err := n.Block(ctx, Latest)
	if err != nil {
		return none, err
	}
	final, err := n.Block(ctx, Finalized)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return none, err
	}
	if latest.Number < q.Since {
		return none, n.errorf("its newest block is %d, and this is about what came after %d", latest.Number, q.Since)
	}
	a, token := &q.Authorization, q.Domain.Contract
	used, err := n.Used(ctx, token, a.From, a.Nonce, Latest)
	if err != nil {
		return none, err
	}
	confirmed := func(block uint64) bool {
		if q.Confirmations == 0 {
			return final.Hash != Hash{} && block <= final.Number
		}
		return block <= latest.Number && latest.Number-block >= q.Confirmations-1
	}
	if !used {
		if final.Hash == (Hash{}) || final.Time < a.ValidBefore {
			return Finding{Fate: Open}, nil
		}
		// Whoever had used it in a block that is final would have to have done so
		// before its time ran out, which is before the newest final one.
		if used, err = n.Used(ctx, token, a.From, a.Nonce, hexNumber(final.Number)); err != nil {
			return none, err
		} else if used {
			return none, n.errorf("it says that a nonce is used in a final block, and not in the newest")
		}
		return Finding{Fate: Never, Confirmed: true}, nil
	}
	logs, err := n.Logs(ctx, token, q.Since, latest.Number, usedTopic, a.From.word(), a.Nonce)
	if err != nil {
		return none, err
	}
	if len(logs) > 0 {
		l := logs[0]
		r, err := n.Receipt(ctx, l.Transaction)
		if err != nil {
			return none, err
		}
		f := Finding{Fate: Conflict, Transaction: r.Transaction, Block: r.Block, BlockHash: r.BlockHash, Confirmed: confirmed(r.Block)}
		if !r.Success || r.Block != l.Block || r.BlockHash != l.BlockHash || !r.has(token, usedTopic, a.From.word(), a.Nonce) {
			return none, n.errorf("its log and its receipt of transaction %s disagree", l.Transaction)
		}
		if r.moved(token, a) {
			f.Fate = Paid
		}
		return f, nil
	}
	logs, err = n.Logs(ctx, token, q.Since, latest.Number, cancelledTopic, a.From.word(), a.Nonce)
	if err != nil {
		return none, err
	}
	if len(logs) > 0 {
		l := logs[0]
		return Finding{Fate: Cancelled, Transaction: l.Transaction, Block: l.Block, BlockHash: l.BlockHash, Confirmed: confirmed(l.Block)}, nil
	}
	return none, n.errorf("it says that the nonce was used, and has no log of it since block %d", q.Since)
}

var (
	usedTopic      = Keccak256([]byte("AuthorizationUsed(address,bytes32)"))
	cancelledTopic = Keccak256([]byte("AuthorizationCanceled(address,bytes32)"))
	transferTopic  = Keccak256([]byte("Transfer(address,address,uint256)"))
)

func (r *Receipt) has(contract Address, topics ...Hash) bool {
	return slices.ContainsFunc(r.Logs, func(l Log) bool {
		return l.Contract == contract && slices.Equal(l.Topics, topics)
	})
}

// moved reports whether the transaction moved what the authorization lets be moved.
func (r *Receipt) moved(token Address, a *Authorization) bool {
	value := uint256(a.Value)
	return slices.ContainsFunc(r.Logs, func(l Log) bool {
		return l.Contract == token && slices.Equal(l.Topics, []Hash{transferTopic, a.From.word(), a.To.word()}) && slices.Equal(l.Data, value[:])
	})
}

// Nodes are several nodes of one chain. They say something together if Quorum of
// them, of different operators, say the same: fewer that lie or lag change nothing.
type Nodes struct {
	All    []*Node
	Quorum int
}

// Check reports what is wrong with the number of nodes that have to agree.
func (n *Nodes) Check() error {
	switch {
	case len(n.All) == 0:
		return errors.New("no node of the chain is named")
	case n.Quorum < 1 || n.Quorum > len(n.All):
		return fmt.Errorf("%d of %d nodes cannot agree", n.Quorum, len(n.All))
	case 2*n.Quorum <= len(n.All):
		return fmt.Errorf("%d of %d nodes could agree on one thing, and as many on another: more than half have to", n.Quorum, len(n.All))
	}
	return nil
}

// wait is how long all nodes together have.
const wait = 30 * time.Second

// atOnce asks all nodes one thing, for as long as they have together.
func atOnce[T any](ctx context.Context, nodes []*Node, ask func(context.Context, *Node) (T, error)) ([]T, []error) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	said, errs := make([]T, len(nodes)), make([]error, len(nodes))
	var all sync.WaitGroup
	for i, node := range nodes {
		all.Go(func() { said[i], errs[i] = ask(ctx, node) })
	}
	all.Wait()
	return said, errs
}

// Ask asks all nodes at once. What they say counts where Quorum of them say just
// the same: the fate, and the transaction and block of it. A finding is confirmed
// if as many say so. The errors are those of single nodes.
func (n *Nodes) Ask(ctx context.Context, q *Query) (Finding, []error) {
	if err := n.Check(); err != nil {
		return Finding{}, []error{err}
	}
	said, errs := atOnce(ctx, n.All, func(ctx context.Context, node *Node) (Finding, error) { return node.Ask(ctx, q) })
	votes := map[Finding]int{} // by what is the same: without Confirmed
	sure := map[Finding]int{}
	for i, f := range said {
		if errs[i] != nil {
			continue
		}
		confirmed := f.Confirmed
		f.Confirmed = false
		if votes[f]++; confirmed {
			sure[f]++
		}
	}
	for f, count := range votes {
		if count >= n.Quorum {
			f.Nodes, f.Confirmed = count, sure[f] >= n.Quorum
			return f, dropNil(errs)
		}
	}
	return Finding{}, dropNil(errs)
}

// Newest returns a number and a time that as many nodes as have to agree have come to,
// each by itself, so that fewer of them can put neither in the future. They need not be of
// one block: the hash is not given.
func (n *Nodes) Newest(ctx context.Context, chain uint64) (Block, error) {
	if err := n.Check(); err != nil {
		return Block{}, err
	}
	said, errs := atOnce(ctx, n.All, func(ctx context.Context, node *Node) (Block, error) {
		if err := node.on(ctx, chain); err != nil {
			return Block{}, err
		}
		return node.Block(ctx, Latest)
	})
	var good []Block
	for i, b := range said {
		if errs[i] == nil {
			good = append(good, b)
		}
	}
	if len(good) < n.Quorum {
		return Block{}, fmt.Errorf("%d of %d nodes answered, and %d have to: %w", len(good), len(n.All), n.Quorum, errors.Join(errs...))
	}
	// With Quorum of them at least this far, one that tells the truth is.
	slices.SortFunc(good, func(a, b Block) int { return cmp.Compare(b.Number, a.Number) })
	newest := Block{Number: good[n.Quorum-1].Number}
	slices.SortFunc(good, func(a, b Block) int { return cmp.Compare(b.Time, a.Time) })
	newest.Time = good[n.Quorum-1].Time
	return newest, nil
}

// Knows fails if not as many nodes as have to agree say that the domain is its token's own:
// what is signed for another one nobody could use.
func (n *Nodes) Knows(ctx context.Context, d *Domain) error {
	if err := n.Check(); err != nil {
		return err
	}
	said, errs := atOnce(ctx, n.All, func(ctx context.Context, node *Node) (Hash, error) {
		if err := node.on(ctx, d.Chain); err != nil {
			return Hash{}, err
		}
		return node.Separator(ctx, d.Contract)
	})
	same := 0
	for i, got := range said {
		switch {
		case errs[i] != nil:
		case got == d.Separator():
			same++
		default:
			errs[i] = n.All[i].errorf("the token %s is not %.60q, version %.20q", d.Contract, d.Name, d.Version)
		}
	}
	if same < n.Quorum {
		return fmt.Errorf("%d of %d nodes know the token, and %d have to: %w", same, len(n.All), n.Quorum, errors.Join(errs...))
	}
	return nil
}

func dropNil(errs []error) []error {
	return slices.DeleteFunc(errs, func(err error) bool { return err == nil })
}
