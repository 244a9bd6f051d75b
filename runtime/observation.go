package runtime

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"time"

	"igor.dev/runtime/internal/eventlog"
	"igor.dev/runtime/internal/hostcall"
	"igor.dev/runtime/internal/request"
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
	failure         string // of a tick that failed
}

const shownBytes = 256

func observation(log *eventlog.Log, r *eventlog.Record) Observation {
	// A request whose bytes are not there is still known by its hash.
	request, _ := log.Content(r.Request)
	result, _ := log.Content(r.Result)
	show := func(b []byte) string { return hex.EncodeToString(b[:min(len(b), shownBytes)]) }
	o := Observation{Tick: r.Tick, Hostcall: r.Kind.String(), Return: r.Return, Request: show(request), RequestBytes: r.Request.Size(),
		Result: show(result), ResultBytes: r.Result.Size(), kind: r.Kind, request: request, result: result}
	if r.Kind == eventlog.TickFailed {
		o.failure = fmt.Sprintf("%s in %s", r.Failure, r.Call)
	}
	return o
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
	case eventlog.WalletReceipt, eventlog.PeerOffer:
		r, _ := request.ParseItem(o.request)
		return fmt.Sprintf("number %d: %s", r.Index, o.came())
	case eventlog.HTTPRequest:
		r, err := request.ParseHTTP(o.request)
		switch {
		case err != nil:
			return fmt.Sprintf("a request of %d bytes: %s", o.RequestBytes, o.came())
		case len(r.Body) > 0:
			return fmt.Sprintf("%s %s, %d bytes: %s", r.Method, r.URL, len(r.Body), o.came())
		}
		return fmt.Sprintf("%s %s: %s", r.Method, r.URL, o.came())
	case eventlog.WalletPay:
		r, _ := request.ParsePay(o.request)
		return fmt.Sprintf("%s to %q, memo %s: %s", verifier.FormatMicrocents(r.Amount), r.Recipient, excerpt([]byte(r.Memo), "%q"), o.came())
	case eventlog.KVGet:
		r, _ := request.ParseGet(o.request)
		return fmt.Sprintf("%s: %s", excerpt(r.Key, "%q"), o.came())
	case eventlog.KVPut:
		r, _ := request.ParsePut(o.request)
		return fmt.Sprintf("%s = %s%s", excerpt(r.Key, "%q"), excerpt(r.Value, "%x"), o.failed())
	case eventlog.KVDelete:
		return excerpt(o.request, "%q") + o.failed()
	case eventlog.NodeID:
		return excerpt(o.result, "%q") + o.failed()
	case eventlog.Migrate:
		return excerpt(o.request, "%q") + o.failed()
	case eventlog.Finding:
		f, err := request.ParseFinding(o.request)
		if err != nil {
			return "a finding that cannot be read"
		}
		return fmt.Sprintf("%x of tick %d: %s", f.Effect[:8], f.Tick, f.Outcome)
	case eventlog.TickFailed:
		return o.failure
	case eventlog.TickEnd:
		if o.Return != 0 {
			return "more to do"
		}
		return "idle"
	}
	return strconv.FormatInt(o.Return, 10)
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
