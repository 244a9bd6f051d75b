package journal

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"testing"

	"igor.dev/runtime/internal/wal"
)

// liveIn makes the test binary a process that journals effects in a folder, and
// writes a line for each that is acknowledged, until it is killed.
const liveIn = "IGOR_TEST_JOURNAL"

func TestMain(m *testing.M) {
	if dir := os.Getenv(liveIn); dir != "" {
		if err := journalEffects(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

func journalEffects(dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	d := wal.Dir(root)
	if err := Create(d, life, genesis); err != nil {
		return err
	}
	j, err := Open(d, life, 0)
	if err != nil {
		return err
	}
	for tick := uint64(1); ; tick++ {
		id, err := j.Begin(Begin{Tick: tick, Kind: HTTP, Request: bytes.Repeat([]byte("r"), int(tick*997%20_000))})
		if err != nil {
			return err
		}
		if err := j.End(id, 0, []byte("done")); err != nil {
			return err
		}
		if tick%8 == 0 {
			if err := compact(tick - 6)(j); err != nil {
				return err
			}
		}
		fmt.Println(tick)
	}
}

// TestKilled kills a process that journals, and has every effect that it
// acknowledged, or knowingly dropped.
func TestKilled(t *testing.T) {
	for round := range 12 {
		dir := t.TempDir()
		child := exec.Command(os.Args[0])
		child.Env = append(os.Environ(), liveIn+"="+dir)
		child.Stderr = os.Stderr
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		acknowledged := uint64(0)
		lines := bufio.NewScanner(out)
		for n := 0; lines.Scan(); n++ {
			if acknowledged, err = strconv.ParseUint(lines.Text(), 10, 64); err != nil {
				t.Fatal(err)
			}
			if n == 2*round {
				child.Process.Kill()
			}
		}
		child.Wait()
		if acknowledged == 0 {
			t.Fatal("the process journalled nothing")
		}
		root, err := os.OpenRoot(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer root.Close()
		j, err := Open(wal.Dir(root), life, acknowledged)
		if err != nil {
			t.Fatal(err)
		}
		defer j.Close()
		for tick := j.Base().Tick + 1; tick <= acknowledged; tick++ {
			id := EffectID(life.Agent, life.Genesis, tick, 0)
			if e, ok := j.Effect(id); !ok || e.State != Ended {
				t.Errorf("effect of tick %d of %d is lost", tick, acknowledged)
			}
			if b, err := j.Result(id); err != nil || string(b) != "done" {
				t.Errorf("result of tick %d is %q, %v", tick, b, err)
			}
		}
		if n := len(j.Effects()); n > int(acknowledged-j.Base().Tick)+1 {
			t.Errorf("%d effects, of %d", n, acknowledged-j.Base().Tick)
		}
	}
}
