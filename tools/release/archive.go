package main

import (
	"archive/tar"
	"archive/zip"
	"compress/gzip"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// archives writes a product's archive for a platform.
func (r *release) archives(p product, target, bin string, docs map[string]string) error {
	all := maps.Clone(docs)
	maps.DeleteFunc(all, func(name, _ string) bool {
		return !p.has(name) || strings.HasPrefix(name, "systemd/") && !strings.HasPrefix(target, "linux/")
	})
	for _, name := range p.programs {
		all[name+exe(target)] = filepath.Join(bin, name+exe(target))
	}
	return r.archive(p.name, target, all)
}

// archive writes one archive, whose files are in a folder of its name.
func (r *release) archive(what, target string, files map[string]string) (err error) {
	name := strings.Join([]string{what, r.version, strings.ReplaceAll(target, "/", "_")}, "_")
	ext, pack := ".tar.gz", r.tarGz
	if strings.HasPrefix(target, "windows/") {
		ext, pack = ".zip", r.zip
	}
	f, err := os.Create(filepath.Join(r.out, name+ext))
	if err != nil {
		return err
	}
	defer func() {
		if closed := f.Close(); err == nil {
			err = closed
		}
	}()
	return pack(f, name+"/", files)
}

func (r *release) tarGz(to io.Writer, prefix string, files map[string]string) error {
	z, err := gzip.NewWriterLevel(to, gzip.BestCompression)
	if err != nil {
		return err
	}
	t := tar.NewWriter(z)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		b, err := os.ReadFile(files[name])
		if err != nil {
			return err
		}
		h := &tar.Header{Name: prefix + name, Mode: mode(name), Size: int64(len(b)), ModTime: r.date, Format: tar.FormatUSTAR}
		if err := t.WriteHeader(h); err != nil {
			return err
		}
		if _, err := t.Write(b); err != nil {
			return err
		}
	}
	if err := t.Close(); err != nil {
		return err
	}
	return z.Close()
}

func (r *release) zip(to io.Writer, prefix string, files map[string]string) error {
	z := zip.NewWriter(to)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		b, err := os.ReadFile(files[name])
		if err != nil {
			return err
		}
		h := &zip.FileHeader{Name: prefix + name, Method: zip.Deflate, Modified: r.date}
		h.SetMode(os.FileMode(mode(name)))
		w, err := z.CreateHeader(h)
		if err != nil {
			return err
		}
		if _, err := w.Write(b); err != nil {
			return err
		}
	}
	return z.Close()
}

// mode is that of a file in an archive: only the programs are at its top, and have
// no extension or that of Windows.
func mode(name string) int64 {
	if strings.HasSuffix(name, ".exe") || slices.ContainsFunc(products, func(p product) bool { return slices.Contains(p.programs, name) }) {
		return 0o755
	}
	return 0o644
}
