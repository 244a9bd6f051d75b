package pages

import (
	"bytes"
	"fmt"
	"html/template"
	"io/fs"
	"regexp"
	"strings"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/parser"
	"github.com/yuin/goldmark/text"
)

// A document is one page of docs.
type document struct {
	Path     string // in specs/
	Title    string
	Summary  string // its first paragraph
	Content  template.HTML
	Sections []heading
}

type heading struct{ ID, Text string }

// order is that in which the specs are best read; others follow by name.
var order = []string{"checkpoint.md", "lineage.md", "car.md"}

func readSpecs(specs fs.FS) ([]document, error) {
	names, err := fs.Glob(specs, "*.md")
	if err != nil {
		return nil, err
	}
	var documents []document
	done := make(map[string]bool)
	for _, name := range append(order[:len(order):len(order)], names...) {
		if done[name] {
			continue
		}
		done[name] = true
		d, err := readDocument(specs, name)
		if err != nil {
			return nil, err
		}
		d.Path = strings.TrimSuffix(name, ".md") + ".html"
		documents = append(documents, d)
	}
	return documents, nil
}

func readDocument(docs fs.FS, name string) (document, error) {
	source, err := fs.ReadFile(docs, name)
	if err != nil {
		return document{}, fmt.Errorf("pages: %w", err)
	}
	d, err := convert(source)
	if err != nil {
		return document{}, fmt.Errorf("pages: %s: %w", name, err)
	}
	return d, nil
}

var markdown = goldmark.New(
	// The site's policy allows no inline styles, which is how alignment is written otherwise.
	goldmark.WithExtensions(extension.NewTable(extension.WithTableCellAlignMethod(extension.TableCellAlignAttribute))),
	goldmark.WithParserOptions(parser.WithAutoHeadingID()),
)

// emptyHeader is a cell that heads nothing: a column of names often has no heading, and a screen reader would read an empty one.
var emptyHeader = regexp.MustCompile(`<th[^>]*></th>`)

func convert(source []byte) (d document, err error) {
	root := markdown.Parser().Parse(text.NewReader(source))
	err = ast.Walk(root, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if !entering {
			return ast.WalkContinue, nil
		}
		switch n := n.(type) {
		case *ast.Heading:
			words := plain(n, source)
			switch n.Level {
			case 1:
				d.Title = words
			case 2:
				id, _ := n.AttributeString("id")
				idBytes, _ := id.([]byte)
				d.Sections = append(d.Sections, heading{string(idBytes), words})
			}
		case *ast.Paragraph:
			if d.Summary == "" {
				d.Summary = plain(n, source)
			}
		case *ast.Link:
			// The documents link to each other as files of docs, of which spec is specs here.
			if to, rest, ok := strings.Cut(string(n.Destination), ".md"); ok && !strings.Contains(to, ":") {
				if name, ok := strings.CutPrefix(to, "spec/"); ok {
					to = "specs/" + name
				}
				n.Destination = []byte(to + ".html" + rest)
			}
		}
		return ast.WalkContinue, nil
	})
	if err != nil {
		return d, err
	}
	if d.Title == "" {
		return d, fmt.Errorf("it has no title")
	}
	var b bytes.Buffer
	if err := markdown.Renderer().Render(&b, source, root); err != nil {
		return d, err
	}
	// What is wider than the screen scrolls, and what scrolls can be reached by keyboard.
	html := strings.NewReplacer(
		"<table>", `<div class="scroll" tabindex="0" role="group" aria-label="Table"><table>`,
		"</table>", "</table></div>",
		"<pre>", `<pre tabindex="0">`,
	).Replace(emptyHeader.ReplaceAllString(b.String(), "<td></td>"))
	d.Content = template.HTML(html)
	return d, nil
}

// plain returns the words of a node.
func plain(n ast.Node, source []byte) string {
	var b strings.Builder
	ast.Walk(n, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if t, ok := n.(*ast.Text); ok && entering {
			b.Write(t.Segment.Value(source))
			if t.SoftLineBreak() {
				b.WriteByte(' ')
			}
		}
		return ast.WalkContinue, nil
	})
	return b.String()
}
