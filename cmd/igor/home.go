package main

import (
	"crypto/ed25519"
	"errors"
	"os"
	"path/filepath"

	"igor.dev/internal/homes"
	"igor.dev/runtime"
	"igor.dev/verifier"
)

// asNode finds homes on behalf of a node.
func asNode(node ed25519.PrivateKey) *homes.Finder {
	return &homes.Finder{Node: func() (ed25519.PrivateKey, error) { return node, nil }}
}

// findHomeOfUser finds a home for a command that runs no agent, on behalf of this user's
// node.
func findHomeOfUser(name string) (*runtime.Home, error) {
	node, err := userNodeKey("")
	if err != nil {
		return nil, err
	}
	h, err := asNode(node).Find(name)
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
