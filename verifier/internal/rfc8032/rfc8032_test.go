package rfc8032

import (
	"crypto/ed25519"
	"crypto/sha512"
	"encoding/hex"
	"encoding/json"
	"math/big"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
)

var rng = rand.New(rand.NewChaCha8([32]byte{}))

func random(b []byte) []byte {
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return b
}

func reversed(b []byte) []byte {
	b = slices.Clone(b)
	slices.Reverse(b)
	return b
}

func (n *number) big() *big.Int {
	v := new(big.Int)
	for i := 7; i >= 0; i-- {
		v.Lsh(v, 32).Add(v, new(big.Int).SetUint64(n[i]))
	}
	return v
}

var bigPrime, bigOrder = prime.big(), order.big()

func TestConstants(t *testing.T) {
	p, _ := new(big.Int).SetString("57896044618658097711785492504343953926634992332820282019728792003956564819949", 10)
	l, _ := new(big.Int).SetString("7237005577332262213973186563042994240857116359379907606001950938285454250989", 10)
	if bigPrime.Cmp(p) != 0 || bigOrder.Cmp(l) != 0 {
		t.Error("p or L is wrong")
	}
	two := big.NewInt(2)
	if primeLess2.big().Cmp(new(big.Int).Sub(p, two)) != 0 {
		t.Error("p-2 is wrong")
	}
	if want := new(big.Int).Sub(p, big.NewInt(5)); rootPower.big().Cmp(want.Rsh(want, 3)) != 0 {
		t.Error("(p-5)/8 is wrong")
	}
	d := new(big.Int).Mul(big.NewInt(-121665), new(big.Int).ModInverse(big.NewInt(121666), p))
	if curveD.big().Cmp(d.Mod(d, p)) != 0 {
		t.Error("d is wrong")
	}
	quarter := new(big.Int).Rsh(p, 2) // (p-1)/4
	if sqrtMinusOne.big().Cmp(quarter.Exp(two, quarter, p)) != 0 {
		t.Error("the root of -1 is wrong")
	}
	y := new(big.Int).Mul(big.NewInt(4), new(big.Int).ModInverse(big.NewInt(5), p))
	b, ok := decode((*[32]byte)(reversed(y.Mod(y, p).FillBytes(make([]byte, 32)))))
	if !ok || b.x.bytes() != base.x.bytes() || b.y.bytes() != base.y.bytes() || b.t.bytes() != base.t.bytes() {
		t.Error("the base point is wrong")
	}
}

// edges are numbers at which a carry or a borrow goes far.
var edges = []number{
	{}, {1}, {18}, {19}, {37}, {38}, prime, order,
	{limb - 19, limb, limb, limb, limb, limb, limb, limb >> 1}, // p-1
	{limb - 17, limb, limb, limb, limb, limb, limb, limb >> 1}, // p+1
	{limb - 37, limb, limb, limb, limb, limb, limb, limb},      // 2p
	{limb - 36, limb, limb, limb, limb, limb, limb, limb},
	{limb, limb, limb, limb, limb, limb, limb, limb},
	{0, limb, limb, limb, limb, limb, limb, limb},
	{0, 0, 0, 0, 0, 0, 0, limb},
	{limb},
}

func TestFieldAgainstBig(t *testing.T) {
	pick := func(i int) number {
		if i < len(edges) {
			return edges[i]
		}
		n := parse(random(make([]byte, 32)))
		for range rng.IntN(4) {
			n[rng.IntN(8)] = limb * uint64(rng.IntN(2))
		}
		return n
	}
	check := func(what string, a, b, got *number, want *big.Int) {
		t.Helper()
		encoded := got.bytes()
		if new(big.Int).SetBytes(reversed(encoded[:])).Cmp(want.Mod(want, bigPrime)) != 0 {
			t.Fatalf("%s of %x and %x is %x", what, *a, *b, *got)
		}
		for _, l := range got {
			if l > limb {
				t.Fatalf("%s of %x and %x has the limb %x", what, *a, *b, l)
			}
		}
	}
	for i := range 200 {
		for j := range 200 {
			a, b := pick(i), pick(j)
			x, y := a.big(), b.big()
			var got number
			got.add(&a, &b)
			check("sum", &a, &b, &got, new(big.Int).Add(x, y))
			got.subtract(&a, &b)
			check("difference", &a, &b, &got, new(big.Int).Sub(x, y))
			got.multiply(&a, &b)
			check("product", &a, &b, &got, new(big.Int).Mul(x, y))
			got = a
			got.multiply(&got, &got)
			check("square", &a, &a, &got, new(big.Int).Mul(x, x))
			if less(&a, &b) != (x.Cmp(y) < 0) {
				t.Fatalf("%x and %x are compared wrongly", a, b)
			}
		}
		a := pick(i)
		var got number
		got.power(&a, &primeLess2)
		check("inverse", &a, &a, &got, new(big.Int).Exp(a.big(), primeLess2.big(), bigPrime))
	}
}

