package publish

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io/fs"
	"iter"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"igor.dev/internal/testkit"
	"igor.dev/segment"
	"igor.dev/verifier"
	"igor.dev/verifier/history"
	"igor.dev/verifier/published"
)

func lifeOf(checkpoints [][]byte) Life {
	return func(tick uint64, all bool) iter.Seq2[[]byte, error] {
		return func(yield func([]byte, error) bool) {
			for _, b := range checkpoints {
				if (all || testkit.Tick(b) > tick) && !yield(b, nil) {
					return
				}
			}
		}
	}
}

func mustPublish(t testing.TB, dir string, checkpoints [][]byte, options Options) *Result {
	t.Helper()
	r, err := Publish(context.Background(), dir, lifeOf(checkpoints), options)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// small segments make short lives have many.
func smallSegments(t testing.TB, n int) {
	before := Rule
	Rule = segment.Rule{Checkpoints: n, Bytes: before.Bytes}
	t.Cleanup(func() { Rule = before })
}

// files returns all that is in a folder.
func files(t testing.TB, dir string) map[string][]byte {
	t.Helper()
	all := make(map[string][]byte)
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		b, err := os.ReadFile(path)
		all[filepath.ToSlash(name)] = b
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func agentOf(t testing.TB, checkpoint []byte) verifier.PublicKey {
	t.Helper()
	c, err := verifier.Parse(checkpoint)
	if err != nil {
		t.Fatal(err)
	}
	return c.AgentPubKey
}

// after returns n checkpoints that follow one.
func after(a *testkit.Agent, b []byte, n, stateSize int) (all [][]byte) {
	for range n {
		b = a.After(b, testkit.Fields{Tick: testkit.Tick(b) + 3, State: make([]byte, stateSize)})
		all = append(all, b)
	}
	return all
}

func cidOf(b []byte) verifier.Hash { return sha256.Sum256(b) }

func carOf(checkpoints [][]byte) []byte {
	b := verifier.AppendCARHeader(nil, cidOf(checkpoints[len(checkpoints)-1]))
	for _, c := range checkpoints {
		b = verifier.AppendCARBlock(b, cidOf(c), c)
	}
	return b
}

// verdict verifies a CAR.
func verdict(t testing.TB, car []byte) string {
	t.Helper()
	var v history.Verification
	r, err := v.Run(context.Background(), history.CAR("it", bytes.NewReader(car)))
	if err != nil {
		return "none: " + err.Error()
	}
	return r.Verdict().String()
}

// fetchFrom fetches a life.
func fetchFrom(t testing.TB, agent verifier.PublicKey, from ...string) ([]byte, *Fetched, error) {
	t.Helper()
	var out bytes.Buffer
	got, err := Fetch(context.Background(), &Request{Address: Address{Agent: &agent, From: from}}, &out)
	return out.Bytes(), got, err
}

// TestGrows publishes a life as it grows, in steps of any size: what is there afterwards is
// what publishing all of it at once writes, and each time it is whole.
func TestGrows(t *testing.T) {
	smallSegments(t, 16)
	life := testkit.NewAgent("alice").History(150, 300)
	agent := agentOf(t, life[0])
	once := t.TempDir()
	mustPublish(t, once, life, Options{})
	random := rand.New(rand.NewPCG(1, 2))
	for range 8 {
		dir := t.TempDir()
		for n, was := 0, 0; n < len(life); {
			was, n = n, min(n+1+random.IntN(40), len(life))
			r := mustPublish(t, dir, life[:n], Options{})
			if r.Head.Checkpoints != uint64(n) || r.Added != uint64(n-was) || r.Head.Checkpoint != cidOf(life[n-1]) {
				t.Fatalf("%+v after %d", r, n)
			}
			if again := mustPublish(t, dir, life[:n], Options{}); again.Bytes != 0 || again.Added != 0 || again.Head != r.Head {
				t.Errorf("publishing again wrote %d bytes", again.Bytes)
			}
			car, got, err := fetchFrom(t, agent, dir)
			if err != nil || got.Slow != "" || !bytes.Equal(car, carOf(life[:n])) {
				t.Fatalf("fetched %d bytes, %+v: %v", len(car), got, err)
			}
		}
		want, got := files(t, once), files(t, dir)
		for name, b := range want {
			if !bytes.Equal(got[name], b) {
				t.Errorf("%s is another one", name)
			}
		}
		tails := 0
		for name := range got {
			if strings.Contains(name, "/tail/") {
				tails++
			} else if want[name] == nil && !strings.HasPrefix(name, "ipfs/") {
				t.Errorf("%s is left", name)
			}
		}
		if tails > 2 {
			t.Errorf("%d tails are left", tails)
		}
	}
	if verdict(t, carOf(life)) != "verified" {
		t.Error("the life is none")
	}
}

// TestBlocks publishes every checkpoint by itself too.
func TestBlocks(t *testing.T) {
	smallSegments(t, 4)
	life := testkit.NewAgent("alice").History(10, 30)
	dir := t.TempDir()
	mustPublish(t, dir, life, Options{Blocks: true})
	for _, b := range life {
		if got, err := os.ReadFile(filepath.Join(dir, published.BlockKey(cidOf(b)))); err != nil || !bytes.Equal(got, b) {
			t.Error(err)
		}
	}
}

// TestInterrupted ends publishing before each of its writes: whoever reads then finds the
// life as it was before or as it is after, and to publish again makes it whole.
func TestInterrupted(t *testing.T) {
	smallSegments(t, 8)
	life := testkit.NewAgent("alice").History(60, 100)
	agent := agentOf(t, life[0])
	const before = 21
	once := t.TempDir()
	mustPublish(t, once, life[:before], Options{})
	mustPublish(t, once, life, Options{})
	want := files(t, once)
	stop := errors.New("stop")
	t.Cleanup(func() { beforeWrite = nil })
	steps := 0
	for n := 0; ; n++ {
		dir := t.TempDir()
		beforeWrite = nil
		mustPublish(t, dir, life[:before], Options{})
		left := n
		beforeWrite = func(string) error {
			if left--; left < 0 {
				return stop
			}
			return nil
		}
		_, err := Publish(context.Background(), dir, lifeOf(life), Options{})
		if err == nil {
			break
		} else if !errors.Is(err, stop) {
			t.Fatal(err)
		}
		steps++
		car, got, err := fetchFrom(t, agent, dir)
		if err != nil || got.Slow != "" || !bytes.Equal(car, carOf(life[:before])) && !bytes.Equal(car, carOf(life)) {
			t.Errorf("step %d: %+v: %v", n, got, err)
		}
		beforeWrite = nil
		mustPublish(t, dir, life, Options{})
		for name, b := range files(t, dir) {
			if !bytes.Equal(want[name], b) {
				t.Errorf("step %d: %s is another one", n, name)
			}
		}
	}
	if steps < 8 {
		t.Error("only", steps, "steps")
	}
}

// TestRefused publishes what must not be published: nothing changes.
func TestRefused(t *testing.T) {
	smallSegments(t, 4)
	alice := testkit.NewAgent("alice")
	life := alice.History(12, 50)
	fork := append(slices.Clone(life[:8]), after(alice, life[7], 6, 77)...)
	badSignature := slices.Clone(life)
	badSignature[11] = bytes.Clone(life[11])
	badSignature[11][testkit.OffState] ^= 1
	gap := append(slices.Clone(life[:10]), life[11])
	stranger := append(slices.Clone(life[:12]), after(testkit.NewAgent("bob"), life[11], 1, 10)...)
	for name, checkpoints := range map[string][][]byte{
		"a fork": fork, "an older state": life[:9], "a bad signature": badSignature, "a gap": gap, "another agent's": stranger, "no genesis": life[1:],
	} {
		dir := t.TempDir()
		mustPublish(t, dir, life[:10], Options{})
		before := files(t, dir)
		_, err := Publish(context.Background(), dir, lifeOf(checkpoints), Options{})
		if err == nil {
			t.Errorf("%s is published", name)
		}
		if isFork := name == "a fork" || name == "an older state"; errors.Is(err, ErrFork) != isFork {
			t.Errorf("%s: %v", name, err)
		}
		head := published.HeadKey(agentOf(t, life[0]))
		for file, b := range before {
			if after := files(t, dir)[file]; !bytes.Equal(after, b) && file == head {
				t.Errorf("%s: %s was changed", name, file)
			}
		}
		car, _, err := fetchFrom(t, agentOf(t, life[0]), dir)
		if err != nil || !bytes.Equal(car, carOf(life[:10])) {
			t.Errorf("%s: the life that was there is not: %v", name, err)
		}
	}
}

// TestLargeCheckpoints cuts by bytes.
func TestLargeCheckpoints(t *testing.T) {
	before := Rule
	Rule = segment.Rule{Checkpoints: 1000, Bytes: 3000}
	t.Cleanup(func() { Rule = before })
	life := testkit.NewAgent("alice").History(12, 1200)
	life = append(life, after(testkit.NewAgent("alice"), life[11], 2, 9000)...)
	dir := t.TempDir()
	r := mustPublish(t, dir, life, Options{})
	car, _, err := fetchFrom(t, agentOf(t, life[0]), dir)
	if err != nil || !bytes.Equal(car, carOf(life)) || r.Head.Segments < 7 {
		t.Fatal(r, err)
	}
}

// TestRealLives publishes and fetches lives that another implementation lived.
func TestRealLives(t *testing.T) {
	var v history.Verification
	dir := "../testdata/histories/heartbeat-moved"
	source, err := history.Path(dir)
	if err != nil {
		t.Fatal(err)
	}
	report, err := v.Run(context.Background(), source)
	if err != nil {
		t.Fatal(err)
	}
	byHash := make(map[verifier.Hash][]byte)
	for _, b := range files(t, dir) {
		byHash[cidOf(b)] = b
	}
	var life [][]byte
	hashes, ok := report.Path()
	for h := range hashes {
		life = append(life, byHash[h])
	}
	to := t.TempDir()
	mustPublish(t, to, life, Options{})
	car, _, err := fetchFrom(t, agentOf(t, life[0]), to)
	if err != nil || !ok || verdict(t, car) != "verified" {
		t.Error(ok, err)
	}
}
