package runtime

import (
	"context"
	"sync"
	"time"

	"igor.dev/runtime/internal/store"
)

// A packing puts old checkpoints of a life together, and their part of the event log,
// beside the life, which never waits for it.
type packing struct {
	wake chan uint64 // up to which tick all is durable
	stop context.CancelFunc
	done sync.WaitGroup
	held bool
	rest bool // it is not begun again: the folder is copied
}

// packAgain is how long packing waits after it failed. The life goes on without it.
const packAgain = time.Minute

// packsAtOnce is how many agents of a process pack at the same time.
const packsAtOnce = 1

// beginPacking begins to pack what is durable.
func (l *life) beginPacking() {
	if l.packing.rest {
		return
	}
	l.packing.held = false
	if _, real := l.machine.(thisMachine); !real || l.visit || l.keepLoose {
		return
	}
	packer, err := l.store.Packer(l.key)
	if err != nil {
		l.Log.Warn("old checkpoints are not packed", "error", err)
		return
	}
	packer.Through = l.through
	packer.Room = func(bytes int64) bool {
		return l.disk.quota == 0 || l.disk.bytes()+bytes < l.disk.quota-2*diskMargin
	}
	ctx, stop := context.WithCancel(context.Background())
	l.packing.wake, l.packing.stop = make(chan uint64, 1), stop
	l.packing.done.Go(func() { l.pack(ctx, packer) })
	l.packing.durable(l.saved)
}

// durable says up to which tick all checkpoints are durable.
func (p *packing) durable(tick uint64) {
	if p.wake == nil {
		return
	}
	select {
	case <-p.wake: // of before
	default:
	}
	p.wake <- tick
}

// end ends packing, wherever it is: the next run goes on with it.
func (p *packing) end() {
	if p.stop != nil {
		p.stop()
		p.done.Wait()
	}
	p.wake, p.stop = nil, nil
}

// hold ends packing, until it is begun again: nothing of the folder changes meanwhile.
func (p *packing) hold() {
	p.held = p.held || p.stop != nil
	p.end()
}

func (l *life) pack(ctx context.Context, packer *store.Packer) {
	var failed time.Time
	for {
		var tick uint64
		select {
		case <-ctx.Done():
			return
		case tick = <-l.packing.wake:
		}
		if !failed.IsZero() && time.Since(failed) < packAgain {
			continue
		}
		packed := false
		for more := true; more && ctx.Err() == nil; packed = packed || more {
			select {
			case <-ctx.Done():
				return
			case l.engine.packs <- struct{}{}:
			}
			var err error
			more, err = packer.Pack(ctx, tick)
			<-l.engine.packs
			failed = time.Time{}
			if err != nil && ctx.Err() == nil {
				failed = time.Now()
				l.Log.Warn("old checkpoints could not be packed; the agent goes on, and it is tried again", "error", err)
				break
			}
		}
		if packed {
			l.disk.measure()
		}
	}
}
