package main

import (
	"context"
	"io"
	"sync"

	"github.com/spf13/cobra"

	"igor.dev/internal/verifycli"
	"igor.dev/runtime"
)

// withProgress shows on a terminal how far the work in the context is, until stop
// is called. To do that again does nothing.
func withProgress(cmd *cobra.Command) (ctx context.Context, stop func()) {
	var p runtime.Progress
	return runtime.WithProgress(cmd.Context(), &p), sync.OnceFunc(verifycli.ShowProgress(cmd.ErrOrStderr(), p.String))
}

// A logWriter gets the log of a life. The first line ends the showing of progress,
// which would be in its way.
type logWriter struct {
	io.Writer
	stop func()
}

func (w *logWriter) Write(b []byte) (int, error) {
	if w.stop != nil {
		w.stop()
	}
	return w.Writer.Write(b)
}
