// Package etcd is the engine of a fleet: etcd, embedded in the members, of which a majority
// has what any of them says it has. Nobody but the member in the same process speaks to it:
// it listens for its peers alone, by mutual TLS with keys that the members' own keys vouch
// for.
//
//	e, err := etcd.Start(etcd.Config{Key: nodeKey, Dir: dir, Members: members})
//	m, err := member.New(member.Config{Engine: e})
//
// Only igor-node links it.
package etcd

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"go.etcd.io/etcd/client/pkg/v3/transport"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"
	"go.uber.org/zap"

	"igor.dev/authority"
	"igor.dev/authority/member"
	"igor.dev/authority/protocol"
	"igor.dev/verifier"
)

// A Peer is a member as the others reach it.
type Peer struct {
	Key     verifier.PublicKey
	Address string // host:port, for peers alone
}

// A Config says which member this is, and of which fleet.
type Config struct {
	Key     ed25519.PrivateKey // of this node
	Dir     string             // its data, of this member alone; made if it is absent
	Members []Peer             // all, with this one
	Listen  string             // host:port; "" = its address among the members

	// Join has it come to a fleet that lives already, whose members it names: those of
	// Members that it has, this one among them ([Engine.Follow]). None = the fleet begins.
	// Where Dir has data neither counts.
	Join []verifier.PublicKey

	// Store is the number of the store: what is of another one has nothing to do with it; 0
	// = 1.
	Store uint64

	// Heartbeat is the time between two words of the leader, and ten of it that without
	// which another is elected; 0 = 100 ms.
	Heartbeat time.Duration

	Log *zap.Logger // nil = only what goes wrong is said, in the file etcd.log in Dir
}

// An Engine is a [member.Engine].
type Engine struct {
	server   *embed.Etcd
	client   *clientv3.Client
	members  []Peer
	dir      string
	careless bool // for tests: the position is not compared
}

const (
	quota    = 8 << 30     // bytes of its file; an agent needs some 700 in it
	retained = time.Minute // of what was
)

func nameOf(k verifier.PublicKey) string { return strings.TrimPrefix(k.DID(), "did:key:") }

// Exists reports whether there are a member's data in a directory.
func Exists(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "data", "member", "wal"))
	return err == nil
}

