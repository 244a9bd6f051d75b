package runtime

import (
	"igor.dev/runtime/internal/httpcap"
	"igor.dev/runtime/internal/pay"
)

// outside connects the agent to what is outside this process.
func (l *life) outside() error {
	if l.sim != nil {
		l.sim.connect(l)
		return nil
	}
	l.world.Live.Web = httpcap.New(l.manifest.HTTP)
	if l.PayAt == "" {
		return nil
	}
	endpoint, err := pay.NewEndpoint(l.PayAt)
	if err != nil {
		return err
	}
	l.world.Live.Payer = endpoint
	return nil
}
