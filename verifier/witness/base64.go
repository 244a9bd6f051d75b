package witness

import "errors"

// strictBase64 is base64 of which every text has one spelling: others of the same bytes would
// let bits flip unseen. Package encoding/base64 would add 3 KB to a web page.
type strictBase64 struct{}

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

var strict strictBase64

var errBase64 = errors.New("not base64")

// DecodeString reads it.
func (strictBase64) DecodeString(s string) ([]byte, error) {
	if len(s)%4 != 0 {
		return nil, errBase64
	}
	out := make([]byte, 0, len(s)/4*3)
	for ; len(s) > 0; s = s[4:] {

		n := 4
		if len(s) == 4 && s[3] == '=' {
			n = 3
			if s[2] == '=' {
				n = 2
			}
		}
		v := uint32(0)
		for i := range 4 {
			v <<= 6
			if i < n {
				d := digit(s[i])
				if d > 63 {
					return nil, errBase64
				}
				v |= d
			}
		}
		if n == 3 && v&0xff != 0 || n == 2 && v&0xffff != 0 {
			return nil, errBase64
		}
		out = append(out, byte(v>>16), byte(v>>8), byte(v))[:len(out)+n-1]
	}
	return out, nil
}

func digit(c byte) uint32 {
	switch {
	case 'A' <= c && c <= 'Z':
		return uint32(c - 'A')
	case 'a' <= c && c <= 'z':
		return uint32(c-'a') + 26
	case '0' <= c && c <= '9':
		return uint32(c-'0') + 52
	case c == '+':
		return 62
	case c == '/':
		return 63
	}
	return 64
}

// EncodeToString writes it.
func (strictBase64) EncodeToString(b []byte) string {
	out := make([]byte, 0, (len(b)+2)/3*4)
	for len(b) > 0 {
		var v uint32
		n := min(3, len(b))
		for i := range 3 {
			v <<= 8
			if i < n {
				v |= uint32(b[i])
			}
		}
		for i := range 4 {
			if i <= n {
				out = append(out, alphabet[v>>18&63])
			} else {
				out = append(out, '=')
			}
			v <<= 6
		}
		b = b[n:]
	}
	return string(out)
}