func TestModOrderAgainstBig(t *testing.T) {
	for i := range 2000 {
		var b [64]byte
		random(b[:])
		switch i % 3 {
		case 1: // a multiple of L, or next to it
			n := new(big.Int).Mul(bigOrder, new(big.Int).SetUint64(rng.Uint64()))
			n.Lsh(n, uint(rng.IntN(190))).Add(n, big.NewInt(rng.Int64N(3)-1))
			n.FillBytes(b[:])
			slices.Reverse(b[:])
		case 2:
			for i := rng.IntN(64); i < 64; i++ {
				b[i] = 0xff
			}
		}
		want := new(big.Int).SetBytes(reversed(b[:]))
		if got := modOrder(&b); got.big().Cmp(want.Mod(want, bigOrder)) != 0 {
			t.Fatalf("%x mod L is %x", b, got)
		}
	}
}

// agree verifies with verify and with crypto/ed25519 and fails if they differ.
func agree(t *testing.T, key [32]byte, message, signature []byte) bool {
	t.Helper()
	if len(signature) != 64 {
		return false
	}
	half := len(message) / 2
	got := verify(&key, (*[64]byte)(signature), message[:half], message[half:])
	if want := ed25519.Verify(key[:], message, signature); got != want {
		t.Errorf("key %x, message %x, signature %x: %v, crypto/ed25519 says %v", key, message, signature, got, want)
	}
	var v Verifier
	if v.Verify(&key, (*[64]byte)(signature), message, nil) != got {
		t.Errorf("key %x, message %x, signature %x: two answers", key, message, signature)
	}
	return got
}

func TestAgreesWithStandardLibrary(t *testing.T) {
	for range 150 {
		private := ed25519.NewKeyFromSeed(random(make([]byte, 32)))
		key := [32]byte(private[32:])
		message := random(make([]byte, rng.IntN(300)))
		signature := ed25519.Sign(private, message)
		if !agree(t, key, message, signature) {
			t.Fatal("a good signature was refused")
		}
		bit := rng.IntN(512)
		signature[bit/8] ^= 1 << (bit % 8)
		if agree(t, key, message, signature) {
			t.Fatal("a flipped bit was accepted")
		}
		signature[bit/8] ^= 1 << (bit % 8)
		key[bit%256/8] ^= 1 << (bit % 8)
		if agree(t, key, message, signature) {
			t.Fatal("another key was accepted")
		}
	}
}

