// Package manifest reads agent manifests: what an agent may reach, and what it
// may use up.
//
//	{
//	  "capabilities": {
//	    "clock": {"version": 1},
//	    "log": {"version": 1}
//	  },
//	  "resource_limits": {"max_memory_bytes": 33554432},
//	  "migration_policy": {"enabled": true, "max_price_per_second": 5000, "preferred_regions": ["eu-west"]},
//	  "home": {"fleet": ["did:key:z6Mk…@node1.example:7450"]}
//	}
//
// Every key may be absent: an empty object, like no manifest at all, is an
// agent that reaches nothing. What a manifest says and this version does not
// know is an error that names it and its line, for a grant that is silently
// ignored, or a limit that is silently not kept, is worse than no manifest.
package manifest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"igor.dev/authority/fleet"
	"igor.dev/runtime/internal/hint"
	"igor.dev/runtime/internal/kv"
	"igor.dev/verifier"
)

// Limits of a manifest.
const (
	MaxSize = 64 << 10 // bytes of JSON

	// MaxMemory is the most linear memory that an agent gets, and what it
	// gets when the manifest states nothing.
	MaxMemory = 64 << 20

	// MaxTick is the most time that one call into an agent gets, and what it
	// gets when the manifest states nothing.
	MaxTick = 15 * time.Second

	// MinDisk and MaxDisk bound what a folder may be allowed.
	MinDisk = 1 << 20
	MaxDisk = 1 << 50

	maxRegions    = 64
	maxRegionSize = 64
	maxNodes      = 256
	maxHome       = 1024
	maxMoves      = 1000000
)

// An Error is what is wrong with a manifest, and where.
type Error struct {
	Line int
	Err  error
}

func (e *Error) Error() string { return fmt.Sprintf("manifest line %d: %v", e.Line, e.Err) }
func (e *Error) Unwrap() error { return e.Err }

// A Manifest is what its agent declares.
type Manifest struct {
	// Capabilities holds the declared version of each capability by its name.
	Capabilities map[string]int

	HTTP HTTP // the options of http
	X402 X402 // the options of x402

	MaxMemory  uint32        // of linear memory, in bytes
	MaxState   int           // of the agent's own state, in bytes; 0 = what a checkpoint holds
	MaxStorage int           // of the key-value store, in bytes
	MaxDisk    int64         // of the agent's folder, in bytes; 0 = it asks for no quota
	MaxTick    time.Duration // for one call into the agent

	Migration Migration

	// Home is what the agent's home is called, "" = its folder.
	Home string
}

// Migration is the policy for moves between nodes.
type Migration struct {
	Enabled           bool
	Resurrect         bool                 // those of AllowedNodes may go on by themselves when the node is gone
	AllowedNodes      []verifier.PublicKey // who may have the agent, and its key; none = nobody
	MaxPricePerSecond int64                // microcents; 0 = any price
	RequiredRegions   []string             // the node is in one of these; none = anywhere
	PreferredRegions  []string             // where there is a choice, the first of these that there is

	// Capabilities are those that a node has to give beside the agent's own.
	Capabilities []string

	// What keeps an agent from moving to and fro of its own accord; 0 = nothing.
	MinStayTicks     uint64
	MaxMovesPerDay   int
	MinSavingPercent int // that a lower price has to be lower by
}

// capabilities are all that there are, with the version that this runtime has.
var capabilities = map[string]int{
	"clock":   1,
	"rand":    1,
	"log":     1,
	"kv":      1,
	"wallet":  1,
	"pricing": 1,
	"http":    1,
	"x402":    1,
	"node":    1,
}

// newer are the capabilities of which there is more than one version, with the newest.
var newer = map[string]int{"x402": 2}

// Capabilities returns the names of the capabilities, sorted.
func Capabilities() []string { return slices.Sorted(maps.Keys(capabilities)) }

