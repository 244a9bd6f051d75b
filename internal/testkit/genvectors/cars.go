package main

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"slices"

	"igor.dev/internal/testkit"
)

func (s *set) cars() {
	did := alice.DID()
	h := life(alice, 4)
	car := testkit.CAR
	s.car("car-good", "A life in one file, genesis first.", car(h[3], h...), verified(did, 4))
	s.car("car-one-block", "A life of one checkpoint.", car(h[0], h[0]), verified(did, 1))
	s.car("car-large-state", "Blocks that need lengths of one to four bytes.", func() []byte {
		h := life(alice, 4, func(i int, f *fields) { f.State = make([]byte, []int{0, 1 << 10, 1 << 15, 3 << 20}[i]) })
		return car(h[3], h...)
	}(), verified(did, 4))
	s.car("car-shuffled", "The blocks stand in no order.", car(h[3], h[2], h[0], h[3], h[1]), verified(did, 4))
	s.car("car-root-first", "The head stands first.", car(h[3], h[3], h[2], h[1], h[0]), verified(did, 4))
	s.car("car-duplicate-block", "A block stands there twice.", car(h[3], h[0], h[1], h[1], h[2], h[3]), verified(did, 4).duplicates(1))
	s.car("car-duplicate-root", "The root's block stands there twice.", car(h[3], append(h, h[3])...), verified(did, 4).duplicates(1))
	s.car("car-missing-genesis", "The genesis is not in the file.", car(h[3], h[1:]...), incomplete(did, 3, "missing-genesis"))
	s.car("car-gap", "A block in the middle is not in the file.", car(h[3], h[0], h[2], h[3]), incomplete(did, 3, "gap"))
	s.car("car-head-only", "Only the head is in the file.", car(h[3], h[3]), incomplete(did, 1, "missing-genesis"))
	other := extend(alice, h[:2], 4, branch("b"))
	s.car("car-fork", "A forked life; the root is one of the heads.", car(h[3], slices.Concat(h, other[2:])...), invalid(did, 6, "fork"))
	s.car("car-two-agents", "Two lives; the root is the head of one.", car(h[3], slices.Concat(h, life(bob, 2, ticks(5, 10)))...), invalid(did, 6, "identity-mismatch", "fork"))
	bad := flip(h, 3, testkit.OffState, 1)
	s.car("car-bad-signature", "The head was tampered with before the file was made: every block hashes to its CID.", car(bad[3], bad...), invalid(did, 4, "bad-signature"))
	bad = flip(h, 1, testkit.OffState, 1)
	s.car("car-bad-signature-middle", "A block in the middle was tampered with before the file was made.", car(bad[3], bad...), invalid(did, 4, "bad-signature", "gap"))
	s.car("car-empty-block", "A block of no byte: the section is exactly a CID.", car(h[3], append(h, []byte{})...), invalid(did, 5, "empty"))
	s.car("car-truncated-block", "A block that was cut before the file was made.", car(h[3], append(h, h[0][:100])...), invalid(did, 5, "truncated"))
	s.car("car-text-block", "A block that is a text.", car(h[3], append(h, []byte("hello"))...), invalid(did, 5, "unsupported-version"))
	v3 := plain(0).Encode(3, nil, nil)
	s.car("car-v3", "A checkpoint of version 0x03 is the only block.", car(v3, v3), invalid("", 1, "unsigned-version"))
	s.car("car-v3-names-root", "A block of version 0x03 whose state has the root's digest where version 0x04 has its prevHash.",
		car(h[3], append(h, flipByte(alice.After(h[3], plain(4)), 0, 0x07))...), invalid(did, 5, "unsigned-version"))
	s.car("car-truncated-names-root", "A block that is cut behind its prevHash, which is the root's digest. It cannot be parsed, so it names nothing.",
		car(h[3], append(h, alice.After(h[3], plain(4))[:150])...), invalid(did, 5, "truncated"))
	add := func(name, description string, a args, inputs []string, f files, expect any) {
		*s = append(*s, vector{name: name, description: description, args: a, inputs: inputs, files: f, expect: expect})
	}
	one := []string{"history.car"}
	f := files{"history.car": car(h[3], h...)}
	add("car-did-right", "The DID is pinned, and right.", args{DID: did}, one, f, verified(did, 4))
	add("car-did-wrong", "The DID is pinned, and wrong.", args{DID: bob.DID()}, one, f, invalid(did, 4, "identity-mismatch"))
	add("car-head-right", "The head is pinned, and is the root.", args{Head: testkit.CID(h[3])}, one, f, verified(did, 4))
	add("car-head-in-middle", "The pinned head is not the root.", args{Head: testkit.CID(h[1])}, one, f, verified(did, 4))
	add("car-head-not-found", "A whole file of a life that was cut before the pinned head.", args{Head: testkit.CID(h[3])}, one, files{"history.car": car(h[2], h[:3]...)}, incomplete(did, 3, "head-not-found"))
	add("car-two-files", "One life in two files. The later one's root is the head; the earlier one's was, once.", args{}, []string{"later.car", "earlier.car"},
		files{"earlier.car": car(h[1], h[:2]...), "later.car": car(h[3], h[2:]...)}, verified(did, 4))
	add("car-and-files", "Half a life in a file, half in a folder.", args{}, []string{"history.car", "history"},
		files{"history.car": car(h[1], h[:2]...), "history/a.ckpt": h[2], "history/b.ckpt": h[3]}, verified(did, 4))
	add("car-good-and-broken", "A good file and one that is cut: no verdict on part of what was given.", args{}, []string{"good.car", "broken.car"},
		files{"good.car": car(h[3], h...), "broken.car": car(h[3], h...)[:200]}, refused("cut"))
}

