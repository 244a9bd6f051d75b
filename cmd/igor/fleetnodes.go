package main

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"igor.dev/authority/fleet"
	"igor.dev/node/api"
	"igor.dev/runtime"
	"igor.dev/verifier"
)

// A nodeFolder is what igor knows of the folder of a node on this machine.
type nodeFolder struct {
	dir    string
	file   string // of its key
	key    verifier.PublicKey
	listen []string
}

// errNoNode says that there is no node's folder.
var errNoNode = errors.New("is no node's folder")

// readNodeFolder reads a node's folder, "" being the user's.
func readNodeFolder(dir string) (n nodeFolder, err error) {
	if dir == "" {
		if dir, err = api.DefaultDir(); err != nil {
			return n, err
		}
	}
	if n.dir, err = filepath.Abs(dir); err != nil {
		return n, err
	}
	b, err := readLimited(filepath.Join(n.dir, "node.json"), 1<<20)
	if errors.Is(err, fs.ErrNotExist) {
		return n, &hinted{fmt.Errorf("%s %w", n.dir, errNoNode), "igor node init makes one; --dir names another one"}
	}
	if err != nil {
		return n, err
	}
	var s struct {
		Key    string   `json:"key"`
		Listen []string `json:"listen"`
	}
	if err := json.Unmarshal(b, &s); err != nil {
		return n, fmt.Errorf("%s: %w", filepath.Join(n.dir, "node.json"), err)
	}
	if _, err := os.Stat(s.Key); err != nil {
		return n, fmt.Errorf("the node's key: %w", err)
	}
	key, err := runtime.NodeKey(s.Key)
	if err != nil {
		return n, err
	}
	n.file, n.key, n.listen = s.Key, verifier.PublicKey(key.Public().(ed25519.PublicKey)), s.Listen
	return n, nil
}

// A fleetDone is what a command made of a fleet's description.
type fleetDone struct {
	Fleet     string `json:"fleet"`
	Version   uint64 `json:"version,string"`
	Home      string `json:"home"`
	Written   string `json:"written"`
	ThisNode  string `json:"thisNode,omitempty"` // as what it takes part
	Note      string `json:"note,omitempty"`
	Next      string `json:"next,omitempty"`
	Elsewhere string `json:"elsewhere,omitempty"`
}

func (r *fleetDone) print(cmd *cobra.Command, asJSON bool) error {
	if asJSON {
		return failed(writeJSON(cmd.OutOrStdout(), r))
	}
	rows := []string{"fleet", r.Fleet, "version", strconv.FormatUint(r.Version, 10), "home", r.Home, "written", r.Written}
	for _, row := range [][2]string{{"this node", r.ThisNode}, {"note", r.Note}, {"next", r.Next}, {"elsewhere", r.Elsewhere}} {
		if row[1] != "" {
			rows = append(rows, row[0], row[1])
		}
	}
	return failed(writeRows(cmd.OutOrStdout(), rows...))
}

