package runtime

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"

	"igor.dev/runtime/internal/eventlog"
	"igor.dev/runtime/internal/fuel"
	"igor.dev/runtime/internal/hint"
	"igor.dev/runtime/internal/store"
	"igor.dev/verifier"
)

// findProgram has the life go on with the program and the manifest that it goes on
// with: those of the segment after the newest checkpoint, or else of that.
func (l *life) findProgram(s *store.Store, c verifier.Checkpoint, head verifier.Hash) error {
	log, err := s.EventLog()
	if err != nil {
		return err
	}
	wasm, man := c.WASMHash, l.body.manHash
	if h, ok, err := nextHeader(log, c.TickNumber+1); err != nil {
		return err
	} else if ok && h.Version != eventlog.Version1 && h.Prev == head {
		wasm, man = h.WASM, h.Manifest
	}
	if wasm == l.body.wasmHash && man == l.body.manHash {
		return nil
	}
	b, err := l.keptProgram(s, wasm, man)
	if errors.Is(err, fs.ErrNotExist) && wasm != l.body.wasmHash {
		return hint.Wrap(&DamagedError{File: "agent.wasm", err: errors.New("the agent's program is not the one of its newest checkpoint")},
			"put the program with SHA-256 %s back as agent.wasm", wasm)
	}
	if errors.Is(err, fs.ErrNotExist) && man != l.body.manHash {
		return hint.Wrap(&DamagedError{File: "agent.manifest.json", err: errors.New("the agent's manifest is not the one with which it lives")},
			"put the manifest with SHA-256 %s back as agent.manifest.json; igor upgrade gives an agent another one", man)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil // the event log says what is wrong
	}
	if err == nil {
		l.body = b
		err = s.SetProgram(b.wasm, b.man) // an upgrade did not come to that
	}
	return err
}

// nextHeader returns the header of the segment whose first tick is given, if there is
// one in which something may be recorded.
func nextHeader(log *eventlog.Log, first uint64) (h eventlog.Header, ok bool, err error) {
	s, err := log.Segment(first)
	if errors.Is(err, fs.ErrNotExist) {
		return h, false, nil
	}
	if err != nil {
		return h, false, err
	}
	defer s.Close()
	if h, err = s.Header(); err != nil {
		if !eventlog.Bad(err) {
			return h, false, err
		}
		return h, false, nil
	}
	if h.Version == eventlog.Version1 { // it begins anew if it has nothing
		_, err = s.Next()
		return h, err == nil, nil
	}
	return h, true, nil
}

// keptProgram returns a program with a manifest from what the agent's folder has.
func (l *life) keptProgram(s *store.Store, wasm, man verifier.Hash) (*body, error) {
	code, text := l.body.wasm, l.body.man
	var err error
	if wasm != l.body.wasmHash {
		if code, err = s.Kept(programName(wasm), MaxWASM); err == nil && sha256.Sum256(code) != wasm {
			err = fmt.Errorf("%s does not have the content of its name", programName(wasm))
		}
	}
	if err == nil && man != l.body.manHash {
		if text, err = s.Kept(manifestName(man), MaxManifest); err == nil && sha256.Sum256(text) != man {
			err = fmt.Errorf("%s does not have the content of its name", manifestName(man))
		}
	}
	if err != nil {
		return nil, err
	}
	return embody(code, text)
}

// prepareNext has the program ready that goes on after the next checkpoint, metered as
// the segment is that comes then: a life that is lived again has that already.
func (l *life) prepareNext(ctx context.Context) error {
	next := metered{l.body.wasmHash, l.body.manHash, fuel.Version1}
	l.world.Version = eventlog.Version2
	if !l.recovery.over {
		h, ok, err := nextHeader(l.log, l.tick+1)
		if err != nil {
			return err
		}
		if ok {
			next.schedule, l.world.Version = h.Schedule, h.Version
			if h.Version != eventlog.Version1 {
				next.wasm, next.manifest = h.WASM, h.Manifest
			}
		}
	}
	if next == (metered{l.body.wasmHash, l.body.manHash, l.body.schedule}) {
		return nil
	}
	b, err := l.keptProgram(l.store, next.wasm, next.manifest)
	if err != nil {
		return err
	}
	b.schedule = next.schedule
	if err := l.engine.compile(ctx, b, l.Config); err != nil {
		return err
	}
	l.retire(b)
	return nil
}

// retire has another program go on. The one before it is closed when its last instance
// is: see [life.closeRetired].
func (l *life) retire(b *body) {
	l.retired = append(l.retired, l.body)
	l.become(b)
}

func (l *life) closeRetired() {
	for _, b := range l.retired {
		b.close()
	}
	l.retired = nil
}
