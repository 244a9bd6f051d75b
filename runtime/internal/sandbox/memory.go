package sandbox

import (
	"sync"

	"github.com/tetratelabs/wazero/experimental"
)

// A memoryPool hands the linear memory of instances that are gone to new ones,
// as zero as new. A life makes an instance for each checkpoint: growing each
// one's memory from nothing, and collecting it, is most of an instance's cost.
type memoryPool struct {
	mu   sync.Mutex
	free [][]byte // of length 0, and zero up to their capacity
}

// poolSize is how many memories wait for new instances; a life has two.
const poolSize = 2

// Allocate implements [experimental.MemoryAllocator].
func (p *memoryPool) Allocate(_, most uint64) experimental.LinearMemory {
	p.mu.Lock()
	defer p.mu.Unlock()
	m := &memory{pool: p, most: most}
	if n := len(p.free); n > 0 {
		m.b, p.free = p.free[n-1], p.free[:n-1]
	}
	return m
}

type memory struct {
	pool *memoryPool
	most uint64
	b    []byte // zero behind its length
}

// Reallocate implements [experimental.LinearMemory]. Memory only grows.
func (m *memory) Reallocate(size uint64) []byte {
	if size > m.most {
		return nil
	}
	if size > uint64(cap(m.b)) {
		grown := make([]byte, size, min(m.most, max(size, 2*uint64(cap(m.b)))))
		copy(grown, m.b)
		m.b = grown
	}
	m.b = m.b[:max(size, uint64(len(m.b)))]
	return m.b
}

// Free implements [experimental.LinearMemory].
func (m *memory) Free() {
	m.pool.mu.Lock()
	defer m.pool.mu.Unlock()
	if len(m.pool.free) < poolSize {
		clear(m.b)
		m.pool.free = append(m.pool.free, m.b[:0])
	}
	m.b = nil
}
