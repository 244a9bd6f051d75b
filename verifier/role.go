package verifier

import "strings"

// A Role is what a file that lies beside a history is looked at for.
// See docs/spec/lineage.md, "Beside a history".
type Role uint8

// The roles.
const (
	NoRole         Role = iota
	RoleHandOvers       // who gave the agent to whom
	RoleProof           // that a head is in a log
	RoleWord            // what a monitor says
	RoleSuccession      // whom the agent succeeds
	RoleCommitment      // that the old key had chosen its successor
	numRoles
)

// roleNames are a role in one word, what its file is called in a folder, and how the name
// of one beside NAME.car goes on after NAME.
var roleNames = [numRoles]struct{ role, file, ext string }{
	RoleHandOvers:  {"handovers", "handovers", ".handovers"},
	RoleProof:      {"proof", "head.tlog-proof", ".tlog-proof"},
	RoleWord:       {"word", "head.monitor", ".monitor"},
	RoleSuccession: {"succession", "succession", ".succession"},
	RoleCommitment: {"commitment", "successor.tlog-proof", ".successor.tlog-proof"},
}

// Roles are all that a file can have.
var Roles = [...]Role{RoleHandOvers, RoleProof, RoleWord, RoleSuccession, RoleCommitment}

// String returns the role in one word, "" for none.
func (r Role) String() string { return roleNames[min(r, numRoles-1)].role }

// File is what a file of the role is called in a history's folder.
func (r Role) File() string { return roleNames[r].file }

// Ext is how the name of such a file goes on beside NAME.car, after NAME.
func (r Role) Ext() string { return roleNames[r].ext }

// MaxSize is how many bytes such a file may have.
func (r Role) MaxSize() int64 {
	if r == RoleHandOvers {
		return MaxHandOvers * int64(HandOverSize)
	}
	return 256 << 10
}

// RoleInFolder returns the role of a file in a history's folder, by its name there.
func RoleInFolder(name string) Role {
	for _, r := range Roles {
		if r.File() == name {
			return r
		}
	}
	return NoRole
}

// RoleOf returns the role of a file that is given by itself, by its name and how it
// begins, as for [KindOf].
func RoleOf(name string, start []byte) Role {
	base := name[strings.LastIndexByte(name, '/')+1:]
	kind := KindOf(name, start)
	if kind.Use() != LeaveOut || kind == KindMacOS {
		return NoRole
	}
	if r := RoleInFolder(base); r != NoRole {
		return r
	}
	switch kind {
	case KindHandOvers:
		return RoleHandOvers
	case KindSuccession:
		return RoleSuccession
	case KindWitness:
		const commitment = "\nextra aWdvci9jb21taXRtZW50" // igor/commitment
		first, rest, _ := strings.Cut(string(start[:min(len(start), KindStart)]), "\n")
		switch {
		case strings.HasPrefix(first, "igor/monitor/"):
			return RoleWord
		case strings.HasPrefix("\n"+rest, commitment):
			return RoleCommitment
		}
		return RoleProof
	}
	return NoRole
}