func (s *set) brokenCARs() {
	h := life(alice, 3)
	cid := testkit.CIDBytes
	section := testkit.CARSection
	head := testkit.CARSection(testkit.CARHeader(cid(h[2])))
	var blocks []byte
	var starts []int
	for _, c := range h {
		starts = append(starts, len(head)+len(blocks))
		blocks = append(blocks, section(cid(c), c)...)
	}
	whole := slices.Concat(head, blocks)
	refuse := func(name, description, why string, parts ...[]byte) {
		s.car("car-refused-"+name, description, slices.Concat(parts...), refused(why))
	}
	// header makes the file with another header payload.
	header := func(name, description string, payload []byte) {
		refuse("header-"+name, description, "header", section(payload), blocks)
	}

	refuse("empty", "A file of no byte.", "header", nil)
	refuse("one-byte", "Only the header's length.", "header", head[:1])
	refuse("header-cut", "The file ends inside the header.", "header", head[:30])
	refuse("no-block", "A header and nothing else.", "root", head)
	refuse("cut-at-block", "The file ends before the last block: the root is not there.", "root", whole[:starts[2]])
	refuse("cut-in-block", "The file ends inside the last block.", "cut", whole[:len(whole)-1])
	refuse("cut-in-cid", "The file ends inside the last block's CID.", "cut", whole[:starts[2]+2+10])
	refuse("cut-after-cid", "The file ends behind the last block's CID.", "cut", whole[:starts[2]+2+36])
	refuse("cut-in-varint", "The file ends inside the last block's length.", "cut", whole[:starts[2]+1])
	refuse("cut-after-varint", "The file ends behind the last block's length.", "cut", whole[:starts[2]+2])
	refuse("cut-in-first-block", "The file ends inside the first block.", "cut", whole[:starts[0]+100])
	refuse("trailing-zero", "A zero byte follows: a section of no byte.", "section", whole, []byte{0})
	refuse("trailing-zeros", "Zero bytes follow, as padding.", "section", whole, make([]byte, 16))
	refuse("trailing-garbage", "Bytes follow that are no section.", "section", whole, []byte("\xff\xff\xff\xff\xff\xffgarbage"))
	refuse("trailing-newline", "A newline follows.", "section", whole, []byte("\n"))
	refuse("trailing-car", "Another file follows.", "CID", whole, whole)

	header("two-roots", "Two roots.", testkit.CARHeader(cid(h[2]), cid(h[1])))
	header("same-root-twice", "The same root twice.", testkit.CARHeader(cid(h[2]), cid(h[2])))
	header("no-root", "No root.", testkit.CARHeader())
	text := func(s string) []byte { return append([]byte{0x60 + byte(len(s))}, s...) }
	link := append([]byte{0xd8, 0x2a, 0x58, 0x25, 0x00}, cid(h[2])...)
	roots := slices.Concat(text("roots"), []byte{0x81}, link)
	version := append(text("version"), 1)
	header("roots-null", "The roots are null.", slices.Concat([]byte{0xa2}, text("roots"), []byte{0xf6}, version))
	header("roots-absent", "There are no roots at all.", slices.Concat([]byte{0xa1}, version))
	header("version-absent", "There is no version.", slices.Concat([]byte{0xa1}, roots))
	header("version-2", "The version is 2, otherwise the header is as it should be.", slices.Concat([]byte{0xa2}, roots, text("version"), []byte{2}))
	header("version-text", "The version is a text.", slices.Concat([]byte{0xa2}, roots, text("version"), text("1")))
	header("key-order", "The version stands before the roots: not canonical.", slices.Concat([]byte{0xa2}, version, roots))
	header("long-integer", "The version is 1 in two bytes: not canonical.", slices.Concat([]byte{0xa2}, roots, text("version"), []byte{0x18, 1}))
	header("indefinite", "The map has an indefinite length: not canonical.", slices.Concat([]byte{0xbf}, roots, version, []byte{0xff}))
	header("extra-key", "A third key.", slices.Concat([]byte{0xa3}, roots, version, text("x"), []byte{1}))
	header("trailing", "A byte follows the map, inside the header.", append(testkit.CARHeader(cid(h[2])), 0))
	header("no-tag", "The root is a byte string without tag 42.", slices.Concat([]byte{0xa2}, text("roots"), []byte{0x81}, link[2:], version))
	header("multibase", "The byte before the root's CID is not 0x00.", slices.Concat([]byte{0xa2}, text("roots"), []byte{0x81, 0xd8, 0x2a, 0x58, 0x25, 0x01}, cid(h[2]), version))
	codec := func(b []byte, codec byte) []byte { b = slices.Clone(b); b[1] = codec; return b }
	header("root-dag-cbor", "The root's codec is dag-cbor.", testkit.CARHeader(codec(cid(h[2]), 0x71)))
	header("root-dag-pb", "The root's codec is dag-pb.", testkit.CARHeader(codec(cid(h[2]), 0x70)))
	header("root-sha3", "The root's hash is SHA3-256.", testkit.CARHeader(slices.Concat([]byte{1, 0x55, 0x16, 0x20}, cid(h[2])[4:])))
	header("root-v0", "The root is a CIDv0.", testkit.CARHeader(cid(h[2])[2:]))
	header("empty", "A header of no byte.", nil)
	header("json", "The header is JSON.", []byte(`{"roots":["`+testkit.CID(h[2])+`"],"version":1}`))
	pragma := unhex("0aa16776657273696f6e02")
	v2 := func(at, size, index uint64, rest ...[]byte) []byte {
		return slices.Concat(pragma, slices.Repeat([]byte{0x80}, 16), le64(at), le64(size), le64(index), slices.Concat(rest...))
	}
	n := uint64(len(whole))
	s.car("car-v2", "A CARv2 is read as the CARv1 that is in it.", v2(51, n, 0, whole), verified(alice.DID(), len(h)))
	s.car("car-v2-padding-and-index", "There are bytes before the CARv1, and an index after it.", v2(151, n, 200+n, make([]byte, 100), whole, slices.Repeat([]byte{0x3a}, 300)), verified(alice.DID(), len(h)))
	s.car("car-v2-tampered", "A checkpoint in a CARv2 has a bad signature.",
		func() []byte {
			b := testkit.CAR(h[2], h[0], flipByte(h[1], testkit.OffSignature, 1), h[2])
			return v2(51, uint64(len(b)), 0, b)
		}(), invalid(alice.DID(), len(h), "bad-signature", "gap"))
	refuse("v2-cut-after-pragma", "There is the pragma of a CARv2 and nothing else.", "cut", pragma)
	refuse("v2-cut-in-header", "A CARv2 ends inside its header.", "cut", v2(51, n, 0)[:50])
	refuse("v2-cut-after-header", "A CARv2 ends after its header.", "cut", v2(51, n, 0))
	refuse("v2-cut-in-padding", "A CARv2 ends before its data.", "cut", v2(500, n, 0, make([]byte, 100)))
	refuse("v2-cut-in-data", "The last byte of a CARv2 is missing.", "cut", v2(51, n, 0, whole[:n-1]))
	refuse("v2-size-less", "A CARv2 says that its data is a byte shorter.", "cut", v2(51, n-1, 0, whole))
	refuse("v2-size-more", "A CARv2 says that its data is a byte longer, which is the beginning of its index.", "cut", v2(51, n+1, 52+n, whole, []byte{1, 2, 3}))
	refuse("v2-size-zero", "A CARv2 says that it has no data.", "empty", v2(51, 0, 0, whole))
	refuse("v2-data-in-header", "A CARv2 says that its data begins inside its header.", "header", v2(50, n, 0, whole))
	refuse("v2-index-in-data", "A CARv2 says that its index begins inside its data.", "index", v2(51, n, 50+n, whole))
	refuse("v2-overflow", "A CARv2 whose data would end after 2^64.", "index", v2(51, 1<<64-1, 0, whole))
	refuse("v2-endless-padding", "A CARv2 whose data begins at 2^63.", "cut", v2(1<<63, n, 0, whole))
	refuse("v2-inside-v2", "A CARv2 in a CARv2.", "CARv2", v2(51, 51+n, 0, v2(51, n, 0, whole)))
	refuse("header-length-long-form", "The header's length is not in its shortest form.", "header", []byte{0xba, 0x00}, head[1:], blocks)
	refuse("header-length-huge", "The header's length is 2^32-1.", "header", unhex("ffffffff0f"), head[1:], blocks)
	refuse("header-length-endless", "The header's length never ends.", "header", slices.Repeat([]byte{0xff}, 64))
	refuse("header-length-57", "The header's length is one too small.", "header", []byte{57}, head[1:], blocks)
	refuse("header-length-59", "The header's length is one too large.", "header", []byte{59}, head[1:], blocks)

	// block makes the file with something else in place of the second block.
	block := func(name, description, why string, b ...[]byte) {
		refuse(name, description, why, slices.Concat(whole[:starts[1]], slices.Concat(b...), whole[starts[2]:]))
	}
	c := h[1]
	length := binary.AppendUvarint(nil, uint64(36+len(c)))
	block("varint-long-form", "A block's length is not in its shortest form.", "varint", length[:1], []byte{length[1] | 0x80, 0x00}, cid(c), c)
	block("varint-long-form-5-bytes", "A block's length is padded to five bytes.", "varint", length[:1], []byte{length[1] | 0x80, 0x80, 0x80, 0x00}, cid(c), c)
	block("varint-6-bytes", "A block's length has six bytes, in shortest form.", "varint", binary.AppendUvarint(nil, 1<<35), cid(c), c)
	block("varint-10-bytes", "A block's length is 2^64-1.", "varint", binary.AppendUvarint(nil, 1<<64-1), cid(c), c)
	block("varint-endless", "A block's length never ends.", "varint", slices.Repeat([]byte{0x80}, 32))
	block("section-empty", "A section of no byte in the middle.", "section", []byte{0})
	block("section-35-bytes", "A section one byte shorter than a CID.", "section", section(cid(c)[:35]))
	block("section-1-byte", "A section of one byte.", "section", section([]byte{1}))
	block("block-over-64-mib", "A block that claims 64 MiB and a byte, which are not there.", "64 MiB", binary.AppendUvarint(nil, 36+64<<20+1), cid(c), c)
	block("block-64-mib-cut", "A block that claims 64 MiB, the most there may be, which are not there.", "cut", binary.AppendUvarint(nil, 36+64<<20), cid(c), c)
	block("block-32-gib", "A block that claims 2^35-1 bytes, the most that five bytes can say.", "64 MiB", unhex("ffffffff7f"), cid(c), c)
	block("block-length-minus-1", "A block's length is one too small.", "hash", binary.AppendUvarint(nil, uint64(36+len(c)-1)), cid(c), c)
	block("block-length-plus-1", "A block's length is one too large.", "hash", binary.AppendUvarint(nil, uint64(36+len(c)+1)), cid(c), c)

	block("cid-dag-pb", "A block's CID has the codec dag-pb.", "CID", section(codec(cid(c), 0x70), c))
	block("cid-dag-cbor", "A block's CID has the codec dag-cbor.", "CID", section(codec(cid(c), 0x71), c))
	block("cid-v0", "A block's CID is a CIDv0.", "CID", section(cid(c)[2:], c))
	block("cid-v2", "A block's CID says version 2.", "CID", section([]byte{2}, cid(c)[1:], c))
	block("cid-identity", "A block's CID is an identity hash.", "CID", section([]byte{0x01, 0x55, 0x00, byte(len(c[:100]))}, c[:100], c[:100]))
	long := sha512.Sum512(c)
	block("cid-sha512", "A block's CID has a SHA-512.", "CID", section([]byte{0x01, 0x55, 0x13, 0x40}, long[:], c))
	short := sha256.Sum256(c)
	block("cid-short-digest", "A block's CID has only 20 bytes of its SHA-256.", "CID", section([]byte{0x01, 0x55, 0x12, 0x14}, short[:20], c))
	block("cid-long-form", "A block's CID has its codec as a varint of two bytes.", "CID", section([]byte{0x01, 0xd5, 0x00, 0x12, 0x20}, short[:], c))

	block("flipped-bit", "A bit of a block is flipped: it does not hash to its CID.", "hash", section(cid(c), flipByte(c, 200, 1)))
	block("flipped-bit-in-state", "The last bit of a block is flipped.", "hash", section(cid(c), flipByte(c, len(c)-1, 1)))
	block("flipped-bit-in-cid", "A bit of a block's digest is flipped.", "hash", section(flipByte(cid(c), 20, 1), c))
	block("swapped-cid", "A block stands under another one's CID.", "hash", section(cid(h[0]), c))
	refuse("flipped-bit-in-root", "A bit of the root's digest is flipped: it is not there.", "root", flipByte(head, 40, 1), blocks)
	refuse("flipped-bit-in-root-block", "A bit of the root's block is flipped.", "hash", flipByte(whole, len(whole)-1, 1))

	refuse("root-is-genesis", "The root is the genesis, and its successor is in the file.", "root", testkit.CAR(h[0], h...))
	refuse("root-in-middle", "The root is in the middle of the life.", "root", testkit.CAR(h[1], h...))
	refuse("root-in-middle-reversed", "The root is in the middle of the life, and its successor stands before it.", "root", testkit.CAR(h[1], h[2], h[1], h[0]))
	badHead := flipByte(h[2], testkit.OffState, 1)
	refuse("root-before-bad-signature", "A checkpoint with a bad signature names the root as its predecessor. The root is not the head, whoever says so.", "root", testkit.CAR(h[1], h[0], h[1], badHead))
	refuse("root-not-in-file", "The root is another life's head.", "root", testkit.CAR(life(bob, 3)[2], h...))
	refuse("not-a-car-text", "The file is a text.", "header", []byte("This is not a CAR.\n"))
	refuse("not-a-car-checkpoint", "The file is a checkpoint.", "header", h[0])
	refuse("not-a-car-gzip", "The file begins as a gzip file.", "header", unhex("1f8b0800000000000003"), whole)
}

func le64(n uint64) []byte { return binary.LittleEndian.AppendUint64(nil, n) }
