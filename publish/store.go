package publish

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"

	"igor.dev/verifier"
)

// A store keeps checkpoints that came by themselves in a file: blocks of a CAR, without its
// header. What an earlier fetch left in it is used again.
type store struct {
	f    *os.File
	size int64
	at   map[verifier.Hash]extent
}

type extent struct {
	offset int64
	size   int
}

func (f *fetch) newStore() (*store, error) {
	file, err := os.OpenFile(filepath.Join(f.dir, "blocks"), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	s := &store{f: file, at: make(map[verifier.Hash]extent)}
	if err := s.load(); err != nil {
		file.Close()
		return nil, err
	}
	return s, nil
}

func (s *store) close() { s.f.Close() }

// load reads what is there, up to where it was cut.
func (s *store) load() error {
	r := bufio.NewReaderSize(s.f, 256<<10)
	for {
		length, err := binary.ReadUvarint(r)
		if err != nil || length > 36+verifier.MaxCheckpointSize || length < 36 {
			break
		}
		b := make([]byte, length)
		if _, err := io.ReadFull(r, b); err != nil {
			break
		}
		h := verifier.Hash(b[4:36])
		if sha256.Sum256(b[36:]) != h {
			break
		}
		start := int64(len(verifier.AppendCARBlockStart(nil, h, len(b)-36)))
		s.at[h] = extent{s.size + start, len(b) - 36}
		s.size += start + int64(len(b)-36)
	}
	return s.f.Truncate(s.size)
}

func (s *store) has(h verifier.Hash) bool {
	_, ok := s.at[h]
	return ok
}

func (s *store) put(h verifier.Hash, b []byte) error {
	if s.has(h) {
		return nil
	}
	block := verifier.AppendCARBlock(nil, h, b)
	if _, err := s.f.WriteAt(block, s.size); err != nil {
		return err
	}
	s.at[h] = extent{s.size + int64(len(block)-len(b)), len(b)}
	s.size += int64(len(block))
	return nil
}

// get returns a checkpoint, nil if it is not there.
func (s *store) get(h verifier.Hash) ([]byte, error) {
	e, ok := s.at[h]
	if !ok {
		return nil, nil
	}
	b := make([]byte, e.size)
	if _, err := s.f.ReadAt(b, e.offset); err != nil {
		return nil, err
	}
	if sha256.Sum256(b) != h {
		return nil, errors.New(s.f.Name() + ": it was changed while it was used")
	}
	return b, nil
}
