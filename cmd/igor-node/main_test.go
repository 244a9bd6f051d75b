package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestErrors has every command be used wrongly: what is wrong is named, and what to do, and
// the exit code is the one that docs/operating.md has.
func TestErrors(t *testing.T) {
	dir, key, _ := aNode(t)
	nowhere := filepath.Join(t.TempDir(), "nowhere")
	odd := filepath.Join(t.TempDir(), "odd")
	if err := os.Mkdir(odd, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(odd, fileConfig), []byte(`{"price": "much"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	const help = "--help explains the usage"
	type wrong struct {
		code int
		says string
		args []string
	}
	says := func(w wrong) {
		t.Helper()
		var out, errs bytes.Buffer
		code := run(t.Context(), w.args, &out, &errs)
		lines := strings.Split(strings.TrimSpace(errs.String()), "\n")
		if code != w.code || !strings.Contains(errs.String(), w.says) || len(lines) != 2 || !strings.HasPrefix(lines[0], "igor-node: ") || !strings.HasPrefix(lines[1], "hint: ") || out.Len() > 0 {
			t.Errorf("%q: exit code %d instead of %d, and %q was due:\n%s%s", w.args, code, w.code, w.says, &errs, &out)
		}
	}
	for _, w := range []wrong{
		{exitUsage, `unknown command "foo"`, []string{"foo"}},
		{exitUsage, "unknown flag: --foo", []string{"start", "--foo"}},
		{exitUsage, `"x" is one too many`, []string{"start", "--dir", dir, "x"}},
		{exitUsage, `--log-format "xml": want text or json`, []string{"start", "--dir", dir, "--log-format", "xml"}},
		{exitUsage, `--listen "foo": want an address such as`, []string{"init", "--dir", nowhere, "--listen", "foo"}},
		{exitUsage, `--price "much": an amount is`, []string{"init", "--dir", nowhere, "--price", "much"}},
		{exitUsage, `--region "A B": want names`, []string{"init", "--dir", nowhere, "--region", "A B"}},
		{exitUsage, `--take-from "me": want "peers"`, []string{"init", "--dir", nowhere, "--take-from", "me"}},
		{exitUsage, `--peer "me": "me" is no node's DID`, []string{"init", "--dir", nowhere, "--peer", "me"}},
		{exitUsage, `--on-divergence "log, please": want log`, []string{"init", "--dir", nowhere, "--on-divergence", "log, please"}},
		{exitFailed, "is a node's folder already", []string{"init", "--dir", dir}},
		{exitMissing, nowhere + " is no node's folder", []string{"start", "--dir", nowhere}},
		{exitConfig, fileConfig + `: price "much"`, []string{"start", "--dir", odd}},
		{exitMissing, nowhere + " is no node's folder", []string{"status", "--dir", nowhere}},
		{exitMissing, nowhere + " is no node's folder", []string{"stop", "--dir", nowhere}},
		{exitMissing, "no node runs there: " + dir, []string{"status", "--dir", dir}},
		{exitMissing, "no node runs there: " + dir, []string{"stop", "--dir", dir}},
		{exitMissing, "no node runs there: " + dir, []string{"add", "--dir", dir, "x"}},
		{exitMissing, "no node runs there: " + dir, []string{"drain", "--dir", dir}},
		{exitUsage, "FOLDER is missing", []string{"add", "--dir", dir}},
		{exitUsage, "AGENT is missing", []string{"keys", "--dir", dir}},
		{exitUsage, `--within "soon": want a time`, []string{"drain", "--dir", dir, "--within", "soon"}},
		{exitUsage, `--add: "me" is no node's DID`, []string{"peers", "--dir", dir, "--add", "me"}},
		{exitUsage, "are one argument, in quotes", []string{"peers", "--dir", dir, "--add", didOf(key), "/ip4/192.0.2.7/tcp/7447"}},
	} {
		says(w)
		if w.code == exitUsage {
			var errs bytes.Buffer
			if run(t.Context(), w.args, &errs, &errs); !strings.Contains(errs.String(), help) {
				t.Errorf("%q: no word of --help: %s", w.args, &errs)
			}
		}
	}
	if _, err := os.Stat(nowhere); err == nil {
		t.Error("what was wrong left a folder")
	}
	stop := start(t, dir)
	for _, w := range []wrong{
		{exitLocked, "a node runs in " + dir, []string{"start", "--dir", dir}},
		{exitMissing, "there is no agent nobody at this node", []string{"keys", "--dir", dir, "nobody"}},
		{exitMissing, "nowhere is no agent's folder", []string{"add", "--dir", dir, nowhere}},
		{exitMissing, "is no peer of this node", []string{"peers", "--dir", dir, "--remove", didOf(key)}},
		{exitFailed, didOf(key) + " is this node", []string{"peers", "--dir", dir, "--add", didOf(key)}},
		{exitFailed, "the node is in no fleet", []string{"add", "--dir", dir, "--fleet", nowhere}},
	} {
		says(w)
	}
	for _, none := range []struct{ command, says string }{{"peers", "no peers: igor-node peers --add"}, {"agents", "no agents: igor-node add"}} {
		var out, errs bytes.Buffer
		if code := run(t.Context(), []string{none.command, "--dir", dir}, &out, &errs); code != 0 || !strings.Contains(out.String(), none.says) {
			t.Errorf("%s of none: %d, %s%s", none.command, code, &out, &errs)
		}
	}
	// Who was told that it has stopped can start it at once.
	for range 3 {
		var out, errs bytes.Buffer
		if code := run(t.Context(), []string{"stop", "--dir", dir}, &out, &errs); code != 0 {
			t.Fatalf("stop: %d, %s", code, &errs)
		}
		letGo, err := hold(dir)
		if err != nil {
			t.Fatalf("it was said to have stopped: %v", err)
		}
		letGo()
		if code, said := stop(); code != 0 {
			t.Fatalf("it ended with %d: %s", code, said)
		}
		stop = start(t, dir)
	}
	stop()
}
