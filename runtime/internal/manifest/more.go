package manifest

import (
	"fmt"
	"slices"
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
	for _, r := range after.X402.AllowedRecipients {
		if !slices.Contains(before.X402.AllowedRecipients, r) {
			more = append(more, fmt.Sprintf("payments to %q", r))
		}
	}
	limit := func(what string, before, after int64) {
		if after > before {
			more = append(more, fmt.Sprintf("%s: %d instead of %d", what, after, before))
		}
	}
	limit("microcents in a payment", before.X402.MaxPayment, after.X402.MaxPayment)
	limit("bytes in a response", int64(before.HTTP.MaxResponse), int64(after.HTTP.MaxResponse))
	limit("bytes of memory", int64(before.MaxMemory), int64(after.MaxMemory))
	limit("milliseconds in a tick", before.MaxTick.Milliseconds(), after.MaxTick.Milliseconds())
	limit("bytes of storage", int64(before.MaxStorage), int64(after.MaxStorage))
	return more
}
