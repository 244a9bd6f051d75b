package wallet

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"filippo.io/age"
	"filippo.io/age/armor"
)

// A file of a wallet is 64 hexadecimal digits and a newline, or that encrypted by
// age (https://age-encryption.org/v1), for a passphrase or for age identities, armored.

const (
	maxFile = 64 << 10
	// workFactor is how hard a passphrase is to guess: about a second. Files with
	// a higher one would be a way to keep a node busy.
	workFactor = 18
)

// Unlock says how to open an encrypted file. The zero value opens none.
type Unlock struct {
	// Passphrase is asked for the passphrase, if the file wants one.
	Passphrase func() (string, error)
	// Identities are tried if it wants none.
	Identities []age.Identity
}

// maxUnlock is how large a file that unlocks another may be.
const maxUnlock = 16 << 10

// UnlockWith opens what the passphrase in a file opens, on its only line, or the age
// identities in another. Either may be "".
func UnlockWith(passphraseFile, identityFile string) (u Unlock, err error) {
	if passphraseFile != "" {
		u.Passphrase = func() (string, error) { return readLineOf(passphraseFile) }
	}
	if identityFile != "" {
		f, err := os.Open(identityFile)
		if err != nil {
			return u, err
		}
		defer f.Close()
		if u.Identities, err = age.ParseIdentities(io.LimitReader(f, maxUnlock)); err != nil {
			return u, fmt.Errorf("%s has no identities of age", identityFile) // the error could quote one
		}
	}
	return u, nil
}

// readLineOf returns the only line of a file.
func readLineOf(file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxUnlock+1))
	line := strings.TrimRight(string(b), "\r\n")
	if err == nil && (line == "" || len(b) > maxUnlock || strings.ContainsAny(line, "\r\n")) {
		err = fmt.Errorf("%s has not one line, which would be the passphrase", file)
	}
	return line, err
}

// ErrLocked is the error of a file that what is in Unlock does not open.
var ErrLocked = errors.New("the wallet's file is encrypted, and nothing that was given opens it")

// An ExistsError is why a wallet was not made: no file is overwritten.
type ExistsError struct{ File string }

func (e *ExistsError) Error() string { return e.File + " exists, and a wallet is never overwritten" }

// Open reads a wallet's file.
func Open(file string, u Unlock) (*Key, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a file", file)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(b) > maxFile {
		return nil, fmt.Errorf("%s is larger than a wallet's file", file)
	}
	text, encrypted := strings.TrimSpace(string(b)), bytes.HasPrefix(b, []byte(armor.Header))
	if encrypted {
		if text, err = decrypt(b, u); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
	} else if runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s can be read by others (mode %04o): chmod 600 it, and think of what is in it as known", file, info.Mode().Perm())
	}
	k, err := parseKey(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return k, nil
}

func decrypt(b []byte, u Unlock) (string, error) {
	ids := u.Identities
	if u.Passphrase != nil {
		ids = append(ids[:len(ids):len(ids)], &passphrase{u.Passphrase})
	}
	if len(ids) == 0 {
		return "", ErrLocked
	}
	r, err := age.Decrypt(armor.NewReader(bytes.NewReader(b)), ids...)
	if err != nil {
		var none *age.NoIdentityMatchError
		if errors.As(err, &none) {
			return "", ErrLocked
		}
		return "", err
	}
	out, err := io.ReadAll(io.LimitReader(r, maxFile))
	return strings.TrimSpace(string(out)), err
}

// passphrase asks only if the file wants a passphrase.
type passphrase struct{ ask func() (string, error) }

func (p *passphrase) Unwrap(stanzas []*age.Stanza) ([]byte, error) {
	if len(stanzas) != 1 || stanzas[0].Type != "scrypt" {
		return nil, age.ErrIncorrectIdentity
	}
	s, err := p.ask()
	if err != nil {
		return nil, err
	}
	id, err := age.NewScryptIdentity(s)
	if err != nil {
		return nil, err
	}
	id.SetMaxWorkFactor(workFactor + 2)
	return id.Unwrap(stanzas)
}

// Lock is for whom a new file is encrypted; the zero value leaves it plain.
type Lock struct {
	Passphrase string
	Recipients []age.Recipient
}

// Save writes a wallet to a new file, which only its owner can read, and which is
// there whole or not at all.
func (k *Key) Save(file string, l Lock) error {
	text := []byte(hex.EncodeToString(k.key.Serialize()) + "\n")
	defer clear(text)
	to := l.Recipients
	if l.Passphrase != "" {
		r, err := age.NewScryptRecipient(l.Passphrase)
		if err != nil {
			return err
		}
		r.SetWorkFactor(workFactor)
		to = []age.Recipient{r}
		if len(l.Recipients) > 0 {
			return errors.New("a wallet's file is encrypted for a passphrase or for recipients, not for both")
		}
	}
	content := text
	if len(to) > 0 {
		var b bytes.Buffer
		a := armor.NewWriter(&b)
		w, err := age.Encrypt(a, to...)
		if err == nil {
			_, err = w.Write(text)
		}
		if err == nil {
			err = w.Close()
		}
		if err == nil {
			err = a.Close()
		}
		if err != nil {
			return err
		}
		content = b.Bytes()
	}
	tmp, err := os.CreateTemp(filepath.Dir(file), ".wallet-*") // of mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	if _, err = tmp.Write(content); err == nil {
		err = tmp.Sync()
	}
	if e := tmp.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Link(tmp.Name(), file) // fails if there is one
	}
	if errors.Is(err, fs.ErrExist) {
		return &ExistsError{file}
	}
	return err
}
