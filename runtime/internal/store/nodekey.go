package store

import (
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"igor.dev/runtime/internal/hint"
)

// NodeKey reads a node's private key. If there is none at path it makes one, with
// mode 0600; it never replaces one.
func NodeKey(path string) (ed25519.PrivateKey, error) {
	return machineKey{"node's key", "--node-key"}.read(path)
}

// ArchiveKey is [NodeKey] for the key with which a node signs what it uploads to archives.
func ArchiveKey(path string) (ed25519.PrivateKey, error) {
	return machineKey{"archive's key", "--archive-key"}.read(path)
}

// A machineKey is one of a machine, and not of an agent.
type machineKey struct {
	name, flag string
}

func (m machineKey) read(path string) (ed25519.PrivateKey, error) {
	noNodeKey := m.none
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, noNodeKey(path, err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, noNodeKey(path, err)
	}
	defer root.Close()
	name := filepath.Base(path)
	info, err := os.Stat(path) // it may be a link, as a mounted secret is
	if errors.Is(err, fs.ErrNotExist) {
		if to, err := os.Readlink(path); err == nil {
			return nil, hint.Wrap(fmt.Errorf("the %s %s leads to %s, where there is nothing", m.name, path, to), "mount the secret, or name another file with %s", m.flag)
		}
		if err := makeNodeKey(root, name); err != nil {
			return nil, noNodeKey(path, err)
		}
		info, err = os.Stat(path)
	}
	if err != nil {
		return nil, noNodeKey(path, err)
	}
	if info.IsDir() {
		return nil, hint.Wrap(fmt.Errorf("%s is a folder", path), "name a file with %s; it is made if it is absent", m.flag)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, hint.Wrap(fmt.Errorf("%s can be read by others (mode %04o)", path, info.Mode().Perm()), "if nobody did: chmod 600 %s", path)
	}
	b, err := readKey(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	key, err := parseKey(b)
	if err != nil {
		return nil, hint.Wrap(fmt.Errorf("%s is no %s: %w", path, m.name, err), "put the %s back, or name another file with %s", m.name, m.flag)
	}
	return key, nil
}

func (m machineKey) none(path string, err error) error {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		err = p.Err
	}
	return hint.Wrap(fmt.Errorf("the %s can be neither read nor made at %s: %w", m.name, path, err), "name another file with %s", m.flag)
}

// makeNodeKey makes a key under a name of its own and links it, so that of several
// processes one makes it, and all read the same.
func makeNodeKey(root *os.Root, name string) error {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	b, err := EncodeKey(key)
	if err != nil {
		return err
	}
	next := fmt.Sprintf(".%s.%d", name, os.Getpid())
	if err := writeFile(root, next, b, 0o600); err != nil {
		return err
	}
	err = root.Link(next, name)
	if errors.Is(err, fs.ErrExist) {
		err = nil
	}
	return errors.Join(err, root.Remove(next), syncDir(root, "."))
}
