// Command genwitness writes testdata/witness. Every expectation is stated by hand, from
// docs/spec/heads.md, forkproof.md and succession.md; nothing here verifies.
package main

import (
	"encoding/json"

	"igor.dev/internal/testkit"
)

func main() { testkit.Generate("genwitness", "witness", files()) }

func files() map[string][]byte {
	all := make(map[string][]byte)
	for _, v := range vectors() {
		b, err := json.MarshalIndent(v, "", "  ")
		if err != nil {
			panic(err)
		}
		name := v.Kind + "-" + v.name + ".json"
		if all[name] != nil {
			panic(name + " twice")
		}
		all[name] = append(b, '\n')
	}
	return all
}

// A vector is one case; testdata/witness/README.md says what the fields mean.
type vector struct {
	name        string
	Description string   `json:"description"`
	Kind        string   `json:"kind"`
	File        string   `json:"file,omitempty"`
	Policy      string   `json:"policy,omitempty"`
	Checkpoints []string `json:"checkpoints,omitempty"`
	Proof       string   `json:"proof,omitempty"`
	Monitor     string   `json:"monitor,omitempty"`
	Word        string   `json:"word,omitempty"`
	Require     bool     `json:"require,omitempty"`
	Succession  string   `json:"succession,omitempty"`
	Commitment  string   `json:"commitment,omitempty"`
	Old         []string `json:"old,omitempty"`
	Expect      outcome  `json:"expect"`
}

type outcome struct {
	Exit      int      `json:"exit"`
	DID       string   `json:"did,omitempty"`
	ForkKind  string   `json:"forkKind,omitempty"`
	Ticks     []string `json:"ticks,omitempty"`
	Witnessed []bool   `json:"witnessed,omitempty"`

	Problem   bool     `json:"problem,omitempty"` // the member has a problem
	Tick      string   `json:"tick,omitempty"`
	Before    string   `json:"before,omitempty"`
	Cosigners []string `json:"cosigners,omitempty"`
	Latest    string   `json:"latest,omitempty"` // as a monitor says
	Forks     string   `json:"forks,omitempty"`
	Life      string   `json:"life,omitempty"`
}
