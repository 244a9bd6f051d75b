package runtime

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"

	"igor.dev/runtime/internal/eventlog"
	"igor.dev/runtime/internal/hint"
	"igor.dev/runtime/internal/journal"
	"igor.dev/runtime/internal/manifest"
	"igor.dev/runtime/internal/receipt"
	"igor.dev/runtime/internal/store"
	"igor.dev/runtime/internal/wal"
	"igor.dev/segment"
	"igor.dev/verifier"
	receipts "igor.dev/verifier/receipt"
)

// A RepairConfig says with what to mend an agent's folder. Nothing is taken from it that
// is not the agent's own, by its hash or its signature.
type RepairConfig struct {
	Copy     string // another copy of the folder, "" = there is none
	WASM     []byte // the program, nil = not given
	Manifest []byte
	Receipts []byte // of the agent, such as those of a node's ledger

	// Do has it mended; else nothing is changed.
	Do bool
}

// A Repair is one thing that is missing or damaged in an agent's folder.
type Repair struct {
	File   string   `json:"file"` // its name in the folder
	Damage string   `json:"damage"`
	Mend   string   `json:"mend,omitempty"`  // what mends it, "" = nothing that is at hand
	Lost   []string `json:"lost,omitempty"`  // what is lost for good if it is mended so
	Next   string   `json:"next,omitempty"`  // what else to do
	Aside  string   `json:"aside,omitempty"` // what the damaged file is called now
	Done   bool     `json:"done"`
	Fatal  bool     `json:"fatal"` // the agent cannot go on before it is mended

	do func() (aside string, err error)
}

// RepairFolder finds what is missing or damaged in the folder of an agent that does not
// run, all that it has, and mends what can be. It drops nothing: a file that it
// replaces keeps a second name.
func RepairFolder(ctx context.Context, dir string, c RepairConfig) ([]Repair, error) {
	s, err := store.Open(dir)
	if err != nil {
		return nil, public(err)
	}
	defer s.Close()
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	r := &repairing{RepairConfig: c, ctx: ctx, store: s, root: root, dir: dir, folder: s.Folder(), all: []Repair{}}
	for _, find := range []func() error{r.packs, r.history, r.key, r.events, r.program, r.receipts, r.mark, r.journal} {
		if err := find(); err != nil {
			return r.all, public(err)
		}
		for i := range r.all {
			one := &r.all[i]
			if !c.Do || one.do == nil || one.Done {
				continue
			}
			if one.Aside, err = one.do(); err != nil {
				return r.all, fmt.Errorf("%s: %w", filepath.Join(dir, one.File), err)
			}
			one.Done = true
		}
	}
	return r.all, nil
}

type repairing struct {
	RepairConfig
	ctx    context.Context
	store  *store.Store
	root   *os.Root
	dir    string
	folder wal.Folder
	all    []Repair

	agent     verifier.PublicKey
	chain     []pastFinding // the genesis first
	genesis   verifier.Hash
	broken    bool // the chain does not reach back to the genesis
	wasm, man verifier.Hash
	copied    map[verifier.Hash]uint64 // ticks of checkpoints of the copy, by their hashes
	mended    []byte                   // receipts, as they are or come to be
	copies    []otherCopy              // files that are not as the agent's mark says
	gone      []Repair                 // such segments, which the copy does not have
}

type pastFinding struct {
	verifier.Finding
	name string
}

// lost says how many bytes are missing at the end of a file.
func (r *repairing) lost(name string) int64 {
	if len(r.chain) == 0 {
		return 0
	}
	return readRun(r.root).lost(r.dir, name, r.chain[len(r.chain)-1].ContentHash.CID())
}

func (r *repairing) found(one Repair) { r.all = append(r.all, one) }

// replace returns what puts content in the place of a file.
func (r *repairing) replace(name string, content []byte, secret bool) func() (string, error) {
	return func() (aside string, err error) {
		if err := r.root.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return "", err
		}
		sub, err := r.root.OpenRoot(filepath.Dir(name))
		if err != nil {
			return "", err
		}
		defer sub.Close()
		folder, base := wal.Dir(sub), filepath.Base(name)
		if _, err := sub.Lstat(base); err == nil {
			if aside, err = wal.SetAside(folder, base); err != nil {
				return "", err
			}
			aside = filepath.Join(filepath.Dir(name), aside)
		}
		const next = ".repair.next"
		if secret {
			f, err := sub.OpenFile(next, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
			if err != nil {
				return aside, err
			}
			_, err = f.Write(content)
			if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
				return aside, err
			}
			return aside, wal.Give(folder, next, base)
		}
		return aside, wal.WriteFile(folder, next, base, bytes.NewReader(content), true)
	}
}

