package hostcall

import (
	"context"

	"igor.dev/verifier/receipt"
)

var walletBalance = function{
	capability: "wallet",
	name:       "wallet_balance",
	results:    types(i64),
	do: func(c *call) {
		c.moved = 8
		c.stack[0] = uint64(c.Host.WalletBalance())
	},
}

var walletReceiptCount = function{
	capability: "wallet",
	name:       "wallet_receipt_count",
	results:    types(i32),
	do: func(c *call) {
		c.moved = 4
		c.return32(c.Host.ReceiptCount())
	},
}

var walletReceipt = function{
	capability: "wallet",
	name:       "wallet_receipt",
	params:     types(i32, i32, i32),
	results:    types(i32),
	price:      price{{2, uint32(receipt.MaxSize), perRoom}},
	do: func(c *call) {
		room, ok := c.room(1)
		if !ok {
			c.return32(CodeFailed)
			return
		}
		written, code := c.Host.Receipt(c.i32(0), room)
		c.output(1, written, code)
	},
}

var nodePrice = function{
	capability: "pricing",
	name:       "node_price",
	results:    types(i64),
	do: func(c *call) {
		c.moved = 8
		c.stack[0] = uint64(c.Host.NodePrice())
	},
}

// Limits of a payment, in bytes.
const (
	MaxRecipient = receipt.MaxRecipient
	MaxMemo      = receipt.MaxMemo
)

// A Payment is what an agent asks for with wallet_pay. It is within what the
// manifest allows; whether the budget is enough is for the Host to say.
type Payment struct {
	Amount    int64 // microcents, > 0
	Recipient string
	Memo      string
	Room      uint32 // of the agent's buffer

	// Authorisation is the signed payment receipt, which the Host that keeps the
	// journal makes before it lets the payment leave: see docs/spec/receipts.md.
	Authorisation []byte
}

// A Payer settles payments. It returns the receipt that the agent gets, or the
// code of what went wrong: CodeUnresolved if the payment may have been made, and
// any other only if it certainly was not.
type Payer interface {
	Pay(ctx context.Context, p *Payment) (receipt []byte, code int32)
}

var walletPay = function{
	capability: "x402",
	name:       "wallet_pay",
	params:     types(i64, i32, i32, i32, i32, i32, i32),
	results:    types(i32),
	price:      price{{2, MaxRecipient, perByte}, {4, MaxMemo, perByte}, {6, uint32(4 + receipt.MaxSize), perRoom}},
	do: func(c *call) {
		room, ok := c.room(5)
		recipient, bad := c.input(1, MaxRecipient)
		memo, badMemo := c.input(3, MaxMemo)
		amount := int64(c.stack[0])
		switch {
		case bad != 0:
			c.return32(bad)
		case badMemo != 0:
			c.return32(badMemo)
		case !ok:
			c.return32(CodeFailed)
		case amount <= 0:
			c.return32(CodeProcessing)
		case c.phase != Tick:
			c.return32(CodeNotAllowed)
		case !c.Manifest.X402.Allows(string(recipient)):
			c.return32(CodeNotAllowed)
		case amount > c.Manifest.X402.MaxPayment:
			c.return32(CodeOverCap)
		default:
			written, code := c.Host.Pay(c.ctx, &Payment{Amount: amount, Recipient: string(recipient), Memo: string(memo), Room: room})
			c.output(5, written, code)
		}
	},
}
