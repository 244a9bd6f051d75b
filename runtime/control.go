package runtime

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"igor.dev/internal/control"
	"igor.dev/runtime/internal/hint"
	"igor.dev/runtime/internal/store"
	"igor.dev/verifier"
)

// ErrNotRunning says that nobody runs an agent, or runs it without a control socket.
var ErrNotRunning = errors.New("the agent does not run")

// A Remote is the handle of an agent that another process runs. It has what an [Agent]
// can be asked for, by way of the socket in the agent's folder.
type Remote struct {
	dir    string
	client *http.Client
}

// Connect reaches the process that runs the agent in dir. Its error is [ErrNotRunning]
// if there is none, and [ErrNotFolder] if there is no agent.
func Connect(dir string) (*Remote, error) {
	client, err := control.Client(dir)
	if errors.Is(err, control.ErrNobody) {
		if _, err := os.Stat(filepath.Join(dir, store.DirHistory)); errors.Is(err, fs.ErrNotExist) {
			return nil, store.NotFolder(dir)
		}
		return nil, fmt.Errorf("%s: %w", dir, ErrNotRunning)
	}
	if err != nil {
		return nil, err
	}
	return &Remote{dir, client}, nil
}

// What goes over the socket.
type (
	controlRequest struct {
		Microcents int64  `json:"microcents,string,omitempty"`
		ID         string `json:"id,omitempty"`
		Happened   bool   `json:"happened,omitempty"`
		Note       string `json:"note,omitempty"`

		// Of an upgrade: the absolute paths of files.
		WASM       string `json:"wasm,omitempty"`
		Manifest   string `json:"manifest,omitempty"`
		MoreRights bool   `json:"moreRights,omitempty"`
	}
	controlReply struct {
		Status *Status     `json:"status,omitempty"`
		Head   *wireHash   `json:"head,omitempty"`
		Tick   uint64      `json:"tick,string,omitempty"`
		ID     string      `json:"id,omitempty"`
		Result *wireResult `json:"result,omitempty"`

		Upgraded   *wireUpgraded `json:"upgraded,omitempty"`
		Retirement string        `json:"retirement,omitempty"` // its bytes, in hexadecimal

		Error string `json:"error,omitempty"`
		Hint  string `json:"hint,omitempty"`
		Kind  string `json:"kind,omitempty"` // of the error, by controlKinds
	}
)

// A wireResult is a [Result] as it goes over the socket.
type wireResult struct {
	Reason      Reason   `json:"reason"`
	DID         string   `json:"did"`
	Tick        uint64   `json:"tick,string"`
	Head        wireHash `json:"head"`
	Budget      int64    `json:"budgetMicrocents,string"`
	Checkpoints int      `json:"checkpoints"`
	Hostcalls   []Usage  `json:"hostcalls"`
}

// A wireHash is a hash in hexadecimal.
type wireHash verifier.Hash

func (h wireHash) MarshalText() ([]byte, error) { return []byte(verifier.Hash(h).String()), nil }

func (h *wireHash) UnmarshalText(b []byte) error {
	if len(b) != hex.EncodedLen(len(h)) {
		return errors.New("a hash that is none")
	}
	_, err := hex.Decode(h[:], b)
	return err
}

// A wireUpgraded is an [Upgraded] as it goes over the socket.
type wireUpgraded struct {
	Tick   uint64   `json:"tick,string"`
	WASM   wireHash `json:"wasmHash"`
	Before wireHash `json:"wasmHashBefore"`
	More   []string `json:"moreRights"`
}

// controlKinds are the errors that are the same on the other side.
var controlKinds = map[string]error{
	"stopped": ErrStopped, "exhausted": ErrBudgetExhausted, "no-key": ErrNoKey, "conflict": ErrConflict, "refused": ErrRefused, kindRetired: ErrRetired,
}

const kindRetired = "retired" // which is a conflict too

