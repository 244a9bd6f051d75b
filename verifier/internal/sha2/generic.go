package sha2

import "math/bits"

// The initial hash value and the constants of SHA-512: the first 64 bits of the
// fractional parts of square roots and of cube roots of primes. The first 32 bits
// are those of SHA-256 (FIPS 180-4, sections 4.2 and 5.3).
var (
	initial = [8]uint64{
		0x6a09e667f3bcc908, 0xbb67ae8584caa73b, 0x3c6ef372fe94f82b, 0xa54ff53a5f1d36f1,
		0x510e527fade682d1, 0x9b05688c2b3e6c1f, 0x1f83d9abfb41bd6b, 0x5be0cd19137e2179,
	}
	constants = [80]uint64{
		0x428a2f98d728ae22, 0x7137449123ef65cd, 0xb5c0fbcfec4d3b2f, 0xe9b5dba58189dbbc,
		0x3956c25bf348b538, 0x59f111f1b605d019, 0x923f82a4af194f9b, 0xab1c5ed5da6d8118,
		0xd807aa98a3030242, 0x12835b0145706fbe, 0x243185be4ee4b28c, 0x550c7dc3d5ffb4e2,
		0x72be5d74f27b896f, 0x80deb1fe3b1696b1, 0x9bdc06a725c71235, 0xc19bf174cf692694,
		0xe49b69c19ef14ad2, 0xefbe4786384f25e3, 0x0fc19dc68b8cd5b5, 0x240ca1cc77ac9c65,
		0x2de92c6f592b0275, 0x4a7484aa6ea6e483, 0x5cb0a9dcbd41fbd4, 0x76f988da831153b5,
		0x983e5152ee66dfab, 0xa831c66d2db43210, 0xb00327c898fb213f, 0xbf597fc7beef0ee4,
		0xc6e00bf33da88fc2, 0xd5a79147930aa725, 0x06ca6351e003826f, 0x142929670a0e6e70,
		0x27b70a8546d22ffc, 0x2e1b21385c26c926, 0x4d2c6dfc5ac42aed, 0x53380d139d95b3df,
		0x650a73548baf63de, 0x766a0abb3c77b2a8, 0x81c2c92e47edaee6, 0x92722c851482353b,
		0xa2bfe8a14cf10364, 0xa81a664bbc423001, 0xc24b8b70d0f89791, 0xc76c51a30654be30,
		0xd192e819d6ef5218, 0xd69906245565a910, 0xf40e35855771202a, 0x106aa07032bbd1b8,
		0x19a4c116b8d2d0c8, 0x1e376c085141ab53, 0x2748774cdf8eeb99, 0x34b0bcb5e19b48a8,
		0x391c0cb3c5c95a63, 0x4ed8aa4ae3418acb, 0x5b9cca4f7763e373, 0x682e6ff3d6b2b8a3,
		0x748f82ee5defb2fc, 0x78a5636f43172f60, 0x84c87814a1f0ab72, 0x8cc702081a6439ec,
		0x90befffa23631e28, 0xa4506cebde82bde9, 0xbef9a3f7b2c67915, 0xc67178f2e372532b,
		0xca273eceea26619c, 0xd186b8c721c0c207, 0xeada7dd6cde0eb1e, 0xf57d4f7fee6ed178,
		0x06f067aa72176fba, 0x0a637dc5a2c898a6, 0x113f9804bef90dae, 0x1b710b35131c471b,
		0x28db77f523047d84, 0x32caab7b40c72493, 0x3c9ebe0a15c9bebc, 0x431d67c49c100d4c,
		0x4cc5d4becb3e42b6, 0x597f299cfc657e2a, 0x5fcb6fab3ad6faec, 0x6c44198c4a475817,
	}
)

const (
	block256 = 64
	block512 = 128
)

func sum256(b []byte) (digest [Size256]byte) {
	var h [8]uint32
	for i := range h {
		h[i] = uint32(initial[i] >> 32)
	}
	whole := len(b) &^ (block256 - 1)
	blocks256(&h, b[:whole])
	// The rest, a one bit, zeros, and the length in bits, which fits 64 bits.
	var end [2 * block256]byte
	n := copy(end[:], b[whole:])
	end[n] = 0x80
	size := block256
	if n >= block256-8 {
		size = 2 * block256
	}
	putBE64(end[size-8:], uint64(len(b))<<3)
	blocks256(&h, end[:size])
	for i, v := range h {
		digest[4*i], digest[4*i+1], digest[4*i+2], digest[4*i+3] = byte(v>>24), byte(v>>16), byte(v>>8), byte(v)
	}
	return digest
}

