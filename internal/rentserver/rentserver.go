// Package rentserver serves rent (docs/spec/rent.md) as a file says: for igor rent, which does
// so beside a node, and for igor-node, in which it is.
package rentserver

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"igor.dev/runtime"
	"igor.dev/x402"
	"igor.dev/x402/evm"
	"igor.dev/x402/rent"
)

// A Config is such a file, as far as it says what to do.
type Config struct {
	Listen  string
	Network string
	Ledger  string // "" = the file does not name one
	Rent    rent.Config
}

// file is what stands there. docs/spec/rent.md describes it.
type file struct {
	Listen string `json:"listen"`
	URL    string `json:"url"`
	Ledger string `json:"ledger"`
	Folder string `json:"folder"`

	Network       string   `json:"network"`
	Asset         string   `json:"asset"`
	Name          string   `json:"assetName"`
	Version       string   `json:"assetVersion"`
	PayTo         string   `json:"payTo"`
	Facilitator   string   `json:"facilitator"`
	Nodes         []string `json:"nodes"`
	Agree         int      `json:"agree"`
	Confirmations uint64   `json:"confirmations"`

	Lease *struct {
		Period string `json:"period"`
		Price  string `json:"price"`
	} `json:"lease"`
	Least string `json:"least"`
}

// MaxSize is how many bytes a file has.
const MaxSize = 64 << 10

// A hintError says what to do about it.
type hintError struct {
	error
	next string
}

func (e *hintError) Unwrap() error { return e.error }
func (e *hintError) Hint() string  { return e.next }

// Read reads a configuration. Folders that it names are beside it. Who has the ledger and the
// key puts them in.
func Read(path string) (*Config, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &hintError{err, "igor rent --help has an example"}
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	src, err := io.ReadAll(io.LimitReader(f, MaxSize+1))
	if err != nil {
		return nil, err
	}
	var c file
	d := json.NewDecoder(bytes.NewReader(src))
	d.DisallowUnknownFields()
	switch err := d.Decode(&c); {
	case len(src) > MaxSize:
		return nil, fmt.Errorf("%s: a configuration of rent has at most %d bytes", path, MaxSize)
	case err != nil:
		return nil, fmt.Errorf("%s is not a configuration of rent: %w", path, err)
	case d.More():
		return nil, fmt.Errorf("%s is not a configuration of rent: something comes after it", path)
	}
	wrong := func(key string, err error) error { return fmt.Errorf("%s: %s: %w", path, key, err) }
	rc := rent.Config{URL: c.URL, Confirmations: c.Confirmations}
	rc.Domain.Name, rc.Domain.Version = c.Name, c.Version
	if rc.Domain.Chain, err = x402.ParseNetwork(c.Network); err != nil {
		return nil, wrong("network", err)
	}
	if rc.Domain.Contract, err = evm.ParseAddress(c.Asset); err != nil {
		return nil, wrong("asset", err)
	}
	if rc.PayTo, err = evm.ParseAddress(c.PayTo); err != nil {
		return nil, wrong("payTo", err)
	}
	if rc.Facilitator, err = x402.DialFacilitator(c.Facilitator); err != nil {
		return nil, wrong("facilitator", err)
	}
	rc.Nodes.Quorum = c.Agree
	if c.Agree == 0 {
		rc.Nodes.Quorum = len(c.Nodes)
	}
	for _, address := range c.Nodes {
		n, err := evm.Dial(address)
		if err != nil {
			return nil, wrong("nodes", err)
		}
		rc.Nodes.All = append(rc.Nodes.All, n)
	}
	if err := rc.Nodes.Check(); err != nil {
		return nil, wrong("nodes", err)
	}
	if c.Least != "" {
		if rc.Least, err = runtime.ParseAmount(c.Least); err != nil {
			return nil, wrong("least", err)
		}
	}
	if c.Lease != nil {
		rc.Lease = &rent.Lease{}
		if rc.Lease.Period, err = time.ParseDuration(c.Lease.Period); err != nil {
			return nil, wrong("lease.period", fmt.Errorf("%q is not a time such as 720h", c.Lease.Period))
		}
		if rc.Lease.Price, err = runtime.ParseAmount(c.Lease.Price); err != nil {
			return nil, wrong("lease.price", err)
		}
	}
	for key, value := range map[string]string{"listen": c.Listen, "folder": c.Folder} {
		if value == "" {
			return nil, wrong(key, errors.New("it is missing"))
		}
	}
	beside := func(name string) string {
		if name == "" || filepath.IsAbs(name) {
			return name
		}
		return filepath.Join(filepath.Dir(path), name)
	}
	rc.Folder = beside(c.Folder)
	return &Config{Listen: c.Listen, Network: c.Network, Ledger: beside(c.Ledger), Rent: rc}, nil
}

// A Server is one that serves.
type Server struct {
	URL  string       // at which it is on this machine
	Over <-chan error // why it ended, if nobody closed it

	web  *http.Server
	rent *rent.Server
}

// Serve serves rent until it is closed. The configuration has the books and the key.
func Serve(ctx context.Context, c *Config, log *slog.Logger) (*Server, error) {
	l, err := net.Listen("tcp", c.Listen)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	rc := c.Rent
	rc.Log = log
	s := &Server{URL: "http://" + l.Addr().String()}
	if rc.URL == "" {
		rc.URL = s.URL
	}
	if s.rent, err = rent.Open(ctx, rc); err != nil {
		l.Close()
		return nil, err
	}
	s.web = &http.Server{Handler: s.rent, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 30 * time.Second, WriteTimeout: 60 * time.Second, IdleTimeout: time.Minute,
		MaxHeaderBytes: 96 << 10, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn)}
	over := make(chan error, 1)
	s.Over = over
	go func() { over <- s.web.Serve(l) }()
	return s, nil
}

// Close ends it: who is being answered gets the answer, within a while.
func (s *Server) Close() error {
	ctx, stop := context.WithTimeout(context.Background(), 5*time.Second)
	defer stop()
	if err := s.web.Shutdown(ctx); err != nil {
		s.web.Close()
	}
	return s.rent.Close()
}
