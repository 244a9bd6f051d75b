package publish

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"igor.dev/verifier"
	"igor.dev/verifier/published"
)

// Limits bound what a fetch takes from servers, whatever they send.
type Limits struct {
	Bytes       int64         // of all that is fetched
	Checkpoints uint64        // of the life
	Singly      uint64        // checkpoints that are fetched one by one
	Redirects   int           // of one request
	Parallel    int           // requests at the same time
	Stall       time.Duration // until something comes
	Slowest     int64         // bytes a second that a request gets, after Stall
}

// DefaultLimits are those of igor fetch.
var DefaultLimits = Limits{Bytes: 4 << 30, Checkpoints: 10_000_000, Singly: 100_000, Redirects: 5, Parallel: 8, Stall: 30 * time.Second, Slowest: 512}

// A Request says what to fetch, and from where.
type Request struct {
	Address
	Limits   Limits // each that is zero is the default
	Keep     string // a folder for what was fetched, so that an interrupted fetch can go on; without it, nothing is kept
	Progress *Progress
	Beside   bool // get what lies with the life too, such as the proof that its head was logged
}

// Progress is how far a fetch is. It may be read at any time.
type Progress struct {
	bytes, checkpoints, of atomic.Int64
	singly                 atomic.Bool
}

// String says it in words.
func (p *Progress) String() string {
	s := fmt.Sprintf("fetched %d", p.checkpoints.Load())
	if of := p.of.Load(); of > 0 {
		s += fmt.Sprintf(" of %d", of)
	}
	s += fmt.Sprintf(" checkpoints, %.1f MB", float64(p.bytes.Load())/1e6)
	if p.singly.Load() {
		s += ", one by one: that is slow"
	}
	return s
}

// Fetched says what was fetched. Nothing of it is verified.
type Fetched struct {
	Agent       verifier.PublicKey
	Head        verifier.Hash // the newest checkpoint that was fetched
	Tick        uint64        // its tick
	Checkpoints uint64
	Bytes       int64             // that came
	From        string            // whose head it is
	Apart       bool              // the checkpoint that was asked for is no part of the life that ends in Head
	Slow        string            // why it was fetched one by one, "" if it was not
	Servers     []ServerHead      // all that were asked
	File        bool              // it is a file at an address, of which nothing is known
	Beside      map[string][]byte // by their names, if they were asked for
}

// A ServerHead is what one server says of where the life stands.
type ServerHead struct {
	From string
	Head *published.Head
	Err  error
}

// Fetch writes to w the life that a request names, as one CAR. What it writes before it returns
// an error is not to be used; a CAR that is cut shows that it is.
func Fetch(ctx context.Context, request *Request, w io.Writer) (*Fetched, error) {
	f := &fetch{Request: *request, out: w}
	f.fill()
	if f.File != nil {
		return f.file(ctx)
	}
	if len(f.From) == 0 {
		what := "the DID"
		if f.Agent == nil {
			what = "the CID"
		}
		return nil, problem("", "--from https://HOST names a server; nobody is asked whom you did not name", "%s says whose life, and not where it is", what)
	}
	if err := f.open(); err != nil {
		return nil, err
	}
	defer func() {
		for _, s := range f.servers {
			s.close()
		}
	}()
	dir, done, err := f.folder()
	if err != nil {
		return nil, err
	}
	defer done()
	f.dir = dir
	if err := f.find(ctx); err != nil {
		return nil, err
	}
	if err := f.lives(ctx); err != nil {
		return nil, err
	}
	if f.Request.Beside {
		if err := f.fetchBeside(ctx); err != nil {
			return nil, err
		}
	}
	f.result.Bytes = f.Progress.bytes.Load()
	return &f.result, nil
}

// A fetch is one run of Fetch.
type fetch struct {
	Request
	out     io.Writer
	dir     string
	servers []from
	agent   verifier.PublicKey
	wanted  []byte          // the checkpoint that was asked for by its CID
	main    from            // whose head it is
	head    *published.Head // nil if none has one
	result  Fetched

	last    verifier.Hash // the last checkpoint that was written
	written uint64
	sawWant bool
}

