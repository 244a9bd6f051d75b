package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"igor.dev/internal/testkit"
)

// openTerminal opens a pseudo-terminal: what is written to tty is read from screen.
func openTerminal(t *testing.T) (screen, tty *os.File) {
	t.Helper()
	screen, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skip("no pseudo-terminals here: ", err)
	}
	t.Cleanup(func() { screen.Close() })
	ioctl := func(request uintptr, value *int32) {
		if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, screen.Fd(), request, uintptr(unsafe.Pointer(value))); errno != 0 {
			t.Fatal(errno)
		}
	}
	var unlock, number int32
	ioctl(syscall.TIOCSPTLCK, &unlock)
	ioctl(syscall.TIOCGPTN, &number)
	tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tty.Close() })
	return screen, tty
}

// readUntil reads from the screen until it has shown text.
func readUntil(t *testing.T, screen io.Reader, text string) string {
	t.Helper()
	var shown []byte
	buf := make([]byte, 1024)
	for !bytes.Contains(shown, []byte(text)) {
		n, err := screen.Read(buf)
		if err != nil {
			t.Fatalf("%v after %q, without %q", err, shown, text)
		}
		shown = append(shown, buf[:n]...)
	}
	return string(shown)
}

// readRest reads what is shown until the last program with the terminal has ended.
func readRest(screen io.Reader) string {
	b, _ := io.ReadAll(screen) // ends with EIO
	return string(b)
}

func TestColour(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "life")
	if err := testkit.WriteFolder(folder, testkit.NewAgent("alice").History(3, 0)...); err != nil {
		t.Fatal(err)
	}
	const escape = "\x1b["
	for _, test := range []struct {
		env    string
		colour bool
	}{
		{"TERM=xterm", true},
		{"NO_COLOR=", true},
		{"NO_COLOR=1", false},
		{"TERM=dumb", false},
	} {
		screen, tty := openTerminal(t)
		cmd := exec.Command(build(t), folder)
		verdict := "1;36mverified" // somebody's history
		if test.env == "TERM=xterm" {
			cmd.Args = append(cmd.Args, "--did", testkit.NewAgent("alice").DID())
			verdict = "1;32mverified" // the agent's that was expected
		}
		cmd.Env = []string{test.env}
		cmd.Stdout = tty
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		tty.Close()
		out := readRest(screen)
		if err := cmd.Wait(); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(out, "verified") || strings.Contains(out, escape) != test.colour {
			t.Errorf("%s: colour %v wanted in %q", test.env, test.colour, out)
		}
		if want := escape + verdict + escape + "0m"; test.colour && !strings.Contains(out, want) {
			t.Errorf("%s: no %q in %q", test.env, want, out)
		}
	}
}

// startWaiting starts the program on a CAR of which only the beginning comes, in
// a session of its own on a terminal, and waits until it shows its progress.
func startWaiting(t *testing.T) (cmd *exec.Cmd, screen *os.File, stdin io.WriteCloser, rest []byte, stdout *bytes.Buffer) {
	t.Helper()
	life := testkit.NewAgent("alice").History(8, 32)
	car := testkit.CAR(life[7], life...)
	var tty *os.File
	screen, tty = openTerminal(t)
	cmd = exec.Command(build(t), "-")
	stdout = new(bytes.Buffer)
	cmd.Env = []string{"TERM=xterm"}
	cmd.Stdout, cmd.Stderr = stdout, tty
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 2}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	tty.Close()
	if _, err := stdin.Write(car[:len(car)/2]); err != nil {
		t.Fatal(err)
	}
	readUntil(t, screen, "examined ")
	return cmd, screen, stdin, car[len(car)/2:], stdout
}

// visible returns what is left on the screen's last line.
func visible(shown string) string {
	return shown[strings.LastIndex(shown, "\r\x1b[K")+len("\r\x1b[K"):]
}

func TestProgress(t *testing.T) {
	cmd, screen, stdin, rest, stdout := startWaiting(t)
	if _, err := stdin.Write(rest); err != nil {
		t.Fatal(err)
	}
	stdin.Close()
	shown := readRest(screen)
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	if v := visible(shown); v != "" || !strings.Contains(shown, "\r\x1b[K") {
		t.Errorf("left on the terminal: %q of %q", v, shown)
	}
	if !strings.Contains(stdout.String(), "\nverified: unbroken, but self-asserted, 8 checkpoints") {
		t.Errorf("output %q", stdout)
	}
}

func TestInterrupt(t *testing.T) {
	for name, interrupt := range map[string]func(*exec.Cmd, *os.File) error{
		"Ctrl-C": func(_ *exec.Cmd, screen *os.File) error {
			_, err := screen.Write([]byte{3})
			return err
		},
		"SIGINT":  func(cmd *exec.Cmd, _ *os.File) error { return cmd.Process.Signal(syscall.SIGINT) },
		"SIGTERM": func(cmd *exec.Cmd, _ *os.File) error { return cmd.Process.Signal(syscall.SIGTERM) },
	} {
		t.Run(name, func(t *testing.T) {
			cmd, screen, stdin, _, stdout := startWaiting(t)
			defer stdin.Close()
			if err := interrupt(cmd, screen); err != nil {
				t.Fatal(err)
			}
			shown := readRest(screen)
			cmd.Wait()
			if code := cmd.ProcessState.ExitCode(); code != 2 {
				t.Errorf("exit code %d (%v), want 2", code, cmd.ProcessState)
			}
			want := "igor-verify: interrupted\r\nhint: nothing was judged; run it again for a verdict\r\n"
			if visible(shown) != want {
				t.Errorf("shown %q, want %q left", shown, want)
			}
			if stdout.Len() > 0 {
				t.Errorf("output %q", stdout)
			}
		})
	}
}
