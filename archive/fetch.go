package archive

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"filippo.io/age"

	"igor.dev/verifier"
	"igor.dev/verifier/published"
)

// A Fetch says from where a life is fetched.
type Fetch struct {
	Targets    []Target // the first that has a good copy of something gives it
	Agent      verifier.PublicKey
	Identities []age.Identity // for what is encrypted

	// Segment is called with each segment, in order. It is verified as far as it goes: all
	// of its checkpoints are authentic, and follow those before.
	Segment func(c Cut, b []byte) error
}

// A Found life is what archives have of it.
type Found struct {
	Cuts []Cut

	// Statement is the newest one, nil = there is none. Where it is not that of the last
	// segment, what happened after it is not known.
	Statement *Statement

	// Parts are what the statement names. Of receipts they are all that the statements of
	// all segments name, one after the other.
	Parts map[Part][]byte

	// Events are the pieces of the event log.
	Events [][]byte

	// Lacks says what was named and is not there, or is something else.
	Lacks []error
}

// Last returns the last segment.
func (f *Found) Last() *Cut { return &f.Cuts[len(f.Cuts)-1] }

// Whole reports whether a successor can go on from the last segment.
func (f *Found) Whole() bool {
	return f.Statement != nil && f.Statement.Head == f.Last().Root && len(f.Lacks) == 0
}

// A MissingError says that archives lack a segment in the middle of a life.
type MissingError struct {
	Segment uint64
	More    uint64 // how many there are after it
	Err     error
}

func (e *MissingError) Error() string {
	if errors.Is(e.Err, ErrSealed) {
		return ErrSealed.Error()
	}
	return fmt.Sprintf("segment %d is missing or damaged, and %d after it are there: %v", e.Segment, e.More, e.Err)
}

func (e *MissingError) Unwrap() error { return e.Err }

// ErrSealed says that an archive is encrypted, and that no identity was given.
var ErrSealed = errors.New("the archive is encrypted, and no identity was given to read it with")

// maxParts is how many bytes the parts of a life may have together, in memory.
const maxParts = 1 << 30

// Life fetches a life. Every byte is held against a hash or a signature. Its error is
// [ErrNotFound] if no target knows it.
func (f *Fetch) Life(ctx context.Context) (*Found, error) {
	found := &Found{Parts: map[Part][]byte{}}
	for {
		n := uint64(len(found.Cuts))
		if n == published.MaxSegments {
			return nil, errors.New("the life has more segments than a life can have")
		}
		c, err := f.segment(ctx, n, found.Cuts)
		if err != nil && ctx.Err() == nil {
			more, listErr := f.after(ctx, n)
			if listErr != nil {
				return nil, listErr
			}
			if more > 0 || !errors.Is(err, ErrNotFound) {
				return nil, &MissingError{n, more, err}
			}
			break
		}
		if err != nil {
			return nil, err
		}
		found.Cuts = append(found.Cuts, c)
	}
	if len(found.Cuts) == 0 {
		return nil, fmt.Errorf("%s: %w", f.Agent.DID(), ErrNotFound)
	}
	return found, f.parts(ctx, found)
}

// segment fetches one segment, from whoever has it.
func (f *Fetch) segment(ctx context.Context, n uint64, before []Cut) (c Cut, err error) {
	missing := true
	var errs []error
	for _, t := range f.Targets {
		for _, sealed := range []bool{false, true} {
			key := published.SegmentKey(f.Agent, n)
			if sealed {
				key = SealedKey(f.Agent, n)
			}
			var content []byte
			err := each(ctx, t, key, published.MaxSegment, func(b []byte) (err error) {
				var outer []byte
				if sealed {
					if outer, err = b, nil; len(f.Identities) == 0 {
						return ErrSealed
					}
					if b, err = unseal(b, published.MaxSegment, f.Identities); err != nil {
						return err
					}
				}
				if c, err = cutOf(b, n, f.Agent); err != nil {
					return err
				}
				switch {
				case n == 0 && !c.Prev.IsZero():
					return errors.New("it does not begin with the genesis")
				case n > 0 && (c.Prev != before[n-1].Root || c.First <= before[n-1].Last):
					return errors.New("it does not follow the segment before it")
				}
				if content = b; sealed {
					c.SealedSize, c.SealedSum = int64(len(outer)), sha256.Sum256(outer)
				}
				return nil
			})
			switch {
			case err == nil:
				return c, f.Segment(c, content)
			case ctx.Err() != nil:
				return c, ctx.Err()
			case !errors.Is(err, ErrNotFound):
				missing = false
				errs = append(errs, fmt.Errorf("%s: %s: %w", t.Name(), key, err))
			}
		}
	}
	if missing {
		return c, ErrNotFound
	}
	return c, errors.Join(errs...)
}

