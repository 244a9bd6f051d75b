//go:build !wasip1

package life

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

var (
	crashes  = flag.Int("crashes", 3, "how many random instants of an agent's work to crash it at")
	allNamed = flag.Bool("failpoints", false, "crash an agent at every named failpoint, rather than at a few")
)

// A Matrix crashes an agent, life after life, and compares what its server received
// with what is left of the agent.
type Matrix struct {
	// Args are for igor.
	Args []string
	// Begin is called when a new agent is about to live.
	Begin func()
	// Done has something when the agent has done enough, and again as long as it
	// goes on.
	Done <-chan struct{}
	// End holds what the server received against the state of an agent that has
	// ended, and returns what the server was paid, in microcents.
	End func(state []byte) (paid int64)
	// Every says that the agent comes by every failpoint.
	Every bool
}

// others are failpoints that igor's own tests kill at: of agents that fail, are upgraded, move,
// have a home that is not their folder, or pay by x402, and of old checkpoints, which a
// life that is short may have none of.
var others = []string{
	"tick-failed", "program-kept", "upgraded", "segments-unsigned", "segments-signed", "retirement-kept", "paid-answered", "home-left",
	"pack-named", "segment-named", "marked", "unpacked", "pruned",
	"move-stopped", "move-signed", "move-kept", "move-offered", "move-appended", "move-committed", "move-recorded", "move-key-gone", "move-taken-in", "move-promised", "move-fetched", "move-key-kept", "move-arrived",
}

const (
	birthBudget    = 1_000_000 // microcents
	topUp          = 123
	crashesPerLife = 25
)

// A run is one execution of a matrix.
type run struct {
	*Life
	Matrix
	lives, kills int

	added int64    // to the budget of the agent that lives
	acks  []string // of its checkpoints that were said to be durable
}

// Crash runs a matrix: SIGKILL at random instants, and at named failpoints, the
// first and later times that a process comes by. After each the agent goes on, and
// may be killed again. Of each agent the life verifies, replays, and accounts for
// every microcent.
func (l *Life) Crash(m Matrix) {
	l.t.Helper()
	plain := l.igor
	l.igor = filepath.Join(l.build("failpoint", "-tags=failpoint", "igor.dev/cmd/igor"), "igor")
	defer func() { l.igor = plain }()
	r := &run{Life: l, Matrix: m}

	reached := r.trace()
	points := slices.Sorted(maps.Keys(reached))
	if len(points) < 10 {
		l.t.Fatalf("only %q is reached", points)
	}
	all := strings.Fields(l.run(l.failing("list")))
	missing := slices.DeleteFunc(all, func(p string) bool { return reached[p] > 0 || slices.Contains(others, p) })
	if m.Every && len(missing) > 0 {
		l.t.Errorf("%q are never reached", missing)
	}

	for r.kills < *crashes {
		started := 0
		r.life(func() string {
			if started++; started > crashesPerLife || r.kills == *crashes {
				return ""
			}
			// A small part of the way to go, so that one life has many crashes all along it.
			at := "any:" + strconv.Itoa(1+rand.IntN(60))
			if rand.IntN(2) == 0 { // else most are those of hostcalls
				at = points[rand.IntN(len(points))] + ":" + strconv.Itoa(1+rand.IntN(4))
			}
			if rand.IntN(2) == 0 {
				at += ":" + rand.N(3*time.Millisecond).String()
			}
			return at
		})
	}
	random, lives := r.kills, r.lives
	l.t.Logf("%d kills at random instants, in %d lives", random, lives)

	rand.Shuffle(len(points), func(i, j int) { points[i], points[j] = points[j], points[i] })
	if !*allNamed {
		points = points[:min(len(points), *crashes)]
	}
	aimed, missed := r.named(points, reached)
	l.t.Logf("%d kills at %d failpoints, of %d that were aimed at, in %d lives", aimed-missed, len(points), aimed, r.lives-lives)
	if random == 0 || r.kills == random {
		l.t.Error("no kills")
	}
}

