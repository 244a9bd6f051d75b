package manifest

import (
	"fmt"
	"slices"

	"igor.dev/x402"
)

// More returns what a manifest grants that another one did not, in words.
func More(before, after *Manifest) (more []string) {
	for _, name := range Capabilities() {
		_, had := before.Capabilities[name]
		if _, has := after.Capabilities[name]; has && !had {
			more = append(more, "the capability "+name)
		}
	}
	for _, h := range after.HTTP.AllowedHosts {
		if !slices.Contains(before.HTTP.AllowedHosts, h) && !slices.Contains(before.HTTP.AllowedHosts, Host{Name: h.Name}) {
			more = append(more, "the host "+h.String())
		}
	}
	for _, h := range after.HTTP.AllowedHosts {
		was, known := before.HTTP.classOf(h)
		if is, _ := after.HTTP.classOf(h); known && repeats[is] > repeats[was] {
			more = append(more, fmt.Sprintf("to repeat requests to %s: %s instead of %s", h, is, was))
		}
	}
	if _, had := before.Capabilities["x402"]; had && repeats[after.X402.Class] > repeats[before.X402.Class] {
		more = append(more, fmt.Sprintf("to repeat payments: %s instead of %s", after.X402.Class, before.X402.Class))
	}
	for _, r := range after.X402.AllowedRecipients {
		if !slices.Contains(before.X402.AllowedRecipients, r) {
			more = append(more, fmt.Sprintf("payments to %q", r))
		}
	}
	for _, h := range after.X402.Hosts {
		if !slices.Contains(before.X402.Hosts, h) && !slices.Contains(before.X402.Hosts, Host{Name: h.Name}) {
			more = append(more, "paying the host "+h.String())
		}
	}
	for _, n := range after.X402.Networks {
		if !slices.Contains(before.X402.Networks, n) {
			more = append(more, "payments on "+x402.NetworkOf(n))
		}
	}
	for _, a := range after.X402.Assets {
		if !slices.Contains(before.X402.Assets, a) {
			more = append(more, "payments in "+a.String())
		}
	}
	limit := func(what string, before, after int64) {
		if after > before {
			more = append(more, fmt.Sprintf("%s: %d instead of %d", what, after, before))
		}
	}
	limit("microcents in a payment", before.X402.MaxPayment, after.X402.MaxPayment)
	limit("microcents in a day", before.X402.MaxPerDay, after.X402.MaxPerDay)
	limit("bytes in a response", int64(before.HTTP.MaxResponse), int64(after.HTTP.MaxResponse))
	limit("bytes of memory", int64(before.MaxMemory), int64(after.MaxMemory))
	limit("milliseconds in a tick", before.MaxTick.Milliseconds(), after.MaxTick.Milliseconds())
	limit("bytes of storage", int64(before.MaxStorage), int64(after.MaxStorage))
	return more
}

// repeats orders the classes by what they let a host do after a crash, with nobody
// asked: nothing, to send again if the other side says that it has not got it, and to
// send again.
var repeats = map[Class]int{Unsafe: 0, Queryable: 1, Idempotent: 2}

// classOf returns the class of an allowed host, which may be allowed without its port.
func (o *HTTP) classOf(h Host) (c Class, ok bool) {
	if !slices.Contains(o.AllowedHosts, h) {
		h.Port = ""
	}
	if c, ok = o.Classes[h.String()]; ok {
		return c, true
	}
	return o.Class, slices.Contains(o.AllowedHosts, h)
}
