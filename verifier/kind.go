package verifier

import (
	"strings"
	"unicode/utf8"
)

// A Kind says what an input is, by its name and by how it begins.
// See docs/spec/lineage.md, "Inputs".
type Kind uint8

// The kinds.
const (
	KindOther Kind = iota
	KindCheckpoint
	KindCAR
	KindCARv2
	KindZip
	KindGzip
	KindTar
	Kind7z
	KindXz
	KindBzip2
	KindZstd
	KindLFSPointer
	KindHTML
	KindMacOS
	KindEvents
	KindJournal
	KindReceipts
	KindKey
	KindWASM
	KindText
	KindForkProof
	KindHandOvers
	KindWitness
	KindSuccession
	KindFolderLink // never by its bytes: a link to a folder, inside a folder
	numKinds
)

// KindStart is how many bytes of an input's beginning decide its kind.
const KindStart = 512

var kinds = [numKinds]struct{ name, what, next string }{
	KindOther:      {"other", "a file of no known kind", giveHistory},
	KindCheckpoint: {"checkpoint", "a checkpoint", ""},
	KindCAR:        {"car", "a CAR", ""},
	KindCARv2:      {"carv2", "a CAR of version 2", ""},
	KindZip:        {"zip", "a zip archive", unpackFirst},
	KindGzip:       {"gzip", "a gzip file", unpackFirst},
	KindTar:        {"tar", "a tar archive", unpackFirst},
	Kind7z:         {"7z", "a 7z archive", unpackFirst},
	KindXz:         {"xz", "an xz file", unpackFirst},
	KindBzip2:      {"bzip2", "a bzip2 file", unpackFirst},
	KindZstd:       {"zstd", "a zstd file", unpackFirst},
	KindLFSPointer: {"lfs-pointer", "a Git LFS pointer", "fetch the file that it stands for: git lfs pull, or lfs: true for actions/checkout"},
	KindHTML:       {"html", "a web page", "download the file itself, not the page that shows it"},
	KindMacOS:      {"macos", "a file that macOS adds to what it copies", "leave it out: it is no part of a history"},
	KindEvents:     {"events", "a part of an event log", giveHistory},
	KindJournal:    {"journal", "an agent's journal", giveHistory},
	KindReceipts:   {"receipts", "a file of receipts", "igor-verify receipts checks receipts"},
	KindKey:        {"key", "a private key", "keep it secret: whoever has it can sign as the agent"},
	KindWASM:       {"wasm", "a WASM program", giveHistory},
	KindText:       {"text", "a text", giveHistory},
	KindForkProof:  {"fork-proof", "a proof that a key lived twice", "igor-verify fork-proof checks it"},
	KindHandOvers:  {"handovers", "records of hand-overs", "give it beside its history: igor-verify looks at it there"},
	KindWitness:    {"witness", "what logs, witnesses or monitors say of a head", "igor-verify --witness POLICY looks at it, beside the history"},
	KindSuccession: {"succession", "a statement whom an agent succeeds", giveHistory},
	KindFolderLink: {"folder-link", "a link to a folder", "give the folder that it names too, if it belongs to the history"},
}

const (
	giveHistory = "give the checkpoints (*.ckpt), the folder that has them, or a .car history"
	unpackFirst = "unpack it first, then give what was in it"
)

// String returns the kind as it stands in a report, such as "lfs-pointer".
func (k Kind) String() string { return kinds[k.known()].name }

// What says what the kind is, with an article, such as "a zip archive".
func (k Kind) What() string { return kinds[k.known()].what }

// Next says what to do about an input of the kind, "" where it is read.
func (k Kind) Next() string { return kinds[k.known()].next }

// A Use is what is done with an input.
type Use uint8

// The uses.
const (
	LeaveOut Use = iota // and say so; it is no part of a history, and alone it is nothing to verify
	Read                // as a checkpoint, or as a CAR
	Refuse              // there is no verdict: checkpoints may be in it, or it stands for one
)

