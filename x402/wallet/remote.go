package wallet

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"igor.dev/x402/evm"
)

// A remote signer is another process on the machine, which has the key and a Unix
// socket. One connection is one question and one answer, each a JSON object on a line.
// The signer gets what is to be signed, not its hash, and can refuse it.
//
//	{"igor": "wallet/1", "ask": "address"}
//	{"address": "0x…"}
//
//	{"igor": "wallet/1", "ask": "authorize", "domain": {"name", "version", "chain", "contract"},
//	 "authorization": {"from", "to", "value", "validAfter", "validBefore", "nonce"}}
//	{"signature": "0x…"} or {"error": "…"}
//
//	{"ask": "cancel", "domain", "nonce"}, {"ask": "bind", "agent", "node", "wallet", "time"}: the same.
//
// Numbers are decimal texts, bytes are 0x and digits.

const (
	remoteVersion = "wallet/1"
	maxLine       = 16 << 10
	// remoteTime is how long a signer has, which may ask a person.
	remoteTime = 2 * time.Minute
)

type wireDomain struct {
	Name     string `json:"name"`
	Version  string `json:"version"`
	Chain    string `json:"chain"`
	Contract string `json:"contract"`
}

type wireAuthorization struct {
	From        string `json:"from"`
	To          string `json:"to"`
	Value       string `json:"value"`
	ValidAfter  string `json:"validAfter"`
	ValidBefore string `json:"validBefore"`
	Nonce       string `json:"nonce"`
}

type question struct {
	Igor          string             `json:"igor"`
	Ask           string             `json:"ask"`
	Domain        *wireDomain        `json:"domain,omitempty"`
	Authorization *wireAuthorization `json:"authorization,omitempty"`
	Nonce         string             `json:"nonce,omitempty"`
	Agent         string             `json:"agent,omitempty"`
	Node          string             `json:"node,omitempty"`
	Wallet        string             `json:"wallet,omitempty"`
	Time          string             `json:"time,omitempty"`
}

type answer struct {
	Address   string `json:"address,omitempty"`
	Signature string `json:"signature,omitempty"`
	Error     string `json:"error,omitempty"`
}

func decimal(n uint64) string { return strconv.FormatUint(n, 10) }

func wireOf(d *evm.Domain) *wireDomain {
	return &wireDomain{d.Name, d.Version, decimal(d.Chain), d.Contract.String()}
}

// Remote is a wallet whose key another process has.
type Remote struct {
	socket  string
	address evm.Address
}

// Dial returns the wallet of the signer at a Unix socket, which is asked for its address.
func Dial(ctx context.Context, socket string) (*Remote, error) {
	r := &Remote{socket: socket}
	a, err := r.ask(ctx, &question{Ask: "address"})
	if err != nil {
		return nil, err
	}
	if r.address, err = evm.ParseAddress(a.Address); err != nil {
		return nil, fmt.Errorf("the signer at %s: %w", socket, err)
	}
	return r, nil
}

// Address implements [Wallet].
func (r *Remote) Address() evm.Address { return r.address }

// Authorize implements [Wallet].
func (r *Remote) Authorize(ctx context.Context, d *evm.Domain, a *evm.Authorization) (evm.Signature, error) {
	return r.sign(ctx, a.Digest(d), &question{Ask: "authorize", Domain: wireOf(d), Authorization: &wireAuthorization{
		a.From.String(), a.To.String(), decimal(a.Value), decimal(a.ValidAfter), decimal(a.ValidBefore), a.Nonce.String()}})
}

// Cancel implements [Wallet].
func (r *Remote) Cancel(ctx context.Context, d *evm.Domain, nonce evm.Hash) (evm.Signature, error) {
	return r.sign(ctx, evm.CancelDigest(d, r.address, nonce), &question{Ask: "cancel", Domain: wireOf(d), Nonce: nonce.String()})
}

// Bind implements [Wallet].
func (r *Remote) Bind(ctx context.Context, b *Binding) (evm.Signature, error) {
	return r.sign(ctx, b.digest(), &question{Ask: "bind", Agent: evm.Hash(b.Agent).String(), Node: evm.Hash(b.Node).String(),
		Wallet: b.Wallet.String(), Time: strconv.FormatInt(b.Time.Unix(), 10)})
}

// sign asks for a signature, and takes only one of what was asked for, by the wallet
// that the signer said it is.
func (r *Remote) sign(ctx context.Context, digest evm.Hash, q *question) (evm.Signature, error) {
	a, err := r.ask(ctx, q)
	if err != nil {
		return evm.Signature{}, err
	}
	s, err := evm.ParseSignature(a.Signature)
	if err != nil {
		return evm.Signature{}, fmt.Errorf("the signer at %s: %w", r.socket, err)
	}
	if by, err := s.Signer(digest); err != nil || by != r.address {
		return evm.Signature{}, fmt.Errorf("the signer at %s signed something else, or with another key than that of %s", r.socket, r.address)
	}
	return s, nil
}

