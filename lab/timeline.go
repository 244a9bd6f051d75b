package lab

import (
	"cmp"
	"fmt"
	"html"
	"slices"
	"strings"
	"time"
)

// A span is a while of a row.
type span struct {
	from, to time.Duration
	what     byte // of a fault: x = the node did not run, = paused, ~ a link of it was cut, - slow, @ its clock was wrong
}

// A track is what a timeline draws: where each agent lived, and what was wrong with each
// node.
type track struct {
	length time.Duration
	nodes  []string
	agents []string
	lives  map[[2]string][]span // agent, node
	faults map[string][]span
	seen   map[string][]arrival
}

// An arrival is when an agent was first seen at a node, after so many hand-overs.
type arrival struct {
	node  string
	moves uint64
	at    time.Duration
}

func newTrack(s *Script, events []Event) *track {
	t := &track{lives: map[[2]string][]span{}, faults: map[string][]span{}, seen: map[string][]arrival{}}
	for _, n := range s.Nodes {
		t.nodes = append(t.nodes, n.Name)
	}
	for _, a := range s.Agents {
		t.agents = append(t.agents, a.Name)
	}
	for _, e := range events {
		t.length = max(t.length, e.Ended)
	}
	last := map[string]Event{}  // look at a node
	owner := map[string]Event{} // of an agent, by its fleet
	arrived := func(agent, node string, moves uint64, at time.Duration) {
		if !slices.ContainsFunc(t.seen[agent], func(a arrival) bool { return a.moves == moves }) {
			t.seen[agent] = append(t.seen[agent], arrival{node, moves, at})
		}
	}
	open := map[[2]string]time.Duration{}
	wrong := map[string]bool{} // clocks
	begin := func(node string, what byte, at time.Duration) {
		if _, is := open[[2]string{node, string(what)}]; !is {
			open[[2]string{node, string(what)}] = at
		}
	}
	end := func(node string, what byte, at time.Duration) {
		if from, is := open[[2]string{node, string(what)}]; is {
			t.faults[node] = append(t.faults[node], span{from, at, what})
			delete(open, [2]string{node, string(what)})
		}
	}
	for _, e := range events {
		switch e.What {
		case Saw, Dumb:
			if s.Fleet != nil {
				continue // it says what it believes
			}
			was := last[e.Node]
			for agent, l := range e.Lives {
				k := [2]string{agent, e.Node}
				if o, lived := was.Lives[agent]; lived && o.Moves == l.Moves && len(t.lives[k]) > 0 {
					t.lives[k][len(t.lives[k])-1].to = e.Ended
				} else {
					t.lives[k] = append(t.lives[k], span{from: e.Began, to: e.Ended})
					arrived(agent, e.Node, l.Moves, e.Began)
				}
			}
			last[e.Node] = e
		case Position:
			k := [2]string{e.Agent, e.Node}
			if o, is := owner[e.Agent]; is && o.Node == e.Node && len(t.lives[k]) > 0 {
				t.lives[k][len(t.lives[k])-1].to = e.Ended
			} else {
				t.lives[k] = append(t.lives[k], span{from: e.Began, to: e.Ended})
			}
			owner[e.Agent] = e
			arrived(e.Agent, e.Node, e.Moves+e.Takeovers, e.Began)
		case Did:
			s, err := parseStep(e.Step)
			if err != nil || e.Error != "" {
				continue
			}
			switch s.verb {
			case "kill", "kill paying", "stop":
				begin(e.Node, 'x', e.Ended)
			case "start":
				end(e.Node, 'x', e.Ended)
				if end(e.Node, '@', e.Ended); wrong[e.Node] {
					begin(e.Node, '@', e.Ended)
				}
			case "skew":
				wrong[e.Node] = s.for_ != 0 // from its next start on
			case "slow":
				if end(e.Node, '-', e.Ended); s.for_ > 0 {
					begin(e.Node, '-', e.Ended)
				}
			case "pause":
				begin(e.Node, '=', e.Ended)
			case "continue":
				end(e.Node, '=', e.Ended)
			case "cut", "cut one way":
				begin(e.Node, '~', e.Ended)
				begin(e.To, '~', e.Ended)
			case "isolate":
				begin(e.Node, '~', e.Ended)
			case "join", "heal":
				for _, n := range t.nodes {
					if s.verb == "heal" && e.Node == "" || n == e.Node || n == e.To {
						end(n, '~', e.Ended)
					}
				}
			}
		}
	}
	for k, from := range open {
		t.faults[k[0]] = append(t.faults[k[0]], span{from, t.length, k[1][0]})
	}
	// The lesser ones first: what is drawn later covers them.
	lesser := func(s span) int { return strings.IndexByte("@-~=x", s.what) }
	for _, all := range t.faults {
		slices.SortStableFunc(all, func(a, b span) int { return cmp.Or(cmp.Compare(lesser(a), lesser(b)), cmp.Compare(a.from, b.from)) })
	}
	return t
}

