package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"igor.dev/authority"
	"igor.dev/authority/dir"
	"igor.dev/authority/etcd"
	"igor.dev/authority/fleet"
	"igor.dev/authority/https"
	"igor.dev/authority/member"
	"igor.dev/authority/protocol"
	"igor.dev/internal/homes"
	"igor.dev/node"
	"igor.dev/runtime"
	"igor.dev/verifier"
)

// takePart has a node take part in the fleet that is described in its folder: as a member, if
// it is one there, or as a node only, and then there is no seat.
func takePart(c *node.Config, finder *homes.Finder, host string) (*seat, error) {
	d := finder.Fleet
	self := verifier.PublicKey(c.Key.Public().(ed25519.PublicKey))
	n := d.Node(self)
	if n == nil {
		return nil, &configError{hinted(fmt.Errorf("this node, %s, is not in the fleet %s of %s", self.DID(), d.Name, filepath.Join(c.Dir, fleet.FileDescription)),
			"igor fleet join a file that has it, or remove that one")}
	}
	home, err := finder.Find(d.Home())
	if err != nil {
		return nil, err
	}
	c.Fleet = &node.Fleet{Description: d, Client: home.Authority.(*fleet.Client), Home: home}
	if n.Member == "" {
		return nil, nil
	}
	s, err := startMember(c, d, host, finder.Lease)
	if err != nil {
		return nil, err
	}
	c.Member = s
	return s, nil
}

// dirMember is in the folder of a node that is a member of a fleet.
const dirMember = "member"

// A seat is the member of a fleet that is in this process. It is there at once; until it is
// one of a majority it answers that it cannot say.
type seat struct {
	key         ed25519.PrivateKey
	self        verifier.PublicKey
	description *fleet.Description
	dir         string // its data
	host        string // to listen at, "" = that of its address
	log         *slog.Logger
	guard       member.Config
	others      *fleet.Client // nil = there are none
	server      *https.Server // nil = it is reached by libp2p alone
	stop        context.CancelFunc
	running     sync.WaitGroup

	mu     sync.Mutex
	engine *etcd.Engine
	member *member.Member // nil = not yet
}

// startMember starts the member that a node is of its fleet. host is where to listen, ""
// being where the description says that it is. An owner that did not come yet, such as the
// target of a hand-over, has the time of a lease; 0 = the default.
func startMember(c *node.Config, d *fleet.Description, host string, lease time.Duration) (_ *seat, err error) {
	s := &seat{key: c.Key, self: verifier.PublicKey(c.Key.Public().(ed25519.PublicKey)), description: d, dir: filepath.Join(c.Dir, dirMember), host: host, log: c.Log}
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	if err := s.owns(); err != nil {
		return nil, err
	}
	blobs, err := dir.Blobs(filepath.Join(s.dir, "blobs"))
	if err != nil {
		return nil, err
	}
	s.guard = member.Config{Replica: blobs, Operators: d.Operators, Seen: seenIn(filepath.Join(c.Dir, "agents")), Standing: s.standing, Log: c.Log}
	if lease > 0 {
		s.guard.Lease = min(max(lease, member.MinLease), member.MaxLease)
	}
	var others []fleet.Member
	for _, m := range d.Members() {
		s.guard.Members = append(s.guard.Members, m.Key)
		if m.Key != s.self {
			others = append(others, m)
		}
	}
	if len(others) > 0 {
		if s.others, err = fleet.New(fleet.Config{Members: others, Via: c.Carrier}); err != nil {
			return nil, err
		}
		s.guard.Peers = &authority.Replicas{Places: s.others.Places()}
	}
	if at := d.Node(s.self).Member; !fleet.IsMultiaddr(at) {
		l, err := net.Listen("tcp", s.at(at))
		if err != nil {
			return nil, portTaken(err, at)
		}
		if s.server, err = https.Serve(l, c.Key, s, c.Log); err != nil {
			l.Close()
			return nil, err
		}
	}
	again, began := s.begin(ctx)
	if began != nil && !again {
		return nil, began
	}
	s.running.Go(func() { s.keep(ctx, began) })
	return s, nil
}