func fleetInitCommand() *cobra.Command {
	var output, dir string
	var nodes, operators []string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "init NAME DID@HOST...",
		Short: "Describe a fleet: its members, its other nodes, who operates it",
		Long: `Init writes the file NAME.json, which says who is in a fleet: the members, mostly
three, on machines of their own, of which any majority says who lives an agent; and
with --node others, which only run agents. Each is named by its DID, which igor node
init says, and by where it listens. If the node on this machine is among them, it joins.

Copy the file to the other machines, and igor fleet join it there. Agents call the fleet
their home by the name that init says.

A node listens at port 7447 unless its name here has another one, DID@HOST:PORT. A
member is reached by agents three ports behind that (7450), and by the other members
four behind (7451); the file has both, and may be changed before it is copied.`,
		Example: `  igor fleet init acme did:key:z6MkA…@192.0.2.1 \
    did:key:z6MkB…@192.0.2.2 did:key:z6MkC…@192.0.2.3`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) < 2 {
				return errors.New("want a NAME, and the members' DID@HOST")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			d := &fleet.Description{Name: args[0], Version: 1}
			if err := addNodes(d, args[1:], nodes); err != nil {
				return err
			}
			for _, did := range operators {
				k, err := verifier.ParseDID(did)
				if err != nil {
					return fmt.Errorf("--operator: %w", err)
				}
				d.Operators = append(d.Operators, k)
			}
			here, err := readNodeFolder(dir)
			if err != nil && (dir != "" || !errors.Is(err, errNoNode)) {
				return failed(err)
			}
			isHere := err == nil
			if len(d.Operators) == 0 {
				// Whoever describes it operates it.
				if !isHere {
					key, err := userNodeKey("")
					if err != nil || key == nil {
						return failed(errors.Join(errors.New("--operator DID is missing, and the user has no key"), err))
					}
					here.key = verifier.PublicKey(key.Public().(ed25519.PublicKey))
				}
				d.Operators = []verifier.PublicKey{here.key}
			}
			if err := d.Check(); err != nil {
				return err
			}
			if output == "" {
				output = d.Name + ".json"
			}
			if _, err := os.Lstat(output); err == nil {
				return failed(&hinted{fmt.Errorf("%s exists", output), "igor fleet change changes a fleet that lives; --output names another file"})
			}
			if err := d.Write(output); err != nil {
				return failed(err)
			}
			r := fleetDone{Fleet: d.Name, Version: d.Version, Home: d.Home(), Written: output,
				Elsewhere: fmt.Sprintf("copy %s to the other machines, and igor fleet join %[1]s there", filepath.Base(output))}
			switch {
			case !isHere:
			case d.Node(here.key) == nil:
				r.Note = "this machine's node, " + here.key.DID() + ", is not in it"
			default:
				if err := r.join(&here, d); err != nil {
					return failed(err)
				}
			}
			return r.print(cmd, asJSON)
		},
	}
	f := cmd.Flags()
	f.StringVarP(&output, "output", "o", "", "`FILE` to write (default: NAME.json)")
	f.StringArrayVar(&nodes, "node", nil, "`DID@HOST` of a node that is no member; may be repeated")
	f.StringArrayVar(&operators, "operator", nil, "`DID` of who may recover the fleet, and say what it is to do; may be repeated (default: this machine's node)")
	f.StringVar(&dir, "dir", "", "`FOLDER` of this machine's node (default: $IGOR_NODE, or igor/node in the user's configuration folder)")
	f.BoolVar(&asJSON, "json", false, "write what was done as JSON")
	return cmd
}

// addNodes adds nodes that an operator names to a description.
func addNodes(d *fleet.Description, members, others []string) error {
	for i, s := range slices.Concat(members, others) {
		n, err := fleet.ParseNode(s, i < len(members))
		if err != nil {
			return err
		}
		d.Nodes = append(d.Nodes, n)
	}
	return nil
}

func fleetJoinCommand() *cobra.Command {
	var dir string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "join FILE",
		Short: "Have this machine's node take part in a fleet",
		Long: `Join has the node on this machine take part in the fleet that FILE describes, from its
next start: as a member, if FILE says that it is one, or as a node that runs agents.
A FILE that describes the fleet anew takes the place of the one before.`,
		Example: `  igor fleet join acme.json
  igor node start`,
		Args: operands("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			d, err := fleet.ReadDescription(args[0])
			if err != nil {
				return failed(err)
			}
			here, err := readNodeFolder(dir)
			if err != nil {
				return failed(err)
			}
			if d.Node(here.key) == nil {
				return failed(&hinted{fmt.Errorf("the node of %s, %s, is not in the fleet %s", here.dir, here.key.DID(), d.Name), "igor fleet change " + args[0] + " --add-node " + here.key.DID() + "@HOST adds it"})
			}
			r := fleetDone{Fleet: d.Name, Version: d.Version, Home: d.Home()}
			if err := r.join(&here, d); err != nil {
				return failed(err)
			}
			return r.print(cmd, asJSON)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "write what was done as JSON")
	cmd.Flags().StringVar(&dir, "dir", "", "`FOLDER` of this machine's node (default: $IGOR_NODE, or igor/node in the user's configuration folder)")
	return cmd
}

// join has a node take part in a fleet, and says how that goes on.
func (r *fleetDone) join(here *nodeFolder, d *fleet.Description) error {
	path := filepath.Join(here.dir, fleet.FileDescription)
	before, err := fleet.DescriptionIn(here.dir)
	switch {
	case err != nil:
		return &hinted{err, "move that file away"}
	case before == nil:
	case before.Name != d.Name:
		return &hinted{fmt.Errorf("the node takes part in the fleet %s already", before.Name), "a node is in one fleet: move " + path + " away, if it is to leave that one"}
	case before.Version > d.Version:
		return fmt.Errorf("the node has version %d of the fleet's description, and this is version %d", before.Version, d.Version)
	case before.Version == d.Version:
		one, err1 := before.Bytes()
		two, err2 := d.Bytes()
		if err := errors.Join(err1, err2); err != nil {
			return err
		}
		if !bytes.Equal(one, two) {
			return &hinted{fmt.Errorf("the node has another description of version %d", d.Version), "igor fleet change makes the next version of one; copy that to all nodes. A fleet that never lived may be described anew: move " + path + " away"}
		}
	}
	if err := d.Write(path); err != nil {
		return err
	}
	n := d.Node(here.key)
	if r.ThisNode = "a node that runs agents"; n.Member != "" {
		r.ThisNode = "a member, at " + n.Member
	}
	if r.Written == "" {
		r.Written = path
	}
	r.Note, r.Next = unreachable(here.listen, n), "igor node start"
	if _, err := api.Dial(here.dir); err == nil {
		r.Next = "start the node again: igor node stop, and igor node start"
	}
	return nil
}