func (r *Remote) ask(ctx context.Context, q *question) (*answer, error) {
	q.Igor = remoteVersion
	ctx, cancel := context.WithTimeout(ctx, remoteTime)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "unix", r.socket)
	if err != nil {
		return nil, fmt.Errorf("the signer does not answer: %w", err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })()
	b, err := json.Marshal(q)
	if err != nil {
		return nil, err
	}
	if _, err := conn.Write(append(b, '\n')); err != nil {
		return nil, fmt.Errorf("the signer at %s: %w", r.socket, err)
	}
	var a answer
	if err := readLine(conn, &a); err != nil {
		return nil, fmt.Errorf("the signer at %s: %w", r.socket, err)
	}
	if a.Error != "" {
		return nil, fmt.Errorf("the signer at %s refuses: %.200q", r.socket, a.Error)
	}
	return &a, nil
}

func readLine(from io.Reader, to any) error {
	line, err := bufio.NewReader(io.LimitReader(from, maxLine)).ReadBytes('\n')
	if err != nil {
		return errors.New("it ended in the middle of a line, or sent a longer one than is read")
	}
	if err := json.Unmarshal(line, to); err != nil {
		return errors.New("it sent a line that is not of this protocol")
	}
	return nil
}

// Listen makes the Unix socket of a signer, which only its owner can reach.
func Listen(socket string) (net.Listener, error) {
	if c, err := net.Dial("unix", socket); err == nil {
		c.Close()
		return nil, fmt.Errorf("there is a signer at %s already", socket)
	}
	if info, err := os.Lstat(socket); err == nil && info.Mode().Type() != fs.ModeSocket {
		return nil, fmt.Errorf("%s is there and is not a socket", socket)
	}
	// It is made where nobody else can reach it, and has its mode before it has its name.
	private, err := os.MkdirTemp(filepath.Dir(socket), ".signer-*")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(private)
	l, err := net.Listen("unix", filepath.Join(private, "s"))
	if err != nil {
		return nil, err
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	if err := errors.Join(os.Chmod(filepath.Join(private, "s"), 0o600), os.Rename(filepath.Join(private, "s"), socket)); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// Serve answers for a wallet until the listener is closed. allow is asked about each
// authorization, nil allows all.
func Serve(ctx context.Context, l net.Listener, w Wallet, allow func(*evm.Domain, *evm.Authorization) error) error {
	defer context.AfterFunc(ctx, func() { l.Close() })()
	for {
		conn, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return nil
			}
			return err
		}
		go func() {
			defer conn.Close()
			conn.SetDeadline(time.Now().Add(remoteTime))
			a := answer{}
			var q question
			err := readLine(conn, &q)
			if err == nil {
				err = reply(ctx, &a, &q, w, allow)
			}
			if err != nil {
				a = answer{Error: err.Error()}
			}
			b, _ := json.Marshal(a)
			conn.Write(append(b, '\n'))
		}()
	}
}

func reply(ctx context.Context, a *answer, q *question, w Wallet, allow func(*evm.Domain, *evm.Authorization) error) error {
	if q.Igor != remoteVersion {
		return fmt.Errorf("a question by %.30q, and this is %s", q.Igor, remoteVersion)
	}
	r := reader{}
	var s evm.Signature
	var err error
	switch q.Ask {
	case "address":
		a.Address = w.Address().String()
		return nil
	case "authorize":
		d, x := r.domain(q.Domain), r.authorization(q.Authorization)
		if r.err == nil && allow != nil {
			r.err = allow(d, x)
		}
		if r.err == nil {
			s, err = w.Authorize(ctx, d, x)
		}
	case "cancel":
		d, nonce := r.domain(q.Domain), r.hash(q.Nonce)
		if r.err == nil {
			s, err = w.Cancel(ctx, d, nonce)
		}
	case "bind":
		b := &Binding{Agent: r.hash(q.Agent), Node: r.hash(q.Node), Wallet: r.address(q.Wallet), Time: time.Unix(int64(r.number(q.Time)), 0)}
		if r.err == nil {
			s, err = w.Bind(ctx, b)
		}
	default:
		return fmt.Errorf("a question for %.30q, which is not known here", q.Ask)
	}
	a.Signature = fmt.Sprintf("0x%x", s[:])
	return errors.Join(r.err, err)
}

// reader reads values until one is wrong.
type reader struct{ err error }

func read[T any](r *reader, v T, err error) T {
	if r.err == nil {
		r.err = err
	}
	return v
}

func (r *reader) address(s string) evm.Address {
	v, err := evm.ParseAddress(s)
	return read(r, v, err)
}

func (r *reader) hash(s string) evm.Hash {
	v, err := evm.ParseHash(s)
	return read(r, v, err)
}

func (r *reader) number(s string) uint64 {
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		err = fmt.Errorf("%.30q is not a number", s)
	}
	return read(r, n, err)
}

func (r *reader) domain(w *wireDomain) *evm.Domain {
	if w == nil {
		return read(r, &evm.Domain{}, errors.New("no domain"))
	}
	return &evm.Domain{Name: w.Name, Version: w.Version, Chain: r.number(w.Chain), Contract: r.address(w.Contract)}
}

func (r *reader) authorization(w *wireAuthorization) *evm.Authorization {
	if w == nil {
		return read(r, &evm.Authorization{}, errors.New("no authorization"))
	}
	return &evm.Authorization{From: r.address(w.From), To: r.address(w.To), Value: r.number(w.Value),
		ValidAfter: r.number(w.ValidAfter), ValidBefore: r.number(w.ValidBefore), Nonce: r.hash(w.Nonce)}
}
