package verifier

// A Pile holds the findings of a history, in whatever order they come, at a
// small constant of memory for each. The zero value is an empty pile.
type Pile struct {
	records    [][]record // in chunks, so that growing copies nothing
	n          int
	names      [][]byte // in chunks: a two-byte length, then the name
	index      map[uint64]uint32
	collisions map[Hash]uint32 // of those whose first 8 bytes were taken in index
	keys       interned[PublicKey]
	wasms      interned[Hash]
	duplicates int
	bytes      uint64
	left       [numKinds]leftOut
	handOvers  []*HandOver
}

// leftOut is what a Pile keeps of the files of one kind that are no checkpoints.
type leftOut struct {
	files int
	name  string // the smallest in byte order
}

// A record is what a Pile keeps of a finding. Keys and WASM hashes, of which a
// history has few, are numbers; epoch fields are not judged and not kept.
type record struct {
	contentHash Hash
	prevHash    Hash
	budget      int64
	price       int64
	tick        uint64
	key         uint32
	wasm        uint32
	size        uint32
	name        uint32 // position in names, 0 = none: the CID stands for it
	version     byte
	kind        Kind // of what could not be parsed
	problems    codeSet
}

const (
	recordChunk = 1 << 10
	nameChunk   = 1 << 16

	maxNameChunks = 1 << 16 // so that a position fits record.name

	// MaxName is how many bytes of a name are kept; more are cut.
	MaxName = 4096

	// MaxCheckpoints is how many distinct checkpoints a Pile can hold.
	MaxCheckpoints = 1 << 30
)

// ErrTooMany is returned by [Pile.Add] for more than MaxCheckpoints, or 4 GiB of names.
const ErrTooMany = errorString("too many checkpoints for one history: at most 1073741824, with 4 GiB of names")

func (r *record) authentic() bool {
	return r.version == Version4 && r.problems&(unparsable|wrongSignature) == 0
}

// signed reports whether r is of the version that has key, prevHash and signature.
func (r *record) signed() bool { return r.version == Version4 && r.problems.parsed() }

// Add puts a finding on the pile, under the name of the file that it came
// from, or under its CID if name is "". Of duplicates, by content hash, the
// name that is smallest in byte order stays.
func (p *Pile) Add(f *Finding, name string) error {
	if len(name) > MaxName {
		name = name[:MaxName]
	}
	if len(p.names) == maxNameChunks {
		return ErrTooMany
	}
	if at, ok := p.find(f.ContentHash); ok {
		p.duplicates++
		old := p.at(at)
		if name == "" {
			name = f.ContentHash.CID()
		}
		if name < p.name(old) {
			old.name = p.addName(name)
		}
		return nil
	}
	if p.n >= MaxCheckpoints {
		return ErrTooMany
	}
	if p.n%recordChunk == 0 {
		p.records = append(p.records, make([]record, 0, recordChunk))
	}
	chunk := &p.records[len(p.records)-1]
	*chunk = append(*chunk, record{
		contentHash: f.ContentHash,
		prevHash:    f.PrevHash,
		budget:      f.Budget,
		price:       f.PricePerSecond,
		tick:        f.TickNumber,
		key:         p.keys.number(f.AgentPubKey),
		wasm:        p.wasms.number(f.WASMHash),
		size:        f.Size,
		name:        p.addName(name),
		version:     f.Version,
		kind:        f.Kind,
		problems:    f.problems,
	})
	p.insert(f.ContentHash, uint32(p.n))
	p.n++
	p.bytes += uint64(f.Size)
	return nil
}

// LeaveOut notes that a file lay with the history and was not looked at.
// It changes nothing but what the report says of such files.
func (p *Pile) LeaveOut(k Kind, name string) {
	if len(name) > MaxName {
		name = name[:MaxName]
	}
	l := &p.left[k.known()]
	if l.files == 0 || name < l.name {
		l.name = name
	}
	l.files++
}

// Len returns how many distinct checkpoints the pile holds.
func (p *Pile) Len() int { return p.n }

func (p *Pile) at(i uint32) *record { return &p.records[i/recordChunk][i%recordChunk] }

func (p *Pile) name(r *record) string {
	if r.name == 0 {
		return r.contentHash.CID()
	}
	pos := r.name - 1
	b := p.names[pos/nameChunk][pos%nameChunk:]
	return string(b[2 : 2+int(b[0])|int(b[1])<<8])
}

func (p *Pile) addName(name string) uint32 {
	if name == "" {
		return 0
	}
	last := len(p.names) - 1
	if last < 0 || len(p.names[last])+2+len(name) > nameChunk {
		p.names = append(p.names, make([]byte, 0, nameChunk))
		last++
	}
	pos := last*nameChunk + len(p.names[last])
	p.names[last] = append(append(p.names[last], byte(len(name)), byte(len(name)>>8)), name...)
	return uint32(pos) + 1
}

// The index maps the first 8 bytes of a content hash, which halves its size
// over mapping whole hashes. Go's map is seeded, so chosen prefixes do not
// slow it; equal ones cost the attacker 2^32 hashes a pair and go to collisions.

func prefix(h *Hash) uint64 { return le64(h[:]) }

func (p *Pile) find(h Hash) (uint32, bool) {
	i, ok := p.index[prefix(&h)]
	if ok && p.at(i).contentHash != h {
		i, ok = p.collisions[h]
	}
	return i, ok
}

func (p *Pile) insert(h Hash, i uint32) {
	if p.index == nil {
		p.index = make(map[uint64]uint32)
	}
	if _, taken := p.index[prefix(&h)]; !taken {
		p.index[prefix(&h)] = i
		return
	}
	if p.collisions == nil {
		p.collisions = make(map[Hash]uint32)
	}
	p.collisions[h] = i
}

// interned numbers values of which a history has few different ones. A value may
// have several numbers, if many others came between: compare values, not numbers.
type interned[T comparable] struct {
	values []T
}

// recent is how many of the last new values are looked through for an old one.
const recent = 8

func (n *interned[T]) number(v T) uint32 {
	for i := len(n.values) - 1; i >= 0 && i >= len(n.values)-recent; i-- {
		if n.values[i] == v {
			return uint32(i)
		}
	}
	n.values = append(n.values, v)
	return uint32(len(n.values) - 1)
}
