package archive

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"igor.dev/verifier"
)

// The archive's records are in the folder archive/ of an agent's folder: where its life
// was cut, and a file for each target. They are a memory of what was done. Without them,
// what the targets have is looked at again; nothing is sent twice under another name.
//
//	segments     a line for each segment: a [Cut]
//	index        the content hash of every checkpoint in them
//	to-HEX       a line for each step of an object in a target: a [Record]; its first line
//	             names the target
//	parts/HEX    what a statement names, until all targets have it
//	sealed/N     a segment encrypted, likewise: encrypted again, it would be other bytes
const (
	recordsDir  = "archive"
	cutsFile    = "segments"
	targetStart = "to-"
	indexFile   = "index"
	partsDir    = "parts"
	sealedDir   = "sealed"

	maxLine = 16 << 10
)

// A Cut is a segment of the archive.
type Cut struct {
	N           uint64        `json:"n"`
	First       uint64        `json:"first"` // ticks
	Last        uint64        `json:"last"`
	Checkpoints int           `json:"checkpoints"`
	Prev        verifier.Hash `json:"-"`
	Root        verifier.Hash `json:"-"`
	Size        int64         `json:"size"`
	Sum         [32]byte      `json:"-"` // SHA-256 of the segment

	SealedSize int64    `json:"sealedSize,omitempty"`
	SealedSum  [32]byte `json:"-"`

	// Statement is signed; nil = there is none for this segment.
	Statement []byte        `json:"statement,omitempty"`
	Program   verifier.Hash `json:"-"` // of the last checkpoint

	// Plain are the parts of the statement before they were encrypted, if they are.
	Plain []string `json:"plain,omitempty"`

	// Read is how far the life was read, for the next statement's increments.
	Read Read `json:"read"`
}

// cutLine is a Cut as its file has it.
type cutLine struct {
	Cut
	Prev      string `json:"prev"`
	Root      string `json:"root"`
	Sum       string `json:"sha256"`
	Program   string `json:"program"`
	SealedSum string `json:"sealedSha256,omitempty"`
}

func (c *Cut) line() ([]byte, error) {
	l := cutLine{Cut: *c, Prev: c.Prev.String(), Root: c.Root.String(), Sum: hex.EncodeToString(c.Sum[:]), Program: c.Program.String()}
	if c.SealedSize > 0 {
		l.SealedSum = hex.EncodeToString(c.SealedSum[:])
	}
	return json.Marshal(&l)
}

func parseCut(b []byte) (c Cut, err error) {
	var l cutLine
	if err := json.Unmarshal(b, &l); err != nil {
		return c, err
	}
	c = l.Cut
	for _, f := range []struct {
		to   []byte
		text string
	}{{c.Prev[:], l.Prev}, {c.Root[:], l.Root}, {c.Sum[:], l.Sum}, {c.Program[:], l.Program}, {c.SealedSum[:], l.SealedSum}} {
		if f.text == "" && c.SealedSize == 0 && &f.to[0] == &c.SealedSum[0] {
			continue
		}
		raw, err := hex.DecodeString(f.text)
		if err != nil || len(raw) != 32 {
			return c, errors.New("it has a hash that is none")
		}
		copy(f.to, raw)
	}
	if c.Root.IsZero() || c.Checkpoints <= 0 || c.Last < c.First || c.Size <= 0 || c.SealedSize < 0 {
		return c, errors.New("it is no segment")
	}
	if c.Statement != nil {
		if _, err := ParseStatement(c.Statement); err != nil {
			return c, err
		}
	}
	return c, nil
}

// A Record is how far an object has come in a target.
type Record struct {
	Key   string `json:"key"` // below the agent's folder in the archive
	Stage Stage  `json:"stage"`
	ID    string `json:"id,omitempty"`
	Cost  int64  `json:"cost,omitempty"`
}

// A targetLine is the first one of a target's records.
type targetLine struct {
	Target string `json:"target"`         // its name
	Open   string `json:"open,omitempty"` // what opens it again; "" = its name does
}

// lineOf returns the first line of a target's records.
func lineOf(t Target) targetLine {
	l := targetLine{Target: t.Name()}
	if at := addressOf(t); at != l.Target {
		l.Open = at
	}
	return l
}

