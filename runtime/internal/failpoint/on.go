//go:build failpoint

package failpoint

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

const variable = "IGOR_FAILPOINT"

var (
	mu       sync.Mutex
	trace    *os.File
	at       = points // points: nowhere
	anywhere bool
	left     int
	delay    time.Duration
)

func init() {
	spec := os.Getenv(variable)
	what, rest, _ := strings.Cut(spec, ":")
	var err error
	switch what {
	case "":
	case "list":
		for _, name := range names {
			fmt.Println(name)
		}
		os.Exit(0)
	case "trace":
		trace, err = os.OpenFile(rest, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	default:
		err = aim(what, rest)
	}
	if err != nil {
		panic(fmt.Sprintf("%s=%q: %v", variable, spec, err))
	}
}

func aim(name, rest string) (err error) {
	for p, n := range names {
		if n == name {
			at = Point(p)
		}
	}
	if anywhere = name == "any"; !anywhere && at == points {
		return fmt.Errorf("there is no point %q", name)
	}
	n, wait, delayed := strings.Cut(rest, ":")
	if left, err = strconv.Atoi(n); err == nil && left < 1 {
		err = fmt.Errorf("a point is reached from once on")
	}
	if err == nil && delayed {
		delay, err = time.ParseDuration(wait)
	}
	return err
}

// Reach says that the process is at a point.
func Reach(p Point) {
	mu.Lock()
	defer mu.Unlock()
	if trace != nil {
		if _, err := fmt.Fprintln(trace, p); err != nil {
			panic(err)
		}
	}
	if !anywhere && p != at || left == 0 {
		return
	}
	if left--; left > 0 {
		return
	}
	if delay > 0 {
		time.AfterFunc(delay, kill)
		return
	}
	kill()
}

// kill ends the process as a power failure would.
func kill() {
	if err := syscall.Kill(os.Getpid(), syscall.SIGKILL); err != nil {
		panic(err)
	}
	select {}
}