// has reports whether a fault of a kind was there.
func (t *track) has(what byte) bool {
	for _, all := range t.faults {
		if slices.ContainsFunc(all, func(s span) bool { return s.what == what }) {
			return true
		}
	}
	return false
}

// width is that of a terminal.
const width = 80

// text draws a timeline for a terminal.
func (t *track) text() string {
	names := 4
	for _, n := range t.nodes {
		names = max(names, len(n))
	}
	first := len("faults")
	for _, a := range t.agents {
		first = max(first, len(a))
	}
	columns := width - first - names - 3
	var b strings.Builder
	row := func(title, node string, spans []span, mark byte) {
		cells := []byte(strings.Repeat(".", columns))
		for _, s := range spans {
			from, to := int(int64(s.from)*int64(columns)/int64(t.length+1)), int(int64(s.to)*int64(columns)/int64(t.length+1))
			for i := from; i <= to && i < columns; i++ {
				cells[i] = mark
				if s.what != 0 {
					cells[i] = s.what
				}
			}
		}
		fmt.Fprintf(&b, "%-*s %-*s %s\n", first, title, names, node, cells)
	}
	span := fmt.Sprintf("%.1f s", t.length.Seconds())
	fmt.Fprintf(&b, "%-*s %-*s 0%*s\n", first, "lived", names, "at", columns-1, span)
	for _, a := range t.agents {
		title := a
		for _, n := range t.nodes {
			row(title, n, t.lives[[2]string{a, n}], '#')
			title = ""
		}
	}
	title := "faults"
	for _, n := range t.nodes {
		if len(t.faults[n]) > 0 {
			row(title, n, t.faults[n], 0)
			title = ""
		}
	}
	if title == "" {
		fmt.Fprintf(&b, "%*s x does not run, = stopped for a while, ~ a link is cut\n", first+names+1, "")
		if t.has('-') || t.has('@') {
			fmt.Fprintf(&b, "%*s - its links are slow, @ its clock is wrong\n", first+names+1, "")
		}
	}
	return b.String()
}

// What the drawing has in pixels.
const (
	rowHeight = 26
	leftEdge  = 150
	drawn     = 900 // of time
	topEdge   = 46
)

const svgStyle = `text{font:13px system-ui,sans-serif;fill:#1b1f24}.faint{fill:#57606a}.line{stroke:#d0d7de}.lives{fill:#0969da}.moved{stroke:#1b1f24;stroke-width:1.5;fill:none}
.x{fill:#cf222e}.p{fill:#bf8700}.c{fill:#8250df}.s{fill:#1a7f37}.t{fill:#bf3989}.ground{fill:#fff}
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.faint{fill:#9198a1}.line{stroke:#30363d}.lives{fill:#4493f8}.moved{stroke:#e6edf3}.x{fill:#f85149}.p{fill:#d29922}.c{fill:#a371f7}.s{fill:#3fb950}.t{fill:#db61a2}.ground{fill:#0d1117}}`