// readCuts reads where a life was cut. A last line that a crash cut off never counted.
func readCuts(dir string) (cuts []Cut, err error) {
	err = eachLine(filepath.Join(dir, recordsDir, cutsFile), func(b []byte) error {
		c, err := parseCut(b)
		if err == nil && c.N != uint64(len(cuts)) {
			err = fmt.Errorf("it is segment %d, and should be %d", c.N, len(cuts))
		}
		if err == nil && len(cuts) > 0 && (c.Prev != cuts[len(cuts)-1].Root || c.First <= cuts[len(cuts)-1].Last) {
			err = errors.New("it does not follow the one before it")
		}
		cuts = append(cuts, c)
		return err
	})
	return cuts, err
}

// readRecords reads a target's records.
func readRecords(path string) (target targetLine, all map[string]Record, lines int, err error) {
	all = map[string]Record{}
	err = eachLine(path, func(b []byte) error {
		if lines++; lines == 1 {
			return json.Unmarshal(b, &target)
		}
		var r Record
		if err := json.Unmarshal(b, &r); err != nil {
			return err
		}
		if err := CheckKey(r.Key); err != nil {
			return err
		}
		all[r.Key] = r
		return nil
	})
	return target, all, lines, err
}

// eachLine calls each with the whole lines of a file; there need not be one.
func eachLine(path string, each func([]byte) error) error {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil && !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not a regular file", path)
	}
	if err != nil {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	r := bufio.NewReaderSize(f, maxLine)
	for n := 1; ; n++ {
		line, err := r.ReadSlice('\n')
		if err == io.EOF {
			return nil // what is left was cut off
		}
		if err == nil {
			err = each(bytes.TrimSuffix(line, []byte("\n")))
		}
		if err != nil {
			return fmt.Errorf("%s: line %d: %w", path, n, err)
		}
	}
}

// appendLine appends a line to a file, durably; what a crash left of one is cut off first.
func appendLine(path string, line []byte) (err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	end, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	tail := make([]byte, min(end, 2*maxLine))
	if _, err := f.ReadAt(tail, end-int64(len(tail))); err != nil && err != io.EOF {
		return err
	}
	if whole := int64(bytes.LastIndexByte(tail, '\n') + 1); whole < int64(len(tail)) {
		end -= int64(len(tail)) - whole
		if err := f.Truncate(end); err != nil {
			return err
		}
	}
	if _, err := f.WriteAt(append(line, '\n'), end); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if end == 0 {
		return syncDir(filepath.Dir(path))
	}
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	return nil
}

// writeFile writes a file at once and durably.
func writeFile(path string, data []byte) error {
	var random [8]byte
	rand.Read(random[:])
	next := filepath.Join(filepath.Dir(path), ".next-"+hex.EncodeToString(random[:]))
	f, err := os.OpenFile(next, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(next, path)
	}
	if err != nil {
		os.Remove(next)
		return err
	}
	return syncDir(filepath.Dir(path))
}

// recordsOf is the file of a target's records.
func recordsOf(dir, target string) string {
	sum := sha256.Sum256([]byte(target))
	return filepath.Join(dir, recordsDir, targetStart+hex.EncodeToString(sum[:8]))
}

// makeRecords makes the folders of the records.
func makeRecords(dir string) error {
	made := false
	for _, d := range []string{recordsDir, filepath.Join(recordsDir, partsDir), filepath.Join(recordsDir, sealedDir)} {
		err := os.Mkdir(filepath.Join(dir, d), 0o755)
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		made = made || err == nil
	}
	if !made {
		return nil
	}
	// What a killed process left has no name.
	for _, d := range []string{dir, filepath.Join(dir, recordsDir)} {
		if err := syncDir(d); err != nil {
			return err
		}
	}
	return nil
}

// A FinalState is how far a life is archived.
type FinalState struct {
	Targets  int // whose records there are
	Segments int // that are final in all of them
	Tick     uint64
	Head     verifier.Hash
}

