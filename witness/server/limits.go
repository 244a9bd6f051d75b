package server

import (
	"sync"
	"time"
)

// A Rate is how much somebody may do: so many at once, and so many a second in the long
// run. Zero is no limit.
type Rate struct {
	PerSecond float64
	Burst     int
}

// limiter holds many to a rate each. The zero value is ready.
type limiter[K comparable] struct {
	rate Rate

	mu  sync.Mutex
	all map[K]*bucket
}

type bucket struct {
	left float64
	last time.Time
}

// maxBuckets is how many are remembered; those that have been quiet are forgotten.
const maxBuckets = 1 << 16

// take reports whether there is room for one more.
func (l *limiter[K]) take(who K, now time.Time) bool {
	if l.rate.PerSecond <= 0 {
		return true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.all[who]
	if b == nil {
		if l.all == nil {
			l.all = map[K]*bucket{}
		}
		if len(l.all) >= maxBuckets && !l.forget(now) {
			return false // somebody floods it: newcomers wait
		}
		b = &bucket{float64(l.rate.Burst), now}
		l.all[who] = b
	}
	b.left = min(float64(l.rate.Burst), b.left+now.Sub(b.last).Seconds()*l.rate.PerSecond)
	b.last = now
	if b.left < 1 {
		return false
	}
	b.left--
	return true
}

// forget drops those that are full again.
func (l *limiter[K]) forget(now time.Time) bool {
	for who, b := range l.all {
		if b.left+now.Sub(b.last).Seconds()*l.rate.PerSecond >= float64(l.rate.Burst) {
			delete(l.all, who)
		}
	}
	return len(l.all) < maxBuckets
}
