// Package arweave is an archive in Arweave: objects are data items of ANS-104, which a
// bundler takes by HTTP and puts into the chain, and which gateways show.
//
// A bundler says at once that it took an item, then that it is CONFIRMED, and after
// eighteen blocks that it is FINALIZED. Until then it may lose it. An object is found by
// its tags, which anybody can give to anything, so what is found is held against hashes;
// items of keys that the agent bound come first.
package arweave

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"igor.dev/archive"
	"igor.dev/archive/arweave/ans104"
	"igor.dev/archive/web"
	"igor.dev/segment"
	"igor.dev/verifier"
)

// The tags of an item.
const (
	AppName = "Igor"

	tagApp   = "App-Name"
	tagDID   = "DID"
	tagName  = "Name" // the key, below the agent's folder
	tagKind  = "Kind"
	tagHead  = "Head"
	tagFirst = "First-Tick"
	tagLast  = "Last-Tick"
	tagType  = "Content-Type"

	kindBinding = "archive-key"
)

// Limits of what is asked.
const (
	maxAnswer   = 1 << 20 // bytes of an answer that is no object
	page        = 100     // items
	maxPages    = 200
	maxBindings = 64
	maxGateways = 8
)

// A Config says where items go and come from.
type Config struct {
	Bundler  string   // URL of its HTTP API, with its version, such as https://upload.example/v1
	Gateways []string // URLs to read from; none = the one that the bundler names
	Price    string   // URL of the service that says what bytes cost, "" = nobody does
	Most     int64    // that one object may cost, in winston; 0 = no limit

	// Key signs what is put; nil = nothing can be.
	Key ed25519.PrivateKey

	// LostAfter is how long a bundler may not know an item that it took; 0 = 10 minutes.
	LostAfter time.Duration

	Transport http.RoundTripper
}

// ParseURL reads arweave+https://BUNDLER?gateway=URL&gateway=URL&price=URL&most=WINSTON.
func ParseURL(s string) (c Config, err error) {
	rest, ok := strings.CutPrefix(s, "arweave+")
	if !ok {
		return c, errors.New("want arweave+https://BUNDLER/v1?gateway=URL")
	}
	base, query, _ := strings.Cut(rest, "?")
	if c.Bundler, err = cleanURL(base); err != nil {
		return c, fmt.Errorf("the bundler: %w", err)
	}
	values, err := url.ParseQuery(query)
	if err != nil {
		return c, err
	}
	for name, all := range values {
		if name != "gateway" && len(all) != 1 {
			return c, fmt.Errorf("%s is given more than once", name)
		}
		switch name {
		case "gateway":
			if len(all) > maxGateways {
				return c, fmt.Errorf("%d gateways: want at most %d", len(all), maxGateways)
			}
			for _, g := range all {
				if g, err = cleanURL(g); err != nil {
					return c, fmt.Errorf("a gateway: %w", err)
				}
				c.Gateways = append(c.Gateways, g)
			}
		case "price":
			if c.Price, err = cleanURL(all[0]); err != nil {
				return c, fmt.Errorf("the price: %w", err)
			}
		case "most":
			if c.Most, err = strconv.ParseInt(all[0], 10, 64); err != nil || c.Most <= 0 {
				return c, fmt.Errorf("most=%s: want a number of winston", all[0])
			}
		default:
			return c, fmt.Errorf("an Arweave target has no %q: want gateway, price or most", name)
		}
	}
	return c, nil
}

func cleanURL(s string) (string, error) {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return "", fmt.Errorf("%q is no address such as https://arweave.example", s)
	}
	return u.Scheme + strings.TrimRight(s, "/")[len(u.Scheme):], nil // in small letters
}

// A Target keeps objects in data items.
type Target struct {
	config Config
	client *web.Client

	mu      sync.Mutex
	info    *info
	unknown map[string]time.Time     // since when the bundler does not know an item
	bound   map[string][]ans104Owner // of an agent's DID: who archives it
}

