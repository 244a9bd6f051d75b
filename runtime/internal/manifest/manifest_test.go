package manifest

import (
	"errors"
	"maps"
	"reflect"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	m, err := Parse([]byte(`{
		"capabilities": {"clock": {"version": 1}, "rand": {"version": 1, "options": {}}, "log": {"version": 1}},
		"resource_limits": {"max_memory_bytes": 33554432},
		"migration_policy": {"enabled": true, "max_price_per_second": 5000, "preferred_regions": ["eu-west"]}
	}`))
	if err != nil {
		t.Fatal(err)
	}
	want := Empty()
	want.Capabilities = map[string]int{"clock": 1, "rand": 1, "log": 1}
	want.MaxMemory = 33554432
	want.Migration = Migration{Enabled: true, MaxPricePerSecond: 5000, PreferredRegions: []string{"eu-west"}}
	if !reflect.DeepEqual(m, want) {
		t.Errorf("got %+v, want %+v", m, want)
	}
}

func TestParseEmpty(t *testing.T) {
	for _, in := range []string{"", " \n", "{}", `{"capabilities": {}}`} {
		m, err := Parse([]byte(in))
		if err != nil {
			t.Errorf("%q: %v", in, err)
		} else if len(m.Capabilities) != 0 || m.MaxMemory != MaxMemory {
			t.Errorf("%q: got %+v", in, m)
		}
	}
}

func TestParseErrors(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{`[]`, `line 1: the manifest is not an object`},
		{`{`, `line 1: the manifest ends in the middle`},
		{`{"capabilities": {}}{`, `something after the manifest's closing brace`},
		{`{"capabilities": {}} x`, `something after the manifest's closing brace`},
		{`{"capabilites": {}}`, `unknown key "capabilites" in the manifest, which has capabilities, migration_policy, resource_limits`},
		{`{"Capabilities": {}}`, `unknown key "Capabilities"`},
		{"{\"capabilities\": {\n\"clock\": {\"version\": 1},\n\"teleport\": {\"version\": 1}}}", `line 3: unknown capability "teleport"`},
		{"{\"capabilities\": {\n\"http\": {\"version\": 2}}}", `line 2: version 2 of capability "http" is not supported by this version`},
		{`{"capabilities": {"clock": {"version": 2}}}`, `version 2 of capability "clock" is not supported by this version, which has 1`},
		{`{"capabilities": {"clock": {"version": 0}}}`, `version 0 of capability "clock"`},
		{`{"capabilities": {"clock": {"version": "1"}}}`, `version is not a number`},
		{`{"capabilities": {"clock": {"version": 1.0}}}`, `must be a whole number`},
		{`{"capabilities": {"clock": {}}}`, `capability "clock" states no version`},
		{`{"capabilities": {"clock": 1}}`, `capability "clock" is not an object`},
		{`{"capabilities": {"clock": {"version": 1, "options": {"zone": "utc"}}}}`, `unknown option "zone" of capability "clock"`},
		{`{"capabilities": {"clock": {"version": 1, "scope": 1}}}`, `unknown key "scope" in capability "clock"`},
		{`{"capabilities": {"clock": {"version": 1}, "clock": {"version": 1}}}`, `"clock" stands twice in capabilities`},
		{`{"resource_limits": {"max_memory_bytes": 67108865}}`, `max_memory_bytes is 67108865, and must be from 1 to 67108864`},
		{`{"resource_limits": {"max_memory_bytes": 0}}`, `max_memory_bytes is 0`},
		{`{"resource_limits": {"max_memory_bytes": 1e6}}`, `must be a whole number`},
		{`{"resource_limits": {"max_cpu": 1}}`, `unknown key "max_cpu" in resource_limits`},
		{`{"migration_policy": {"enabled": 1}}`, `enabled is not true or false`},
		{`{"migration_policy": {"max_price_per_second": -1}}`, `max_price_per_second is negative`},
		{`{"migration_policy": {"preferred_regions": "eu"}}`, `preferred_regions is not an array`},
		{`{"migration_policy": {"preferred_regions": [1]}}`, `a region is not a string`},
		{`{"capabilities": ` + strings.Repeat("[", 1000), `capabilities is not an object`},
		{strings.Repeat(" ", MaxSize+1), `at most 65536 are read`},
	} {
		m, err := Parse([]byte(tt.in))
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%.80s: got error %v, want one with %q", tt.in, err, tt.want)
		}
		if m != nil {
			t.Errorf("%.80s: got a manifest beside an error", tt.in)
		}
	}
}

func TestHint(t *testing.T) {
	_, err := Parse([]byte(`{"capabilities": {"camera": {"version": 1}}}`))
	var h interface{ Hint() string }
	if !errors.As(err, &h) || h.Hint() != "this version has clock, http, kv, log, pricing, rand, wallet, x402" {
		t.Errorf("got %v, want an error with a hint", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"capabilities": {"clock": {"version": 1, "options": {}}, "log": {"version": 1}}}`))
	f.Add([]byte(`{"resource_limits": {"max_memory_bytes": 1}, "migration_policy": {"enabled": false, "preferred_regions": ["a", "b"]}}`))
	f.Add([]byte(`{"capabilities": {"http": {"version": 1, "options": {"allowed_hosts": ["a"]}}}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := Parse(b)
		if (m == nil) == (err == nil) {
			t.Fatalf("got manifest %v and error %v", m, err)
		}
		if err != nil {
			return
		}
		if m.MaxMemory == 0 || m.MaxMemory > MaxMemory {
			t.Errorf("memory limit %d", m.MaxMemory)
		}
		for name, version := range maps.All(m.Capabilities) {
			if version == 0 || capabilities[name] != version {
				t.Errorf("granted %q version %d", name, version)
			}
		}
	})
}
