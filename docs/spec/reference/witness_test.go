package reference_test

import (
	"encoding/json"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// witnessDriver holds witness.py against all vectors, and prints what differs.
const witnessDriver = `
import json, sys
from hashlib import sha256
sys.path.insert(0, sys.argv[1])
import verify, witness
def life(checkpoints):
    supplied = {}
    for c in checkpoints:
        data = bytes.fromhex(c)
        supplied[sha256(data).digest()] = verify.examine(b"x", data, sha256(data).digest())
    return verify.link(supplied, 0, None, None, {})
def run(v):
    policy = witness.parse_policy(v["policy"])
    if v["kind"] == "fork":
        try:
            proof = witness.read_fork(bytes.fromhex(v["file"]))
        except ValueError:
            return {"exit": 2}
        try:
            key, kind, ticks, seen = witness.check_fork(*proof, policy)
        except (ValueError, IndexError, AttributeError):
            return {"exit": 1}
        return {"exit": 0, "did": verify.did(key), "forkKind": kind, "ticks": [str(t) for t in ticks], "witnessed": seen}
    report = life(v["checkpoints"])
    if v["kind"] == "head":
        monitor = witness.parse_key(v["monitor"], 1) if "monitor" in v else None
        proof = v["proof"].encode() if "proof" in v else None
        seen = witness.witnessed(report, policy, proof, monitor, v.get("word", "").encode() or None)
        out = {"exit": 3 if v.get("require") and witness.head_missing(report, seen, monitor) else 0}
    else:
        out = {"exit": 0}
        seen = witness.succeeds(report, bytes.fromhex(v["succession"]), life(v["old"]) if v.get("old") else None, v.get("commitment", "").encode() or None, policy)
    if seen is None:
        return {**out, "absent": True}
    if "problem" in seen:
        return {**out, "problem": True}
    seen.pop("head", None)
    return {**out, **seen}
for path in sys.argv[2:]:
    v = json.load(open(path))
    print(json.dumps({"name": path, "got": run(v), "want": v["expect"]}))
`

// TestWitness holds witness.py to the vectors.
func TestWitness(t *testing.T) {
	files := glob(t, "../../../testdata/witness/*.json")
	dir, err := filepath.Abs(".")
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("python3", append([]string{"-B", "-c", witnessDriver, dir}, files...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if len(lines) != len(files) || len(files) < 80 {
		t.Fatalf("%d answers to %d vectors", len(lines), len(files))
	}
	for _, line := range lines {
		var c struct {
			Name      string
			Got, Want json.RawMessage
		}
		if err := json.Unmarshal([]byte(line), &c); err != nil {
			t.Fatal(err)
		}
		var got, want map[string]any
		json.Unmarshal(c.Got, &got)
		json.Unmarshal(c.Want, &want)
		a, _ := json.Marshal(got)
		b, _ := json.Marshal(want)
		if string(a) != string(b) {
			t.Errorf("%s\ngot  %s\nwant %s", filepath.Base(c.Name), a, b)
		}
	}
}
