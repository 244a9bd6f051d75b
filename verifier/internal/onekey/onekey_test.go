package onekey

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

func random(b []byte) {
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
}

func TestFieldAgainstBig(t *testing.T) {
	p := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 255), big.NewInt(19))
	toBig := func(f *field) *big.Int {
		n := new(big.Int)
		for i := 4; i >= 0; i-- {
			n.Lsh(n, 51).Add(n, new(big.Int).SetUint64(f[i]))
		}
		return n
	}
	check := func(what string, got *field, want *big.Int) {
		t.Helper()
		b := got.bytes()
		for i := range 16 {
			b[i], b[31-i] = b[31-i], b[i]
		}
		if want.Mod(want, p); new(big.Int).SetBytes(b[:]).Cmp(want) != 0 {
			t.Fatalf("%s is %x, want %x", what, b, want)
		}
	}
	limb := func() uint64 {
		switch rng.IntN(4) {
		case 0:
			return 1<<54 - 1 - rng.Uint64N(3) // the most that multiply takes
		case 1:
			return rng.Uint64N(3)
		}
		return rng.Uint64N(1 << 54)
	}
	for range 20000 {
		var a, b, got field
		for i := range a {
			a[i], b[i] = limb(), limb()
		}
		x, y := toBig(&a), toBig(&b)
		got.multiply(&a, &b)
		check("product", &got, new(big.Int).Mul(x, y))
		for i, l := range got {
			if l >= 1<<51+1<<37 {
				t.Fatalf("limb %d of a product is not tight: %x", i, l)
			}
		}
		got.square(&a)
		check("square", &got, new(big.Int).Mul(x, x))
		got.add(&a, &b)
		check("sum", &got, new(big.Int).Add(x, y))
		b.carry()
		got.subtract(&a, &b)
		check("difference", &got, new(big.Int).Sub(x, y))
		got.negate(&a)
		check("negative", &got, new(big.Int).Neg(x))
		check("itself", &a, x)
	}
	for _, n := range []*big.Int{big.NewInt(0), big.NewInt(1), new(big.Int).Sub(p, big.NewInt(1)), p, new(big.Int).Add(p, big.NewInt(18))} {
		var b [32]byte
		n.FillBytes(b[:])
		for i := range 16 {
			b[i], b[31-i] = b[31-i], b[i]
		}
		var f, inverse field
		f.setBytes(&b)
		check("number", &f, new(big.Int).Set(n))
		inverse.invert(&f)
		want := new(big.Int).ModInverse(new(big.Int).Mod(n, p), p)
		if want == nil {
			want = new(big.Int)
		}
		check("inverse", &inverse, want)
	}
}

func TestScalarAgainstBig(t *testing.T) {
	l, _ := new(big.Int).SetString("7237005577332262213973186563042994240857116359379907606001950938285454250989", 10)
	toBig := func(s *scalar) *big.Int {
		n := new(big.Int)
		for i := 3; i >= 0; i-- {
			n.Lsh(n, 64).Add(n, new(big.Int).SetUint64(s[i]))
		}
		return n
	}
	if toBig(&order).Cmp(l) != 0 {
		t.Fatal("L is wrong")
	}
	for i := range 20000 {
		var b [64]byte
		random(b[:])
		switch i % 4 {
		case 1: // a multiple of L, or next to it
			n := new(big.Int).Mul(l, new(big.Int).SetUint64(rng.Uint64()))
			n.Lsh(n, uint(rng.IntN(190))).Add(n, big.NewInt(rng.Int64N(3)))
			n.Mod(n, new(big.Int).Lsh(big.NewInt(1), 512)).FillBytes(b[:])
			for i := range 32 {
				b[i], b[63-i] = b[63-i], b[i]
			}
		case 2:
			for i := rng.IntN(64); i < 64; i++ {
				b[i] = 0xff
			}
		}
		var s scalar
		s.setReduced(&b)
		for i := range 32 {
			b[i], b[63-i] = b[63-i], b[i]
		}
		want := new(big.Int).SetBytes(b[:])
		if toBig(&s).Cmp(want.Mod(want, l)) != 0 {
			t.Fatalf("%x mod L is %x", b, s)
		}
		if !s.reduced() {
			t.Fatalf("%x is not reduced", s)
		}
		for _, window := range []uint{smallWindow, largeWindow} {
			sum, half := new(big.Int), int16(1)<<(window-1)
			for i, digit := range s.recode(make([]int16, maxDigits), window) {
				if digit < -half || digit >= half {
					t.Fatalf("digit %d", digit)
				}
				sum.Add(sum, new(big.Int).Lsh(big.NewInt(int64(digit)), window*uint(i)))
			}
			if sum.Cmp(toBig(&s)) != 0 {
				t.Fatalf("digits of %x to the base 2^%d add up to %x", s, window, sum)
			}
		}
	}
}

