package runtime

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"igor.dev/runtime/internal/failpoint"
	"igor.dev/x402/x402test"
)

var (
	payKills = flag.Int("pay-kills", 3, "at how many random instants TestPaymentsCrash kills an agent that pays")
	paySeed  = flag.Uint64("pay-seed", 1, "what its chance begins with")
)

// killsPerLife is how often one agent is killed.
const killsPerLife = 25

// A storm is what a market's parts go through while an agent lives: the chain makes blocks
// all the time, takes some back, and stops; facilitator and server fail, and are killed.
type storm struct {
	*market
	chance   *rand.Rand
	igor     string
	wasm     string
	payments string
	config   string

	calm                   atomic.Bool // blocks come, and nothing else happens
	reorganised, restarted atomic.Int64
	kills                  map[string]int
	failed                 map[string]int
	rounds                 int
	faults                 []string       // that come next
	parts                  sync.WaitGroup // a part that is killed, until it is back
	takes                  time.Duration  // that the last process took which nobody killed
}

// TestPaymentsCrash kills an agent that pays, as a process, at every failpoint that a payment
// passes and at random instants, while everything else fails too. In the end the chain, the
// receipts and the budget say the same to the last base unit, and nothing is open.
func TestPaymentsCrash(t *testing.T) {
	shared := newMarket(t)
	igor := filepath.Join(t.TempDir(), "igor")
	if out, err := exec.Command("go", "build", "-tags", "failpoint", "-o", igor, "igor.dev/cmd/igor").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	config := t.TempDir()
	// More confirmations than the chain takes back.
	payments, _ := json.Marshal(map[string]any{"wallet": shared.walletFile, "networks": map[string]any{
		fmt.Sprintf("eip155:%d", x402test.ChainID): map[string]any{"nodes": []string{shared.chain.URL}, "confirmations": 5}}})
	file := filepath.Join(config, "payments.json")
	if err := os.WriteFile(file, payments, 0o600); err != nil {
		t.Fatal(err)
	}
	chance := rand.New(rand.NewPCG(*paySeed, 0))
	aimed := []failpoint.Point{failpoint.EffectMeant, failpoint.EffectBegun, failpoint.PaidAnswered, failpoint.EffectActed,
		failpoint.EffectProbed, failpoint.EffectEnded, failpoint.PaymentKept}
	kills, failed := map[string]int{}, map[string]int{}
	var reorganised, restarted int64
	for life, left := 0, *payKills; life < 2 || left > 0; life++ {
		t.Run(fmt.Sprintf("life %d", life), func(t *testing.T) {
			s := &storm{market: shared.begin(t, []string{"GET", "POST"}[life%2]), chance: chance, igor: igor, payments: file, config: config, kills: kills, failed: failed}
			s.write()
			stop := s.begins()
			s.round("", false) // born
			if life < 2 {
				for i, at := range aimed {
					if *payKills >= 100 || i%2 == life { // in a short run, half of them in each life
						s.named(at)
					}
				}
			}
			for range min(left, killsPerLife) {
				s.random()
				left--
			}
			s.calm.Store(true)
			s.ends(stop)
			reorganised += s.reorganised.Load()
			restarted += s.restarted.Load()
		})
		if t.Failed() {
			break
		}
	}
	t.Logf("kills: %v; failures: %v; the chain took 3 blocks back %d times and stopped %d times", kills, failed, reorganised, restarted)
	for _, at := range aimed {
		if kills[at.String()] == 0 {
			t.Errorf("no kill at %s", at)
		}
	}
	if len(failed) < 3 || reorganised == 0 || restarted == 0 {
		t.Error("too little failed")
	}
}

// write writes the agent's program and manifest for igor run.
func (s *storm) write() {
	s.t.Helper()
	s.wasm = filepath.Join(filepath.Dir(s.dir), "payer.wasm")
	manifest := strings.Replace(string(s.birth.Manifest), `"timeout_ms": 8000`, `"timeout_ms": 2500`, 1)
	manifest = strings.Replace(manifest, `"max_per_day_microcents": 100000`, `"max_per_day_microcents": 1000000`, 1)
	s.birth.Manifest = []byte(manifest)
	for name, b := range map[string][]byte{s.wasm: s.birth.WASM, strings.TrimSuffix(s.wasm, "wasm") + "manifest.json": s.birth.Manifest} {
		if err := os.WriteFile(name, b, 0o644); err != nil {
			s.t.Fatal(err)
		}
	}
}

// begins lets the chain live by itself until stop is called: a block every 100 ms, and now
// and then 3 are taken back, or it stops for a while.
func (s *storm) begins() (stop func()) {
	over, ended := make(chan struct{}), make(chan struct{})
	chance := rand.New(rand.NewPCG(s.chance.Uint64(), 0))
	go func() {
		defer close(ended)
		for fresh, event := 0, 0; ; fresh++ {
			select {
			case <-over:
				return
			case <-time.After(100 * time.Millisecond):
			}
			s.chain.Mine(1)
			// A chain that has just come back knows no states before. At first each happens once.
			n := event
			if event > 1 {
				n = chance.IntN(40)
			}
			if fresh < 8 || n > 1 || s.calm.Load() {
				continue
			}
			fresh = 0
			event++
			if n == 0 {
				s.chain.Reorganise(3)
				s.reorganised.Add(1)
				continue
			}
			s.chain.Stop()
			time.Sleep(time.Duration(chance.IntN(1500)) * time.Millisecond)
			s.chain.Start()
			s.restarted.Add(1)
		}
	}()
	return func() {
		close(over)
		<-ended
	}
}

