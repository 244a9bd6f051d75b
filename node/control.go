package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"igor.dev/internal/control"
	"igor.dev/node/api"
	"igor.dev/node/price"
	"igor.dev/node/wire"
	"igor.dev/runtime"
	"igor.dev/verifier"
)

// Control serves the node's control API at the socket in its folder, until the node is
// closed. stop is called when somebody asks the node to stop.
func (n *Node) Control(stop func()) error {
	mux := http.NewServeMux()
	handle := func(pattern string, do func(r *http.Request) (any, error)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			reply, err := do(r)
			if err != nil {
				answerError(w, err)
				return
			}
			json.NewEncoder(w).Encode(reply)
		})
	}
	handle("GET /v1/status", func(*http.Request) (any, error) { return n.status(), nil })
	handle("GET /v1/peers", func(*http.Request) (any, error) {
		all := []api.Peer{}
		for _, p := range n.peers.list() {
			one := peerOf(&p)
			one.Version = n.versionOf(p.Node)
			all = append(all, one)
		}
		return all, nil
	})
	handle("GET /v1/offer", func(*http.Request) (any, error) {
		o, err := n.Offer()
		if err != nil {
			return nil, err
		}
		return offerOf(o), nil
	})
	handle("GET /v1/agents", func(*http.Request) (any, error) { return n.list() })
	handle("POST /v1/offers", func(r *http.Request) (any, error) {
		all := []api.Offer{}
		for _, p := range n.peers.list() {
			if o, err := n.OfferOf(r.Context(), p.Node); err == nil {
				all = append(all, *offerOf(o))
			}
		}
		return all, nil
	})
	handle("POST /v1/peers", func(r *http.Request) (any, error) {
		var q api.PeerChange
		if err := body(r, &q); err != nil {
			return nil, err
		}
		p, err := ParsePeer(q.Peer)
		if err == nil && q.Remove {
			err = n.forget(p.Node)
		} else if err == nil && p.Node == n.public {
			err = &hintError{fmt.Errorf("%s is this node", p.Node.DID()), "a peer is another one; where this node listens is listen in node.json"}
		} else if err == nil {
			err = n.peers.add(p)
		}
		return struct{}{}, err
	})
	handle("GET /v1/keys", func(r *http.Request) (any, error) { return n.keys(r.Context(), r.URL.Query().Get("agent")) })
	handle("POST /v1/add", func(r *http.Request) (any, error) {
		var q api.Add
		if err := body(r, &q); err != nil {
			return nil, err
		}
		return struct{}{}, n.Add(q.Folder, q.Fleet)
	})
	handle("POST /v1/stop", func(*http.Request) (any, error) { stop(); return struct{}{}, nil })
	handle("POST /v1/drain", func(r *http.Request) (any, error) {
		var q api.Drain
		if err := body(r, &q); err != nil {
			return nil, err
		}
		within := time.Hour
		if q.Within != "" {
			var err error
			if within, err = time.ParseDuration(q.Within); err != nil || within <= 0 {
				return nil, fmt.Errorf("%q is no time such as 10m", q.Within)
			}
		}
		if q.End {
			n.EndDrain()
		} else {
			n.Drain(within)
		}
		return n.status(), nil
	})
	mux.HandleFunc("POST /v1/migrate", n.answerMigrate)
	s, err := control.Listen(n.config.Dir, mux)
	if err != nil {
		return err
	}
	n.mu.Lock()
	n.socket = s
	n.mu.Unlock()
	return nil
}

func body(r *http.Request, to any) error {
	d := json.NewDecoder(http.MaxBytesReader(nil, r.Body, api.MaxRequest))
	if d.DisallowUnknownFields(); d.Decode(to) != nil {
		return errors.New("this igor-node does not understand the request: igor may be newer than it")
	}
	return nil
}

// A missing error says that what was named is not there, and how to see what is.
type missing struct{ what, next string }

func (e *missing) Error() string    { return e.what }
func (e *missing) NextStep() string { return e.next }

// answerError answers with what went wrong.
func answerError(w http.ResponseWriter, err error) {
	status := http.StatusConflict
	if errors.As(err, new(*missing)) {
		status = http.StatusNotFound
	}
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(errorOf(err))
}

func errorOf(err error) *api.Error {
	e := &api.Error{Message: err.Error()}
	if r, ok := errors.AsType[*wire.Refusal](err); ok {
		e.Message, e.Reason = r.Detail, string(r.Reason)
	}
	if h, ok := errors.AsType[interface {
		error
		Hint() string
	}](err); ok {
		e.Hint = h.Hint()
	}
	if h, ok := errors.AsType[interface {
		error
		NextStep() string
	}](err); ok {
		e.Hint = h.NextStep()
	}
	return e
}

