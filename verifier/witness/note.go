package witness

import (
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

// A problem is an error that is its text. Unlike those of package errors, one that does not
// change takes no code to make, of which a web page has to load each byte.
type problem string

func (p problem) Error() string { return string(p) }

// A signer is a log, a witness or a monitor, and what it signs with.
type signer struct {
	_     incomparable
	local string // a witness's name in the policy; of others "", which no name is
	url   string // where it is, if the policy says so
	name  string
	id    [4]byte
	kind  byte
	key   [32]byte
}

// incomparable takes == from a type, whose code every web page would have.
type incomparable [0]func()

const errKey = "not a key such as example.com+2d2c9d2b+BA…: a name, four bytes in hexadecimal and the key in base64"

// parse reads a vkey, name+id+key, or says what is wrong with it.
func (k *signer) parse(s string, kind byte) (why string) {
	name, rest, _ := strings.Cut(s, "+")
	id, encoded, _ := strings.Cut(rest, "+")
	b, ok := decode(encoded)
	if !ok || len(b) == 0 || name == "" || !isText(name) || len(id) != 8 {
		return errKey
	}
	if b[0] != kind || len(b) != 33 {
		return "a key of type " + strconv.Itoa(int(b[0])) + ", and " + strconv.Itoa(int(kind)) + " is wanted here (Ed25519)"
	}
	k.name, k.kind = name, kind
	copy(k.key[:], b[1:])
	sum := sha2.Sum256(append(append([]byte(name), '\n'), b...))
	copy(k.id[:], sum[:])
	same := true
	for i := range 8 {
		d := strings.IndexByte("0123456789abcdef0123456789ABCDEF", id[i])
		if d < 0 {
			return errKey
		}
		same = same && byte(d&15) == k.id[i/2]>>(4-i%2*4)&15
	}
	if !same {
		return "a key whose four bytes are not those of its name and key"
	}
	return ""
}

// isText reports whether s is valid UTF-8 without control characters but line ends. Package
// utf8's own function is four times as large.
func isText(s string) bool {
	for i, r := range s {
		if r < ' ' && r != '\n' || r == utf8.RuneError && !strings.HasPrefix(s[i:], "\ufffd") {
			return false
		}
	}
	return true
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
	if !isText(s) {
		return nil, problem("not a signed note: it is no text")
	}
	split := len(s) - 2
	for split >= 0 && s[split:split+2] != "\n\n" {
		split--
	}
	if split < 0 || split == len(s)-2 || s[len(s)-1] != '\n' {
		return nil, problem("not a signed note: it has no signatures, or is cut short")
	}
	n := &note{text: s[:split+1]}
	for s = s[split+2:]; s != ""; {
		if len(n.signatures) == MaxSignatures {
			return nil, problem("more than " + strconv.Itoa(MaxSignatures) + " signatures")
		}
		var line string
		line, s, _ = strings.Cut(s, "\n")
		line, dash := strings.CutPrefix(line, "\u2014 ")
		name, encoded, _ := strings.Cut(line, " ")
		b, ok := decode(encoded)
		if !dash || name == "" || strings.IndexByte(name, '+') >= 0 || !ok || len(b) < 5 {
			return nil, problem("not a signed note: a signature line is malformed")
		}
		n.signatures = append(n.signatures, signatureLine{name, [4]byte(b), b[4:]})
	}
	return n, nil
}

// signed looks for the line of a key, and checks it. A line that is not a signature by it
// is an error, and so are two.
func (n *note) signed(k *signer) (time uint64, found bool, why string) {
	for i := range n.signatures {
		s := &n.signatures[i]
		if s.name != k.name || s.id != k.id {
			continue
		}
		if found {
			return 0, false, "two signatures by " + k.name
		}
		message, sig, ok := n.text, s.sig, true
		if k.kind == typeCosigning {
			if ok = len(sig) == 8+64 && sig[0] <= 0x7f; ok {
				for _, b := range sig[:8] {
					time = time<<8 | uint64(b)
				}
				sig = sig[8:]
				message = "cosignature/v1\ntime " + decimal(time) + "\n" + message
			}
		}
		var v rfc8032.Verifier
		if !ok || len(sig) != 64 || !v.Verify(&k.key, (*[64]byte)(sig), []byte(message), nil) {
			return 0, false, "a signature by " + k.name + " that is none"
		}
		found = true
	}
	return time, found, ""
}

// A tree is what a log's checkpoint says (c2sp.org/tlog-checkpoint).
type tree struct {
	_      incomparable
	origin string
	size   uint64
	root   [32]byte
}

func (t *tree) parse(text string) (why string) {
	origin, rest, _ := strings.Cut(text, "\n")
	size, rest, _ := strings.Cut(rest, "\n")
	root, rest, _ := strings.Cut(rest, "\n")
	t.origin = origin
	ok, sized := decodeHash(&t.root, root), false
	t.size, sized = number(size, maxSize)
	ok = ok && sized && origin != ""
	for rest != "" {
		var extension string
		extension, rest, _ = strings.Cut(rest, "\n")
		ok = ok && extension != ""
	}
	if !ok {
		return "not a log's checkpoint: origin, size and root hash, each on a line"
	}
	return ""
}

const maxSize = 1<<63 - 1

// decimal writes a number.
func decimal(n uint64) string { return strconv.FormatUint(n, 10) }

// number reads a number that is written as short as it can be, at most most. Package
// strconv's errors would bring Unicode's tables into web pages.
func number(s string, most uint64) (n uint64, ok bool) {
	if s == "" || len(s) > 20 || s[0] == '0' && len(s) > 1 {
		return 0, false
	}
	for i := range len(s) {
		d := uint64(s[i] - '0')
		if d > 9 || n > (most-d)/10 {
			return 0, false
		}
		n = 10*n + d
	}
	return n, true
}