func (f *fetch) fill() {
	d, l := DefaultLimits, &f.Limits
	set := func(p *int64, v int64) {
		if *p == 0 {
			*p = v
		}
	}
	set(&l.Bytes, d.Bytes)
	set(&l.Slowest, d.Slowest)
	set((*int64)(&l.Stall), int64(d.Stall))
	if l.Checkpoints == 0 {
		l.Checkpoints = d.Checkpoints
	}
	if l.Singly == 0 {
		l.Singly = d.Singly
	}
	if l.Redirects == 0 {
		l.Redirects = d.Redirects
	}
	if l.Parallel == 0 {
		l.Parallel = d.Parallel
	}
	if f.Progress == nil {
		f.Progress = new(Progress)
	}
}

func (f *fetch) open() error {
	var bases []*url.URL
	for _, s := range f.From {
		if u, err := url.Parse(s); err == nil && u.Host != "" {
			bases = append(bases, u)
		}
	}
	c := newClient(f.Limits, bases...)
	for _, s := range f.From {
		place, err := newFrom(s, c)
		if err != nil {
			return err
		}
		f.servers = append(f.servers, place)
	}
	return nil
}

// folder returns where what was fetched is kept until it is written.
func (f *fetch) folder() (dir string, done func(), err error) {
	if f.Keep != "" {
		return f.Keep, func() {}, os.MkdirAll(f.Keep, 0o755)
	}
	dir, err = os.MkdirTemp("", "igor-fetch-*")
	return dir, func() { os.RemoveAll(dir) }, err
}

var errOverBytes = errors.New("over the limit of bytes")

// count counts what came.
func (f *fetch) count(n int) { f.Progress.bytes.Add(int64(n)) }

func (f *fetch) room() int64 { return max(f.Limits.Bytes-f.Progress.bytes.Load(), 0) }

// file fetches a history in one file.
func (f *fetch) file(ctx context.Context) (*Fetched, error) {
	c := newClient(f.Limits, f.File)
	defer c.http.CloseIdleConnections()
	where := f.File.Redacted()
	var size int64
	err := again(ctx, func() (more bool, err error) {
		a, err := c.get(ctx, f.File, "", size, f.Limits.Bytes)
		if err != nil {
			return false, err
		}
		defer a.Close()
		if a.offset != size {
			return false, errors.Join(errTooLarge, errors.New("it cannot go on where it broke off"))
		}
		n, err := io.Copy(f.out, &counting{a, f.count})
		size += n
		if err == nil && a.size >= 0 && size < a.size {
			err = io.ErrUnexpectedEOF
		}
		return n > 0, err
	})
	if err != nil {
		return nil, f.failed(where, err)
	}
	return &Fetched{Bytes: size, From: where, File: true}, nil
}

// failed says in words why something did not come.
func (f *fetch) failed(where string, err error) error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	next := ""
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return &Error{where, "it took too long", "--timeout gives it more time", err}
	case errors.Is(err, errTooLarge), errors.Is(err, errOverBytes):
		next = "if you trust it with so much, --max-bytes allows more"
	case errors.Is(err, errPrivate), errors.Is(err, errRedirects), errors.Is(err, errScheme):
		next = "give the address where it really is, if you want that one asked"
	case errors.Is(err, errCompressed):
		next = "its operator has to turn compression off for these files"
	case isMissing(err) && f.File != nil:
		next = "check the address. If it is that of a server, name the life too: igor verify DID --from " + where
	case isMissing(err):
		next = "check the address, and the DID or CID"
	default:
		next = "check the address, and try again later"
	}
	return &Error{where, plainly(err), next, err}
}

func plainly(err error) string {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return "the connection broke"
	}
	return err.Error()
}

