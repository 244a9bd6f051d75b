package journal

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"igor.dev/runtime/internal/wal"
)

// A Repaired says what came of a damaged journal.
type Repaired struct {
	Aside   string // what the damaged file is called now
	Lost    []Loss
	Effects []Effect // that are known
}

// A Loss is a part of a damaged journal that is not in its successor.
type Loss struct {
	Offset, Size int64
	What         string
}

// Repair is an operator's last resort for a damaged journal: it gives the file a
// second name, and leaves in its place all records that are whole and fit
// together. What is lost is forgotten: an effect may be repeated, if its beginning
// is lost and the event log does not have it. newest is the newest checkpoint.
//
// Where there is no journal it makes an empty one. With dry, it changes nothing.
func Repair(folder wal.Folder, life Life, newest Base, dry bool) (*Repaired, error) {
	f, err := folder.Open(Name)
	if errors.Is(err, fs.ErrNotExist) {
		r := &Repaired{Lost: []Loss{{What: "all of it: there is no journal"}}}
		if !dry {
			err := Create(folder, life, newest)
			return r, err
		}
		return r, nil
	} else if err != nil {
		return nil, wrap(err)
	}
	defer f.Close()
	j := Journal{effects: make(map[ID]*Effect)}
	r := &Repaired{}
	kept, err := j.salvage(f, life, newest, r)
	if err != nil {
		return nil, err
	}
	if len(r.Lost) == 0 {
		return nil, errors.New("journal: it is not damaged")
	}
	r.Effects = j.Effects()
	if dry {
		return r, nil
	}
	if r.Aside, err = wal.SetAside(folder, Name); err != nil {
		return nil, wrap(err)
	}
	return r, wrap(wal.WriteFile(folder, nextName, Name, io.MultiReader(kept...), true))
}

// salvage takes every record that is whole and fits what comes before it, and
// returns what the journal is made of then. After a record whose length is damaged
// there is nothing: see [wal.Skip].
func (j *Journal) salvage(f wal.File, life Life, newest Base, r *Repaired) (kept []io.Reader, err error) {
	size, err := f.Size()
	if err != nil {
		return nil, wrap(err)
	}
	lose := func(at, end int64, what string) { r.Lost = append(r.Lost, Loss{at, end - at, what}) }
	at := min(int64(headerSize+wal.Overhead), size)
	p, err := wal.ReadRecord(f, 0, maxRecord)
	if err == nil {
		j.Life, j.base, err = parseHeader(p)
	}
	switch _, damaged := errors.AsType[*wal.TailError](err); {
	case err == nil && j.Life != life:
		return nil, errOtherLife
	case err != nil && p == nil && !damaged && err != io.EOF:
		return nil, wrap(err) // it could not be read
	case err != nil:
		lose(0, at, "the header: "+err.Error())
		j.Life, j.base = life, newest
	}
	kept = append(kept, bytes.NewReader(wal.AppendRecord(nil, appendHeader(nil, j.Life, j.base))))
	for at < size {
		p, err := wal.ReadRecord(f, at, maxRecord)
		end := at + int64(len(p)) + wal.Overhead
		torn, failed := isTorn(f, at, err)
		_, damaged := errors.AsType[*wal.TailError](err)
		switch {
		case failed != nil:
			return nil, wrap(failed)
		case torn:
			return kept, nil // it was never acknowledged
		case damaged:
			what, ok := "a record that cannot be read", false
			if end, ok = wal.Skip(f, at, size, maxRecord); !ok {
				what, end = "all from here on: where the next record begins cannot be known", size
			}
			lose(at, end, what)
		case err != nil:
			return nil, wrap(err)
		default:
			if err := j.apply(p, at); err != nil {
				lose(at, end, fmt.Sprintf("a record that does not fit the others: %v", err))
				break
			}
			kept = append(kept, io.NewSectionReader(f, at, end-at))
		}
		at = end
	}
	return kept, nil
}
