package main

import (
	"bytes"
	"cmp"
	"debug/buildinfo"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"
)

// notShipped are the npm packages that check and test the pages, and are not in
// them. What is not named here counts as shipped.
var notShipped = []string{"typescript", "playwright-core", "axe-core"}

// bill writes the bill of materials: the modules that the programs say they are
// made of, Go's standard library, and what the site inside igor is bundled from.
func (r *release) bill(programs []string) error {
	parts := make(map[string]cdx.Component) // by package URL
	add := func(name, version, url string) {
		parts[url] = cdx.Component{BOMRef: url, Type: cdx.ComponentTypeLibrary, Name: name, Version: version, PackageURL: url}
	}
	for _, program := range programs {
		info, err := buildinfo.ReadFile(program)
		if err != nil {
			return err
		}
		version := strings.TrimPrefix(info.GoVersion, "go")
		add("std", version, "pkg:golang/std@"+version)
		for _, m := range info.Deps {
			add(m.Path, m.Version, "pkg:golang/"+m.Path+"@"+m.Version)
		}
	}
	shipped, err := r.npm()
	if err != nil {
		return err
	}
	for name, version := range shipped {
		add(name, version, "pkg:npm/"+strings.Replace(name, "@", "%40", 1)+"@"+version)
	}
	components := slices.SortedFunc(maps.Values(parts), func(a, b cdx.Component) int { return cmp.Compare(a.PackageURL, b.PackageURL) })
	b := cdx.NewBOM()
	b.Metadata = &cdx.Metadata{
		Timestamp: r.date.Format(time.RFC3339),
		Component: &cdx.Component{BOMRef: "igor", Type: cdx.ComponentTypeApplication, Name: "igor", Version: r.version,
			Properties: &[]cdx.Property{{Name: "commit", Value: r.commit}}},
	}
	b.Components = &components
	var out bytes.Buffer
	if err := cdx.NewBOMEncoder(&out, cdx.BOMFileFormatJSON).SetPretty(true).Encode(b); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(r.out, "igor_"+r.version+".cdx.json"), out.Bytes(), 0o644)
}

// npm returns the packages that the pages are bundled from, and their versions.
func (r *release) npm() (map[string]string, error) {
	b, err := os.ReadFile(filepath.Join(r.root, "package.json"))
	if err != nil {
		return nil, err
	}
	var file struct{ DevDependencies map[string]string }
	if err := json.Unmarshal(b, &file); err != nil {
		return nil, err
	}
	maps.DeleteFunc(file.DevDependencies, func(name, _ string) bool {
		return slices.Contains(notShipped, name) || strings.HasPrefix(name, "@types/")
	})
	return file.DevDependencies, nil
}
