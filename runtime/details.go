package runtime

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"time"

	"igor.dev/runtime/internal/eventlog"
	"igor.dev/runtime/internal/manifest"
	"igor.dev/runtime/internal/pack"
	receiptfile "igor.dev/runtime/internal/receipt"
	"igor.dev/runtime/internal/store"
	"igor.dev/verifier"
	"igor.dev/verifier/receipt"
)

// Details are an agent looked at closely: its whole history is verified, and the newest
// part of its event log.
type Details struct {
	Overview

	Checkpoints int    `json:"checkpoints"`
	Lineage     string `json:"lineage,omitempty"`  // the verdict on them, if all of them were verified
	Restored    bool   `json:"restored,omitempty"` // they are the end of a life, of which the folder was restored

	// Packed is how many of them are packed, as the agent's mark says: they were not
	// verified now, the others were.
	Packed uint64 `json:"packedCheckpoints,omitempty"`

	Program      string        `json:"wasmHash,omitempty"` // with which it goes on
	ProgramBytes int64         `json:"wasmBytes,omitempty"`
	Capabilities []string      `json:"capabilities"`
	Hosts        []string      `json:"allowedHosts,omitempty"`
	Recipients   []string      `json:"allowedRecipients,omitempty"`
	MaxMemory    int64         `json:"maxMemoryBytes,omitempty"`
	MaxTick      time.Duration `json:"maxTickNs,string,omitempty"`
	MaxDisk      int64         `json:"maxDiskBytes,omitempty"` // that the manifest asks for

	Segments int    `json:"segments"`
	Failed   uint64 `json:"failedTicks,string"` // in the part of the event log that was read
	Read     int    `json:"segmentsRead"`       // the newest

	Executions int `json:"executionReceipts"`
	Payments   int `json:"paymentReceipts"`

	mark *pack.Mark
}

// segmentsRead is how many segments of the event log [DetailsOf] reads: the newest.
const segmentsRead = 64

// DetailsOf looks closely at one agent.
func DetailsOf(ctx context.Context, dir string) (*Details, error) {
	o, err := OverviewOf(ctx, dir)
	if err != nil {
		return nil, err
	}
	d := &Details{Overview: *o, Capabilities: []string{}}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	if err := d.history(ctx); err != nil {
		return nil, err
	}
	if d.State == StateHistory {
		return d, nil
	}
	if err := d.events(ctx); err != nil {
		return nil, err
	}
	d.program(root)
	d.receipts(root)
	if d.Broken() && d.State != StateAlive && d.State != StatePaused {
		d.State = StateBroken
	}
	return d, nil
}

// history verifies the checkpoints.
func (d *Details) history(ctx context.Context) error {
	if d.CID == "" {
		return nil // why, is said already
	}
	if d.mark, _ = store.ReadMark(d.Folder, d.agent); d.mark != nil {
		n, err := store.VerifyTail(ctx, d.Folder, d.mark)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err == nil || len(d.Problems) > 0 && d.Problems[0].File != "key" { // the newest, which was found already
			d.Packed, d.Checkpoints = d.mark.Checkpoints, int(d.mark.Checkpoints)+n
			return nil
		}
		d.mark = nil // all of it says what is wrong
	}
	r, err := store.Verify(ctx, filepath.Join(d.Folder, store.DirHistory))
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		d.problem(true, store.DirHistory, err, "")
		return nil
	}
	d.Checkpoints, _ = r.Checkpoints()
	d.Lineage = r.Verdict().String()
	if r.Verdict() == verifier.Verified || len(d.Problems) > 0 && d.Problems[0].File != "key" { // the newest, which was found already
		return nil
	}
	if d.Restored = store.RestoredEnd(d.Folder, r); d.Restored {
		return nil // a life goes on from there
	}
	file := store.DirHistory
	for p := range r.Problems() {
		if p.Name != "" {
			file = filepath.Join(store.DirHistory, p.Name)
		}
		break
	}
	d.problem(true, file, store.Refusal("the history", r), "igor verify %s shows all of it; restore the files from a copy", d.Folder)
	return nil
}