func portTaken(err error, at string) error {
	if errors.Is(err, syscall.EADDRINUSE) || strings.Contains(err.Error(), "address already in use") {
		return hinted(fmt.Errorf("the member's address %s is taken: another program listens there", at), "end that program, or give the member another address in the fleet's description, and igor fleet join it on all nodes")
	}
	if errors.Is(err, syscall.EADDRNOTAVAIL) || strings.Contains(err.Error(), "cannot assign requested address") {
		return hinted(fmt.Errorf("the member's address %s is not this machine's", at), `"member_listen": "0.0.0.0" in node.json has it listen everywhere`)
	}
	return err
}

// at is where to listen for an address.
func (s *seat) at(address string) string {
	if s.host == "" {
		return address
	}
	_, port, _ := net.SplitHostPort(address)
	return net.JoinHostPort(s.host, port)
}

// store is where the store's data are: of a later store they are elsewhere than of the one
// before, which is not lost, and has nothing to do with it.
func (s *seat) store() string {
	if n := s.description.Began(); n > 1 {
		return filepath.Join(s.dir, fmt.Sprintf("etcd-%d", n))
	}
	return filepath.Join(s.dir, "etcd")
}

// owns sees to it that the data are this member's.
func (s *seat) owns() error {
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return err
	}
	file := filepath.Join(s.dir, "did")
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return os.WriteFile(file, []byte(s.self.DID()+"\n"), 0o600)
	}
	if was := strings.TrimSpace(string(b)); err == nil && was != s.self.DID() {
		return hinted(fmt.Errorf("%s has the data of the member %s, and this node is %s", s.dir, was, s.self.DID()), "give the node its key back, or move that folder away and have this node join as a new member")
	}
	return err
}