// svg draws a timeline as a picture.
func (t *track) svg() string {
	var b strings.Builder
	x := func(d time.Duration) float64 { return leftEdge + float64(d)/float64(max(t.length, 1))*drawn }
	rows := len(t.agents) * len(t.nodes)
	height := topEdge + rows*rowHeight + len(t.agents)*14 + 44
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" role="img"><title>Where agents lived</title><style>%s</style><rect class="ground" width="100%%" height="100%%"/>`+"\n",
		leftEdge+drawn+30, height, svgStyle)
	step := time.Second
	for t.length/step > 12 {
		step *= 2
	}
	for d := time.Duration(0); d <= t.length; d += step {
		fmt.Fprintf(&b, `<line class="line" x1="%.1f" x2="%.1f" y1="%d" y2="%d"/><text class="faint" x="%.1f" y="%d" text-anchor="middle">%g s</text>`+"\n",
			x(d), x(d), topEdge-10, height-40, x(d), topEdge-18, d.Seconds())
	}
	y := topEdge
	for _, a := range t.agents {
		at := map[string]int{}
		for i, n := range t.nodes {
			at[n] = y
			title := ""
			if i == 0 {
				title = a
			}
			fmt.Fprintf(&b, `<text x="10" y="%d" font-weight="600">%s</text><text class="faint" x="%d" y="%d" text-anchor="end">%s</text>`+"\n", y+14, html.EscapeString(title), leftEdge-10, y+14, html.EscapeString(n))
			bar := func(class string, s span, dy, h int, what string) {
				fmt.Fprintf(&b, `<rect class="%s" x="%.1f" y="%d" width="%.1f" height="%d" rx="2"><title>%s, %.2f to %.2f s</title></rect>`+"\n",
					class, x(s.from), y+dy, max(2, x(s.to)-x(s.from)), h, html.EscapeString(what), s.from.Seconds(), s.to.Seconds())
			}
			for _, s := range t.lives[[2]string{a, n}] {
				bar("lives", s, 2, 14, a+" lives at "+n)
			}
			for _, s := range t.faults[n] {
				switch s.what {
				case 'x':
					bar("x", s, 18, 4, n+" does not run")
				case '=':
					bar("p", s, 18, 4, n+" is stopped for a while")
				case '-':
					bar("s", s, 22, 3, "the links of "+n+" are slow")
				case '@':
					bar("t", s, 22, 3, "the clock of "+n+" is wrong")
				default:
					bar("c", s, 18, 4, "a link of "+n+" is cut")
				}
			}
			y += rowHeight
		}
		seen := t.seen[a]
		slices.SortFunc(seen, func(a, b arrival) int { return cmp.Compare(a.moves, b.moves) })
		for i := 1; i < len(seen); i++ {
			if from, to := seen[i-1], seen[i]; to.moves == from.moves+1 {
				fmt.Fprintf(&b, `<path class="moved" d="M%.1f %dV%d"/>`+"\n", x(to.at), at[from.node]+9, at[to.node]+9)
			}
		}
		y += 14
	}
	legend := leftEdge
	for _, l := range [][2]string{{"lives", "the agent lives here"}, {"x", "the node does not run"}, {"p", "it is stopped for a while"}, {"c", "a link of it is cut"}, {"s", "its links are slow"}, {"t", "its clock is wrong"}} {
		fmt.Fprintf(&b, `<rect class="%s" x="%d" y="%d" width="14" height="10" rx="2"/><text class="faint" x="%d" y="%d">%s</text>`+"\n", l[0], legend, height-24, legend+20, height-15, l[1])
		legend += 34 + 7*len(l[1])
	}
	b.WriteString("</svg>\n")
	return b.String()
}