// Use says what is done with an input of the kind. It is about inputs by
// themselves: of a folder, what is no checkpoint is left out.
func (k Kind) Use() Use {
	switch k {
	case KindCheckpoint, KindCAR, KindCARv2:
		return Read
	case KindZip, KindGzip, KindTar, Kind7z, KindXz, KindBzip2, KindZstd, KindLFSPointer, KindHTML:
		return Refuse
	}
	return LeaveOut
}

func (u Use) String() string {
	switch u {
	case Read:
		return "read"
	case Refuse:
		return "refuse"
	}
	return "leave-out"
}

func (k Kind) known() Kind {
	if k >= numKinds {
		return KindOther
	}
	return k
}

// KindOf returns the kind of an input by its name, which may be a path with / between
// its parts, and its first [KindStart] bytes, or fewer if it has no more. Without a
// byte the name alone decides.
func KindOf(name string, start []byte) Kind {
	base := name[strings.LastIndexByte(name, '/')+1:]
	if ofMacOS(name, base) {
		return KindMacOS
	}
	byName := kindByName(name, base)
	if byName == KindCheckpoint {
		return KindCheckpoint // and is judged as one, whatever is in it
	}
	byStart := KindOfBytes(start)
	switch {
	case byStart == KindOther:
		return byName
	case byName == KindCAR && (byStart == KindCheckpoint || byStart == KindText):
		return KindCAR // and is refused as one
	case byName == KindKey && byStart == KindText:
		return KindKey
	}
	return byStart
}

// IsSegment reports whether a file in a folder is a segment of a history, which its name
// decides: digits, or digits, a hyphen and digits, before .car. See docs/spec/segments.md.
func IsSegment(name string) bool {
	base := name[strings.LastIndexByte(name, '/')+1:]
	if !hasExt(base, ".car") || ofMacOS(name, base) {
		return false
	}
	first, last, two := strings.Cut(base[:len(base)-len(".car")], "-")
	return digits(first) && (!two || digits(last))
}

func digits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

// ofMacOS reports whether a name is one that Finder, bsdtar, or macOS on a foreign
// file system gives to what it keeps of a file beside the file.
func ofMacOS(path, base string) bool {
	if strings.HasPrefix(base, "._") || base == ".DS_Store" {
		return true
	}
	for path != "" {
		part, rest, _ := strings.Cut(path, "/")
		if part == "__MACOSX" {
			return true
		}
		path = rest
	}
	return false
}

var kindExts = [...]struct {
	ext  string
	kind Kind
}{
	{".ckpt", KindCheckpoint}, {".car", KindCAR}, {".events", KindEvents}, {".wasm", KindWASM},
	{".zip", KindZip}, {".gz", KindGzip}, {".tgz", KindGzip}, {".tar", KindTar}, {".7z", Kind7z},
	{".xz", KindXz}, {".txz", KindXz}, {".bz2", KindBzip2}, {".zst", KindZstd},
	{".html", KindHTML}, {".htm", KindHTML}, {".txt", KindText}, {".md", KindText}, {".json", KindText},
	{".tlog-proof", KindWitness}, {".fork-proof", KindForkProof}, {".handovers", KindHandOvers},
}

func kindByName(path, base string) Kind {
	for _, e := range kindExts {
		if hasExt(base, e.ext) {
			return e.kind
		}
	}
	switch base {
	case "key":
		return KindKey
	case "receipts", "receipts.x402":
		return KindReceipts
	case "journal":
		return KindJournal
	case "head.monitor":
		return KindWitness
	case "succession":
		return KindSuccession
	case "handovers":
		return KindHandOvers
	}
	if strings.HasPrefix(path, "events/payloads/") || strings.Contains(path, "/events/payloads/") {
		return KindEvents
	}
	return KindOther
}

// hasExt reports whether a name ends in ext, a lower-case one, in whatever case.
func hasExt(name, ext string) bool {
	if len(name) < len(ext) {
		return false
	}
	for i, c := range []byte(name[len(name)-len(ext):]) {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != ext[i] {
			return false
		}
	}
	return true
}

