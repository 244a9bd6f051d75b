package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"igor.dev/runtime"
	"igor.dev/verifier/witness"
	public "igor.dev/witness"
)

// witnessing makes of the flags where agents say in public where they stand, nil if
// nowhere.
func (f *liveFlags) witnessing(cmd *cobra.Command) (*runtime.Witnessing, error) {
	if f.witness == "" {
		for _, flag := range []string{"require-witness", "witness-every", "publish-fork"} {
			if cmd.Flags().Changed(flag) {
				return nil, &hinted{fmt.Errorf("--%s needs --witness POLICY", flag), "POLICY is a file that names logs and witnesses: docs/witnessing.md"}
			}
		}
		return nil, nil
	}
	c, err := witnessClient(f.witness)
	if err != nil {
		return nil, failed(err)
	}
	return &runtime.Witnessing{Log: c, Every: f.headEvery, Required: f.witnessed, PublishFork: f.publishFork}, nil
}

// witnessClient makes a client of the logs of a policy file.
func witnessClient(file string) (*public.Client, error) {
	p, err := readPolicy(file)
	if err != nil {
		return nil, err
	}
	c, err := public.NewClient(p)
	if err != nil {
		return nil, noPolicy(file, err)
	}
	return c, nil
}

// readPolicy reads a file that says which logs and witnesses to believe.
func readPolicy(file string) (*witness.Policy, error) {
	b, err := readLimited(file, witness.MaxPolicy)
	if err != nil {
		return nil, err
	}
	p, err := witness.ParsePolicy(b)
	if err != nil {
		return nil, noPolicy(file, err)
	}
	return p, nil
}

func noPolicy(file string, err error) error {
	return &hinted{fmt.Errorf("%s: %w", file, err), "docs/witnessing.md has a policy with the address of its log"}
}
