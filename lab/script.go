package lab

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"igor.dev/verifier"
)

// A Script says which nodes and agents there are, and what happens to them. docs/lab.md
// describes it.
type Script struct {
	Seed      uint64  `yaml:"seed"`
	Simulated bool    `yaml:"simulated"` // the network and time; else nodes are processes
	Chain     bool    `yaml:"chain"`     // agents buy by x402, on a chain of its own
	Fleet     *Fleet  `yaml:"fleet"`     // of the nodes; nil = they are none
	Nodes     []Node  `yaml:"nodes"`
	Agents    []Agent `yaml:"agents"`
	Steps     []Step  `yaml:"steps"`
}

// A Node is one of the laboratory's.
type Node struct {
	Name     string         `yaml:"name"`
	Later    bool           `yaml:"later"`    // it does not run at the start
	Settings map[string]any `yaml:"settings"` // of its node.json, beside those of the laboratory
}

// An Agent is one that is born before the nodes are started.
type Agent struct {
	Name         string         `yaml:"name"`
	At           string         `yaml:"at"`      // a node
	Program      string         `yaml:"program"` // a file, beside the script; of a recording, in it
	Budget       int64          `yaml:"budget"`  // microcents
	Price        int64          `yaml:"price"`   // microcents a second, until its first move
	Capabilities map[string]any `yaml:"capabilities"`
	Policy       map[string]any `yaml:"migration_policy"` // beside enabled and allowed_nodes

	public verifier.PublicKey // once it is born
}

// Limits of a script.
const (
	maxScript = 1 << 20
	maxNodes  = 9
	maxAgents = 100
	maxSteps  = 1000
)

// A Step is one thing that happens.
type Step struct {
	verb       string
	words      []string // names
	for_       time.Duration
	background bool // the next one does not wait for it
	may        bool // it may fail
	line       string
}

func (s Step) String() string { return s.line }

// MarshalYAML implements [yaml.Marshaler].
func (s Step) MarshalYAML() (any, error) { return s.line, nil }

// UnmarshalYAML implements [yaml.Unmarshaler].
func (s *Step) UnmarshalYAML(n *yaml.Node) error {
	var line string
	err := n.Decode(&line)
	if err == nil {
		*s, err = parseStep(line)
	}
	if err != nil {
		return fmt.Errorf("line %d: %w", n.Line, err)
	}
	return nil
}

// forms are the steps that there are: upper case stands for a name, TIME for a time.
var forms = []string{
	"say TEXT", "wait TIME",
	"move AGENT to NODE", "move AGENT",
	"expect AGENT at NODE", "expect AGENT", "expect AGENT leaving",
	"kill NODE", "kill NODE paying", "stop NODE", "start NODE", "pause NODE", "continue NODE", "drain NODE", "fill NODE", "ask NODE",
	"cut NODE NODE", "cut NODE > NODE", "heal NODE NODE", "isolate NODE", "join NODE", "heal",
	"skew NODE TIME", "slow NODE TIME",
	"faults TIME",
}

func parseStep(line string) (Step, error) {
	s := Step{line: line}
	words := strings.Fields(line)
	if len(words) > 1 && words[0] == "say" {
		s.verb = "say"
		return s, nil
	}
	if len(words) > 0 && words[len(words)-1] == "&" {
		s.background, words = true, words[:len(words)-1]
	}
	if len(words) > 0 && words[0] == "try" {
		s.may, words = true, words[1:]
	}
forms:
	for _, form := range forms {
		want := strings.Fields(form)
		if len(want) != len(words) {
			continue
		}
		s.words = nil
		for i, w := range want {
			switch {
			case w == "TIME":
				var err error
				if s.for_, err = time.ParseDuration(words[i]); err != nil || s.for_ < 0 && want[0] != "skew" || s.for_.Abs() > 24*time.Hour {
					return s, fmt.Errorf("%q: %s is no time such as 300ms", line, words[i])
				}
			case w == "AGENT" || w == "NODE":
				s.words = append(s.words, words[i])
			case w != words[i]:
				continue forms
			}
		}
		s.verb = want[0]
		switch {
		case len(want) > 2 && want[2] == ">":
			s.verb = "cut one way"
		case want[len(want)-1] == "leaving" || want[len(want)-1] == "paying":
			s.verb += " " + want[len(want)-1]
		}
		if s.background && s.verb != "move" && s.verb != "drain" {
			return s, fmt.Errorf("%q: only a move and a drain can go on meanwhile", line)
		}
		return s, nil
	}
	return s, fmt.Errorf("%q is no step; there are: %s", line, strings.Join(forms, "; "))
}

