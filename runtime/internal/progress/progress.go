// Package progress says how far long work is, to whoever wants to show it.
package progress

import (
	"context"
	"sync/atomic"
)

// A Line is what is to be shown of work under way. Its zero value is empty, and it
// is safe for concurrent use.
type Line struct{ say atomic.Pointer[func() string] }

// String returns what there is to say, "" if nothing takes long.
func (l *Line) String() string {
	if say := l.say.Load(); say != nil {
		return (*say)()
	}
	return ""
}

type key struct{}

// With returns a context in which work says on l how far it is.
func With(ctx context.Context, l *Line) context.Context { return context.WithValue(ctx, key{}, l) }

// Begin begins work that say can describe at any time, until done is called.
func Begin(ctx context.Context, say func() string) (done func()) {
	l, ok := ctx.Value(key{}).(*Line)
	if !ok {
		return func() {}
	}
	before := l.say.Swap(&say)
	return func() { l.say.Store(before) }
}