// good is a signature that a good and a bad one are verified beside.
var good = func() Signed {
	private := ed25519.NewKeyFromSeed(make([]byte, 32))
	return Signed{Signature: (*[64]byte)(ed25519.Sign(private, nil))}
}()

// agree verifies with this package and with crypto/ed25519 and fails if they differ.
// Keys that the core calls weak it never asks this package about.
func agree(t *testing.T, key [32]byte, message, signature []byte) bool {
	t.Helper()
	want := ed25519.Verify(key[:], message, signature)
	v := New(key)
	if v == nil || len(signature) != 64 {
		if v == nil && want {
			t.Errorf("key %x was refused, crypto/ed25519 takes it", key)
		}
		return false
	}
	half := len(message) / 2
	whole, halves, other := Signed{(*[64]byte)(signature), message, nil}, Signed{(*[64]byte)(signature), message[:half], message[half:]}, good
	other.Message = key[:]
	for _, batch := range [][]Signed{{whole}, {halves, other, whole}, {other, whole, other}} {
		valid := make([]bool, len(batch))
		v.Verify(valid, batch)
		for i, b := range batch {
			if want := want && b.Signature != good.Signature; valid[i] != want {
				t.Errorf("key %x, message %x, signature %x, at %d of %d: %v, crypto/ed25519 says %v", key, b.Message, *b.Signature, i, len(batch), valid[i], want)
			}
		}
	}
	return want
}

// TestTogether holds whole batches, good and bad signatures mixed, against
// crypto/ed25519, by the small tables and by the large ones.
func TestTogether(t *testing.T) {
	private := ed25519.NewKeyFromSeed([]byte("one key, of so many signatures..."[:32]))
	v := New([32]byte(private[32:]))
	accepted := 0
	for round := 0; v.verified <= enlargeAfter+20*Together; round++ {
		batch := make([]Signed, round%(Together+1))
		for i := range batch {
			message := make([]byte, rng.IntN(300))
			random(message)
			signature := ed25519.Sign(private, message)
			switch rng.IntN(8) {
			case 0:
				signature[rng.IntN(64)] ^= 1 << rng.IntN(8)
			case 1:
				random(signature)
			case 2:
				random(signature[32:])
				signature[63] &= 0x0f
			case 3: // a small multiple, and the identity
				clear(signature[32:])
				signature[32] = byte(rng.IntN(3))
			case 4:
				message = append(message, 0)
			}
			batch[i] = Signed{(*[64]byte)(signature), message[:len(message)/3], message[len(message)/3:]}
		}
		valid := make([]bool, len(batch))
		v.Verify(valid, batch)
		for i, b := range batch {
			if want := ed25519.Verify(private.Public().(ed25519.PublicKey), slices.Concat(b.Message, b.Rest), b.Signature[:]); valid[i] != want {
				t.Errorf("message %x %x, signature %x, at %d of %d: %v, crypto/ed25519 says %v", b.Message, b.Rest, *b.Signature, i, len(batch), valid[i], want)
			}
			if valid[i] {
				accepted++
			}
		}
	}
	if v.table.window != largeWindow || accepted < 100 {
		t.Errorf("%d accepted, in the end by a window of %d", accepted, v.table.window)
	}
}

