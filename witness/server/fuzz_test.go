package server

import (
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"igor.dev/verifier/witness"
)

// FuzzMonitorFiles opens a monitor whose files say anything: it opens, or says what is wrong,
// and a fork is never one that has no proof of its own.
func FuzzMonitorFiles(f *testing.F) {
	keys := f.TempDir()
	log, err := OpenKey(filepath.Join(keys, "log"), "log.example", Signs)
	if err != nil {
		f.Fatal(err)
	}
	key, err := OpenKey(filepath.Join(keys, "monitor"), "monitor.example", Signs)
	if err != nil {
		f.Fatal(err)
	}
	policy, err := witness.ParsePolicy([]byte("log " + log.String() + " https://log.example\nquorum none\n"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(""), make([]byte, recordSize), []byte("{\"did\":\"did:key:z6MkehRgf7yJbgaGfYsdoAsKdBPE3dj2CYhowQdcjqSJgvVd\"}\n"))
	f.Add([]byte("log.example\n0\n"), []byte("x"), []byte("null\n[]\n"))
	f.Fuzz(func(t *testing.T, checkpoint, heads, forks []byte) {
		dir := t.TempDir()
		for name, b := range map[string][]byte{"checkpoint": checkpoint, "heads": heads, "forks.jsonl": forks} {
			if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		m, err := OpenMonitor(MonitorConfig{Dir: dir, Key: key, Policy: policy, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
		if err != nil {
			return
		}
		defer m.Close()
		if size, heads, _, _, _ := m.State(); size != 0 || heads != 0 {
			t.Errorf("%d entries, %d heads of a log that signed nothing", size, heads)
		}
	})
}

// FuzzCosign asks a witness anything: it cosigns nothing that the log did not sign.
func FuzzCosign(f *testing.F) {
	keys := f.TempDir()
	log, err := OpenKey(filepath.Join(keys, "log"), "log.example", Signs)
	if err != nil {
		f.Fatal(err)
	}
	key, err := OpenKey(filepath.Join(keys, "w"), "w.example", Cosigns)
	if err != nil {
		f.Fatal(err)
	}
	w, err := OpenWitness(WitnessConfig{Dir: f.TempDir(), Key: key, Logs: []string{log.String()}, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err != nil {
		f.Fatal(err)
	}
	hash := strings.Repeat("A", 43) + "="
	f.Add("old 0\n\nlog.example\n1\n" + hash + "\n\n\u2014 log.example AAAAAAAA\n")
	f.Add("old 1\n" + hash + "\n\nlog.example\n2\n" + hash + "\n\n")
	f.Fuzz(func(t *testing.T, body string) {
		if lines, err := w.cosign(body); err == nil {
			t.Errorf("cosigned %q: %s", body, lines)
		}
	})
}
