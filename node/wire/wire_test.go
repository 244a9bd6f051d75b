package wire

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"

	"igor.dev/internal/testkit"
	"igor.dev/verifier"
)

func TestSpecExample(t *testing.T) {
	text := strings.TrimSpace(testkit.SpecBlock(t, "../../docs/spec", "handover-protocol.md", "json propose"))
	var framed bytes.Buffer
	framed.Write(le.AppendUint32(nil, uint32(len(text))))
	framed.WriteString(text)
	var p Propose
	if err := Read(&framed, &p); err != nil {
		t.Fatal(err)
	}
	if err := Write(&framed, p); err != nil {
		t.Fatal(err)
	}
	if got := framed.String()[4:]; got != text {
		t.Errorf("it is written as\n%s", got)
	}
	var a BlocksAsk
	if BlocksAskSize != 119 || len(a.Append(nil)) != BlocksAskSize {
		t.Errorf("a request for blocks has %d bytes", BlocksAskSize)
	}
}

// TestMessages reads what nobody should send.
func TestMessages(t *testing.T) {
	frame := func(s string) []byte { return append(le.AppendUint32(nil, uint32(len(s))), s...) }
	for name, b := range map[string][]byte{
		"nothing":         {},
		"no bytes":        frame(""),
		"cut length":      {1, 0},
		"cut":             frame(`{"do":"files"}`)[:10],
		"too large":       {1, 0, 1, 0},
		"for ever":        {0xff, 0xff, 0xff, 0xff},
		"not JSON":        frame("hello"),
		"another type":    frame(`{"do":1}`),
		"two":             frame(`{"do":"files"}{"do":"files"}`),
		"something after": frame(`{"do":"files"} x`),
		"nested":          frame(strings.Repeat("[", 60000)),
	} {
		var q Ask
		if err := Read(bytes.NewReader(b), &q); err == nil {
			t.Errorf("%s: %+v", name, q)
		}
	}
	if err := Write(io.Discard, Answer{Detail: strings.Repeat("x", MaxMessage)}); err == nil {
		t.Error("a message that nobody reads is written")
	}
}

// TestLaterKeys reads messages of a later node, which have keys that this version does not
// have: the rest counts as if they were not there.
func TestLaterKeys(t *testing.T) {
	for _, m := range []any{
		&Propose{Do: "propose", Agent: "x", Number: 3, Offer: []byte{1}, Home: "fleet:x"}, &Final{Do: "final", Head: "x", Record: []byte{1}, Sequence: 4}, &Committed{Do: "committed"},
		&Answer{State: Refused, Reason: "weather", Detail: "x"}, &Ask{Do: "get", Files: []Have{{Name: "x", Size: 1}}}, &Files{Files: []File{{Name: "x"}}, More: true}, &Sending{Name: "x", From: 1}, &Commit{State: Gone, Moved: []byte{1}}, &Deleted{Deletions: [][]byte{{1}}}, &Folders{Folders: []string{"x"}},
	} {
		b, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		later := strings.ReplaceAll(string(b), "{", `{"later":[{"do":"x"}],`)
		got := reflect.New(reflect.TypeOf(m).Elem()).Interface()
		if err := Read(bytes.NewReader(append(le.AppendUint32(nil, uint32(len(later))), later...)), got); err != nil || !reflect.DeepEqual(got, m) {
			t.Errorf("%s reads as %+v, %v", later, got, err)
		}
	}
}

// send is an honest answer: blocks, the newest first.
func send(blocks [][]byte) []byte {
	b := bytes.NewBuffer([]byte{BlocksFollow})
	for _, block := range blocks {
		WriteBlock(b, block)
	}
	WriteBlock(b, nil)
	return b.Bytes()
}

func backwards(t testing.TB, n int) (agent verifier.PublicKey, blocks [][]byte) {
	a := testkit.NewAgent("alice")
	all := a.History(n, 8)
	for i := range all {
		blocks = append(blocks, all[len(all)-1-i])
	}
	return verifier.PublicKey(a.Key), blocks
}