// aside returns what takes a file away, and keeps it.
func (r *repairing) aside(name string) func() (string, error) {
	return func() (string, error) {
		sub, err := r.root.OpenRoot(filepath.Dir(name))
		if err != nil {
			return "", err
		}
		defer sub.Close()
		folder, base := wal.Dir(sub), filepath.Base(name)
		aside, err := wal.SetAside(folder, base)
		if err == nil {
			err = errors.Join(folder.Remove(base), folder.Sync())
		}
		return filepath.Join(filepath.Dir(name), aside), err
	}
}

// fromCopy reads a file of the other copy, nil if it has none.
func (r *repairing) fromCopy(name string, limit int64) []byte {
	if r.Copy == "" {
		return nil
	}
	root, err := os.OpenRoot(r.Copy)
	if err != nil {
		return nil
	}
	defer root.Close()
	b, err := readPart(root, name, limit)
	if err != nil {
		return nil
	}
	return b
}

// history finds the chain of checkpoints, from the newest back to the genesis.
func (r *repairing) history() error {
	names, err := checkpointNames(r.dir)
	if err != nil {
		return err
	}
	byHash, damage := map[verifier.Hash]pastFinding{}, map[string]string{}
	var newest pastFinding
	if newest, err = r.packed(byHash); err != nil {
		return err
	}
	for _, name := range names {
		if r.ctx.Err() != nil {
			return r.ctx.Err()
		}
		b, err := readPart(r.root, filepath.Join(store.DirHistory, name), verifier.MaxCheckpointSize)
		if err != nil {
			return fmt.Errorf("%s: %w", filepath.Join(r.dir, store.DirHistory, name), plainPath(err))
		}
		f := verifier.Examine(b)
		if !f.Authentic() {
			damage[name] = store.Damage(&f)
			continue
		}
		one := pastFinding{f, name}
		if byHash[f.ContentHash] = one; newest.name == "" || f.TickNumber >= newest.TickNumber {
			newest = one
		}
	}
	if newest.name == "" {
		return hint.Wrap(&DamagedError{File: store.DirHistory, err: fmt.Errorf("%s has no checkpoint that is whole", r.dir)}, "restore the folder history from a copy")
	}
	r.agent = newest.AgentPubKey
	for name, what := range damage {
		if name > newest.name {
			one := Repair{File: filepath.Join(store.DirHistory, name), Damage: "it is damaged (" + what + ")"}
			if name == names[len(names)-1] && len(damage) == 1 {
				one.Next = "igor resume " + r.dir + " sets it aside, and makes it again from the event log: the same bytes"
			} else if b := r.fromCopy(one.File, verifier.MaxCheckpointSize); b != nil {
				if f := verifier.Examine(b); f.Authentic() && f.AgentPubKey == r.agent {
					one.Mend, one.do = "the one of "+r.Copy, r.replace(one.File, b, false)
				}
			}
			if one.Mend == "" && one.Next == "" {
				one.Next = "restore it from a copy: igor repair " + r.dir + " --from COPY"
			}
			one.Fatal = one.Next != "" && len(damage) > 1
			r.found(one)
			r.broken = r.broken || one.Mend == "" && len(damage) > 1
		}
	}
	at := newest
	for {
		r.chain = append(r.chain, at)
		if at.PrevHash.IsZero() {
			r.genesis = at.ContentHash
			break
		}
		before, ok := byHash[at.PrevHash]
		if !ok {
			b, f := r.checkpointOfCopy(at.PrevHash)
			name, what := store.DirHistory, fmt.Sprintf("the checkpoint before %s is missing, or not as it was", at.name)
			for _, n := range slices.Sorted(maps.Keys(damage)) { // the last before it
				if n < at.name {
					name, what = filepath.Join(store.DirHistory, n), "it is damaged ("+damage[n]+")"
				}
			}
			if name == store.DirHistory {
				if tick, ok := tickBefore(r.dir, at.TickNumber); ok {
					name = filepath.Join(store.DirHistory, store.FileName(tick))
				}
			}
			one := Repair{File: name, Damage: what, Fatal: true, Next: "restore it from a copy: igor repair " + r.dir + " --from COPY"}
			if b != nil {
				before = pastFinding{*f, store.FileName(f.TickNumber)}
				one.File, one.Mend, one.Next = filepath.Join(store.DirHistory, before.name), "the one of "+r.Copy, ""
				one.do = r.replace(one.File, b, false)
				ok = true
			}
			r.found(one)
			if !ok {
				r.broken = true
				break
			}
		}
		at = before
	}
	for _, one := range r.gone {
		if r.broken && !slices.ContainsFunc(r.all, func(other Repair) bool { return other.File == one.File }) {
			r.found(one)
		}
	}
	slices.Reverse(r.chain)
	r.wasm = newest.WASMHash
	return nil
}

