package fuel

import "errors"

// Errors that end a call.
var (
	ErrOutOfFuel = errors.New("it used up its fuel")
	ErrTooDeep   = errors.New("its calls are nested too deeply")
)

// Slice is how many units a call gets at a time. Between two slices the host
// can let others have their turn. It is not part of the schedule: the fuel of a
// call does not depend on it.
const Slice = 1_000_000

// A Global is where a metered module has its account.
type Global interface {
	Get() uint64
	Set(uint64)
}

// An Account is the host's side of the account of one instance. Its zero value
// has no fuel.
type Account struct {
	global  Global
	limit   int64
	granted int64 // of it, to the module
	used    int64 // as far as is known
	closed  bool
}

// Begin begins a call that may use limit units. The global is nil while the
// module is being instantiated: see [Account.Attach].
func (a *Account) Begin(global Global, limit uint64) {
	*a = Account{global: global, limit: int64(min(limit, 1<<45))}
	if global != nil {
		a.granted = min(Slice, a.limit)
		global.Set(pack(a.granted, MaxDepth))
	}
}

// Attach gives the account of a module that is being instantiated its global, as
// the module knows it. A start function begins with no fuel at all, and asks.
func (a *Account) Attach(global Global) {
	if a.global == nil {
		a.global = global
	}
}

// Ask serves the module's call for a slice: it takes the account and returns it
// with more fuel in it, or the reason why the call ends.
func (a *Account) Ask(account uint64) (uint64, error) {
	fuel, depth := unpack(account)
	a.used = a.granted - fuel
	switch {
	case depth < 0:
		return account, ErrTooDeep
	case a.used > a.limit:
		return account, ErrOutOfFuel
	}
	more := min(Slice, a.limit-a.used)
	a.granted = a.used + more
	return pack(more, depth), nil
}

// Take takes units for what the host is about to do, or nothing and
// ErrOutOfFuel, if there are not as many.
func (a *Account) Take(units uint64) error {
	fuel, depth := unpack(a.global.Get())
	used := a.granted - fuel
	if used > a.limit || units > uint64(a.limit-used) {
		a.used = a.limit + 1
		a.closed = true
		return ErrOutOfFuel
	}
	used += int64(units)
	more := min(Slice, a.limit-used)
	a.granted, a.used = used+more, used
	a.global.Set(pack(more, depth))
	return nil
}

// End ends a call and returns the fuel that it used, which is its limit at most.
// It is ErrOutOfFuel if it used more.
func (a *Account) End() (uint64, error) {
	if a.global != nil && !a.closed {
		fuel, _ := unpack(a.global.Get())
		a.used = a.granted - fuel
	}
	a.closed = true
	if a.used > a.limit {
		return uint64(a.limit), ErrOutOfFuel
	}
	return uint64(a.used), nil
}

func pack(fuel, depth int64) uint64 { return uint64(fuel<<depthBits + depth) }

func unpack(account uint64) (fuel, depth int64) {
	v := int64(account)
	depth = v << (64 - depthBits) >> (64 - depthBits)
	return (v - depth) >> depthBits, depth
}