// events reads the newest segments of the event log, and holds them against their
// checkpoints.
func (d *Details) events(ctx context.Context) error {
	events := filepath.Join(d.Folder, store.DirEvents)
	ticks, err := segmentTicks(events)
	if err != nil {
		return nil // said already
	}
	d.Segments = len(ticks)
	if d.mark != nil {
		at, _ := slices.BinarySearch(ticks, d.mark.Tick+1)
		d.Segments = len(ticks) - at + int(d.mark.Checkpoints)
	}
	names, err := checkpointNames(d.Folder)
	if err != nil {
		return nil
	}
	log, done, err := openReadOnly(events)
	if err != nil {
		return nil
	}
	defer done()
	findings := map[int]*verifier.Finding{}
	finding := func(i int) *verifier.Finding {
		if f, ok := findings[i]; ok || i < 0 {
			return f
		}
		b, err := os.ReadFile(filepath.Join(d.Folder, store.DirHistory, names[i]))
		if err != nil {
			return nil
		}
		if f := verifier.Examine(b); f.Authentic() {
			findings[i] = &f
		}
		return findings[i]
	}
	for i := max(0, len(names)-segmentsRead); i < len(names); i++ {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		prev, next := finding(i-1), finding(i)
		if next == nil || i > 0 && (prev == nil || next.PrevHash != prev.ContentHash) || i == 0 && !next.PrevHash.IsZero() {
			continue // what is before it is missing, and that is said
		}
		first := uint64(0)
		if prev != nil {
			first = prev.TickNumber + 1
		}
		f, err := log.Raw(first)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		name := filepath.Join(store.DirEvents, eventlog.FileName(first))
		if err == nil {
			var v eventlog.Verified
			v, err = eventlog.Verify(io.NewSectionReader(f, 0, math.MaxInt64), prev, next)
			f.Close()
			d.Failed += v.Failed
			d.Read++
		}
		if err != nil {
			d.problem(false, name, fmt.Errorf("it is damaged: %w", plainPath(err)), "restore it from a copy: without it, its ticks cannot be run again")
		}
	}
	if s, err := log.Segment(d.Tick + 1); err == nil {
		for err == nil {
			_, err = s.Next()
		}
		d.Failed += s.Totals().Failed
		s.Close()
	}
	return nil
}

func (d *Details) program(root *os.Root) {
	if info, err := root.Stat("agent.wasm"); err == nil && !d.wasm.IsZero() {
		d.ProgramBytes, d.Program = info.Size(), d.wasm.String()
	}
	b, err := readPart(root, "agent.manifest.json", MaxManifest)
	if err != nil {
		return
	}
	m, err := manifest.Parse(b)
	if err != nil {
		return
	}
	d.Capabilities = append(d.Capabilities, slices.Sorted(maps.Keys(m.Capabilities))...)
	d.MaxMemory, d.MaxTick, d.MaxDisk = int64(m.MaxMemory), m.MaxTick, m.MaxDisk
	if _, ok := m.Capabilities["http"]; ok {
		d.Hosts = hostNames(m.HTTP.AllowedHosts)
	}
	if _, ok := m.Capabilities["x402"]; ok {
		d.Recipients = m.X402.AllowedRecipients
	}
}

func hostNames(hosts []manifest.Host) (names []string) {
	for _, h := range hosts {
		names = append(names, h.String())
	}
	return names
}

// receipts reads all of them.
func (d *Details) receipts(root *os.Root) {
	f, err := (readOnly{root: root}).Open(receiptfile.Name)
	if err != nil {
		return
	}
	defer f.Close()
	for r := receipt.NewReader(io.NewSectionReader(f, 0, math.MaxInt64)); ; {
		got, err := r.Next()
		if err != nil {
			said := slices.ContainsFunc(d.Problems, func(p FolderProblem) bool { return p.File == receiptfile.Name })
			if err != io.EOF && !errors.Is(err, receipt.ErrTruncated) && !said { // in what resume does not read
				d.badReceipts(false, err)
			}
			return
		}
		switch got.(type) {
		case *receipt.Execution:
			d.Executions++
		case *receipt.Payment:
			d.Payments++
		}
	}
}
