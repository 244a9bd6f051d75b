// Package interop holds Igor's files against other people's software. It is a
// module of its own, so that nothing it needs is linked, or even downloaded, by
// who uses igor.dev.
package interop