// controlled are what an agent can be asked for.
var controlled = map[string]func(context.Context, *Agent, *controlRequest, *controlReply) error{
	"GET /v1/status": func(_ context.Context, a *Agent, _ *controlRequest, r *controlReply) error {
		s := a.Status()
		r.Status = &s
		return nil
	},
	"POST /v1/top-up": func(ctx context.Context, a *Agent, q *controlRequest, r *controlReply) error {
		s, err := a.TopUp(ctx, q.Microcents)
		r.Status = &s
		return err
	},
	"POST /v1/price": func(ctx context.Context, a *Agent, q *controlRequest, r *controlReply) error {
		s, err := a.SetPrice(ctx, q.Microcents)
		r.Status = &s
		return err
	},
	"POST /v1/checkpoint": func(ctx context.Context, a *Agent, _ *controlRequest, r *controlReply) error {
		head, tick, err := a.Checkpoint(ctx)
		r.Head, r.Tick = (*wireHash)(&head), tick
		return err
	},
	"POST /v1/pause": func(ctx context.Context, a *Agent, _ *controlRequest, _ *controlReply) error { return a.Pause(ctx) },
	"POST /v1/continue": func(ctx context.Context, a *Agent, _ *controlRequest, _ *controlReply) error {
		return a.Continue(ctx)
	},
	"POST /v1/stop": func(ctx context.Context, a *Agent, _ *controlRequest, r *controlReply) error {
		result, err := a.Stop(ctx)
		r.Result = &wireResult{result.Reason, result.DID, result.Tick, wireHash(result.Head), result.Budget, result.Checkpoints, result.Hostcalls}
		return err
	},
	"POST /v1/retire": func(ctx context.Context, a *Agent, _ *controlRequest, r *controlReply) error {
		last, err := a.Retire(ctx)
		if err != nil {
			return err
		}
		r.Retirement = hex.EncodeToString(last.Append(nil))
		_, err = a.Wait(ctx)
		return err
	},
	"POST /v1/upgrade": func(ctx context.Context, a *Agent, q *controlRequest, r *controlReply) error {
		u, err := ReadUpgrade(q.WASM, q.Manifest)
		if err != nil {
			return err
		}
		u.MoreRights = q.MoreRights
		done, err := a.Upgrade(ctx, u)
		r.Upgraded = &wireUpgraded{done.Tick, wireHash(done.WASM), wireHash(done.Before), done.More}
		return err
	},
	"POST /v1/effects": func(ctx context.Context, a *Agent, q *controlRequest, r *controlReply) (err error) {
		r.ID, err = a.ResolveEffect(ctx, q.ID, q.Happened, q.Note)
		return err
	},
}

// listen opens the control socket of an agent whose folder is locked, if its engine has
// its agents listen. Without one, an agent lives too.
func (a *Agent) listen(e *Engine, dir string) {
	if !e.config.Control {
		return
	}
	mux := http.NewServeMux()
	for pattern, do := range controlled {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			var q controlRequest
			var reply controlReply
			err := error(nil)
			if r.Method == http.MethodPost {
				d := json.NewDecoder(http.MaxBytesReader(w, r.Body, control.MaxRequest))
				if d.DisallowUnknownFields(); d.Decode(&q) != nil {
					err = errors.New("the request is not what docs/operating.md says")
				}
			}
			if err == nil {
				err = do(r.Context(), a, &q, &reply)
			}
			w.Header().Set("Content-Type", "application/json")
			if err != nil {
				reply.fail(err)
				w.WriteHeader(http.StatusConflict)
			}
			json.NewEncoder(w).Encode(&reply)
		})
	}
	s, err := control.Listen(dir, mux)
	if err != nil {
		a.config.Log.Warn("the agent cannot be talked to while it lives", "error", err)
		return
	}
	a.control = s
}

func (r *controlReply) fail(err error) {
	*r = controlReply{Error: err.Error()}
	if h, ok := errors.AsType[interface {
		error
		Hint() string
	}](err); ok {
		r.Hint = h.Hint()
	}
	for kind, is := range controlKinds {
		if errors.Is(err, is) && r.Kind != kindRetired {
			r.Kind = kind
		}
	}
}

func (r *Remote) ask(ctx context.Context, method, path string, q controlRequest) (reply controlReply, err error) {
	body, err := json.Marshal(q)
	if err != nil {
		return reply, err
	}
	request, err := http.NewRequestWithContext(ctx, method, "http://igor/v1/"+path, bytes.NewReader(body))
	if err != nil {
		return reply, err
	}
	answer, err := r.client.Do(request)
	if err != nil {
		if ctx.Err() != nil {
			return reply, ctx.Err()
		}
		return reply, hint.Wrap(fmt.Errorf("%s: the process that runs the agent ended before it answered: %w", r.dir, ErrStopped), "igor effects and igor ls say what there is")
	}
	defer answer.Body.Close()
	if err := json.NewDecoder(io.LimitReader(answer.Body, control.MaxReply)).Decode(&reply); err != nil {
		return reply, fmt.Errorf("%s: the process that runs the agent does not answer as this igor asks: %s", r.dir, answer.Status)
	}
	if reply.Error == "" {
		return reply, nil
	}
	err = errors.New(reply.Error)
	if is := controlKinds[reply.Kind]; is != nil {
		err = &sameError{err, is}
	}
	if reply.Hint != "" {
		err = hint.Wrap(err, "%s", reply.Hint)
	}
	return reply, err
}