// after returns how many segments targets say there are after one.
func (f *Fetch) after(ctx context.Context, n uint64) (more uint64, err error) {
	prefix := published.Folder(f.Agent) + "/segments/"
	for _, t := range f.Targets {
		call, done := within(ctx, 0)
		seen := 0
		err = t.List(call, prefix, func(e Entry) error {
			if seen++; seen > 4*published.MaxSegments {
				return errors.New("it has more objects than a life can have")
			}
			name, _, _ := strings.Cut(strings.TrimPrefix(e.Key, prefix), ".")
			if at, err := strconv.ParseUint(name, 10, 64); err == nil && at > n && at < published.MaxSegments {
				more = max(more, at-n)
			}
			return nil
		})
		if _, later := t.(Confirmer); !later {
			// A web server does not list what it has, and its head says it.
			if b, headErr := GetAll(call, t, published.HeadKey(f.Agent), published.MaxHead); headErr == nil {
				if h, headErr := published.ParseHead(b); headErr == nil && h.Segments > n {
					more = max(more, h.Segments-n-1)
					if h.Segments == n+1 {
						more = max(more, 1) // the missing one itself is named
					}
				}
			}
		}
		done()
		if err != nil && !errors.Is(err, errors.ErrUnsupported) {
			return more, fmt.Errorf("%s: %w", t.Name(), err)
		}
	}
	return more, nil
}

// parts fetches what the statements name.
func (f *Fetch) parts(ctx context.Context, found *Found) error {
	total := int64(0)
	all := map[Part][]byte{}
	get := func(p Part, h verifier.Hash) error {
		if h.IsZero() {
			return nil
		}
		b, err := f.part(ctx, h)
		if err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			found.Lacks = append(found.Lacks, fmt.Errorf("the %s: %w", p, err))
			return nil
		}
		if total += int64(len(b)); total > maxParts {
			return fmt.Errorf("the parts of the life have more than %d bytes", maxParts)
		}
		if p == Events {
			found.Events = append(found.Events, b)
		} else {
			all[p] = joined(all[p], b)
		}
		return nil
	}
	read := Read{}
	for i := range found.Cuts {
		c := &found.Cuts[i]
		c.Read = read
		s, raw, err := f.statement(ctx, c)
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			found.Lacks = append(found.Lacks, err)
			continue
		}
		found.Statement, c.Statement = &s, raw
		for _, p := range increments {
			if err := get(p, s.Parts[p]); err != nil {
				return err
			}
		}
		read[0], read[1] = int64(len(all[Receipts])), int64(len(all[Onchain]))
		if !s.Parts[Events].IsZero() {
			read[2] = int64(s.Tick) + 1
		}
		c.Read = read
	}
	if found.Statement == nil {
		return nil
	}
	for _, p := range []Part{Program, Manifest, Journal, Home, Retirement} {
		if err := get(p, found.Statement.Parts[p]); err != nil {
			return err
		}
	}
	found.Parts = all
	return nil
}

// joined puts another piece of a file to those before. One that begins with all of them has
// them again.
func joined(all, piece []byte) []byte {
	if bytes.HasPrefix(piece, all) {
		all = []byte{}
	}
	return append(all, piece...)
}

// statement fetches the statement of a segment.
func (f *Fetch) statement(ctx context.Context, c *Cut) (s Statement, raw []byte, err error) {
	missing := true
	var errs []error
	for _, t := range f.Targets {
		err := each(ctx, t, PartsKey(f.Agent, c.N), int64(MaxStatement), func(b []byte) (err error) {
			if s, err = ParseStatement(b); err != nil {
				return err
			}
			if s.Agent != f.Agent || s.Segment != c.N || s.Head != c.Root || s.Tick != c.Last {
				return errors.New("it is a statement of another segment")
			}
			raw = b
			return nil
		})
		if err == nil {
			return s, raw, nil
		}
		if !errors.Is(err, ErrNotFound) {
			missing = false
			errs = append(errs, fmt.Errorf("%s: the statement of segment %d: %w", t.Name(), c.N, err))
		}
	}
	if missing {
		return s, nil, ErrNotFound
	}
	return s, nil, errors.Join(errs...)
}

// part fetches a part by its hash.
func (f *Fetch) part(ctx context.Context, h verifier.Hash) (content []byte, err error) {
	if h == nothing {
		return []byte{}, nil
	}
	var errs []error
	for _, t := range f.Targets {
		err := each(ctx, t, PartKey(f.Agent, h), MaxObject, func(b []byte) error {
			if sha256.Sum256(b) != h {
				return errOther
			}
			content = b
			return nil
		})
		if err == nil {
			if len(f.Identities) > 0 && isSealed(content) {
				return unseal(content, MaxObject, f.Identities)
			}
			return content, nil
		}
		errs = append(errs, fmt.Errorf("%s: %w", t.Name(), err))
	}
	return nil, errors.Join(errs...)
}

// isSealed reports whether something is encrypted.
func isSealed(b []byte) bool {
	return strings.HasPrefix(string(b[:min(len(b), 32)]), "age-encryption.org/v1\n")
}

// Restore writes the records of a life into a folder that was made of what archives have:
// its pieces stay the same ones. read is how long the files of receipts are that were made.
func (f *Found) Restore(dir string, read Read) error {
	if err := makeRecords(dir); err != nil {
		return err
	}
	for i := range f.Cuts {
		c := f.Cuts[i]
		if i == len(f.Cuts)-1 {
			c.Read = read
		}
		line, err := c.line()
		if err != nil {
			return err
		}
		if err := appendLine(recordsPath(dir, cutsFile), line); err != nil {
			return err
		}
	}
	return nil
}
