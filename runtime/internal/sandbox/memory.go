package sandbox

import (
	"context"
	"errors"
	"sync"

	"github.com/tetratelabs/wazero/experimental"
)

// Memory is what instances may have. It is safe for concurrent use.
type Memory interface {
	// Take returns how many bytes there are for an instance that needs some, and is
	// faster with more: so many, or what it needs, or 0.
	Take(needs, likes uint64) uint64

	Give(bytes uint64)
}

type memoryKey struct{}

// WithMemory has the instances that are made with a context take their memory from m,
// which knows for whom. It is given back to the program's [Config.Memory].
func WithMemory(ctx context.Context, m Memory) context.Context {
	return context.WithValue(ctx, memoryKey{}, m)
}

// ErrNoMemory says that the machine has no memory for an agent that may have it.
// The agent never sees that: its memory.grow fails by its manifest alone.
var ErrNoMemory = errors.New("the machine has no memory left for agents")

// A memoryPool hands the linear memory of instances that are gone to new ones,
// as zero as new. A life makes an instance for each checkpoint: growing each
// one's memory from nothing, and collecting it, is most of an instance's cost.
type memoryPool struct {
	quota Memory // where it is given back, and taken from if nobody says otherwise; nil: none

	mu   sync.Mutex
	free [][]byte // of length 0, and zero up to their capacity
}

// poolSize is how many memories wait for new instances; a life has two.
const poolSize = 2

// allocate returns the memory of an instance, which has nothing yet.
func (p *memoryPool) allocate(quota Memory, most uint64) *memory {
	p.mu.Lock()
	defer p.mu.Unlock()
	m := &memory{pool: p, quota: quota, most: most}
	if n := len(p.free); n > 0 {
		m.b, p.free = p.free[n-1], p.free[:n-1]
	}
	return m
}

// rest gives back what is kept for new instances.
func (p *memoryPool) rest() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, b := range p.free {
		p.give(b)
	}
	p.free = nil
}

func (p *memoryPool) give(b []byte) {
	if p.quota != nil {
		p.quota.Give(uint64(cap(b)))
	}
}

type memory struct {
	pool  *memoryPool
	quota Memory // nil: none
	most  uint64
	b     []byte // zero behind its length
	freed bool
}

// A birth hands out the memory of one instance, and takes it back if there is none:
// the engine leaves that of a module that cannot be instantiated.
type birth struct {
	pool   *memoryPool
	quota  Memory
	memory *memory
}

func (p *memoryPool) birth(ctx context.Context) *birth {
	b := &birth{pool: p, quota: p.quota}
	if m, ok := ctx.Value(memoryKey{}).(Memory); ok {
		b.quota = m
	}
	return b
}

// Allocate implements [experimental.MemoryAllocator].
func (b *birth) Allocate(_, most uint64) experimental.LinearMemory {
	b.memory = b.pool.allocate(b.quota, most)
	return b.memory
}

func (b *birth) fail() {
	if b.memory != nil {
		b.memory.Free()
	}
}

// Reallocate implements [experimental.LinearMemory]. Memory only grows. Where the
// machine has none the call ends, and not the growing alone, which the agent would
// see.
func (m *memory) Reallocate(size uint64) []byte {
	if size > m.most {
		return nil
	}
	if has := uint64(cap(m.b)); size > has {
		needs, likes := size-has, min(m.most, max(size, 2*has))-has
		room := likes
		if m.quota != nil {
			room = m.quota.Take(needs, likes)
		}
		if room == 0 {
			if len(m.b) == 0 { // there will be no instance
				m.Free()
			}
			panic(&HostError{Err: ErrNoMemory})
		}
		grown := make([]byte, size, has+room)
		copy(grown, m.b)
		m.b = grown
	}
	m.b = m.b[:max(size, uint64(len(m.b)))]
	return m.b
}

// Free implements [experimental.LinearMemory]. It may be called again.
func (m *memory) Free() {
	m.pool.mu.Lock()
	defer m.pool.mu.Unlock()
	if m.freed {
		return
	}
	m.freed = true
	if len(m.pool.free) < poolSize {
		clear(m.b)
		m.pool.free = append(m.pool.free, m.b[:0])
	} else {
		m.pool.give(m.b)
	}
	m.b = nil
}