// packs looks for the files that the agent's mark names: a segment or a pack that is not there,
// or is another one.
func (r *repairing) packs() error {
	key, err := store.Key(r.dir)
	if err != nil {
		return nil // that is said
	}
	_, others, _ := store.SignedMark(r.dir, verifier.PublicKey(key.Public().(ed25519.PublicKey)))
	for _, other := range others {
		one := Repair{File: other.Name, Damage: other.Err.Error(), Next: "restore it from a copy: igor repair " + r.dir + " --from COPY"}
		b := r.fromCopy(other.Name, segment.MaxSize)
		switch is := b != nil && sha256.Sum256(b) == other.Hash; {
		case is:
			one.Mend, one.Next, one.do = "the one of "+r.Copy, "", r.replace(other.Name, b, false)
			r.copies = append(r.copies, otherCopy{other, b})
		case filepath.Dir(other.Name) == store.DirEvents:
			one.Lost = []string{fmt.Sprintf("ticks up to %d, of the checkpoints from tick %d on, cannot be run again, and what the agent said in them is not known", other.Last, other.First)}
			r.copies = append(r.copies, otherCopy{other, nil})
		default:
			one.Fatal = true
			r.gone = append(r.gone, one) // unless its checkpoints are elsewhere
			continue
		}
		r.found(one)
	}
	return nil
}

// An otherCopy is a packed file that is not as it was, and what the copy has instead, nil if
// it has nothing.
type otherCopy struct {
	store.Other
	b []byte
}

// said reports whether it is said already that the events before a checkpoint are not there.
func (r *repairing) said(tick uint64) bool {
	return slices.ContainsFunc(r.copies, func(o otherCopy) bool {
		return filepath.Dir(o.Name) == store.DirEvents && o.First <= tick && tick <= o.Last
	})
}

// packed finds the checkpoints in segments, and says which of those are damaged.
func (r *repairing) packed(byHash map[verifier.Hash]pastFinding) (newest pastFinding, err error) {
	h, err := store.OpenHistory(r.dir)
	if err != nil {
		return newest, err
	}
	defer h.Close()
	read := func(in io.ReaderAt) error {
		_, err := segment.Read(io.NewSectionReader(in, 0, math.MaxInt64), func(b []byte, f *verifier.Finding) error {
			if one := (pastFinding{*f, store.FileName(f.TickNumber)}); f.Authentic() {
				if byHash[f.ContentHash] = one; newest.name == "" || f.TickNumber >= newest.TickNumber {
					newest = one
				}
			}
			return r.ctx.Err()
		})
		return err
	}
	for _, other := range r.copies {
		if filepath.Dir(other.Name) == store.DirHistory {
			read(bytes.NewReader(other.b))
		}
	}
	for _, s := range h.Segments {
		name := filepath.Join(store.DirHistory, s.CAR())
		if slices.ContainsFunc(r.copies, func(o otherCopy) bool { return o.Name == name }) {
			continue
		}
		f, err := (readOnly{root: r.root}).Open(name)
		if err != nil {
			return newest, fmt.Errorf("%s: %w", filepath.Join(r.dir, name), plainPath(err))
		}
		err = read(f)
		f.Close()
		if r.ctx.Err() != nil {
			return newest, r.ctx.Err()
		}
		if err != nil {
			r.badSegment(name, err)
		}
	}
	return newest, nil
}

