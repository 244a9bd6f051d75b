package manifest

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"
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

func TestParseOptions(t *testing.T) {
	m, err := Parse([]byte(`{
		"capabilities": {
			"http": {"version": 1, "options": {
				"classes": {"[::1]:80": "idempotent", "Orders.example.com": "queryable"},
				"probes": {"orders.example.com": "/orders/{id}?full=1"},
				"allowed_hosts": ["API.example.com", "127.0.0.1:8080", "[0:0::1]:80", "orders.example.com", "xn--bcher-kva.example"],
				"timeout_ms": 500, "max_response_bytes": 0
			}},
			"x402": {"version": 1, "options": {"allowed_recipients": ["bob"], "max_payment_microcents": 5, "class": "idempotent"}}
		},
		"resource_limits": {"max_state_bytes": 10, "max_storage_bytes": 20, "max_tick_ms": 30}
	}`))
	if err != nil {
		t.Fatal(err)
	}
	want := Empty()
	want.Capabilities = map[string]int{"http": 1, "x402": 1}
	want.HTTP = HTTP{
		AllowedHosts: []Host{{"api.example.com", ""}, {"127.0.0.1", "8080"}, {"::1", "80"}, {"orders.example.com", ""}, {"xn--bcher-kva.example", ""}},
		Timeout:      500 * time.Millisecond,
		Class:        Unsafe,
		Classes:      map[string]Class{"[::1]:80": Idempotent, "orders.example.com": Queryable},
		Probes:       map[string]string{"orders.example.com": "/orders/{id}?full=1"},
	}
	want.X402 = X402{AllowedRecipients: []string{"bob"}, MaxPayment: 5, Class: Idempotent}
	want.MaxState, want.MaxStorage, want.MaxTick = 10, 20, 30*time.Millisecond
	if !reflect.DeepEqual(m, want) {
		t.Errorf("got %+v, want %+v", m, want)
	}
	for u, want := range map[string]Class{
		"http://[::1]/":                   Idempotent,
		"https://orders.example.com/x":    Queryable,
		"https://api.example.com/":        Unsafe,
		"https://orders.example.com:444/": Queryable, // no port means every one
		"http://[::1]:81/":                Unsafe,    // and not allowed
	} {
		parsed, err := url.Parse(u)
		if err != nil {
			t.Fatal(err)
		}
		if class, probe := m.HTTP.ClassOf(parsed); class != want || (probe != "") != (want == Queryable) {
			t.Errorf("%s: got %s with probe %q, want %s", u, class, probe, want)
		}
	}
}

func TestAllows(t *testing.T) {
	m, err := Parse([]byte(`{"capabilities": {"http": {"version": 1, "options": {"allowed_hosts":
		["example.com", "api.example.com:8443", "10.0.0.1", "[2001:db8::1]:99"]}}}}`))
	if err != nil {
		t.Fatal(err)
	}
	for u, want := range map[string]bool{
		"https://example.com/":         true,
		"http://example.com/":          true,
		"https://EXAMPLE.com:443/":     true,
		"http://example.com:8443/":     true,
		"https://api.example.com:8443": true,
		"http://api.example.com:8443":  true,
		"https://api.example.com/":     false,
		"https://api.example.com:443/": false,
		"https://api.example.com:8444": false,
		"https://example.com./":        false,
		"https://www.example.com/":     false,
		"https://ample.com/":           false,
		"https://example.com:/":        false,
		"http://10.0.0.1/":             true,
		"http://010.0.0.1/":            false,
		"http://[::ffff:10.0.0.1]/":    false,
		"http://[2001:DB8:0::1]:99/":   true,
		"http://[2001:db8::1]/":        false,
		"http://[2001:db8::1%25a]:99/": false,
	} {
		parsed, err := url.Parse(u)
		if err != nil {
			t.Fatal(err)
		}
		if got := m.HTTP.Allows(parsed); got != want {
			t.Errorf("%s: got %v", u, got)
		}
	}
}

