package runtime

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strconv"
	"time"

	"igor.dev/runtime/internal/eventlog"
	"igor.dev/runtime/internal/hostcall"
	"igor.dev/verifier"
)

// An Observation is one hostcall of a life, or the end of a tick.
type Observation struct {
	Tick     uint64 `json:"tick,string"`
	Hostcall string `json:"hostcall"`
	Return   int64  `json:"return,string"`

	// What was asked and what came back, in hexadecimal, as docs/spec/eventlog.md has
	// it: the first 256 bytes, of so many.
	Request      string `json:"request,omitempty"`
	RequestBytes int    `json:"requestBytes,omitempty"`
	Result       string `json:"result,omitempty"`
	ResultBytes  int    `json:"resultBytes,omitempty"`

	kind            eventlog.Kind
	request, result []byte
}

const shownBytes = 256

func observation(log *eventlog.Log, r *eventlog.Record) Observation {
	// A request whose bytes are not there is still known by its hash.
	request, _ := log.Content(r.Request)
	result, _ := log.Content(r.Result)
	show := func(b []byte) string { return hex.EncodeToString(b[:min(len(b), shownBytes)]) }
	return Observation{r.Tick, r.Kind.String(), r.Return, show(request), r.Request.Size(), show(result), r.Result.Size(), r.Kind, request, result}
}

// String says in words what was observed, on one line, as short as it is.
func (o *Observation) String() string {
	switch o.kind {
	case eventlog.ClockNow:
		return time.Unix(0, o.Return).UTC().Format(time.RFC3339Nano)
	case eventlog.RandBytes:
		return excerpt(o.result, "%x")
	case eventlog.LogEmit:
		return excerpt(o.request, "%q")
	case eventlog.WalletBalance, eventlog.NodePrice:
		return verifier.FormatMicrocents(o.Return)
	case eventlog.WalletReceipt:
		return "number " + strconv.FormatUint(uint64(o.field(0)), 10) + ": " + o.came()
	case eventlog.HTTPRequest:
		method, url, body, ok := parseHTTP(o.request)
		switch {
		case !ok:
			return fmt.Sprintf("a request of %d bytes: %s", o.RequestBytes, o.came())
		case len(body) > 0:
			return fmt.Sprintf("%s %s, %d bytes: %s", method, url, len(body), o.came())
		}
		return fmt.Sprintf("%s %s: %s", method, url, o.came())
	case eventlog.WalletPay:
		recipient, rest := o.part(12)
		memo, _ := o.part(rest)
		amount := int64(uint64(o.field(0)) | uint64(o.field(4))<<32)
		return fmt.Sprintf("%s to %q, memo %s: %s", verifier.FormatMicrocents(amount), recipient, excerpt(memo, "%q"), o.came())
	case eventlog.KVGet:
		return fmt.Sprintf("%s: %s", excerpt(o.request[min(4, len(o.request)):], "%q"), o.came())
	case eventlog.KVPut:
		key, rest := o.part(0)
		return fmt.Sprintf("%s = %s%s", excerpt(key, "%q"), excerpt(o.request[rest:], "%x"), o.failed())
	case eventlog.KVDelete:
		return excerpt(o.request, "%q") + o.failed()
	case eventlog.TickEnd:
		if o.Return != 0 {
			return "more to do"
		}
		return "idle"
	}
	return strconv.FormatInt(o.Return, 10)
}

// field returns four bytes of the request as a number.
func (o *Observation) field(at int) uint32 {
	if len(o.request) < at+4 {
		return 0
	}
	return binary.LittleEndian.Uint32(o.request[at:])
}

// part returns a part of the request that has its length before it, and where it ends.
func (o *Observation) part(at int) (part []byte, end int) {
	begin := min(at+4, len(o.request))
	end = begin + int(min(o.field(at), uint32(len(o.request)-begin)))
	return o.request[begin:end], end
}

// came says what came back.
func (o *Observation) came() string {
	switch {
	case o.Return < 0:
		return codeName(o.kind, o.Return)
	case o.kind == eventlog.HTTPRequest:
		return fmt.Sprintf("%d, %d bytes", o.Return, max(0, o.ResultBytes-4))
	case o.kind == eventlog.WalletPay:
		return fmt.Sprintf("receipt of %d bytes", max(0, o.ResultBytes-4))
	case o.kind == eventlog.KVGet:
		return excerpt(o.result, "%x")
	}
	return fmt.Sprintf("%d bytes", o.ResultBytes)
}

// failed says how a call failed that says nothing else.
func (o *Observation) failed() string {
	if o.Return < 0 {
		return ": " + codeName(o.kind, o.Return)
	}
	return ""
}

// codeName says what a negative result means, and the number.
func codeName(k eventlog.Kind, code int64) string {
	store := k == eventlog.KVGet || k == eventlog.KVPut || k == eventlog.KVDelete
	name := ""
	switch code {
	case hostcall.CodeFailed:
		name = "failed"
	case hostcall.CodeTooLong:
		name = "too long"
	case hostcall.CodeNotAllowed:
		name = "not allowed"
	case hostcall.CodeTimeout:
		switch k {
		case eventlog.HTTPRequest:
			name = "timeout"
		case eventlog.WalletPay:
			name = "over the cap"
		default:
			name = "buffer too small"
		}
	case hostcall.CodeTooLarge:
		if name = "too large"; store {
			name = "not found"
		}
	case hostcall.CodeProcessing:
		switch {
		case store:
			name = "store full"
		case k == eventlog.WalletPay:
			name = "refused"
		default:
			name = "malformed"
		}
	case hostcall.CodeUnresolved:
		name = "unresolved"
	}
	return fmt.Sprintf("%s (%d)", name, code)
}

// excerpt writes bytes, the first of them if there are many.
func excerpt(b []byte, format string) string {
	const most = 64
	if len(b) > most {
		return fmt.Sprintf(format+"… (%d bytes)", b[:most], len(b))
	}
	if len(b) == 0 && format == "%x" {
		return "nothing"
	}
	return fmt.Sprintf(format, b)
}