// TestTables holds every entry of both tables to the group law.
func TestTables(t *testing.T) {
	p := *basePoint()
	for _, window := range []uint{smallWindow, largeWindow} {
		table, first := newTable(&p, window), p
		for i := 0; i < digits(window); i++ {
			multiple := first
			for j := 0; j < 1<<(window-1); j++ {
				var inverse field
				got := identity
				got.add(&table.multiples[i<<(window-1)+j], false)
				inverse.invert(&got.z)
				encoded := got.encode(&inverse)
				if inverse.invert(&multiple.z); encoded != multiple.encode(&inverse) {
					t.Fatalf("window %d: the entry %d of digit %d is wrong", window, j, i)
				}
				got.add(&table.multiples[i<<(window-1)+j], true)
				if inverse.invert(&got.z); got.encode(&inverse) != [32]byte{1} {
					t.Fatalf("window %d: the entry %d of digit %d less itself is not zero", window, j, i)
				}
				multiple.addPoint(&first)
			}
			for range window {
				first.addPoint(&first)
			}
		}
	}
}

func (v *Verifier) verify(signature, message []byte) bool {
	valid := make([]bool, 1)
	v.Verify(valid, []Signed{{Signature: (*[64]byte)(signature), Message: message}})
	return valid[0]
}

func encode(p *point) [32]byte {
	var inverse field
	inverse.invert(&p.z)
	return p.encode(&inverse)
}

func TestAgreesWithStandardLibrary(t *testing.T) {
	for i := range 300 {
		seed := make([]byte, 32)
		random(seed)
		private := ed25519.NewKeyFromSeed(seed)
		key := [32]byte(private[32:])
		message := make([]byte, rng.IntN(300))
		random(message)
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
		if i < 100 {
			bit %= 256
			key[bit/8] ^= 1 << (bit % 8)
			agree(t, key, message, signature)
		}
	}
}