// TestTorsion signs by keys that are the sum of an honest one and a point of small
// order, where the cofactor and the reduction of k decide.
func TestTorsion(t *testing.T) {
	torsion, ok := decode((*[32]byte)(unhex(t, "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a")))
	if !ok {
		t.Fatal("a point of order 8 was refused")
	}
	accepted, refused := 0, 0
	for i := range 160 {
		private := ed25519.NewKeyFromSeed(random(make([]byte, 32)))
		a, ok := decode((*[32]byte)(private[32:]))
		if !ok {
			t.Fatal("a good key was refused")
		}
		small := point{y: one, z: one}
		for range i % 8 {
			small.add(&torsion)
		}
		a.add(&small)
		key := a.encode()
		// The signature is by the honest key, with the mixed key's bytes hashed, and R
		// with or without a torsion component.
		r := parse(random(make([]byte, 32)))
		r[7] &= 1<<28 - 1
		rPoint := sumOfMultiples(&r, &base, &number{}, &base)
		if i&8 != 0 {
			rPoint.add(&small)
		}
		signature := rPoint.encode()
		message := []byte{byte(i), byte(i >> 8)}
		digest := sha512.Sum512(slices.Concat(signature[:], key[:], message))
		k := modOrder(&digest)
		h := sha512.Sum512(private.Seed())
		h[0] &= 248
		h[31] = h[31]&127 | 64
		secret := parse(h[:32])
		s := new(big.Int).Mul(k.big(), secret.big())
		s.Add(s, r.big()).Mod(s, bigOrder)
		if agree(t, key, message, append(signature[:], reversed(s.FillBytes(make([]byte, 32)))...)) {
			accepted++
		} else {
			refused++
		}
	}
	if accepted < 20 || refused < 20 {
		t.Errorf("%d accepted, %d refused: the cases do not exercise the cofactor", accepted, refused)
	}
}

// TestEdgeScalars tries S at the ends of its range, and beyond.
func TestEdgeScalars(t *testing.T) {
	private := ed25519.NewKeyFromSeed(make([]byte, 32))
	message := []byte("edge")
	good := ed25519.Sign(private, message)
	s := new(big.Int).SetBytes(reversed(good[32:]))
	for _, s := range append(edges, parse(reversed(s.Add(s, bigOrder).FillBytes(make([]byte, 32))))) {
		encoded := reversed(s.big().FillBytes(make([]byte, 32)))
		if agree(t, [32]byte(private[32:]), message, slices.Concat(good[:32], encoded)) {
			t.Errorf("S = %x was accepted", s)
		}
	}
}

func TestWycheproof(t *testing.T) {
	raw, err := os.ReadFile("../../../testdata/wycheproof/ed25519_test.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		NumberOfTests int
		TestGroups    []struct {
			PublicKey struct{ Pk string }
			Tests     []struct {
				TcID            int
				Comment, Result string
				Msg, Sig        string
			}
		}
	}
	if err := json.Unmarshal(raw, &file); err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, g := range file.TestGroups {
		key := [32]byte(unhex(t, g.PublicKey.Pk))
		for _, c := range g.Tests {
			n++
			if got := agree(t, key, unhex(t, c.Msg), unhex(t, c.Sig)); got != (c.Result == "valid") {
				t.Errorf("test %d (%s): %v, want %s", c.TcID, c.Comment, got, c.Result)
			}
		}
	}
	if n == 0 || n != file.NumberOfTests {
		t.Errorf("%d vectors run, %d in the file", n, file.NumberOfTests)
	}
}

func FuzzAgrees(f *testing.F) {
	private := ed25519.NewKeyFromSeed(make([]byte, 32))
	f.Add([]byte(private[32:]), []byte("message"), ed25519.Sign(private, []byte("message")))
	f.Add(make([]byte, 32), []byte{}, make([]byte, 64))
	f.Fuzz(func(t *testing.T, key, message, signature []byte) {
		if len(key) != 32 || len(signature) != 64 {
			t.Skip()
		}
		if _, ok := decode((*[32]byte)(key)); !ok {
			return // crypto/ed25519 takes some keys that are not canonical
		}
		agree(t, [32]byte(key), message, signature)
		// The same bytes as a seed: a key and a signature that are good.
		private := ed25519.NewKeyFromSeed(key)
		if !agree(t, [32]byte(private[32:]), message, ed25519.Sign(private, message)) {
			t.Error("a good signature was refused")
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	private := ed25519.NewKeyFromSeed(make([]byte, 32))
	message := make([]byte, 1169)
	signature := ed25519.Sign(private, message)
	key := (*[32]byte)(private[32:])
	b.Run("plain", func(b *testing.B) {
		for b.Loop() {
			verify(key, (*[64]byte)(signature), message, nil)
		}
	})
	b.Run("standard", func(b *testing.B) {
		for b.Loop() {
			ed25519.Verify(key[:], message, signature)
		}
	})
	b.Run("multiply", func(b *testing.B) {
		for b.Loop() {
			base.x.multiply(&base.x, &base.y)
		}
	})
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
