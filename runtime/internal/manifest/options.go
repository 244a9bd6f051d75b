package manifest

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"igor.dev/x402"
	"igor.dev/x402/evm"
)

// Limits of options.
const (
	DefaultTimeout = 10 * time.Second
	MaxResponse    = 1 << 20 // bytes, and the default

	maxHosts      = 256
	maxRecipients = 1024
	maxRecipient  = 256
	maxNetworks   = 64 // and assets
	maxProbe      = 1 << 10
)

// A Class says what may be done about a side effect that has begun and whose end
// is not known.
type Class string

// The classes.
const (
	Unsafe     Class = "unsafe"     // nothing: the agent is told that it is unresolved
	Idempotent Class = "idempotent" // the same bytes are sent again
	Queryable  Class = "queryable"  // the other side is asked
)

// HTTP has the options of the capability http.
type HTTP struct {
	AllowedHosts []Host // none = no host
	Timeout      time.Duration
	MaxResponse  int
	Class        Class            // of hosts that are not in Classes
	Classes      map[string]Class // by host, as in AllowedHosts
	Probes       map[string]string
}

// X402 has the options of the capability x402. Version 1 of it is wallet_pay; with
// version 2, http_request pays too, where a host asks for it by x402.
type X402 struct {
	AllowedRecipients []string // none = no recipient; of x402, addresses
	MaxPayment        int64    // microcents; 0 = no payment
	Class             Class    // of wallet_pay

	// Of version 2.
	Hosts     []Host // that are paid; none = no host
	Networks  []uint64
	Assets    []evm.Address
	MaxPerDay int64 // microcents, in any 24 hours
}

// Pays reports whether the host of u is one that is paid where it asks for it.
func (x *X402) Pays(u *url.URL) bool {
	h, err := HostOf(u)
	return err == nil && (slices.Contains(x.Hosts, h) || slices.Contains(x.Hosts, Host{Name: h.Name}))
}

// Policy is what may be paid by x402.
func (x *X402) Policy() *x402.Policy {
	p := &x402.Policy{Networks: x.Networks, Assets: x.Assets, MaxPayment: x.MaxPayment, MaxPerDay: x.MaxPerDay}
	for _, r := range x.AllowedRecipients {
		if a, err := evm.ParseAddress(r); err == nil {
			p.Recipients = append(p.Recipients, a)
		}
	}
	return p
}

// Allows reports whether a payment may go to recipient.
func (x *X402) Allows(recipient string) bool { return slices.Contains(x.AllowedRecipients, recipient) }

// A Host is one that an agent may reach: a name or an address, in lower case,
// and a port. Without a port it stands for every port.
type Host struct{ Name, Port string }

// String writes the host as a manifest does.
func (h Host) String() string {
	name := h.Name
	if strings.Contains(name, ":") {
		name = "[" + name + "]"
	}
	if h.Port == "" {
		return name
	}
	return name + ":" + h.Port
}

// HostOf returns the host that a URL of http or https names, with its port.
func HostOf(u *url.URL) (Host, error) {
	h, err := parseHost(u.Host)
	if err == nil && h.Port == "" {
		h.Port = "80"
		if u.Scheme == "https" {
			h.Port = "443"
		}
	}
	return h, err
}

// entry finds the key by which options name the host of u: that with its port
// before that without one.
func (o *HTTP) entry(u *url.URL) (Host, bool) {
	h, err := HostOf(u)
	if err != nil {
		return h, false
	}
	if !slices.Contains(o.AllowedHosts, h) {
		h.Port = ""
	}
	return h, slices.Contains(o.AllowedHosts, h)
}

// Allows reports whether the agent may reach the host of u.
func (o *HTTP) Allows(u *url.URL) bool {
	_, ok := o.entry(u)
	return ok
}

// ClassOf returns the class of side effects on the host of u, and of a queryable
// one the probe: the path to ask, in which {id} stands for the effect's id.
func (o *HTTP) ClassOf(u *url.URL) (c Class, probe string) {
	h, ok := o.entry(u)
	if !ok {
		return Unsafe, ""
	}
	c, ok = o.Classes[h.String()]
	if !ok {
		c = o.Class
	}
	return c, o.Probes[h.String()]
}

// parseHost reads "name", "name:port", "[v6]" or "[v6]:port".
func parseHost(s string) (h Host, err error) {
	h.Name = s
	if name, rest, ok := strings.Cut(strings.TrimPrefix(s, "["), "]"); ok && strings.HasPrefix(s, "[") {
		addr, err := netip.ParseAddr(name)
		if err != nil || !addr.Is6() || addr.Zone() != "" {
			return h, errors.New("not an address of IP version 6")
		}
		h.Name = addr.String()
		port, ok := strings.CutPrefix(rest, ":")
		if !ok && rest != "" {
			return h, errors.New("something other than a port behind the address")
		}
		if ok {
			return h, h.setPort(port)
		}
		return h, nil
	}
	if name, port, ok := strings.Cut(s, ":"); ok {
		h.Name = name
		if err := h.setPort(port); err != nil {
			return h, err
		}
	}
	h.Name = strings.ToLower(h.Name)
	return h, checkName(h.Name)
}