// find finds out whose life it is, and who knows most of it.
func (f *fetch) find(ctx context.Context) error {
	if f.Checkpoint != nil {
		if err := f.findCheckpoint(ctx); err != nil {
			return err
		}
	} else {
		f.agent = *f.Agent
	}
	f.result.Agent = f.agent
	f.result.Servers = make([]ServerHead, len(f.servers))
	var wg sync.WaitGroup
	for i, s := range f.servers {
		wg.Go(func() {
			said := &f.result.Servers[i]
			said.From = s.String()
			said.Head, said.Err = f.headOf(ctx, s)
		})
	}
	wg.Wait()
	if err := ctx.Err(); err != nil {
		return f.failed("", err)
	}
	f.choose()
	if f.head != nil {
		return nil
	}
	if f.wanted != nil {
		return nil // it can be followed back all the same
	}
	first := f.result.Servers[0]
	if isMissing(first.Err) {
		return &Error{first.From, "it has no life of " + f.agent.DID(), "check the address and the DID; a life is at SERVER/igor/DID/head", first.Err}
	}
	return f.failed(first.From, first.Err)
}

// choose chooses the server that says that the life went furthest.
func (f *fetch) choose() {
	f.head, f.main = nil, nil
	for i, said := range f.result.Servers {
		if said.Head != nil && (f.head == nil || said.Head.Tick > f.head.Tick) {
			f.head, f.main = said.Head, f.servers[i]
		}
	}
	if f.head != nil {
		f.result.From = f.main.String()
		f.Progress.of.Store(int64(f.head.Checkpoints))
	}
}

func (f *fetch) headOf(ctx context.Context, s from) (*published.Head, error) {
	b, err := small(ctx, s, published.HeadKey(f.agent), published.MaxHead)
	f.count(len(b))
	if err != nil {
		return nil, err
	}
	h, err := published.ParseHead(b)
	if err != nil {
		return nil, problem(s.String(), "check the address: it may be a website that answers everything with a page", "%v", err)
	}
	if h.Agent != f.agent {
		return nil, problem(s.String(), "its operator has to mend that", "it gives the head of another agent, %s", h.Agent.DID())
	}
	if h.Checkpoints > f.Limits.Checkpoints {
		return nil, problem(s.String(), "if you trust it with so many, --max-checkpoints allows more", "it says that the life has %d checkpoints, over the limit of %d", h.Checkpoints, f.Limits.Checkpoints)
	}
	return h, nil
}

// findCheckpoint gets the checkpoint that was asked for, which says whose it is.
func (f *fetch) findCheckpoint(ctx context.Context) error {
	b, err := f.block(ctx, *f.Checkpoint)
	if err != nil {
		return err
	}
	c, err := verifier.Parse(b)
	if err != nil || c.Version != verifier.Version4 {
		return problem(f.Checkpoint.CID(), "check the CID", "what has this CID is no checkpoint of version 0x04")
	}
	if f.Agent != nil && *f.Agent != c.AgentPubKey {
		return problem(f.Checkpoint.CID(), "check the DID and the CID", "it is a checkpoint of %s, and not of %s", c.AgentPubKey.DID(), f.Agent.DID())
	}
	f.agent, f.wanted = c.AgentPubKey, b
	return nil
}

// block gets one checkpoint from whoever has it.
func (f *fetch) block(ctx context.Context, h verifier.Hash) ([]byte, error) {
	var first error
	for _, s := range f.servers {
		room := min(verifier.MaxCheckpointSize, f.room())
		if room == 0 {
			return nil, f.failed(s.String(), errOverBytes)
		}
		b, err := small(ctx, s, published.BlockKey(h), room)
		f.count(len(b))
		if err == nil && sha256.Sum256(b) != h {
			err = errors.New("what it gives for " + h.CID() + " is not what has this CID")
		}
		if err == nil {
			return b, nil
		}
		if first == nil {
			first = f.failed(s.String(), err)
			if isMissing(err) {
				first = &Error{s.String(), "it has not the checkpoint " + h.CID(), "try another server (--from), or fetch the life by its DID", err}
			}
		}
	}
	return nil, first
}

