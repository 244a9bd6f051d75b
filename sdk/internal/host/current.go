//go:build !wasip1

package host

// Current is the host that is called, nil for the machine.
var Current Host

// Tick and Observe do what the exports of those names do to an agent of package sdk.
var (
	Tick    func(agent any) (more bool)
	Observe func(agent any, finding []byte) error
)
