//go:build !linux

package lab

import "errors"

func newProcesses(*lab) (world, error) {
	return nil, errors.New("nodes are processes on Linux alone, in network namespaces; a script with simulated: true runs everywhere")
}
