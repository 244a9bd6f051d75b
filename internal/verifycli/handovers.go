package verifycli

import (
	"fmt"

	"igor.dev/verifier"
)

// maxHandOverRows is how many hand-overs people are shown; the others are counted.
const maxHandOverRows = 6

// handOverRows say who gave the agent to whom.
func handOverRows(r *verifier.Report) (rows []string) {
	n, wrong := 0, 0
	var last []string
	for h := range r.HandOvers() {
		n++
		text := "to " + h.To.DID()
		if h.HasTick {
			text += fmt.Sprintf(" at tick %d", h.Tick)
		}
		if h.Problem != verifier.HandOverCounts {
			wrong++
			rows = append(rows, fmt.Sprintf("hand-over %d does not count: %s", h.Number, h.Problem.What()))
			continue
		}
		last = append(last, text)
	}
	if n == 0 {
		return nil
	}
	head := Plural(n-wrong, "hand-over") + " that both nodes signed"
	more := max(0, len(last)-maxHandOverRows)
	shown := append([]string{head}, last[more:]...)
	if more > 0 {
		shown = append(shown[:1], append([]string{fmt.Sprintf("the newest %d:", maxHandOverRows)}, shown[1:]...)...)
	}
	if len(rows) > maxHandOverRows {
		rows = append(rows[:maxHandOverRows], fmt.Sprintf("and %d more that do not count", len(rows)-maxHandOverRows))
	}
	return append(shown, rows...)
}
