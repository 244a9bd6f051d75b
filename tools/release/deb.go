package main

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strconv"
	"strings"
)

// deb writes a product's package for Debian and what comes from it. dpkg-deb packs it: the
// format is its own.
func (r *release) deb(p product, machine, bin string, docs map[string]string) error {
	tree := filepath.Join(r.work, "deb-"+p.name+"-"+machine)
	for _, name := range p.programs {
		if err := install(tree, path.Join("usr/bin", name), filepath.Join(bin, name), 0o755); err != nil {
			return err
		}
	}
	for name, from := range docs {
		to, zipped := debPath(p.name, name)
		if to == "" || !p.has(name) {
			continue
		}
		if zipped {
			var err error
			if from, err = r.zipped(from); err != nil {
				return err
			}
		}
		if err := install(tree, to, from, 0o644); err != nil {
			return err
		}
	}
	packaging := filepath.Join(r.root, "packaging", "debian")
	if err := install(tree, path.Join("usr/share/doc", p.name, "copyright"), filepath.Join(packaging, "copyright"), 0o644); err != nil {
		return err
	}
	for _, script := range []string{"postinst", "prerm", "postrm"} {
		from := filepath.Join(packaging, p.name+"."+script)
		if _, err := os.Stat(from); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err := install(tree, "DEBIAN/"+script, from, 0o755); err != nil {
			return err
		}
	}
	control, err := os.ReadFile(filepath.Join(packaging, p.name+".control"))
	if err != nil {
		return err
	}
	size, err := kibibytes(tree)
	if err != nil {
		return err
	}
	fields := strings.NewReplacer("@VERSION@", r.version, "@ARCHITECTURE@", machine, "@SIZE@", strconv.FormatInt(size, 10)).Replace(string(control))
	if err := os.WriteFile(filepath.Join(tree, "DEBIAN", "control"), []byte(fields), 0o644); err != nil {
		return err
	}
	if err := r.dateAndOpen(tree); err != nil {
		return err
	}
	pack := exec.Command("dpkg-deb", "--root-owner-group", "-Zxz", "--build", tree, filepath.Join(r.out, fmt.Sprintf("%s_%s_%s.deb", p.name, r.version, machine)))
	pack.Env = append(os.Environ(), "SOURCE_DATE_EPOCH="+strconv.FormatInt(r.date.Unix(), 10))
	return run(pack)
}

// debPath says where a file of the archives goes in a package, "" for nowhere.
func debPath(of, name string) (to string, zipped bool) {
	folder, base := path.Split(name)
	switch folder {
	case "man/man1/":
		return "usr/share/man/man1/" + base + ".gz", true
	case "systemd/":
		return "usr/lib/systemd/system/" + base, false
	case "prometheus/", "grafana/":
		return "usr/share/igor/" + name, false
	}
	switch name {
	case "CHANGELOG.md":
		return path.Join("usr/share/doc", of, "CHANGELOG.md.gz"), true
	case "completions/igor.bash":
		return "usr/share/bash-completion/completions/igor", false
	case "completions/_igor":
		return "usr/share/zsh/vendor-completions/_igor", false
	case "completions/igor.fish":
		return "usr/share/fish/vendor_completions.d/igor.fish", false
	}
	return "", false
}

func install(tree, to, from string, mode fs.FileMode) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	to = filepath.Join(tree, filepath.FromSlash(to))
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	return os.WriteFile(to, b, mode)
}

// zipped compresses a file, and returns where it is then.
func (r *release) zipped(from string) (string, error) {
	b, err := os.ReadFile(from)
	if err != nil {
		return "", err
	}
	f, err := os.CreateTemp(r.work, "zipped-")
	if err != nil {
		return "", err
	}
	z, err := gzip.NewWriterLevel(f, gzip.BestCompression)
	if err == nil {
		_, err = z.Write(b)
	}
	if err == nil {
		err = z.Close()
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	return f.Name(), err
}

// kibibytes is how much room the files take.
func kibibytes(tree string) (n int64, err error) {
	err = filepath.WalkDir(tree, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			n += (info.Size() + 1023) / 1024
		}
		return err
	})
	return n, err
}

// dateAndOpen gives every file and folder the commit's date, and modes that do not
// come from this machine's umask.
func (r *release) dateAndOpen(tree string) error {
	return filepath.WalkDir(tree, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		mode := fs.FileMode(0o644)
		if d.IsDir() || info.Mode()&0o100 != 0 {
			mode = 0o755
		}
		if err := os.Chmod(name, mode); err != nil {
			return err
		}
		return os.Chtimes(name, r.date, r.date)
	})
}
