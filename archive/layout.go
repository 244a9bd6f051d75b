package archive

import (
	"strconv"

	"igor.dev/verifier"
	"igor.dev/verifier/published"
)

// What an archive has beside the keys of package published: docs/spec/archive.md.

// SealedKey returns the key of a segment that is encrypted.
func SealedKey(agent verifier.PublicKey, n uint64) string {
	return published.SegmentKey(agent, n) + sealedExt
}

// PartsKey returns the key of the statement of what a successor needs after segment n.
func PartsKey(agent verifier.PublicKey, n uint64) string {
	return published.Folder(agent) + "/segments/" + strconv.FormatUint(n, 10) + ".parts"
}

// PartKey returns the key of a part, which is named by its hash.
func PartKey(agent verifier.PublicKey, h verifier.Hash) string {
	return published.Folder(agent) + "/parts/" + h.String()
}

// BindingKey returns the key of the statement that binds an archive key.
func BindingKey(agent, archive verifier.PublicKey) string {
	return published.Folder(agent) + "/archive-keys/" + verifier.Hash(archive).String()
}

// sealedExt ends the keys of what is encrypted.
const sealedExt = ".age"