func (h *Host) setPort(s string) error {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || n == 0 || strconv.FormatUint(n, 10) != s {
		return errors.New("not a port from 1 to 65535")
	}
	h.Port = s
	return nil
}

// checkName takes host names in ASCII and IPv4 addresses in their usual form.
// Every other way to write an address, such as 0x7f.1, is one that some resolver
// takes for an address and others for a name.
func checkName(name string) error {
	switch {
	case name == "":
		return errors.New("no host")
	case len(name) > 253:
		return errors.New("a host name of more than 253 bytes")
	}
	if addr, err := netip.ParseAddr(name); err == nil && addr.Is4() {
		return nil
	}
	labels := strings.Split(name, ".")
	for _, label := range labels {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return errors.New("not a host name")
		}
		for _, c := range label {
			switch {
			case c >= 0x80:
				return errors.New("not ASCII; write an international name in its xn-- form")
			case c == '*':
				return errors.New("there are no wildcards; name each host")
			case (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_':
				return errors.New("not a host name")
			}
		}
	}
	if last := labels[len(labels)-1]; last[0] >= '0' && last[0] <= '9' {
		return errors.New("neither a host name nor an address in its usual form")
	}
	return nil
}

func (p *parser) options(capability string, m *Manifest) error {
	what := fmt.Sprintf("options of capability %q", capability)
	switch capability {
	case "http":
		return p.http(what, &m.HTTP)
	case "x402":
		return p.x402(what, &m.X402)
	}
	return p.each(what, func(option string) error {
		return p.errorf("unknown option %q of capability %q, which has none", option, capability)
	})
}

func (p *parser) http(what string, o *HTTP) error {
	err := p.object(what, fields{
		"allowed_hosts": func() error {
			return p.array("allowed_hosts", func() error {
				h, err := p.host("a host")
				if err == nil && len(o.AllowedHosts) == maxHosts {
					err = p.errorf("allowed_hosts holds more than %d hosts", maxHosts)
				}
				if err == nil && slices.Contains(o.AllowedHosts, h) {
					err = p.errorf("%q stands twice in allowed_hosts", h)
				}
				o.AllowedHosts = append(o.AllowedHosts, h)
				return err
			})
		},
		"timeout_ms": func() error {
			n, err := p.between("timeout_ms", 1, MaxTick.Milliseconds())
			o.Timeout = time.Duration(n) * time.Millisecond
			return err
		},
		"max_response_bytes": func() error {
			n, err := p.between("max_response_bytes", 0, MaxResponse)
			o.MaxResponse = int(n)
			return err
		},
		"class": func() (err error) {
			o.Class, err = p.class("class")
			return err
		},
		"classes": func() error {
			o.Classes = map[string]Class{}
			return p.each("classes", func(key string) error {
				h, err := p.hostKey("classes", key)
				if err != nil {
					return err
				}
				if _, ok := o.Classes[h.String()]; ok {
					return p.errorf("%q stands twice in classes", h)
				}
				o.Classes[h.String()], err = p.class("the class of " + strconv.Quote(key))
				return err
			})
		},
		"probes": func() error {
			o.Probes = map[string]string{}
			return p.each("probes", func(key string) error {
				h, err := p.hostKey("probes", key)
				if err != nil {
					return err
				}
				if _, ok := o.Probes[h.String()]; ok {
					return p.errorf("%q stands twice in probes", h)
				}
				o.Probes[h.String()], err = p.probe("the probe of " + strconv.Quote(key))
				return err
			})
		},
	})
	if err != nil {
		return err
	}
	return p.checkClasses(o)
}

// checkClasses holds what options say about each other, whatever their order.
func (p *parser) checkClasses(o *HTTP) error {
	for name := range o.Classes {
		if !slices.ContainsFunc(o.AllowedHosts, func(h Host) bool { return h.String() == name }) {
			return p.errorf("%q has a class, and is not in allowed_hosts", name)
		}
	}
	for name := range o.Probes {
		if !slices.ContainsFunc(o.AllowedHosts, func(h Host) bool { return h.String() == name }) {
			return p.errorf("%q has a probe, and is not in allowed_hosts", name)
		}
	}
	for _, h := range o.AllowedHosts {
		class, ok := o.Classes[h.String()]
		if !ok {
			class = o.Class
		}
		_, probe := o.Probes[h.String()]
		if (class == Queryable) != probe {
			return p.errorf("%q is %s, and a probe belongs to what is queryable, and to nothing else", h, class)
		}
	}
	return nil
}

