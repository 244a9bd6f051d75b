package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"igor.dev/site/embedded"
)

func siteCommand() *cobra.Command {
	var listen string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "site",
		Short: "Serve the page that verifies lives in a browser",
		Long: `Site serves the verification site that is in this program: drop a life on its
page and see the verdict. What is dropped stays in the browser.`,
		Example: "  igor site --listen 127.0.0.1:8000",
		Args:    operands(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			handler, err := embedded.Handler()
			if errors.Is(err, embedded.ErrNotBuilt) {
				return failed(&hinted{err, "build it in a clone: make"})
			}
			if err != nil {
				return failed(err)
			}
			l, err := net.Listen("tcp", listen)
			if err != nil {
				return failed(&hinted{err, "choose another address with --listen, or port 0 for any"})
			}
			url := "http://" + l.Addr().String() + "/"
			if asJSON {
				err = writeJSON(cmd.OutOrStdout(), struct {
					URL string `json:"url"`
				}{url})
			} else {
				_, err = fmt.Fprintln(cmd.OutOrStdout(), "the site is at", url)
			}
			if err != nil {
				l.Close()
				return failed(err)
			}
			return failed(serve(cmd.Context(), l, handler))
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "write where it is as JSON")
	cmd.Flags().StringVar(&listen, "listen", "127.0.0.1:8321", "the `ADDRESS` to serve at")
	return cmd
}

// serve serves until ctx ends.
func serve(ctx context.Context, l net.Listener, handler http.Handler) error {
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 64 << 10}
	stopped := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		patience, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		stopped <- server.Shutdown(patience)
	})
	err := server.Serve(l)
	if stop() { // it ended by itself
		return err
	}
	return <-stopped
}

// A hinted error knows the next step.
type hinted struct {
	error
	hint string
}

func (h *hinted) Unwrap() error { return h.error }
func (h *hinted) Hint() string  { return h.hint }
