// Package sha2 is SHA-256 and SHA-512 (FIPS 180-4).
//
// It is crypto/sha256 and crypto/sha512 everywhere but in WebAssembly, where these
// bring 120 KB (after brotli) of other algorithms, self-tests and operating system
// along, and have no assembly. There it is the code in generic.go, which is made for how Go
// compiles to WebAssembly: rounds without branches between them. That code is
// compiled, and held against the standard library, on every platform.
package sha2

// Sizes of the digests, in bytes.
const (
	Size256 = 32
	Size512 = 64
)
