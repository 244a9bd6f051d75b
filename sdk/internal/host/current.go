//go:build !wasip1

package host

// Current is the host that is called, nil for the machine.
var Current Host
