package archive_test

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"igor.dev/archive"
	"igor.dev/archive/archivetest"
	"igor.dev/archive/arweave"
	"igor.dev/archive/arweave/arweavetest"
	"igor.dev/archive/dir"
	"igor.dev/archive/s3"
	"igor.dev/internal/testkit"
	"igor.dev/segment"
	"igor.dev/verifier/published"
)

var archiveKills = flag.Int("archive-kills", 50, "how often TestKill kills an archiver")

const (
	childEnv  = "IGOR_TEST_ARCHIVER"
	killLife  = "killed archiver"
	killCount = 600 // checkpoints
)

func TestMain(m *testing.M) {
	if child := os.Getenv(childEnv); child != "" {
		archiveAsChild(strings.Split(child, "\n"))
		return
	}
	os.Exit(m.Run())
}

// killTargets opens the targets of the test.
func killTargets(folder, s3URL, arweaveURL string) ([]archive.Target, error) {
	d, err := dir.Open(folder)
	if err != nil {
		return nil, err
	}
	c, err := s3.ParseURL("s3://lives?endpoint=" + s3URL)
	if err != nil {
		return nil, err
	}
	c.Credentials = credentials.NewStaticV4("key", "secret", "")
	bucket, err := s3.Open(c)
	if err != nil {
		return nil, err
	}
	a, err := arweave.ParseURL("arweave+" + arweaveURL + "/v1")
	if err != nil {
		return nil, err
	}
	a.Key, a.LostAfter = testkit.NewAgent("archive key").Private, 20*time.Millisecond
	items, err := arweave.Open(a)
	return []archive.Target{d, bucket, items}, err
}

// archiveAsChild archives a life that goes on by a checkpoint a millisecond, until it is
// killed, or to its end and until all of it is final.
func archiveAsChild(args []string) {
	from, _ := strconv.Atoi(args[4])
	targets, err := killTargets(args[1], args[2], args[3])
	if err != nil {
		log.Fatal(err)
	}
	a, err := archive.New(archive.Config{Targets: targets, Rule: segment.Rule{Checkpoints: 16}, Parts: archive.DefaultParts,
		Key: testkit.NewAgent("archive key").Private, Retry: time.Millisecond, Ask: time.Millisecond})
	if err != nil {
		log.Fatal(err)
	}
	l := archivetest.NewLife(killLife, killCount)
	task := a.Begin(l.Archive(args[0]))
	last := l.Len() - 1
	for n := min(from, last); ; n = min(n+1, last) {
		task.Saved(l.Tick(n))
		if tick, _ := task.Final(); tick == l.Tick(last) && slices.ContainsFunc(task.Status(), func(s archive.Status) bool { return s.Behind == 0 }) {
			ctx, done := context.WithTimeout(context.Background(), 30*time.Second)
			defer done()
			if err := task.End(ctx); err != nil {
				log.Fatal(err, task.Status())
			}
			return
		}
		if n == last {
			task.Flush()
		}
		time.Sleep(time.Millisecond)
	}
}

// A spoiled server does what S3 does, and goes wrong.
type spoiled struct {
	next http.Handler

	mu     sync.Mutex
	rng    *rand.Rand
	faulty bool
}

func (s *spoiled) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	n, wait, faulty := s.rng.IntN(100), time.Duration(s.rng.Int64N(int64(3*time.Millisecond))), s.faulty
	s.mu.Unlock()
	if !faulty || r.Method == http.MethodPut && strings.HasSuffix(r.URL.Path, "igor/probe") {
		s.next.ServeHTTP(w, r)
		return
	}
	time.Sleep(wait)
	switch {
	case n < 5:
		w.WriteHeader(http.StatusTooManyRequests)
	case n < 10:
		w.WriteHeader(http.StatusInternalServerError)
	case n < 14: // full
		w.WriteHeader(http.StatusInsufficientStorage)
	case n < 20 && r.Method == http.MethodPut: // it says that it did it
		io.Copy(io.Discard, r.Body)
		w.Header().Set("ETag", `"00000000000000000000000000000000"`)
	case n < 26 && r.Method == http.MethodPut: // it does it, and says that it did not
		s.next.ServeHTTP(httptest.NewRecorder(), r)
		w.WriteHeader(http.StatusBadGateway)
	case n < 26 && r.Method == http.MethodGet: // it gives other bytes
		rec := httptest.NewRecorder()
		s.next.ServeHTTP(rec, r)
		b := rec.Body.Bytes()
		if len(b) > 0 {
			b[n%len(b)] ^= 4
		}
		maps.Copy(w.Header(), rec.Header())
		w.WriteHeader(rec.Code)
		w.Write(b)
	default:
		s.next.ServeHTTP(w, r)
	}
}

