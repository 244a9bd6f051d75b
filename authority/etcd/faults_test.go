//go:build linux

package etcd

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"igor.dev/authority"
	"igor.dev/authority/authoritytest"
	"igor.dev/authority/fleet"
	"igor.dev/authority/https"
	"igor.dev/authority/member"
	"igor.dev/internal/netns"
	"igor.dev/verifier"
)

var (
	faultRounds = flag.Int("fault-rounds", 10, "how many things go wrong in a fault run")
	faultSeed   = flag.Uint64("fault-seed", 1, "of what goes wrong when")
	faultAgents = flag.Int("fault-agents", 3, "how many agents the owners fight for")
)

// TestMain is three programs: the tests, and what they start as processes of their own.
func TestMain(m *testing.M) {
	var err error
	switch role := os.Getenv("IGOR_TEST_ROLE"); role {
	case "":
		os.Exit(m.Run())
	case "member":
		err = memberRole()
	case "owner":
		err = ownerRole()
	default:
		err = fmt.Errorf("no role %q", role)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// A script is what a process is told.
type script struct {
	Self     byte // of which its key is made
	Dir      string
	Peers    []string // the members' addresses for each other
	Members  []string // and for owners
	Careless bool
	Agents   int
	Lease    time.Duration
	MaxTries int // appends of one agent; 0 = no limit
}

func memberKey(i int) byte { return byte(100 + i) }

func (s *script) members() (all []fleet.Member) {
	for i, a := range s.Members {
		all = append(all, fleet.Member{Key: public(key(memberKey(i))), Address: a})
	}
	return all
}

func readScript() (s script, err error) {
	return s, json.Unmarshal([]byte(os.Getenv("IGOR_TEST_SCRIPT")), &s)
}

// memberRole is a member of a fleet, until it is killed.
func memberRole() error {
	s, err := readScript()
	if err != nil {
		return err
	}
	var peers []Peer
	listen := ""
	for i, a := range s.Peers {
		peers = append(peers, Peer{public(key(memberKey(i))), a})
		if memberKey(i) == s.Self {
			listen = s.Members[i]
		}
	}
	e, err := Start(Config{Key: key(s.Self), Dir: s.Dir, Members: peers})
	if err != nil {
		return err
	}
	e.careless = s.Careless
	m, err := member.New(member.Config{Engine: e, Lease: s.Lease, Limit: 3 * time.Second})
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	if _, err := https.Serve(l, key(s.Self), m, slog.New(slog.DiscardHandler)); err != nil {
		return err
	}
	fmt.Println("listening")
	if err := e.Ready(context.Background()); err != nil {
		return err
	}
	fmt.Println("ready")
	select {}
}

// An op is one call of an owner, and what came of it. A killed process has calls without.
type op struct {
	ID                       int64
	Agent                    int
	Client                   int
	Seq                      uint64 `json:",omitempty"` // of Next
	Call                     int64  `json:",omitempty"` // ns
	Return                   int64  `json:",omitempty"`
	authoritytest.Op[string]        // Result is ok, conflict, none, unknown or nothing
}

// recorded writes down each call to a fleet.
type recorded struct {
	authority.Recording
	agent, client int
	out           *json.Encoder
	mu            *sync.Mutex
	ids           *atomic.Int64
}

func (r *recorded) write(o op) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.out.Encode(o)
}

func short(p authority.Position) string {
	if p.IsZero() {
		return ""
	}
	h := p.Hash(verifier.PublicKey{})
	return hex.EncodeToString(h[:12])
}

func (r *recorded) Append(ctx context.Context, agent verifier.PublicKey, prev, next authority.Position) error {
	o := op{ID: r.ids.Add(1), Agent: r.agent, Client: r.client, Seq: next.Sequence, Call: time.Now().UnixNano(), Op: authoritytest.Op[string]{Append: true, Prev: short(prev), Next: short(next)}}
	r.write(o)
	err := r.Recording.Append(ctx, agent, prev, next)
	o.Return = time.Now().UnixNano()
	conflict, isConflict := errors.AsType[*authority.Conflict](err)
	_, isRefusal := errors.AsType[*authority.Refusal](err)
	_, isRule := errors.AsType[*authority.RuleError](err)
	switch {
	case err == nil:
		o.Result = "ok"
	case isConflict:
		o.Result, o.Have = "conflict", short(conflict.Have)
	case isRefusal, isRule:
		o.Result = "nothing"
	default:
		o.Result = "unknown"
	}
	r.write(o)
	return err
}

func (r *recorded) Read(ctx context.Context, agent verifier.PublicKey) (authority.Position, error) {
	o := op{ID: r.ids.Add(1), Agent: r.agent, Client: r.client, Call: time.Now().UnixNano()}
	r.write(o)
	p, err := r.Recording.Read(ctx, agent)
	o.Return = time.Now().UnixNano()
	switch {
	case err == nil:
		o.Result, o.Have = "ok", short(p)
	case errors.Is(err, authority.ErrNone):
		o.Result = "ok"
	default:
		o.Result = "unknown"
	}
	r.write(o)
	return p, err
}

func agentKey(i int) byte { return byte(10 + i) }

// ownerRole is a node that goes on with agents whenever it may, until it is killed.
func ownerRole() error {
	s, err := readScript()
	if err != nil {
		return err
	}
	c, err := fleet.New(fleet.Config{Members: s.members(), Via: https.NewTransport(key(s.Self)), Attempt: time.Second, Lease: s.Lease})
	if err != nil {
		return err
	}
	c.KeepLease()
	var mu sync.Mutex
	var ids atomic.Int64
	out := json.NewEncoder(os.Stdout)
	var all sync.WaitGroup
	for i := range s.Agents {
		all.Go(func() {
			r := &recorded{agent: i, client: int(s.Self), out: out, mu: &mu, ids: &ids}
			own(c, r, key(agentKey(i)), public(key(s.Self)), rand.New(rand.NewPCG(uint64(os.Getpid()), uint64(i))))
		})
	}
	all.Wait()
	return nil
}

// own goes on with an agent as a life does: it claims or takes over what it finds, and
// appends, until somebody else has it.
func own(c *fleet.Client, r *recorded, agentKey ed25519.PrivateKey, self verifier.PublicKey, rng *rand.Rand) {
	agent := public(agentKey)
	nodes := []verifier.PublicKey{public(key(200)), public(key(201)), public(key(202))}
	sortKeys(nodes)
	var err error
	if r.Recording, err = c.SignedBy(agentKey, &authority.Terms{Agent: agent, Nodes: nodes}); err != nil {
		panic(err)
	}
	var writer authority.WriterID
	for n := 0; ; n++ {
		time.Sleep(time.Duration(20+rng.IntN(60)) * time.Millisecond)
		ctx, done := context.WithTimeout(context.Background(), 6*time.Second)
		if c.WaitHeld(ctx) != nil {
			done()
			continue
		}
		at, err := r.Read(ctx, agent)
		next := at
		next.Sequence++
		for i := range writer {
			writer[i] = byte(rng.Uint32())
		}
		next.Writer, next.State = writer, authority.Active
		switch {
		case errors.Is(err, authority.ErrNone):
			next = begin(self, 1)
			next.Writer = writer
		case err != nil:
			done()
			continue
		case at.Owner != self:
			next.Owner, next.Generation = self, at.Generation+1
		}
		err = authority.Settle(ctx, r, agent, at, next)
		done()
		for life := 0; err == nil && life < 200; life++ {
			at = next
			if c.Held() != nil {
				break
			}
			time.Sleep(time.Duration(rng.IntN(20)) * time.Millisecond) // an interval is lived
			next.Sequence++
			rng := rng.Uint64()
			next.Log = hash(fmt.Sprint(self, rng))
			ctx, done := context.WithTimeout(context.Background(), 6*time.Second)
			err = authority.Settle(ctx, r, agent, at, next)
			done()
		}
	}
}

// An arena is members and owners, each a process, and what goes wrong with them.
type arena struct {
	t       testing.TB
	network *netns.Network // nil = the loopback of this machine
	script  script
	members []*process
	owners  []*process

	mu  sync.Mutex
	ops map[string]op
}

type process struct {
	a     *arena
	role  string
	host  int
	key   byte
	dir   string
	cmd   *exec.Cmd
	lines chan string
	err   *os.File
	life  int
}

func newArena(t *testing.T, network *netns.Network, members, owners int, careless bool) *arena {
	a := &arena{t: t, network: network, ops: map[string]op{}}
	a.script = script{Careless: careless, Agents: *faultAgents, Lease: 2 * time.Second}
	if network == nil {
		a.script.Peers, a.script.Members = freePorts(t, "127.0.0.1", members), freePorts(t, "127.0.0.1", members)
	} else {
		for i := range members {
			a.script.Peers = append(a.script.Peers, network.Address(i).String()+":7448")
			a.script.Members = append(a.script.Members, network.Address(i).String()+":7447")
		}
	}
	dir := t.TempDir()
	for i := range members {
		a.members = append(a.members, &process{a: a, role: "member", host: i, key: memberKey(i), dir: filepath.Join(dir, fmt.Sprint("member", i))})
	}
	for i := range owners {
		a.owners = append(a.owners, &process{a: a, role: "owner", host: members + i, key: byte(200 + i), dir: dir})
	}
	t.Cleanup(func() {
		for _, p := range append(a.members, a.owners...) {
			p.kill()
		}
	})
	for _, p := range a.members {
		p.start()
	}
	for _, p := range a.members {
		p.wait("ready")
	}
	for _, p := range a.owners {
		p.start()
	}
	return a
}

// start starts a process, anew if it was killed.
func (p *process) start() {
	p.a.t.Helper()
	s := p.a.script
	s.Self, s.Dir = p.key, p.dir
	b, err := json.Marshal(s)
	if err != nil {
		p.a.t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		p.a.t.Fatal(err)
	}
	p.cmd = exec.Command(self, "-test.run=^$")
	if p.a.network != nil {
		p.cmd = p.a.network.Command(p.host, self, "-test.run=^$")
	}
	p.cmd.Env = append(os.Environ(), "IGOR_TEST_ROLE="+p.role, "IGOR_TEST_SCRIPT="+string(b), "GOMAXPROCS=2")
	if p.err, err = os.CreateTemp(p.a.t.TempDir(), p.role); err != nil {
		p.a.t.Fatal(err)
	}
	p.cmd.Stderr = p.err
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		p.a.t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		p.a.t.Fatal(err)
	}
	p.life++
	p.lines = make(chan string, 16)
	go p.listen(out, p.lines, p.life)
}

