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

// colourful reports whether w takes colours. See https://no-color.org.
func colourful(w io.Writer) bool {
	return IsTerminal(w) && os.Getenv("NO_COLOR") == ""
}

// palette paints, or does not.
type palette bool

const (
	bold   = "1"
	dim    = "2"
	red    = "1;31"
	green  = "1;32"
	yellow = "1;33"
)

func (p palette) paint(style, s string) string {
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
	return fmt.Sprintf("examined %s, %s", plural(int(checkpoints), "checkpoint"), byteSize(uint64(bytes)))
}
