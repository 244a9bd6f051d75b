package main

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	ma "github.com/multiformats/go-multiaddr"

	"igor.dev/node"
	"igor.dev/node/price"
	"igor.dev/runtime"
	"igor.dev/verifier"
)

// fileConfig is in the node's folder.
const fileConfig = "node.json"

const maxConfig = 1 << 20

// settings are the node's, as its file has them. docs/node.md describes each.
type settings struct {
	Key        string   `json:"key"` // a file
	Listen     []string `json:"listen"`
	Peers      []string `json:"peers"`
	Open       bool     `json:"open"`
	NetworkKey string   `json:"network_key,omitempty"` // a file
	TakeFrom   []string `json:"take_from"`             // DIDs, or "peers"

	Price       string   `json:"price"`
	PriceStored string   `json:"price_stored"`
	Regions     []string `json:"regions"`
	MaxAgents   int      `json:"max_agents"`
	MaxMemory   string   `json:"max_memory"`

	CheckpointEvery string `json:"checkpoint_every"`
	TickInterval    string `json:"tick_interval,omitempty"`
	Replay          bool   `json:"replay"` // of agents that come
	Ledger          string `json:"ledger,omitempty"`
	PayAt           string `json:"pay_at,omitempty"`
	Payments        string `json:"payments,omitempty"`
	MoveLimit       string `json:"move_limit"`
	PrepareLimit    string `json:"prepare_limit"`

	MemberListen  string `json:"member_listen,omitempty"` // a host
	LeaseDuration string `json:"lease_duration,omitempty"`
	LeaseGrace    string `json:"lease_grace,omitempty"`

	Rent      string `json:"rent,omitempty"`       // a file that says how rent is served
	RentGrace string `json:"rent_grace,omitempty"` // of agents without a lease

	ReplayMode          string `json:"replay_mode,omitempty"` // of agents that live here
	VerifyInterval      string `json:"verify_interval,omitempty"`
	OnDivergence        string `json:"on_divergence,omitempty"`
	MigrationRetries    int    `json:"migration_retries,omitempty"`
	MigrationRetryDelay string `json:"migration_retry_delay,omitempty"`
}

// lease returns for how long the node may be silent before others may take its agents over,
// and how long before that it stops by itself; 0 = the default.
func (s *settings) lease() (lease, grace time.Duration, err error) {
	for _, one := range []struct {
		what, value string
		to          *time.Duration
	}{{"lease_duration", s.LeaseDuration, &lease}, {"lease_grace", s.LeaseGrace, &grace}} {
		if one.value == "" {
			continue
		}
		if *one.to, err = time.ParseDuration(one.value); err != nil || *one.to <= 0 {
			return 0, 0, fmt.Errorf("%s %q: want a time such as 15s", one.what, one.value)
		}
	}
	return lease, grace, nil
}

// defaults are what igor-node init writes.
func defaults() settings {
	s := settings{Listen: []string{"/ip4/127.0.0.1/tcp/7447"}, Peers: []string{}, TakeFrom: []string{"peers"}, Price: "0.001", PriceStored: "0", Regions: []string{},
		CheckpointEvery: "1m", Replay: true, MoveLimit: "1m", PrepareLimit: "2h"}
	if dir, err := os.UserConfigDir(); err == nil {
		s.Key = filepath.Join(dir, "igor", "node.key")
	}
	return s
}

func (s *settings) write(dir string) error {
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(dir, fileConfig), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return hinted(fmt.Errorf("%s is a node's folder already", dir), "change "+filepath.Join(dir, fileConfig)+", and start the node again")
	}
	if err != nil {
		return err
	}
	_, err = f.Write(append(b, '\n'))
	return errors.Join(err, f.Sync(), f.Close())
}

func readSettings(dir string) (settings, error) {
	path := filepath.Join(dir, fileConfig)
	s := defaults()
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return s, &noFolder{hinted(fmt.Errorf("%s is no node's folder", dir), "igor-node init --dir "+dir+" makes one; --dir names another one")}
	}
	if err != nil {
		return s, err
	}
	if len(b) > maxConfig {
		return s, fmt.Errorf("%s is larger than %d bytes", path, maxConfig)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&s); err != nil {
		return s, hinted(fmt.Errorf("%s: %w", path, err), "docs/node.md has what can stand there")
	}
	return s, nil
}

