package witness

import (
	"strings"

	"igor.dev/verifier"
)

const (
	monitorTag = "igor/monitor/v1"

	// MaxMonitorWord is how many bytes a monitor's word has at most.
	MaxMonitorWord = 8 << 10
)

// A Word is what a monitor says of a key: which of its heads are in a log. That it left
// nothing out is its own word. Who it is stands in its signature alone.
type Word struct {
	_ incomparable
	verifier.Monitor
	Log   string // its name
	Agent verifier.PublicKey
	Root  [32]byte // of the log, at the size that it had read
	Index uint64   // in the log, of the newest head: the one with the highest tick
}

// Text is what the monitor signs, as a signed note.
func (w *Word) Text() string {
	return monitorTag + "\n" + w.Log + "\n" + w.Agent.DID() +
		"\n" + decimal(w.Size) + " " + encode(w.Root[:]) +
		"\ntime " + decimal(w.Time) +
		"\nheads " + decimal(w.Heads) +
		"\nlatest " + decimal(w.Index) + " " + decimal(w.Tick) + " " + w.Latest.CID() +
		"\nforks " + decimal(w.Forks) + "\n"
}

// parse reads what Text writes.
func (w *Word) parse(text string) bool {
	rest := text
	next := func(before, after string) (s string) {
		rest, _ = strings.CutPrefix(rest, before)
		s, rest, _ = strings.Cut(rest, after)
		return s
	}
	count := func(before, after string) (n uint64) {
		n, _ = number(next(before, after), 1<<64-1)
		return n
	}
	next(monitorTag, "\n")
	w.Log = next("", "\n")
	w.Agent, _ = verifier.ParseDID(next("", "\n"))
	w.Size = count("", " ")
	decodeHash(&w.Root, next("", "\n"))
	w.Time = count("time ", "\n")
	w.Heads = count("heads ", "\n")
	w.Index = count("latest ", " ")
	w.Tick = count("", " ")
	w.Latest, _ = verifier.ParseCID(next("", "\n"))
	w.Forks = count("forks ", "\n")
	return w.Text() == text // so it could read all of it
}

// A MonitorKey is whose word is taken.
type MonitorKey struct{ signer }

// ParseMonitorKey reads a monitor's key, as a policy writes that of a log.
func ParseMonitorKey(s string) (*MonitorKey, error) {
	k := new(MonitorKey)
	if why := k.parse(s, typeLog); why != "" {
		return nil, problem(why)
	}
	return k, nil
}

// Name returns the monitor's name.
func (k *MonitorKey) Name() string { return k.name }

// Read reads what the monitor said. An error says that it did not say that.
func (k *MonitorKey) Read(b []byte) (*Word, error) {
	if len(b) > MaxMonitorWord {
		return nil, problem("longer than a monitor's word is")
	}
	n, err := parseNote(string(b))
	if err != nil {
		return nil, err
	}
	_, ok, why := n.signed(&k.signer)
	if why == "" && !ok {
		why = "not signed by " + k.name
	}
	w := new(Word)
	if why == "" && !w.parse(n.text) {
		why = "not a monitor's word of version 1"
	}
	if why != "" {
		return nil, problem(why)
	}
	w.Name = k.name
	return w, nil
}
