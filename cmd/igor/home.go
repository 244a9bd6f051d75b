package main

import (
	"crypto/ed25519"
	"errors"
	"os"
	"path/filepath"

	"igor.dev/authority"
	"igor.dev/authority/dir"
	"igor.dev/runtime"
	"igor.dev/verifier"
)

// homeIn is the home that a store in a folder is: it decides who lives an agent, and keeps
// what a successor needs.
func homeIn(s *dir.Store) *runtime.Home {
	return &runtime.Home{Authority: s, Replicas: authority.Replicas{Places: []authority.Replica{s}}, Name: s.Dir()}
}

// findHome finds a home by what an agent's folder calls it.
func findHome(name string) (*runtime.Home, error) {
	s, err := dir.Find(name)
	if err != nil {
		return nil, err
	}
	return homeIn(s), nil
}

// findHomeOfUser is findHome for a command that runs no agent, on behalf of this user's
// node.
func findHomeOfUser(name string) (*runtime.Home, error) {
	h, err := findHome(name)
	if err != nil {
		return nil, err
	}
	node, err := userNodeKey("")
	if err != nil {
		return nil, err
	}
	if node == nil {
		return nil, errors.New("the agent is lived by a node with a key, and the user has no configuration folder to have it in")
	}
	h.Node = verifier.PublicKey(node.Public().(ed25519.PublicKey))
	return h, nil
}

// userNodeKey reads the node's key in a file, or the user's own; there is none where the
// user has no configuration folder.
func userNodeKey(file string) (ed25519.PrivateKey, error) {
	if file == "" {
		if dir, err := os.UserConfigDir(); err == nil {
			file = filepath.Join(dir, "igor", "node.key")
		}
	}
	if file == "" {
		return nil, nil
	}
	return runtime.NodeKey(file)
}
