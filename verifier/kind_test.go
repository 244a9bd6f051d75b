package verifier_test

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"igor.dev/verifier"
)

func TestKinds(t *testing.T) {
	var vectors []struct{ Name, Start, Kind, Use string }
	b, err := os.ReadFile("../testdata/kinds.json")
	if err == nil {
		err = json.Unmarshal(b, &vectors)
	}
	if err != nil || len(vectors) < 80 {
		t.Fatalf("%d vectors: %v", len(vectors), err)
	}
	seen := make(map[string]bool)
	for _, v := range vectors {
		start, err := hex.DecodeString(v.Start)
		if err != nil {
			t.Fatal(err)
		}
		k := verifier.KindOf(v.Name, start)
		if k.String() != v.Kind || k.Use().String() != v.Use {
			t.Errorf("%q that begins with %q is %s and %s, want %s and %s", v.Name, start, k, k.Use(), v.Kind, v.Use)
		}
		seen[v.Kind] = true
	}
	for k := verifier.KindOther; k != verifier.KindFolderLink; k++ {
		if !seen[k.String()] {
			t.Errorf("no vector of kind %s", k)
		}
		if k.What() == "" || (k.Next() == "") != (k.Use() == verifier.Read) {
			t.Errorf("%s is %q, and the next step %q", k, k.What(), k.Next())
		}
	}
}

// FuzzKind looks for what the spec's table does not promise.
func FuzzKind(f *testing.F) {
	f.Add("a.ckpt", []byte("PK\x03\x04"))
	f.Add("LIFE.CAR", []byte("\x3a\xa2\x65roots"))
	f.Fuzz(func(t *testing.T, name string, start []byte) {
		k := verifier.KindOf(name, start)
		if k == verifier.KindFolderLink || k.String() == "" {
			t.Fatalf("%q, %q: %v", name, start, k)
		}
		if len(start) > verifier.KindStart {
			if cut := verifier.KindOf(name, start[:verifier.KindStart]); cut != k {
				t.Fatalf("%q: %v, but of the first bytes alone %v", name, k, cut)
			}
		}
		base := name[strings.LastIndex(name, "/")+1:]
		junk := strings.HasPrefix(base, "._") || base == ".DS_Store" || strings.Contains("/"+name+"/", "/__MACOSX/")
		if strings.HasSuffix(name, ".ckpt") && (k == verifier.KindCheckpoint) == junk {
			t.Fatalf("%q: %v", name, k)
		}
	})
}