// Start starts the member's engine. It returns at once: until a majority is there, what is
// asked of it waits or fails. [Engine.Ready] says when.
func Start(c Config) (*Engine, error) {
	self := verifier.PublicKey(c.Key.Public().(ed25519.PublicKey))
	i := slices.IndexFunc(c.Members, func(p Peer) bool { return p.Key == self })
	if i < 0 {
		return nil, fmt.Errorf("this node, %s, is not a member of the fleet", self.DID())
	}
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return nil, err
	}
	trusted, err := readTrusted(c.Dir)
	if err != nil {
		return nil, err
	}
	for _, m := range c.Members {
		if !slices.Contains(trusted, m.Key) {
			trusted = append(trusted, m.Key)
		}
	}
	if err := writeTrusted(c.Dir, trusted); err != nil {
		return nil, err
	}
	certs, err := writeCertificates(filepath.Join(c.Dir, "tls"), c.Key, c.Members[i].Address, trusted)
	if err != nil {
		return nil, err
	}
	config := embed.NewConfig()
	config.Name, config.Dir = nameOf(self), filepath.Join(c.Dir, "data")
	config.ListenClientUrls, config.ListenClientHttpUrls = nil, nil
	// Nobody listens there. It says to the others that this member came, once: without it
	// etcd lets one that lost its data begin anew, and break its word.
	config.AdvertiseClientUrls = []url.URL{{Scheme: "https", Host: c.Members[i].Address}}
	listen := c.Listen
	if listen == "" {
		listen = c.Members[i].Address
	}
	config.ListenPeerUrls = []url.URL{{Scheme: "https", Host: listen}}
	config.AdvertisePeerUrls = []url.URL{{Scheme: "https", Host: c.Members[i].Address}}
	config.PeerTLSInfo = transport.TLSInfo{
		CertFile: certs.cert, KeyFile: certs.key, TrustedCAFile: certs.roots, ClientCertAuth: true,
		SkipClientSANVerify: true, // the key is who it is; its address may be another one
		MinVersion:          0x0304,
	}
	var initial []string
	sorted := slices.SortedFunc(slices.Values(c.Members), func(a, b Peer) int { return bytes.Compare(a.Key[:], b.Key[:]) })
	token := sha256.New()
	for _, p := range sorted {
		if _, _, err := net.SplitHostPort(p.Address); err != nil {
			return nil, fmt.Errorf("member %s: its address %q is not HOST:PORT", p.Key.DID(), p.Address)
		}
		if len(c.Join) == 0 || slices.Contains(c.Join, p.Key) {
			initial = append(initial, nameOf(p.Key)+"=https://"+p.Address)
		}
		token.Write(p.Key[:])
	}
	if c.Store > 1 {
		token.Write(binary.LittleEndian.AppendUint64(nil, c.Store))
	}
	config.InitialCluster, config.InitialClusterToken = strings.Join(initial, ","), fmt.Sprintf("igor-%x", token.Sum(nil)[:8])
	if config.ClusterState = embed.ClusterStateFlagNew; len(c.Join) > 0 {
		config.ClusterState = embed.ClusterStateFlagExisting
	}
	beat := c.Heartbeat
	if beat == 0 {
		beat = 100 * time.Millisecond
	}
	config.TickMs, config.ElectionMs = uint(beat.Milliseconds()), uint(10*beat.Milliseconds())
	config.AutoCompactionMode, config.AutoCompactionRetention = embed.CompactorModePeriodic, retained.String()
	config.QuotaBackendBytes = quota
	config.MaxTxnOps, config.MaxRequestBytes = 16, 1<<20
	log := c.Log
	if log == nil {
		zc := zap.NewProductionConfig()
		zc.Level = zap.NewAtomicLevelAt(zap.ErrorLevel)
		zc.OutputPaths, zc.ErrorOutputPaths = []string{filepath.Join(c.Dir, "etcd.log")}, []string{filepath.Join(c.Dir, "etcd.log")}
		if log, err = zc.Build(); err != nil {
			return nil, err
		}
	}
	config.ZapLoggerBuilder = embed.NewZapLoggerBuilder(log)
	server, err := embed.StartEtcd(config)
	if err != nil {
		return nil, fmt.Errorf("etcd: %w", err)
	}
	return &Engine{server: server, client: v3client.New(server.Server), members: slices.Clone(c.Members), dir: c.Dir}, nil
}

// Ready waits until the member is one of a majority, or has ended.
func (e *Engine) Ready(ctx context.Context) error {
	select {
	case <-e.server.Server.ReadyNotify():
		return nil
	case err := <-e.server.Err():
		return fmt.Errorf("etcd: %w", err)
	case <-e.server.Server.StopNotify():
		return errors.New("etcd: it was stopped")
	case <-ctx.Done():
		return fmt.Errorf("no majority of the fleet's members is there: %w", ctx.Err())
	}
}

// Ended is closed when the member has ended.
func (e *Engine) Ended() <-chan struct{} { return e.server.Server.StopNotify() }

// Close stops the member. The others go on, if they are a majority.
func (e *Engine) Close() error {
	e.client.Close()
	e.server.Close()
	return nil
}

// Standing returns how the fleet is, as this member knows it.
func (e *Engine) Standing(ctx context.Context) (s protocol.Standing, err error) {
	leader := e.server.Server.Leader()
	for _, m := range e.server.Server.Cluster().Members() {
		key, is := e.keyOf(m.Name, m.PeerURLs)
		// Those that a fleet begins with have a name before they come, and nobody has a client's
		// address: see Start.
		s.Members = append(s.Members, protocol.StandingMember{Key: key, Came: is && len(m.ClientURLs) > 0})
		if m.ID == leader {
			s.Leader = key
		}
	}
	s.Bytes = uint64(e.server.Server.Backend().Size())
	r, err := e.client.Get(ctx, keyFleet, clientv3.WithSerializable()) // as far as this member knows: a majority need not be there
	if err == nil && len(r.Kvs) > 0 {
		s.Version = versionOf(r.Kvs[0].Value)
	}
	return s, err
}

// keyOf returns the key of a member of the store: its name, or, as long as it did not come,
// that of whom this member knows at its address.
func (e *Engine) keyOf(name string, urls []string) (verifier.PublicKey, bool) {
	if key, err := verifier.ParseDID("did:key:" + name); err == nil {
		return key, true
	}
	for _, p := range e.members {
		if slices.Contains(urls, "https://"+p.Address) {
			return p.Key, true
		}
	}
	return verifier.PublicKey{}, false
}