// badSegment says what mends a segment of the history.
func (r *repairing) badSegment(name string, err error) {
	one := Repair{File: name, Damage: "it is damaged: " + err.Error(), Fatal: true, Next: "restore it from a copy: igor repair " + r.dir + " --from COPY"}
	if b := r.fromCopy(name, segment.MaxSize); b != nil {
		info, err := segment.Read(bytes.NewReader(b), nil)
		if key, keyErr := store.Key(r.dir); err == nil && keyErr == nil && info.Agent == verifier.PublicKey(key.Public().(ed25519.PublicKey)) {
			one.Mend, one.Next, one.do = "the one of "+r.Copy, "", r.replace(name, b, false)
		}
	}
	r.found(one)
}

// tickBefore returns the tick of the checkpoint before the one of a tick, by the names of
// the event log's segments.
func tickBefore(dir string, tick uint64) (before uint64, ok bool) {
	ticks, err := allSegmentTicks(filepath.Join(dir, store.DirEvents))
	if err != nil {
		return 0, false
	}
	for _, first := range ticks {
		if first > 0 && first <= tick {
			before, ok = first-1, true
		}
	}
	return before, ok
}

// checkpointOfCopy finds a checkpoint in the other copy by its hash.
func (r *repairing) checkpointOfCopy(hash verifier.Hash) ([]byte, *verifier.Finding) {
	if r.copied == nil {
		r.copied = map[verifier.Hash]uint64{}
		if r.Copy != "" {
			for b, err := range store.After(r.Copy, 0, true) {
				if err != nil {
					break
				}
				if c, err := verifier.Parse(b); err == nil {
					r.copied[sha256.Sum256(b)] = c.TickNumber
				}
			}
		}
	}
	tick, ok := r.copied[hash]
	if !ok {
		return nil, nil
	}
	for b, err := range store.After(r.Copy, max(tick, 1)-1, tick == 0) {
		if err != nil {
			break
		}
		if f := verifier.Examine(b); f.Authentic() && f.ContentHash == hash {
			return b, &f
		}
		break
	}
	return nil, nil
}

func (r *repairing) key() error {
	key, err := store.Key(r.dir)
	if err == nil && verifier.PublicKey(key.Public().(ed25519.PublicKey)) == r.agent {
		return nil
	}
	one := Repair{File: "key", Fatal: true, Damage: "it is that of another agent", Next: "put the agent's own key back; without it the life is over, and igor fork begins another one from it"}
	if err != nil {
		one.Damage = err.Error()
	}
	if r.Copy != "" {
		if theirs, err := store.Key(r.Copy); err == nil && verifier.PublicKey(theirs.Public().(ed25519.PublicKey)) == r.agent {
			b, err := store.EncodeKey(theirs)
			if err != nil {
				return err
			}
			one.Mend, one.Next, one.do = "the one of "+r.Copy, "", r.replace("key", b, true)
		}
	}
	r.found(one)
	return nil
}

// events holds every segment of the event log against its checkpoints, and looks for
// the payloads that it names.
func (r *repairing) events() error {
	log, done, err := openReadOnly(filepath.Join(r.dir, store.DirEvents))
	if err != nil {
		return err
	}
	defer done()
	var prev *verifier.Finding
	for i := range r.chain {
		if r.ctx.Err() != nil {
			return r.ctx.Err()
		}
		next := &r.chain[i].Finding
		if i == 0 && !next.PrevHash.IsZero() {
			prev = next
			continue
		}
		first := uint64(0)
		if prev != nil {
			first = prev.TickNumber + 1
		}
		name := filepath.Join(store.DirEvents, eventlog.FileName(first))
		v, err := verifySegment(log, first, prev, next)
		if err == nil {
			r.man = v.Header.Manifest
			if err := r.payloads(log, first, name); err != nil {
				return err
			}
		} else if !r.said(next.TickNumber) {
			one := Repair{File: name, Damage: "it is missing", Next: "restore it from a copy: igor repair " + r.dir + " --from COPY",
				Lost: []string{fmt.Sprintf("ticks %d to %d cannot be run again, and what the agent said in them is not known", first, next.TickNumber)}}
			if !errors.Is(err, fs.ErrNotExist) {
				one.Damage = "it is damaged: " + plainPath(err).Error()
			}
			if b := r.eventsOfCopy(first); b != nil {
				if v, err := eventlog.Verify(bytes.NewReader(b), prev, next); err == nil {
					r.man = v.Header.Manifest
					one.Mend, one.Next, one.Lost, one.do = "the one of "+r.Copy, "", nil, r.replace(name, b, false)
				}
			}
			r.found(one)
		}
		prev = next
	}
	return r.openSegment(log, prev.TickNumber+1)
}

