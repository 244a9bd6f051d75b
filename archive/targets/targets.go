// Package targets opens targets of archives by their names.
package targets

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"strings"

	"igor.dev/archive"
	"igor.dev/archive/arweave"
	"igor.dev/archive/dir"
	"igor.dev/archive/s3"
	"igor.dev/archive/web"
)

// Signs reports whether what is put in a target has to be signed.
func Signs(name string) bool { return strings.HasPrefix(name, "arweave+") }

// Open opens a target to put lives there. key signs what is put, where that is signed.
func Open(name string, key ed25519.PrivateKey) (archive.Target, error) {
	scheme, _, _ := strings.Cut(name, "://")
	switch scheme {
	case "arweave+https", "arweave+http":
		return openArweave(name, key)
	case "http", "https":
		return nil, errors.New("nothing can be put on a web server: name the folder that it serves, or an S3 target")
	case name:
		return dir.Open(name)
	}
	return Find(name)
}

// Find opens a target to read from.
func Find(name string) (archive.Target, error) {
	scheme, rest, found := strings.Cut(name, "://")
	if !found {
		return dir.Find(name)
	}
	switch scheme {
	case "file":
		if !strings.HasPrefix(rest, "/") {
			return nil, errors.New("want file:///FOLDER")
		}
		return dir.Find(rest)
	case "s3":
		c, err := s3.ParseURL(name)
		if err != nil {
			return nil, err
		}
		return s3.Open(c)
	case "arweave+https", "arweave+http":
		return openArweave(name, nil)
	case "http", "https":
		return web.Open(name, nil)
	}
	return nil, fmt.Errorf("an archive has no %q: want a folder, s3://BUCKET, arweave+https://BUNDLER, or to read https://HOST", scheme+"://")
}

func openArweave(name string, key ed25519.PrivateKey) (archive.Target, error) {
	c, err := arweave.ParseURL(name)
	if err != nil {
		return nil, err
	}
	c.Key = key
	return arweave.Open(c)
}