// Newest returns the newest version of each capability.
func Newest() map[string]int {
	all := maps.Clone(capabilities)
	maps.Copy(all, newer)
	return all
}

// Empty returns the manifest of an agent that reaches nothing.
func Empty() *Manifest {
	return &Manifest{
		Capabilities: map[string]int{},
		HTTP:         HTTP{Timeout: DefaultTimeout, MaxResponse: MaxResponse, Class: Unsafe},
		X402:         X402{Class: Unsafe},
		MaxMemory:    MaxMemory,
		MaxStorage:   kv.MaxTotal,
		MaxTick:      MaxTick,
	}
}

// Parse reads a manifest. Empty input is an empty manifest.
func Parse(b []byte) (*Manifest, error) {
	m := Empty()
	if len(b) > MaxSize {
		return nil, fmt.Errorf("manifest has %d bytes, and at most %d are read", len(b), MaxSize)
	}
	if len(bytes.TrimSpace(b)) == 0 {
		return m, nil
	}
	p := &parser{src: b, dec: json.NewDecoder(bytes.NewReader(b))}
	p.dec.UseNumber()
	err := p.object("the manifest", fields{
		"capabilities":     func() error { return p.capabilities(m) },
		"resource_limits":  func() error { return p.limits(m) },
		"migration_policy": func() error { return p.migration(&m.Migration) },
		"home":             func() error { return p.home(&m.Home) },
	})
	if err != nil {
		return nil, err
	}
	if _, err := p.dec.Token(); !errors.Is(err, io.EOF) {
		return nil, p.errorf("there is something after the manifest's closing brace")
	}
	if err := p.checkPaying(m); err != nil {
		return nil, err
	}
	return m, nil
}

func (p *parser) capabilities(m *Manifest) error {
	return p.each("capabilities", func(name string) error {
		have, known := capabilities[name]
		if !known {
			return hint.Wrap(p.errorf("unknown capability %q", name),
				"this version has %s", strings.Join(Capabilities(), ", "))
		}
		version := int64(0)
		err := p.object("capability "+strconv.Quote(name), fields{
			"version": func() (err error) {
				version, err = p.integer("version")
				if newest := newer[name]; err == nil && newest > 0 && (version < int64(have) || version > int64(newest)) {
					err = p.errorf("version %d of capability %q is not supported by this version, which has %d to %d", version, name, have, newest)
				} else if err == nil && newest == 0 && version != int64(have) {
					err = p.errorf("version %d of capability %q is not supported by this version, which has %d", version, name, have)
				}
				return err
			},
			"options": func() error { return p.options(name, m) },
		})
		if err != nil {
			return err
		}
		if version == 0 {
			return p.errorf(`capability %q states no version, such as {"version": %d}`, name, have)
		}
		m.Capabilities[name] = int(version)
		return nil
	})
}

func (p *parser) limits(m *Manifest) error {
	return p.object("resource_limits", fields{
		"max_memory_bytes": func() error {
			n, err := p.between("max_memory_bytes", 1, MaxMemory)
			m.MaxMemory = uint32(n)
			return err
		},
		"max_state_bytes": func() error {
			n, err := p.between("max_state_bytes", 1, MaxMemory)
			m.MaxState = int(n)
			return err
		},
		"max_storage_bytes": func() error {
			n, err := p.between("max_storage_bytes", 0, kv.MaxTotal)
			m.MaxStorage = int(n)
			return err
		},
		"max_disk_bytes": func() (err error) {
			m.MaxDisk, err = p.between("max_disk_bytes", MinDisk, MaxDisk)
			return err
		},
		"max_tick_ms": func() error {
			n, err := p.between("max_tick_ms", 1, MaxTick.Milliseconds())
			m.MaxTick = time.Duration(n) * time.Millisecond
			return err
		},
	})
}