// eventsOfCopy reads a segment of the event log of the other copy, nil if it has none.
func (r *repairing) eventsOfCopy(first uint64) []byte {
	return r.fromLogOfCopy(func(log *eventlog.Log) ([]byte, error) {
		f, err := log.Raw(first)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		return io.ReadAll(io.NewSectionReader(f, 0, math.MaxInt64))
	})
}

func (r *repairing) payloadOfCopy(hash verifier.Hash) []byte {
	return r.fromLogOfCopy(func(log *eventlog.Log) ([]byte, error) { return log.Payload(hash) })
}

func (r *repairing) fromLogOfCopy(read func(*eventlog.Log) ([]byte, error)) []byte {
	if r.Copy == "" {
		return nil
	}
	log, done, err := openReadOnly(filepath.Join(r.Copy, store.DirEvents))
	if err != nil {
		return nil
	}
	defer done()
	b, err := read(log)
	if err != nil {
		return nil
	}
	return b
}

func verifySegment(log *eventlog.Log, first uint64, prev, next *verifier.Finding) (v eventlog.Verified, err error) {
	f, err := log.Raw(first)
	if err != nil {
		return v, err
	}
	defer f.Close()
	return eventlog.Verify(io.NewSectionReader(f, 0, math.MaxInt64), prev, next)
}

// payloads looks for what a segment names by its hash.
func (r *repairing) payloads(log *eventlog.Log, first uint64, segment string) error {
	s, err := log.Segment(first)
	if err != nil {
		return err
	}
	defer s.Close()
	for {
		record, err := s.Next()
		if err != nil {
			return nil
		}
		for _, d := range []eventlog.Data{record.Request, record.Result} {
			hash, file := d.Payload()
			if !file {
				continue
			}
			if _, err := log.Content(d); err == nil || !eventlog.Gone(err) {
				continue
			}
			name := filepath.Join(store.DirEvents, "payloads", hash.String())
			if slices.ContainsFunc(r.all, func(one Repair) bool { return one.File == name }) {
				continue
			}
			one := Repair{File: name, Damage: "it is missing, or does not have the content of its name", Next: "restore it from a copy: igor repair " + r.dir + " --from COPY",
				Lost: []string{fmt.Sprintf("tick %d, which observed it, cannot be run again (%s)", record.Tick, segment)}}
			if b := r.payloadOfCopy(hash); b != nil && sha256.Sum256(b) == hash {
				one.Mend, one.Next, one.Lost, one.do = "the one of "+r.Copy, "", nil, r.replace(name, b, false)
			}
			r.found(one)
		}
	}
}

// openSegment looks at the segment after the newest checkpoint.
func (r *repairing) openSegment(log *eventlog.Log, first uint64) error {
	name := filepath.Join(store.DirEvents, eventlog.FileName(first))
	lost := fmt.Sprintf("what was lived from tick %d on, and money that came in since then", first)
	s, err := log.Segment(first)
	if errors.Is(err, fs.ErrNotExist) {
		r.found(Repair{File: name, Damage: "it is missing", Lost: []string{lost + ", if there was any"}, Next: "igor resume " + r.dir + " goes on from the newest checkpoint"})
		return nil
	}
	if err != nil {
		return err
	}
	defer s.Close()
	h, err := s.Header()
	if err == nil {
		if h.Version != eventlog.Version1 {
			r.wasm = h.WASM
		}
		r.man = h.Manifest
		for err == nil {
			_, err = s.Next()
		}
		if seal, ok := s.Seal(); ok {
			lost := filepath.Join(store.DirHistory, store.FileName(s.Totals().Last))
			if !slices.ContainsFunc(r.all, func(one Repair) bool { return one.File == lost }) {
				one := Repair{File: lost, Damage: "it is missing: the event log has it as " + seal.Next.CID(), Next: "igor resume " + r.dir + " makes it again from the event log: the same bytes"}
				if b, f := r.checkpointOfCopy(seal.Next); b != nil && f.AgentPubKey == r.agent {
					one.Mend, one.Next, one.do = "the one of "+r.Copy, "", r.replace(lost, b, false)
				}
				r.found(one)
			}
		}
		if err != io.EOF && !eventlog.Torn(err) {
			at := s.Totals().Last
			r.found(Repair{File: name, Damage: "it is damaged: " + err.Error(), Lost: []string{fmt.Sprintf("what was lived after tick %d, and money that came in since then", max(at, first-1))},
				Next: "igor resume " + r.dir + " sets it aside, and goes on with what is whole of it"})
		}
		return nil
	}
	if eventlog.Torn(err) {
		return nil // a new one, of which a killed process left the beginning
	}
	if !eventlog.Bad(err) {
		return err
	}
	one := Repair{File: name, Fatal: true, Damage: "its beginning is damaged: " + err.Error(), Lost: []string{lost}, Mend: "it is set aside, and the life goes on from the newest checkpoint", do: r.aside(name)}
	if effects, err := r.journalEffects(); err == nil {
		for _, e := range effects {
			if e.Tick >= first {
				one.Mend, one.do, one.Lost = "", nil, nil
				one.Next = fmt.Sprintf("restore it from a copy: in tick %d the agent did something outside, and without the event log it does not know what led to it; igor fork --at %d begins another life", e.Tick, first-1)
			}
		}
	}
	r.found(one)
	return nil
}

