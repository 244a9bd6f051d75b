package verifier_test

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"testing"

	"igor.dev/verifier"
)

func TestRoleOf(t *testing.T) {
	raw, err := os.ReadFile("../testdata/roles.json")
	var vectors []struct{ Name, Start, Role, Why string }
	if err == nil {
		err = json.Unmarshal(raw, &vectors)
	}
	if err != nil || len(vectors) < 15 {
		t.Fatal(len(vectors), err)
	}
	for _, v := range vectors {
		start, err := hex.DecodeString(v.Start)
		if err != nil {
			t.Fatal(err)
		}
		if got := verifier.RoleOf(v.Name, start).String(); got != v.Role {
			t.Errorf("%s, %q: %q, want %q: %s", v.Name, start, got, v.Role, v.Why)
		}
	}
	for _, r := range verifier.Roles {
		if verifier.RoleInFolder(r.File()) != r || verifier.RoleOf(r.File(), nil) != r {
			t.Errorf("%v: %s", r, r.File())
		}
	}
}