// lives writes the life as the server says that went furthest, and where that does not come,
// as the next one says: a server must not keep others from being heard by what it claims.
func (f *fetch) lives(ctx context.Context) error {
	target := &restarting{w: f.out}
	for {
		f.out = target
		err := f.life(ctx)
		if err == nil || isOutput(err) || ctx.Err() != nil || f.main == nil || errors.Is(err, errOverBytes) {
			return err
		}
		for i := range f.result.Servers {
			if said := &f.result.Servers[i]; f.servers[i] == f.main {
				said.Head, said.Err = nil, err
			}
		}
		main := f.main
		f.choose()
		if f.head == nil && isMissing(err) && sealed(ctx, main, f.agent) {
			return &Error{main.String(), "this archive is encrypted: nobody can verify it without its age identity", "with it: igor archive verify DID --from " + main.String() + " --identity FILE", err}
		}
		if f.head == nil || !target.restart() {
			return err
		}
		f.last, f.written, f.sawWant, f.result.Slow, f.result.Apart = verifier.Hash{}, 0, false, "", false
		f.Progress.checkpoints.Store(0)
	}
}

// sealed reports whether a place has the life's segments encrypted (docs/spec/archive.md).
func sealed(ctx context.Context, place from, agent verifier.PublicKey) bool {
	a, err := place.open(ctx, published.SegmentKey(agent, 0)+".age", 0, published.MaxSegment)
	if err != nil {
		return false
	}
	a.Close()
	return true
}

// A restarting writer can begin anew while nothing was written, or where that can be taken back.
type restarting struct {
	w io.Writer
	n int64
}

func (r *restarting) Write(b []byte) (int, error) {
	n, err := r.w.Write(b)
	r.n += int64(n)
	return n, err
}

func (r *restarting) restart() bool {
	if r.n == 0 {
		return true
	}
	f, ok := r.w.(*os.File)
	if !ok || f.Truncate(0) != nil {
		return false
	}
	_, err := f.Seek(0, io.SeekStart)
	r.n = 0
	return err == nil
}

// life writes the life.
func (f *fetch) life(ctx context.Context) error {
	out := bufio.NewWriterSize(f.out, 256<<10)
	f.out = out
	root, tick := verifier.Hash{}, uint64(0)
	if f.head != nil {
		root, tick = f.head.Checkpoint, f.head.Tick
	}
	if f.wanted != nil {
		if c, _ := verifier.Parse(f.wanted); f.head == nil || c.TickNumber > f.head.Tick {
			root, tick = *f.Checkpoint, c.TickNumber
		}
	}
	if _, err := out.Write(verifier.AppendCARHeader(nil, root)); err != nil {
		return err
	}
	f.result.Head, f.result.Tick = root, tick
	var why error
	if f.head == nil {
		why = errors.New("no server has a head of this life")
	} else if why = f.segments(ctx); why == nil && f.last != root {
		why = errors.New("the checkpoint that was asked for is newer than the head of " + f.main.String())
	}
	if output, ok := errors.AsType[*outputError](why); ok {
		return output.error
	}
	if err := ctx.Err(); err != nil {
		return f.failed("", err)
	}
	if why != nil {
		f.result.Slow = plainly(why)
		if err := f.singly(ctx, root); err != nil {
			return err
		}
	}
	if f.wanted != nil && !f.sawWant {
		// It is no part of the life that the head names: then it says that there is another one.
		f.result.Apart = true
		if err := f.write(*f.Checkpoint, f.wanted); err != nil {
			return err
		}
	}
	f.result.Checkpoints = f.written
	return out.Flush()
}

// An outputError is one of writing, not of fetching.
type outputError struct{ error }

func (e *outputError) Unwrap() error { return e.error }

func isOutput(err error) bool {
	_, ok := errors.AsType[*outputError](err)
	return ok
}

