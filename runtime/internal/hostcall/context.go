package hostcall

import "context"

type hostKey struct{}

// WithHost returns a context in which hostcalls go to host, whichever the module
// was linked with: instances of one program each have their own.
func WithHost(ctx context.Context, host Host) context.Context {
	return context.WithValue(ctx, hostKey{}, host)
}

func hostOf(ctx context.Context, linked Host) Host {
	if h, ok := ctx.Value(hostKey{}).(Host); ok {
		return h
	}
	return linked
}
