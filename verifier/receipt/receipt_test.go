package receipt

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"math"
	"math/big"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"igor.dev/internal/testkit"
	"igor.dev/verifier"
)

type vector struct {
	name, Description string
	Agent             string
	Checkpoints       []string
	Receipts          string
	Expect            struct {
		Verdict                          string
		Exit                             int
		Codes                            []Code
		Executions, Payments, Duplicates int
		Error                            string
	}
}

func vectors(t testing.TB) (vs []vector) {
	t.Helper()
	names, err := filepath.Glob("../../testdata/receipts/*.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		v := vector{name: filepath.Base(name)}
		d := json.NewDecoder(bytes.NewReader(b))
		d.DisallowUnknownFields()
		if err := d.Decode(&v); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		vs = append(vs, v)
	}
	if len(vs) < 40 {
		t.Fatalf("only %d vectors", len(vs))
	}
	return vs
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func readAll(b []byte) (all []Receipt, err error) {
	r := NewReader(bytes.NewReader(b))
	for {
		got, err := r.Next()
		if err == io.EOF {
			return all, nil
		} else if err != nil {
			return nil, err
		}
		all = append(all, got)
	}
}

func check(t *testing.T, v *vector, receipts []Receipt) (*Report, error) {
	t.Helper()
	var c Checker
	if v.Agent != "" {
		k, err := verifier.ParseDID(v.Agent)
		if err != nil {
			t.Fatal(err)
		}
		c.Agent = &k
	}
	for _, s := range v.Checkpoints {
		f := verifier.Examine(unhex(t, s))
		c.AddCheckpoint(&f)
	}
	for _, r := range receipts {
		if err := c.Add(r); err != nil {
			t.Fatal(err)
		}
	}
	return c.Check()
}

func codes(problems []Problem) (codes []Code) {
	for _, p := range problems {
		if !slices.Contains(codes, p.Code) {
			codes = append(codes, p.Code)
		}
	}
	return codes
}

// TestVectors gives every scenario of testdata/receipts its expected outcome,
// whatever the order of the receipts.
func TestVectors(t *testing.T) {
	seen := map[Code]bool{}
	for _, v := range vectors(t) {
		receipts, err := readAll(unhex(t, v.Receipts))
		var report *Report
		if err == nil {
			report, err = check(t, &v, receipts)
		}
		if v.Expect.Exit == 2 {
			if err == nil {
				t.Errorf("%s: not refused: %s", v.name, v.Expect.Error)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", v.name, err)
			continue
		}
		for range 3 {
			if report.Verdict.String() != v.Expect.Verdict || report.Verdict.ExitCode() != v.Expect.Exit {
				t.Errorf("%s: %v, want %s", v.name, report.Verdict, v.Expect.Verdict)
			}
			got, want := codes(report.Problems), v.Expect.Codes
			for _, c := range got {
				seen[c] = true
			}
			if !slices.Equal(slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(want))) {
				t.Errorf("%s: codes %v, want %v", v.name, got, want)
			}
			if report.Executions != v.Expect.Executions || report.Payments != v.Expect.Payments || report.Duplicates != v.Expect.Duplicates {
				t.Errorf("%s: %d executions, %d payments, %d duplicates", v.name, report.Executions, report.Payments, report.Duplicates)
			}
			rand.Shuffle(len(receipts), func(i, j int) { receipts[i], receipts[j] = receipts[j], receipts[i] })
			if report, err = check(t, &v, receipts); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, c := range []Code{WeakKey, BadSignature, NegativeAmount, IdentityMismatch, Conflict, CheckpointMismatch, BudgetMismatch, TickMismatch, UnknownCheckpoint, MissingReceipt} {
		if !seen[c] {
			t.Errorf("no vector has %s", c)
		}
	}
}

func TestEveryTruncationAndFlip(t *testing.T) {
	for _, v := range vectors(t) {
		if v.name != "whole-with-payment.json" {
			continue
		}
		b := unhex(t, v.Receipts)
		whole, err := readAll(b)
		if err != nil || len(whole) != 4 {
			t.Fatalf("%d receipts, %v", len(whole), err)
		}
		ends := []int{0}
		for _, r := range whole {
			ends = append(ends, ends[len(ends)-1]+len(r.Append(nil)))
		}
		for cut := range b {
			if _, err := readAll(b[:cut]); slices.Contains(ends, cut) != (err == nil) || err != nil && !errors.Is(err, ErrTruncated) {
				t.Fatalf("cut at %d: %v", cut, err)
			}
		}
		for bit := range 8 * len(b) {
			bad := bytes.Clone(b)
			bad[bit/8] ^= 1 << (bit % 8)
			r := NewReader(bytes.NewReader(bad))
			for _, end := range ends[1:] {
				got, err := r.Next()
				if err != nil {
					break
				}
				if end > bit/8 {
					if got.Authentic() {
						t.Fatalf("with bit %d flipped it is authentic", bit)
					}
					break
				}
			}
		}
		return
	}
	t.Fatal("no vector")
}

func key(first byte) ed25519.PrivateKey {
	seed := make([]byte, ed25519.SeedSize)
	for i := range seed {
		seed[i] = first + byte(i)
	}
	return ed25519.NewKeyFromSeed(seed)
}

// example has the receipts of docs/spec/receipts.md, which is about the
// checkpoints of checkpoint.md and lineage.md and the effect of journal.md.
func example(t *testing.T) (e *Execution, p *Payment, prev, next verifier.Finding) {
	t.Helper()
	prev, next = verifier.Examine(testkit.SpecBytes(t, "../../docs/spec", "checkpoint.md", "hex genesis")), verifier.Examine(testkit.SpecBytes(t, "../../docs/spec", "lineage.md", "hex successor"))
	node, agent := key(0x20), key(0)
	e = &Execution{Agent: next.AgentPubKey, Node: verifier.PublicKey(node.Public().(ed25519.PublicKey)), Prev: prev.ContentHash, Checkpoint: next.ContentHash,
		Tick: 9, Ticks: 5, Elapsed: 5_000_000, Price: next.PricePerSecond, Cost: 5, Budget: next.Budget, Time: 1_700_000_000_000_000_000}
	copy(e.Signature[:], ed25519.Sign(node, e.AppendMessage(nil)))
	p = &Payment{Payer: next.AgentPubKey, Nonce: PaymentNonce([32]byte(testkit.SpecBytes(t, "../../docs/spec", "journal.md", "hex id"))), Amount: 2500,
		Time: 1_700_000_000_000_000_000, Recipient: "bob", Memo: "order 7"}
	copy(p.Signature[:], ed25519.Sign(agent, p.AppendMessage(nil)))
	return e, p, prev, next
}

// TestSpecExample holds the page to what the code does.
func TestSpecExample(t *testing.T) {
	e, p, prev, next := example(t)
	if got, want := e.Append(nil), testkit.SpecBytes(t, "../../docs/spec", "receipts.md", "hex execution"); !bytes.Equal(got, want) {
		t.Errorf("the example's receipt is\n%x\nreceipts.md has\n%x", got, want)
	}
	if got, want := p.Append(nil), testkit.SpecBytes(t, "../../docs/spec", "receipts.md", "hex payment"); !bytes.Equal(got, want) {
		t.Errorf("the example's payment is\n%x\nreceipts.md has\n%x", got, want)
	}
	node := key(0x20)
	r := &Rent{Agent: e.Agent, Node: e.Node, Chain: 8453, Asset: [20]byte(unhex(t, "833589fcd6edb6e08f4c7c32d4f71b54bda02913")), From: [20]byte(bytes.Repeat([]byte{0xf1}, 20)),
		To: [20]byte(unhex(t, "209693bc6afc0c5328ba36faf03c514ef312287c")), Amount: 5, Nonce: [32]byte(bytes.Repeat([]byte{0xe1}, 32)), Transaction: [32]byte(bytes.Repeat([]byte{0xd1}, 32)),
		Checkpoint: e.Checkpoint, Receipts: 2, Time: 1_700_000_000_000_000_000}
	copy(r.Signature[:], ed25519.Sign(node, r.AppendMessage(nil)))
	if got, want := r.Append(nil), testkit.SpecBytes(t, "../../docs/spec", "rent.md", "hex rent"); !bytes.Equal(got, want) {
		t.Errorf("the example's receipt for rent is\n%x\nrent.md has\n%x", got, want)
	}
	var c Checker
	c.AddCheckpoint(&prev)
	c.AddCheckpoint(&next)
	if err := errors.Join(c.Add(e), c.Add(p)); err != nil {
		t.Fatal(err)
	}
	report, err := c.Check()
	if err != nil || report.Verdict != verifier.Incomplete || len(report.Problems) != 1 || report.Cost != sum(5) {
		t.Errorf("%+v, %v", report, err)
	}
}

// TestSum adds more than 64 bits hold, and says it in decimal.
func TestSum(t *testing.T) {
	s := sum(math.MaxInt64, math.MaxInt64, math.MaxInt64)
	if got := s.Microcents(); got != "27670116110564327421" {
		t.Errorf("it is %s", got)
	}
	if got := s.String(); got != "27670116110564.327421" {
		t.Errorf("it is %s", got)
	}
	if got := s.Less(sum(math.MaxInt64, math.MaxInt64)); got != sum(math.MaxInt64) || got.String() != verifier.FormatMicrocents(math.MaxInt64) {
		t.Errorf("less two of them it is %v", got)
	}
	for range 1000 { // against another way to write it
		high, low := rand.Uint64()>>rand.IntN(64), rand.Uint64()>>rand.IntN(64)
		want := new(big.Int).SetUint64(high)
		want.Or(want.Lsh(want, 64), new(big.Int).SetUint64(low))
		if got := (Sum{high, low}).Microcents(); got != want.String() {
			t.Errorf("%d, %d is %s, want %s", high, low, got, want)
		}
	}
	if got := (Sum{math.MaxUint64, math.MaxUint64}).Microcents(); got != "340282366920938463463374607431768211455" {
		t.Errorf("the most is %s", got)
	}
	if got := sum().String(); got != "0.000000" {
		t.Errorf("nothing is %s", got)
	}
}

func TestCheckPayment(t *testing.T) {
	for name, p := range map[string]Payment{"nobody": {}, "long recipient": {Recipient: strings.Repeat("r", MaxRecipient+1)},
		"long memo": {Recipient: "r", Memo: strings.Repeat("m", MaxMemo+1)}} {
		if p.Check() == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

// TestImports: what a browser or igor-verify links stays small and pure.
func TestImports(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", "{{join .Imports \"\\n\"}}", "igor.dev/verifier/receipt").Output()
	if err != nil {
		t.Fatal(err)
	}
	imports := strings.Fields(string(out))
	if len(imports) < 5 {
		t.Fatalf("too few imports to be true: %v", imports)
	}
	for _, p := range imports {
		if strings.Contains(p, ".") && p != "igor.dev/verifier" && !strings.HasPrefix(p, "igor.dev/verifier/internal/") || slices.Contains([]string{"fmt", "encoding/json", "math/big", "crypto/ed25519", "os", "time", "net/http"}, p) {
			t.Errorf("%s is imported", p)
		}
	}
}

type oneByte struct{ r io.Reader }

func (o oneByte) Read(p []byte) (int, error) { return o.r.Read(p[:min(1, len(p))]) }

func FuzzReader(f *testing.F) {
	for _, v := range vectors(f) {
		f.Add(unhex(f, v.Receipts))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		all, err := readAll(b)
		if err != nil {
			return
		}
		var again []byte
		for _, r := range all {
			again = r.Append(again)
		}
		if !bytes.Equal(again, b) {
			t.Errorf("%x is written %x", b, again)
		}
		n := 0
		for r := NewReader(oneByte{bytes.NewReader(b)}); ; n++ {
			if _, err := r.Next(); err != nil {
				break
			}
		}
		if n != len(all) {
			t.Errorf("byte by byte there are %d receipts, not %d", n, len(all))
		}
		var c Checker
		for _, r := range all {
			if err := c.Add(r); err != nil {
				t.Fatal(err)
			}
		}
		c.Check()
	})
}

// TestOnlyBadCheckpoints holds receipts to the checkpoints that were supplied also where
// not one of them is authentic.
func TestOnlyBadCheckpoints(t *testing.T) {
	for _, v := range vectors(t) {
		if v.name != "whole.json" {
			continue
		}
		receipts, err := readAll(unhex(t, v.Receipts))
		if err != nil {
			t.Fatal(err)
		}
		for i, s := range v.Checkpoints {
			b := unhex(t, s)
			b[len(b)-1] ^= 1
			v.Checkpoints[i] = hex.EncodeToString(b)
		}
		report, err := check(t, &v, receipts)
		if err != nil || report.Verdict != verifier.Incomplete || !slices.Contains(codes(report.Problems), UnknownCheckpoint) {
			t.Fatalf("%v %+v", err, report)
		}
		return
	}
	t.Fatal("there is no vector whole")
}
