package verifycli

import (
	"fmt"
	"io"
	"os"
	"time"
)

// IsTerminal reports whether w is a terminal, or another character device, on
// which what is written for terminals does no harm.
func IsTerminal(w any) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("TERM") != "dumb"
}

// A Palette paints, or does not.
type Palette bool

// PaletteOf returns what suits w. See https://no-color.org.
func PaletteOf(w io.Writer) Palette {
	return Palette(IsTerminal(w) && os.Getenv("NO_COLOR") == "")
}

// The styles of reports.
const (
	Bold   = "1"
	Dim    = "2"
	Red    = "1;31"
	Green  = "1;32"
	Yellow = "1;33"
	Cyan   = "1;36"
)

// Paint returns s in a style.
func (p Palette) Paint(style, s string) string {
	if !p || s == "" {
		return s
	}
	return "\x1b[" + style + "m" + s + "\x1b[0m"
}

const (
	progressAfter = 400 * time.Millisecond // what is faster needs none
	progressEvery = 100 * time.Millisecond
)

// ShowProgress rewrites one line on a terminal until stop is called, which leaves
// nothing of it. On anything but a terminal it writes nothing.
func ShowProgress(w io.Writer, line func() string) (stop func()) {
	if !IsTerminal(w) {
		return func() {}
	}
	quit, gone := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(gone)
		next := time.NewTimer(progressAfter)
		defer next.Stop()
		shown := false
		for {
			select {
			case <-quit:
				if shown {
					io.WriteString(w, "\r\x1b[K")
				}
				return
			case <-next.C:
				fmt.Fprintf(w, "\r\x1b[K%s", line())
				shown = true
				next.Reset(progressEvery)
			}
		}
	}()
	return func() {
		close(quit)
		<-gone
	}
}

// Examined says in words how far a verification is.
func Examined(checkpoints, bytes int64) string {
	return fmt.Sprintf("examined %s, %s", Plural(int(checkpoints), "checkpoint"), byteSize(uint64(bytes)))
}