func (p *process) listen(out io.Reader, lines chan string, life int) {
	defer close(lines)
	in := bufio.NewScanner(out)
	for in.Scan() {
		if p.role != "owner" {
			lines <- in.Text()
			continue
		}
		var o op
		if json.Unmarshal(in.Bytes(), &o) != nil {
			continue // it was killed while it wrote
		}
		p.a.mu.Lock()
		p.a.ops[fmt.Sprint(p.key, life, o.ID)] = o
		p.a.mu.Unlock()
	}
}

func (p *process) wait(word string) {
	p.a.t.Helper()
	limit := time.After(60 * time.Second)
	for {
		select {
		case line, ok := <-p.lines:
			if !ok {
				b, _ := os.ReadFile(p.err.Name())
				p.a.t.Fatalf("the %s ended: %s", p.role, b)
			}
			if line == word {
				return
			}
		case <-limit:
			p.a.t.Fatalf("the %s does not say %q", p.role, word)
		}
	}
}

func (p *process) signal(s syscall.Signal) { p.cmd.Process.Signal(s) }

func (p *process) kill() {
	if p.cmd == nil {
		return
	}
	p.signal(syscall.SIGKILL)
	p.cmd.Wait()
	p.cmd = nil
}

// wrong has one thing go wrong, and be mended.
func (a *arena) wrong(rng *rand.Rand) string {
	for_ := func(least, most int) time.Duration {
		return time.Duration(least+rng.IntN(most-least)) * time.Millisecond
	}
	m, o := a.members[rng.IntN(len(a.members))], a.owners[rng.IntN(len(a.owners))]
	kinds := 6
	if a.network != nil {
		kinds = 10
	}
	switch kind := rng.IntN(kinds); kind {
	case 0:
		m.kill()
		time.Sleep(for_(100, 2000))
		m.start()
		return "a member is killed"
	case 1:
		m.signal(syscall.SIGSTOP)
		time.Sleep(for_(500, 3000))
		m.signal(syscall.SIGCONT)
		return "a member stands still"
	case 2:
		o.kill()
		time.Sleep(for_(100, 3000))
		o.start()
		return "an owner is killed"
	case 3, 4:
		o.signal(syscall.SIGSTOP)
		time.Sleep(for_(1000, 5000))
		o.signal(syscall.SIGCONT)
		return "an owner stands still"
	case 5:
		for _, m := range a.members {
			m.kill()
		}
		time.Sleep(for_(100, 1000))
		for _, m := range a.members {
			m.start()
		}
		return "all members are killed"
	case 6:
		other := a.members[(m.host+1)%len(a.members)]
		a.must(a.network.Cut(m.host, other.host))
		time.Sleep(for_(1000, 4000))
		a.must(a.network.Heal(m.host, other.host))
		return "a link between members is cut in one direction"
	case 7:
		a.must(a.network.Split(m.host))
		time.Sleep(for_(1000, 4000))
		a.must(a.network.Join(m.host))
		return "a member is cut off"
	case 8:
		a.must(a.network.Split(o.host))
		time.Sleep(for_(1000, 4000))
		a.must(a.network.Join(o.host))
		return "an owner is cut off"
	default:
		a.must(a.network.Cut(m.host, o.host)) // it is asked, and its answer is lost
		time.Sleep(for_(1000, 4000))
		a.must(a.network.Heal(m.host, o.host))
		return "a member's answers to an owner are lost"
	}
}

