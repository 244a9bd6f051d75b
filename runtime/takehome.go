package runtime

import (
	"fmt"

	"igor.dev/runtime/internal/hint"
	"igor.dev/runtime/internal/manifest"
	"igor.dev/runtime/internal/store"
)

// TakeHome has the home of an agent, which is its folder, be another one from its next run
// on. Nobody may live it meanwhile. Whose home is another one already, or whose manifest
// names another one, is an error.
func TakeHome(dir, name string) error {
	s, err := store.Open(dir)
	if err != nil {
		return err
	}
	defer s.Close()
	have, err := s.Home()
	if err != nil {
		return err
	}
	if have.Name == name {
		return nil
	}
	if have.Name != "" {
		return hint.Wrap(fmt.Errorf("the agent's home is %s already", have.Name), "it changes with its manifest: igor upgrade %s --manifest FILE", dir)
	}
	man, err := s.Manifest()
	if err != nil {
		return err
	}
	m, err := manifest.Parse(man)
	if err != nil {
		return err
	}
	if m.Home != "" && m.Home != name {
		return hint.Wrap(fmt.Errorf("the agent's manifest names the home %s", m.Home), "change that: igor upgrade %s --manifest FILE", dir)
	}
	return s.SetHome(store.Home{Name: name})
}