var magics = [...]struct {
	at    int
	magic string
	kind  Kind
}{
	{0, "\x0a" + car2Pragma, KindCARv2},
	{0, "PK\x03\x04", KindZip},
	{0, "PK\x05\x06", KindZip}, // empty
	{0, "PK\x07\x08", KindZip}, // of several parts
	{0, "\x1f\x8b", KindGzip},
	{0, "7z\xbc\xaf\x27\x1c", Kind7z},
	{0, "\xfd7zXZ\x00", KindXz},
	{0, "BZh", KindBzip2},
	{0, "\x28\xb5\x2f\xfd", KindZstd},
	{0, "version https://git-lfs.github.com/spec/", KindLFSPointer},
	{0, "version https://hawser.github.com/spec/", KindLFSPointer}, // its name before
	{0, "\x00\x05\x16\x07", KindMacOS},                             // AppleDouble
	{0, "\x00\x05\x16\x00", KindMacOS},                             // AppleSingle
	{0, "\x00asm", KindWASM},
	{0, "igor/execution-receipt/", KindReceipts},
	{0, "igor/payment-receipt/", KindReceipts},
	{0, "igor/x402-receipt/", KindReceipts},
	{0, "igor/fork-proof/", KindForkProof},
	{0, "igor/handover/", KindHandOvers},
	{0, "c2sp.org/tlog-proof@", KindWitness},
	{0, "igor/monitor/", KindWitness},
	{0, "igor/succession/", KindSuccession},
	{0, "igor/rent-receipt/", KindReceipts},
	{9, "igor/events/", KindEvents}, // after a record's length, its checksum and its type
	{9, "igor/journal/", KindJournal},
	{0, "-----BEGIN PRIVATE KEY-----", KindKey},
	{0, "-----BEGIN OPENSSH PRIVATE KEY-----", KindKey},
	{257, "ustar", KindTar},
}

// KindOfBytes returns the kind of what begins with start, whatever its name.
func KindOfBytes(start []byte) Kind {
	if len(start) == 0 {
		return KindOther
	}
	if headerSize(start[offVersion]) > 0 {
		return KindCheckpoint
	}
	for _, m := range magics {
		if len(start) >= m.at+len(m.magic) && string(start[m.at:m.at+len(m.magic)]) == m.magic {
			return m.kind
		}
	}
	switch {
	case beginsLikeCAR(start):
		return KindCAR
	case !isText(start):
		return KindOther
	case beginsLikeHTML(start):
		return KindHTML
	}
	return KindText
}

// beginsLikeCAR reports whether b begins with the length of a short header and a
// CBOR map whose first key is one of a CAR's.
func beginsLikeCAR(b []byte) bool {
	for len(b) > 0 && b[0] >= 0x80 {
		b = b[1:]
	}
	const roots, version = "\x65roots", "\x67version"
	if len(b) < 2 || b[1] < 0xa1 || b[1] > 0xbf {
		return false
	}
	return strings.HasPrefix(string(b[2:]), roots) || strings.HasPrefix(string(b[2:]), version)
}

// isText reports whether b looks like text: UTF-8, of which the end may be cut,
// without control characters but for white space; or UTF-16 with its mark.
func isText(b []byte) bool {
	if len(b) >= 2 && (b[0] == 0xff && b[1] == 0xfe || b[0] == 0xfe && b[1] == 0xff) {
		return true
	}
	b = b[:min(len(b), KindStart)]
	for i := 0; i < len(b); {
		r, size := utf8.DecodeRune(b[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			return i > 0 && !utf8.FullRune(b[i:])
		case r < 0x20 && r != '\t' && r != '\n' && r != '\f' && r != '\r' && r != 0x1b, r == 0x7f:
			return false
		}
		i += size
	}
	return true
}

func beginsLikeHTML(b []byte) bool {
	if len(b) >= 3 && string(b[:3]) == "\xef\xbb\xbf" {
		b = b[3:]
	}
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t' || b[0] == '\n' || b[0] == '\r') {
		b = b[1:]
	}
	for _, tag := range [...]string{"<!doctype html", "<html", "<head", "<body"} {
		if len(b) >= len(tag) && hasExt(string(b[:len(tag)]), tag) {
			return true
		}
	}
	return false
}
