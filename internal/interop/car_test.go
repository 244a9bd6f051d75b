package interop

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"testing"

	blocks "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"
	car "github.com/ipld/go-car/v2"
	"github.com/ipld/go-car/v2/blockstore"
	"github.com/multiformats/go-multihash"

	"igor.dev/internal/testkit"
	"igor.dev/verifier"
	"igor.dev/verifier/history"
)

// TestOursOpens opens a CAR that Igor wrote with IPFS's own library.
func TestOursOpens(t *testing.T) {
	life := testkit.NewAgent("alice").History(20, 5000)
	head := life[len(life)-1]
	ours := verifier.AppendCARHeader(nil, testkit.Hash(head))
	for _, b := range life {
		ours = verifier.AppendCARBlock(ours, testkit.Hash(b), b)
	}
	r, err := car.NewBlockReader(bytes.NewReader(ours))
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Roots) != 1 || r.Roots[0].String() != verifier.Hash(testkit.Hash(head)).CID() {
		t.Errorf("roots %v, want %s", r.Roots, verifier.Hash(testkit.Hash(head)).CID())
	}
	for i, want := range life {
		b, err := r.Next() // checks the content against its CID
		if err != nil {
			t.Fatalf("block %d: %v", i, err)
		}
		if !bytes.Equal(b.RawData(), want) || b.Cid().String() != testkit.CID(want) {
			t.Errorf("block %d is %s, want %s", i, b.Cid(), testkit.CID(want))
		}
	}
	if _, err := r.Next(); err != io.EOF {
		t.Errorf("after the last block: %v", err)
	}
	path := filepath.Join(t.TempDir(), "history.car")
	if err := os.WriteFile(path, ours, 0o666); err != nil {
		t.Fatal(err)
	}
	store, err := blockstore.OpenReadOnly(path)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	b, err := store.Get(context.Background(), r.Roots[0])
	if err != nil || !bytes.Equal(b.RawData(), head) {
		t.Errorf("the head cannot be looked up by its CID: %v", err)
	}
}

// TestTheirsVerifies verifies a CAR that IPFS's own library wrote.
func TestTheirsVerifies(t *testing.T) {
	life := testkit.NewAgent("alice").History(20, 5000)
	sum := func(b []byte) cid.Cid {
		h, err := multihash.Sum(b, multihash.SHA2_256, -1)
		if err != nil {
			t.Fatal(err)
		}
		return cid.NewCidV1(cid.Raw, h)
	}
	root := sum(life[len(life)-1])
	path := filepath.Join(t.TempDir(), "history.car")
	store, err := blockstore.OpenReadWrite(path, []cid.Cid{root}, blockstore.WriteAsCarV1(true))
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range life {
		block, err := blocks.NewBlockWithCid(b, sum(b))
		if err != nil {
			t.Fatal(err)
		}
		if err := store.Put(context.Background(), block); err != nil {
			t.Fatal(err)
		}
	}
	if err := store.Finalize(); err != nil {
		t.Fatal(err)
	}
	source, err := history.Path(path)
	if err != nil {
		t.Fatal(err)
	}
	var v history.Verification
	report, err := v.Run(context.Background(), source)
	if err != nil {
		t.Fatal(err)
	}
	head, _ := report.Head()
	if n, _ := report.Checkpoints(); report.Verdict() != verifier.Verified || n != len(life) || head.CID() != root.String() {
		t.Errorf("%s, %d checkpoints, head %s; want verified, %d, %s", report.Verdict(), n, head.CID(), len(life), root)
	}
}
