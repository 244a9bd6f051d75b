package authority

import "iter"

// GatherWithin is [Position.Gather] with other limits.
func (p *Position) GatherWithin(chain, blobs int, total int64, versions func(Name) iter.Seq2[Blob, error]) (map[Name]Blob, error) {
	return p.gather(limits{chain, blobs, total}, versions)
}

// ErrTooMany says that there was no end to what a position names.
var ErrTooMany = errTooMany