func (a *arena) must(err error) {
	a.t.Helper()
	if err != nil {
		a.t.Fatal(err)
	}
}

// forked reports whether two appends went on from one position.
func (a *arena) forked() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	after := map[string]string{}
	for _, o := range a.ops {
		before := fmt.Sprint(o.Agent, " ", o.Prev)
		if next, ok := after[before]; ok && o.Append && o.Result == "ok" && next != o.Next {
			return true
		} else if o.Append && o.Result == "ok" {
			after[before] = o.Next
		}
	}
	return false
}

// A verdict is what a run came to.
type verdict struct {
	ops, appended, unknown int
	forks, lost            int
	linearizable           porcupine.CheckResult
	longest                time.Duration // without an append of an agent
}

// end stops the owners, and judges what they saw.
func (a *arena) end() (v verdict) {
	for _, p := range a.owners {
		p.kill()
	}
	time.Sleep(100 * time.Millisecond) // what they wrote last is read
	c, err := fleet.New(fleet.Config{Members: a.script.members(), Via: https.NewTransport(key(200))})
	a.must(err)
	if a.network != nil {
		c = nil // members are reached from their network alone
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	history := make([][]porcupine.Operation, a.script.Agents)
	after := map[string]string{}
	appended := make([]map[uint64]string, a.script.Agents)
	times := make([][]int64, a.script.Agents)
	for i := range appended {
		appended[i] = map[uint64]string{}
	}
	for _, o := range a.ops {
		if o.Result == "nothing" || !o.Append && o.Result != "ok" {
			continue
		}
		if o.Return == 0 || o.Result == "unknown" {
			o.Return, o.Result = math.MaxInt64, "unknown"
			v.unknown++
		}
		v.ops++
		history[o.Agent] = append(history[o.Agent], porcupine.Operation{ClientId: o.Client, Input: o.Op, Call: o.Call, Output: o.Op, Return: o.Return})
		if !o.Append || o.Result != "ok" {
			continue
		}
		v.appended++
		times[o.Agent] = append(times[o.Agent], o.Return)
		before := fmt.Sprint(o.Agent, " ", o.Prev)
		if next, ok := after[before]; ok && next != o.Next {
			v.forks++
		}
		after[before] = o.Next
		if other, ok := appended[o.Agent][o.Seq]; ok && other != o.Next {
			v.lost++
		}
		appended[o.Agent][o.Seq] = o.Next
	}
	v.linearizable = porcupine.Ok
	for i := range history {
		if r := porcupine.CheckOperationsTimeout(authoritytest.Register(""), history[i], 30*time.Second); r != porcupine.Ok && v.linearizable != porcupine.Illegal {
			v.linearizable = r
		}
		v.longest = max(v.longest, longest(times[i]))
		if c == nil {
			continue
		}
		ctx, done := context.WithTimeout(context.Background(), 20*time.Second)
		var at authority.Position
		for at, err = c.Read(ctx, public(key(agentKey(i)))); err != nil && ctx.Err() == nil; at, err = c.Read(ctx, public(key(agentKey(i)))) {
			time.Sleep(100 * time.Millisecond)
		}
		done()
		newest := uint64(0)
		for seq := range appended[i] {
			newest = max(newest, seq)
		}
		if err != nil || at.Sequence < newest || at.Sequence == newest && short(at) != appended[i][newest] {
			v.lost++
		}
	}
	return v
}

func longest(times []int64) (most time.Duration) {
	slices.Sort(times)
	for i := 1; i < len(times); i++ {
		most = max(most, time.Duration(times[i]-times[i-1]))
	}
	return most
}

// faults has things go wrong, and judges.
func faults(t *testing.T, network *netns.Network, rounds int) {
	a := newArena(t, network, 3, 3, false)
	rng := rand.New(rand.NewPCG(*faultSeed, 5))
	count := map[string]int{}
	for range rounds {
		time.Sleep(time.Duration(200+rng.IntN(800)) * time.Millisecond)
		count[a.wrong(rng)]++
	}
	time.Sleep(3 * time.Second)
	v := a.end()
	t.Logf("%d faults %v: %d calls, %d appends, %d of unknown outcome; longest time without one %v", rounds, count, v.ops, v.appended, v.unknown, v.longest.Round(time.Millisecond))
	t.Logf("forks %d, lost %d, linearizable %v", v.forks, v.lost, v.linearizable)
	if v.forks > 0 || v.lost > 0 || v.linearizable != porcupine.Ok {
		t.Error("the positions are not those of one register")
	}
	if v.appended < 20*rounds {
		t.Errorf("only %d appends", v.appended)
	}
}

// TestFaults has three members and three owners as processes, which are killed and stand
// still: no agent has two successors of one position, and nothing that was acknowledged is
// lost.
func TestFaults(t *testing.T) {
	t.Parallel() // it waits most of the time
	faults(t, nil, *faultRounds)
}

// TestFaultsNetwork is TestFaults in network namespaces, where links are cut, too.
func TestFaultsNetwork(t *testing.T) {
	t.Parallel()
	faults(t, netns.New(t, 6), *faultRounds)
}

// TestLeasesAlone is the same where nothing is compared, and only leases say who may: an
// owner that stood still goes on, and forks the agent. So the tests above can fail.
func TestLeasesAlone(t *testing.T) {
	t.Parallel()
	a := newArena(t, nil, 3, 3, true)
	rng := rand.New(rand.NewPCG(*faultSeed, 6))
	for n := 0; n < 3 || n < 15 && !a.forked(); n++ {
		o := a.owners[rng.IntN(len(a.owners))]
		time.Sleep(time.Second)
		o.signal(syscall.SIGSTOP)
		time.Sleep(4 * time.Second)
		o.signal(syscall.SIGCONT)
	}
	v := a.end()
	t.Logf("leases alone: %d appends, forks %d, lost %d, linearizable %v", v.appended, v.forks, v.lost, v.linearizable)
	if v.forks+v.lost == 0 || v.linearizable != porcupine.Illegal {
		t.Error("leases alone seem to be enough: the tests prove nothing")
	}
}

func sortKeys(all []verifier.PublicKey) {
	slices.SortFunc(all, func(a, b verifier.PublicKey) int { return bytes.Compare(a[:], b[:]) })
}