// write writes a checkpoint, which follows the last one.
func (f *fetch) write(h verifier.Hash, b []byte) error {
	start := verifier.AppendCARBlockStart(make([]byte, 0, 64), h, len(b))
	if _, err := f.out.Write(start); err != nil {
		return &outputError{err}
	}
	if _, err := f.out.Write(b); err != nil {
		return &outputError{err}
	}
	f.last = h
	f.written++
	f.sawWant = f.sawWant || f.Checkpoint != nil && h == *f.Checkpoint
	f.Progress.checkpoints.Add(1)
	return nil
}

// name is what a segment's file is called in the folder. A folder may be used again: so the
// name is that of what the server has under it, for ever.
func segmentName(n uint64) string { return "segment-" + strconv.FormatUint(n, 10) + ".car" }

// segments writes what segments and tail have, in order, while later ones come.
func (f *fetch) segments(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	keys, names := f.files()
	n := len(names)
	ready := make([]chan error, n)
	ahead := make(chan struct{}, 2*f.Limits.Parallel) // so much waits to be written, at most
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	at := make(chan int)
	for i := range ready {
		ready[i] = make(chan error, 1)
	}
	wg.Go(func() {
		defer close(at)
		for i := range n {
			select {
			case ahead <- struct{}{}:
			case <-ctx.Done():
				return
			}
			select {
			case at <- i:
			case <-ctx.Done():
				return
			}
		}
	})
	for range min(f.Limits.Parallel, n) {
		wg.Go(func() {
			for i := range at {
				ready[i] <- f.get(ctx, keys(i), names[i])
			}
		})
	}
	for i := range n {
		var err error
		select {
		case err = <-ready[i]:
		case <-ctx.Done():
			err = ctx.Err()
		}
		if err == nil {
			if err = f.segment(names[i]); err != nil && f.Keep != "" && !isOutput(err) && ctx.Err() == nil {
				// What an earlier fetch left may be of another cut, or another life.
				if err = f.get(ctx, keys(i), names[i]); err == nil {
					err = f.segment(names[i])
				}
			}
		}
		if err != nil {
			if isOutput(err) || ctx.Err() != nil {
				return err
			}
			return fmt.Errorf("%s of %s: %w", keys(i), f.main, err)
		}
		if f.Keep == "" {
			os.Remove(names[i])
		}
		<-ahead
	}
	switch {
	case f.last != f.head.Checkpoint:
		return fmt.Errorf("the segments of %s do not end in its head", f.main)
	case f.written != f.head.Checkpoints:
		return problem(f.main.String(), "", "its head says that the life has %d checkpoints, and it has %d", f.head.Checkpoints, f.written)
	}
	return nil
}

// files returns the keys of the segments and the tail, and where each goes.
func (f *fetch) files() (key func(int) string, names []string) {
	for i := range f.head.Segments {
		names = append(names, filepath.Join(f.dir, segmentName(i)))
	}
	if f.head.Tail > 0 {
		names = append(names, filepath.Join(f.dir, "tail-"+f.head.Checkpoint.CID()+".car"))
	}
	return func(i int) string {
		if uint64(i) < f.head.Segments {
			return published.SegmentKey(f.agent, uint64(i))
		}
		return published.TailKey(f.agent, f.head.Checkpoint)
	}, names
}

func (f *fetch) get(ctx context.Context, key, name string) error {
	room := min(published.MaxSegment, f.room())
	if room == 0 {
		return errOverBytes
	}
	return download(ctx, f.main, key, name, room, f.count)
}

// segment writes the checkpoints of a segment that came. If it is not the next one, nothing
// is written.
func (f *fetch) segment(name string) (err error) {
	defer func() {
		if err != nil && !isOutput(err) {
			os.Remove(name) // it is not to be taken for the right one by who goes on
		}
	}()
	b, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	all, err := chain(b, f.agent)
	if err != nil {
		return err
	}
	if all[0].prev != f.last {
		return errors.New("it does not go on where the one before it ends")
	}
	if f.written+uint64(len(all)) > f.head.Checkpoints {
		return errors.New("it has more checkpoints than the head says")
	}
	for _, c := range all {
		if err := f.write(c.hash, c.bytes); err != nil {
			return err
		}
	}
	return nil
}

