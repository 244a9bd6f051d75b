package interop

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/ipfs/go-cid"
	car "github.com/ipld/go-car/v2"
	"github.com/ipld/go-car/v2/blockstore"

	"igor.dev/internal/testkit"
	"igor.dev/publish"
	"igor.dev/verifier"
	"igor.dev/verifier/published"
)

// TestPublished reads what igor publish writes with IPFS's own library, and a block from what
// igor serve serves as its clients do: by a CID that they check.
func TestPublished(t *testing.T) {
	life := testkit.NewAgent("alice").History(1500, 200)
	dir := t.TempDir()
	result, err := publish.Publish(t.Context(), dir, func(tick uint64, all bool) iter.Seq2[[]byte, error] {
		return func(yield func([]byte, error) bool) {
			for _, b := range life {
				if (all || testkit.Tick(b) > tick) && !yield(b, nil) {
					return
				}
			}
		}
	}, publish.Options{})
	if err != nil {
		t.Fatal(err)
	}
	h := result.Head
	if h.Segments != 1 || h.Tail == 0 {
		t.Fatalf("%+v", h)
	}
	next := 0
	for _, key := range []string{published.SegmentKey(h.Agent, 0), published.TailKey(h.Agent, h.Checkpoint)} {
		path := filepath.Join(dir, filepath.FromSlash(key))
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		r, err := car.NewBlockReader(f)
		if err != nil {
			t.Fatal(err)
		}
		last := ""
		for {
			b, err := r.Next() // checks the content against its CID
			if err == io.EOF {
				break
			} else if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(b.RawData(), life[next]) {
				t.Fatalf("block %d is another one", next)
			}
			last = b.Cid().String()
			next++
		}
		if len(r.Roots) != 1 || r.Roots[0].String() != last {
			t.Errorf("%s: roots %v, its last block is %s", key, r.Roots, last)
		}
		store, err := blockstore.OpenReadOnly(path)
		if err != nil {
			t.Fatal(err)
		}
		defer store.Close()
		if b, err := store.Get(context.Background(), r.Roots[0]); err != nil || !bytes.Equal(b.RawData(), life[next-1]) {
			t.Error(err)
		}
	}
	if next != len(life) {
		t.Errorf("%d blocks", next)
	}

	tree, err := publish.OpenTree(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer tree.Close()
	server := httptest.NewServer(&publish.Server{Trees: []*publish.Tree{tree}})
	defer server.Close()
	for _, i := range []int{0, 700, 1499} {
		c, err := cid.Decode(verifier.Hash(testkit.Hash(life[i])).CID())
		if err != nil {
			t.Fatal(err)
		}
		r, err := http.NewRequest("GET", fmt.Sprintf("%s/ipfs/%s?format=raw", server.URL, c), nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Accept", "application/vnd.ipld.raw")
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := c.Prefix().Sum(b); err != nil || !got.Equals(c) || resp.Header.Get("Etag") != `"`+c.String()+`.raw"` {
			t.Errorf("block %d is %v: %v %v", i, got, resp.Header, err)
		}
		// The same as a CAR.
		if resp, err = http.Get(fmt.Sprintf("%s/ipfs/%s?format=car", server.URL, c)); err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		r2, err := car.NewBlockReader(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := r2.Next(); err != nil || !got.Cid().Equals(c) || !bytes.Equal(got.RawData(), life[i]) || len(r2.Roots) != 1 || !r2.Roots[0].Equals(c) {
			t.Errorf("block %d in a CAR: %v, %v", i, got, err)
		}
		if _, err := r2.Next(); err != io.EOF {
			t.Errorf("block %d in a CAR: more follows, %v", i, err)
		}
	}
}

// TestProbe reads what says that a gateway is one.
func TestProbe(t *testing.T) {
	server := httptest.NewServer(&publish.Server{})
	defer server.Close()
	resp, err := http.Get(server.URL + "/ipfs/bafkqaaa?format=car")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	r, err := car.NewBlockReader(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Next(); err != io.EOF || len(r.Roots) != 1 || r.Roots[0].String() != "bafkqaaa" {
		t.Error(r.Roots, err)
	}
}
