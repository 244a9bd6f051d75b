package main

import (
	"bytes"
	"crypto/ed25519"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"igor.dev/authority"
	"igor.dev/authority/dir"
	"igor.dev/authority/etcd"
	"igor.dev/authority/fleet"
	"igor.dev/authority/https"
	"igor.dev/authority/member"
	"igor.dev/internal/homes"
	"igor.dev/internal/verifycli"
	"igor.dev/runtime"
	"igor.dev/verifier"
)

func memberCommand(where whereFunc) *cobra.Command {
	var fleetName, keyFile, listen string
	var operators, nodes, remove []string
	var join, quiet bool
	cmd := &cobra.Command{
		Use:   "member",
		Short: "Run this node as a member of a fleet, which says who lives an agent",
		Long: `Member runs this node as a member of a fleet, until it is stopped: the members say who
lives the agents whose home the fleet is, and keep what a successor needs. A majority
of them has to run; mostly there are three, on machines of their own. They trust each
other, and the fleet's agents trust them: docs/spec/authority.md says with what.

Each member is named by the DID of its node's key, and where it listens. Agents and
other nodes reach it there, and the members reach each other at the next port.
All are given the same list. To change it, start them again with the new one, one after
the other, and then the new member with --join.`,
		Example: `  igor-node member --fleet did:key:z6Mk…@node1.example:7450,did:key:z6Mk…@node2.example:7450,did:key:z6Mk…@node3.example:7450
  igor run watcher.wasm --store fleet:did:key:z6Mk…@node1.example:7450,…`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			folder, err := where()
			if err != nil {
				return failed(err)
			}
			all, err := fleet.ParseMembers(strings.TrimPrefix(fleetName, fleet.Prefix))
			if err != nil {
				return fmt.Errorf("--fleet: %w", err)
			}
			if keyFile == "" {
				s, err := readSettings(folder)
				if _, none := os.Stat(filepath.Join(folder, fileConfig)); err != nil && none == nil { // it need not be a node's folder
					return &configError{err}
				}
				keyFile = s.Key
			}
			key, err := runtime.NodeKey(keyFile)
			if err != nil {
				return failed(err)
			}
			c := member.Config{}
			var removed []verifier.PublicKey
			for _, list := range []struct {
				flag string
				dids []string
				to   *[]verifier.PublicKey
			}{{"operator", operators, &c.Operators}, {"remove", remove, &removed}, {"node", nodes, new([]verifier.PublicKey)}} {
				for _, did := range list.dids {
					k, err := verifier.ParseDID(did)
					if err != nil {
						return fmt.Errorf("--%s: %w", list.flag, err)
					}
					*list.to = append(*list.to, k)
				}
				if list.flag == "node" && len(*list.to) > 0 {
					served := *list.to
					c.Admit = func(k verifier.PublicKey) bool { return slices.Contains(served, k) }
				}
			}
			options := &slog.HandlerOptions{}
			if quiet {
				options.Level = slog.LevelWarn
			}
			c.Log = slog.New(slog.NewTextHandler(verifycli.SafeLog(cmd.ErrOrStderr(), true), options))
			// The node itself may always look at the fleet that it is a member of.
			self := verifier.PublicKey(key.Public().(ed25519.PublicKey))
			c.Operators = append(c.Operators, self)
			c.Seen = seenIn(filepath.Join(folder, "agents"))
			return failed(runMember(cmd, folder, key, all, listen, join, removed, c))
		},
	}
	f := cmd.Flags()
	f.StringVar(&fleetName, "fleet", "", "`DID@HOST:PORT,…`: all members, this one among them")
	f.StringVar(&keyFile, "node-key", "", "`FILE` of the node's key (default: that of the node's settings, or igor/node.key in the user's configuration folder)")
	f.StringVar(&listen, "listen", "", "`HOST` to listen at, such as 0.0.0.0 (default: its own among the members)")
	f.StringArrayVar(&operators, "operator", nil, "`DID` of a node that may recover the fleet, besides the members; may be repeated")
	f.StringArrayVar(&nodes, "node", nil, "`DID` of a node that is served; may be repeated (default: any)")
	f.BoolVar(&join, "join", false, "come to a fleet that lives already, whose members were started again with the new list")
	f.StringArrayVar(&remove, "remove", nil, "`DID` of a member to take out of the fleet, such as one whose disk is lost; may be repeated")
	f.BoolVarP(&quiet, "quiet", "q", false, "log warnings only")
	return cmd
}