// An ans104Owner is a key, as queries name it.
type ans104Owner string

// Open makes a target of a config. It asks nobody yet.
func Open(c Config) (*Target, error) {
	if c.LostAfter == 0 {
		c.LostAfter = 10 * time.Minute
	}
	return &Target{config: c, client: web.NewClient(c.Transport), unknown: map[string]time.Time{}, bound: map[string][]ans104Owner{}}, nil
}

// Name implements [archive.Target].
func (t *Target) Name() string { return "arweave+" + t.config.Bundler }

// Address implements [archive.Addressed].
func (t *Target) Address() string {
	values := url.Values{"gateway": t.config.Gateways}
	if t.config.Price != "" {
		values.Set("price", t.config.Price)
	}
	if t.config.Most > 0 {
		values.Set("most", strconv.FormatInt(t.config.Most, 10))
	}
	if query := values.Encode(); query != "" {
		return t.Name() + "?" + query
	}
	return t.Name()
}

// An info is what a bundler says of itself.
type info struct {
	Gateway string `json:"gateway"`
	Free    int64  `json:"freeUploadLimitBytes"`
}

func (t *Target) ask(ctx context.Context, address string, into any) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	return t.answer(r, into)
}

func (t *Target) answer(r *http.Request, into any) error {
	b, _, err := t.client.Do(r, maxAnswer+1)
	if err != nil {
		return err
	}
	if len(b) > maxAnswer {
		return fmt.Errorf("the server answered with more than %d bytes", maxAnswer)
	}
	if err := json.Unmarshal(b, into); err != nil {
		return fmt.Errorf("the server's answer cannot be read: %w", err)
	}
	return nil
}

// about returns what the bundler says of itself. It is asked once, and again until it
// answers.
func (t *Target) about(ctx context.Context) (info, error) {
	t.mu.Lock()
	known := t.info
	t.mu.Unlock()
	if known != nil {
		return *known, nil
	}
	var i info
	if err := t.ask(ctx, t.config.Bundler+"/info", &i); err != nil {
		return i, fmt.Errorf("the bundler's /info: %w", err)
	}
	if i.Gateway != "" {
		if !strings.Contains(i.Gateway, "://") {
			i.Gateway = "https://" + i.Gateway
		}
		gateway, err := cleanURL(i.Gateway)
		if err != nil {
			return i, fmt.Errorf("the bundler's /info: the gateway: %w", err)
		}
		i.Gateway = gateway
	}
	t.mu.Lock()
	t.info = &i
	t.mu.Unlock()
	return i, nil
}

// gateways returns where to read, other gateways than the bundler's before that; only
// where there is no other, that one.
func (t *Target) gateways(ctx context.Context) ([]string, error) {
	if len(t.config.Gateways) > 0 {
		all := slices.Clone(t.config.Gateways)
		if i, err := t.about(ctx); err == nil && i.Gateway != "" && len(all) > 1 {
			all = slices.DeleteFunc(all, func(g string) bool { return g == i.Gateway })
		}
		return all, nil
	}
	i, err := t.about(ctx)
	if err != nil {
		return nil, err
	}
	if i.Gateway == "" {
		return nil, &archive.PermanentError{Err: errors.New("the bundler names no gateway: give one with ?gateway=URL")}
	}
	return []string{i.Gateway}, nil
}

// split takes a key apart.
func split(key string) (did, name string, err error) {
	if err := archive.CheckKey(key); err != nil {
		return "", "", err
	}
	rest, ok := strings.CutPrefix(key, "igor/")
	did, name, more := strings.Cut(rest, "/")
	if !ok || !more {
		return "", "", fmt.Errorf("key %s is not below igor/DID", key)
	}
	return did, name, nil
}

