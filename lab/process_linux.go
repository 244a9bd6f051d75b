package lab

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"igor.dev/internal/netns"
	"igor.dev/internal/nodebuild"
	"igor.dev/node/api"
)

// processes are nodes that are processes, each in a network namespace of its own. One more
// host is of what all reach.
type processes struct {
	lab     *lab
	network *netns.Network
	host    int // that one
}

func newProcesses(l *lab) (world, error) {
	if err := netns.Unavailable(); err != nil {
		return nil, fmt.Errorf("%w; a script with simulated: true needs nothing", err)
	}
	n := len(l.Script.Nodes)
	network, err := netns.Make(n + 1)
	if err != nil {
		return nil, err
	}
	return &processes{l, network, n}, nil
}

func (w *processes) close() error { return w.network.Close() }

func (w *processes) listen(port uint16) (net.Listener, error) { return w.network.Listen(w.host, port) }

func (w *processes) dial(ctx context.Context, _, address string) (net.Conn, error) {
	return w.network.Dial(ctx, w.host, address)
}

func (w *processes) node(s *seat) node {
	s.host = w.network.Address(s.i).String()
	return &process{seat: s, world: w}
}

func (w *processes) cut(from, to int, yes bool) error {
	if yes {
		return w.network.Cut(from, to)
	}
	return w.network.Heal(from, to)
}

func (w *processes) slow(node int, by time.Duration) error { return w.network.Delay(node, by) }

// A process is a node: an igor-node on a host of its own.
type process struct {
	*seat
	world *processes

	mu     sync.Mutex
	cmd    *exec.Cmd // nil = it does not run
	ended  chan struct{}
	paused bool
	skew   time.Duration // of its clock, from the next start on
}

// configure writes the settings of a node: those of the laboratory, and the script's.
func (p *process) configure(extra map[string]any) error {
	peers := []string{}
	for _, o := range p.lab.nodes {
		if o := o.at(); o != p.seat {
			peers = append(peers, fmt.Sprintf("%s /ip4/%s/tcp/%d", o.did(), p.world.network.Address(o.i), nodePort))
		}
	}
	settings := map[string]any{
		"key": filepath.Join(p.dir, "node.key"), "listen": []string{fmt.Sprintf("/ip4/%s/tcp/%d", p.world.network.Address(p.i), nodePort)},
		"peers": peers, "take_from": []string{"peers"}, "tick_interval": "20ms", "checkpoint_every": "100ms", "move_limit": "5s", "price": "0.001",
		"pay_at": fmt.Sprintf("http://%s:%d/pay", p.world.network.Address(p.world.host), bankPort),
	}
	if p.lab.market != nil {
		settings["payments"] = filepath.Join(p.dir, filePayments)
	}
	if f := p.lab.Script.Fleet; f != nil {
		settings["lease_duration"], settings["peers"] = f.Lease, []string{}
	}
	maps.Copy(settings, extra)
	b, err := json.MarshalIndent(settings, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(p.dir, "node.json"), append(b, '\n'), 0o600)
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
	cmd := p.world.network.Command(p.i, p.lab.Program, "start", "--dir", p.dir, "--cache-dir", p.lab.cache, "-v")
	cmd.Env = append(os.Environ(), nodebuild.Skew+"="+p.skew.String())
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

// wrong has its wall clock be wrong, from the next start on.
func (p *process) wrong(by time.Duration) { p.skew = by }

func (p *process) kill() error { return p.end(syscall.SIGKILL) }
func (p *process) stop() error { return p.end(syscall.SIGTERM) }

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
	return p.lab.livesOf(all), nil
}

func (p *process) moving(ctx context.Context) (int, error) {
	c, err := api.Dial(p.dir)
	if err != nil {
		return 0, err
	}
	ctx, done := context.WithTimeout(ctx, 2*time.Second)
	defer done()
	var s api.Status
	err = c.Get(ctx, "/v1/status", &s)
	return s.Moving, err
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

func (p *process) add(ctx context.Context, folder string) error {
	c, err := api.Dial(p.dir)
	if err != nil {
		return err
	}
	return c.Post(ctx, "/v1/add", api.Add{Folder: folder, Fleet: true}, nil)
}

func (p *process) ask(ctx context.Context) error {
	c, err := api.Dial(p.dir)
	if err != nil {
		return err
	}
	return c.Post(ctx, "/v1/offers", struct{}{}, nil)
}

func lastLine(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	b = b[max(0, len(b)-500):]
	return string(b)
}
