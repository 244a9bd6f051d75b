package sha2

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"math/rand/v2"
	"testing"
)

// Every length up to several blocks, so that every way to pad is there, whole
// and in every two parts.
func TestAgreesWithStandardLibrary(t *testing.T) {
	rng := rand.New(rand.NewChaCha8([32]byte{}))
	for n := range 5 * block512 {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		if got, want := sum256(b), sha256.Sum256(b); got != want {
			t.Fatalf("SHA-256 of %x is %x, want %x", b, got, want)
		}
		want := sha512.Sum512(b)
		if got := sum512(b); got != want {
			t.Fatalf("SHA-512 of %x is %x, want %x", b, got, want)
		}
		for cut := 0; cut <= n; cut += 1 + n/20 {
			if got := sum512(b[:cut/2], b[cut/2:cut], nil, b[cut:]); got != want {
				t.Fatalf("SHA-512 of %x in parts (%d, %d) is %x, want %x", b, cut/2, cut, got, want)
			}
		}
		if Sum256(b) != sha256.Sum256(b) || Sum512(b[:n/2], b[n/2:]) != want {
			t.Fatalf("%x has two digests", b)
		}
	}
}

// The examples that NIST publishes for FIPS 180-4, and a million times "a".
func TestVectors(t *testing.T) {
	for _, c := range []struct{ message, sha256, sha512 string }{
		{"",
			"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
			"cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e"},
		{"abc",
			"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
			"ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"},
		{"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
			"248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
			"204a8fc6dda82f0a0ced7beb8e08a41657c16ef468b228a8279be331a703c33596fd15c13b1b07f9aa1d3bea57789ca031ad85c7a71dd70354ec631238ca3445"},
		{string(bytes.Repeat([]byte{'a'}, 1_000_000)),
			"cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0",
			"e718483d0ce769644e2e42c7bc15b4638e1f98b13b2044285632a803afa973ebde0ff244877ea60a4cb0432ce577c31beb009c5c2c49aa2e4eadb217ad8cc09b"},
	} {
		got256, got512 := sum256([]byte(c.message)), sum512([]byte(c.message))
		if hex.EncodeToString(got256[:]) != c.sha256 || hex.EncodeToString(got512[:]) != c.sha512 {
			t.Errorf("%.60q: %x, %x", c.message, got256, got512)
		}
	}
}

func FuzzAgrees(f *testing.F) {
	f.Add([]byte("abc"), uint16(1))
	f.Add(make([]byte, 300), uint16(127))
	f.Fuzz(func(t *testing.T, b []byte, cut uint16) {
		at := min(int(cut), len(b))
		if sum256(b) != sha256.Sum256(b) || sum512(b[:at], b[at:]) != sha512.Sum512(b) {
			t.Errorf("%x, cut at %d", b, at)
		}
	})
}

func Benchmark(b *testing.B) {
	p := make([]byte, 1<<20)
	for name, f := range map[string]func(){
		"sha256":          func() { sum256(p) },
		"sha512":          func() { sum512(p) },
		"standard/sha256": func() { sha256.Sum256(p) },
		"standard/sha512": func() { sha512.Sum512(p) },
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(p)))
			for b.Loop() {
				f()
			}
		})
	}
}
