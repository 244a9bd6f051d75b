package sdk

import (
	"runtime"
	"unsafe"
)

// The linker leaves out what the agent does not call, so an agent imports what
// it uses and nothing else.

//go:wasmimport igor clock_now
func clockNow() int64

//go:wasmimport igor rand_bytes
func hostRandBytes(ptr unsafe.Pointer, size uint32) int32

//go:wasmimport igor log_emit
func hostLogEmit(ptr unsafe.Pointer, size uint32)

//go:wasmimport igor wallet_balance
func walletBalance() int64

//go:wasmimport igor wallet_receipt_count
func walletReceiptCount() int32

//go:wasmimport igor wallet_receipt
func hostWalletReceipt(index int32, buf unsafe.Pointer, room uint32) int32

//go:wasmimport igor node_price
func nodePrice() int64

//go:wasmimport igor http_request
func hostHTTPRequest(method unsafe.Pointer, methodSize uint32, url unsafe.Pointer, urlSize uint32,
	headers unsafe.Pointer, headersSize uint32, body unsafe.Pointer, bodySize uint32, buf unsafe.Pointer, room uint32) int32

//go:wasmimport igor wallet_pay
func hostWalletPay(amount int64, recipient unsafe.Pointer, recipientSize uint32, memo unsafe.Pointer, memoSize uint32,
	buf unsafe.Pointer, room uint32) int32

//go:wasmimport igor kv_get
func hostKVGet(key unsafe.Pointer, keySize uint32, buf unsafe.Pointer, room uint32) int32

//go:wasmimport igor kv_put
func hostKVPut(key unsafe.Pointer, keySize uint32, value unsafe.Pointer, valueSize uint32) int32

//go:wasmimport igor kv_delete
func hostKVDelete(key unsafe.Pointer, keySize uint32) int32

//go:wasmimport igor node_id
func hostNodeID(buf unsafe.Pointer, room uint32) int32

//go:wasmimport igor peer_count
func peerCount() int32

//go:wasmimport igor peer_offer
func hostPeerOffer(index int32, buf unsafe.Pointer, room uint32) int32

//go:wasmimport igor migrate
func hostMigrate(did unsafe.Pointer, didSize uint32) int32

//go:wasmimport igor migrate_status
func migrateStatus() int32

//go:wasmimport igor drain_deadline
func drainDeadline() int64

// at returns where b is. Of nothing that is 0, which is in every memory.
func at(b []byte) unsafe.Pointer {
	if len(b) == 0 {
		return nil
	}
	return unsafe.Pointer(unsafe.SliceData(b))
}

func text(s string) unsafe.Pointer {
	if s == "" {
		return nil
	}
	return unsafe.Pointer(unsafe.StringData(s))
}

func randBytes(b []byte) int32 {
	code := hostRandBytes(at(b), uint32(len(b)))
	runtime.KeepAlive(b)
	return code
}

func logEmit(line string) {
	hostLogEmit(text(line), uint32(len(line)))
	runtime.KeepAlive(line)
}

func walletReceipt(index int32, buf []byte) int32 {
	code := hostWalletReceipt(index, at(buf), uint32(len(buf)))
	runtime.KeepAlive(buf)
	return code
}

func httpRequest(method, url, headers string, body, buf []byte) int32 {
	code := hostHTTPRequest(text(method), uint32(len(method)), text(url), uint32(len(url)), text(headers), uint32(len(headers)),
		at(body), uint32(len(body)), at(buf), uint32(len(buf)))
	runtime.KeepAlive(method)
	runtime.KeepAlive(url)
	runtime.KeepAlive(headers)
	runtime.KeepAlive(body)
	runtime.KeepAlive(buf)
	return code
}

func walletPay(amount int64, recipient, memo string, buf []byte) int32 {
	code := hostWalletPay(amount, text(recipient), uint32(len(recipient)), text(memo), uint32(len(memo)), at(buf), uint32(len(buf)))
	runtime.KeepAlive(recipient)
	runtime.KeepAlive(memo)
	runtime.KeepAlive(buf)
	return code
}

func kvGet(key string, buf []byte) int32 {
	code := hostKVGet(text(key), uint32(len(key)), at(buf), uint32(len(buf)))
	runtime.KeepAlive(key)
	runtime.KeepAlive(buf)
	return code
}

func kvPut(key string, value []byte) int32 {
	code := hostKVPut(text(key), uint32(len(key)), at(value), uint32(len(value)))
	runtime.KeepAlive(key)
	runtime.KeepAlive(value)
	return code
}

func kvDelete(key string) int32 {
	code := hostKVDelete(text(key), uint32(len(key)))
	runtime.KeepAlive(key)
	return code
}

func nodeID(buf []byte) int32 {
	code := hostNodeID(at(buf), uint32(len(buf)))
	runtime.KeepAlive(buf)
	return code
}

func peerOffer(index int32, buf []byte) int32 {
	code := hostPeerOffer(index, at(buf), uint32(len(buf)))
	runtime.KeepAlive(buf)
	return code
}

func migrate(did string) int32 {
	code := hostMigrate(text(did), uint32(len(did)))
	runtime.KeepAlive(did)
	return code
}