var name = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9-]{0,19}$`)

// ParseScript parses a script.
func ParseScript(b []byte) (*Script, error) {
	if len(b) > maxScript {
		return nil, fmt.Errorf("a script has %d bytes at most", maxScript)
	}
	s := &Script{}
	d := yaml.NewDecoder(bytes.NewReader(b))
	d.KnownFields(true)
	if err := d.Decode(s); err != nil {
		if err == io.EOF {
			err = errors.New("it is empty")
		}
		return nil, err
	}
	if len(s.Nodes) == 0 || len(s.Nodes) > maxNodes || len(s.Agents) == 0 || len(s.Agents) > maxAgents || len(s.Steps) > maxSteps {
		return nil, fmt.Errorf("a script has 1 to %d nodes, 1 to %d agents, and %d steps at most", maxNodes, maxAgents, maxSteps)
	}
	var names []string
	for _, n := range s.Nodes {
		names = append(names, n.Name)
	}
	for i := range s.Agents {
		a := &s.Agents[i]
		names = append(names, a.Name)
		if s.node(a.At) < 0 {
			return nil, fmt.Errorf("the agent %s is at %q, which is no node", a.Name, a.At)
		}
		if a.Program == "" || a.Budget < 0 || a.Price < 0 {
			return nil, fmt.Errorf("the agent %s needs a program, and has a budget and a price of 0 or more", a.Name)
		}
		if a.Budget == 0 {
			a.Budget = 1e9
		}
	}
	if s.Chain && s.Simulated {
		return nil, errors.New("chain: true needs nodes that are processes: a simulated one reaches nothing")
	}
	if err := s.fleetOf(); err != nil {
		return nil, err
	}
	slices.Sort(names)
	for i, n := range names {
		if !name.MatchString(n) || i > 0 && names[i-1] == n {
			return nil, fmt.Errorf("the name %q is of letters, digits and -, and of one node or agent alone", n)
		}
	}
	for _, step := range s.Steps {
		words := step.words
		if step.verb == "kill paying" && !s.Chain {
			return nil, fmt.Errorf("%q: nothing is paid on a chain without chain: true", step.line)
		}
		if step.verb == "move" || strings.HasPrefix(step.verb, "expect") {
			if s.agent(words[0]) < 0 {
				return nil, fmt.Errorf("%q: there is no agent %s", step.line, words[0])
			}
			words = words[1:]
		}
		for _, w := range words {
			if s.node(w) < 0 {
				return nil, fmt.Errorf("%q: there is no node %s", step.line, w)
			}
		}
	}
	return s, nil
}

// ReadScript reads a script, whose programs are beside it.
func ReadScript(path string) (*Script, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.IsDir() { // a recording
		path = filepath.Join(path, fileScript)
		if info, err = os.Stat(path); err != nil {
			return nil, fmt.Errorf("it is no recording: %w", err)
		}
	}
	if info.Size() > maxScript {
		return nil, fmt.Errorf("%s is larger than %d bytes", path, maxScript)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	s, err := ParseScript(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	for i := range s.Agents {
		if p := &s.Agents[i].Program; !filepath.IsAbs(*p) {
			*p = filepath.Join(filepath.Dir(path), *p)
		}
	}
	return s, nil
}

func (s *Script) node(name string) int {
	return slices.IndexFunc(s.Nodes, func(n Node) bool { return n.Name == name })
}

func (s *Script) agent(name string) int {
	return slices.IndexFunc(s.Agents, func(a Agent) bool { return a.Name == name })
}