// tags are those of an object.
func tags(did, name string, data []byte) []ans104.Tag {
	all := []ans104.Tag{{Name: tagApp, Value: AppName}, {Name: tagDID, Value: did}, {Name: tagName, Value: name}}
	kind := "application/octet-stream"
	switch {
	case strings.HasPrefix(name, "archive-keys/"):
		all = append(all, ans104.Tag{Name: tagKind, Value: kindBinding})
	case strings.HasSuffix(name, ".car"):
		kind = "application/vnd.ipld.car"
		if s, err := segment.Read(bytes.NewReader(data), func([]byte, *verifier.Finding) error { return nil }); err == nil {
			all = append(all, ans104.Tag{Name: tagHead, Value: s.Root.CID()},
				ans104.Tag{Name: tagFirst, Value: strconv.FormatUint(s.First, 10)}, ans104.Tag{Name: tagLast, Value: strconv.FormatUint(s.Last, 10)})
		}
	}
	return append(all, ans104.Tag{Name: tagType, Value: kind})
}

// Put implements [archive.Target]. The item of an object is always the same one, for its
// signature is: to put it again is no second one.
func (t *Target) Put(ctx context.Context, key string, data []byte, _ bool) (s archive.Stored, err error) {
	did, name, err := split(key)
	if err != nil {
		return s, err
	}
	if t.config.Key == nil {
		return s, archive.ErrReadOnly
	}
	item, err := ans104.Sign(t.config.Key, tags(did, name, data), data)
	if err != nil {
		return s, &archive.PermanentError{Err: err}
	}
	b := item.Append(nil)
	if s.Cost, err = t.price(ctx, int64(len(b))); err != nil {
		return s, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, t.config.Bundler+"/tx", bytes.NewReader(b))
	if err != nil {
		return s, err
	}
	r.Header.Set("Content-Type", "application/octet-stream")
	var answer struct {
		ID   string      `json:"id"`
		Winc json.Number `json:"winc"`
	}
	err = t.answer(r, &answer)
	if code, ok := errors.AsType[*web.StatusError](err); ok {
		switch code.Code {
		case http.StatusPaymentRequired:
			return s, fmt.Errorf("the bundler wants money first, for the key %s: %w", ans104.Address(item.Owner[:]), err)
		case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnauthorized, http.StatusForbidden:
			return s, &archive.PermanentError{Err: err}
		}
	}
	if err != nil {
		return s, err
	}
	if s.ID = item.ID(); answer.ID != s.ID {
		return s, fmt.Errorf("the bundler calls the item something else than its name, %s", s.ID)
	}
	if cost, err := answer.Winc.Int64(); err == nil && cost >= 0 {
		s.Cost = cost // what it took is what counts
	}
	t.mu.Lock()
	delete(t.unknown, s.ID)
	t.mu.Unlock()
	return s, nil
}

// price returns what the bundler takes for so many bytes, and refuses what is too much.
func (t *Target) price(ctx context.Context, size int64) (cost int64, err error) {
	i, err := t.about(ctx)
	if err != nil || size <= i.Free {
		return 0, err
	}
	if t.config.Price == "" {
		if t.config.Most > 0 {
			return 0, &archive.PermanentError{Err: fmt.Errorf("what %d bytes cost is not known (no ?price=URL), and they may cost at most %d winston; %d bytes are free", size, t.config.Most, i.Free)}
		}
		return 0, nil
	}
	var answer struct {
		Winc json.Number `json:"winc"`
	}
	if err := t.ask(ctx, fmt.Sprintf("%s/price/bytes/%d", t.config.Price, size), &answer); err != nil {
		return 0, fmt.Errorf("what %d bytes cost: %w", size, err)
	}
	cost, err = answer.Winc.Int64()
	if err != nil || cost < 0 {
		return 0, fmt.Errorf("what %d bytes cost: %q is no price", size, answer.Winc)
	}
	if t.config.Most > 0 && cost > t.config.Most {
		return 0, &archive.PermanentError{Err: fmt.Errorf("%d bytes cost %d winston, and may cost at most %d", size, cost, t.config.Most)}
	}
	return cost, nil
}

