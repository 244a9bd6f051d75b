package sha2

// Sum256 returns the SHA-256 of b.
func Sum256(b []byte) [Size256]byte { return sum256(b) }

// Sum512 returns the SHA-512 of the parts, one after the other.
func Sum512(parts ...[]byte) [Size512]byte { return sum512(parts...) }
