//go:build !wasip1

package sdk

import (
	"crypto/rand"
	"os"
	"time"

	"igor.dev/sdk/internal/host"
)

// The machine is the host where there is no other: its clock, randomness and
// standard error. Package sdktest has the rest.
type machine struct{ host.NoNode }

func (machine) ClockNow() int64 { return time.Now().UnixNano() }

func (machine) RandBytes(b []byte) int32 {
	if len(b) > host.MaxRand {
		return host.TooLong
	}
	rand.Read(b) // never fails
	return 0
}

func (machine) LogEmit(line string) { os.Stderr.WriteString(line[:min(len(line), host.MaxLog)] + "\n") }

func (machine) WalletBalance() int64                           { return 0 }
func (machine) WalletReceiptCount() int32                      { return 0 }
func (machine) WalletReceipt(int32, []byte) int32              { return host.Failed }
func (machine) NodePrice() int64                               { return 0 }
func (machine) HTTPRequest(_, _, _ string, _, _ []byte) int32  { return host.Failed }
func (machine) WalletPay(_ int64, _, _ string, _ []byte) int32 { return host.Failed }
func (machine) KVGet(string, []byte) int32                     { return host.Failed }
func (machine) KVPut(string, []byte) int32                     { return host.Failed }
func (machine) KVDelete(string) int32                          { return host.Failed }

func init() {
	host.Tick = func(a any) bool { return tick(a.(Agent)) }
	host.Observe = func(a any, finding []byte) error { return observe(a.(Agent), finding) }
}

func hosted() host.Host {
	if host.Current != nil {
		return host.Current
	}
	return machine{}
}

func clockNow() int64                         { return hosted().ClockNow() }
func randBytes(b []byte) int32                { return hosted().RandBytes(b) }
func logEmit(line string)                     { hosted().LogEmit(line) }
func walletBalance() int64                    { return hosted().WalletBalance() }
func walletReceiptCount() int32               { return hosted().WalletReceiptCount() }
func walletReceipt(i int32, buf []byte) int32 { return hosted().WalletReceipt(i, buf) }
func nodePrice() int64                        { return hosted().NodePrice() }
func kvGet(key string, buf []byte) int32      { return hosted().KVGet(key, buf) }
func kvPut(key string, value []byte) int32    { return hosted().KVPut(key, value) }
func kvDelete(key string) int32               { return hosted().KVDelete(key) }

func nodeID(buf []byte) int32             { return hosted().NodeID(buf) }
func peerCount() int32                    { return hosted().PeerCount() }
func peerOffer(i int32, buf []byte) int32 { return hosted().PeerOffer(i, buf) }
func migrate(did string) int32            { return hosted().Migrate(did) }
func migrateStatus() int32                { return hosted().MigrateStatus() }
func drainDeadline() int64                { return hosted().DrainDeadline() }

func httpRequest(method, url, headers string, body, buf []byte) int32 {
	return hosted().HTTPRequest(method, url, headers, body, buf)
}

func walletPay(amount int64, recipient, memo string, buf []byte) int32 {
	return hosted().WalletPay(amount, recipient, memo, buf)
}
