package authority_test

import (
	"errors"
	"iter"
	"testing"

	"igor.dev/authority"
	"igor.dev/verifier"
)

// A told is what replicas say of what a position names, by the bytes of a fuzzer: of up to
// seven blobs of two kinds several versions each, that continue and need any others.
type told map[authority.Name][]authority.Blob

// Of a version there are four bytes: whose it is, what it continues, what it needs (a bit
// each), and how many bytes it has. The last five are of a name that nobody asked for.
func readTold(b []byte) told {
	t := told{}
	for ; len(b) >= 4; b = b[4:] {
		name := toldName(b[0])
		v := authority.Blob{Name: name, Data: make([]byte, int(b[3]))}
		if n := toldName(b[1]); n.Kind == name.Kind && n != name {
			v.Before = n.Hash
		}
		for bit := range byte(7) {
			if b[2]>>bit&1 == 1 {
				v.Needs = append(v.Needs, toldName(bit))
			}
		}
		if b[0] >= 251 {
			v.Name.Hash = hash("another one")
		}
		if len(t[name]) < 4 {
			t[name] = append(t[name], v)
		}
	}
	return t
}

func toldName(n byte) authority.Name {
	n %= 7
	kind := authority.Log
	if n >= 4 {
		kind = authority.Journal
	}
	return authority.Name{Kind: kind, Hash: verifier.Hash{1 + n}}
}

// whole is what a position may name by what is told, and nothing else: again and again those
// are added of which a version has all that it needs.
func (t told) whole() map[authority.Name]bool {
	whole := map[authority.Name]bool{}
	for more := true; more; {
		more = false
		for name, all := range t {
			for i := range all {
				b := &all[i]
				ok := b.Name == name && (b.Before.IsZero() || whole[authority.Name{Kind: b.Kind, Hash: b.Before}])
				for _, n := range b.Needs {
					ok = ok && whole[n]
				}
				if ok && !whole[name] {
					whole[name], more = true, true
				}
			}
		}
	}
	return whole
}

// FuzzGather gathers what replicas made up. What comes of it is whole, and has no end that
// leads to its beginning; if there is such a thing, it is found; and there is a limit to how
// much is asked for.
func FuzzGather(f *testing.F) {
	f.Add(byte(7), byte(32), uint16(4096), []byte("\x00\x00\x00\x05\x01\x00\x10\x05\x04\x04\x00\x05"))                     // in pieces
	f.Add(byte(7), byte(32), uint16(4096), []byte("\x00\x01\x00\x05\x00\x00\x00\x05\x01\x00\x00\x05\x04\x04\x00\x05"))     // a circle, and one that is none
	f.Add(byte(40), byte(27), uint16(4165), []byte("00\x01012"+"0010\x00021AA"))                                           // one that is only while it is looked at
	f.Add(byte(2), byte(32), uint16(4096), []byte("\x00\x01\x00\x05\x01\x02\x00\x05\x02\x03\x00\x05\x03\x03\x00\x05"))     // a chain
	f.Add(byte(7), byte(32), uint16(40), []byte("\x00\x00\x0e\x00\x01\x01\x00\x00\x02\x02\x00\x00\x03\x03\x00\x00"))       // names alone
	f.Add(byte(7), byte(2), uint16(4096), []byte("\x00\x01\x00\x05\x01\x02\x00\x05\x02\x03\x00\x05\x03\x03\x00\x05"))      // many
	f.Add(byte(7), byte(32), uint16(4096), []byte("\xfb\x00\x00\x05\x06\x06\x00\x05\x06\x05\x7f\x05\xff\xff\xff\xff\x01")) // of another name
	f.Fuzz(func(t *testing.T, chain, blobs byte, total uint16, raw []byte) {
		all := readTold(raw)
		p := begin(1, 1)
		p.Head, p.Log, p.Journal, p.Paid = verifier.Hash{}, toldName(1).Hash, toldName(6).Hash, verifier.Hash{}
		head := authority.Name{Kind: authority.Checkpoint} // which is there, and needs what the fuzzer says
		needs := authority.Blob{Name: head}
		for bit := range byte(7) {
			if len(raw) > 0 && raw[len(raw)-1]>>bit&1 == 1 {
				needs.Needs = append(needs.Needs, toldName(bit))
			}
		}
		all[head] = []authority.Blob{needs}

		asked, depth, deepest, came := 0, 0, 0, int64(0)
		got, err := p.GatherWithin(int(chain), int(blobs), int64(total), func(name authority.Name) iter.Seq2[authority.Blob, error] {
			return func(yield func(authority.Blob, error) bool) {
				asked++
				depth++
				deepest = max(deepest, depth)
				defer func() { depth-- }()
				for _, b := range all[name] {
					came += int64(len(b.Data) + 33*len(b.Needs))
					if !yield(b, nil) {
						return
					}
				}
			}
		})
		if asked > int(blobs) || deepest > int(chain) || err == nil && came > int64(total) {
			t.Errorf("%d were asked for of %d, %d deep of %d, and %d bytes came of %d", asked, blobs, deepest, chain, came, total)
		}
		whole := all.whole()
		if errors.Is(err, authority.ErrTooMany) {
			if asked < int(blobs) && deepest < int(chain) && came <= int64(total) {
				t.Errorf("after %d, %d deep, of %d bytes: %v", asked, deepest, came, err)
			}
			return
		}
		if want := whole[head] && whole[toldName(1)] && whole[toldName(6)]; want != (err == nil) {
			t.Fatalf("it is whole: %v; and it is %v", want, err)
		}
		if err != nil {
			return
		}
		// As it was taken it is whole by itself, and has nothing else.
		taken := told{}
		for name, b := range got {
			taken[name] = []authority.Blob{b}
		}
		if again := taken.whole(); len(again) != len(got) {
			t.Errorf("%d are taken, of which %d are whole", len(got), len(again))
		}
		n := 0
		if err := p.Walk(func(n authority.Name) (authority.Blob, error) { return got[n], nil }, func(*authority.Blob) error { n++; return nil }); err != nil || n != len(got) {
			t.Errorf("%d of %d are walked: %v", n, len(got), err)
		}
	})
}
