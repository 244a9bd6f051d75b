package verifier_test

import (
	"bytes"
	"errors"
	"math"
	"strings"
	"testing"

	"igor.dev/internal/testkit"
	"igor.dev/verifier"
)

func TestParseAppend(t *testing.T) {
	agent := testkit.NewAgent("alice")
	extreme := testkit.Fields{
		Budget: math.MaxInt64, Price: math.MaxInt64, Tick: math.MaxUint64, WASMHash: [32]byte{1, 2, 3},
		MajorVersion: math.MaxUint64, LeaseGeneration: 7, LeaseExpiry: math.MinInt64,
		PrevHash: [32]byte{9}, State: []byte("state"),
	}
	v4 := agent.Checkpoint(extreme)
	c, err := verifier.Parse(v4)
	if err != nil {
		t.Fatal(err)
	}
	if c.Version != 4 || c.Budget != extreme.Budget || c.PricePerSecond != extreme.Price || c.TickNumber != extreme.Tick ||
		c.WASMHash != extreme.WASMHash || c.MajorVersion != extreme.MajorVersion || c.LeaseGeneration != extreme.LeaseGeneration ||
		c.LeaseExpiry != extreme.LeaseExpiry || c.PrevHash != extreme.PrevHash || string(c.State) != "state" ||
		!bytes.Equal(c.AgentPubKey[:], agent.Key) || !bytes.Equal(c.Signature[:], v4[testkit.OffSignature:testkit.OffState]) {
		t.Errorf("parsed %+v", c)
	}
	if !bytes.Equal(c.AppendMessage(nil), testkit.Message(v4)) {
		t.Error("AppendMessage does not give what the signature signs")
	}
	for _, size := range []int{testkit.HeaderSizeV2, testkit.HeaderSizeV3, testkit.HeaderSizeV4} {
		old := bytes.Clone(v4)
		old[0] = map[int]byte{testkit.HeaderSizeV2: 2, testkit.HeaderSizeV3: 3, testkit.HeaderSizeV4: 4}[size]
		for _, b := range [][]byte{old, old[:size]} {
			c, err := verifier.Parse(b)
			if err != nil {
				t.Fatal(err)
			}
			if got := c.Append([]byte("before"))[6:]; !bytes.Equal(got, b) {
				t.Errorf("version %d: parsed and appended: %x, want %x", old[0], got, b)
			}
			if len(c.State) != len(b)-size {
				t.Errorf("version %d: state of %d bytes, want %d", old[0], len(c.State), len(b)-size)
			}
		}
		for n := range size {
			want := verifier.Truncated
			if n == 0 {
				want = verifier.Empty
			}
			var parse *verifier.ParseError
			if _, err := verifier.Parse(old[:n]); !errors.As(err, &parse) || parse.Code != want {
				t.Errorf("version %d, %d bytes: %v, want %s", old[0], n, err, want)
			}
		}
	}
	for version := range 256 {
		v4[0] = byte(version)
		_, err := verifier.Parse(v4)
		if known := version >= 2 && version <= 4; (err == nil) != known {
			t.Errorf("version %d: %v", version, err)
		}
	}
}

func TestFields(t *testing.T) {
	b := testkit.NewAgent("alice").Checkpoint(testkit.Fields{State: []byte("state")})
	for version, rows := range map[byte]int{2: 6, 3: 9, 4: 12} {
		b[0] = version
		table := verifier.Fields(b)
		if len(table) != rows {
			t.Errorf("version %d: %d rows, want %d", version, len(table), rows)
		}
		offset := 0
		for _, f := range table {
			if f.Offset != offset {
				t.Errorf("version %d: %s begins at %d, want %d", version, f.Name, f.Offset, offset)
			}
			offset += f.Size
		}
		if offset != len(b) {
			t.Errorf("version %d: the table ends at %d of %d", version, offset, len(b))
		}
	}
	if verifier.Fields(nil) != nil || verifier.Fields([]byte{4}) != nil {
		t.Error("a table for what does not parse")
	}
}

func TestFormatMicrocents(t *testing.T) {
	for v, want := range map[int64]string{
		0: "0.000000", 1: "0.000001", -1: "-0.000001", 1_000_000: "1.000000", -1_500_000: "-1.500000",
		math.MaxInt64: "9223372036854.775807", math.MinInt64: "-9223372036854.775808",
	} {
		if got := verifier.FormatMicrocents(v); got != want {
			t.Errorf("%d is %s, want %s", v, got, want)
		}
	}
}