// FinalOf returns up to where everything is final in every target that the records in an
// agent's folder name: its bytes were read back, and hashed. It asks no target.
func FinalOf(dir string) (f FinalState, err error) {
	cuts, err := readCuts(dir)
	if err != nil {
		return f, err
	}
	files, err := os.ReadDir(filepath.Join(dir, recordsDir))
	if errors.Is(err, fs.ErrNotExist) {
		return f, nil
	}
	if err != nil {
		return f, err
	}
	f.Segments = len(cuts)
	for _, file := range files {
		if !strings.HasPrefix(file.Name(), targetStart) {
			continue
		}
		_, records, _, err := readRecords(filepath.Join(dir, recordsDir, file.Name()))
		if err != nil {
			return FinalState{}, err
		}
		f.Targets++
		f.Segments = min(f.Segments, finalSegments(cuts, records))
	}
	if f.Targets == 0 {
		f.Segments = 0
	}
	if f.Segments > 0 {
		f.Tick, f.Head = cuts[f.Segments-1].Last, cuts[f.Segments-1].Root
	}
	return f, nil
}

// StatusOf returns how far a life is archived in each target, as the records in its folder
// say. It does not count what is in no segment yet.
func StatusOf(dir string) (all []Status, err error) {
	cuts, err := readCuts(dir)
	if err != nil {
		return nil, err
	}
	files, err := filepath.Glob(filepath.Join(dir, recordsDir, targetStart+"*"))
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		target, records, _, err := readRecords(file)
		if err != nil {
			return nil, err
		}
		s := Status{Target: target.Target, Segments: finalSegments(cuts, records)}
		for _, r := range records {
			s.Spent += r.Cost
		}
		s.count(cuts)
		all = append(all, s)
	}
	return all, nil
}

// count counts what is final and what is behind.
func (s *Status) count(cuts []Cut) {
	if s.Segments > 0 {
		s.Tick, s.Head = cuts[s.Segments-1].Last, cuts[s.Segments-1].Root.CID()
	}
	for _, c := range cuts[s.Segments:] {
		s.Behind += c.Checkpoints
		s.BytesBehind += c.Size
	}
}

// LastCut returns the tick of the newest checkpoint that is in a segment; none says that
// there is no segment.
func LastCut(dir string) (tick uint64, none bool, err error) {
	cuts, err := readCuts(dir)
	if err != nil || len(cuts) == 0 {
		return 0, true, err
	}
	return cuts[len(cuts)-1].Last, false, nil
}

// FinalTick returns the newest tick up to which every checkpoint is final in all targets,
// and how many targets those are.
func FinalTick(dir string) (tick uint64, targets int, err error) {
	f, err := FinalOf(dir)
	return f.Tick, f.Targets, err
}

// finalSegments returns how many of the first segments are final, with all that belongs to
// them.
func finalSegments(cuts []Cut, records map[string]Record) int {
	for i := range cuts {
		for _, o := range cuts[i].objects() {
			if !records[o.key].Stage.done() {
				return i
			}
		}
	}
	return len(cuts)
}

// An object is something that is put in a target.
type object struct {
	key  string // below the agent's folder
	size int64  // -1 = as its part has it
	sum  [32]byte
	cut  *Cut
	what objectKind
	part verifier.Hash
}

// nothing is the hash of a part of no bytes. It is not put anywhere: some targets take
// nothing that is empty.
var nothing = verifier.Hash(sha256.Sum256(nil))

type objectKind uint8

const (
	aPart objectKind = iota
	aStatement
	aSegment
)

// objects are those of a segment, in the order in which they are put: what is named first.
func (c *Cut) objects() (all []object) {
	if c.Statement != nil {
		s, _ := readStatement(c.Statement) // whose signature was looked at when it came
		seen := map[verifier.Hash]bool{{}: true, nothing: true}
		for _, h := range s.Parts {
			if !seen[h] {
				seen[h] = true
				all = append(all, object{key: "parts/" + h.String(), size: -1, sum: h, cut: c, what: aPart, part: h})
			}
		}
	}
	name := fmt.Sprintf("segments/%d", c.N)
	segment := object{key: name + ".car", size: c.Size, sum: c.Sum, cut: c, what: aSegment}
	if c.SealedSize > 0 {
		segment.key, segment.size, segment.sum = name+".car"+sealedExt, c.SealedSize, c.SealedSum
	}
	all = append(all, segment)
	if c.Statement != nil {
		all = append(all, object{key: name + ".parts", size: int64(len(c.Statement)), sum: sha256.Sum256(c.Statement), cut: c, what: aStatement})
	}
	return all
}

// marshal writes a line.
func marshal(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // of strings and numbers
	}
	return b
}

func recordsPath(dir, name string) string { return filepath.Join(dir, recordsDir, name) }
