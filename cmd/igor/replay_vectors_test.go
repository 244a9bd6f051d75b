package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestReplayVectors gives every scenario of testdata/replay its report and its exit
// code. What is in words binds nobody.
func TestReplayVectors(t *testing.T) {
	files, err := filepath.Glob("../../testdata/replay/*/replay.json")
	if err != nil || len(files) < 40 {
		t.Fatalf("%d vectors, %v", len(files), err)
	}
	cache := t.TempDir()
	for _, file := range files {
		t.Run(filepath.Base(filepath.Dir(file)), func(t *testing.T) {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var v struct {
				Args   []string
				Exit   int
				Report map[string]any
				Error  string
			}
			if err := json.Unmarshal(b, &v); err != nil {
				t.Fatal(err)
			}
			t.Chdir(filepath.Dir(file))
			var stdout, stderr bytes.Buffer
			code := run(append([]string{"replay", "--json", "--cache-dir", cache}, v.Args...), nil, &stdout, &stderr)
			if code != v.Exit {
				t.Errorf("exit code %d, want %d", code, v.Exit)
			}
			if v.Report == nil {
				if stdout.Len() > 0 || v.Error == "" || stderr.Len() == 0 {
					t.Errorf("without a verdict: got\n%s%s", &stdout, &stderr)
				}
				t.Logf("%s; want %s", strings.TrimSpace(stderr.String()), v.Error)
				return
			}
			var got map[string]any
			if err := json.Unmarshal(stdout.Bytes(), &got); err != nil {
				t.Fatalf("%v\n%s%s", err, &stdout, &stderr)
			}
			for _, key := range []string{"proves", "doesNotProve"} {
				if got[key] == "" {
					t.Errorf("no %s", key)
				}
				delete(got, key)
			}
			for _, p := range got["problems"].([]any) {
				p := p.(map[string]any)
				if p["message"] == "" {
					t.Error("a problem without words")
				}
				t.Log(p["message"])
				delete(p, "message")
			}
			// Maps are written with their keys in order.
			gotText, _ := json.MarshalIndent(got, "", "  ")
			wantText, _ := json.MarshalIndent(v.Report, "", "  ")
			if !bytes.Equal(gotText, wantText) {
				t.Errorf("got\n%s\nwant\n%s", gotText, wantText)
			}
		})
	}
}