// A settingError is of a setting that cannot be so.
type settingError struct {
	what, value string
	err         error
}

func (e *settingError) Error() string { return fmt.Sprintf("%s %q: %s", e.what, e.value, e.err) }
func (e *settingError) Unwrap() error { return e.err }

// config makes a node's config of its settings.
func (s *settings) config(dir string) (c node.Config, life runtime.Config, err error) {
	if c, life, err = s.parse(); errors.As(err, new(*settingError)) {
		err = hinted(fmt.Errorf("%s: %w", filepath.Join(dir, fileConfig), err), "docs/node.md has what can stand there")
	}
	c.Dir = dir
	return c, life, err
}

// check says which flag of igor-node init is wrong.
func (s *settings) check() error {
	_, _, err := s.parse()
	if e, ok := errors.AsType[*settingError](err); ok {
		flag := strings.ReplaceAll(e.what, "_", "-")
		if flag == "peers" || flag == "regions" {
			flag = flag[:len(flag)-1] // it is given for each
		}
		return fmt.Errorf("--%s %q: %w", flag, e.value, e.err)
	}
	if err != nil {
		return &configError{err}
	}
	return nil
}

func (s *settings) parse() (c node.Config, life runtime.Config, err error) {
	c = node.Config{Listen: s.Listen, Open: s.Open, Regions: s.Regions, MaxAgents: s.MaxAgents, NoReplay: !s.Replay}
	bad := func(what, value string, err error) error { return &settingError{what, value, err} }
	for _, a := range s.Listen {
		address, err := ma.NewMultiaddr(a)
		if err != nil {
			return c, life, bad("listen", a, errors.New("want an address such as /ip4/0.0.0.0/tcp/7447 or /ip4/0.0.0.0/udp/7447/quic-v1"))
		}
		if s.NetworkKey != "" && node.IsQUIC(address) {
			return c, life, bad("listen", a, errors.New("a private network (network_key) has no QUIC; listen at TCP"))
		}
	}
	for _, p := range s.Peers {
		peer, err := node.ParsePeer(p)
		if err != nil {
			return c, life, bad("peers", p, err)
		}
		c.Peers = append(c.Peers, peer)
	}
	for _, f := range s.TakeFrom {
		if f == "peers" {
			c.FromPeers = true
			continue
		}
		k, err := verifier.ParseDID(f)
		if err != nil {
			return c, life, bad("take_from", f, errors.New(`want "peers", or a node's DID`))
		}
		c.From = append(c.From, k)
	}
	for _, r := range s.Regions {
		if !price.IsName(r) {
			return c, life, bad("regions", r, errors.New("want names of a-z, 0-9, dots, - and _"))
		}
	}
	if s.Key == "" {
		return c, life, bad("key", "", errors.New("it names no file"))
	}
	if s.NetworkKey != "" {
		if c.NetworkKey, err = readNetworkKey(s.NetworkKey); err != nil {
			return c, life, bad("network_key", s.NetworkKey, err)
		}
	}
	if c.Price, err = runtime.ParseAmount(s.Price); err != nil {
		return c, life, bad("price", s.Price, err)
	}
	if c.StoredPrice, err = runtime.ParseAmount(s.PriceStored); err != nil {
		return c, life, bad("price_stored", s.PriceStored, err)
	}
	if c.MaxMemory, err = parseBytes(s.MaxMemory); err != nil {
		return c, life, bad("max_memory", s.MaxMemory, err)
	}
	for what, to := range map[string]*time.Duration{"checkpoint_every": &life.CheckpointEvery.Time, "move_limit": &c.MoveLimit, "prepare_limit": &c.PrepareLimit} {
		value := map[string]string{"checkpoint_every": s.CheckpointEvery, "move_limit": s.MoveLimit, "prepare_limit": s.PrepareLimit}[what]
		if *to, err = time.ParseDuration(value); err != nil || *to <= 0 {
			return c, life, bad(what, value, errors.New("want a time such as 5s"))
		}
	}
	life.TickInterval = runtime.AgentPace
	if s.TickInterval != "" {
		if life.TickInterval, err = time.ParseDuration(s.TickInterval); err != nil || life.TickInterval < 0 {
			return c, life, bad("tick_interval", s.TickInterval, errors.New("want a time such as 500ms"))
		}
	}
	life.PriceStored = c.StoredPrice
	life.Replay = runtime.ReplayPolicy{Mode: runtime.ReplayMode(s.ReplayMode), OnDivergence: runtime.OnDivergence(s.OnDivergence)}
	if s.ReplayMode == "" {
		life.Replay.Mode = runtime.ReplayOff
	}
	if s.OnDivergence == "" {
		life.Replay.OnDivergence = runtime.DivergenceLog
	}
	if !slices.Contains([]runtime.ReplayMode{runtime.ReplayOff, runtime.ReplayPeriodic, runtime.ReplayOnResume, runtime.ReplayFull}, life.Replay.Mode) {
		return c, life, bad("replay_mode", s.ReplayMode, errors.New("want off, periodic, on-resume or full"))
	}
	if !slices.Contains([]runtime.OnDivergence{runtime.DivergenceLog, runtime.DivergencePause, runtime.DivergenceIntensify, runtime.DivergenceMigrate}, life.Replay.OnDivergence) {
		return c, life, bad("on_divergence", s.OnDivergence, errors.New("want log, pause, intensify or migrate"))
	}
	if life.Replay.Mode == runtime.ReplayOff && life.Replay.OnDivergence != runtime.DivergenceLog {
		return c, life, bad("on_divergence", s.OnDivergence, errors.New("nothing is run again: set replay_mode too"))
	}
	if s.RentGrace != "" && s.Ledger == "" {
		return c, life, bad("rent_grace", s.RentGrace, errors.New("leases are in the node's ledger: set ledger too"))
	}
	if s.Rent != "" && s.Ledger == "" {
		return c, life, bad("rent", s.Rent, errors.New("what is paid is in the node's ledger: set ledger too"))
	}
	for what, to := range map[string]*time.Duration{"verify_interval": &life.Replay.Interval, "migration_retry_delay": &c.RetryDelay, "rent_grace": &c.LeaseGrace} {
		value := map[string]string{"verify_interval": s.VerifyInterval, "migration_retry_delay": s.MigrationRetryDelay, "rent_grace": s.RentGrace}[what]
		if value == "" {
			continue
		}
		if *to, err = time.ParseDuration(value); err != nil || *to <= 0 {
			return c, life, bad(what, value, errors.New("want a time such as 5s"))
		}
	}
	if c.Retries = s.MigrationRetries; c.Retries < 0 {
		return c, life, bad("migration_retries", fmt.Sprint(s.MigrationRetries), errors.New("want a number of times"))
	}
	c.Key, err = runtime.NodeKey(s.Key) // which is made where there is none
	return c, life, err
}

// readNetworkKey reads 64 hexadecimal digits, as a swarm key of libp2p has them in its
// last line.
func readNetworkKey(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("it can be read by others (mode %04o)", info.Mode().Perm())
	}
	if info.Size() > 4096 {
		return nil, errors.New("it is too large for a key")
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	lines := strings.Fields(string(b))
	if len(lines) > 0 {
		if key, err := hex.DecodeString(lines[len(lines)-1]); err == nil && len(key) == 32 {
			return key, nil
		}
	}
	return nil, errors.New("want 64 hexadecimal digits in its last line")
}

func parseBytes(s string) (int64, error) {
	if s == "" {
		return 0, nil
	}
	number, shift := s, 0
	if i := strings.IndexAny("KMGT", s[len(s)-1:]); i >= 0 {
		number, shift = s[:len(s)-1], 10*(i+1)
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n <= 0 || n > (1<<62)>>shift {
		return 0, errors.New("want a number of bytes, such as 500M or 4G")
	}
	return n << shift, nil
}
