// Package server has what igor-log serves: a transparency log of head statements, a
// witness of logs, and a monitor that reads a log and finds agents that lived twice.
// docs/spec/heads.md has the formats, docs/witnessing.md who needs which.
package server

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"
)

// Types of keys (c2sp.org/signed-note): Ed25519 signs, or cosigns with a time.
const (
	Signs   = 1
	Cosigns = 4
)

const secretTag = "PRIVATE+KEY+"

// A Key is that of a log, a witness or a monitor.
type Key struct {
	Name   string
	kind   byte
	secret ed25519.PrivateKey
}

// A KeyNameError says that a file has a key of another name.
type KeyNameError struct{ File, Name, Wanted string }

func (e *KeyNameError) Error() string {
	return fmt.Sprintf("%s: a key of the name %q, and %q is wanted", e.File, e.Name, e.Wanted)
}

// ErrKey says that a text is no public key.
var ErrKey = errors.New("not a public key")

// OpenKey reads a key of that name and type from a file, or makes one if there is none.
func OpenKey(file, name string, kind byte) (*Key, error) {
	k := &Key{Name: name, kind: kind}
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		_, k.secret, err = ed25519.GenerateKey(rand.Reader)
		if err == nil {
			err = os.MkdirAll(filepath.Dir(file), 0o700)
		}
		if err == nil {
			_, err = note.NewVerifier(k.vkey(Signs)) // is it a name?
		}
		if err == nil {
			err = writeWhole(file, []byte(k.text()), 0o600, false)
		}
		return k, err
	}
	if err != nil {
		return nil, err
	}
	parts := strings.SplitN(strings.TrimSuffix(strings.TrimPrefix(string(b), secretTag), "\n"), "+", 3)
	if len(parts) == 3 && parts[0] != name {
		return nil, &KeyNameError{file, parts[0], name}
	}
	var material []byte
	if len(parts) == 3 {
		material, err = base64.StdEncoding.DecodeString(parts[2])
	}
	if err == nil && len(material) == 1+ed25519.SeedSize && material[0] == kind {
		k.secret = ed25519.NewKeyFromSeed(material[1:])
		if k.text() == string(b) {
			return k, nil
		}
	}
	return nil, fmt.Errorf("%s: not such a key, or a damaged one; it is not replaced", file)
}

func (k *Key) id(kind byte) uint32 {
	sum := sha256.Sum256(append([]byte(k.Name+"\n"), append([]byte{kind}, k.secret.Public().(ed25519.PublicKey)...)...))
	return binary.BigEndian.Uint32(sum[:])
}

func (k *Key) text() string {
	return fmt.Sprintf("%s%s+%08x+%s\n", secretTag, k.Name, k.id(k.kind), base64.StdEncoding.EncodeToString(append([]byte{k.kind}, k.secret.Seed()...)))
}

func (k *Key) vkey(kind byte) string {
	return fmt.Sprintf("%s+%08x+%s", k.Name, k.id(kind), base64.StdEncoding.EncodeToString(append([]byte{kind}, k.secret.Public().(ed25519.PublicKey)...)))
}

// String returns the public key, as a policy has it.
func (k *Key) String() string { return k.vkey(k.kind) }

// signer signs notes.
func (k *Key) signer() (note.Signer, error) {
	if k.kind == Cosigns {
		return torchwood.NewCosignatureSigner(k.Name, k.secret)
	}
	return note.NewSigner(strings.TrimSuffix(k.text(), "\n"))
}

// writeWhole writes a file in one step that survives a loss of power.
func writeWhole(file string, b []byte, mode os.FileMode, replace bool) error {
	dir := filepath.Dir(file)
	f, err := os.CreateTemp(dir, ".next-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(b)
	err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
	if err != nil {
		return err
	}
	if replace {
		err = os.Rename(f.Name(), file)
	} else {
		err = os.Link(f.Name(), file)
	}
	if err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
