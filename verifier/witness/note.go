package witness

import (
	"errors"
	"strconv"
	"strings"
	"unicode/utf8"

	"igor.dev/verifier/internal/rfc8032"
	"igor.dev/verifier/internal/sha2"
)

// Types of signatures (c2sp.org/signed-note). Of others, such as 6 (ML-DSA-44), there may
// be lines, which are not looked at.
const (
	typeLog       = 0x01 // Ed25519 over the note's text
	typeCosigning = 0x04 // Ed25519 with a time (c2sp.org/tlog-cosignature)
)

// A key is what a log or a witness signs with.
type key struct {
	name string
	id   [4]byte
	kind byte
	key  [32]byte
}

// parseKey reads a vkey: name+id+key.
func parseKey(s string, kind byte) (k key, err error) {
	bad := errors.New("not a key such as example.com+2d2c9d2b+BA…: a name, four bytes in hexadecimal and the key in base64")
	name, rest, ok := strings.Cut(s, "+")
	id, encoded, ok2 := strings.Cut(rest, "+")
	if !ok || !ok2 || !validName(name) || len(id) != 8 {
		return k, bad
	}
	n := uint64(0)
	for _, c := range []byte(id) {
		d := strings.IndexByte("0123456789abcdef0123456789ABCDEF", c)
		if d < 0 {
			return k, bad
		}
		n = n<<4 | uint64(d&15)
	}
	b, err := strict.DecodeString(encoded)
	if err != nil || len(b) == 0 {
		return k, bad
	}
	if b[0] != kind || len(b) != 33 {
		return k, errors.New("a key of type " + strconv.Itoa(int(b[0])) + ", and " + strconv.Itoa(int(kind)) + " is wanted here (Ed25519)")
	}
	k.name, k.kind = name, kind
	copy(k.key[:], b[1:])
	sum := sha2.Sum256(append([]byte(name+"\n"), b...))
	copy(k.id[:], sum[:])
	if uint64(k.id[0])<<24|uint64(k.id[1])<<16|uint64(k.id[2])<<8|uint64(k.id[3]) != n {
		return k, errors.New("a key whose four bytes are not those of its name and key")
	}
	return k, nil
}

// validName reports whether a name is one of c2sp.org/signed-note.
func validName(s string) bool {
	return s != "" && utf8.ValidString(s) && !space(s)
}

// A note is a signed note.
type note struct {
	text       string // with its last newline
	signatures []signatureLine
}

type signatureLine struct {
	name string
	id   [4]byte
	sig  []byte
}

func parseNote(s string) (*note, error) {
	if !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' && r != '\n' }) {
		return nil, errors.New("not a signed note: it is no text")
	}
	split := strings.LastIndex(s, "\n\n")
	if split < 0 || !strings.HasSuffix(s, "\n") {
		return nil, errors.New("not a signed note: it has no signatures, or is cut short")
	}
	n := &note{text: s[:split+1]}
	lines := strings.Split(strings.TrimSuffix(s[split+2:], "\n"), "\n")
	if len(lines) > MaxSignatures {
		return nil, errors.New("more than " + strconv.Itoa(MaxSignatures) + " signatures")
	}
	for _, line := range lines {
		rest, ok := strings.CutPrefix(line, "\u2014 ")
		name, encoded, ok2 := strings.Cut(rest, " ")
		b, err := strict.DecodeString(encoded)
		if !ok || !ok2 || !validName(name) || err != nil || len(b) < 5 {
			return nil, errors.New("not a signed note: a signature line is malformed")
		}
		n.signatures = append(n.signatures, signatureLine{name, [4]byte(b), b[4:]})
	}
	return n, nil
}

// signed looks for the line of a key, and checks it. A line that is not a signature by it
// is an error, and so are two.
func (n *note) signed(k *key) (time uint64, ok bool, err error) {
	for _, s := range n.signatures {
		if s.name != k.name || s.id != k.id {
			continue
		}
		if ok {
			return 0, false, errors.New("two signatures by " + k.name)
		}
		message, sig := []byte(n.text), s.sig
		if k.kind == typeCosigning {
			if len(sig) != 8+64 || sig[0] > 0x7f {
				return 0, false, errors.New("a signature by " + k.name + " that is none")
			}
			for _, b := range sig[:8] {
				time = time<<8 | uint64(b)
			}
			sig = sig[8:]
			message = []byte("cosignature/v1\ntime " + strconv.FormatUint(time, 10) + "\n" + n.text)
		}
		var v rfc8032.Verifier
		if len(sig) != 64 || !v.Verify(&k.key, (*[64]byte)(sig), message, nil) {
			return 0, false, errors.New("a signature by " + k.name + " that is none")
		}
		ok = true
	}
	return time, ok, nil
}

// A tree is what a log's checkpoint says (c2sp.org/tlog-checkpoint).
type tree struct {
	origin string
	size   uint64
	root   [32]byte
}

func parseTree(text string) (t tree, err error) {
	bad := errors.New("not a log's checkpoint: origin, size and root hash, each on a line")
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if len(lines) < 3 || lines[0] == "" {
		return t, bad
	}
	for _, extension := range lines[3:] {
		if extension == "" {
			return t, bad
		}
	}
	t.origin = lines[0]
	if t.size, err = decimal(lines[1]); err != nil {
		return t, bad
	}
	root, err := strict.DecodeString(lines[2])
	if err != nil || len(root) != len(t.root) {
		return t, bad
	}
	copy(t.root[:], root)
	return t, nil
}

// decimal reads a number that is written as short as it can be, at most 2^63 - 1.
func decimal(s string) (uint64, error) {
	n, ok := number(s, 1<<63-1)
	if !ok {
		return 0, errors.New("not a number")
	}
	return n, nil
}

func space(s string) bool { return strings.IndexByte(s, '+') >= 0 }

// number reads a number that is written as short as it can be, at most most. Package
// strconv's errors would bring Unicode's tables into web pages.
func number(s string, most uint64) (n uint64, ok bool) {
	if s == "" || len(s) > 20 || s[0] == '0' && len(s) > 1 {
		return 0, false
	}
	for _, c := range []byte(s) {
		d := uint64(c - '0')
		if c < '0' || c > '9' || n > (most-d)/10 {
			return 0, false
		}
		n = 10*n + d
	}
	return n, true
}
