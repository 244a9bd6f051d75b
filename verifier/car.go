package verifier

import "strconv"

// The bytes of a history's CARv1 header around its root's CID: DAG-CBOR of
// {"roots": [CID], "version": 1}. See docs/spec/car.md, "Layout".
const (
	carHeaderStart = "\xa2\x65roots\x81\xd8\x2a\x58\x25\x00"
	carHeaderEnd   = "\x67version\x01"
	carHeaderSize  = len(carHeaderStart) + cidSize + len(carHeaderEnd)

	// car2Pragma is how a CARv2 begins, where a CARv1 has its header. Its own follows.
	car2Pragma     = "\xa1\x67version\x02"
	car2HeaderSize = 40

	// maxVarint is the longest varint in bytes that a reader takes: enough for
	// maxSection, the longest section.
	maxVarint  = 5
	maxSection = cidSize + MaxCheckpointSize

	// roomAtOnce is how much room a reader makes for a section because its length says so.
	roomAtOnce = 2 << 20

	// maxForeignHeader is how long a header may be to be told by name what is wrong with it.
	maxForeignHeader = 1 << 10
)

// AppendCARHeader appends the header of a CAR whose root, the head's content
// hash, is given.
func AppendCARHeader(dst []byte, root Hash) []byte {
	dst = append(dst, byte(carHeaderSize))
	dst = append(dst, carHeaderStart...)
	dst = append(append(dst, cidPrefix...), root[:]...)
	return append(dst, carHeaderEnd...)
}

// AppendCARBlock appends a checkpoint, whose content hash is given, as a CAR's
// next block.
func AppendCARBlock(dst []byte, h Hash, checkpoint []byte) []byte {
	return append(AppendCARBlockStart(dst, h, len(checkpoint)), checkpoint...)
}

// AppendCARBlockStart appends what stands before a checkpoint in its block, for
// writers that copy the checkpoint, of which only the size is given, themselves.
func AppendCARBlockStart(dst []byte, h Hash, size int) []byte {
	n := cidSize + size
	for ; n >= 0x80; n >>= 7 {
		dst = append(dst, byte(n)|0x80)
	}
	dst = append(dst, byte(n))
	return append(append(dst, cidPrefix...), h[:]...)
}

// A CARReader takes a CAR apart as its bytes come: call Feed with some input,
// Next until there is no whole block left, and so on; Check every block once it
// is examined, in any order; and Close at the end of the input. Only after
// Close returned nil is anything read from the CAR to be believed.
type CARReader struct {
	// HandOver spares a copy of large blocks, if it is set: of a block over so many
	// bytes, Next gives what came of it, and the caller keeps the rest. It is no order:
	// the blocks of a CARv2 are always given whole.
	HandOver int

	in       []byte // not yet read, of the last Feed
	partial  []byte // the beginning of a section that Feed will go on with
	offset   int64  // of what was read, for errors
	sections int
	missing  int   // bytes of a block that was handed over, which Pass has to be told of
	handed   int64 // the size of the section that they end
	root     Hash
	sawRoot  bool
	err      error
	v2       *carV2 // what is around the CAR, if it is one of version 2
}

// A carV2 is the state of a reader in a CARv2, which has a CARv1 inside.
type carV2 struct {
	header []byte // as much of it as came
	skip   uint64 // bytes before the CARv1
	left   uint64 // bytes of the CARv1 that did not come yet
}

// A CARBlock is one block. Its CID is what the CAR claims until [CARReader.Check].
type CARBlock struct {
	Index         int // from 0
	UnverifiedCID Hash
	Data          []byte // aliases the input of Feed, if it came in one piece
	Missing       int    // how many bytes Data lacks: what follows the input, for the caller to keep and to tell Pass of
}

// A CARError says where and why a CAR is malformed.
type CARError struct {
	Block  int   // from 0, or -1 for the header and the file as a whole
	Offset int64 // of the section in the file, or -1
	Reason string
}

func (e *CARError) Error() string {
	s := "malformed CAR: "
	if e.Block >= 0 {
		s += "block " + strconv.Itoa(e.Block)
		if e.Offset >= 0 {
			s += " at byte " + strconv.FormatInt(e.Offset, 10)
		}
		s += ": "
	}
	return s + e.Reason
}

// Feed gives the reader more input. Everything that Next can give of the
// previous input has to have been taken.
func (r *CARReader) Feed(p []byte) {
	r.in = p
	if r.v2 != nil {
		r.unwrap()
	}
}

