package hostcall

import (
	"context"
	"log/slog"
)

type hostKey struct{}

// A guest is what hostcalls of one instance have.
type guest struct {
	host Host
	log  *slog.Logger // for what is dropped
}

// WithHost returns a context in which hostcalls go to host and what is dropped is
// logged to log, whichever the module was linked with: instances of one program each
// have their own.
func WithHost(ctx context.Context, host Host, log *slog.Logger) context.Context {
	return context.WithValue(ctx, hostKey{}, guest{host, log})
}

// guest returns what a call has.
func (m *Membrane) guest(ctx context.Context) guest {
	if g, ok := ctx.Value(hostKey{}).(guest); ok {
		return g
	}
	return guest{m.Host, m.Log}
}
