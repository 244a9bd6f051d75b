package runtime

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"time"

	"igor.dev/runtime/internal/fuel"
	"igor.dev/runtime/internal/manifest"
	"igor.dev/runtime/internal/receipt"
	"igor.dev/verifier"
	receipts "igor.dev/verifier/receipt"
)

// A MovePolicy is what an agent's manifest says of moves, and of the nodes that it can
// live on.
type MovePolicy struct {
	Enabled          bool
	Resurrect        bool                 // they may go on by themselves when the node is gone
	AllowedNodes     []verifier.PublicKey // none = nobody
	MaxPrice         int64                // microcents per second; 0 = any
	RequiredRegions  []string             // one of these; none = anywhere
	PreferredRegions []string
	Capabilities     map[string]int // that a node has to give, with the least version
	Memory           uint32         // bytes that the agent may have

	MinStayTicks     uint64
	MaxMovesPerDay   int
	MinSavingPercent int
}

// ReadMovePolicy reads a manifest.
func ReadMovePolicy(man []byte) (p MovePolicy, err error) {
	m, err := manifest.Parse(man)
	if err != nil {
		return p, public(err)
	}
	p = MovePolicy{
		Enabled: m.Migration.Enabled, Resurrect: m.Migration.Resurrect, AllowedNodes: m.Migration.AllowedNodes, MaxPrice: m.Migration.MaxPricePerSecond,
		RequiredRegions: m.Migration.RequiredRegions, PreferredRegions: m.Migration.PreferredRegions, Capabilities: map[string]int{}, Memory: m.MaxMemory,
		MinStayTicks: m.Migration.MinStayTicks, MaxMovesPerDay: m.Migration.MaxMovesPerDay, MinSavingPercent: m.Migration.MinSavingPercent,
	}
	for _, c := range m.Migration.Capabilities {
		p.Capabilities[c] = 1
	}
	for c, version := range m.Capabilities {
		p.Capabilities[c] = version
	}
	return p, nil
}

// Capabilities are those that this runtime gives agents, with the newest version.
func Capabilities() map[string]int { return manifest.Newest() }

// Schedules are the versions of metering that this runtime has.
func Schedules() []uint32 { return []uint32{fuel.Version1} }

// MovesSince counts an agent's hand-overs since a time, by the receipts of the checkpoints
// that they were made at: one that has none is not counted. It also returns at which tick
// the newest was.
func MovesSince(dir string, since time.Time) (n int, newest uint64, err error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return 0, 0, err
	}
	defer root.Close()
	heads := map[verifier.Hash]bool{}
	all, err := readHandOvers(root)
	if err != nil || len(all) == 0 {
		return 0, 0, err
	}
	for _, h := range all {
		heads[h.Head] = true
	}
	f, err := os.Open(filepath.Join(dir, receipt.Name))
	if err != nil {
		return 0, 0, err
	}
	defer f.Close()
	for r := receipts.NewReader(f); ; {
		got, err := r.Next()
		if errors.Is(err, io.EOF) {
			return n, newest, nil
		}
		if err != nil {
			return 0, 0, err
		}
		if e, ok := got.(*receipts.Execution); ok && heads[e.Checkpoint] {
			newest = max(newest, e.Tick)
			if e.Time >= since.UnixNano() {
				n++
			}
		}
	}
}
