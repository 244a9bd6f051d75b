// Package archive keeps agents' lives in other places, and makes them anew from there.
//
// What is archived is one layout of keys (docs/spec/archive.md), the same in every
// [Target]: a folder, a bucket of S3, Arweave. Segments of a history are CARv1 files that
// never change; what a successor needs beside them has the name of its content. All of it
// authenticates itself, so a target need not be trusted: what it has is hashed.
//
// An [Archiver] is the second tier: it brings what is durable in an agent's folder to the
// targets, in the background, and nothing waits for it.
package archive

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// A Target is a place that keeps objects under keys. It is safe for concurrent use.
type Target interface {
	// Name says where it is, without anything secret.
	Name() string

	// Put keeps an object, durably when it returns, as far as the target can say. With
	// ifAbsent it replaces none: the error is [ErrExists] where there is one.
	// The answer says what it is called there, if that is not its key, and what it cost.
	Put(ctx context.Context, key string, data []byte, ifAbsent bool) (Stored, error)

	// Get returns the bytes of an object from an offset on, at most so many: fewer only
	// where it ends. Its error is [ErrNotFound] where there is none.
	Get(ctx context.Context, key string, offset, limit int64) ([]byte, error)

	// List calls each with the objects whose keys begin with a prefix, in no order.
	List(ctx context.Context, prefix string, each func(Entry) error) error
}

// An Addressed target is one that cannot be opened again by its name alone, such as a bucket
// in another region than the usual one.
type Addressed interface {
	// Address opens it again. It has nothing secret, and may change while the name stays.
	Address() string
}

// addressOf returns what opens a target again.
func addressOf(t Target) string {
	if a, ok := t.(Addressed); ok {
		return a.Address()
	}
	return t.Name()
}

// Stored is what a target says of an object that it took.
type Stored struct {
	ID   string // what it is called there, "" = its key
	Cost int64  // in the target's smallest unit of money
}

// An Entry is an object that a target says it has.
type Entry struct {
	Key  string
	ID   string // as in [Stored]
	Size int64  // -1 = not known

	// Foreign says that anybody may have put it there, and that it counts for nothing if
	// it is not what it claims to be.
	Foreign bool
}

// A Swapper is a target that replaces an object only where it knows which one.
type Swapper interface {
	// Swap replaces an object whose bytes are previous, nil = there is none. Its error is
	// [ErrChanged] where there is another one, and then nothing is changed.
	Swap(ctx context.Context, key string, previous, next []byte) error
}

// A Confirmer is a target that says later whether what it took is there for good.
type Confirmer interface {
	// Confirm says how far an object has come that was put under a key and an id.
	Confirm(ctx context.Context, key, id string) (Stage, error)

	// ReadBack reads an object of at most limit bytes by its id, from one place after the
	// other until good says that it is the object: where there are others, from elsewhere
	// than where it was put.
	ReadBack(ctx context.Context, id string, limit int64, good func([]byte) error) error

	// Candidates calls each with the objects that claim to have a key: anybody can put
	// one there. Those of the own key come first.
	Candidates(ctx context.Context, key string, each func(Entry) error) error
}

// A Stage is how far an object has come in a target.
type Stage uint8

// The stages. An object is final only when its bytes were read back and hashed.
const (
	Built Stage = iota // it is known what it will be
	Sent               // the target took it
	Seen               // the target shows it, and may still lose it
	Final
	Lost       // the target took it and has it no more: it is sent again
	Superseded // nobody has it any more, and nobody needs it: a newer one took its place
)

var stageNames = [...]string{"built", "sent", "seen", "final", "lost", "superseded"}

// String returns the stage in a word.
func (s Stage) String() string {
	if int(s) < len(stageNames) {
		return stageNames[s]
	}
	return fmt.Sprintf("stage %d", uint8(s))
}

// done reports whether nothing is left to do.
func (s Stage) done() bool { return s == Final || s == Superseded }

// MarshalText writes the stage as a word.
func (s Stage) MarshalText() ([]byte, error) {
	if int(s) >= len(stageNames) {
		return nil, errors.New("an unknown stage")
	}
	return []byte(s.String()), nil
}

// UnmarshalText reads the word.
func (s *Stage) UnmarshalText(b []byte) error {
	for i, name := range stageNames {
		if name == string(b) {
			*s = Stage(i)
			return nil
		}
	}
	return fmt.Errorf("unknown stage %q", b)
}

var (
	// ErrExists says that there is an object under a key, and none was replaced.
	ErrExists = errors.New("there is an object of that name already")

	// ErrNotFound says that a target has no object under a key.
	ErrNotFound = errors.New("the target does not have it")

	// ErrChanged says that an object is another one than was expected.
	ErrChanged = errors.New("the object was changed meanwhile")

	// ErrReadOnly says that nothing can be put in a target.
	ErrReadOnly = errors.New("the target can only be read")
)

// A PermanentError is one that trying again does not mend: somebody has to look.
type PermanentError struct{ Err error }

func (e *PermanentError) Error() string { return e.Err.Error() }
func (e *PermanentError) Unwrap() error { return e.Err }

// Limits of keys and objects.
const (
	MaxKey    = 512
	MaxObject = 256 << 20 // bytes of one object
)

// CheckKey refuses what is no key: a relative path of plain names.
func CheckKey(key string) error {
	if key == "" || len(key) > MaxKey {
		return fmt.Errorf("a key of %d bytes: want 1 to %d", len(key), MaxKey)
	}
	for name := range strings.SplitSeq(key, "/") {
		if name == "" || name[0] == '.' {
			return fmt.Errorf("key %q has an empty name in it, or a hidden one", key)
		}
		for _, c := range []byte(name) {
			switch {
			case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.IndexByte(".:_-", c) >= 0:
			default:
				return fmt.Errorf("key %q has the character %q in it", key, c)
			}
		}
	}
	return nil
}

// GetAll returns a whole object of at most limit bytes.
func GetAll(ctx context.Context, t Target, key string, limit int64) ([]byte, error) {
	b, err := t.Get(ctx, key, 0, limit+1)
	if err == nil && int64(len(b)) > limit {
		return nil, fmt.Errorf("%s in %s has more than %d bytes", key, t.Name(), limit)
	}
	return b, err
}