func (n *Node) answerMigrate(w http.ResponseWriter, r *http.Request) {
	var q api.Migrate
	err := body(r, &q)
	c := MoveConfig{Retries: q.Retries}
	for _, s := range q.To {
		k, parseErr := verifier.ParseDID(s)
		if parseErr != nil {
			err = errors.Join(err, fmt.Errorf("%q is no node: nodes are named by their DIDs, such as did:key:z6Mk…", s))
		}
		c.To = append(c.To, k)
	}
	if err == nil && q.RetryDelay != "" {
		c.RetryDelay, err = time.ParseDuration(q.RetryDelay)
	}
	if err == nil {
		_, err = n.named(q.Agent)
	}
	w.Header().Set("Content-Type", "application/json")
	if err != nil {
		answerError(w, err)
		return
	}
	var mu sync.Mutex
	tell := func(e api.Event) {
		mu.Lock()
		defer mu.Unlock()
		json.NewEncoder(w).Encode(e)
		http.NewResponseController(w).Flush()
	}
	c.Tell = func(p Progress) {
		tell(api.Event{To: p.To.DID(), State: p.State, Reason: string(p.Reason), Detail: p.Detail})
	}
	// Who asked may go away: the move goes on.
	m, err := n.Move(n.ctx, q.Agent, c)
	if err != nil {
		e := errorOf(err)
		tell(api.Event{Error: e.Message, Reason: e.Reason})
		return
	}
	tell(api.Event{Done: &api.Moved{Agent: m.Agent.DID(), To: m.To.DID(), Number: m.Number, Head: m.Head.CID(), Arrived: m.Arrived, StoodMS: float64(m.Stood.Microseconds()) / 1000}})
}

func (n *Node) status() api.Status {
	fleet := n.config.Fleet.status(n)
	n.mu.Lock()
	defer n.mu.Unlock()
	s := api.Status{Node: n.public.DID(), Addresses: n.Addresses(), Pays: n.config.Engine.Pays(), Agents: len(n.agents), Moving: len(n.moves), Taking: len(n.takes), Peers: len(n.peers.list())}
	if !n.draining.IsZero() {
		s.Draining = n.draining.UTC().Format(time.RFC3339)
	}
	s.Fleet = fleet
	return s
}

func peerOf(p *Peer) api.Peer {
	out := api.Peer{Node: p.Node.DID(), Addresses: append([]string{}, p.Addresses...), Successes: p.Successes, Failures: p.Failures, LatencyMS: float64(p.Latency.Microseconds()) / 1000, Failure: p.Failure}
	if !p.Seen.IsZero() {
		out.Seen = p.Seen.UTC().Format(time.RFC3339)
	}
	if p.Offer != nil {
		out.Offer = offerOf(p.Offer)
	}
	return out
}

func offerOf(o *price.Offer) *api.Offer {
	out := &api.Offer{Node: o.Node.DID(), Price: o.Price, StoredPrice: o.StoredPrice, Expires: time.Unix(o.Expires, 0).UTC().Format(time.RFC3339), FreeAgents: o.FreeAgents, FreeMemory: o.FreeMemory,
		Draining: o.Draining, Regions: append([]string{}, o.Regions...), Capabilities: map[string]int{}, Signed: o.Append(nil)}
	for _, c := range o.Capabilities {
		out.Capabilities[c.Name] = int(c.Version)
	}
	return out
}

