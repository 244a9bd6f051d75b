// Package netns makes a network of network namespaces on one machine, for tests and
// demonstrations with real processes: each host has an address of its own, and links
// between two of them can be cut, in one direction or in both. It needs root and
// iproute2.
package netns
