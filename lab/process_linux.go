package lab

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"igor.dev/node/api"
	"igor.dev/runtime"
	"igor.dev/verifier"
)

const nodePort = 7447

// A process is a node: an igor-node on a host of its own.
type process struct {
	lab    *lab
	i      int
	name   string
	dir    string
	public verifier.PublicKey

	mu     sync.Mutex
	cmd    *exec.Cmd // nil = it does not run
	ended  chan struct{}
	paused bool
	skew   time.Duration // of its clock, from the next start on
}

func (p *process) did() string { return p.public.DID() }

// newProcess makes a node's folder.
func (l *lab) newProcess(i int, n Node) (*process, error) {
	p := &process{lab: l, i: i, name: n.Name, dir: filepath.Join(l.dir, dirNodes, n.Name)}
	if err := os.MkdirAll(filepath.Join(p.dir, "agents"), 0o700); err != nil {
		return nil, err
	}
	key, err := runtime.NodeKey(filepath.Join(p.dir, "node.key"))
	if err != nil {
		return nil, err
	}
	p.public = verifier.PublicKey(key.Public().(ed25519.PublicKey))
	return p, nil
}

// configure writes the settings of a node: those of the laboratory, and the script's.
func (p *process) configure(extra map[string]any) error {
	peers := []string{}
	for _, o := range p.lab.nodes {
		if o != p {
			peers = append(peers, fmt.Sprintf("%s /ip4/%s/tcp/%d", o.did(), p.lab.network.Address(o.i), nodePort))
		}
	}
	settings := map[string]any{
		"key": filepath.Join(p.dir, "node.key"), "listen": []string{fmt.Sprintf("/ip4/%s/tcp/%d", p.lab.network.Address(p.i), nodePort)},
		"peers": peers, "take_from": []string{"peers"}, "tick_interval": "20ms", "checkpoint_every": "100ms", "move_limit": "5s", "price": "0.001",
		"pay_at": fmt.Sprintf("http://%s:%d/pay", p.lab.network.Address(len(p.lab.nodes)), bankPort),
	}
	maps.Copy(settings, extra)
	b, err := json.MarshalIndent(settings, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(p.dir, "node.json"), append(b, '\n'), 0o600)
}

// birth has an agent live its first tick at a node that does not run.
func (p *process) birth(ctx context.Context, e *runtime.Engine, a *Agent, shop string) error {
	wasm, err := os.ReadFile(a.Program)
	if err != nil {
		return err
	}
	wasm = replaced(wasm, shop)
	policy := map[string]any{"enabled": true, "allowed_nodes": p.lab.dids()}
	maps.Copy(policy, a.Policy)
	manifest := map[string]any{"migration_policy": policy}
	if a.Capabilities != nil {
		manifest["capabilities"] = a.Capabilities
	}
	man, err := json.Marshal(manifest)
	if err != nil {
		return err
	}
	man = replaced(man, shop)
	dir := filepath.Join(p.dir, "agents", a.Name)
	r, err := e.Start(ctx, dir, runtime.Birth{WASM: wasm, Manifest: man, Budget: a.Budget, Price: a.Price}, runtime.Config{MaxTicks: 1}).Wait(ctx)
	if err != nil {
		return err
	}
	p.lab.agents[a.Name] = r.DID
	return nil
}

// start starts the process, and waits until it answers.
func (p *process) start() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd != nil {
		return fmt.Errorf("%s runs already", p.name)
	}
	log, err := os.OpenFile(filepath.Join(p.dir, "log"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := p.lab.network.Command(p.i, p.lab.program, "start", "--dir", p.dir, "--cache-dir", p.lab.cache, "-v")
	cmd.Env = append(os.Environ(), "IGOR_LAB_SKEW="+p.skew.String())
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan struct{})
	go func() { cmd.Wait(); close(ended) }()
	p.cmd, p.ended, p.paused = cmd, ended, false
	for began := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		if _, err := api.Dial(p.dir); err == nil {
			return nil
		}
		select {
		case <-ended:
			p.cmd = nil
			return fmt.Errorf("%s does not start: %s", p.name, lastLine(log.Name()))
		default:
		}
		if time.Since(began) > 30*time.Second {
			return fmt.Errorf("%s does not answer: %s", p.name, lastLine(log.Name()))
		}
	}
}

// end sends a signal that ends the process, and waits for that.
func (p *process) end(signal os.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return fmt.Errorf("%s does not run", p.name)
	}
	if p.paused && signal != syscall.SIGKILL {
		p.cmd.Process.Signal(syscall.SIGCONT)
	}
	p.cmd.Process.Signal(signal)
	select {
	case <-p.ended:
	case <-time.After(60 * time.Second):
		return fmt.Errorf("%s does not stop", p.name)
	}
	p.cmd = nil
	return nil
}

func (p *process) pause(yes bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return fmt.Errorf("%s does not run", p.name)
	}
	p.paused = yes
	if yes {
		return p.cmd.Process.Signal(syscall.SIGSTOP)
	}
	return p.cmd.Process.Signal(syscall.SIGCONT)
}

func (p *process) runs() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cmd != nil
}

// look asks the node which agents live there.
func (p *process) look(ctx context.Context) (lives map[string]Lives, err error) {
	c, err := api.Dial(p.dir)
	if err != nil {
		return nil, err
	}
	ctx, done := context.WithTimeout(ctx, 2*time.Second)
	defer done()
	var all []api.Agent
	if err := c.Get(ctx, "/v1/agents", &all); err != nil {
		return nil, err
	}
	lives = map[string]Lives{}
	for _, a := range all {
		if a.State == "alive" {
			lives[a.Name] = Lives{a.Tick, a.Moves}
		}
	}
	return lives, nil
}

func (p *process) move(ctx context.Context, agent string, to []string) (*api.Moved, error) {
	c, err := api.Dial(p.dir)
	if err != nil {
		return nil, err
	}
	ctx, done := context.WithTimeout(ctx, time.Minute)
	defer done()
	return c.Migrate(ctx, api.Migrate{Agent: agent, To: to}, nil)
}

func (p *process) drain(ctx context.Context, end bool) error {
	c, err := api.Dial(p.dir)
	if err != nil {
		return err
	}
	return c.Post(ctx, "/v1/drain", api.Drain{Within: "1m", End: end}, nil)
}

func lastLine(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	b = b[max(0, len(b)-500):]
	return string(b)
}

var errNoNode = errors.New("it lives nowhere")
