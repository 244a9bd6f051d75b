package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"igor.dev/internal/verifycli"
	"igor.dev/runtime"
	"igor.dev/verifier"
)

// minCID is the least of a CID that tells checkpoints apart.
const minCID = 16

func lsCommand() *cobra.Command {
	var asJSON, everything bool
	cmd := &cobra.Command{
		Use:   "ls [FOLDER]",
		Short: "List the agents in a folder, or an agent's checkpoints",
		Long: `Ls lists the agents whose folders are in FOLDER (default: here), alive or not, and
what is wrong with those that cannot go on. Of an agent's own FOLDER it lists the
checkpoints that are not packed, and with --all the others too. It shows what the
files and the agents say: igor verify verifies a
history, and igor status looks at one agent closely.

since is how long an agent has been in its state, saved the age of its newest
checkpoint, open the number of side effects whose outcome nobody knows. An agent is
alive, paused, stopped, exhausted (its budget), full (its disk quota), failed,
crashed, retired, moved to another node, or broken: something in its folder has to be
mended first. home is the store that decides who lives it, where some have one.`,
		Example: `  igor ls /var/lib/igor
  igor ls --json
  igor ls heartbeat`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir := "."
			if len(args) > 0 {
				dir = args[0]
			}
			if runtime.IsAgentFolder(dir) {
				return failed(listCheckpoints(cmd, dir, asJSON, everything))
			}
			all, err := runtime.Overviews(cmd.Context(), dir)
			if err != nil {
				return failed(err)
			}
			broken := 0
			for i := range all {
				if all[i].Broken() {
					broken++
				}
			}
			if asJSON {
				err = writeJSON(cmd.OutOrStdout(), append([]runtime.Overview{}, all...))
			} else {
				err = writeOverviews(cmd.OutOrStdout(), all, time.Now())
			}
			if err == nil && broken > 0 {
				err = &hinted{&brokenError{broken, len(all)}, "igor status FOLDER looks closely; igor repair FOLDER says what can be mended"}
			}
			return failed(err)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "write JSON")
	cmd.Flags().BoolVar(&everything, "all", false, "of one agent: list the checkpoints that are packed too")
	return cmd
}

// A brokenError says that some agents cannot go on as they are.
type brokenError struct{ broken, of int }

func (e *brokenError) Error() string {
	return fmt.Sprintf("%d of %s cannot go on before something is mended", e.broken, verifycli.Plural(e.of, "agent"))
}

// listCheckpoints lists the checkpoints of one agent.
func listCheckpoints(cmd *cobra.Command, dir string, asJSON, everything bool) error {
	found, packed, upTo, unread := runtime.LookNewest(dir)
	if everything {
		found, unread = runtime.Look(dir)
	} else if packed > 0 {
		fmt.Fprintf(cmd.ErrOrStderr(), "%s up to tick %d are packed: igor ls %s --all lists them too\n", verifycli.Plural(int(packed), "checkpoint"), upTo, verifycli.Printable(dir))
	}
	if unread != nil && len(found) == 0 {
		return unread
	}
	if asJSON {
		return cmp.Or(writeJSON(cmd.OutOrStdout(), append([]runtime.Sight{}, found...)), unread)
	}
	t := newTable("tick", "budget", "checkpoint")
	for _, s := range found {
		t.row(fmt.Sprint(s.Tick), verifier.FormatMicrocents(s.Budget), s.CID)
	}
	out, terminal := cmd.OutOrStdout(), verifycli.IsTerminal(cmd.OutOrStdout())
	for _, row := range t.lines() {
		cid := strings.LastIndexByte(row, ' ') + 1
		if room := columns - cid; terminal && len(row) > columns && room >= minCID {
			row = row[:cid] + verifycli.Clip(row[cid:], room)
		}
		if _, err := fmt.Fprintln(out, row); err != nil {
			return err
		}
	}
	return unread
}

