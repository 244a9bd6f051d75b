// Package api is how another process talks to a node that runs on this machine: HTTP over
// the Unix socket `control` in the node's folder, which only its owner may use.
package api

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"

	"igor.dev/internal/control"
)

// A Status is how a node is.
type Status struct {
	Node      string   `json:"node"` // DID
	Addresses []string `json:"addresses"`
	Agents    int      `json:"agents"`
	Moving    int      `json:"moving"` // from here
	Taking    int      `json:"taking"` // to here
	Peers     int      `json:"peers"`
	Pays      bool     `json:"pays"`                    // what agents buy
	Draining  string   `json:"drainingUntil,omitempty"` // RFC 3339
	Fleet     *Fleet   `json:"fleet,omitempty"`
}

// A Fleet is the one in which a node takes part.
type Fleet struct {
	Name    string        `json:"name"`
	Version uint64        `json:"version,string"`
	Home    string        `json:"home"`
	Reached bool          `json:"reached"`                        // a member was, within the lease: agents whose home it is may live here
	Member  string        `json:"member,omitempty"`               // where this node is reached as a member, if it is one
	Newest  uint64        `json:"newestVersion,string,omitempty"` // of the description, as the fleet knows it
	Leader  string        `json:"leader,omitempty"`
	Members []FleetMember `json:"members,omitempty"` // as this node knows them, if it is a member
	Error   string        `json:"error,omitempty"`
}

// A FleetMember is one of a fleet's members.
type FleetMember struct {
	DID  string `json:"did"`
	Came bool   `json:"came"` // it was there, once
}

// A Peer is a node that is known.
type Peer struct {
	Node      string   `json:"node"`
	Addresses []string `json:"addresses"`
	Offer     *Offer   `json:"offer,omitempty"`
	Successes int      `json:"successes"`
	Failures  int      `json:"failures"`
	LatencyMS float64  `json:"latencyMs,omitempty"`
	Seen      string   `json:"seen,omitempty"` // RFC 3339
	Failure   string   `json:"failure,omitempty"`
	Version   string   `json:"version,omitempty"` // as it says itself, since this node runs
}

// An Offer is what a node says of itself.
type Offer struct {
	Node         string         `json:"node"`
	Price        int64          `json:"priceMicrocents,string"`
	StoredPrice  int64          `json:"storedPriceMicrocents,string"`
	Expires      string         `json:"expires"`
	FreeAgents   uint32         `json:"freeAgents"`
	FreeMemory   uint64         `json:"freeMemory,string"`
	Draining     bool           `json:"draining"`
	Regions      []string       `json:"regions"`
	Capabilities map[string]int `json:"capabilities"`
	Signed       []byte         `json:"signed"`
}

// An Agent is one of the node's.
type Agent struct {
	Name   string `json:"name"`
	DID    string `json:"did"`
	State  string `json:"state"` // alive, waiting, ended, failed, moved, coming
	Tick   uint64 `json:"tick,string"`
	Budget int64  `json:"budgetMicrocents,string"`
	Moves  uint64 `json:"moves"`
	To     string `json:"to,omitempty"`   // of one that moved
	From   string `json:"from,omitempty"` // of one that comes
	Error  string `json:"error,omitempty"`
}

// A KeyHolder is a node that had an agent's key, as far as it is known: GET /v1/keys?agent=NAME.
type KeyHolder struct {
	Node     string `json:"node"`
	HandOver uint64 `json:"handOver,omitempty"` // by which the agent left it last
	Owner    bool   `json:"owner,omitempty"`    // it has the agent
	Sealed   bool   `json:"sealed,omitempty"`   // the key is sealed to it, as the manifest allows
	Deleted  string `json:"deleted,omitempty"`  // when it said that it has the key no more
	Signed   []byte `json:"signed,omitempty"`   // that: docs/spec/key-deletion.md
}

// A Migrate asks for a move.
type Migrate struct {
	Agent      string   `json:"agent"` // the folder's name, a path, or a DID
	To         []string `json:"to"`    // DIDs, the best first; none = whom its manifest allows
	Retries    int      `json:"retries"`
	RetryDelay string   `json:"retryDelay"` // such as 5s; "" = the node's
}

// An Event is how a move goes, a line of the answer. The last one has Done or Error.
type Event struct {
	To     string `json:"to,omitempty"`
	State  string `json:"state,omitempty"`
	Reason string `json:"reason,omitempty"`
	Detail string `json:"detail,omitempty"`
	Done   *Moved `json:"done,omitempty"`
	Error  string `json:"error,omitempty"`
}

// A Moved is an agent that was handed over.
type Moved struct {
	Agent   string  `json:"agent"`
	To      string  `json:"to"`
	Number  uint64  `json:"number"`
	Head    string  `json:"head"`
	Arrived bool    `json:"arrived"`
	StoodMS float64 `json:"stoodMs"`
}

