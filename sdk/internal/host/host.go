// Package host is what the SDK calls outside of WebAssembly: the hostcalls of
// docs/spec/abi.md, with the same results. Package sdktest replaces it.
package host

// A Host has the hostcalls. Buffers and results are those of the ABI.
type Host interface {
	ClockNow() int64
	RandBytes(b []byte) int32
	LogEmit(line string)
	WalletBalance() int64
	WalletReceiptCount() int32
	WalletReceipt(index int32, buf []byte) int32
	NodePrice() int64
	HTTPRequest(method, url, headers string, body, buf []byte) int32
	WalletPay(amount int64, recipient, memo string, buf []byte) int32
	KVGet(key string, buf []byte) int32
	KVPut(key string, value []byte) int32
	KVDelete(key string) int32
	NodeID(buf []byte) int32
	PeerCount() int32
	PeerOffer(index int32, buf []byte) int32
	Migrate(did string) int32
	MigrateStatus() int32
	DrainDeadline() int64
}

// Limits of the ABI, in bytes.
const (
	MaxRand      = 1 << 20
	MaxLog       = 4096
	MaxMethod    = 32
	MaxURL       = 8 << 10
	MaxHeaders   = 32 << 10
	MaxBody      = 1 << 20
	MaxResponse  = 1 << 20
	MaxRecipient = 256
	MaxMemo      = 1 << 10
	MaxReceipt   = 1452
	MaxKey       = 1 << 10
	MaxValue     = 1 << 20
	MaxStore     = 16 << 20
)

// Results of hostcalls that fail.
const (
	Failed       int32 = -1
	NotOnNode    int32 = -1 // node
	TooLong      int32 = -2
	NotAllowed   int32 = -3
	Timeout      int32 = -4 // http
	OverCap      int32 = -4 // x402
	NoRoom       int32 = -4 // wallet, kv, node
	TooLarge     int32 = -5 // http, x402
	NotFound     int32 = -5 // kv
	Processing   int32 = -6
	Unresolved   int32 = -7
	NotDelivered int32 = -8 // http
	NotSettled   int32 = -9 // http
)

// NoNode has the hostcalls of an agent that does not live on a node.
type NoNode struct{}

func (NoNode) NodeID([]byte) int32           { return NotOnNode }
func (NoNode) PeerCount() int32              { return NotOnNode }
func (NoNode) PeerOffer(int32, []byte) int32 { return NotOnNode }
func (NoNode) Migrate(string) int32          { return NotOnNode }
func (NoNode) MigrateStatus() int32          { return NotOnNode }
func (NoNode) DrainDeadline() int64          { return int64(NotOnNode) }
