package journal

import (
	"io"
	"math"
	"slices"

	"igor.dev/runtime/internal/wal"
)

// At returns the records of a journal in a file as who goes on from a checkpoint needs
// them, without the agent's signatures: effects of later ticks are not among them, and the
// journal begins at the checkpoint. ok is false if the journal begins later, so that what
// was before cannot be told. Like [Read], it can be called while somebody appends.
func At(f sized, at Base) (records [][]byte, ok bool, err error) {
	s, err := Read(f)
	if err != nil {
		return nil, false, err
	}
	if s.j.base.Tick > at.Tick {
		return nil, false, nil
	}
	scan := wal.NewScanner(io.NewSectionReader(f, 0, math.MaxInt64), maxRecord)
	if _, err := scan.Next(); err != nil {
		return nil, false, readError(err)
	}
	records = [][]byte{appendHeader(nil, s.j.Life, at)}
	kept := map[ID]bool{}
	for {
		p, err := scan.Next()
		if err != nil {
			// What is whole was read before; more may have come since.
			return records, true, nil
		}
		keep := false
		switch p[0] {
		case recordBegin, recordBeginAt:
			id, b, err := parseBegin(p)
			if err != nil {
				return nil, false, &DamageError{err}
			}
			keep = b.Tick <= at.Tick
			kept[id] = keep
		case recordRelease:
			id, tick, err := parseRelease(p)
			keep = err == nil && kept[id] && tick <= at.Tick
		case recordTold:
			id, tick, err := parseTold(p)
			keep = err == nil && kept[id] && tick <= at.Tick
		case recordEnd, recordResolve, recordFailed:
			keep = len(p) > idSize && kept[ID(p[1:1+idSize])]
		}
		if keep {
			records = append(records, slices.Clone(Unsigned(p)))
		}
	}
}

// Without returns the records of a journal without effects that begins at a checkpoint.
func Without(l Life, at Base) [][]byte { return [][]byte{appendHeader(nil, l, at)} }

// LifeOf returns whose journal records are, and where it begins.
func LifeOf(records [][]byte) (l Life, b Base, err error) {
	if len(records) == 0 {
		return l, b, &DamageError{errShort}
	}
	return parseHeader(records[0])
}
