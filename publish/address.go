package publish

import (
	"net/url"
	"os"
	"strings"

	"igor.dev/verifier"
)

// An Address is what somebody named to be fetched.
type Address struct {
	Agent      *verifier.PublicKey // whose life
	Checkpoint *verifier.Hash      // the life that this checkpoint is of
	From       []string            // where: what an address of a life, or a link, names
	File       *url.URL            // any other address: that of a history in one file
	Linked     bool                // an address says whose life, and which checkpoint: whoever made it chose that
}

// ParseAddress reads a DID, a CID, the address of one of them on a server, a link of the
// verification site (?did=…&from=…), or another address.
func ParseAddress(s string) (*Address, error) {
	if strings.HasPrefix(s, "did:") {
		agent, err := verifier.ParseDID(s)
		if err != nil {
			return nil, problem(s, "an agent’s DID begins with did:key:z6Mk", "%v", err)
		}
		return &Address{Agent: &agent}, nil
	}
	if cid := strings.TrimPrefix(strings.TrimPrefix(s, "ipfs://"), "/ipfs/"); cid != s || isCID(s) {
		h, err := verifier.ParseCID(cid)
		if err != nil {
			return nil, problem(s, "a report has a checkpoint’s CID as its head", "%v", err)
		}
		return &Address{Checkpoint: &h}, nil
	}
	u, err := parseBase(s)
	if err != nil {
		return nil, err
	}
	query := u.Query()
	if from := query["from"]; len(from) > 0 || query.Has("history") {
		return linked(s, query)
	}
	if i := strings.Index(u.Path, "/igor/did:"); i >= 0 {
		did, _, _ := strings.Cut(u.Path[i+len("/igor/"):], "/")
		agent, err := verifier.ParseDID(did)
		if err != nil {
			return nil, problem(s, "the address of a life is SERVER/igor/DID", "%v", err)
		}
		return &Address{Agent: &agent, From: []string{baseOf(u, i)}, Linked: true}, nil
	}
	if i := strings.Index(u.Path, "/ipfs/"); i >= 0 && isCID(u.Path[i+len("/ipfs/"):]) {
		h, err := verifier.ParseCID(u.Path[i+len("/ipfs/"):])
		if err != nil {
			return nil, problem(s, "a report has a checkpoint’s CID as its head", "%v", err)
		}
		return &Address{Checkpoint: &h, From: []string{baseOf(u, i)}, Linked: true}, nil
	}
	return &Address{File: u, Linked: true}, nil
}

// IsAddress reports whether somebody who names s means what is elsewhere, and no path here.
func IsAddress(s string) bool {
	if strings.HasPrefix(s, "did:") || strings.HasPrefix(s, "ipfs://") || strings.Contains(s, "://") {
		return true
	}
	if !isCID(s) {
		return false
	}
	_, err := os.Lstat(s) // a file may be called so
	return err != nil
}

func isCID(s string) bool {
	return len(s) == 59 && strings.HasPrefix(s, "baf") && !strings.ContainsAny(s, "/.")
}

func baseOf(u *url.URL, end int) string {
	base := *u
	base.Path, base.RawPath, base.RawQuery, base.Fragment = u.Path[:end]+"/", "", "", ""
	return base.String()
}

// linked reads the query of a link of the site.
func linked(s string, query url.Values) (*Address, error) {
	a := &Address{From: query["from"], Linked: true}
	for _, from := range a.From {
		if _, err := parseBase(from); err != nil {
			return nil, err
		}
	}
	name := func(text string) error {
		of, err := ParseAddress(text)
		if err == nil && (of.Agent == nil && of.Checkpoint == nil || of.Linked) {
			err = problem(s, "", "%s is neither a DID nor a CID", text)
		}
		if err != nil {
			return err
		}
		if of.Agent != nil {
			a.Agent = of.Agent
		} else {
			a.Checkpoint = of.Checkpoint
		}
		return nil
	}
	for _, key := range []string{"did", "cid"} {
		if query.Has(key) {
			if err := name(query.Get(key)); err != nil {
				return nil, err
			}
		}
	}
	if query.Has("history") {
		u, err := parseBase(query.Get("history"))
		if err != nil {
			return nil, err
		}
		return &Address{File: u, Linked: true}, nil
	}
	if a.Agent == nil && a.Checkpoint == nil {
		return nil, problem(s, "a link has ?did=… or ?cid=… beside from=…", "the link names no life")
	}
	return a, nil
}

// parseBase reads an address that can be asked.
func parseBase(s string) (*url.URL, error) {
	if !strings.Contains(s, "://") && s != "" {
		return nil, problem(s, "write https://"+s+" if it is a server", "not an address that can be asked")
	}
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Host == "" && (u.Scheme == "http" || u.Scheme == "https"):
		return nil, problem(s, "an address is https://HOST/…", "not an address")
	case u.Scheme != "https" && u.Scheme != "http":
		return nil, problem(s, "only https and http addresses are asked", "not an address that can be asked")
	}
	u.Fragment = ""
	return u, nil
}