// begin starts the store. again says that it may do so later, if it did not.
func (s *seat) begin(ctx context.Context) (again bool, err error) {
	c := etcd.Config{Key: s.key, Dir: s.store(), Store: s.description.Store}
	for _, m := range s.description.Members() {
		at, err := fleet.PeerAddress(m.Address)
		if err != nil {
			return false, err
		}
		c.Members = append(c.Members, etcd.Peer{Key: m.Key, Address: at})
		if m.Key == s.self {
			c.Listen = s.at(at)
		}
	}
	if !etcd.Exists(c.Dir) && s.others != nil {
		if c.Join, err = s.expected(ctx); err != nil {
			return errors.As(err, new(*notYet)), err
		}
	}
	e, err := etcd.Start(c)
	if err != nil {
		return len(c.Join) > 0, portTaken(err, c.Listen)
	}
	guard := s.guard
	guard.Engine = e
	m, err := member.New(guard)
	if err != nil {
		e.Close()
		return false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.engine, s.member = e, m
	return false, nil
}

// A notYet says that the fleet's other members have to be asked again.
type notYet struct{ error }

// expected asks the other members whether the fleet lives already, and returns whom it then
// consists of, this member among them; none = it does not.
func (s *seat) expected(ctx context.Context) (all []verifier.PublicKey, err error) {
	var asked sync.WaitGroup
	standings := make([]*protocol.Standing, len(s.others.Members))
	for i, m := range s.others.Members {
		asked.Go(func() {
			// Who has an older version than the store began with is a member of the one before.
			if st, err := s.others.Standing(ctx, m); err == nil && st.Version >= s.description.Began() {
				standings[i] = &st
			}
		})
	}
	asked.Wait()
	slices.SortFunc(standings, func(a, b *protocol.Standing) int { return cmp.Compare(versionOf(b), versionOf(a)) }) // who knows most
	lives := false
	for _, st := range standings {
		if st == nil {
			continue
		}
		lives = true
		i := slices.IndexFunc(st.Members, func(m protocol.StandingMember) bool { return m.Key == s.self })
		if i < 0 {
			continue
		}
		if st.Members[i].Came {
			return nil, hinted(fmt.Errorf("this member's data are gone from %s, and the fleet %s lives: what it promised to have, it has not", s.dir, s.description.Name),
				"put them back; or take this node out of the fleet (igor fleet change --remove), and bring it back with a key of its own")
		}
		for _, m := range st.Members {
			all = append(all, m.Key)
		}
		return all, nil
	}
	switch {
	case lives:
		return nil, &notYet{hinted(fmt.Errorf("the fleet %s lives, and does not expect this member yet", s.description.Name), "igor fleet join the same file on its other members, and start them again")}
	case s.description.Version > s.description.Began():
		return nil, &notYet{fmt.Errorf("no member of the fleet %s that expects this one was reached", s.description.Name)}
	}
	return nil, nil
}

func versionOf(s *protocol.Standing) uint64 {
	if s == nil {
		return 0
	}
	return s.Version
}

// retryBegin is how soon a member that was not expected asks again.
const retryBegin = 2 * time.Second

// keep brings the member to where it is one of a majority.
func (s *seat) keep(ctx context.Context, err error) {
	said := ""
	for err != nil {
		if now := err.Error(); now != said {
			said = now
			s.log.Warn("this node is no member yet, and tries again", "fleet", s.description.Name, "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(retryBegin):
		}
		_, err = s.begin(ctx)
	}
	s.log.Info("waiting for a majority of the fleet's members", "fleet", s.description.Name, "members", len(s.description.Members()))
	if err := s.engine.Ready(ctx); err != nil {
		if ctx.Err() == nil {
			s.log.Error("the member of the fleet ended", "error", err)
		}
		return
	}
	b, err := s.description.Bytes()
	if err != nil {
		s.log.Error("the fleet's description", "error", err)
		return
	}
	for ctx.Err() == nil {
		newest, changed, err := s.engine.Follow(ctx, s.description.Version, b)
		for _, c := range changed {
			s.log.Info("the fleet's members change: it "+c, "fleet", s.description.Name)
		}
		switch {
		case errors.Is(err, etcd.ErrOther):
			s.log.Error("the fleet's members have different descriptions of the same version, and none is followed", "version", s.description.Version, "hint", "igor fleet join the same file on all of them")
		case err != nil:
			if ctx.Err() == nil {
				s.log.Warn("the fleet's members cannot be changed now", "error", err)
			}
			select {
			case <-ctx.Done():
			case <-time.After(retryBegin):
			}
			continue
		case newest > s.description.Version:
			s.log.Warn("the fleet has a later description than this node", "here", s.description.Version, "there", newest, "hint", "copy it here, and igor fleet join it")
		}
		break
	}
	if ctx.Err() == nil {
		s.log.Info("the fleet lives", "fleet", s.description.Name, "member", s.self.DID(), "at", s.description.Node(s.self).Member)
	}
	select {
	case <-ctx.Done():
	case <-s.engine.Ended():
		s.log.Error("this node is no member of the fleet any more: it was removed, or its store failed", "fleet", s.description.Name, "log", filepath.Join(s.store(), "etcd.log"))
	}
}

// Serve implements [https.Handler], and is what the node serves by libp2p.
func (s *seat) Serve(ctx context.Context, caller verifier.PublicKey, request []byte) []byte {
	s.mu.Lock()
	m := s.member
	s.mu.Unlock()
	if m == nil {
		a := protocol.Answer{Status: protocol.Unavailable, Reason: "this node is no member yet"}
		return a.Append(nil, 0)
	}
	return m.Serve(ctx, caller, request)
}

func (s *seat) standing(ctx context.Context) (protocol.Standing, error) {
	s.mu.Lock()
	e := s.engine
	s.mu.Unlock()
	return e.Standing(ctx)
}

// Close ends the member. The others go on, if they are a majority.
func (s *seat) Close() error {
	s.stop()
	var errs []error
	if s.server != nil {
		errs = append(errs, s.server.Close())
	}
	s.running.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.engine != nil {
		errs = append(errs, s.engine.Close())
		s.engine, s.member = nil, nil
	}
	return errors.Join(errs...)
}

// seenIn reads what the node's agents know of their homes.
func seenIn(folder string) func(after verifier.PublicKey, n int) []authority.Seen {
	return func(after verifier.PublicKey, n int) (all []authority.Seen) {
		entries, err := os.ReadDir(folder)
		if err != nil {
			return nil
		}
		for _, e := range entries {
			s, ok, err := runtime.ReadSeen(filepath.Join(folder, e.Name()))
			if err == nil && ok && bytes.Compare(s.Newest.Agent[:], after[:]) > 0 {
				all = append(all, s)
			}
		}
		slices.SortFunc(all, func(a, b authority.Seen) int { return bytes.Compare(a.Newest.Agent[:], b.Newest.Agent[:]) })
		return all[:min(n, len(all))]
	}
}