// A sameError is an error in its own words that is another one.
type sameError struct {
	error
	is error
}

func (e *sameError) Unwrap() error { return e.is }

func (r *controlReply) status() Status {
	if r.Status == nil {
		return Status{}
	}
	return *r.Status
}

// Dir returns the agent's folder.
func (r *Remote) Dir() string { return r.dir }

// Status returns where the run stands.
func (r *Remote) Status(ctx context.Context) (Status, error) {
	reply, err := r.ask(ctx, http.MethodGet, "status", controlRequest{})
	return reply.status(), err
}

// TopUp is [Agent.TopUp].
func (r *Remote) TopUp(ctx context.Context, microcents int64) (Status, error) {
	reply, err := r.ask(ctx, http.MethodPost, "top-up", controlRequest{Microcents: microcents})
	return reply.status(), err
}

// SetPrice is [Agent.SetPrice].
func (r *Remote) SetPrice(ctx context.Context, microcents int64) (Status, error) {
	reply, err := r.ask(ctx, http.MethodPost, "price", controlRequest{Microcents: microcents})
	return reply.status(), err
}

// Checkpoint is [Agent.Checkpoint].
func (r *Remote) Checkpoint(ctx context.Context) (head verifier.Hash, tick uint64, err error) {
	reply, err := r.ask(ctx, http.MethodPost, "checkpoint", controlRequest{})
	if reply.Head != nil {
		head = verifier.Hash(*reply.Head)
	}
	return head, reply.Tick, err
}

// Pause is [Agent.Pause].
func (r *Remote) Pause(ctx context.Context) error {
	_, err := r.ask(ctx, http.MethodPost, "pause", controlRequest{})
	return err
}

// Continue is [Agent.Continue].
func (r *Remote) Continue(ctx context.Context) error {
	_, err := r.ask(ctx, http.MethodPost, "continue", controlRequest{})
	return err
}

// ResolveEffect is [Agent.ResolveEffect].
func (r *Remote) ResolveEffect(ctx context.Context, id string, happened bool, note string) (whole string, err error) {
	reply, err := r.ask(ctx, http.MethodPost, "effects", controlRequest{ID: id, Happened: happened, Note: note})
	return reply.ID, err
}

// Upgrade is [Agent.Upgrade] with the files of [ReadUpgrade], which the process reads
// that runs the agent: their paths have to be absolute.
func (r *Remote) Upgrade(ctx context.Context, wasm, manifest string, moreRights bool) (Upgraded, error) {
	reply, err := r.ask(ctx, http.MethodPost, "upgrade", controlRequest{WASM: wasm, Manifest: manifest, MoreRights: moreRights})
	if w := reply.Upgraded; w != nil {
		return Upgraded{w.Tick, verifier.Hash(w.WASM), verifier.Hash(w.Before), w.More}, err
	}
	return Upgraded{}, err
}

// Retire is [Agent.Retire]. The run has ended then.
func (r *Remote) Retire(ctx context.Context) (Retirement, error) {
	reply, err := r.ask(ctx, http.MethodPost, "retire", controlRequest{})
	if err != nil {
		return Retirement{}, err
	}
	b, err := hex.DecodeString(reply.Retirement)
	if err != nil {
		return Retirement{}, err
	}
	return ParseRetirement(b)
}

// Stop is [Agent.Stop].
func (r *Remote) Stop(ctx context.Context) (Result, error) {
	reply, err := r.ask(ctx, http.MethodPost, "stop", controlRequest{})
	if w := reply.Result; w != nil {
		return Result{w.Reason, w.DID, w.Tick, verifier.Hash(w.Head), w.Budget, w.Checkpoints, w.Hostcalls}, err
	}
	return Result{}, err
}

// visitLimit is how long a visit may wait for the life.
const visitLimit = 10 * time.Minute

// Visit opens the life of an agent that does not run, without a tick, has do ask it for
// something, and closes it again. It refuses one that was killed, whose recorded ticks
// are to be lived again first.
func (e *Engine) Visit(ctx context.Context, dir string, do func(context.Context, *Agent) error) (Result, error) {
	return e.visitWith(ctx, dir, Config{visit: true}, do)
}

func (e *Engine) visitWith(ctx context.Context, dir string, c Config, do func(context.Context, *Agent) error) (Result, error) {
	c.Paused = true
	a := e.Resume(ctx, dir, c)
	ctx, stop := context.WithTimeout(ctx, visitLimit)
	defer stop()
	err := do(ctx, a)
	result, ended := a.Stop(context.WithoutCancel(ctx))
	if errors.Is(err, ErrStopped) && ended != nil {
		err = nil // ended says why
	}
	return result, errors.Join(err, ended)
}