// unwrap takes from the input what is not of the CARv1 inside a CARv2.
func (r *CARReader) unwrap() {
	v := r.v2
	if n := min(car2HeaderSize-len(v.header), len(r.in)); n > 0 {
		v.header, r.in = append(v.header, r.in[:n]...), r.in[n:]
		r.offset += int64(n)
		if len(v.header) < car2HeaderSize {
			return
		}
		const start = uint64(1 + len(car2Pragma) + car2HeaderSize)
		at, size, index := le64(v.header[16:]), le64(v.header[24:]), le64(v.header[32:])
		switch {
		case at < start:
			r.err = &CARError{Block: -1, Reason: "it is a CARv2, and says that its data begins inside its header"}
		case at+size < at:
			r.err = &CARError{Block: -1, Reason: "it is a CARv2, and says that its data is larger than a file can be"}
		case index != 0 && index < at+size:
			r.err = &CARError{Block: -1, Reason: "it is a CARv2, and says that its index begins inside its data"}
		}
		if r.err != nil {
			r.in = nil
			return
		}
		v.skip, v.left = at-start, size
	}
	n := min(v.skip, uint64(len(r.in)))
	r.in = r.in[n:]
	v.skip -= n
	r.offset += int64(n)
	r.in = r.in[:min(v.left, uint64(len(r.in)))] // an index may follow
	v.left -= uint64(len(r.in))
}

// Next returns the next block, or false if more input is needed for it.
func (r *CARReader) Next() (b CARBlock, ok bool, err error) {
	for r.err == nil {
		at := r.offset
		if b, ok := r.large(); ok {
			return b, true, nil
		}
		section, ok := r.section()
		if !ok {
			return b, false, r.err
		}
		if r.sections == 0 && r.v2 == nil && string(section) == car2Pragma {
			r.v2 = new(carV2)
			r.unwrap()
			continue
		}
		if r.sections == 0 {
			r.err = r.header(section)
			r.sections++
			continue
		}
		if len(section) < cidSize || string(section[:len(cidPrefix)]) != cidPrefix {
			r.err = &CARError{Block: r.sections - 1, Offset: at, Reason: "its CID is not CIDv1, codec raw, sha2-256"}
			return b, false, r.err
		}
		b.Index = r.sections - 1
		b.UnverifiedCID = Hash(section[len(cidPrefix):cidSize])
		b.Data = section[cidSize:]
		r.sections++
		return b, true, nil
	}
	return b, false, r.err
}

// large takes a block that is to be handed over off the input, once its CID came.
func (r *CARReader) large() (b CARBlock, ok bool) {
	if r.HandOver == 0 || r.sections == 0 || r.v2 != nil || r.missing > 0 {
		return b, false
	}
	var start [maxVarint + cidSize]byte
	came := copy(start[:], r.partial)
	came += copy(start[came:], r.in)
	varint, n, ok := r.length(start[:came])
	if !ok || n-cidSize <= r.HandOver || came < varint+cidSize || string(start[varint:varint+len(cidPrefix)]) != cidPrefix {
		return b, false
	}
	b.Index = r.sections - 1
	b.UnverifiedCID = Hash(start[varint+len(cidPrefix) : varint+cidSize])
	rest := r.in[varint+cidSize-len(r.partial):]
	b.Data = rest[:min(n-cidSize, len(rest))]
	b.Missing = n - cidSize - len(b.Data)
	r.partial, r.in = nil, rest[len(b.Data):]
	r.missing, r.handed = b.Missing, int64(varint+n)
	r.Pass(0)
	return b, true
}

// Pass says that so many bytes that a block was missing came.
func (r *CARReader) Pass(n int) {
	if r.missing -= n; r.missing == 0 && r.handed > 0 {
		r.offset += r.handed
		r.handed = 0
		r.sections++
	}
}

// section takes the next whole section off the input and returns its payload.
func (r *CARReader) section() (payload []byte, ok bool) {
	if len(r.partial) == 0 {
		varint, n, ok := r.length(r.in)
		if ok && len(r.in)-varint >= n {
			payload, r.in = r.in[varint:varint+n], r.in[varint+n:]
			r.offset += int64(varint + n)
			return payload, true
		}
		if r.err == nil {
			r.keep(len(r.in), varint+n)
		}
		return nil, false
	}
	for {
		varint, n, ok := r.length(r.partial)
		switch {
		case ok && len(r.partial) == varint+n:
			payload, r.partial = r.partial[varint:], nil
			r.offset += int64(varint + n)
			return payload, true
		case r.err != nil || len(r.in) == 0:
			return nil, false
		}
		want := 1
		if ok {
			want = min(varint+n-len(r.partial), len(r.in))
		}
		r.keep(want, varint+n)
	}
}