// program looks at the program and the manifest.
func (r *repairing) program() error {
	for _, part := range []struct {
		name, kept, flag string
		limit            int64
		want             verifier.Hash
		given            []byte
	}{
		{"agent.wasm", programName(r.wasm), "--wasm", MaxWASM, r.wasm, r.WASM},
		{"agent.manifest.json", manifestName(r.man), "--manifest", MaxManifest, r.man, r.Manifest},
	} {
		is := func(b []byte) bool {
			if part.want.IsZero() {
				_, err := manifest.Parse(b)
				return b != nil && err == nil
			}
			return b != nil && sha256.Sum256(b) == part.want
		}
		b, err := readPart(r.root, part.name, part.limit)
		if err == nil && is(b) {
			if part.given != nil && !bytes.Equal(part.given, b) {
				return hint.Wrap(fmt.Errorf("what %s names is not the agent's own, and that is whole", part.flag), "leave out %s; igor upgrade gives an agent another one", part.flag)
			}
			continue
		}
		one := Repair{File: part.name, Fatal: true, Damage: "it is not the one with which the agent lives"}
		if errors.Is(err, fs.ErrNotExist) {
			one.Damage = "it is missing"
		} else if err != nil {
			one.Damage = plainPath(err).Error()
		}
		kept, _ := readPart(r.root, filepath.Join(store.DirEvents, store.DirPrograms, part.kept), part.limit)
		switch theirs := r.fromCopy(part.name, part.limit); {
		case is(kept):
			one.Mend, one.do = "the one that was kept at an upgrade", r.replace(part.name, kept, false)
		case part.given != nil && !is(part.given):
			return hint.Wrap(fmt.Errorf("what %s names has SHA-256 %x, and the agent's own has %s", part.flag, sha256.Sum256(part.given), part.want), "name the file with which the agent ran last")
		case part.given != nil:
			one.Mend, one.do = "the one of "+part.flag, r.replace(part.name, part.given, false)
		case is(theirs):
			one.Mend, one.do = "the one of "+r.Copy, r.replace(part.name, theirs, false)
		case part.want.IsZero():
			one.Next = fmt.Sprintf("igor repair %s %s FILE", r.dir, part.flag)
		default:
			one.Next = fmt.Sprintf("igor repair %s %s FILE, the one with SHA-256 %s", r.dir, part.flag, part.want)
		}
		r.found(one)
	}
	return nil
}