// keyFleet has the fleet's description, behind its version.
const keyFleet = "fleet"

func versionOf(b []byte) uint64 {
	if len(b) < 8 {
		return 0
	}
	return binary.LittleEndian.Uint64(b)
}

// ErrOther says that the fleet has a description of the same version that says other things.
var ErrOther = errors.New("the fleet has another description of this version")

// Follow has the store's members be those of this one's list, which is of a version of the
// fleet's description: who is not on it is removed, and who is new is expected. Where the
// fleet has a later version nothing changes, and Follow returns that.
func (e *Engine) Follow(ctx context.Context, version uint64, description []byte) (newest uint64, changed []string, err error) {
	value := string(binary.LittleEndian.AppendUint64(nil, version)) + string(description)
	for {
		r, err := e.client.Get(ctx, keyFleet)
		if err != nil {
			return 0, nil, err
		}
		var revision int64
		if len(r.Kvs) > 0 {
			revision, newest = r.Kvs[0].ModRevision, versionOf(r.Kvs[0].Value)
		}
		if newest > version {
			return newest, nil, nil
		}
		if newest == version && string(r.Kvs[0].Value) != value {
			return newest, nil, ErrOther
		}
		if newest == version {
			break
		}
		t, err := e.client.Txn(ctx).If(clientv3.Compare(clientv3.ModRevision(keyFleet), "=", revision)).
			Then(clientv3.OpPut(keyFleet, value)).Commit()
		if err != nil {
			return 0, nil, err
		}
		if newest = version; t.Succeeded {
			break
		}
	}
	all, err := e.client.MemberList(ctx)
	if err != nil {
		return newest, nil, err
	}
	known := map[string]bool{}
	for _, m := range all.Members {
		key, is := e.keyOf(m.Name, m.PeerURLs)
		if is && slices.ContainsFunc(e.members, func(p Peer) bool { return p.Key == key }) {
			for _, u := range m.PeerURLs {
				known[u] = true
			}
			continue
		}
		err := patiently(ctx, func() error {
			_, err := e.client.MemberRemove(ctx, m.ID)
			return err
		})
		if err != nil && !errors.Is(err, rpctypes.ErrMemberNotFound) { // another member did
			return newest, changed, fmt.Errorf("the member %s is not removed: %w", m.Name, err)
		}
		changed = append(changed, "removed "+key.DID())
	}
	for _, p := range e.members {
		if known["https://"+p.Address] {
			continue
		}
		err := patiently(ctx, func() error {
			_, err := e.client.MemberAdd(ctx, []string{"https://" + p.Address})
			return err
		})
		if err != nil && !errors.Is(err, rpctypes.ErrPeerURLExist) { // another member did
			return newest, changed, fmt.Errorf("the member %s is not expected: %w", p.Key.DID(), err)
		}
		changed = append(changed, "expects "+p.Key.DID())
	}
	var trusted []verifier.PublicKey
	for _, p := range e.members {
		trusted = append(trusted, p.Key)
	}
	return newest, changed, writeTrusted(e.dir, trusted)
}

// patiently does again what etcd refuses while its members have not heard of each other for
// some seconds, or while one that it expects did not come yet.
func patiently(ctx context.Context, do func() error) error {
	for {
		err := do()
		if !errors.Is(err, rpctypes.ErrUnhealthy) && !errors.Is(err, rpctypes.ErrMemberNotEnoughStarted) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(time.Second):
		}
	}
}

// What is kept of an agent.
const (
	keyPosition = "p/" // the position's bytes: what is compared
	keyWith     = "e/" // its signature, and the record that goes with it
	keyTerms    = "t/"
	keyLease    = "l/" // there as long as the owner's lease runs
)

// What is kept beside: under a name, its number, which is compared, and its bytes.
const (
	keyNumber = "n/"
	keyValue  = "v/"
)

func at(prefix string, agent verifier.PublicKey) string { return prefix + string(agent[:]) }

// parts reads what a transaction returned of an agent.
type parts struct {
	entry authority.Entry
	lease int64
	held  bool // there is a lease
}

