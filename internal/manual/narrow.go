package manual

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"igor.dev/internal/verifycli"
)

// Narrow has the help of a program's commands fit a terminal.
func Narrow(root *cobra.Command) {
	cobra.AddTemplateFunc("paragraphs", Paragraphs)
	root.SetUsageTemplate(strings.ReplaceAll(root.UsageTemplate(), ".FlagUsages ", fmt.Sprintf(".FlagUsagesWrapped %d ", columns)))
	root.SetHelpTemplate("{{with or .Long .Short}}{{. | paragraphs}}\n{{end}}{{.UsageString}}")
}

// Paragraphs breaks text, but not what is indented, at the edge of a terminal.
func Paragraphs(text string) string {
	var b strings.Builder
	for p := range strings.SplitSeq(text, "\n\n") {
		if strings.HasPrefix(p, " ") {
			b.WriteString(p + "\n\n")
			continue
		}
		b.WriteString(strings.Join(verifycli.Wrap(p, columns), "\n") + "\n\n")
	}
	return strings.TrimSuffix(b.String(), "\n")
}
