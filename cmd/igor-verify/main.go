// Igor-verify says whether the checkpoints it is given are one whole, untampered
// life of an agent. It needs nothing but the standard library and this module.
package main

import (
	"os"

	"igor.dev/internal/verifycli"
)

func main() {
	os.Exit(verifycli.Main("igor-verify", os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