// entry makes an entry of what is kept. What is damaged is an error, and never nothing.
func entry(agent verifier.PublicKey, position, with, terms []byte) (e authority.Entry, err error) {
	of, p, err := authority.ParsePosition(position)
	if err == nil && of != agent {
		err = errors.New("it is another agent's")
	}
	if err == nil && len(with) < ed25519.SignatureSize {
		err = errors.New("it has no signature")
	}
	if err != nil {
		return e, fmt.Errorf("the store is damaged: the position of %s: %w", agent.DID(), err)
	}
	e = authority.Entry{Agent: agent, Position: p, Terms: bytes.Clone(terms)}
	copy(e.Signature[:], with)
	if len(with) > ed25519.SignatureSize {
		e.Record = bytes.Clone(with[ed25519.SignatureSize:])
	}
	return e, nil
}

func (e *Engine) reads(agent verifier.PublicKey) []clientv3.Op {
	return []clientv3.Op{clientv3.OpGet(at(keyPosition, agent)), clientv3.OpGet(at(keyWith, agent)), clientv3.OpGet(at(keyTerms, agent)), clientv3.OpGet(at(keyLease, agent))}
}

func (e *Engine) parts(agent verifier.PublicKey, responses []*etcdserverpb.ResponseOp) (p parts, err error) {
	var values [4][]byte
	for i, r := range responses {
		if kvs := r.GetResponseRange().Kvs; len(kvs) > 0 {
			if values[i] = kvs[0].Value; i == 3 {
				p.held, p.lease = true, kvs[0].Lease
			}
		}
	}
	if values[0] == nil {
		return p, authority.ErrNone
	}
	p.entry, err = entry(agent, values[0], values[1], values[2])
	return p, err
}

// Read implements [member.Engine]. It is linearizable: a majority was asked.
func (e *Engine) Read(ctx context.Context, agent verifier.PublicKey) (h member.Held, err error) {
	r, err := e.client.Txn(ctx).Then(e.reads(agent)...).Commit()
	if err != nil {
		return h, err
	}
	p, err := e.parts(agent, r.Responses)
	if err != nil {
		return h, err
	}
	h.Entry = p.entry
	switch {
	case p.held && p.lease == 0:
		h.Lease = member.Endless
	case p.held:
		// How long is for people to know; that it runs is what a takeover asks in its swap.
		h.Lease = time.Millisecond
		if ttl, err := e.client.TimeToLive(ctx, clientv3.LeaseID(p.lease)); err == nil {
			h.Lease = max(h.Lease, time.Duration(ttl.TTL)*time.Second)
		}
	}
	return h, nil
}

// Swap implements [member.Engine]: one transaction.
func (e *Engine) Swap(ctx context.Context, s member.Swap) error {
	agent := s.Next.Agent
	position := at(keyPosition, agent)
	var when []clientv3.Cmp
	switch {
	case e.careless:
	case s.Prev.IsZero():
		when = append(when, clientv3.Compare(clientv3.CreateRevision(position), "=", 0))
	default:
		when = append(when, clientv3.Compare(clientv3.Value(position), "=", string(s.Prev.Append(nil, agent))))
	}
	if s.Free {
		when = append(when, clientv3.Compare(clientv3.CreateRevision(at(keyLease, agent)), "=", 0))
	}
	then := []clientv3.Op{
		clientv3.OpPut(position, string(s.Next.Position.Append(nil, agent))),
		clientv3.OpPut(at(keyWith, agent), string(s.Next.Signature[:])+string(s.Next.Record)),
		clientv3.OpPut(at(keyLease, agent), "", clientv3.WithLease(clientv3.LeaseID(s.Lease))),
	}
	if s.Next.Terms != nil {
		then = append(then, clientv3.OpPut(at(keyTerms, agent), string(s.Next.Terms)))
	}
	for range 3 {
		r, err := e.client.Txn(ctx).If(when...).Then(then...).Else(e.reads(agent)...).Commit()
		switch {
		case errors.Is(err, rpctypes.ErrLeaseNotFound): // nothing of it was done
			if err := e.grant(ctx, s.Lease, s.TTL); err != nil {
				return err
			}
			continue
		case err != nil:
			return err
		case r.Succeeded:
			return nil
		}
		p, err := e.parts(agent, r.Responses)
		switch {
		case errors.Is(err, authority.ErrNone):
			return &member.Changed{}
		case err != nil:
			return err
		case p.entry.Position != s.Prev && !e.careless:
			return &member.Changed{Have: p.entry}
		}
		return member.ErrLeased
	}
	return errors.New("the lease ran out again and again")
}

