package verifycli

import (
	"strings"
	"testing"
)

func TestTable(t *testing.T) {
	table := NewTable("NODE", "STATE", "OWNER")
	table.Row(strings.Repeat("n", 20), "up", strings.Repeat("o", 19))
	table.Row("n", "down", "")
	for columns, want := range map[int]string{
		48: "NODE                  STATE  OWNER\n" + strings.Repeat("n", 20) + "  up     " + strings.Repeat("o", 19) + "\nn                     down",
		47: "NODE\n  STATE  OWNER\n" + strings.Repeat("n", 20) + "\n  up     " + strings.Repeat("o", 19) + "\nn\n  down",
		27: "NODE\n  OWNER\n  STATE\n" + strings.Repeat("n", 20) + "\n  " + strings.Repeat("o", 19) + "\n  up\nn\n\n  down",
	} {
		if got := strings.Join(table.Lines(columns), "\n"); got != want {
			t.Errorf("in %d columns:\n%s\nwant\n%s", columns, got, want)
		}
	}
}
