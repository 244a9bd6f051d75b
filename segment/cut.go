package segment

import "time"

// A Rule says where a life is cut into segments: at so many checkpoints, after so long, or
// before so many bytes, whichever is first. What is zero is no limit, but for those of
// every segment.
type Rule struct {
	Checkpoints int
	Age         time.Duration // of the oldest that waits
	Bytes       int64         // of the file
}

// Default is the rule for archives.
var Default = Rule{Checkpoints: 1024, Age: time.Hour, Bytes: 8 << 20}

// Next returns how many checkpoints, of those that wait, make the next segment: their sizes
// are given in order, and since when the first waits. It is 0 while none is due. A segment has
// at least one checkpoint, and is over the rule's bytes only if it has one.
func (r Rule) Next(sizes []int64, waits time.Duration) int {
	most, room := MaxCheckpoints, int64(MaxSize)
	if r.Checkpoints > 0 {
		most = min(most, r.Checkpoints)
	}
	if r.Bytes > 0 {
		room = min(room, r.Bytes)
	}
	size := HeaderSize
	for n, s := range sizes {
		size += BlockSize(s)
		if n == most || n > 0 && size > room {
			return n
		}
	}
	if n := len(sizes); n == most || n > 0 && (size >= room || r.Age > 0 && waits >= r.Age) {
		return n
	}
	return 0
}