func (e *Engine) grant(ctx context.Context, l member.LeaseID, ttl time.Duration) error {
	// etcd's own client cannot name the lease that it makes.
	r := &etcdserverpb.LeaseGrantRequest{ID: int64(l), TTL: int64((ttl + time.Second - 1) / time.Second)}
	_, err := e.server.Server.LeaseGrant(ctx, r)
	if err != nil && strings.Contains(err.Error(), "already exists") {
		return nil
	}
	return err
}

// Renew implements [member.Engine].
func (e *Engine) Renew(ctx context.Context, l member.LeaseID, ttl time.Duration) (time.Duration, error) {
	for range 3 {
		r, err := e.client.KeepAliveOnce(ctx, clientv3.LeaseID(l))
		switch {
		case err == nil:
			return time.Duration(r.TTL) * time.Second, nil
		case !errors.Is(err, rpctypes.ErrLeaseNotFound):
			return 0, err
		}
		if err := e.grant(ctx, l, ttl); err != nil {
			return 0, err
		}
	}
	return 0, errors.New("the lease ran out again and again")
}

// Release implements [member.Engine].
func (e *Engine) Release(ctx context.Context, l member.LeaseID) error {
	_, err := e.client.Revoke(ctx, clientv3.LeaseID(l))
	if errors.Is(err, rpctypes.ErrLeaseNotFound) {
		return nil
	}
	return err
}

// List implements [member.Engine].
func (e *Engine) List(ctx context.Context, after verifier.PublicKey, n int) (all []authority.Entry, err error) {
	var ops []clientv3.Op
	for _, prefix := range []string{keyPosition, keyWith, keyTerms} {
		begin := at(prefix, after) + "\x00"
		if after == (verifier.PublicKey{}) {
			begin = prefix
		}
		// Not every agent has terms: the first n of those that do are more than enough.
		ops = append(ops, clientv3.OpGet(begin, clientv3.WithRange(clientv3.GetPrefixRangeEnd(prefix)), clientv3.WithLimit(int64(n))))
	}
	r, err := e.client.Txn(ctx).Then(ops...).Commit()
	if err != nil {
		return nil, err
	}
	values := [3]map[string][]byte{}
	for i, response := range r.Responses {
		values[i] = map[string][]byte{}
		for _, kv := range response.GetResponseRange().Kvs {
			values[i][string(kv.Key[2:])] = kv.Value
		}
	}
	for _, kv := range r.Responses[0].GetResponseRange().Kvs {
		key := string(kv.Key[2:])
		if len(key) != 32 {
			return nil, errors.New("the store is damaged: a key that is no agent's")
		}
		one, err := entry(verifier.PublicKey([]byte(key)), kv.Value, values[1][key], values[2][key])
		if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, nil
}

// Value implements [member.Engine].
func (e *Engine) Value(ctx context.Context, name string) (v member.Value, err error) {
	r, err := e.client.Txn(ctx).Then(clientv3.OpGet(keyNumber+name), clientv3.OpGet(keyValue+name)).Commit()
	if err != nil {
		return v, err
	}
	number, value := r.Responses[0].GetResponseRange().Kvs, r.Responses[1].GetResponseRange().Kvs
	switch {
	case len(number) == 0:
		return v, authority.ErrNone
	case len(value) == 0 || len(number[0].Value) != 8:
		return v, fmt.Errorf("the store is damaged: what is kept as %q", name)
	}
	return member.Value{Number: binary.BigEndian.Uint64(number[0].Value), Bytes: bytes.Clone(value[0].Value)}, nil
}

// Keep implements [member.Engine]: one transaction.
func (e *Engine) Keep(ctx context.Context, name string, v member.Value) error {
	if v.Number == 0 {
		return member.ErrNotNext
	}
	numbered := func(n uint64) string { return string(binary.BigEndian.AppendUint64(nil, n)) }
	when := clientv3.Compare(clientv3.Value(keyNumber+name), "=", numbered(v.Number-1))
	if v.Number == 1 {
		when = clientv3.Compare(clientv3.CreateRevision(keyNumber+name), "=", 0)
	}
	r, err := e.client.Txn(ctx).If(when).Then(clientv3.OpPut(keyNumber+name, numbered(v.Number)), clientv3.OpPut(keyValue+name, string(v.Bytes))).Commit()
	switch {
	case err != nil:
		return err
	case !r.Succeeded:
		return member.ErrNotNext
	}
	return nil
}

var _ member.Engine = (*Engine)(nil)