func (r *repairing) journalEffects() ([]journal.Effect, error) {
	f, err := (readOnly{root: r.root}).Open(journal.Name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	j, err := journal.Read(f)
	if err != nil {
		return nil, err
	}
	return j.Effects(), nil
}

// receipts looks at what the agent paid, and who signed for its time.
func (r *repairing) receipts() error {
	r.onchain()
	b, err := readPart(r.root, receipt.Name, math.MaxInt64-1)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: %w", filepath.Join(r.dir, receipt.Name), plainPath(err))
	}
	r.mended = b
	books := bookkeeper{agent: r.agent, checkpoints: map[verifier.Hash]bool{}, seen: map[verifier.Hash]bool{}}
	for i := range r.chain {
		books.checkpoints[r.chain[i].ContentHash] = true
	}
	dropped := books.salvage(b)
	books.others = true
	had := len(books.content)
	one := Repair{File: receipt.Name}
	switch {
	case err != nil:
		one.Damage = "it is missing"
	case dropped > 0:
		one.Damage = fmt.Sprintf("%d bytes of it are no receipts", dropped)
	case r.lost(receipt.Name) > 0:
		one.Damage = fmt.Sprintf("it is cut: %d bytes are lost that it had when the agent stopped", r.lost(receipt.Name))
	case r.Receipts == nil && r.Copy == "":
		return nil
	}
	if one.Damage != "" {
		r.payments(&books)
	}
	books.salvage(r.fromCopy(receipt.Name, math.MaxInt64-1))
	books.salvage(r.Receipts)
	if one.Damage == "" {
		if len(books.content) == had {
			return nil
		}
		one.Damage = "receipts are missing"
	}
	one.Mend = fmt.Sprintf("what there is of them elsewhere: %s, %s", plural(books.executions, "execution"), plural(books.payments, "payment"))
	if missing := len(books.checkpoints) - books.executions; missing > 0 {
		one.Lost = append(one.Lost, fmt.Sprintf("of %d checkpoints, %d have no receipt; nodes that gave some may have them (--ledger): igor repair %s --receipts FILE", len(books.checkpoints), missing, r.dir))
	}
	if err != nil || dropped > 0 {
		one.Lost = append(one.Lost, "receipts of payments that neither the journal nor the event log has")
	}
	r.mended = books.content
	replace := r.replace(receipt.Name, books.content, false)
	one.do = func() (string, error) {
		aside, err := replace()
		if err == nil {
			noteSizes(r.store)
		}
		return aside, err
	}
	r.found(one)
	return nil
}

// mark looks at the mark of the packed folder.
func (r *repairing) mark() error {
	m, err := store.ReadMark(r.dir, r.agent)
	if known := store.ReceiptsOf(m); err == nil && known != nil && !known.Fits(bytes.NewReader(r.mended)) {
		err = errOtherReceipts
	}
	if err != nil {
		r.found(Repair{File: store.FileMark, Damage: "it is of no use: " + plainPath(err).Error(), do: r.markAside,
			Mend: "it is taken away: igor resume " + r.dir + " reads all that is packed, once, and makes another one"})
	}
	return nil
}