// peerAddress is where members reach each other: the next port.
func peerAddress(address string) (string, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return "", err
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 || n == 65535 {
		return "", fmt.Errorf("%s: want a port from 1 to 65534", address)
	}
	return net.JoinHostPort(host, strconv.FormatUint(n+1, 10)), nil
}

func runMember(cmd *cobra.Command, folder string, key ed25519.PrivateKey, all []fleet.Member, listen string, join bool, removed []verifier.PublicKey, c member.Config) error {
	self := verifier.PublicKey(key.Public().(ed25519.PublicKey))
	i := slices.IndexFunc(all, func(m fleet.Member) bool { return m.Key == self })
	if i < 0 {
		return hinted(fmt.Errorf("this node, %s, is not a member of that fleet", self.DID()), "name it with --fleet, or its key with --node-key")
	}
	at := func(address string) string {
		if listen == "" {
			return address
		}
		_, port, _ := net.SplitHostPort(address)
		return net.JoinHostPort(listen, port)
	}
	var peers []etcd.Peer
	for _, m := range all {
		address, err := peerAddress(m.Address)
		if err != nil {
			return err
		}
		peers = append(peers, etcd.Peer{Key: m.Key, Address: address})
		c.Members = append(c.Members, m.Key)
	}
	data := filepath.Join(folder, "member")
	blobs, err := dir.Blobs(filepath.Join(data, "blobs"))
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", at(all[i].Address))
	if err != nil {
		return err
	}
	e, err := etcd.Start(etcd.Config{Key: key, Dir: filepath.Join(data, "etcd"), Members: peers, Listen: at(peers[i].Address), Join: join})
	if err != nil {
		l.Close()
		return err
	}
	defer e.Close()
	c.Engine, c.Replica = e, blobs
	if others := slices.Delete(slices.Clone(all), i, i+1); len(others) > 0 {
		peer, err := fleet.New(fleet.Config{Members: others, Via: https.NewTransport(key)})
		if err != nil {
			return err
		}
		c.Peers = &authority.Replicas{Places: peer.Places()}
	}
	m, err := member.New(c)
	if err != nil {
		return err
	}
	s, err := https.Serve(l, key, m, c.Log)
	if err != nil {
		return err
	}
	defer s.Close()
	c.Log.Info("waiting for a majority of the fleet's members", "members", len(all))
	if err := e.Ready(cmd.Context()); err != nil {
		if cmd.Context().Err() != nil {
			return nil
		}
		return err
	}
	for _, k := range removed {
		if err := e.Remove(cmd.Context(), k); err != nil {
			return fmt.Errorf("--remove %s: %w", k.DID(), err)
		}
	}
	added, err := e.AddNew(cmd.Context())
	if err != nil {
		return fmt.Errorf("the fleet does not take the new members: %w", err)
	}
	for _, k := range added {
		c.Log.Info("a new member is expected", "member", k.DID())
	}
	c.Log.Info("the fleet lives", "at", s.Addr().String(), "member", self.DID())
	<-cmd.Context().Done()
	return nil
}

// seenIn reads what the node's agents know of their homes.
func seenIn(folder string) func(after verifier.PublicKey, n int) []authority.Seen {
	return func(after verifier.PublicKey, n int) (all []authority.Seen) {
		entries, err := os.ReadDir(folder)
		if err != nil {
			return nil
		}
		for _, e := range entries {
			s, ok, err := runtime.ReadSeen(filepath.Join(folder, e.Name()))
			if err == nil && ok && bytes.Compare(s.Newest.Agent[:], after[:]) > 0 {
				all = append(all, s)
			}
		}
		slices.SortFunc(all, func(a, b authority.Seen) int { return bytes.Compare(a.Newest.Agent[:], b.Newest.Agent[:]) })
		return all[:min(n, len(all))]
	}
}

// homesOf finds the homes of the node's agents.
func homesOf(key ed25519.PrivateKey) *homes.Finder {
	return &homes.Finder{Node: func() (ed25519.PrivateKey, error) { return key, nil }}
}