// list returns the node's agents, those that were given away, and those that come.
func (n *Node) list() ([]api.Agent, error) {
	entries, err := os.ReadDir(filepath.Join(n.config.Dir, dirAgents))
	if err != nil {
		return nil, err
	}
	all := []api.Agent{}
	for _, e := range entries {
		dir := n.agentDir(e.Name())
		l, err := runtime.ReadLife(dir)
		if err != nil {
			continue
		}
		a := api.Agent{Name: e.Name(), DID: l.Agent.DID(), Tick: l.Tick, State: "ended"}
		a.Moves, _ = runtime.Moves(dir)
		n.mu.Lock()
		s, known := n.agents[e.Name()]
		stays, drains := n.stays[e.Name()]
		n.mu.Unlock()
		switch gone, moved, err := runtime.ReadMoved(dir); {
		case err != nil:
			a.State, a.Error = "failed", err.Error()
		case moved:
			a.State, a.To = "moved", gone.Record.To.DID()
		case known:
			a.State = string(s.State)
			if s.Err != nil {
				a.Error = s.Err.Error()
			} else if drains {
				a.Error = "the node drains, and nobody took it: " + stays
			}
			if s.Agent != nil {
				status := s.Agent.Status()
				if s.State == runtime.SupervisedAlive && status.Phase == "" {
					a.State = "starting" // whether it may live here is not known yet
				}
				a.Tick, a.Budget = max(a.Tick, status.Tick), status.Budget
			}
		}
		all = append(all, a)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for k, t := range n.takes {
		all = append(all, api.Agent{Name: t.name, DID: k.DID(), State: "coming", From: t.from.DID(), Moves: t.number})
	}
	slices.SortFunc(all, func(a, b api.Agent) int { return strings.Compare(a.Name+a.DID, b.Name+b.DID) })
	return all, nil
}

// Add moves an agent's folder, which nobody lives, to the node's own. inFleet has the
// agent's home be the node's fleet, if it was its folder.
func (n *Node) Add(folder string, inFleet bool) error {
	if inFleet && n.config.Fleet == nil {
		return &hintError{errors.New("the node is in no fleet"), "igor fleet join FILE, and start it again"}
	}
	l, err := runtime.ReadLife(folder)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, runtime.ErrNotFolder) {
		return &missing{folder + " is no agent's folder", "igor ls FOLDER lists the agents in a folder; igor run makes one"}
	}
	if err != nil {
		return err
	}
	if _, err := runtime.Connect(folder); err == nil {
		return fmt.Errorf("the agent in %s is alive: igor stop %s, then add it", folder, folder)
	}
	if _, moved, err := runtime.ReadMoved(folder); err != nil || moved {
		return errors.Join(fmt.Errorf("the agent left %s by a hand-over", folder), err)
	}
	policy, err := n.policyOf(folder)
	if err != nil {
		return err
	}
	if err := n.affordable(&policy); err != nil {
		return err
	}
	n.mu.Lock()
	coming := n.takes[l.Agent] != nil
	n.mu.Unlock()
	if name, here := n.find(l.Agent); here || coming {
		return fmt.Errorf("%s is at this node already: %s", l.Agent.DID(), name)
	}
	abs, err := filepath.Abs(folder)
	if err != nil {
		return err
	}
	name := filepath.Base(abs)
	to := n.agentDir(name)
	if exists(to) {
		return fmt.Errorf("the node has an agent with the name %s", name)
	}
	if inFleet {
		if err := runtime.TakeHome(abs, n.config.Fleet.Home.Name); err != nil {
			return err
		}
	}
	// What an agent of that name once came for is not this one's.
	if err := os.Remove(filepath.Join(n.config.Dir, "arrivals", name+".json")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Rename(abs, to); err != nil {
		return fmt.Errorf("%w: the folder has to be on the file system of the node's (%s)", err, filepath.Join(n.config.Dir, dirAgents))
	}
	n.poke()
	return errors.Join(syncDir(filepath.Dir(to)), syncDir(filepath.Dir(abs)))
}

// Drain has the node take no agents, and moves its own away, one after the other, to whom
// their manifests allow. Those that nobody takes stay, and are tried again.
func (n *Node) Drain(within time.Duration) {
	n.mu.Lock()
	began := n.draining.IsZero()
	n.draining = time.Now().Add(within)
	n.mu.Unlock()
	if !began {
		return
	}
	n.background(func() {
		left := []string{}
		for {
			n.mu.Lock()
			over, until := n.draining.IsZero(), n.draining
			names := slices.Sorted(maps.Keys(n.agents))
			n.mu.Unlock()
			if over || n.ctx.Err() != nil {
				return
			}
			if time.Now().After(until) {
				break
			}
			left = left[:0]
			for _, name := range names {
				ctx, stop := context.WithDeadline(n.ctx, until)
				_, err := n.Move(ctx, name, MoveConfig{To: n.whereTo(name), Retries: n.config.Retries, RetryDelay: n.config.RetryDelay})
				stop()
				stays := err != nil && exists(n.agentDir(name)) && !errors.Is(err, runtime.ErrMoved)
				n.mu.Lock()
				if delete(n.stays, name); stays {
					left = append(left, name)
					n.stays[name] = errorOf(err).Message
				}
				over = n.draining.IsZero()
				n.mu.Unlock()
				if over {
					return
				}
			}
			select {
			case <-n.ctx.Done():
			case <-time.After(drainAgain):
			}
		}
		for _, name := range left {
			n.config.Log.Warn("nobody took an agent of a node that drains: it lives on here", "agent", name)
		}
	})
}

// drainAgain is how long a node that drains waits before it asks again who takes what is
// left.
const drainAgain = 2 * time.Second

// EndDrain has the node take agents again.
func (n *Node) EndDrain() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.draining = time.Time{}
	clear(n.stays)
}
