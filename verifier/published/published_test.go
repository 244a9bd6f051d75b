package published

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"igor.dev/internal/testkit"
	"igor.dev/verifier"
)

const spec = "../../docs/spec"

func example(t testing.TB) []byte {
	return []byte(testkit.SpecBlock(t, spec, "publishing.md", "text head"))
}

// TestSpec holds the page's head to the checkpoints of the other pages.
func TestSpec(t *testing.T) {
	genesis := testkit.SpecBytes(t, spec, "checkpoint.md", "hex genesis")
	f := verifier.Examine(testkit.SpecBytes(t, spec, "lineage.md", "hex successor"))
	if f.PrevHash != verifier.Examine(genesis).ContentHash {
		t.Fatal("the pages have other checkpoints")
	}
	want := Head{f.AgentPubKey, f.ContentHash, f.TickNumber, f.WASMHash, 2, 0, 2}
	got, err := ParseHead(example(t))
	if err != nil || *got != want {
		t.Fatalf("%+v, %v, want %+v", got, err, want)
	}
	if b := want.Append(nil); !bytes.Equal(b, example(t)) {
		t.Errorf("%s", b)
	}
	page, err := os.ReadFile(spec + "/publishing.md")
	if err != nil {
		t.Fatal(err)
	}
	did, cid := f.AgentPubKey.DID(), f.ContentHash.CID()
	for _, key := range []string{HeadKey(f.AgentPubKey), SegmentKey(f.AgentPubKey, 12), TailKey(f.AgentPubKey, f.ContentHash), IndexKey(f.AgentPubKey), ProofKey(f.AgentPubKey), BlockKey(f.ContentHash)} {
		path := "`/" + strings.NewReplacer(did, "DID", cid, "CID", "12.car", "N.car").Replace(key) + "`"
		if !bytes.Contains(page, []byte("| "+path+" |")) {
			t.Errorf("the page has no %s", path)
		}
	}
	for _, limit := range []string{"| 512 |", "| 1,048,576 |", "| 134,217,728 |", "| 67,108,864 |"} {
		if !bytes.Contains(page, []byte(limit)) {
			t.Errorf("the page has no %s", limit)
		}
	}
	if MaxHead != 512 || MaxSegments != 1048576 || MaxSegment != 134217728 || verifier.MaxCheckpointSize != 67108864 {
		t.Error("the page has other limits")
	}
}

// A vector is a text that is a head, or why it is none.
type vector struct {
	Name string
	Head string
	Why  string // it is none
}

func vectors(t testing.TB) (all []vector) {
	b, err := os.ReadFile("../../testdata/published/heads.json")
	if err == nil {
		err = json.Unmarshal(b, &all)
	}
	if err != nil || len(all) < 30 {
		t.Fatal(len(all), err)
	}
	return all
}

func TestVectors(t *testing.T) {
	good := 0
	for _, v := range vectors(t) {
		h, err := ParseHead([]byte(v.Head))
		switch {
		case v.Why == "" && err != nil:
			t.Errorf("%s: %v", v.Name, err)
		case v.Why == "":
			good++
			if b := h.Append(nil); string(b) != v.Head {
				t.Errorf("%s: is written as %s", v.Name, b)
			}
		case err == nil || !strings.Contains(err.Error(), v.Why):
			t.Errorf("%s: %v, want %s", v.Name, err, v.Why)
		}
	}
	if good < 3 {
		t.Error("only", good, "are heads")
	}
}

// TestEveryByte changes every byte, and cuts at every place: what is still a head says
// something else.
func TestEveryByte(t *testing.T) {
	b := example(t)
	was, err := ParseHead(b)
	if err != nil {
		t.Fatal(err)
	}
	for i := range b {
		if h, err := ParseHead(b[:i]); err == nil {
			t.Errorf("cut at %d: %+v", i, h)
		}
		for bit := range 8 {
			c := bytes.Clone(b)
			c[i] ^= 1 << bit
			if h, err := ParseHead(c); err == nil && *h == *was {
				t.Errorf("%q is the same head", c)
			}
		}
	}
}

func TestIndex(t *testing.T) {
	b := bytes.Repeat([]byte{1, 2}, 48)
	hashes, err := ParseIndex(b)
	if err != nil || len(hashes) != 3 || hashes[2] != verifier.Hash(b[64:]) {
		t.Error(hashes, err)
	}
	if _, err := ParseIndex(b[:95]); err == nil {
		t.Error("half a hash is one")
	}
}

func FuzzHead(f *testing.F) {
	for _, v := range vectors(f) {
		f.Add([]byte(v.Head))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := ParseHead(b)
		if err != nil {
			if h != nil {
				t.Fatal("a head beside an error")
			}
			return
		}
		if got := h.Append(nil); !bytes.Equal(got, b) {
			t.Fatalf("%q is written as %q", b, got)
		}
	})
}

func FuzzIndex(f *testing.F) {
	f.Add([]byte{})
	f.Add(bytes.Repeat([]byte{1, 2}, 48))
	f.Add(make([]byte, 33))
	f.Fuzz(func(t *testing.T, b []byte) {
		hashes, err := ParseIndex(b)
		if (err == nil) != (len(b)%HashSize == 0) {
			t.Fatalf("%d bytes: %v", len(b), err)
		}
		if err != nil {
			if hashes != nil {
				t.Fatal("hashes beside an error")
			}
			return
		}
		var again []byte
		for _, h := range hashes {
			again = append(again, h[:]...)
		}
		if !bytes.Equal(again, b) {
			t.Fatal("the hashes are other ones than the bytes")
		}
	})
}
