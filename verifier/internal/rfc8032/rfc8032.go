// Package rfc8032 verifies Ed25519 signatures, each for itself: with
// crypto/ed25519 everywhere but in WebAssembly, where that brings 25 KB (after brotli)
// and all that crypto/sha512 does (see package sha2). There it is the code in plain.go.
//
// It is what decides on signatures by keys that are not worth preparing, and the second opinion
// on what package onekey refuses. plain.go therefore has nothing in common with onekey: other numbers, other
// formulas, another way to multiply points. It is compiled, and held against
// crypto/ed25519, on every platform.
package rfc8032