// Confirm implements [archive.Confirmer].
func (t *Target) Confirm(ctx context.Context, key, id string) (archive.Stage, error) {
	if err := ans104.ParseID(id); err != nil {
		return archive.Built, err
	}
	var answer struct {
		Status string `json:"status"`
	}
	err := t.ask(ctx, t.config.Bundler+"/tx/"+id+"/status", &answer)
	if errors.Is(err, archive.ErrNotFound) {
		// It may need a moment, or have forgotten what is in the chain for long; what
		// gateways show of it is there, and not known to stay.
		t.mu.Lock()
		since, ok := t.unknown[id]
		if !ok {
			since = time.Now()
			t.unknown[id] = since
		}
		t.mu.Unlock()
		if time.Since(since) < t.config.LostAfter {
			return archive.Built, nil
		}
		return archive.Lost, nil
	}
	if err != nil {
		return archive.Built, err
	}
	t.mu.Lock()
	delete(t.unknown, id)
	t.mu.Unlock()
	switch answer.Status {
	case "FINALIZED":
		return archive.Final, nil
	case "CONFIRMED":
		return archive.Seen, nil
	case "FAILED":
		return archive.Lost, nil
	}
	return archive.Built, fmt.Errorf("the bundler says %.40q of the item, which is no status", answer.Status)
}

// ReadBack implements [archive.Confirmer].
func (t *Target) ReadBack(ctx context.Context, id string, limit int64, good func([]byte) error) error {
	if err := ans104.ParseID(id); err != nil {
		return err
	}
	gateways, err := t.gateways(ctx)
	if err != nil {
		return err
	}
	missing := true
	var errs []error
	for _, g := range gateways {
		b, err := t.client.GetRange(ctx, g+"/raw/"+id, 0, limit+1)
		if err == nil && int64(len(b)) > limit {
			err = fmt.Errorf("it has more than %d bytes", limit)
		}
		if err == nil {
			if err = good(b); err == nil {
				return nil
			}
		}
		missing = missing && errors.Is(err, archive.ErrNotFound)
		errs = append(errs, fmt.Errorf("%s: %w", g, err))
	}
	if missing {
		return archive.ErrNotFound
	}
	return errors.Join(errs...)
}

// Get implements [archive.Target], with the first of those who claim to be the object.
func (t *Target) Get(ctx context.Context, key string, offset, limit int64) (b []byte, err error) {
	err = archive.ErrNotFound
	findErr := t.Candidates(ctx, key, func(e archive.Entry) error {
		gateways, err2 := t.gateways(ctx)
		for _, g := range gateways {
			if b, err2 = t.client.GetRange(ctx, g+"/raw/"+e.ID, offset, limit); err2 == nil {
				err = nil
				return errEnough
			}
		}
		err = err2
		return nil
	})
	if findErr != nil && !errors.Is(findErr, errEnough) {
		return nil, findErr
	}
	return b, err
}

var errEnough = errors.New("enough")

const query = `query($tags: [TagFilter!], $owners: [String!], $after: String, $first: Int) {
  transactions(tags: $tags, owners: $owners, after: $after, first: $first, sort: HEIGHT_ASC) {
    pageInfo { hasNextPage }
    edges { cursor node { id owner { address } tags { name value } data { size } } }
  }
}`

type tagFilter struct {
	Name   string   `json:"name"`
	Values []string `json:"values"`
}