func ignore([]byte, *verifier.Finding) error { return nil }

func TestBlocks(t *testing.T) {
	agent, blocks := backwards(t, 20)
	hash := func(i int) verifier.Hash { return sha256.Sum256(blocks[i]) }
	ask := BlocksAsk{Agent: agent, Head: hash(0), Max: 1 << 40}
	n := 0
	next, err := ReadBlocks(bytes.NewReader(send(blocks)), ask, func([]byte, *verifier.Finding) error { n++; return nil })
	if err != nil || n != 20 || !next.IsZero() {
		t.Fatalf("%d blocks, then %s, %v", n, next, err)
	}
	// It is cut off, and asked for from there.
	got := 0
	cut := len(send(blocks[:7])) - 4 - 10
	next, err = ReadBlocks(bytes.NewReader(send(blocks)[:cut]), ask, func([]byte, *verifier.Finding) error { got++; return nil })
	if !errors.Is(err, io.ErrUnexpectedEOF) || got != 6 || next != hash(6) {
		t.Fatalf("%d blocks, then %s, %v", got, next, err)
	}
	again := ask
	again.Head = next
	if next, err = ReadBlocks(bytes.NewReader(send(blocks[6:])), again, ignore); err != nil || !next.IsZero() {
		t.Fatal(err)
	}
	// Until.
	again.Head, again.Until = hash(0), hash(5)
	if next, err = ReadBlocks(bytes.NewReader(send(blocks[:5])), again, ignore); err != nil || !next.IsZero() {
		t.Fatalf("%s, %v", next, err)
	}
	if _, err := ReadBlocks(bytes.NewReader(send(blocks[:6])), again, ignore); err == nil {
		t.Error("more than was asked for")
	}
	// Less than all: it says where to go on.
	if next, err = ReadBlocks(bytes.NewReader(send(blocks[:5])), ask, ignore); err != nil || next != hash(5) {
		t.Fatalf("%s, %v", next, err)
	}
}