func TestDID(t *testing.T) {
	for _, name := range []string{"alice", "bob", "carol"} {
		agent := testkit.NewAgent(name)
		key := verifier.PublicKey(agent.Key)
		if got := key.DID(); got != agent.DID() || !strings.HasPrefix(got, "did:key:z6Mk") {
			t.Errorf("DID is %s, want %s", got, agent.DID())
		}
		if got, err := verifier.ParseDID(agent.DID()); err != nil || got != key {
			t.Errorf("parsed %x, %v", got, err)
		}
	}
	for _, key := range []verifier.PublicKey{{}, {31: 0xff}, verifier.PublicKey(bytes.Repeat([]byte{0xff}, 32))} {
		if got, err := verifier.ParseDID(key.DID()); err != nil || got != key || !strings.HasPrefix(key.DID(), "did:key:z6Mk") {
			t.Errorf("%s: parsed %x, %v", key.DID(), got, err)
		}
	}
	good := testkit.NewAgent("alice").DID()
	for _, bad := range []string{
		"", "did:key:", "did:key:z6Mk", good[:len(good)-1], good + "1", "DID" + good[3:], strings.Replace(good, "z6", "z7", 1),
		strings.Replace(good, "z6", "m6", 1), good[:20] + "0" + good[21:], good[:20] + "l" + good[21:], "did:web:example.com",
		"did:key:z" + strings.Repeat("z", 47), "did:key:z" + strings.Repeat("1", 47), "did:key:zQ3shokFTS3brHcDQrn82RUDfCZESWL1ZdCEJwekUDPQiYBme",
	} {
		if k, err := verifier.ParseDID(bad); err == nil {
			t.Errorf("%q is %x", bad, k)
		}
	}
}

func TestCID(t *testing.T) {
	for _, content := range []string{"", "a", "b", "checkpoint"} {
		h := verifier.Hash(testkit.Hash([]byte(content)))
		if got, want := h.CID(), testkit.CID([]byte(content)); got != want || !strings.HasPrefix(got, "bafkrei") {
			t.Errorf("CID is %s, want %s", got, want)
		}
		if got, err := verifier.ParseCID(h.CID()); err != nil || got != h {
			t.Errorf("parsed %x, %v", got, err)
		}
	}
	good := testkit.CID(nil)
	for _, bad := range []string{
		"", "b", good[:58], good + "a", "B" + good[1:], strings.ToUpper(good), good[:58] + "7", good[:30] + "1" + good[31:],
		"bafybei" + good[7:], "QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWubzSP",
	} {
		if h, err := verifier.ParseCID(bad); err == nil {
			t.Errorf("%q is %x", bad, h)
		}
	}
}

func FuzzParse(f *testing.F) {
	agent := testkit.NewAgent("alice")
	for _, b := range append(agent.History(3, 20), nil, []byte{2}, []byte{3}, []byte{4}) {
		f.Add(b)
		if len(b) > 0 {
			for _, version := range []byte{2, 3, 5} {
				old := bytes.Clone(b)
				old[0] = version
				f.Add(old)
			}
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		before := bytes.Clone(b)
		finding := verifier.Examine(b)
		if !bytes.Equal(b, before) {
			t.Error("Examine changed its input")
		}
		c, err := verifier.Parse(b)
		if (err == nil) != finding.Parsed() {
			t.Errorf("Parse says %v, Examine the opposite", err)
		}
		if err == nil && !bytes.Equal(c.Append(nil), b) {
			t.Error("parsed and appended, it is another")
		}
		if (err == nil) != (verifier.Fields(b) != nil) {
			t.Errorf("Parse says %v, Fields the opposite", err)
		}
		if finding.Authentic() && testkit.DID(c.AgentPubKey[:]) != agent.DID() && len(b) < 1000 {
			// Not impossible, but then the fuzzer has found a key.
			t.Logf("authentic: %x", b)
		}
		packed := finding.AppendBinary(nil)
		if again, err := verifier.ParseFinding(packed); err != nil || again != finding {
			t.Errorf("packed and parsed, the finding is %+v, %v; was %+v", again, err, finding)
		}
	})
}

func FuzzParseFinding(f *testing.F) {
	finding := verifier.Examine(testkit.NewAgent("alice").History(1, 1)[0])
	f.Add(finding.AppendBinary(nil))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		finding, err := verifier.ParseFinding(b)
		if err == nil && !bytes.Equal(finding.AppendBinary(nil), b) {
			t.Error("parsed and packed, it is another")
		}
	})
}

func FuzzParseDID(f *testing.F) {
	f.Add(testkit.NewAgent("alice").DID())
	f.Add("did:key:z" + strings.Repeat("z", 47))
	f.Fuzz(func(t *testing.T, s string) {
		if k, err := verifier.ParseDID(s); err == nil && k.DID() != s {
			t.Errorf("%q is the key of %s", s, k.DID())
		}
	})
}

func FuzzParseCID(f *testing.F) {
	f.Add(testkit.CID(nil))
	f.Fuzz(func(t *testing.T, s string) {
		if h, err := verifier.ParseCID(s); err == nil && h.CID() != s {
			t.Errorf("%q is the hash of %s", s, h.CID())
		}
	})
}