// An Add asks for an agent's folder to be moved into the node.
type Add struct {
	Folder string `json:"folder"`
	Fleet  bool   `json:"fleet,omitempty"` // has its home be the node's fleet
}

// A Drain asks for the agents to be moved away.
type Drain struct {
	Within string `json:"within"` // such as 10m
	End    bool   `json:"end"`    // go on as before
}

// A PeerChange makes a peer known, or forgotten.
type PeerChange struct {
	Peer   string `json:"peer"` // a DID, and addresses behind it
	Remove bool   `json:"remove"`
}

// MaxRequest is how many bytes a request may have.
const MaxRequest = 64 << 10

// An Error is what a node answered.
type Error struct {
	Message string `json:"error"`
	Hint    string `json:"hint,omitempty"`
	Reason  string `json:"reason,omitempty"`

	missing bool // what was named is not there
}

// Missing reports whether a node answered that what was named is not there.
func Missing(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.missing
}

func (e *Error) Error() string { return e.Message }

// NextStep says what to do.
func (e *Error) NextStep() string { return e.Hint }

// ErrNotRunning says that no node runs in a folder.
var ErrNotRunning = errors.New("no node runs there")

// DefaultDir is the folder of the user's node.
func DefaultDir() (string, error) {
	if dir := os.Getenv("IGOR_NODE"); dir != "" {
		return dir, nil
	}
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", fmt.Errorf("the user has no configuration folder: %w", err)
	}
	return filepath.Join(dir, "igor", "node"), nil
}

// DirOf returns the folder of the node at which the agent in a folder lives, "" if that is
// no node's.
func DirOf(agent string) string {
	abs, err := filepath.Abs(agent)
	if err != nil {
		return ""
	}
	dir := filepath.Dir(filepath.Dir(abs))
	if filepath.Base(filepath.Dir(abs)) != "agents" {
		return ""
	}
	if _, err := os.Stat(filepath.Join(dir, "incoming")); err != nil {
		return ""
	}
	return dir
}

// A Client talks to a node.
type Client struct{ http *http.Client }

// Dial reaches the node in a folder.
func Dial(dir string) (*Client, error) {
	c, err := control.Client(dir)
	if errors.Is(err, control.ErrNobody) {
		err = fmt.Errorf("%w: %s", ErrNotRunning, dir)
	}
	return &Client{c}, err
}

const maxReply = 64 << 20

// Get asks for something.
func (c *Client) Get(ctx context.Context, path string, reply any) error {
	return c.do(ctx, http.MethodGet, path, nil, reply)
}

// Post asks for something to be done.
func (c *Client) Post(ctx context.Context, path string, request, reply any) error {
	return c.do(ctx, http.MethodPost, path, request, reply)
}

func (c *Client) send(ctx context.Context, method, path string, request any) (*http.Response, error) {
	var body io.Reader
	if request != nil {
		b, err := json.Marshal(request)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(b)
	}
	q, err := http.NewRequestWithContext(ctx, method, "http://node"+path, body)
	if err != nil {
		return nil, err
	}
	r, err := c.http.Do(q)
	if err != nil {
		return nil, err
	}
	if r.StatusCode != http.StatusOK {
		defer r.Body.Close()
		e := &Error{}
		if err := json.NewDecoder(io.LimitReader(r.Body, maxReply)).Decode(e); err != nil || e.Message == "" {
			return nil, fmt.Errorf("the node answers %s", r.Status)
		}
		e.missing = r.StatusCode == http.StatusNotFound
		return nil, e
	}
	return r, nil
}

func (c *Client) do(ctx context.Context, method, path string, request, reply any) error {
	r, err := c.send(ctx, method, path, request)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	if reply == nil {
		return nil
	}
	return json.NewDecoder(io.LimitReader(r.Body, maxReply)).Decode(reply)
}

// Migrate moves an agent, and tells how it goes.
func (c *Client) Migrate(ctx context.Context, m Migrate, tell func(Event)) (*Moved, error) {
	return c.follow(ctx, "/v1/migrate", m, tell)
}

func (c *Client) follow(ctx context.Context, path string, request any, tell func(Event)) (*Moved, error) {
	r, err := c.send(ctx, http.MethodPost, path, request)
	if err != nil {
		return nil, err
	}
	defer r.Body.Close()
	for lines := bufio.NewScanner(r.Body); lines.Scan(); {
		var e Event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return nil, err
		}
		switch {
		case e.Done != nil:
			return e.Done, nil
		case e.Error != "":
			return nil, &Error{Message: e.Error, Reason: e.Reason}
		}
		if tell != nil {
			tell(e)
		}
	}
	return nil, errors.New("the node ended before the move did; igor node agents says where the agent is")
}