func (p *parser) migration(m *Migration) error {
	return p.object("migration_policy", fields{
		"enabled": func() (err error) {
			m.Enabled, err = p.boolean("enabled")
			return err
		},
		"resurrect": func() (err error) {
			m.Resurrect, err = p.boolean("resurrect")
			return err
		},
		"max_price_per_second": func() (err error) {
			m.MaxPricePerSecond, err = p.integer("max_price_per_second")
			if err == nil && m.MaxPricePerSecond < 0 {
				err = p.errorf("max_price_per_second is negative")
			}
			return err
		},
		"allowed_nodes": func() error {
			return p.array("allowed_nodes", func() error {
				did, err := p.text("a node")
				if err != nil {
					return err
				}
				key, err := verifier.ParseDID(did)
				if err != nil {
					return p.errorf("allowed_nodes holds %q, and a node is named by its DID, such as did:key:z6Mk…: %w", did, err)
				}
				if slices.Contains(m.AllowedNodes, key) {
					return p.errorf("allowed_nodes holds %s twice", did)
				}
				if len(m.AllowedNodes) == maxNodes {
					return p.errorf("allowed_nodes holds more than %d nodes", maxNodes)
				}
				m.AllowedNodes = append(m.AllowedNodes, key)
				return nil
			})
		},
		"required_regions":  func() error { return p.names("required_regions", "a region", &m.RequiredRegions) },
		"preferred_regions": func() error { return p.names("preferred_regions", "a region", &m.PreferredRegions) },
		"capabilities": func() error {
			if err := p.names("capabilities of migration_policy", "a capability", &m.Capabilities); err != nil {
				return err
			}
			for _, c := range m.Capabilities {
				if _, known := capabilities[c]; !known {
					return hint.Wrap(p.errorf("unknown capability %q", c), "this version has %s", strings.Join(Capabilities(), ", "))
				}
			}
			return nil
		},
		"min_stay_ticks": func() error {
			n, err := p.between("min_stay_ticks", 0, math.MaxInt64)
			m.MinStayTicks = uint64(n)
			return err
		},
		"max_moves_per_day": func() error {
			n, err := p.between("max_moves_per_day", 0, maxMoves)
			m.MaxMovesPerDay = int(n)
			return err
		},
		"min_saving_percent": func() error {
			n, err := p.between("min_saving_percent", 0, 100)
			m.MinSavingPercent = int(n)
			return err
		},
	})
}

// names reads an array of short texts.
func (p *parser) names(key, what string, to *[]string) error {
	return p.array(key, func() error {
		name, err := p.text(what)
		if err != nil {
			return err
		}
		if len(*to) == maxRegions || len(name) > maxRegionSize {
			return p.errorf("%s holds more than %d names, or one of more than %d bytes", key, maxRegions, maxRegionSize)
		}
		*to = append(*to, name)
		return nil
	})
}

// home reads where it is decided who lives the agent: one of a folder, a fleet and a bucket.
func (p *parser) home(name *string) error {
	is := func(found string) error {
		if *name != "" {
			return p.errorf("the home is more than one of folder, fleet and bucket")
		}
		*name = found
		return nil
	}
	err := p.object("home", fields{
		"folder": func() error {
			folder, err := p.text("folder")
			if err == nil && (!path.IsAbs(folder) || path.Clean(folder) != folder || len(folder) > maxHome) {
				err = p.errorf("the home's folder is %q, and has to be an absolute path, such as /mnt/backup/igor", folder)
			}
			if err != nil {
				return err
			}
			return is(folder)
		},
		"fleet": func() error {
			var members []string
			err := p.array("fleet", func() error {
				member, err := p.text("a member")
				if err == nil && len(members) == fleet.MaxMembers {
					err = p.errorf("a fleet has at most %d members", fleet.MaxMembers)
				}
				members = append(members, member)
				return err
			})
			if err != nil {
				return err
			}
			all := strings.Join(members, ",")
			if _, err := fleet.ParseMembers(all); err != nil {
				return p.errorf("%w", err)
			}
			return is(fleet.Prefix + all)
		},
		"bucket": func() error {
			bucket, err := p.text("bucket")
			if err == nil && (!strings.HasPrefix(bucket, "s3://") || len(bucket) > maxHome) {
				err = p.errorf("the home's bucket is %q, and has to be such as s3://bucket/prefix?endpoint=https://s3.example.com", bucket)
			}
			if err != nil {
				return err
			}
			return is(bucket)
		},
	})
	if err == nil && *name == "" {
		err = p.errorf("home names none of folder, fleet and bucket")
	}
	return err
}

