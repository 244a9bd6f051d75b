package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"strconv"
	"syscall"
	"testing"

	"igor.dev/runtime"
)

// TestExitStatus holds exit codes against docs/operating.md, and what it says about
// trying again against runtime.Temporary: supervisors rely on both.
func TestExitStatus(t *testing.T) {
	page, err := os.ReadFile("../../docs/operating.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := regexp.MustCompile(`(?m)^\| (\d+) \| .* \|(?: (may help.*|does not))? \|$`).FindAllStringSubmatch(string(page), -1)
	again := map[int]bool{}
	for _, row := range rows {
		code, _ := strconv.Atoi(row[1])
		again[code] = row[2] != "does not"
	}
	if len(rows) != 11 {
		t.Fatalf("the page has %d exit codes", len(rows))
	}
	for _, name := range []string{"igor.service", "igor@.service"} {
		unit, err := os.ReadFile("../../packaging/systemd/" + name)
		if err != nil {
			t.Fatal(err)
		}
		prevented := regexp.MustCompile(`(?m)^RestartPreventExitStatus=(.*)$`).FindStringSubmatch(string(unit))
		if prevented == nil {
			t.Fatalf("%s restarts after every exit code", name)
		}
		for code, may := range again {
			if listed := regexp.MustCompile(fmt.Sprintf(`\b%d\b`, code)).MatchString(prevented[1]); listed == may {
				t.Errorf("%d: %s prevents a restart: %v", code, name, listed)
			}
		}
	}
	for _, tt := range []struct {
		err  error
		code int
	}{
		{errors.New("anything"), 1},
		{&runtime.AgentError{Call: "agent_tick", Born: true, Err: errors.New("unreachable")}, 1},
		{runtime.ErrBudgetExhausted, 3},
		{&runtime.DamagedError{File: "journal"}, 65},
		{runtime.ErrNotFolder, 66},
		{&fs.PathError{Op: "open", Path: "x", Err: syscall.ENOSPC}, 73},
		{runtime.ErrQuota, 73},
		{&runtime.LockedError{}, 75},
		{runtime.ErrConflict, 76},
		{runtime.ErrNoKey, 77},
		{&runtime.ManifestError{}, 78},
		{runtime.ErrNotAgent, 78},
		{runtime.ErrRefused, 78},
		{errors.ErrUnsupported, 78},
	} {
		if got := exitStatus(tt.err); got != tt.code {
			t.Errorf("%#v: exit code %d, want %d", tt.err, got, tt.code)
		}
		if may, ok := again[tt.code]; !ok || may != runtime.Temporary(tt.err) {
			t.Errorf("%d: the page says that to try again may help: %v (it has it: %v)", tt.code, may, ok)
		}
	}
}