// fail lets something fail in the next payment, or nothing.
func (s *storm) fail() {
	if len(s.faults) == 0 {
		s.faults = []string{"", "verify down", "settle down", "settle answer lost", "settle answers 500", "server down before", "server answer lost", "server answers 502", "facilitator killed", "server killed"}
		s.chance.Shuffle(len(s.faults), func(i, j int) { s.faults[i], s.faults[j] = s.faults[j], s.faults[i] })
	}
	fault := s.faults[0]
	s.faults = s.faults[1:]
	s.parts.Wait()
	s.facilitator.Up()
	s.server.Up()
	s.facilitator.Fail("", 0)
	s.server.Fail("", 0)
	switch {
	case fault == "":
		return
	case strings.HasSuffix(fault, "killed"):
		part := s.facilitator
		if fault == "server killed" {
			part = s.server
		}
		before, after := s.within(s.takes), s.within(time.Second)
		s.parts.Go(func() {
			time.Sleep(before)
			part.Stop() // who needs it next has it started
			time.Sleep(after)
			part.Up()
		})
	case strings.HasPrefix(fault, "server"):
		s.server.Fail(fault, 1+s.chance.IntN(2))
	default:
		s.facilitator.Fail(fault, 1+s.chance.IntN(2))
	}
	s.failed[fault]++
}

func (s *storm) within(d time.Duration) time.Duration {
	return time.Duration(s.chance.Int64N(int64(d) + 1))
}

// round runs igor until it ends or dies at a failpoint, or, with instant, at some moment.
func (s *storm) round(at string, instant bool, more ...string) (killed bool) {
	s.t.Helper()
	s.rounds++
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	args := []string{"resume", s.dir}
	if _, err := os.Stat(s.dir); err != nil {
		args = []string{"run", s.wasm, "--dir", s.dir, "--budget=1", "--price=0"}
	}
	args = append(args, "--payments", s.payments, "--ticks=2", "--tick-interval=0", "--checkpoint-every=2", "--quiet")
	cmd := exec.CommandContext(ctx, s.igor, append(args, more...)...)
	cmd.Env = append(os.Environ(), "XDG_CONFIG_HOME="+s.config, "XDG_CACHE_HOME="+s.config, "IGOR_FAILPOINT="+at)
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	began := time.Now()
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	if instant {
		kill := time.AfterFunc(time.Duration(s.chance.Int64N(int64(s.takes))), func() { cmd.Process.Signal(syscall.SIGKILL) })
		defer kill.Stop()
	}
	err := cmd.Wait()
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() && ctx.Err() == nil {
		return true
	}
	if err != nil {
		s.t.Fatalf("%s: igor %q: %v\n%s", at, args, err, out.String())
	}
	s.takes = time.Since(began)
	return false
}

// named kills at a failpoint. Only a process that finds a payment without an end comes by
// the one after asking about it.
func (s *storm) named(at failpoint.Point) {
	s.t.Helper()
	for try := range 20 { // while the chain is down nothing is signed
		s.fail()
		n := 1 + s.chance.IntN(2)
		switch at {
		case failpoint.EffectMeant, failpoint.EffectBegun, failpoint.EffectActed, failpoint.EffectEnded:
			n = 1 + (try+s.chance.IntN(2))%3 // of a POST, the unpaid request passes it too
		case failpoint.EffectProbed:
			s.round(failpoint.PaidAnswered.String()+":1", false)
			n = 1
		case failpoint.PaidAnswered, failpoint.PaymentKept:
			n = 1 + s.chance.IntN(2)
		}
		if s.round(fmt.Sprintf("%s:%d", at, n), false) {
			s.kills[at.String()]++
			return
		}
	}
	s.t.Logf("%s was not come by", at)
}

// random kills at some instant: of the clock, or soon after a failpoint.
func (s *storm) random() {
	s.t.Helper()
	for range 40 {
		s.fail()
		at, instant := "", s.chance.IntN(2) == 0
		if !instant {
			at = fmt.Sprintf("any:%d:%s", 1+s.chance.IntN(60), time.Duration(s.chance.IntN(400))*time.Millisecond)
		}
		if s.round(at, instant) {
			s.kills["random instants"]++
			return
		}
	}
	s.t.Error("no kill in 40 processes")
}

// ends lets all come to rest, and then wants the books to balance.
func (s *storm) ends(stop func()) {
	s.t.Helper()
	s.parts.Wait()
	s.facilitator.Up()
	s.server.Up()
	s.facilitator.Fail("", 0)
	s.server.Fail("", 0)
	s.round("", false) // it goes on
	// Nothing more is bought, so that what is open came from before.
	s.server.Stop()
	defer s.server.Start()
	stop()
	s.chain.Pass(2 * time.Minute) // what was not used by now never is
	stop = s.begins()
	defer stop()
	for range 5 {
		s.round("", false, "--ticks=20", "--tick-interval=100ms", "--checkpoint-every=20")
		if _, held := s.standing(); held == 0 {
			break
		}
	}
	s.last() // it replays
	have, err := s.chain.Node().Balance(s.t.Context(), s.chain.Token, s.shop)
	if err != nil {
		s.t.Fatal(err)
	}
	paid := (int64(have) - s.before) / marketPrice
	s.accounts(paid, 0)
	if s.t.Failed() {
		effects, _ := Effects(s.t.Context(), s.dir)
		for _, e := range effects {
			if e.Unresolved() && e.Held > 0 {
				s.t.Logf("open: %+v", e)
			}
		}
	}
	if paid == 0 {
		s.t.Error("nothing was paid")
	}
	for _, args := range [][]string{{"verify", s.dir}, {"receipts", s.dir}} {
		cmd := exec.Command(s.igor, args...)
		if out, err := cmd.CombinedOutput(); err != nil {
			s.t.Errorf("igor %q: %v\n%s", args, err, out)
		}
	}
	s.t.Logf("%d processes, %d payments", s.rounds, paid)
}