// unreachable says why the others will not reach a node where a description has it, as far
// as its own settings tell; "" = they will.
func unreachable(listen []string, n *fleet.Node) string {
	if len(n.Addresses) == 0 {
		return ""
	}
	_, want, err := fleet.HostPort(n.Addresses[0])
	if err != nil {
		return ""
	}
	host, _, _ := fleet.HostPort(n.Addresses[0])
	for _, l := range listen {
		h, port, err := fleet.HostPort(l)
		ip := net.ParseIP(h)
		if err != nil || port == want && (ip == nil || ip.IsUnspecified() || h == host || net.ParseIP(host) == nil && !ip.IsLoopback()) {
			return ""
		}
	}
	return fmt.Sprintf("the node listens at %s, and the others look for it at %s: change listen in its node.json", strings.Join(listen, " "), n.Addresses[0])
}

func fleetChangeCommand() *cobra.Command {
	var add, addNode, remove []string
	var newStore, asJSON bool
	cmd := &cobra.Command{
		Use:   "change FILE",
		Short: "Change who is in a fleet, or begin a new store",
		Long: `Change writes the next version of a fleet's description into FILE. Then copy it to all
nodes, igor fleet join it there, and start them again, one after the other: first the
members that stay, then those that are new.

A member whose disk is lost is removed, and comes back with a key of its own, as a
new one: what it promised to have, it has not any more.

Where a majority of the members lost their data for good, --new-store has them begin a
new store, which is empty: igor fleet recover puts back what nodes know.`,
		Example: `  igor fleet change acme.json --remove did:key:z6Mk… \
    --add did:key:z6Mk…@192.0.2.4
  igor fleet change acme.json --add-node did:key:z6Mk…@192.0.2.5`,
		Args: operands("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(add)+len(addNode)+len(remove) == 0 && !newStore {
				return errors.New("want --add, --add-node, --remove or --new-store")
			}
			d, err := fleet.ReadDescription(args[0])
			if err != nil {
				return failed(err)
			}
			for _, did := range remove {
				k, err := verifier.ParseDID(did)
				if err != nil {
					return fmt.Errorf("--remove %s is no node's DID: want did:key:z6Mk… with 56 characters in all", did)
				}
				i := slices.IndexFunc(d.Nodes, func(n fleet.Node) bool { return n.Key == k })
				if i < 0 {
					return failed(fmt.Errorf("%s is not in the fleet %s", did, d.Name))
				}
				d.Nodes = slices.Delete(d.Nodes, i, i+1)
			}
			in := map[verifier.PublicKey]bool{}
			for i := range d.Nodes {
				in[d.Nodes[i].Key] = true
			}
			if err := addNodes(d, add, addNode); err != nil {
				return err
			}
			for _, n := range d.Nodes[len(in):] {
				if did := n.Key.DID(); in[n.Key] {
					return failed(&hinted{fmt.Errorf("%s is in the fleet %s already", did, d.Name), "--remove " + did + " in the same command takes it out first, such as to make a node a member"})
				}
			}
			if d.Version++; newStore {
				d.Store = d.Version
			}
			if err := d.Check(); err != nil {
				return failed(err)
			}
			if err := d.Write(args[0]); err != nil {
				return failed(err)
			}
			r := fleetDone{Fleet: d.Name, Version: d.Version, Home: d.Home(), Written: args[0], Elsewhere: "copy it to all nodes, igor fleet join it there, and start them again, one after the other"}
			if newStore {
				r.Elsewhere = "copy it to all nodes, igor fleet join it there, and start them again; then igor fleet recover " + args[0]
			}
			return r.print(cmd, asJSON)
		},
	}
	f := cmd.Flags()
	f.StringArrayVar(&add, "add", nil, "`DID@HOST` of a new member; may be repeated")
	f.StringArrayVar(&addNode, "add-node", nil, "`DID@HOST` of a new node that is no member; may be repeated")
	f.StringArrayVar(&remove, "remove", nil, "`DID` of a node that is to go; may be repeated")
	f.BoolVar(&newStore, "new-store", false, "have the members begin a new store: a majority of them lost their data")
	f.BoolVar(&asJSON, "json", false, "write what was done as JSON")
	return cmd
}