func sum512(parts ...[]byte) (digest [Size512]byte) {
	h := initial
	var end [2 * block512]byte // begins with what is not yet a block
	n, total := 0, uint64(0)
	for _, p := range parts {
		total += uint64(len(p))
		if n > 0 {
			taken := copy(end[n:block512], p)
			n, p = n+taken, p[taken:]
			if n < block512 {
				continue
			}
			blocks512(&h, end[:block512])
		}
		whole := len(p) &^ (block512 - 1)
		blocks512(&h, p[:whole])
		n = copy(end[:], p[whole:])
	}
	// As above; the length has 128 bits, of which only the last 64 are used here.
	clear(end[n:])
	end[n] = 0x80
	size := block512
	if n >= block512-16 {
		size = 2 * block512
	}
	putBE64(end[size-8:], total<<3)
	blocks512(&h, end[:size])
	for i, v := range h {
		putBE64(digest[8*i:], v)
	}
	return digest
}

// blocks256 takes whole blocks into the hash value (FIPS 180-4, section 6.2.2).
// After eight rounds every working variable is in its place again.
func blocks256(hash *[8]uint32, p []byte) {
	var w [64]uint32
	for ; len(p) >= block256; p = p[block256:] {
		for i := 0; i < 16; i += 4 {
			q, v := (*[16]byte)(p[4*i:]), (*[4]uint32)(w[i:])
			v[0], v[1], v[2], v[3] = be32(q[0:4]), be32(q[4:8]), be32(q[8:12]), be32(q[12:16])
		}
		for i := 16; i < 64; i += 8 {
			v := (*[24]uint32)(w[i-16:])
			v[16] = v[0] + sigma0x32(v[1]) + v[9] + sigma1x32(v[14])
			v[17] = v[1] + sigma0x32(v[2]) + v[10] + sigma1x32(v[15])
			v[18] = v[2] + sigma0x32(v[3]) + v[11] + sigma1x32(v[16])
			v[19] = v[3] + sigma0x32(v[4]) + v[12] + sigma1x32(v[17])
			v[20] = v[4] + sigma0x32(v[5]) + v[13] + sigma1x32(v[18])
			v[21] = v[5] + sigma0x32(v[6]) + v[14] + sigma1x32(v[19])
			v[22] = v[6] + sigma0x32(v[7]) + v[15] + sigma1x32(v[20])
			v[23] = v[7] + sigma0x32(v[8]) + v[16] + sigma1x32(v[21])
		}
		a, b, c, d, e, f, g, h := hash[0], hash[1], hash[2], hash[3], hash[4], hash[5], hash[6], hash[7]
		for i := 0; i < 64; i += 8 {
			v, k := (*[8]uint32)(w[i:]), (*[8]uint64)(constants[i:])
			d, h = round256(a, b, c, d, e, f, g, h+v[0]+uint32(k[0]>>32))
			c, g = round256(h, a, b, c, d, e, f, g+v[1]+uint32(k[1]>>32))
			b, f = round256(g, h, a, b, c, d, e, f+v[2]+uint32(k[2]>>32))
			a, e = round256(f, g, h, a, b, c, d, e+v[3]+uint32(k[3]>>32))
			h, d = round256(e, f, g, h, a, b, c, d+v[4]+uint32(k[4]>>32))
			g, c = round256(d, e, f, g, h, a, b, c+v[5]+uint32(k[5]>>32))
			f, b = round256(c, d, e, f, g, h, a, b+v[6]+uint32(k[6]>>32))
			e, a = round256(b, c, d, e, f, g, h, a+v[7]+uint32(k[7]>>32))
		}
		hash[0] += a
		hash[1] += b
		hash[2] += c
		hash[3] += d
		hash[4] += e
		hash[5] += f
		hash[6] += g
		hash[7] += h
	}
}

// round256 returns the two working variables that a round computes; h comes with
// the round's word and constant added.
func round256(a, b, c, d, e, f, g, h uint32) (uint32, uint32) {
	h += (bits.RotateLeft32(e, -6) ^ bits.RotateLeft32(e, -11) ^ bits.RotateLeft32(e, -25)) + (g ^ e&(f^g))
	return d + h, h + (bits.RotateLeft32(a, -2) ^ bits.RotateLeft32(a, -13) ^ bits.RotateLeft32(a, -22)) + (a&b | c&(a|b))
}

