package interop

import (
	"bufio"
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"igor.dev/archive/arweave/ans104"
)

// script runs a script of Node, which ends when its input does.
func script(t *testing.T, file string, args ...string) (in io.Writer, out *bufio.Reader) {
	t.Helper()
	cmd := exec.Command("node", append([]string{file}, args...)...)
	to, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	from, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { to.Close(); cmd.Wait() })
	return to, bufio.NewReader(from)
}

// bundles asks arbundles.
func bundles(t *testing.T) (ask func(question any) (answer map[string]any)) {
	t.Helper()
	if _, err := os.Stat("arweave/node_modules"); err != nil {
		t.Skip("arbundles is not here: make internal/interop/arweave/node_modules")
	}
	in, lines := script(t, "arweave/items.mjs")
	return func(question any) (answer map[string]any) {
		t.Helper()
		b, err := json.Marshal(question)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := in.Write(append(b, '\n')); err != nil {
			t.Fatal(err)
		}
		line, err := lines.ReadBytes('\n')
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(line, &answer); err != nil {
			t.Fatal(err)
		}
		return answer
	}
}

// items are tags and data of many kinds.
func items(n int) (all []struct {
	tags []ans104.Tag
	data []byte
}) {
	rng := rand.New(rand.NewPCG(4, 2))
	text := func(most int) string {
		const letters = "abcXYZ0123456789-_:/ äé☃"
		s := []rune{}
		for range 1 + rng.IntN(most) {
			s = append(s, []rune(letters)[rng.IntN(len([]rune(letters)))])
		}
		return string(s)
	}
	for i := range n {
		var tags []ans104.Tag
		for range i % 9 {
			tags = append(tags, ans104.Tag{Name: text(30), Value: text(90)})
		}
		data := make([]byte, []int{0, 1, 31, 1000, 70000}[i%5])
		for j := range data {
			data[j] = byte(rng.Uint32())
		}
		all = append(all, struct {
			tags []ans104.Tag
			data []byte
		}{tags, data})
	}
	return all
}

// TestArbundles has arbundles read items of ours, and ours read those of arbundles: they
// are the same bytes.
func TestArbundles(t *testing.T) {
	ask := bundles(t)
	seed := bytes.Repeat([]byte{7}, ed25519.SeedSize)
	key := ed25519.NewKeyFromSeed(seed)
	n := 0
	for i, c := range items(60) {
		ours, err := ans104.Sign(key, c.tags, c.data)
		if err != nil {
			t.Fatal(err)
		}
		raw := ours.Append(nil)
		a := ask(map[string]any{"verify": base64.StdEncoding.EncodeToString(raw)})
		if a["valid"] != true || a["id"] != ours.ID() || a["owner"] != hex.EncodeToString(ours.Owner[:]) || a["data"] != base64.StdEncoding.EncodeToString(c.data) {
			t.Fatalf("item %d: arbundles reads it as %v", i, a)
		}
		tags, _ := a["tags"].([]any)
		if len(tags) != len(c.tags) {
			t.Fatalf("item %d: arbundles reads %d tags, and it has %d", i, len(tags), len(c.tags))
		}
		for j := range tags {
			if got := tags[j].(map[string]any); got["name"] != c.tags[j].Name || got["value"] != c.tags[j].Value {
				t.Fatalf("item %d: arbundles reads the tag %v, and it is %v", i, got, c.tags[j])
			}
		}
		var named []map[string]string
		for _, tag := range c.tags {
			named = append(named, map[string]string{"name": tag.Name, "value": tag.Value})
		}
		a = ask(map[string]any{"sign": map[string]any{"seed": hex.EncodeToString(seed), "tags": named, "data": base64.StdEncoding.EncodeToString(c.data)}})
		if a["item"] != base64.StdEncoding.EncodeToString(raw) || a["id"] != ours.ID() {
			t.Fatalf("item %d: arbundles makes another one: %.300v", i, a)
		}
		// With target and anchor, which ours reads and does not write.
		a = ask(map[string]any{"sign": map[string]any{"seed": hex.EncodeToString(seed), "tags": named, "data": base64.StdEncoding.EncodeToString(c.data),
			"target": base64.RawURLEncoding.EncodeToString(bytes.Repeat([]byte{1}, 32)), "anchor": strings.Repeat("a", 32)}})
		text, _ := a["item"].(string)
		theirs, _ := base64.StdEncoding.DecodeString(text)
		read, err := ans104.Parse(theirs)
		if err != nil || read.ID() != a["id"] || !slices.Equal(read.Tags, c.tags) || !bytes.Equal(read.Data, c.data) || !bytes.Equal(read.Target, bytes.Repeat([]byte{1}, 32)) || string(read.Anchor) != strings.Repeat("a", 32) {
			t.Fatalf("item %d of arbundles: %v, %v", i, read, err)
		}
		// What is damaged is refused by both.
		raw[i%len(raw)] ^= 1 << (i % 8)
		_, err = ans104.Parse(raw)
		if a := ask(map[string]any{"verify": base64.StdEncoding.EncodeToString(raw)}); err == nil || a["valid"] == true {
			t.Errorf("item %d, damaged: %v, and arbundles: %v", i, err, a)
		}
		n++
	}
	if n < 50 {
		t.Fatal(n, "items")
	}
}
