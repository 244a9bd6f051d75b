package sdk

import (
	"encoding/hex"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// specOffer is the example of docs/spec/price.md.
func specOffer(t testing.TB) []byte {
	t.Helper()
	page, err := os.ReadFile("../docs/spec/price.md")
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile("(?s)```hex offer\n(.*?)```").FindSubmatch(page)
	if block == nil {
		t.Fatal("docs/spec/price.md has no example")
	}
	digits := regexp.MustCompile(`(?m)#.*$|\s`).ReplaceAllString(string(block[1]), "")
	b, err := hex.DecodeString(digits)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestReadOffer(t *testing.T) {
	b := specOffer(t)
	o, err := ReadOffer(b)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(o.Node, "did:key:z6Mk") || len(o.Node) != 56 || !slices.Equal(o.Regions, []string{"eu", "eu-west"}) ||
		o.Price != 1000 || o.StoredPrice != 50_000_000 || o.FreeAgents != 12 || o.FreeMemory != 1<<30 || o.Draining ||
		!o.Issued.Equal(time.Date(2027, 1, 15, 8, 0, 0, 0, time.UTC)) || o.Expires.Sub(o.Issued) != time.Hour {
		t.Errorf("read as %+v", o)
	}
	for n := range b {
		if _, err := ReadOffer(b[:n]); err == nil {
			t.Errorf("the first %d bytes are an offer", n)
		}
	}
	if _, err := ReadOffer(append(b, 0)); err == nil {
		t.Error("with a byte after it, it is an offer")
	}
}

func FuzzReadOffer(f *testing.F) {
	f.Add(specOffer(f))
	f.Fuzz(func(t *testing.T, b []byte) {
		if o, err := ReadOffer(b); err == nil && len(o.Node) != 56 {
			t.Errorf("node %q", o.Node)
		}
	})
}
