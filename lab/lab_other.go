//go:build !linux

package lab

import (
	"context"
	"errors"
)

// Run says that scripts cannot be run here.
func Run(context.Context, Config) (*Result, error) {
	return nil, errors.New("scripts are run on Linux alone: each node has a network namespace of its own")
}
