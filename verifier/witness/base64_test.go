package witness

import (
	"bytes"
	"encoding/base64"
	"math/rand/v2"
	"testing"
)

// TestBase64 holds the strict base64 against that of the standard library, whose strict
// decoder skips line ends.
func TestBase64(t *testing.T) {
	std := base64.StdEncoding.Strict()
	random := rand.New(rand.NewChaCha8([32]byte{7}))
	letters := []byte(alphabet + "==-_ \x00\xff")
	for n := range 70 {
		for range 40 {
			b := make([]byte, n)
			for i := range b {
				b[i] = byte(random.Uint32())
			}
			s := encode(b)
			if got, ok := decode(s); s != std.EncodeToString(b) || !ok || !bytes.Equal(got, b) {
				t.Fatalf("%x is %q, and that is %x, %v", b, s, got, ok)
			}
			if n == 0 {
				continue
			}
			bad := []byte(s)
			bad[random.IntN(len(bad))] = letters[random.IntN(len(letters))]
			bad = bad[:len(bad)-random.IntN(2)]
			got, ok := decode(string(bad))
			want, wantErr := std.DecodeString(string(bad))
			if ok != (wantErr == nil) || ok && !bytes.Equal(got, want) {
				t.Fatalf("%q: %x, %v; want %x, %v", bad, got, ok, want, wantErr)
			}
		}
	}
	if _, ok := decode("QUJ\nD"); ok {
		t.Error("a line end is skipped")
	}
}