// writeOverviews writes a row an agent, and below it what is wrong.
func writeOverviews(w io.Writer, all []runtime.Overview, now time.Time) error {
	if len(all) == 0 {
		_, err := fmt.Fprintln(w, "no agents")
		return err
	}
	t := newTable("agent", "state", "since", "pid", "tick", "saved", "budget", "open", "disk")
	t.right = "since pid tick saved budget open disk"
	elsewhere := slices.ContainsFunc(all, func(o runtime.Overview) bool { return o.Home != "" })
	if elsewhere {
		t.cells[0] = append(t.cells[0], "home")
	}
	for i := range all {
		o := &all[i]
		tick, budget, open := max(o.Tick, o.Lived), o.Budget, fmt.Sprint(o.Unresolved)
		if o.Live != nil && o.Live.Phase != "" {
			tick, budget = max(tick, o.Live.Tick), o.Live.Budget
		}
		if broken(o, "journal") {
			open = "?"
		}
		pid := "-"
		if o.PID > 0 {
			pid = fmt.Sprint(o.PID)
		}
		money := shortMoney(budget)
		if o.CID == "" {
			money = "?"
		}
		cells := []string{verifycli.Printable(filepath.Base(o.Folder)), string(o.State), age(o.Since, now), pid, fmt.Sprint(tick), age(o.Saved, now), money, open, byteSize(o.Disk)}
		if elsewhere {
			cells = append(cells, cmp.Or(verifycli.Clip(verifycli.Printable(shortHome(o.Home)), maxHome), "-"))
		}
		t.row(cells...)
	}
	lines := t.fit(columns)
	var b strings.Builder
	b.WriteString(lines[0] + "\n")
	for i := range all {
		b.WriteString(lines[i+1] + "\n")
		below := func(text string) {
			for _, line := range verifycli.Wrap(verifycli.Printable(text), columns-2) {
				b.WriteString("  " + line + "\n")
			}
		}
		for _, p := range all[i].Problems {
			below(problemText(&p))
		}
		for _, s := range all[i].Archive {
			if s.Error != "" {
				below("archive: " + archiveText(&s))
			}
		}
		if l := all[i].Live; l != nil && l.Witness != nil && (l.Witness.Error != "" || !l.Witness.Since.IsZero() && now.Sub(l.Witness.Since) > headLate) {
			below("witness: " + witnessText(l.Witness))
		}
		if all[i].State == runtime.StateFailed {
			why, _ := all[i].Why()
			below(why)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// maxHome is how much of a home igor ls shows.
const maxHome = 12

// shortHome is a home's name without the way there.
func shortHome(name string) string {
	if name == "" {
		return ""
	}
	return filepath.Base(name)
}

func problemText(p *runtime.FolderProblem) string {
	text := p.What
	if p.File != "" {
		text = p.File + ": " + p.What
	}
	if p.Next != "" {
		text += " (" + p.Next + ")"
	}
	return text
}

func broken(o *runtime.Overview, file string) bool {
	for _, p := range o.Problems {
		if p.File == file {
			return true
		}
	}
	return false
}

// age says how long ago something was, in at most four letters where that is less than
// three years.
func age(t, now time.Time) string {
	if t.IsZero() {
		return "-"
	}
	switch d := max(0, now.Sub(t)); {
	case d < time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%dm", d/time.Minute)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", d/time.Hour)
	default:
		return fmt.Sprintf("%dd", d/(24*time.Hour))
	}
}

// shortMoney leaves out what is less than a cent where there is much.
func shortMoney(microcents int64) string {
	s := verifier.FormatMicrocents(microcents)
	if len(s) > len("9999.999999") {
		s = s[:len(s)-4]
	}
	return s
}

// byteSize says a size in at most five letters.
func byteSize(n int64) string {
	const units = "KMGTP"
	if n < 1024 {
		return fmt.Sprintf("%dB", n)
	}
	f := float64(n)
	i := -1
	for f >= 999.5 && i+1 < len(units) {
		f, i = f/1024, i+1
	}
	if f < 9.95 {
		return fmt.Sprintf("%.1f%c", f, units[i])
	}
	return fmt.Sprintf("%.0f%c", f, units[i])
}

// A table has rows of cells.
type table struct {
	cells [][]string
	right string // the columns whose cells stand at the right
}

func newTable(head ...string) *table { return &table{cells: [][]string{head}} }

func (t *table) row(cells ...string) { t.cells = append(t.cells, cells) }

func (t *table) lines() []string { return t.fit(1 << 30) }

// fit returns the lines. Where they would be longer than so many columns, the first cell
// of each is cut.
func (t *table) fit(columns int) []string {
	widths := make([]int, len(t.cells[0]))
	for _, row := range t.cells {
		for i, cell := range row {
			widths[i] = max(widths[i], len([]rune(cell)))
		}
	}
	sum := 2 * (len(widths) - 1)
	for _, w := range widths {
		sum += w
	}
	widths[0] = max(min(widths[0], 8), widths[0]-max(0, sum-columns))
	var lines []string
	for _, row := range t.cells {
		var b strings.Builder
		for i, cell := range row {
			if i == 0 {
				cell = cut(cell, widths[0])
			} else {
				b.WriteString("  ")
			}
			fill := strings.Repeat(" ", widths[i]-len([]rune(cell)))
			if strings.Contains(" "+t.right+" ", " "+t.cells[0][i]+" ") {
				cell = fill + cell
			} else {
				cell += fill
			}
			b.WriteString(cell)
		}
		lines = append(lines, strings.TrimRight(b.String(), " "))
	}
	return lines
}

func statusCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "status FOLDER",
		Short: "Look at one agent closely, alive or not",
		Long: `Status says how the agent in FOLDER is, why it is not alive, what it has and may
do, and what is wrong in its folder. It verifies the history, and reads the newest
part of the event log; igor replay runs all of it again. It changes nothing.

Exit codes: 0 nothing is wrong, 65 something in the folder is missing or damaged.`,
		Example: `  igor status watcher
  igor status watcher --json`,
		Args: operands("FOLDER"),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, stop := withProgress(cmd)
			d, err := runtime.DetailsOf(ctx, args[0])
			stop()
			if err != nil {
				return failed(err)
			}
			if asJSON {
				err = writeJSON(cmd.OutOrStdout(), d)
			} else {
				err = writeDetails(cmd.OutOrStdout(), d, time.Now())
			}
			if err == nil && len(d.Problems) > 0 {
				var files []string
				for _, p := range d.Problems {
					files = append(files, p.File)
				}
				err = &hinted{&damageFound{"missing or damaged: " + strings.Join(files, ", ")}, "igor repair " + args[0] + " says what can be mended"}
			}
			return failed(err)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "write JSON")
	return cmd
}