type link struct {
	hash, prev verifier.Hash
	bytes      []byte
}

// chain takes a segment apart: checkpoints of an agent, each of which has its CID and
// follows the one before it, and of which the last is the root. It judges no signature.
func chain(b []byte, agent verifier.PublicKey) (all []link, err error) {
	if verifier.KindOfBytes(b[:min(len(b), verifier.KindStart)]) != verifier.KindCAR {
		return nil, errors.New("it is no CAR")
	}
	var car verifier.CARReader
	car.Feed(b)
	for {
		block, ok, err := car.Next()
		if err != nil {
			return nil, err
		}
		if !ok {
			break
		}
		c, err := verifier.Parse(block.Data)
		switch {
		case sha256.Sum256(block.Data) != block.UnverifiedCID:
			return nil, fmt.Errorf("its block %d has not the CID that it is filed under", block.Index)
		case err != nil || c.Version != verifier.Version4:
			return nil, fmt.Errorf("its block %d is no checkpoint of version 0x04", block.Index)
		case c.AgentPubKey != agent:
			return nil, fmt.Errorf("its block %d is another agent’s checkpoint", block.Index)
		case len(all) > 0 && c.PrevHash != all[len(all)-1].hash:
			return nil, fmt.Errorf("its block %d does not follow the one before it", block.Index)
		}
		all = append(all, link{block.UnverifiedCID, c.PrevHash, block.Data})
	}
	if len(all) == 0 {
		return nil, errors.New("it has no checkpoint")
	}
	last := all[len(all)-1]
	found := verifier.Examine(last.bytes)
	if err := car.Check(len(all)-1, last.hash, &found); err != nil {
		return nil, err
	}
	if err := car.Close(); err != nil {
		return nil, err
	}
	if car.Root() != last.hash {
		return nil, errors.New("its root is not its last checkpoint")
	}
	return all, nil
}

// singly writes what lies between the last checkpoint that was written and root. Where a
// checkpoint is in no segment that came, it is fetched by itself: those that the index names,
// several at once, and the others one after the other, back from root.
func (f *fetch) singly(ctx context.Context, root verifier.Hash) error {
	store, err := f.newStore()
	if err != nil {
		return err
	}
	defer store.close()
	if f.wanted != nil {
		if err := store.put(*f.Checkpoint, f.wanted); err != nil {
			return err
		}
	}
	f.Progress.checkpoints.Store(int64(f.written))
	if f.head != nil {
		f.otherSegments(ctx, store)
	}
	indexed := f.head == nil
	var path []verifier.Hash
	asked := uint64(0)
	for h := root; h != f.last; {
		b, err := store.get(h)
		if err != nil {
			return err
		}
		if b == nil && !indexed {
			indexed = true
			f.Progress.singly.Store(true)
			if err := f.indexed(ctx, store); err != nil {
				return err
			}
			continue
		}
		if b == nil {
			f.Progress.singly.Store(true)
			if asked++; asked > f.Limits.Singly {
				return problem(f.servers[0].String(), "ask its operator for the segments of this life", "over %d checkpoints would have to be fetched one after the other", f.Limits.Singly)
			}
			if b, err = f.block(ctx, h); err != nil {
				if ctx.Err() != nil {
					return f.failed("", ctx.Err())
				}
				return err
			}
			if err := store.put(h, b); err != nil {
				return err
			}
			f.Progress.checkpoints.Add(1)
		}
		c, err := verifier.Parse(b)
		if err != nil || c.Version != verifier.Version4 || c.AgentPubKey != f.agent {
			return problem(h.CID(), "the chain that the head names is not this agent’s life: do not rely on the server", "it is no checkpoint of %s", f.agent.DID())
		}
		path = append(path, h)
		if uint64(len(path))+f.written > f.Limits.Checkpoints {
			return problem(f.servers[0].String(), "if you trust it with so many, --max-checkpoints allows more", "the life has over %d checkpoints", f.Limits.Checkpoints)
		}
		if c.PrevHash.IsZero() && !f.last.IsZero() {
			return problem(f.main.String(), "do not rely on this server: fetch from another one", "its segments and its head are two histories")
		}
		h = c.PrevHash
	}
	for _, h := range slices.Backward(path) {
		b, err := store.get(h)
		if err != nil {
			return err
		}
		if err := f.write(h, b); err != nil {
			return err
		}
	}
	f.Progress.checkpoints.Store(int64(f.written))
	return nil
}

