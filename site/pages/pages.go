// Package pages renders the HTML of the verification site: the pages beside
// this file, docs/ci.md and docs/spec. It is part of the site's build and of no program
// that runs elsewhere.
package pages

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"io/fs"
	"strings"

	"igor.dev/site/policy"
)

//go:embed *.html icon.svg social.png *.webmanifest
var sources embed.FS

// SocialImage is the picture that links to the site are shown with, where such links are shown. No
// page loads it. Those that do want a whole address, so it is that of the project's own site.
const (
	SocialImage = "social.png"
	socialURL   = "https://igor.dev/" + SocialImage
)

// A Build is what the pages say of the verifier that they run.
type Build struct {
	Version  string // as in a report's "verifier"
	WASMHash string // SHA-256 of the WASM, in hex
	ID       string // of the build, the same as in what its server says

	// Scripts and Styles are the names of files in app and styles, by those in this package.
	Scripts, Styles map[string]string
}

type page struct {
	path        string // in the site
	source      string // of the content, a template
	title       string
	description string
	styles      []string
	scripts     []string
}

var verifyStyles = []string{"site.css", "verify.css", "timeline.css", "inspector.css"}

var all = []page{
	{"index.html", "verify.html", "Igor: verify an agent’s history",
		"Verify the signed history of an autonomous agent in your browser. Nothing leaves your machine.",
		verifyStyles, []string{"main.js"}},
	{policy.LoadPage, "verify.html", "Igor: verify an agent’s history",
		"Load a history from an address, and verify it in your browser.",
		verifyStyles, []string{"narrow.js", "main.js"}},
	{"embed.html", "embed.html", "Igor: embed a lineage badge",
		"A badge that verifies an agent’s lineage in the reader’s browser, in two lines of HTML.",
		[]string{"site.css", "text.css"}, []string{"embed.js"}},
	{"ci.html", "document.html", "Igor: verify in CI",
		"Check an agent’s history in continuous integration and on the command line.",
		[]string{"site.css", "text.css"}, []string{"text.js"}},
	{"specs/index.html", "specs.html", "Igor: the specifications",
		"The checkpoint format, lineage verification and the report, histories as CAR files, and the effect log.",
		[]string{"site.css", "text.css"}, []string{"text.js"}},
}

type navItem struct{ Name, Path, Current string }

func nav(at string) []navItem {
	items := []navItem{{"Verify", "./", ""}, {"Embed", "embed.html", ""}, {"CI", "ci.html", ""}, {"Specs", "specs/", ""}}
	set := func(i int, exact bool) {
		items[i].Current = "true"
		if exact {
			items[i].Current = "page"
		}
	}
	switch {
	case at == "index.html" || at == policy.LoadPage:
		set(0, at == "index.html")
	case at == "embed.html":
		set(1, true)
	case at == "ci.html":
		set(2, true)
	default:
		set(3, at == "specs/index.html")
	}
	return items
}

// Render returns the site's pages and samples, by their paths in the site.
// Docs is the folder docs, and histories testdata/histories.
func Render(docs, histories fs.FS, build Build) (map[string][]byte, error) {
	samples, err := makeSamples(histories)
	if err != nil {
		return nil, err
	}
	specs, err := fs.Sub(docs, "spec")
	if err != nil {
		return nil, err
	}
	documents, err := readSpecs(specs)
	if err != nil {
		return nil, err
	}
	ci, err := readDocument(docs, "ci.md")
	if err != nil {
		return nil, err
	}
	site := make(map[string][]byte)
	for _, s := range samples {
		site["samples/"+s.CAR] = s.car
		site["samples/"+s.File] = s.bytes
	}
	for _, name := range []string{"icon.svg", "manifest.webmanifest", SocialImage} {
		if site[name], err = sources.ReadFile(name); err != nil {
			return nil, err
		}
	}
	for _, p := range all {
		content, err := execute(p.source, map[string]any{"Samples": samples, "Specs": documents, "Document": ci})
		if err != nil {
			return nil, err
		}
		if site[p.path], err = p.render(content, build); err != nil {
			return nil, err
		}
	}
	for _, d := range documents {
		content, err := execute("spec.html", map[string]any{"Specs": documents, "Spec": d})
		if err != nil {
			return nil, err
		}
		p := page{"specs/" + d.Path, "", "Igor: " + d.Title, d.Title, []string{"site.css", "text.css"}, []string{"text.js"}}
		if site[p.path], err = p.render(content, build); err != nil {
			return nil, err
		}
	}
	return site, nil
}

// render puts a page's content into the layout.
func (p page) render(content template.HTML, build Build) ([]byte, error) {
	scripts, err := names(p.scripts, build.Scripts)
	if err != nil {
		return nil, err
	}
	styles, err := names(p.styles, build.Styles)
	if err != nil {
		return nil, err
	}
	out, err := execute("layout.html", map[string]any{
		"CSP":         policy.For(p.path),
		"Social":      socialURL,
		"Title":       p.title,
		"Description": p.description,
		"Root":        template.URL(strings.Repeat("../", strings.Count(p.path, "/"))),
		"Styles":      styles,
		"Scripts":     scripts,
		"Build":       build.ID,
		"Nav":         nav(p.path),
		"Content":     content,
		"Version":     build.Version,
		"WASMHash":    build.WASMHash,
	})
	return []byte(out), err
}

func names(wanted []string, built map[string]string) ([]string, error) {
	found := make([]string, len(wanted))
	for i, name := range wanted {
		var ok bool
		if found[i], ok = built[name]; !ok {
			return nil, fmt.Errorf("pages: there is no %s", name)
		}
	}
	return found, nil
}

var functions = template.FuncMap{"mark": mark}

// mark is the mark of a verdict, of which layout.html has the shapes.
func mark(verdict string) template.HTML {
	return template.HTML(`<svg class="mark ` + verdict + `" aria-hidden="true"><use href="#mark-` + verdict + `"/></svg>`)
}

func execute(name string, data any) (template.HTML, error) {
	t, err := template.New(name).Funcs(functions).ParseFS(sources, name)
	if err != nil {
		return "", fmt.Errorf("pages: %w", err)
	}
	var b bytes.Buffer
	if err := t.Execute(&b, data); err != nil {
		return "", fmt.Errorf("pages: %w", err)
	}
	return template.HTML(b.String()), nil
}