// A queryAnswer is an answer to the query.
type queryAnswer struct {
	Data struct {
		Transactions *struct {
			PageInfo struct {
				HasNextPage bool `json:"hasNextPage"`
			} `json:"pageInfo"`
			Edges []struct {
				Cursor string `json:"cursor"`
				Node   struct {
					ID    string `json:"id"`
					Owner struct {
						Address string `json:"address"`
					} `json:"owner"`
					Tags []ans104.Tag `json:"tags"`
					Data struct {
						Size json.Number `json:"size"`
					} `json:"data"`
				} `json:"node"`
			} `json:"edges"`
		} `json:"transactions"`
	} `json:"data"`
	Errors []struct {
		Message string `json:"message"`
	} `json:"errors"`
}

// An answered item is one of an answer.
type answered struct {
	id    string
	owner ans104Owner
	tags  []ans104.Tag
	size  int64
}

func (a *answered) tag(name string) string {
	for _, t := range a.tags {
		if t.Name == name {
			return t.Value
		}
	}
	return ""
}

// parseAnswer reads a page of items. What is no item in it is left out.
func parseAnswer(b []byte) (items []answered, next string, err error) {
	var a queryAnswer
	if err := json.Unmarshal(b, &a); err != nil {
		return nil, "", fmt.Errorf("the gateway's answer cannot be read: %w", err)
	}
	if len(a.Errors) > 0 {
		return nil, "", fmt.Errorf("the gateway answered: %.200q", a.Errors[0].Message)
	}
	if a.Data.Transactions == nil {
		return nil, "", errors.New("the gateway's answer has no transactions")
	}
	edges := a.Data.Transactions.Edges
	if len(edges) > page {
		return nil, "", fmt.Errorf("the gateway answered with %d items, and was asked for %d", len(edges), page)
	}
	for i := range edges {
		n := &edges[i].Node
		if ans104.ParseID(n.ID) != nil || len(n.Tags) > ans104.MaxTags {
			continue
		}
		size, err := n.Data.Size.Int64()
		if err != nil || size < 0 {
			size = -1
		}
		items = append(items, answered{n.ID, ans104Owner(n.Owner.Address), n.Tags, size})
	}
	if a.Data.Transactions.PageInfo.HasNextPage && len(edges) > 0 {
		next = edges[len(edges)-1].Cursor
	}
	return items, next, nil
}

// find calls each with the items that have tags, and one of the owners, if there are some.
func (t *Target) find(ctx context.Context, filter []tagFilter, owners []ans104Owner, each func(answered) error) error {
	gateways, err := t.gateways(ctx)
	if err != nil {
		return err
	}
	// Any gateway can leave items out, so all are asked. One that answers is enough.
	answers := false
	var errs []error
	seen := map[string]bool{}
	for _, g := range gateways {
		err := t.findAt(ctx, g, filter, owners, func(a answered) error {
			if seen[a.id] {
				return nil
			}
			seen[a.id] = true
			return each(a)
		})
		switch {
		case errors.Is(err, errEnough) || err != nil && ctx.Err() != nil:
			return err
		case err != nil:
			errs = append(errs, fmt.Errorf("%s: %w", g, err))
		default:
			answers = true
		}
	}
	if answers {
		return nil
	}
	return errors.Join(errs...)
}

func (t *Target) findAt(ctx context.Context, gateway string, filter []tagFilter, owners []ans104Owner, each func(answered) error) error {
	after := ""
	for range maxPages {
		variables := map[string]any{"tags": filter, "first": page}
		if len(owners) > 0 {
			variables["owners"] = owners
		}
		if after != "" {
			variables["after"] = after
		}
		b, err := json.Marshal(map[string]any{"query": query, "variables": variables})
		if err != nil {
			return err
		}
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, gateway+"/graphql", bytes.NewReader(b))
		if err != nil {
			return err
		}
		r.Header.Set("Content-Type", "application/json")
		answer, _, err := t.client.Do(r, maxAnswer+1)
		if err == nil && len(answer) > maxAnswer {
			err = fmt.Errorf("the gateway answered with more than %d bytes", maxAnswer)
		}
		if err != nil {
			return err
		}
		items, next, err := parseAnswer(answer)
		if err != nil {
			return err
		}
		for _, a := range items {
			if fits(&a, filter, owners) {
				if err := each(a); err != nil {
					return err
				}
			}
		}
		if next == "" || next == after {
			return nil
		}
		after = next
	}
	return fmt.Errorf("there are more than %d items of these tags", page*maxPages)
}