func (p *parser) x402(what string, o *X402) error {
	return p.object(what, fields{
		"allowed_recipients": func() error {
			return p.array("allowed_recipients", func() error {
				r, err := p.text("a recipient")
				switch {
				case err != nil:
					return err
				case r == "" || len(r) > maxRecipient:
					return p.errorf("a recipient of %d bytes, and it must have 1 to %d", len(r), maxRecipient)
				case len(o.AllowedRecipients) == maxRecipients:
					return p.errorf("allowed_recipients holds more than %d recipients", maxRecipients)
				}
				o.AllowedRecipients = append(o.AllowedRecipients, r)
				return nil
			})
		},
		"max_payment_microcents": func() (err error) {
			o.MaxPayment, err = p.integer("max_payment_microcents")
			if err == nil && o.MaxPayment < 0 {
				err = p.errorf("max_payment_microcents is negative")
			}
			return err
		},
		"class": func() (err error) {
			o.Class, err = p.class("class")
			return err
		},
		"hosts": func() error {
			return p.array("hosts", func() error {
				h, err := p.host("a host of x402")
				switch {
				case err != nil:
					return err
				case len(o.Hosts) == maxHosts:
					return p.errorf("hosts of x402 holds more than %d hosts", maxHosts)
				case slices.Contains(o.Hosts, h):
					return p.errorf("%q stands twice in hosts of x402", h)
				}
				o.Hosts = append(o.Hosts, h)
				return nil
			})
		},
		"networks": func() error {
			return p.array("networks", func() error {
				s, err := p.text("a network")
				if err != nil {
					return err
				}
				chain, err := x402.ParseNetwork(s)
				switch {
				case err != nil:
					return p.errorf("%w", err)
				case len(o.Networks) == maxNetworks || slices.Contains(o.Networks, chain):
					return p.errorf("networks holds %s twice, or more than %d", s, maxNetworks)
				}
				o.Networks = append(o.Networks, chain)
				return nil
			})
		},
		"assets": func() error {
			return p.array("assets", func() error {
				s, err := p.text("an asset")
				if err != nil {
					return err
				}
				asset, err := evm.ParseAddress(s)
				switch {
				case err != nil:
					return p.errorf("%w", err)
				case len(o.Assets) == maxNetworks || slices.Contains(o.Assets, asset):
					return p.errorf("assets holds %s twice, or more than %d", s, maxNetworks)
				}
				o.Assets = append(o.Assets, asset)
				return nil
			})
		},
		"max_per_day_microcents": func() (err error) {
			o.MaxPerDay, err = p.integer("max_per_day_microcents")
			if err == nil && o.MaxPerDay < 0 {
				err = p.errorf("max_per_day_microcents is negative")
			}
			return err
		},
	})
}

// checkPaying holds what the options of x402 need of each other and of http.
func (p *parser) checkPaying(m *Manifest) error {
	o, version := &m.X402, m.Capabilities["x402"]
	if version < 2 {
		if len(o.Hosts)+len(o.Networks)+len(o.Assets) > 0 || o.MaxPerDay != 0 {
			return p.errorf(`hosts, networks, assets and max_per_day_microcents are options of {"version": 2} of x402`)
		}
		return nil
	}
	if len(o.Hosts) == 0 {
		return nil
	}
	for _, h := range o.Hosts {
		if !slices.Contains(m.HTTP.AllowedHosts, h) && !slices.Contains(m.HTTP.AllowedHosts, Host{Name: h.Name}) {
			return p.errorf("%q is in hosts of x402, and not in allowed_hosts of http", h)
		}
	}
	for _, missing := range []struct {
		what string
		is   bool
	}{{"networks", len(o.Networks) == 0}, {"assets", len(o.Assets) == 0}, {"allowed_recipients", len(o.Policy().Recipients) == 0},
		{"max_payment_microcents", o.MaxPayment == 0}, {"max_per_day_microcents", o.MaxPerDay == 0}} {
		if missing.is {
			return p.errorf("x402 has hosts that are to be paid, and no %s: nothing could be paid", missing.what)
		}
	}
	return nil
}

func (p *parser) class(what string) (Class, error) {
	s, err := p.text(what)
	if err != nil {
		return "", err
	}
	switch c := Class(s); c {
	case Unsafe, Idempotent, Queryable:
		return c, nil
	}
	return "", p.errorf("%s is %q, and must be unsafe, idempotent or queryable", what, s)
}

func (p *parser) host(what string) (Host, error) {
	s, err := p.text(what)
	if err != nil {
		return Host{}, err
	}
	h, err := parseHost(s)
	if err != nil {
		return Host{}, p.errorf("host %q: %w", s, err)
	}
	return h, nil
}

func (p *parser) hostKey(what, key string) (Host, error) {
	h, err := parseHost(key)
	if err != nil {
		return Host{}, p.errorf("host %q in %s: %w", key, what, err)
	}
	return h, nil
}

func (p *parser) probe(what string) (string, error) {
	s, err := p.text(what)
	if err != nil {
		return "", err
	}
	u, err := url.Parse(s)
	if err != nil || len(s) > maxProbe || !strings.HasPrefix(s, "/") || strings.HasPrefix(s, "//") || u.Fragment != "" ||
		strings.Count(s, "{id}") != 1 || strings.ContainsFunc(s, func(c rune) bool { return c <= ' ' || c >= 0x7f }) {
		return "", p.errorf("%s is %q, and must be a path with {id} in it once", what, s)
	}
	return s, nil
}
