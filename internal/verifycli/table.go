package verifycli

import (
	"io"
	"strings"
)

// A Table has rows of cells below their headings.
type Table struct{ rows [][]string }

// NewTable makes one.
func NewTable(headings ...string) *Table { return &Table{[][]string{headings}} }

// Row adds a row.
func (t *Table) Row(cells ...string) {
	row := make([]string, len(cells))
	for i, c := range cells {
		row[i] = Printable(c)
	}
	t.rows = append(t.rows, row)
}

// terminal is how many columns the lines that people read have.
const terminal = 80

// Write writes the table: to a terminal so that it fits, and else a line for each row.
func (t *Table) Write(w io.Writer) error {
	columns := 1 << 30
	if IsTerminal(w) {
		columns = terminal
	}
	_, err := io.WriteString(w, strings.Join(t.Lines(columns), "\n")+"\n")
	return err
}

// Lines returns the lines. Where a row would be longer than so many columns, its longest
// cells, such as DIDs, which people copy, stand on lines of their own before the others.
func (t *Table) Lines(columns int) (lines []string) {
	widths := make([]int, len(t.rows[0]))
	for _, row := range t.rows {
		for i, cell := range row {
			widths[i] = max(widths[i], width(cell))
		}
	}
	own, left := make([]bool, len(widths)), len(widths)
	indent := ""
	for left > 1 {
		sum, widest := len(indent)-2, -1
		for i, w := range widths {
			if !own[i] {
				sum += 2 + w
				if widest < 0 || w > widths[widest] {
					widest = i
				}
			}
		}
		if sum <= columns {
			break
		}
		own[widest], indent = true, "  "
		left--
	}
	for _, row := range t.rows {
		before := ""
		for i, cell := range row {
			if own[i] {
				lines = append(lines, strings.TrimRight(before+cell, " "))
				before = indent
			}
		}
		var b strings.Builder
		b.WriteString(indent)
		for i, cell := range row {
			if !own[i] {
				b.WriteString(cell + strings.Repeat(" ", widths[i]-width(cell)+2))
			}
		}
		lines = append(lines, strings.TrimRight(b.String(), " "))
	}
	return lines
}
