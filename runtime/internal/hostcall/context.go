package hostcall

import "context"

type hostKey struct{}

// WithHost returns a context in which hostcalls go to host, whichever the module
// was linked with: instances of one program each have their own.
func WithHost(ctx context.Context, host Host) context.Context {
	return context.WithValue(ctx, hostKey{}, host)
}

// host returns the host of a call.
func (m *Membrane) host(ctx context.Context) Host {
	if host, ok := ctx.Value(hostKey{}).(Host); ok {
		return host
	}
	return m.Host
}