// TestLies has a history lie at its first block and at its ten-thousandth: it is caught
// there, and nothing of it is believed.
func TestLies(t *testing.T) {
	agent, blocks := backwards(t, 10001)
	honest := BlocksAsk{Agent: agent, Head: sha256.Sum256(blocks[0]), Max: 1 << 40}
	stranger := testkit.NewAgent("eve").History(3, 8)
	for _, at := range []int{0, 1, 9999} {
		for name, lie := range map[string][]byte{
			"another state":    append(bytes.Clone(blocks[at]), 'x'),
			"a flipped bit":    func() []byte { b := bytes.Clone(blocks[at]); b[200] ^= 1; return b }(),
			"the one before":   blocks[at+1],
			"a stranger's":     stranger[1],
			"no checkpoint":    bytes.Repeat([]byte{7}, 300),
			"a very short one": {4},
		} {
			if at == 9999 && name != "a flipped bit" {
				continue
			}
			sent := append([][]byte{}, blocks...)
			sent[at] = lie
			n := 0
			_, err := ReadBlocks(bytes.NewReader(send(sent)), honest, func([]byte, *verifier.Finding) error { n++; return nil })
			e, ok := errors.AsType[*LieError](err)
			if !ok || e.Block != at || n != at {
				t.Errorf("%s at %d: after %d blocks: %v", name, at, n, err)
			}
		}
	}
	for name, b := range map[string][]byte{
		"refused":           {BlocksRefused},
		"nothing":           {},
		"no block":          {BlocksFollow, 0, 0, 0, 0},
		"a huge block":      {BlocksFollow, 0xff, 0xff, 0xff, 0x7f},
		"after the genesis": append(send(blocks)[:len(send(blocks))-4], send(stranger)[1:]...),
	} {
		if _, err := ReadBlocks(bytes.NewReader(b), honest, ignore); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	// Its own key may lie, too.
	alice := testkit.NewAgent("alice")
	older := alice.Checkpoint(testkit.Fields{Tick: 5})
	newer := alice.After(older, testkit.Fields{Tick: 5})
	ask := BlocksAsk{Agent: agent, Head: sha256.Sum256(newer), Max: 1 << 40}
	if e, ok := errors.AsType[*LieError](func() error {
		_, err := ReadBlocks(bytes.NewReader(send([][]byte{newer, older})), ask, ignore)
		return err
	}()); !ok || e.Block != 1 {
		t.Errorf("two blocks of one tick: %v", e)
	}
	// What has the hash that was asked for is believed no more than that: another agent's, and
	// one whose signature was changed.
	changed := bytes.Clone(blocks[0])
	changed[verifier.HeaderSize-1] ^= 1
	for name, block := range map[string][]byte{"a stranger's": stranger[2], "changed": changed} {
		ask := honest
		ask.Head = sha256.Sum256(block)
		n := 0
		_, err := ReadBlocks(bytes.NewReader(send([][]byte{block, blocks[1]})), ask, func([]byte, *verifier.Finding) error { n++; return nil })
		if e, ok := errors.AsType[*LieError](err); !ok || e.Block != 0 || n > 0 {
			t.Errorf("%s, as the head: after %d blocks: %v", name, n, err)
		}
	}
	// A block that is said to be large takes memory as it comes, not as it is said.
	huge := append([]byte{BlocksFollow}, le.AppendUint32(nil, verifier.MaxCheckpointSize)...)
	if n := testing.AllocsPerRun(1, func() { ReadBlocks(bytes.NewReader(huge), honest, ignore) }); n > 200 {
		t.Errorf("%v allocations", n)
	}
	little := honest
	little.Max = 1000
	if _, err := ReadBlocks(bytes.NewReader(send(blocks)), little, ignore); err == nil {
		t.Error("more bytes than were asked for")
	}
}

func FuzzMessage(f *testing.F) {
	f.Add([]byte("\x0e\x00\x00\x00{\"do\":\"files\"}"))
	f.Add([]byte("\x0d\x00\x00\x00{\"do\":\"head\"}"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var q Ask
		if Read(bytes.NewReader(b), &q) == nil {
			if _, err := json.Marshal(q); err != nil {
				t.Error(err)
			}
		}
		var p Propose
		Read(bytes.NewReader(b), &p)
		var s Final
		Read(bytes.NewReader(b), &s)
		var a Answer
		Read(bytes.NewReader(b), &a)
		var files Files
		Read(bytes.NewReader(b), &files)
		var folders Folders
		Read(bytes.NewReader(b), &folders)
		var h Head
		Read(bytes.NewReader(b), &h)
		var c Commit
		Read(bytes.NewReader(b), &c)
	})
}

func FuzzBlocks(f *testing.F) {
	agent, blocks := backwards(f, 4)
	ask := BlocksAsk{Agent: agent, Head: sha256.Sum256(blocks[0]), Max: 1 << 20}
	f.Add(send(blocks))
	f.Fuzz(func(t *testing.T, b []byte) {
		want := ask.Head
		ReadBlocks(bytes.NewReader(b), ask, func(block []byte, c *verifier.Finding) error {
			if sha256.Sum256(block) != want {
				t.Error("a block that was not asked for is believed")
			}
			want = c.PrevHash
			return nil
		})
	})
}

func FuzzBlocksAsk(f *testing.F) {
	a := BlocksAsk{Head: verifier.Hash{1}}
	f.Add(a.Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		if a, err := ReadBlocksAsk(bytes.NewReader(b)); err == nil && !bytes.Equal(a.Append(nil), b[:BlocksAskSize]) {
			t.Error("what parses does not encode to the same bytes")
		}
	})
}