func TestOptionErrors(t *testing.T) {
	for _, tt := range []struct{ capability, options, want string }{
		{"clock", `"a": 1`, `line 2: unknown option "a" of capability "clock", which has none`},
		{"kv", `"size": 1`, `unknown option "size" of capability "kv", which has none`},
		{"http", `"hosts": []`, `line 2: unknown key "hosts" in options of capability "http", which has allowed_hosts, class, classes, max_response_bytes, probes, timeout_ms`},
		{"http", `"allowed_hosts": "a.example"`, `line 2: allowed_hosts is not an array`},
		{"http", `"allowed_hosts": [1]`, `a host is not a string`},
		{"http", `"allowed_hosts": [""]`, `host "": no host`},
		{"http", `"allowed_hosts": ["*"]`, `host "*": there are no wildcards; name each host`},
		{"http", `"allowed_hosts": ["*.example.com"]`, `there are no wildcards`},
		{"http", `"allowed_hosts": ["bücher.example"]`, `not ASCII; write an international name in its xn-- form`},
		{"http", `"allowed_hosts": ["https://a.example"]`, `host "https://a.example": not a port`},
		{"http", `"allowed_hosts": ["a.example/x"]`, `not a host name`},
		{"http", `"allowed_hosts": ["a.example."]`, `not a host name`},
		{"http", `"allowed_hosts": ["-a.example"]`, `not a host name`},
		{"http", `"allowed_hosts": ["a b"]`, `not a host name`},
		{"http", `"allowed_hosts": ["127.1"]`, `neither a host name nor an address in its usual form`},
		{"http", `"allowed_hosts": ["2130706433"]`, `neither a host name nor an address`},
		{"http", `"allowed_hosts": ["0x7f.0.0.0x1"]`, `neither a host name nor an address`},
		{"http", `"allowed_hosts": ["::1"]`, `not a port`},
		{"http", `"allowed_hosts": ["[::1"]`, `not a port`},
		{"http", `"allowed_hosts": ["[fe80::1%eth0]"]`, `not an address of IP version 6`},
		{"http", `"allowed_hosts": ["[127.0.0.1]"]`, `not an address of IP version 6`},
		{"http", `"allowed_hosts": ["[::1]x"]`, `something other than a port behind the address`},
		{"http", `"allowed_hosts": ["a:0"]`, `not a port from 1 to 65535`},
		{"http", `"allowed_hosts": ["a:65536"]`, `not a port`},
		{"http", `"allowed_hosts": ["a:080"]`, `not a port`},
		{"http", `"allowed_hosts": ["a", "A"]`, `"a" stands twice in allowed_hosts`},
		{"http", `"timeout_ms": 0`, `timeout_ms is 0, and must be from 1 to 15000`},
		{"http", `"timeout_ms": 15001`, `timeout_ms is 15001`},
		{"http", `"timeout_ms": "1s"`, `timeout_ms is not a number`},
		{"http", `"max_response_bytes": 1048577`, `max_response_bytes is 1048577, and must be from 0 to 1048576`},
		{"http", `"class": "safe"`, `class is "safe", and must be unsafe, idempotent or queryable`},
		{"http", `"class": 1`, `class is not a string`},
		{"http", `"classes": {"a": "idempotent"}`, `"a" has a class, and is not in allowed_hosts`},
		{"http", `"allowed_hosts": ["a"], "classes": {"A": "idempotent", "a": "unsafe"}`, `"a" stands twice in classes`},
		{"http", `"allowed_hosts": ["a"], "class": "queryable"`, `"a" is queryable, and a probe belongs to what is queryable`},
		{"http", `"probes": {"a": "/{id}"}, "allowed_hosts": ["a"]`, `"a" is unsafe, and a probe belongs to what is queryable`},
		{"http", `"probes": {"a": "/{id}"}`, `"a" has a probe, and is not in allowed_hosts`},
		{"http", `"probes": {"a": "/x"}`, `the probe of "a" is "/x", and must be a path with {id} in it once`},
		{"http", `"probes": {"a": "//b/{id}"}`, `must be a path`},
		{"http", `"probes": {"a": "http://b/{id}"}`, `must be a path`},
		{"http", `"probes": {"a": "/{id}#f"}`, `must be a path`},
		{"x402", `"allowed_recipients": ["a", ""]`, `a recipient of 0 bytes, and it must have 1 to 256`},
		{"x402", `"allowed_recipients": {}`, `allowed_recipients is not an array`},
		{"x402", `"max_payment_microcents": -1`, `max_payment_microcents is negative`},
		{"x402", `"max_payment_microcents": 1.5`, `must be a whole number`},
		{"x402", `"max_payment": 1`, `unknown key "max_payment" in options of capability "x402"`},
	} {
		in := fmt.Sprintf("{\"capabilities\": {%q: {\"version\": 1, \"options\":\n{%s}}}}", tt.capability, tt.options)
		m, err := Parse([]byte(in))
		if err == nil || !strings.Contains(err.Error(), tt.want) || m != nil {
			t.Errorf("%s: got error %v, want one with %q", tt.options, err, tt.want)
		}
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
		{`{"capabilites": {}}`, `unknown key "capabilites" in the manifest, which has capabilities, home, migration_policy, resource_limits`},
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
		{`{"resource_limits": {"max_tick_ms": 15001}}`, `max_tick_ms is 15001, and must be from 1 to 15000`},
		{`{"resource_limits": {"max_storage_bytes": -1}}`, `max_storage_bytes is -1, and must be from 0 to 16777216`},
		{`{"resource_limits": {"max_state_bytes": "1"}}`, `max_state_bytes is not a number`},
		{`{"resource_limits": {"max_cpu": 1}}`, `unknown key "max_cpu" in resource_limits`},
		{`{"home": {}}`, `home names none of folder, fleet and bucket`},
		{`{"home": "elsewhere"}`, `home is not an object`},
		{`{"home": {"folder": "here"}}`, `has to be an absolute path`},
		{`{"home": {"folder": "/a", "bucket": "s3://b"}}`, `more than one`},
		{`{"home": {"bucket": "http://b"}}`, `has to be such as s3://`},
		{`{"home": {"fleet": []}}`, `is no member`},
		{`{"home": {"fleet": ["node1.example:7447"]}}`, `is no member: want DID@HOST:PORT`},
		{`{"home": {"fleet": ["did:key:z6MkehRgf7yJbgaGfYsdoAsKdBPE3dj2CYhowQdcjqSJgvVd@node1.example"]}}`, `is neither HOST:PORT nor such as`},
		{`{"home": {"fleet": ["did:key:z6MkehRgf7yJbgaGfYsdoAsKdBPE3dj2CYhowQdcjqSJgvVd@a:1", "did:key:z6MkehRgf7yJbgaGfYsdoAsKdBPE3dj2CYhowQdcjqSJgvVd@b:1"]}}`, `is there twice`},
		{`{"migration_policy": {"enabled": 1}}`, `enabled is not true or false`},
		{`{"migration_policy": {"resurrect": "yes"}}`, `resurrect is not true or false`},
		{`{"migration_policy": {"max_price_per_second": -1}}`, `max_price_per_second is negative`},
		{`{"migration_policy": {"allowed_nodes": ["node1"]}}`, `allowed_nodes holds "node1"`},
		{`{"migration_policy": {"allowed_nodes": ["did:key:z6MkehRgf7yJbgaGfYsdoAsKdBPE3dj2CYhowQdcjqSJgvVd", "did:key:z6MkehRgf7yJbgaGfYsdoAsKdBPE3dj2CYhowQdcjqSJgvVd"]}}`, `twice`},
		{`{"migration_policy": {"capabilities": ["teleport"]}}`, `unknown capability "teleport"`},
		{`{"migration_policy": {"min_saving_percent": 101}}`, `min_saving_percent is 101`},
		{`{"migration_policy": {"max_moves_per_day": -1}}`, `max_moves_per_day is -1`},
		{`{"migration_policy": {"min_stay_ticks": 1.5}}`, `min_stay_ticks`},
		{`{"migration_policy": {"required_regions": [""` + strings.Repeat(`, "a"`, 64) + `]}}`, `required_regions holds more than 64`},
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
	if !errors.As(err, &h) || h.Hint() != "this version has clock, http, kv, log, node, pricing, rand, wallet, x402" {
		t.Errorf("got %v, want an error with a hint", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"capabilities": {"clock": {"version": 1, "options": {}}, "log": {"version": 1}}}`))
	f.Add([]byte(`{"home": {"fleet": ["did:key:z6MkehRgf7yJbgaGfYsdoAsKdBPE3dj2CYhowQdcjqSJgvVd@a:1"]}}`))
	f.Add([]byte(`{"resource_limits": {"max_memory_bytes": 1}, "migration_policy": {"enabled": false, "preferred_regions": ["a", "b"]}}`))
	f.Add([]byte(`{"capabilities": {"http": {"version": 1, "options": {"allowed_hosts": ["a"]}}}}`))
	f.Add([]byte(`{"capabilities": {"http": {"version": 1, "options": {"allowed_hosts": ["a:1", "[::1]"], "classes": {"a:1": "queryable"}, "probes": {"a:1": "/{id}"}}},
		"x402": {"version": 1, "options": {"allowed_recipients": ["b"], "max_payment_microcents": 1, "class": "queryable"}}}, "resource_limits": {"max_tick_ms": 1}}`))
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
		if m.MaxTick <= 0 || m.MaxTick > MaxTick || m.HTTP.Timeout <= 0 || m.HTTP.Timeout > MaxTick {
			t.Errorf("time limits %v and %v", m.MaxTick, m.HTTP.Timeout)
		}
		for _, h := range m.HTTP.AllowedHosts {
			again, err := parseHost(h.String())
			if err != nil || again != h {
				t.Errorf("host %q is %q when read again, %v", h, again, err)
			}
		}
		for name, version := range maps.All(m.Capabilities) {
			if version == 0 || capabilities[name] != version {
				t.Errorf("granted %q version %d", name, version)
			}
		}
	})
}
