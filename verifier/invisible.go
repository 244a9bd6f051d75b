package verifier

// invisible has the characters that a reader does not see, or that move others: the
// C1 controls and DEL, Unicode's Default_Ignorable_Code_Point (the marks of
// bidirectional text and the tags among them), the line and paragraph separators,
// and what is there to be blank.
var invisible = [...][2]rune{
	{0x7f, 0xa0}, {0xad, 0xad}, {0x34f, 0x34f}, {0x61c, 0x61c}, {0x115f, 0x1160}, {0x1680, 0x1680},
	{0x17b4, 0x17b5}, {0x180b, 0x180f}, {0x2000, 0x200f}, {0x2028, 0x202f}, {0x205f, 0x206f},
	{0x2800, 0x2800}, {0x3000, 0x3000}, {0x3164, 0x3164}, {0xe000, 0xf8ff}, {0xfe00, 0xfe0f}, {0xfeff, 0xfeff},
	{0xffa0, 0xffa0}, {0xfff0, 0xfffc}, {0x1bca0, 0x1bca3}, {0x1d159, 0x1d159}, {0x1d173, 0x1d17a},
	{0xe0000, 0x10ffff},
}

// Invisible reports whether r is a control character, blank without being a space,
// or has an effect on others in place of a look of its own.
func Invisible(r rune) bool {
	if r < 0x20 {
		return true
	}
	for _, in := range invisible {
		if r <= in[1] {
			return r >= in[0]
		}
	}
	return false
}
