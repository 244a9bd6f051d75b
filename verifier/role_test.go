package verifier_test

import (
	"testing"

	"igor.dev/verifier"
)

func TestRoleOf(t *testing.T) {
	proof := "c2sp.org/tlog-proof@v1\nextra "
	for _, test := range []struct {
		name, start string
		want        verifier.Role
	}{
		{"handovers", "igor/handover/v1\x00", verifier.RoleHandOvers},
		{"handovers", "garbage \xff", verifier.RoleHandOvers},
		{"life.handovers", "", verifier.RoleHandOvers},
		{"life (1).bin", "igor/handover/v1\x00", verifier.RoleHandOvers},
		{"head.tlog-proof", "a text", verifier.RoleProof},
		{"head (2).tlog-proof", proof + "aWdvci9oZWFkL3YxAA", verifier.RoleProof},
		{"x", proof + "aWdvci9jb21taXRtZW50L3YxAA", verifier.RoleCommitment},
		{"successor.tlog-proof", proof + "aWdvci9oZWFkL3YxAA", verifier.RoleCommitment},
		{"x", "c2sp.org/tlog-proof@v1\nindex 1\n", verifier.RoleProof},
		{"life.monitor", "igor/monitor/v1\n", verifier.RoleWord},
		{"head.monitor", "", verifier.RoleWord},
		{"succession", "igor/succession/v1\x00", verifier.RoleSuccession},
		{"old/succession", "", verifier.RoleSuccession},
		{"handovers", "\x04 a checkpoint", verifier.NoRole},
		{"head.tlog-proof", "<html>", verifier.NoRole},
		{"._handovers", "igor/handover/v1\x00", verifier.NoRole},
		{"__MACOSX/handovers", "", verifier.NoRole},
		{"receipts", "igor/execution-receipt/v1", verifier.NoRole},
		{"rules.policy", "log example.org+1234", verifier.NoRole},
	} {
		if got := verifier.RoleOf(test.name, []byte(test.start)); got != test.want {
			t.Errorf("RoleOf(%q, %q) = %v, want %v", test.name, test.start, got, test.want)
		}
	}
	for _, r := range verifier.Roles {
		if verifier.RoleInFolder(r.File()) != r || verifier.RoleOf(r.File(), nil) != r {
			t.Errorf("%v: %s", r, r.File())
		}
	}
}