// A damageFound names files that are missing or damaged.
type damageFound struct{ what string }

func (e *damageFound) Error() string { return e.what }

func writeDetails(w io.Writer, d *runtime.Details, now time.Time) error {
	var b strings.Builder
	row := func(name, format string, args ...any) {
		for _, line := range verifycli.Wrap(verifycli.Printable(fmt.Sprintf(format, args...)), columns-11) {
			fmt.Fprintf(&b, "%-10s %s\n", name, line)
			name = ""
		}
	}
	ago := func(t time.Time) string {
		return fmt.Sprintf("%s ago (%s)", age(t, now), t.UTC().Format(time.RFC3339))
	}
	if d.DID != "" {
		row("agent", "%s", d.DID)
	}
	row("folder", "%s", d.Folder)
	if d.Home != "" {
		row("home", "%s", d.Home)
	}
	state := string(d.State)
	if d.PID > 0 {
		state += fmt.Sprintf(", process %d", d.PID)
	}
	if !d.Since.IsZero() && d.State != runtime.StateHistory {
		state += ", since " + ago(d.Since)
	}
	row("state", "%s", state)
	why, next := d.Why()
	if why != "" && why != string(d.State) {
		row("because", "%s", why)
	}
	if next != "" {
		row("next", "%s", next)
	}
	price, budget, tick := d.Price, d.Budget, max(d.Tick, d.Lived)
	if l := d.Live; l != nil && l.Phase != "" {
		doing := string(l.Phase)
		if l.Phase == runtime.Waiting && !l.Due.IsZero() {
			doing += " for its next tick"
		}
		if problem := l.Health(now); problem != nil {
			doing += "; unhealthy: " + problem.Error()
		}
		row("doing", "%s, for %s", doing, age(l.Since, now))
		price, budget, tick = l.Price, l.Budget, l.Tick
	}
	if d.CID != "" {
		row("tick", "%d", tick)
		saved := fmt.Sprintf("tick %d, %s, %s", d.Tick, ago(d.Saved), byteSize(int64(d.Bytes)))
		row("saved", "%s", saved)
		row("head", "%s", d.CID)
		row("budget", "%s", verifier.FormatMicrocents(budget))
		row("price", "%s a second", verifier.FormatMicrocents(price))
	}
	if d.Unresolved > 0 {
		row("open", "%s whose outcome nobody knows, holding %s: igor effects %s", verifycli.Plural(d.Unresolved, "side effect"), verifier.FormatMicrocents(d.Held), d.Folder)
	}
	if d.Packed > 0 {
		row("history", "%s, of which %d are packed and not read now: igor verify %s verifies all of them", verifycli.Plural(d.Checkpoints, "checkpoint"), d.Packed, d.Folder)
	}
	if d.Lineage != "" {
		lineage := d.Lineage
		if d.Restored {
			lineage += ": the folder was restored, and what is before them was not with it"
		}
		row("history", "%s, %s", verifycli.Plural(d.Checkpoints, "checkpoint"), lineage)
	}
	if d.State != runtime.StateHistory {
		events := verifycli.Plural(d.Segments, "segment")
		if d.Read < d.Segments-1 {
			events += fmt.Sprintf(", the newest %d read", d.Read)
		}
		if d.Failed > 0 {
			events += fmt.Sprintf(", failed ticks: %d", d.Failed)
		}
		row("events", "%s", events)
		row("receipts", "%s, %s", verifycli.Plural(d.Executions, "execution"), verifycli.Plural(d.Payments, "payment"))
	}
	if d.Program != "" {
		row("program", "%s, %s", d.Program, byteSize(d.ProgramBytes))
	}
	if d.MaxMemory > 0 {
		may := strings.Join(d.Capabilities, ", ")
		row("may", "%s", cmp.Or(may, "reach nothing"))
		if len(d.Hosts) > 0 {
			row("hosts", "%s", strings.Join(d.Hosts, ", "))
		}
		if len(d.Recipients) > 0 {
			row("pays", "%s", strings.Join(d.Recipients, ", "))
		}
		limits := fmt.Sprintf("memory %s, a tick %s", byteSize(d.MaxMemory), d.MaxTick)
		if d.MaxDisk > 0 {
			limits += ", disk " + byteSize(d.MaxDisk)
		}
		row("limits", "%s", limits)
	}
	disk := byteSize(d.Disk)
	if d.Live != nil && d.Live.DiskQuota > 0 {
		disk += " of " + byteSize(d.Live.DiskQuota)
	}
	row("disk", "%s", disk)
	for _, s := range d.Archive {
		row("archive", "%s", archiveText(&s))
	}
	if d.Live != nil && d.Live.Witness != nil {
		row("witness", "%s", witnessText(d.Live.Witness))
	}
	for _, p := range d.Problems {
		row("problem", "%s", problemText(&p))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func logsCommand() *cobra.Command {
	var asJSON bool
	var since string
	var c runtime.LogsConfig
	tail := -1
	cmd := &cobra.Command{
		Use:   "logs FOLDER",
		Short: "Show what an agent logged in its whole life",
		Long: `Logs shows the lines that the agent in FOLDER logged, as its event log has them,
each with its tick and its time. The agent may be alive; with --follow it shows
what comes, until Ctrl-C. It verifies nothing: igor replay does.

The event log has no times of its own. A time is what the agent saw if it looked at
the clock in that tick; else (~) when the checkpoint after it was signed for, or
when the file was last written: the line is not later.`,
		Example: `  igor logs heartbeat --tail 20 -f
  igor logs heartbeat --since 1h
  igor logs heartbeat --from 100 --json`,
		Args: operands("FOLDER"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if cmd.Flags().Changed("tail") {
				if tail < 0 {
					return errors.New("--tail is negative")
				}
				if c.Tail = tail; tail == 0 {
					c.Tail, c.Since = 1, time.Now().Add(time.Hour*24*365*100) // none of them
				}
			}
			if since != "" {
				var err error
				if c.Since, err = parseSince(since, time.Now()); err != nil {
					return err
				}
			}
			if tail == 0 && !c.Follow {
				return nil
			}
			encode := json.NewEncoder(cmd.OutOrStdout())
			encode.SetEscapeHTML(false)
			return failed(runtime.Logs(cmd.Context(), args[0], c, func(l runtime.LogLine) error {
				if asJSON {
					return encode.Encode(l)
				}
				about := " "
				if l.TimeBy != runtime.TimeByClock {
					about = "~"
				}
				_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s%s  tick %-6d %s\n", l.Time.Format(time.RFC3339), about, l.Tick, verifycli.Printable(l.Line))
				return err
			}))
		},
	}
	flags := cmd.Flags()
	flags.BoolVarP(&c.Follow, "follow", "f", false, "go on with what comes")
	flags.IntVarP(&tail, "tail", "n", -1, "begin with the last `N` lines (default: with the first)")
	flags.StringVar(&since, "since", "", "leave out what is older than a `TIME`, such as 90m, 2026-03-01 or 2026-03-01T09:00:00Z")
	flags.Uint64Var(&c.From, "from", 0, "begin with this `TICK`")
	flags.BoolVar(&asJSON, "json", false, "write JSON, an object a line")
	cmd.Flags().Lookup("tail").DefValue = "0" // for help, that is none
	return cmd
}

// parseSince reads a time, or how long ago it was.
func parseSince(s string, now time.Time) (time.Time, error) {
	if d, err := time.ParseDuration(s); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02"} {
		if t, err := time.ParseInLocation(layout, s, time.UTC); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("--since %s: want how long ago, such as 90m, or a time, such as 2026-03-01T09:00:00Z", s)
}
