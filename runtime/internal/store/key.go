package store

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"igor.dev/runtime/internal/hint"
)

const maxKeyFile = 4 << 10

const pemType = "PRIVATE KEY" // PKCS #8, RFC 7468

// EncodeKey writes a private key as its file has it.
func EncodeKey(key ed25519.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: pemType, Bytes: der}), nil
}

// ErrNoKey says that the key is not there, or cannot be used.
var ErrNoKey = errors.New("the agent's key cannot be used")

// NewKey makes the private key of a new agent, as the file key in its folder.
func NewKey(dir string) (ed25519.PrivateKey, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	return GiveKey(dir, key)
}

// GiveKey gives a new agent a key that was made before.
func GiveKey(dir string, key ed25519.PrivateKey) (ed25519.PrivateKey, error) {
	encoded, err := EncodeKey(key)
	if err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	if err := writeFile(root, fileKey, encoded, 0o600); err != nil {
		return nil, err
	}
	info, err := root.Stat(fileKey)
	if err != nil {
		return nil, err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, hint.Wrap(&UnsupportedError{filepath.Dir(dir), fmt.Sprintf("no modes: everybody here could read its key (mode %04o)", info.Mode().Perm())},
			"put the agent's folder on another file system, or mount this one for one user alone: umask=077, of SMB file_mode=0600,dir_mode=0700")
	}
	return key, nil
}

// Key reads the private key in an agent's folder. It never makes one.
func Key(dir string) (ed25519.PrivateKey, error) {
	if _, err := os.Stat(dir); err != nil {
		return nil, notAgent(dir, err)
	}
	path := filepath.Join(dir, fileKey)
	switch _, err := os.Stat(path); {
	case errors.Is(err, fs.ErrNotExist):
		if to, err := os.Readlink(path); err == nil {
			return nil, noKey("mount the secret, or put the agent's key there, with mode 0600", "%s leads to %s, where there is nothing", path, to)
		}
		return nil, noKey("put the agent's key back as "+path+", with mode 0600",
			"%s has no key: without its own key an agent cannot go on, and it gets no second one", dir)
	}
	return KeyFile(path)
}

// KeyFile reads an agent's private key in a file.
func KeyFile(path string) (ed25519.PrivateKey, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, noKey("", "%s: %w", path, bare(err))
	case info.Mode().Perm()&0o077 != 0:
		return nil, noKey("if nobody did: chmod 600 "+path+"; of a mounted secret, set its mode to 0400", "%s can be read by others (mode %04o)", path, info.Mode().Perm())
	}
	b, err := readKey(path)
	if err != nil {
		return nil, noKey("", "%s: %w", path, err)
	}
	key, err := parseKey(b)
	if err != nil {
		return nil, noKey("put the agent's key back from a copy of the folder; a new key would be another agent",
			"%s is no agent's key: %w", path, err)
	}
	return key, nil
}

// readKey reads a file of a key. It may be a link to elsewhere, as a mounted secret is.
func readKey(path string) ([]byte, error) {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	root, err := os.OpenRoot(filepath.Dir(path))
	if err != nil {
		return nil, bare(err)
	}
	defer root.Close()
	return readRegular(root, filepath.Base(path), maxKeyFile)
}

// noKey is an error that is ErrNoKey in other words.
func noKey(next, format string, args ...any) error {
	err := error(&keyError{fmt.Errorf(format, args...)})
	if next != "" {
		err = hint.Wrap(err, "%s", next)
	}
	return err
}

type keyError struct{ error }

func (e *keyError) Unwrap() []error { return []error{ErrNoKey, e.error} }

func parseKey(b []byte) (ed25519.PrivateKey, error) {
	block, rest := pem.Decode(b)
	if block == nil || block.Type != pemType || len(bytes.TrimSpace(rest)) > 0 {
		return nil, errors.New("it is not one PKCS #8 key in PEM")
	}
	k, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	key, ok := k.(ed25519.PrivateKey)
	if !ok {
		return nil, errors.New("it is not an Ed25519 key")
	}
	return key, nil
}

// Key is [Key] of the folder.
func (s *Store) Key() (ed25519.PrivateKey, error) { return Key(s.Path()) }
