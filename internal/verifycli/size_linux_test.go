package verifycli

import (
	"bufio"
	"encoding/binary"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"igor.dev/internal/testkit"
	"igor.dev/verifier"
)

var whole = flag.Bool("whole", false, "verify the largest histories, and not a tenth of them")

// asProgram is set where this test binary is to be igor-verify.
const asProgram = "IGOR_VERIFY_TEST_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		code := Main("igor-verify", os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
		status, err := os.ReadFile("/proc/self/status")
		if err != nil {
			panic(err)
		}
		os.NewFile(3, "status").Write(status)
		os.Exit(code)
	}
	os.Exit(m.Run())
}

// program runs igor-verify by itself and returns the most memory that it had, how much
// it wrote, and its exit code.
func program(t *testing.T, stdin io.Reader, args ...string) (rss, written int64, code int) {
	t.Helper()
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), asProgram+"=1", "GITHUB_STEP_SUMMARY=")
	cmd.Stdin, cmd.Stderr = stdin, os.Stderr
	// Not by what the kernel says of a process that ended: that counts its parent's memory.
	said, says, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer said.Close()
	cmd.ExtraFiles = []*os.File{says}
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	says.Close()
	if err != nil {
		t.Fatal(err)
	}
	written, err = io.Copy(io.Discard, out)
	if err != nil {
		t.Fatal(err)
	}
	status, err := io.ReadAll(said)
	if err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
	_, most, _ := strings.Cut(string(status), "VmHWM:")
	if _, err := fmt.Sscanf(most, "%d kB", &rss); err != nil {
		t.Fatalf("%v: %s", err, status)
	}
	return rss << 10, written, cmd.ProcessState.ExitCode()
}

// unsigned returns checkpoints that nobody signed, each after another, by one key or by as
// many as there are.
func unsigned(keys bool) func(i int) []byte {
	c := verifier.Checkpoint{Version: verifier.Version4, AgentPubKey: verifier.PublicKey(testkit.NewAgent("alice").Key), State: make([]byte, 1024)}
	return func(i int) []byte {
		c.TickNumber = uint64(i)
		binary.LittleEndian.PutUint64(c.PrevHash[:], uint64(i)+1)
		if keys {
			binary.LittleEndian.PutUint64(c.AgentPubKey[:], uint64(i)*977+1)
		}
		return c.Append(nil)
	}
}

// carOf streams a CAR of n checkpoints, of which the first is the root.
func carOf(n int, checkpoint func(i int) []byte) io.Reader {
	r, w := io.Pipe()
	go func() {
		out := bufio.NewWriterSize(w, 1<<20)
		b := checkpoint(0)
		out.Write(verifier.AppendCARHeader(nil, testkit.Hash(b)))
		for i := range n {
			b = checkpoint(i)
			if _, err := out.Write(verifier.AppendCARBlock(nil, testkit.Hash(b), b)); err != nil {
				return
			}
		}
		w.CloseWithError(out.Flush())
	}()
	return r
}

// TestSize verifies histories of a million checkpoints, each of them wrong, and a
// folder of 100,000, and holds the memory of the whole process to what a checkpoint may
// take in it, in whatever format it reports.
func TestSize(t *testing.T) {
	const each, fixed = 512, 16 << 20 // bytes: the collector lets a heap double
	n := 1_000_000
	if !*whole {
		n /= 20
	}
	hold := func(what string, n int, rss, written int64, code int) {
		t.Helper()
		t.Logf("%s, %d checkpoints: %d MiB, %d bytes a checkpoint; %d bytes written", what, n, rss>>20, rss/int64(n), written)
		if code != 1 || written == 0 {
			t.Errorf("%s: exit code %d, %d bytes", what, code, written)
		}
		if most := int64(fixed + each*n); rss > most {
			t.Errorf("%s: %d checkpoints take %d bytes, over %d", what, n, rss, most)
		}
	}
	for what, keys := range map[string]bool{"one key": false, "a key each": true} {
		rss, written, code := program(t, carOf(n, unsigned(keys)), "--format", "json", "-")
		hold(what, n, rss, written, code)
	}

	n /= 10
	dir, checkpoint := t.TempDir(), unsigned(false)
	for i := range n {
		sub := filepath.Join(dir, fmt.Sprint(i/1000))
		if i%1000 == 0 {
			if err := os.Mkdir(sub, 0o777); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(filepath.Join(sub, fmt.Sprintf("%010d.ckpt", i)), checkpoint(i), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	for _, format := range formats {
		rss, written, code := program(t, nil, "--format", format, dir)
		hold("a folder, "+format, n, rss, written, code)
	}
}
