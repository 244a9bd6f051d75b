package wal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
)

// TestGroup has many agents sync at the same time: what they ask for becomes far fewer
// syncs, and few agents have each their own. Where the whole cannot be synced, each one's
// own sync says what is with it, then and from then on.
func TestGroup(t *testing.T) {
	const rounds = 5
	each := func(g *Group, agents int, alone func(i int) error) (failed int64) {
		t.Helper()
		dir := t.TempDir()
		var all sync.WaitGroup
		var errs atomic.Int64
		for i := range agents {
			f, err := os.Create(filepath.Join(dir, fmt.Sprint(i)))
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			leave := g.Join()
			all.Go(func() {
				for range rounds {
					if g.sync(f, func() error { return alone(i) }) != nil {
						errs.Add(1)
					}
				}
			})
			defer leave()
		}
		all.Wait()
		return errs.Load()
	}
	fine := func(int) error { return nil }

	few := &Group{}
	defer few.Close()
	each(few, fewAgents, fine)
	if asked, made := few.Syncs(); asked != fewAgents*rounds || made != asked {
		t.Errorf("of %d syncs that few agents ask for, %d were made", asked, made)
	}

	const many = 300
	wholes := 0
	g := &Group{whole: func(f *os.File) error { wholes++; return syncWhole(f) }}
	defer g.Close()
	each(g, many, fine)
	asked, made := g.Syncs()
	if asked != many*rounds {
		t.Errorf("%d syncs were asked for", asked)
	}
	if wholes == 0 {
		t.Skip("this file system is not synced as a whole")
	}
	if made > asked/10 {
		t.Errorf("of %d syncs that many agents ask for, %d were made", asked, made)
	}

	wholes = 0
	broken := &Group{whole: func(*os.File) error { wholes++; return errors.New("input/output error") }}
	defer broken.Close()
	failed := each(broken, many, func(i int) error {
		if i == 7 {
			return errors.New("input/output error")
		}
		return nil
	})
	if asked, made := broken.Syncs(); failed != rounds || wholes != 1 || made != asked+1 {
		t.Errorf("%d syncs failed of one file of %d; the whole was tried %d times, %d syncs were made of %d", failed, many, wholes, made, asked)
	}
}

// TestGroupNone checks that without a group each sync is made.
func TestGroupNone(t *testing.T) {
	made := 0
	var none *Group
	none.Join()()
	if err := none.sync(nil, func() error { made++; return nil }); err != nil || made != 1 {
		t.Errorf("%d, %v", made, err)
	}
}
