package witness

import (
	"errors"
	"strconv"
	"strings"

	"igor.dev/verifier"
)

const (
	monitorTag = "igor/monitor/v1"

	// MaxMonitorWord is how many bytes a monitor's word has at most.
	MaxMonitorWord = 8 << 10
)

// A Word is what a monitor says of a key: which of its heads are in a log. That it left
// nothing out is its own word.
type Word struct {
	Log    string // its name
	Agent  verifier.PublicKey
	Size   uint64 // of the log, when it had read it
	Root   [32]byte
	Time   uint64        // seconds since 1970, by the monitor's clock
	Heads  uint64        // how many statements of the key
	Index  uint64        // in the log, of the newest: the one with the highest tick
	Tick   uint64        // of that
	Latest verifier.Hash // its checkpoint
	Forks  uint64        // fork proofs that it has against the key
}

// Text is what the monitor signs, as a signed note.
func (w *Word) Text() string {
	return monitorTag + "\n" + w.Log + "\n" + w.Agent.DID() + "\n" +
		strconv.FormatUint(w.Size, 10) + " " + strict.EncodeToString(w.Root[:]) + "\n" +
		"time " + strconv.FormatUint(w.Time, 10) + "\n" +
		"heads " + strconv.FormatUint(w.Heads, 10) + "\n" +
		"latest " + strconv.FormatUint(w.Index, 10) + " " + strconv.FormatUint(w.Tick, 10) + " " + w.Latest.CID() + "\n" +
		"forks " + strconv.FormatUint(w.Forks, 10) + "\n"
}

// A MonitorKey is whose word is taken.
type MonitorKey struct{ key key }

// ParseMonitorKey reads a monitor's key, as a policy writes that of a log.
func ParseMonitorKey(s string) (*MonitorKey, error) {
	k, err := parseKey(s, typeLog)
	if err != nil {
		return nil, err
	}
	return &MonitorKey{k}, nil
}

// Name returns the monitor's name.
func (k *MonitorKey) Name() string { return k.key.name }

// Read reads what the monitor said. An error says that it did not say that.
func (k *MonitorKey) Read(b []byte) (*Word, error) {
	if len(b) > MaxMonitorWord {
		return nil, errors.New("longer than a monitor's word is")
	}
	n, err := parseNote(string(b))
	if err != nil {
		return nil, err
	}
	if _, ok, err := n.signed(&k.key); err != nil || !ok {
		if err == nil {
			err = errors.New("not signed by " + k.key.name)
		}
		return nil, err
	}
	bad := errors.New("not a monitor's word of version 1")
	lines := strings.Split(n.text, "\n")
	if len(lines) != 9 || lines[0] != monitorTag {
		return nil, bad
	}
	w := &Word{Log: lines[1]}
	if w.Agent, err = verifier.ParseDID(lines[2]); err != nil {
		return nil, bad
	}
	size, root, _ := strings.Cut(lines[3], " ")
	hash, err := strict.DecodeString(root)
	if err != nil || len(hash) != 32 {
		return nil, bad
	}
	copy(w.Root[:], hash)
	latest := strings.Split(strings.TrimPrefix(lines[6], "latest "), " ")
	if len(latest) != 3 {
		return nil, bad
	}
	for _, n := range []struct {
		text string
		to   *uint64
	}{{size, &w.Size}, {strings.TrimPrefix(lines[4], "time "), &w.Time}, {strings.TrimPrefix(lines[5], "heads "), &w.Heads},
		{latest[0], &w.Index}, {latest[1], &w.Tick}, {strings.TrimPrefix(lines[7], "forks "), &w.Forks}} {
		v, ok := number(n.text, 1<<64-1)
		if !ok {
			return nil, bad
		}
		*n.to = v
	}
	if w.Latest, err = verifier.ParseCID(latest[2]); err != nil || w.Text() != n.text {
		return nil, bad
	}
	return w, nil
}