// markAside gives the mark another name, whatever it is.
func (r *repairing) markAside() (aside string, err error) {
	for i := 1; ; i++ {
		aside = fmt.Sprintf("%s.damaged.%d", store.FileMark, i)
		if _, err := r.root.Lstat(aside); errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	return aside, errors.Join(r.root.Rename(store.FileMark, aside), r.folder.Sync())
}

// onchain looks at the receipts of payments on a chain. The chain has them too.
func (r *repairing) onchain() {
	if lost := r.lost(receipt.Onchain); lost > 0 {
		r.found(Repair{File: receipt.Onchain, Damage: fmt.Sprintf("%d bytes are lost that it had when the agent stopped", lost), Next: "restore it from a copy; the payments are on their chain"})
	}
}

// payments takes receipts of payments from the journal, and from what the agent saw of
// them.
func (r *repairing) payments(books *bookkeeper) {
	f, err := (readOnly{root: r.root}).Open(journal.Name)
	if err == nil {
		defer f.Close()
		if j, err := journal.Read(f); err == nil {
			for _, e := range j.Effects() {
				if request, err := j.Request(e.ID); err == nil && e.Kind == journal.Payment && e.State != journal.Begun && e.Spent > 0 {
					books.salvage(request)
				}
			}
		}
	}
	log, done, err := openReadOnly(filepath.Join(r.dir, store.DirEvents))
	if err != nil {
		return
	}
	defer done()
	ticks, _ := allSegmentTicks(filepath.Join(r.dir, store.DirEvents))
	for _, first := range ticks {
		s, err := log.Segment(first)
		if err != nil {
			continue
		}
		for err == nil {
			var record eventlog.Record
			if record, err = s.Next(); err == nil && (record.Kind == eventlog.WalletReceipt || record.Kind == eventlog.WalletPay) {
				if b, err := log.Content(record.Result); err == nil {
					books.salvage(b)
				}
			}
		}
		s.Close()
	}
}

// A bookkeeper collects an agent's receipts, each once.
type bookkeeper struct {
	agent       verifier.PublicKey
	checkpoints map[verifier.Hash]bool
	seen        map[verifier.Hash]bool // executions by their checkpoint, payments by their nonce

	content              []byte
	executions, payments int

	others bool // what comes is not from the agent's own file: only what is of its checkpoints counts
}

// salvage takes the receipts that are in b, and returns how many of its bytes are none
// of the agent's.
func (k *bookkeeper) salvage(b []byte) (dropped int) {
	for at := 0; at < len(b); {
		r, n, err := receipts.Parse(b[at:])
		if err != nil || !r.Authentic() || r.AgentKey() != k.agent {
			at, dropped = at+1, dropped+1
			continue
		}
		id := verifier.Hash{}
		switch r := r.(type) {
		case *receipts.Execution:
			id = r.Checkpoint
			if k.others && !k.checkpoints[id] {
				at += n
				continue
			}
			if !k.seen[id] && k.checkpoints[id] {
				k.executions++
			}
		case *receipts.Onchain:
			at += n // they are in a file of their own
			continue
		case *receipts.Payment:
			id = r.Nonce
			if !k.seen[id] {
				k.payments++
			}
		}
		if !k.seen[id] {
			k.seen[id] = true
			k.content = append(k.content, b[at:at+n]...)
		}
		at += n
	}
	return dropped
}

// journal looks at the side effects.
func (r *repairing) journal() error {
	if r.broken || len(r.chain) == 0 {
		return nil // whose it has to be is not known
	}
	newest := &r.chain[len(r.chain)-1]
	life := journal.Life{Agent: r.agent, Genesis: r.genesis}
	base := journal.Base{Tick: newest.TickNumber, Hash: newest.ContentHash}
	_, err := r.journalEffects()
	cut := int64(0)
	if err == nil {
		if cut = r.lost(journal.Name); cut == 0 {
			return nil
		}
		err = journal.Cut(cut)
	}
	one := Repair{File: journal.Name, Fatal: true, Damage: "it is missing"}
	if !errors.Is(err, fs.ErrNotExist) {
		if _, ok := errors.AsType[*journal.DamageError](err); !ok {
			return err
		}
		one.Damage = err.Error()
	}
	last, err := lastTick(r.dir, newest.TickNumber)
	if err != nil {
		return err
	}
	mend := func(dry bool) (*journal.Repaired, error) {
		if cut > 0 { // what there is of it, is whole
			effects, err := r.journalEffects()
			repaired := &journal.Repaired{Effects: effects, Lost: []journal.Loss{{What: fmt.Sprintf("%d bytes at its end", cut)}}}
			if err == nil && !dry {
				noteSizes(r.store)
			}
			return repaired, err
		}
		repaired, err := journal.Repair(r.folder, life, base, dry)
		if err == nil && !dry {
			noteSizes(r.store)
		}
		return repaired, err
	}
	repaired, err := mend(true)
	if err != nil {
		return err
	}
	unresolved, held := 0, int64(0)
	for _, e := range repaired.Effects {
		if e.State == journal.Begun {
			unresolved, held = unresolved+1, held+e.Held
		}
	}
	one.Mend = fmt.Sprintf("what is whole of it: %s, of which %d unresolved hold %s", plural(len(repaired.Effects), "effect"), unresolved, verifier.FormatMicrocents(held))
	for _, l := range repaired.Lost {
		what := l.What
		if l.Size > 0 {
			what = fmt.Sprintf("bytes %d to %d: %s", l.Offset, l.Offset+l.Size-1, l.What)
		}
		one.Lost = append(one.Lost, what)
	}
	one.Lost = append(one.Lost,
		fmt.Sprintf("if a lost record began an effect of tick %d, which was not over, the effect may be done a second time, and paid a second time: find out outside before the agent goes on; those of ticks up to %d are in the event log, and are not done again", last+1, last),
		"what a lost record held that was unresolved stays out of the budget, and igor effects cannot give it back",
		"what a lost record ended, or an operator said of it, is unresolved again, keeps what it holds, and is not done again")
	one.do = func() (string, error) {
		repaired, err := mend(false)
		if err != nil {
			return "", err
		}
		return repaired.Aside, nil
	}
	r.found(one)
	return nil
}