// otherSegments gets the segments that come, wherever they belong.
func (f *fetch) otherSegments(ctx context.Context, store *store) {
	key, names := f.files()
	limit := make(chan struct{}, f.Limits.Parallel)
	var wg sync.WaitGroup
	var mu sync.Mutex
	failures := 0
	for i := range names {
		mu.Lock()
		stop := failures >= maxFailures || ctx.Err() != nil
		mu.Unlock()
		if stop {
			break
		}
		limit <- struct{}{}
		wg.Go(func() {
			defer func() { <-limit }()
			err := f.get(ctx, key(i), names[i])
			var b []byte
			if err == nil {
				b, err = os.ReadFile(names[i])
			}
			var all []link
			if err == nil {
				if all, err = chain(b, f.agent); err != nil {
					os.Remove(names[i])
				}
			}
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failures++
			}
			for _, c := range all {
				store.put(c.hash, c.bytes)
			}
		})
	}
	wg.Wait()
}

// indexed gets what the index names and no segment had. An index that is wrong costs some
// requests and no more.
func (f *fetch) indexed(ctx context.Context, store *store) error {
	hashes, err := f.index(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return f.failed("", ctx.Err())
		}
		f.result.Slow += "; and the index cannot be used: " + plainly(err)
		return nil
	}
	var mu sync.Mutex
	var failures, asked int
	limit := make(chan struct{}, f.Limits.Parallel)
	var wg sync.WaitGroup
	for _, h := range slices.Backward(hashes) {
		if h == f.last {
			break // what comes before was written
		}
		mu.Lock()
		known, stop := store.has(h), failures >= maxFailures || uint64(asked) >= f.Limits.Singly || ctx.Err() != nil
		mu.Unlock()
		if stop {
			break
		}
		if known {
			continue
		}
		asked++
		limit <- struct{}{}
		wg.Go(func() {
			defer func() { <-limit }()
			b, err := f.block(ctx, h)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				err = store.put(h, b)
			}
			if err != nil {
				failures++
				return
			}
			f.Progress.checkpoints.Add(1)
		})
	}
	wg.Wait()
	if failures > 0 {
		f.result.Slow += fmt.Sprintf("; and the index names %d checkpoints that are not there", failures)
	}
	return ctx.Err()
}

// maxFailures is how many segments, or hashes of an index, may lead nowhere, until the others
// are left alone.
const maxFailures = 16

func (f *fetch) index(ctx context.Context) ([]verifier.Hash, error) {
	size := int64(f.head.Checkpoints) * int64(published.HashSize)
	begin := int64(f.written) * int64(published.HashSize)
	if size-begin > f.room() {
		return nil, errOverBytes
	}
	var b bytes.Buffer
	err := again(ctx, func() (bool, error) {
		offset := begin + int64(b.Len())
		// It may be longer, for the life goes on: what is more is not read.
		a, err := f.main.open(ctx, published.IndexKey(f.agent), offset, verifier.MaxCheckpoints*int64(published.HashSize))
		if err != nil {
			return false, err
		}
		defer a.Close()
		if _, err := io.CopyN(io.Discard, a, offset-a.offset); err != nil {
			return false, err
		}
		n, err := io.Copy(&b, io.LimitReader(&counting{a, f.count}, size-offset))
		if err == nil && int64(b.Len()) < size-begin {
			err = io.ErrUnexpectedEOF
		}
		return n > 0, err
	})
	if err != nil {
		return nil, err
	}
	return published.ParseIndex(b.Bytes())
}