func sigma0x32(x uint32) uint32 {
	return bits.RotateLeft32(x, -7) ^ bits.RotateLeft32(x, -18) ^ x>>3
}

func sigma1x32(x uint32) uint32 {
	return bits.RotateLeft32(x, -17) ^ bits.RotateLeft32(x, -19) ^ x>>10
}

// blocks512 does what blocks256 does, for SHA-512 (FIPS 180-4, section 6.4.2).
func blocks512(hash *[8]uint64, p []byte) {
	var w [80]uint64
	for ; len(p) >= block512; p = p[block512:] {
		for i := 0; i < 16; i += 4 {
			q, v := (*[32]byte)(p[8*i:]), (*[4]uint64)(w[i:])
			v[0], v[1], v[2], v[3] = be64(q[0:8]), be64(q[8:16]), be64(q[16:24]), be64(q[24:32])
		}
		for i := 16; i < 80; i += 8 {
			v := (*[24]uint64)(w[i-16:])
			v[16] = v[0] + sigma0x64(v[1]) + v[9] + sigma1x64(v[14])
			v[17] = v[1] + sigma0x64(v[2]) + v[10] + sigma1x64(v[15])
			v[18] = v[2] + sigma0x64(v[3]) + v[11] + sigma1x64(v[16])
			v[19] = v[3] + sigma0x64(v[4]) + v[12] + sigma1x64(v[17])
			v[20] = v[4] + sigma0x64(v[5]) + v[13] + sigma1x64(v[18])
			v[21] = v[5] + sigma0x64(v[6]) + v[14] + sigma1x64(v[19])
			v[22] = v[6] + sigma0x64(v[7]) + v[15] + sigma1x64(v[20])
			v[23] = v[7] + sigma0x64(v[8]) + v[16] + sigma1x64(v[21])
		}
		a, b, c, d, e, f, g, h := hash[0], hash[1], hash[2], hash[3], hash[4], hash[5], hash[6], hash[7]
		for i := 0; i < 80; i += 8 {
			v, k := (*[8]uint64)(w[i:]), (*[8]uint64)(constants[i:])
			d, h = round512(a, b, c, d, e, f, g, h+v[0]+k[0])
			c, g = round512(h, a, b, c, d, e, f, g+v[1]+k[1])
			b, f = round512(g, h, a, b, c, d, e, f+v[2]+k[2])
			a, e = round512(f, g, h, a, b, c, d, e+v[3]+k[3])
			h, d = round512(e, f, g, h, a, b, c, d+v[4]+k[4])
			g, c = round512(d, e, f, g, h, a, b, c+v[5]+k[5])
			f, b = round512(c, d, e, f, g, h, a, b+v[6]+k[6])
			e, a = round512(b, c, d, e, f, g, h, a+v[7]+k[7])
		}
		hash[0] += a
		hash[1] += b
		hash[2] += c
		hash[3] += d
		hash[4] += e
		hash[5] += f
		hash[6] += g
		hash[7] += h
	}
}

func round512(a, b, c, d, e, f, g, h uint64) (uint64, uint64) {
	h += (bits.RotateLeft64(e, -14) ^ bits.RotateLeft64(e, -18) ^ bits.RotateLeft64(e, -41)) + (g ^ e&(f^g))
	return d + h, h + (bits.RotateLeft64(a, -28) ^ bits.RotateLeft64(a, -34) ^ bits.RotateLeft64(a, -39)) + (a&b | c&(a|b))
}

func sigma0x64(x uint64) uint64 {
	return bits.RotateLeft64(x, -1) ^ bits.RotateLeft64(x, -8) ^ x>>7
}

func sigma1x64(x uint64) uint64 {
	return bits.RotateLeft64(x, -19) ^ bits.RotateLeft64(x, -61) ^ x>>6
}

func be32(b []byte) uint32 {
	_ = b[3]
	return uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
}

func be64(b []byte) uint64 {
	_ = b[7]
	return uint64(b[0])<<56 | uint64(b[1])<<48 | uint64(b[2])<<40 | uint64(b[3])<<32 |
		uint64(b[4])<<24 | uint64(b[5])<<16 | uint64(b[6])<<8 | uint64(b[7])
}

func putBE64(b []byte, v uint64) {
	for i := range 8 {
		b[i] = byte(v >> (56 - 8*i))
	}
}