// A parser walks the tokens by itself rather than decoding into a struct:
// encoding/json takes a key twice, in any case, and tells no line.
type parser struct {
	src []byte
	dec *json.Decoder
}

// fields are the readers of an object's values by key.
type fields map[string]func() error

func (p *parser) errorf(format string, args ...any) error {
	before := p.src[:min(int(p.dec.InputOffset()), len(p.src))]
	return &Error{1 + bytes.Count(before, []byte("\n")), fmt.Errorf(format, args...)}
}

func (p *parser) token() (json.Token, error) {
	t, err := p.dec.Token()
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return nil, p.errorf("the manifest ends in the middle")
	case err != nil:
		return nil, p.errorf("not JSON: %w", err)
	}
	return t, nil
}

// object reads an object that has no key but the ones in known.
func (p *parser) object(what string, known fields) error {
	return p.each(what, func(key string) error {
		read, ok := known[key]
		if !ok {
			return p.errorf("unknown key %q in %s, which has %s", key, what, strings.Join(slices.Sorted(maps.Keys(known)), ", "))
		}
		return read()
	})
}

// each reads an object, calling read for each key to read its value.
func (p *parser) each(what string, read func(key string) error) error {
	t, err := p.token()
	if err != nil {
		return err
	}
	if t != json.Delim('{') {
		return p.errorf("%s is not an object", what)
	}
	seen := map[string]bool{}
	for {
		t, err := p.token()
		if err != nil {
			return err
		}
		if t == json.Delim('}') {
			return nil
		}
		key := t.(string) // the decoder lets nothing else stand here
		if seen[key] {
			return p.errorf("%q stands twice in %s", key, what)
		}
		seen[key] = true
		if err := read(key); err != nil {
			return err
		}
	}
}

func (p *parser) array(what string, read func() error) error {
	t, err := p.token()
	if err != nil {
		return err
	}
	if t != json.Delim('[') {
		return p.errorf("%s is not an array", what)
	}
	for p.dec.More() {
		if err := read(); err != nil {
			return err
		}
	}
	_, err = p.token()
	return err
}

func (p *parser) integer(what string) (int64, error) {
	t, err := p.token()
	if err != nil {
		return 0, err
	}
	number, ok := t.(json.Number)
	if !ok {
		return 0, p.errorf("%s is not a number", what)
	}
	n, err := strconv.ParseInt(number.String(), 10, 64)
	if err != nil {
		return 0, p.errorf("%s is %s, and must be a whole number of 64 bits", what, number)
	}
	return n, nil
}

// between reads an integer that has to be in a range.
func (p *parser) between(what string, low, high int64) (int64, error) {
	n, err := p.integer(what)
	if err == nil && (n < low || n > high) {
		err = p.errorf("%s is %d, and must be from %d to %d", what, n, low, high)
	}
	return n, err
}

func (p *parser) boolean(what string) (bool, error) {
	t, err := p.token()
	if err != nil {
		return false, err
	}
	v, ok := t.(bool)
	if !ok {
		return false, p.errorf("%s is not true or false", what)
	}
	return v, nil
}

func (p *parser) text(what string) (string, error) {
	t, err := p.token()
	if err != nil {
		return "", err
	}
	v, ok := t.(string)
	if !ok {
		return "", p.errorf("%s is not a string", what)
	}
	return v, nil
}
