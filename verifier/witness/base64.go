package witness

import "strings"

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

// decode reads base64 of which every text has one spelling: others of the same bytes would
// let bits flip unseen. Package encoding/base64 would add 3 KB to a web page.
func decode(s string) (out []byte, ok bool) {
	if len(s)%4 != 0 {
		return nil, false
	}
	out = make([]byte, 0, len(s)/4*3)
	for ; s != ""; s = s[4:] {
		n := 4
		if len(s) == 4 {
			for n > 2 && s[n-1] == '=' {
				n--
			}
		}
		v := uint32(0)
		for i := range 4 {
			v <<= 6
			if i < n {
				d := strings.IndexByte(alphabet, s[i])
				if d < 0 {
					return nil, false
				}
				v |= uint32(d)
			}
		}
		if v<<(8*n) != 0 { // v has 24 bits, of which n-1 bytes count
			return nil, false
		}
		out = append(out, byte(v>>16), byte(v>>8), byte(v))[:len(out)+n-1]
	}
	return out, true
}

// decodeHash reads 32 bytes in base64.
func decodeHash(h *[32]byte, s string) bool {
	b, ok := decode(s)
	return ok && len(b) == copy(h[:], b) && len(b) == len(h)
}

// encode writes base64.
func encode(b []byte) string {
	var out []byte
	for ; len(b) > 0; b = b[min(3, len(b)):] {
		var v uint32
		for i := range 3 {
			v <<= 8
			if i < len(b) {
				v |= uint32(b[i])
			}
		}
		for i := range 4 {
			c := byte('=')
			if i <= len(b) {
				c = alphabet[v>>18&63]
			}
			out = append(out, c)
			v <<= 6
		}
	}
	return string(out)
}