// keep moves n bytes of the input to the partial section, which has size bytes if
// that is known. Room for the whole of a large one would be up to the sender, so
// the room doubles with what has come.
func (r *CARReader) keep(n, size int) {
	if have := len(r.partial); have+n > cap(r.partial) {
		room := max(have+n, min(size, max(2*have, roomAtOnce)))
		r.partial = append(make([]byte, 0, room), r.partial...)
	}
	r.partial, r.in = append(r.partial, r.in[:n]...), r.in[n:]
}

// length reads a section's length off the front of b: its own size and its
// value, or not ok if b is too short for it, or r.err is set.
func (r *CARReader) length(b []byte) (varint, n int, ok bool) {
	var v uint64
	for i, c := range b {
		if i == maxVarint {
			r.fail("its length is too large")
			return 0, 0, false
		}
		v |= uint64(c&0x7f) << (7 * i)
		if c >= 0x80 {
			continue
		}
		switch {
		case i > 0 && c == 0:
			r.fail("its length is a varint that is not in its shortest form")
		case r.sections == 0 && v <= maxForeignHeader:
			return i + 1, int(v), true
		case r.sections == 0:
			r.err = &CARError{Block: -1, Reason: notHeader}
		case v < uint64(cidSize):
			r.fail("it is shorter than a CID")
		case v > uint64(maxSection):
			r.fail("it is over the limit of 67108864 bytes (64 MiB)")
		default:
			return i + 1, int(v), true
		}
		return 0, 0, false
	}
	return 0, 0, false
}

const notHeader = "it does not begin with the header of a CARv1 with one root"

// header reads the header. All but one of its forms are refused, some by name.
func (r *CARReader) header(b []byte) error {
	const rootsAt = len("\xa2\x65roots")
	reason := ""
	switch start, rest := cutAt(b, len(carHeaderStart)); {
	case string(b) == car2Pragma:
		reason = "it is a CARv2 inside a CARv2"
	case len(b) <= rootsAt || string(b[:rootsAt]) != carHeaderStart[:rootsAt]:
		reason = notHeader
	case b[rootsAt] != carHeaderStart[rootsAt]:
		reason = "it does not have exactly one root"
	case string(start) != carHeaderStart || len(rest) < cidSize || string(rest[:len(cidPrefix)]) != cidPrefix:
		reason = "its root is not CIDv1, codec raw, sha2-256"
	case string(rest[cidSize:]) != carHeaderEnd:
		reason = "it is not of CAR version 1"
	default:
		copy(r.root[:], rest[len(cidPrefix):])
		return nil
	}
	return &CARError{Block: -1, Reason: reason}
}

func cutAt(b []byte, n int) (head, tail []byte) {
	n = min(n, len(b))
	return b[:n], b[n:]
}

func (r *CARReader) fail(reason string) error {
	r.err = &CARError{Block: r.sections - 1, Offset: r.offset, Reason: reason}
	return r.err
}

// Check holds an examined block against what the CAR says of it.
func (r *CARReader) Check(index int, unverifiedCID Hash, f *Finding) error {
	reason := ""
	switch {
	case f.ContentHash != unverifiedCID:
		reason = "its content does not have the CID " + unverifiedCID.CID() + " that it is filed under: it was changed"
	case f.Parsed() && f.Version == Version4 && f.PrevHash == r.root:
		reason = "it follows the root, so the root is not the history's head"
	default:
		r.sawRoot = r.sawRoot || f.ContentHash == r.root
		return nil
	}
	return &CARError{Block: index, Offset: -1, Reason: reason}
}

// Root returns the content hash of the head that the CAR claims, once Next was called.
func (r *CARReader) Root() Hash { return r.root }

// Close says whether the input was a whole CAR.
func (r *CARReader) Close() error {
	switch {
	case r.err != nil:
		return r.err
	case r.v2 != nil && (len(r.v2.header) < car2HeaderSize || r.v2.skip > 0 || r.v2.left > 0):
		return &CARError{Block: -1, Reason: "it is cut: it is a CARv2 that says it has more"}
	case r.sections == 0 && len(r.partial)+len(r.in) == 0:
		return &CARError{Block: -1, Reason: "it is empty"}
	case r.sections == 0:
		return &CARError{Block: -1, Reason: "it is cut inside its header"}
	case len(r.partial)+len(r.in)+r.missing > 0:
		return r.fail("it is cut: the file ends inside this block")
	case !r.sawRoot:
		return &CARError{Block: -1, Reason: "its root " + r.root.CID() + " is not in it: the file was cut, or its head left out"}
	}
	return nil
}
