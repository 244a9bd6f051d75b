package price

import (
	"bytes"
	"crypto/ed25519"
	"strings"
	"testing"
	"time"

	"igor.dev/internal/testkit"
)

const spec = "../../docs/spec"

func key(first byte) ed25519.PrivateKey {
	var seed [32]byte
	for i := range seed {
		seed[i] = first + byte(i)
	}
	return ed25519.NewKeyFromSeed(seed[:])
}

func example(t testing.TB) []byte { return testkit.SpecBytes(t, spec, "price.md", "hex offer") }

func TestSpecExample(t *testing.T) {
	b := example(t)
	o, err := Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	again := *o
	again.Signature = [64]byte{}
	if err := again.Sign(key(0x40)); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(again.Append(nil), b) {
		t.Error("signed again, it is another one")
	}
	if o.Price != 1000 || !o.Has("x402", 2) || o.Has("http", 2) || len(o.Regions) != 2 || o.Draining {
		t.Errorf("%+v", o)
	}
	for when, good := range map[int64]bool{o.Issued: true, o.Issued - 300: true, o.Issued - 301: false, o.Expires - 1: true, o.Expires: false} {
		if err := o.At(time.Unix(when, 0)); (err == nil) != good {
			t.Errorf("at %d: %v", when, err)
		}
	}
}

// TestBits changes each bit of an offer, and cuts it everywhere: it is none then.
func TestBits(t *testing.T) {
	b := example(t)
	for i := range len(b) * 8 {
		flipped := bytes.Clone(b)
		flipped[i/8] ^= 1 << (i % 8)
		if _, err := Parse(flipped); err == nil {
			t.Errorf("it is an offer with bit %d changed", i)
		}
	}
	for n := range len(b) {
		if _, err := Parse(b[:n]); err == nil {
			t.Errorf("%d bytes of it are an offer", n)
		}
	}
	if _, err := Parse(append(bytes.Clone(b), 0)); err == nil {
		t.Error("something follows it")
	}
}

// TestHostile signs what no honest node does.
func TestHostile(t *testing.T) {
	good := func() Offer {
		o, err := Parse(example(t))
		if err != nil {
			t.Fatal(err)
		}
		return *o
	}
	for name, change := range map[string]func(*Offer){
		"negative price":        func(o *Offer) { o.Price = -1 },
		"negative stored":       func(o *Offer) { o.StoredPrice = -1 },
		"ends before":           func(o *Offer) { o.Expires = o.Issued },
		"for ever":              func(o *Offer) { o.Expires = o.Issued + 7*24*3600 + 1 },
		"far past":              func(o *Offer) { o.Issued = -1 << 63 },
		"no hpke":               func(o *Offer) { o.HPKE = [32]byte{} },
		"no schedule":           func(o *Offer) { o.Schedules = nil },
		"schedules in no order": func(o *Offer) { o.Schedules = []uint32{2, 1} },
		"schedule twice":        func(o *Offer) { o.Schedules = []uint32{1, 1} },
		"region in capitals":    func(o *Offer) { o.Regions = []string{"EU"} },
		"region with a newline": func(o *Offer) { o.Regions = []string{"eu\n"} },
		"empty region":          func(o *Offer) { o.Regions = []string{""} },
		"long region":           func(o *Offer) { o.Regions = []string{strings.Repeat("a", 65)} },
		"capability twice":      func(o *Offer) { o.Capabilities = []Capability{{"clock", 1}, {"clock", 2}} },
		"capability 0":          func(o *Offer) { o.Capabilities = []Capability{{"clock", 0}} },
		"too many capabilities": func(o *Offer) {
			o.Capabilities = nil
			for i := range 65 {
				o.Capabilities = append(o.Capabilities, Capability{"a" + string(rune('a'+i/26)) + string(rune('a'+i%26)), 1})
			}
		},
	} {
		o := good()
		change(&o)
		o.Signature = [64]byte(ed25519.Sign(key(0x40), o.AppendMessage(nil)))
		if got, err := Parse(o.Append(nil)); err == nil {
			t.Errorf("%s: %+v", name, got)
		}
		if err := o.Sign(key(0x40)); err == nil {
			t.Errorf("%s: it is signed", name)
		}
	}
	o := good()
	o.Signature = [64]byte(ed25519.Sign(key(0x41), o.AppendMessage(nil)))
	if _, err := Parse(o.Append(nil)); err == nil {
		t.Error("another node signed it")
	}
}

func FuzzOffer(f *testing.F) {
	f.Add(example(f))
	f.Fuzz(func(t *testing.T, b []byte) {
		if o, err := Parse(b); err == nil && !bytes.Equal(o.Append(nil), b) {
			t.Error("what parses does not encode to the same bytes")
		}
	})
}

// FuzzFields finds offers that can be signed, and not be read.
func FuzzFields(f *testing.F) {
	f.Add(int64(0), int64(10), "eu", "clock", byte(1), uint32(1))
	f.Fuzz(func(t *testing.T, issued, expires int64, region, capability string, version byte, schedule uint32) {
		o := Offer{HPKE: [32]byte{1}, Issued: issued, Expires: expires, Regions: []string{region}, Capabilities: []Capability{{capability, version}}, Schedules: []uint32{schedule}}
		if o.Sign(key(1)) != nil {
			return
		}
		if _, err := Parse(o.Append(nil)); err != nil {
			t.Errorf("what is signed cannot be read: %v", err)
		}
	})
}