// TestKill kills an archiver at random instants, while its targets are slow, full, busy and
// broken, say that they took what they did not, lose what they confirmed, and return other
// bytes. What is final is there, byte for byte, and nothing is there under another name.
func TestKill(t *testing.T) {
	l := archivetest.NewLife(killLife, killCount)
	backend := s3mem.New()
	if err := backend.CreateBucket("lives"); err != nil {
		t.Fatal(err)
	}
	bucket := &spoiled{next: gofakes3.New(backend).Server(), rng: rand.New(rand.NewPCG(1, 2)), faulty: true}
	bucketServer := httptest.NewServer(bucket)
	defer bucketServer.Close()
	items := arweavetest.New(3)
	faults := arweavetest.Faults{Busy: 5, Broken: 5, Unsaid: 5, Lie: 5, Rot: 10, Lose: 30, Slow: 3 * time.Millisecond}
	items.Set(faults)
	itemServer := httptest.NewServer(items)
	defer itemServer.Close()
	tmp := t.TempDir()
	agent, folder := filepath.Join(tmp, "agent"), filepath.Join(tmp, "folder")
	if err := os.Mkdir(agent, 0o755); err != nil {
		t.Fatal(err)
	}
	child := func(from int) *exec.Cmd {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), childEnv+"="+strings.Join([]string{agent, folder, bucketServer.URL, itemServer.URL, fmt.Sprint(from)}, "\n"))
		cmd.Stderr = os.Stderr
		return cmd
	}
	targets, err := killTargets(folder, bucketServer.URL, itemServer.URL)
	if err != nil {
		t.Fatal(err)
	}
	objects := func() map[string]map[string][]byte { // without the server in between
		all := map[string]map[string][]byte{}
		for i, target := range targets[:2] {
			bucket.mu.Lock()
			bucket.faulty = false
			bucket.mu.Unlock()
			all[target.Name()] = map[string][]byte{}
			err := target.List(t.Context(), published.Folder(l.Key())+"/", func(e archive.Entry) error {
				b, err := archive.GetAll(t.Context(), target, e.Key, archive.MaxObject)
				all[target.Name()][strings.TrimPrefix(e.Key, published.Folder(l.Key())+"/")] = b
				return err
			})
			if err != nil {
				t.Fatal(i, err)
			}
		}
		all[targets[2].Name()] = map[string][]byte{}
		for name, of := range items.Items() {
			if len(of) != 1 {
				t.Fatalf("%s is in the chain %d times", name, len(of))
			}
			all[targets[2].Name()][name] = of[0]
		}
		return all
	}
	made := map[string][]byte{} // what was ever seen under a name that must not change
	final := 0
	check := func() {
		t.Helper()
		all := objects()
		statuses, err := archive.StatusOf(agent)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range statuses {
			final += s.Segments
			for n := range s.Segments {
				name := fmt.Sprintf("segments/%d.car", n)
				if all[s.Target][name] == nil {
					t.Fatalf("%s is final in %s, and not there", name, s.Target)
				}
			}
		}
		for target, of := range all {
			for name, b := range of {
				if name == "head" || name == "index" {
					continue
				}
				if was, ok := made[name]; ok && !bytes.Equal(was, b) {
					t.Fatalf("%s in %s has other bytes than before, or than elsewhere", name, target)
				}
				made[name] = b
			}
		}
		bucket.mu.Lock()
		bucket.faulty = true
		bucket.mu.Unlock()
	}
	rng, at := rand.New(rand.NewPCG(rand.Uint64(), 5)), 0
	for range *archiveKills {
		cmd := child(at)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lived := time.Duration(rng.Int64N(int64(150 * time.Millisecond)))
		time.Sleep(lived)
		cmd.Process.Kill()
		cmd.Wait()
		at = min(at+rng.IntN(2*killCount / *archiveKills + 1), killCount-1)
		check()
	}
	// Now the targets are well, but for what the bundler loses for certain: how much it lost until
	// here, chance decides, and the machine's load.
	items.Set(arweavetest.Faults{LoseNext: 3})
	bucket.faulty = false
	cmd := child(killCount - 1)
	timer := time.AfterFunc(2*time.Minute, func() { cmd.Process.Kill() })
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	timer.Stop()
	check()
	all := objects()
	var want []string
	for i, target := range targets {
		of := all[target.Name()]
		names := slices.DeleteFunc(slices.Sorted(maps.Keys(of)), func(name string) bool {
			return name == "head" || name == "index" || strings.HasPrefix(name, "archive-keys/")
		})
		if i == 0 {
			want = names
		} else if !slices.Equal(names, want) {
			t.Errorf("%s has other objects than the first target: %q and %q", target.Name(), names, want)
		}
		got := []byte{}
		for n := 0; of[fmt.Sprintf("segments/%d.car", n)] != nil; n++ {
			got = append(got, of[fmt.Sprintf("segments/%d.car", n)]...)
		}
		for n := range l.Len() {
			if !bytes.Contains(got, l.Checkpoint(n)) {
				t.Fatalf("%s does not have the checkpoint %d", target.Name(), n)
			}
		}
	}
	// An item that was lost has the same name when it is sent again.
	uploads, lost := items.Ever()
	if len(uploads) != len(all[targets[2].Name()]) {
		t.Errorf("%d items were ever in the chain, and %d are", len(uploads), len(all[targets[2].Name()]))
	}
	again := 0
	for _, n := range uploads {
		again += n - 1
	}
	t.Logf("%d kills; %d objects a target, %d names in all; %d items lost by the bundler, %d uploads of an item again; %d times a final segment was looked at", *archiveKills, len(want), len(made), lost, again, final)
	if final == 0 || lost < 3 || again == 0 {
		t.Error("nothing was final, or nothing was lost and sent again")
	}
}
