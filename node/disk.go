package node

import "igor.dev/node/wire"

// disk returns how many bytes a folder's file system has, and how many are free; ok is false
// where that is not known. A test has another disk.
var disk = diskOf

const (
	// keptPart and keptBytes, whichever is less, are what of the disk is left for the agents that
	// live here, when others come.
	keptPart  = 20
	keptBytes = 1 << 30

	// unchecked is how many bytes may come before the disk is looked at again.
	unchecked = 64 << 20
)

// roomFor says whether there is room on the disk for so many bytes of an agent that comes: a
// source that sends without end would otherwise stop the agents that are here.
func (n *Node) roomFor(bytes int64) error {
	size, free, ok := disk(n.config.Dir)
	if keep := min(size/keptPart, keptBytes); ok && uint64(max(0, bytes))+keep > free {
		return wire.Refuse(wire.NoCapacity, "there is no room on the disk for %d bytes more, with %d left for the agents that are here", bytes, keep)
	}
	return nil
}