// fits holds an item against what was asked for.
func fits(a *answered, filter []tagFilter, owners []ans104Owner) bool {
	for _, f := range filter {
		if !slices.Contains(f.Values, a.tag(f.Name)) {
			return false
		}
	}
	return len(owners) == 0 || slices.Contains(owners, a.owner)
}

func filterOf(did string, more ...tagFilter) []tagFilter {
	return append([]tagFilter{{tagApp, []string{AppName}}, {tagDID, []string{did}}}, more...)
}

// owners returns who archives an agent: this target's own key, and those that the agent
// bound.
func (t *Target) owners(ctx context.Context, did string) ([]ans104Owner, error) {
	t.mu.Lock()
	known, ok := t.bound[did]
	t.mu.Unlock()
	if ok {
		return known, nil
	}
	var all []ans104Owner
	if t.config.Key != nil {
		all = append(all, ans104Owner(ans104.Address(t.config.Key.Public().(ed25519.PublicKey))))
	}
	agent, err := verifier.ParseDID(did)
	if err != nil {
		return nil, err
	}
	tried := 0
	err = t.find(ctx, filterOf(did, tagFilter{tagKind, []string{kindBinding}}), nil, func(a answered) error {
		if tried++; tried > maxBindings {
			return errEnough
		}
		_ = t.ReadBack(ctx, a.id, int64(archive.BindingSize), func(b []byte) error {
			of, key, err := archive.ParseBinding(b)
			if err == nil && of != agent {
				err = errors.New("it binds a key of another agent")
			}
			if owner := ans104Owner(ans104.Address(key[:])); err == nil && !slices.Contains(all, owner) {
				all = append(all, owner)
			}
			return err
		})
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		return nil, err
	}
	if len(all) > 0 {
		t.mu.Lock()
		t.bound[did] = all
		t.mu.Unlock()
	}
	return all, nil
}

// Candidates implements [archive.Confirmer].
func (t *Target) Candidates(ctx context.Context, key string, each func(archive.Entry) error) error {
	did, name, err := split(key)
	if err != nil {
		return err
	}
	filter := filterOf(did, tagFilter{tagName, []string{name}})
	seen, foreign := map[string]bool{}, false
	give := func(a answered) error {
		if seen[a.id] {
			return nil
		}
		seen[a.id] = true
		return each(archive.Entry{Key: key, ID: a.id, Size: a.size, Foreign: foreign})
	}
	owners, err := t.owners(ctx, did)
	if err != nil {
		return err
	}
	if len(owners) > 0 {
		if err := t.find(ctx, filter, owners, give); err != nil {
			return err
		}
	}
	foreign = true
	return t.find(ctx, filter, nil, give)
}

// List implements [archive.Target], with what those put there whom the agent bound: others
// can claim anything.
func (t *Target) List(ctx context.Context, prefix string, each func(archive.Entry) error) error {
	rest, ok := strings.CutPrefix(prefix, "igor/")
	did, below, more := strings.Cut(rest, "/")
	if !ok || !more {
		return errors.New("an archive in Arweave lists one agent at a time: igor/DID/")
	}
	owners, err := t.owners(ctx, did)
	if err != nil || len(owners) == 0 {
		return err
	}
	return t.find(ctx, filterOf(did), owners, func(a answered) error {
		key := "igor/" + did + "/" + a.tag(tagName)
		if archive.CheckKey(key) != nil || !strings.HasPrefix(a.tag(tagName), below) {
			return nil
		}
		return each(archive.Entry{Key: key, ID: a.id, Size: a.size})
	})
}
