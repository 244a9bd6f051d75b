// Package control is how another process talks to the one that runs an agent: HTTP over
// a Unix socket in the agent's folder, which only its owner may use.
//
//	POST /v1/top-up      {"microcents": "500000"}
//	curl --unix-socket watcher/control http://igor/v1/status
//
// A socket is of use while somebody listens: one that a killed process left, or that
// travelled with a copy of the folder, connects to nobody, and the next one that has the
// folder's lock replaces it.
package control

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// Name is the socket's, in an agent's folder.
const Name = "control"

// Limits of what comes in.
const (
	MaxReply       = 256 << 20 // bytes; a list of effects has their requests in it
	MaxRequest     = 96 << 20  // bytes; an upgrade has a program in it
	maxConnections = 16
	headerTimeout  = 5 * time.Second
)

// maxPath is the longest path of a socket that every system takes.
const maxPath = 100

// ErrNobody says that nobody listens.
var ErrNobody = errors.New("nobody listens")

// A Server listens in an agent's folder.
type Server struct {
	dir string
	l   net.Listener
	s   *http.Server
}

// Listen serves h in the folder dir, of which the caller has the lock.
func Listen(dir string, h http.Handler) (*Server, error) {
	if info, err := os.Lstat(filepath.Join(dir, Name)); err == nil && info.Mode().Type() != fs.ModeSocket {
		return nil, fmt.Errorf("%s is there and is not a socket", filepath.Join(dir, Name))
	}
	// It is made where nobody else can reach it, and has its mode before it has its name.
	private, err := os.MkdirTemp(dir, ".control-*")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(private)
	path, done, err := short(private, "s")
	if err != nil {
		return nil, err
	}
	defer done()
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, bare(err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	socket := filepath.Join(private, "s")
	if err := errors.Join(os.Chmod(socket, 0o600), os.Rename(socket, filepath.Join(dir, Name))); err != nil {
		l.Close()
		return nil, err
	}
	s := &Server{dir: dir, l: l, s: &http.Server{Handler: h, ReadHeaderTimeout: headerTimeout, MaxHeaderBytes: 16 << 10}}
	go s.s.Serve(&limited{Listener: l, free: make(chan struct{}, maxConnections)})
	return s, nil
}

// Unlink removes the socket: nobody comes any more. It has to be called before the lock
// is given back.
func (s *Server) Unlink() {
	if s != nil {
		s.l.Close()
		os.Remove(filepath.Join(s.dir, Name))
	}
}

// Close lets those who wait for an answer have it, for a moment.
func (s *Server) Close() {
	if s == nil {
		return
	}
	ctx, stop := context.WithTimeout(context.Background(), time.Second)
	defer stop()
	if s.s.Shutdown(ctx) != nil {
		s.s.Close()
	}
}

// limited accepts so many connections at a time.
type limited struct {
	net.Listener
	free chan struct{}
}

func (l *limited) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	select {
	case l.free <- struct{}{}:
		return &counted{Conn: c, l: l}, nil
	default:
		c.Close() // whoever it is comes again
		return l.Accept()
	}
}

type counted struct {
	net.Conn
	l      *limited
	closed bool
}

func (c *counted) Close() error {
	if !c.closed {
		c.closed = true
		<-c.l.free
	}
	return c.Conn.Close()
}

// Client returns a client that reaches whoever listens in the folder dir, at any host.
// Its error is ErrNobody if nobody does.
func Client(dir string) (*http.Client, error) {
	dial := func(ctx context.Context) (net.Conn, error) {
		path, done, err := short(dir, Name)
		if err != nil {
			return nil, err
		}
		defer done()
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}
	c, err := dial(context.Background())
	if err != nil {
		if errors.Is(err, fs.ErrPermission) {
			return nil, fmt.Errorf("%s: %w", filepath.Join(dir, Name), bare(err))
		}
		return nil, ErrNobody
	}
	c.Close()
	return &http.Client{Transport: &http.Transport{
		DialContext:       func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) },
		DisableKeepAlives: true,
	}}, nil
}

// bare takes the operation and the made-up path off an error.
func bare(err error) error {
	if op, ok := errors.AsType[*net.OpError](err); ok {
		err = op.Err
	}
	if call, ok := errors.AsType[*os.SyscallError](err); ok {
		err = call.Err
	}
	return err
}

// short returns a path of a name in dir that is short enough for a socket, until done.
func short(dir, name string) (path string, done func(), err error) {
	path = filepath.Join(dir, name)
	if len(path) <= maxPath {
		return path, func() {}, nil
	}
	folder, err := os.Open(dir)
	if err != nil {
		return "", nil, err
	}
	byNumber := filepath.Join("/proc/self/fd", strconv.Itoa(int(folder.Fd())))
	if _, err := os.Stat(byNumber); err == nil {
		return filepath.Join(byNumber, name), func() { folder.Close() }, nil
	}
	folder.Close()
	if dir, err = filepath.Abs(dir); err != nil {
		return "", nil, err
	}
	tmp, err := os.MkdirTemp("", "igor-*")
	if err != nil {
		return "", nil, err
	}
	done = func() { os.RemoveAll(tmp) }
	link := filepath.Join(tmp, "f")
	if err := os.Symlink(dir, link); err != nil {
		done()
		return "", nil, err
	}
	return filepath.Join(link, name), done, nil
}