// named kills at each point: the first time that a process comes by, the second,
// one of the later times, and the last. It returns how many kills it was after, and
// how many never came, since no process lived as long as the first one.
func (r *run) named(points []string, reached map[string]int) (aimed, missed int) {
	r.t.Helper()
	type target struct {
		point    string
		n, tries int
	}
	var queue []target
	for _, p := range points {
		at := []int{1}
		if *allNamed {
			at = append(at, 2, 1+rand.IntN(reached[p]), reached[p])
			slices.Sort(at)
			at = slices.Compact(at)
		}
		for _, n := range at {
			if n <= reached[p] {
				queue = append(queue, target{p, n, 0})
			}
		}
	}
	aimed = len(queue)
	// What a process did not come by, another one may: the first one of a life, or one
	// that finds an effect without an end, or ticks that are to be lived again.
	before := []string{"", "", "effect-acted:1", "tick-ends:3"}
	hit := map[string]bool{}
	for len(queue) > 0 {
		var last *target
		started := 0
		r.life(func() (next string) {
			if last != nil {
				hit[last.point] = true // or the life would be over
				last = nil
			}
			if started++; started > crashesPerLife || len(queue) == 0 {
				return ""
			}
			if first := before[queue[0].tries]; started == 1 && first != "" {
				return first
			}
			last, queue = &queue[0], queue[1:]
			return fmt.Sprintf("%s:%d", last.point, last.n)
		})
		// Its process ended in peace, for it did not come by so often.
		if last != nil {
			if last.tries++; last.tries < len(before) {
				queue = append([]target{*last}, queue...)
			} else if missed++; !hit[last.point] {
				r.t.Errorf("no process came by %s", last.point)
			}
		}
	}
	return aimed, missed
}

// failing returns a command that heeds a failpoint.
func (l *Life) failing(at string) *exec.Cmd {
	cmd := l.Command()
	cmd.Env = append(cmd.Env, "IGOR_FAILPOINT="+at)
	return cmd
}

// trace counts how often an agent comes by each point, without a crash and after one.
func (r *run) trace() map[string]int {
	r.t.Helper()
	file := filepath.Join(r.tmp, "trace")
	count := func() map[string]int {
		b, err := os.ReadFile(file)
		if err != nil {
			r.t.Fatal(err)
		}
		n := map[string]int{}
		for _, p := range strings.Fields(string(b)) {
			n[p]++
		}
		if err := os.Remove(file); err != nil {
			r.t.Fatal(err)
		}
		return n
	}
	once := true
	r.life(func() string {
		if once {
			once = false
			return "trace:" + file
		}
		return ""
	})
	whole := count()
	// A crash between what left the machine and its end has the most to recover.
	at := []string{"effect-acted:2", "trace:" + file}
	r.life(func() (next string) {
		if len(at) > 0 {
			next, at = at[0], at[1:]
		}
		return next
	})
	for p, n := range count() {
		if whole[p] == 0 {
			whole[p] = n
		}
	}
	return whole
}

// life lives one agent's whole life, in processes that next tells where to crash,
// or with "" that they are to end in peace.
func (r *run) life(next func() string) {
	r.t.Helper()
	r.lives++
	r.dir = filepath.Join(r.tmp, "agent"+strconv.Itoa(r.lives))
	r.added, r.acks = birthBudget, nil
	r.Begin()
	var plan []string
	for killed := true; killed; {
		at := next()
		plan = append(plan, at)
		killed = r.process(at)
		if r.t.Failed() {
			break
		}
	}
	r.end()
	if r.t.Failed() {
		r.t.Fatalf("agent %d was to crash at %q", r.lives, plan)
	}
	if err := errors.Join(os.RemoveAll(r.dir), os.RemoveAll(r.ledger())); err != nil {
		r.t.Fatal(err)
	}
	if r.lives%10 == 0 {
		r.t.Logf("%d kills in %d lives", r.kills, r.lives)
	}
}

