package verifycli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestSARIFLimit has more problems than code scanning shows results: the last result
// says how many more there are. Each has a name of its own.
func TestSARIFLimit(t *testing.T) {
	const files = maxResults + 234
	dir := t.TempDir()
	for i := range files {
		pointer := fmt.Sprintf("version https://git-lfs.github.com/spec/v1\noid sha256:%064x\nsize 225\n", i)
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%010d.ckpt", i)), []byte(pointer), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	results := func(args ...string) (texts []string) {
		var out, errs bytes.Buffer
		if code := Main("igor-verify", append(args, "--format", "sarif"), nil, &out, &errs); code != 1 {
			t.Fatalf("exit code %d: %s", code, &errs)
		}
		var log struct {
			Runs []struct {
				Tool struct {
					Driver struct {
						Rules []struct{ ShortDescription struct{ Text string } }
					}
				}
				Results []struct {
					Message             struct{ Text string }
					PartialFingerprints struct{ PrimaryLocationLineHash string }
				}
			}
		}
		if err := json.Unmarshal(out.Bytes(), &log); err != nil {
			t.Fatal(err)
		}
		for _, rule := range log.Runs[0].Tool.Driver.Rules {
			if !strings.Contains(rule.ShortDescription.Text, " ") {
				t.Errorf("the title %q is no sentence", rule.ShortDescription.Text)
			}
		}
		seen := make(map[string]bool)
		for _, r := range log.Runs[0].Results {
			texts = append(texts, r.Message.Text)
			if name := r.PartialFingerprints.PrimaryLocationLineHash; name == "" || seen[name] {
				t.Fatalf("%q is the name of two results, or none", name)
			}
			seen[r.PartialFingerprints.PrimaryLocationLineHash] = true
		}
		return texts
	}
	texts := results(dir)
	if len(texts) != maxResults || !strings.HasPrefix(texts[maxResults-1], "235 more problems, of which this is the first: ") {
		t.Errorf("%d results, the last of which says %q", len(texts), texts[len(texts)-1])
	}
	if !strings.Contains(texts[0], "a Git LFS pointer") {
		t.Errorf("the first says %q", texts[0])
	}
	for _, i := range []int{0, 1} { // as many as there may be
		os.Remove(filepath.Join(dir, fmt.Sprintf("%010d.ckpt", i)))
	}
	for i := maxResults + 2; i < files; i++ {
		os.Remove(filepath.Join(dir, fmt.Sprintf("%010d.ckpt", i)))
	}
	if texts := results(dir); len(texts) != maxResults || strings.Contains(texts[maxResults-1], "more problems") {
		t.Errorf("%d results, the last of which says %q", len(texts), texts[len(texts)-1])
	}
}
