package interop

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/mr-tron/base58"
	"github.com/multiformats/go-multibase"

	"igor.dev/verifier"
)

// sameDID holds reading s as a DID to the libraries that libp2p reads it with.
func sameDID(t *testing.T, s string) (ok bool) {
	t.Helper()
	ours, err := verifier.ParseDID(s)

	rest, isKey := strings.CutPrefix(s, "did:key:")
	enc, raw, fail := multibase.Decode(rest)
	theirs := isKey && fail == nil && enc == multibase.Base58BTC && len(raw) == 34 && raw[0] == 0xed && raw[1] == 0x01 &&
		rest == "z"+base58.Encode(raw)
	if (err == nil) != theirs {
		t.Fatalf("%q: ours says %v, multibase %v (%v)", s, err, theirs, fail)
	}
	if err != nil {
		return false
	}
	if plain, err := base58.Decode(rest[1:]); err != nil || !bytes.Equal(plain, raw) {
		t.Fatalf("%q: base58 and multibase differ: %v", s, err)
	}
	if !bytes.Equal(ours[:], raw[2:]) {
		t.Fatalf("%q: our key is %x, multibase's %x", s, ours, raw[2:])
	}
	if ours.DID() != s {
		t.Fatalf("%q is written %q", s, ours.DID())
	}
	return true
}

// sameCID holds reading s as a checkpoint's CID to multibase. A checkpoint has one
// name, so of what multibase reads only the form that it would write is a CID here.
func sameCID(t *testing.T, s string) (ok bool) {
	t.Helper()
	ours, err := verifier.ParseCID(s)

	enc, raw, fail := multibase.Decode(s)
	theirs := fail == nil && enc == multibase.Base32 && len(raw) == 36 && string(raw[:4]) == "\x01\x55\x12\x20"
	if theirs {
		again, err := multibase.Encode(multibase.Base32, raw)
		theirs = err == nil && again == s
	}
	if (err == nil) != theirs {
		t.Fatalf("%q: ours says %v, multibase %v (%v)", s, err, theirs, fail)
	}
	if err != nil {
		return false
	}
	if !bytes.Equal(ours[:], raw[4:]) {
		t.Fatalf("%q: our digest is %x, multibase's %x", s, ours, raw[4:])
	}
	if ours.CID() != s {
		t.Fatalf("%q is written %q", s, ours.CID())
	}
	return true
}

// names are a DID and a CID of 32 bytes, and both of the ends of their ranges.
func names(b [32]byte) (did, cid string) {
	return verifier.PublicKey(b).DID(), verifier.Hash(b).CID()
}

// TestCodecs holds names of random bytes, and the same with one character changed,
// left out or put in, to go-multibase and base58.
func TestCodecs(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	const alphabet = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz0OIl=:\x00\xff"
	read, refused := 0, 0
	count := func(ok bool) {
		if ok {
			read++
		} else {
			refused++
		}
	}
	for i := range 2000 {
		var b [32]byte
		switch i {
		case 0: // the smallest number
		case 1:
			b = [32]byte(bytes.Repeat([]byte{0xff}, 32))
		default:
			for j := range b {
				b[j] = byte(random.Uint32())
			}
			clear(b[:random.IntN(33)*(i%2)]) // numbers with zeros in front, too
		}
		did, cid := names(b)
		if !sameDID(t, did) || !sameCID(t, cid) {
			t.Fatalf("%q and %q are not read", did, cid)
		}
		for range 20 {
			c := alphabet[random.IntN(len(alphabet))]
			change := func(s string) string {
				at := random.IntN(len(s))
				switch random.IntN(4) {
				case 0:
					return s[:at] + s[at+1:]
				case 1:
					return s[:at] + string([]byte{c}) + s[at:]
				case 2:
					return strings.ToUpper(s[:at]) + s[at:]
				}
				return s[:at] + string([]byte{c}) + s[at+1:]
			}
			count(sameDID(t, change(did)))
			count(sameCID(t, change(cid)))
		}
	}
	if read == 0 || refused == 0 {
		t.Fatalf("of the changed names %d are read and %d refused", read, refused)
	}
}

func FuzzCodecs(f *testing.F) {
	did, cid := names([32]byte{1, 2, 3})
	for _, s := range []string{did, cid, strings.ToUpper(cid), did[:len(did)-1], "did:key:z6Mk", "did:key:f" + "ed01", "z" + cid[1:], ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if len(s) > 1000 {
			t.Skip() // base58 takes quadratic time
		}
		sameDID(t, s)
		sameCID(t, s)
	})
}