func TestEveryFlippedBit(t *testing.T) {
	private := ed25519.NewKeyFromSeed(make([]byte, 32))
	message := []byte("every bit counts")
	signature := ed25519.Sign(private, message)
	v := New([32]byte(private[32:]))
	for bit := range 8 * len(signature) {
		signature[bit/8] ^= 1 << (bit % 8)
		if v.verify(signature, message) {
			t.Errorf("signature bit %d", bit)
		}
		signature[bit/8] ^= 1 << (bit % 8)
	}
	for bit := range 8 * len(message) {
		message[bit/8] ^= 1 << (bit % 8)
		if v.verify(signature, message) {
			t.Errorf("message bit %d", bit)
		}
		message[bit/8] ^= 1 << (bit % 8)
	}
	if !v.verify(signature, message) {
		t.Error("the good signature is refused")
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
	for i := range 400 {
		seed := make([]byte, 32)
		random(seed)
		private := ed25519.NewKeyFromSeed(seed)
		a, ok := decode((*[32]byte)(private[32:]))
		if !ok {
			t.Fatal("a good key was refused")
		}
		small := identity
		for range i % 8 {
			small.addPoint(&torsion)
		}
		a.addPoint(&small)
		key := encode(&a)
		// The signature is by the honest key, with the mixed key's bytes hashed, and R
		// with or without a torsion component.
		var h, r, s scalar
		random(seed)
		r.setBytes(seed)
		r[3] &= 1<<60 - 1
		var rPoint = identity
		rPoint.addMultiple(smallBase(), &r)
		if i&8 != 0 {
			rPoint.addPoint(&small)
		}
		encoded := encode(&rPoint)
		message := []byte{byte(i), byte(i >> 8)}
		digest := sha512.Sum512(slices.Concat(encoded[:], key[:], message))
		h.setReduced(&digest)
		s = mulAdd(&h, secret(private), &r)
		signature := append(encoded[:], s.bytes()...)
		if agree(t, key, message, signature) {
			accepted++
		} else {
			refused++
		}
	}
	if accepted < 50 || refused < 50 {
		t.Errorf("%d accepted, %d refused: the cases do not exercise the cofactor", accepted, refused)
	}
}

func secret(private ed25519.PrivateKey) *scalar {
	h := sha512.Sum512(private.Seed())
	h[0] &= 248
	h[31] = h[31]&127 | 64
	var wide [64]byte
	copy(wide[:], h[:32])
	var s scalar
	s.setReduced(&wide)
	return &s
}

func mulAdd(a, b, c *scalar) (out scalar) {
	l, _ := new(big.Int).SetString("7237005577332262213973186563042994240857116359379907606001950938285454250989", 10)
	n := func(s *scalar) *big.Int {
		b := s.bytes()
		for i := range 16 {
			b[i], b[31-i] = b[31-i], b[i]
		}
		return new(big.Int).SetBytes(b)
	}
	r := new(big.Int).Mul(n(a), n(b))
	r.Add(r, n(c)).Mod(r, l)
	var buf [32]byte
	r.FillBytes(buf[:])
	for i := range 16 {
		buf[i], buf[31-i] = buf[31-i], buf[i]
	}
	out.setBytes(buf[:])
	return out
}

func (s *scalar) bytes() []byte {
	b := make([]byte, 32)
	for i := range s {
		putLE64(b[8*i:], s[i])
	}
	return b
}

// TestEdgeScalars tries S and keys at the ends of their ranges.
func TestEdgeScalars(t *testing.T) {
	private := ed25519.NewKeyFromSeed(make([]byte, 32))
	key := [32]byte(private[32:])
	message := []byte("edge")
	good := ed25519.Sign(private, message)
	for _, s := range []string{
		"0000000000000000000000000000000000000000000000000000000000000000",
		"0100000000000000000000000000000000000000000000000000000000000000",
		"ecd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010", // L - 1
		"edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010", // L
		"eed3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010",
		"ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
	} {
		agree(t, key, message, append(append([]byte{}, good[:32]...), unhex(t, s)...))
	}
	// S + L fits in 32 bytes and is the same point.
	var s scalar
	s.setBytes(good[32:])
	n := new(big.Int)
	for i := 3; i >= 0; i-- {
		n.Lsh(n, 64).Add(n, new(big.Int).SetUint64(s[i]))
		n.Add(n, new(big.Int))
	}
	carry := uint64(0)
	for i := range s {
		sum := s[i] + order[i]
		c := uint64(0)
		if sum < s[i] {
			c = 1
		}
		s[i] = sum + carry
		if s[i] < sum {
			c = 1
		}
		carry = c
	}
	if agree(t, key, message, append(append([]byte{}, good[:32]...), s.bytes()...)) {
		t.Error("S + L was accepted")
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
	key := private[32:]
	for name, n := range map[string]int{"onekey": 2 * enlargeAfter, "onekey-few": 0} {
		b.Run(name, func(b *testing.B) {
			v := New([32]byte(key))
			valid, batch := make([]bool, Together), slices.Repeat([]Signed{{(*[64]byte)(signature), message, nil}}, Together)
			v.verified = n
			v.Verify(valid, batch)
			for b.Loop() {
				v.verified = n
				v.Verify(valid, batch)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*Together), "ns/signature")
		})
	}
	b.Run("crypto-ed25519", func(b *testing.B) {
		for b.Loop() {
			ed25519.Verify(ed25519.PublicKey(key), message, signature)
		}
	})
	b.Run("prepare", func(b *testing.B) {
		for b.Loop() {
			New([32]byte(key))
		}
	})
	b.Run("enlarge", func(b *testing.B) {
		v := New([32]byte(key))
		for b.Loop() {
			newTable(&v.minusA, largeWindow)
		}
	})
	b.Run("multiply", func(b *testing.B) {
		x := d2
		for b.Loop() {
			x.multiply(&x, &d)
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