// process runs the agent until it has done enough, or is killed.
func (r *run) process(at string) (killed bool) {
	r.t.Helper()
	args := append([]string{"--price=0.001", "--checkpoint-every=4", "--tick-interval=50ms", "--ledger=" + r.ledger()}, r.Args...)
	if _, err := os.Stat(r.dir); err == nil && at == "" {
		args = append(args, fmt.Sprintf("--top-up=%f", topUp/1e6))
		r.added += topUp
	}
	for drained := false; !drained; {
		select {
		case <-r.Done:
		default:
			drained = true
		}
	}
	p := r.start(at, args...)
	tooLong := time.After(2 * time.Minute)
	done := r.Done
	for {
		select {
		case <-done:
			done = nil
			if err := p.cmd.Process.Signal(os.Interrupt); err != nil && !errors.Is(err, os.ErrProcessDone) {
				r.t.Fatal(err)
			}
			continue
		case <-tooLong:
			p.cmd.Process.Signal(syscall.SIGQUIT)
			<-p.done
			r.t.Fatalf("%q: the agent does not come to an end:\n%s", at, p.log())
		case <-p.done:
		}
		break
	}
	err := p.cmd.Wait()
	r.acks = append(r.acks, p.acks...)
	if err == nil {
		return false
	}
	if s, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus); ok && s.Signaled() && s.Signal() == syscall.SIGKILL && at != "" {
		r.kills++
		return true
	}
	r.t.Errorf("agent %d, %q: %v\n%s", r.lives, at, err, p.log())
	return false
}

// end holds an agent that has ended against everything that is known of it.
func (r *run) end() {
	r.t.Helper()
	r.run(exec.Command(r.verify, r.dir))
	r.run(r.Command("replay", r.dir))
	checkpoints := r.history()
	there := map[string]bool{}
	for _, c := range checkpoints {
		there[cid(c)] = true
	}
	for _, ack := range r.acks {
		if !there[ack] {
			r.t.Errorf("checkpoint %s was said to be durable, and is not in the history", ack)
		}
	}
	newest := checkpoints[len(checkpoints)-1]
	left := int64(binary.LittleEndian.Uint64(newest[1:]))
	sums := r.receipts(r.dir)
	books, err := filepath.Glob(filepath.Join(r.ledger(), "*", "receipts"))
	if err != nil || len(books) != 1 {
		r.t.Fatalf("the ledger has %q, %v", books, err)
	}
	// Payments are the agent's word, and not in the node's books.
	if got := r.receipts(books[0], filepath.Join(r.dir, "history")); got != sums {
		r.t.Errorf("the ledger has %+v, the agent %+v", got, sums)
	}
	paid := r.End(newest[header:])
	if sums.AddedMicrocents != r.added || sums.PaidMicrocents != paid || sums.CostMicrocents == 0 ||
		r.added != sums.CostMicrocents+paid+left {
		r.t.Errorf("%d was given, %d received by the server and %d left; receipts say %+v", r.added, paid, left, sums)
	}
	if strays, err := filepath.Glob(filepath.Join(r.dir, "damaged", "*")); err != nil || len(strays) > 0 {
		r.t.Errorf("a kill damaged %q, %v", strays, err)
	}
}

// ledger returns the node's books for the agent.
func (r *run) ledger() string { return r.dir + "-ledger" }

// sums are what receipts come to.
type sums struct {
	Executions      int
	AddedMicrocents int64 `json:",string"`
	CostMicrocents  int64 `json:",string"`
	PaidMicrocents  int64 `json:",string"`
}

// receipts checks receipts, which have to be whole.
func (r *run) receipts(paths ...string) (s sums) {
	r.t.Helper()
	args := append([]string{"receipts", "--format=json"}, paths...)
	if err := json.Unmarshal([]byte(r.run(exec.Command(r.verify, args...))), &s); err != nil {
		r.t.Fatal(err)
	}
	return s
}

// cid returns a checkpoint's content address, as docs/spec/checkpoint.md has it.
func cid(checkpoint []byte) string {
	hash := sha256.Sum256(checkpoint)
	b := append([]byte{0x01, 0x55, 0x12, 0x20}, hash[:]...)
	return "b" + strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b))
}
