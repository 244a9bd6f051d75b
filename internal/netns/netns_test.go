//go:build linux

package netns

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"
)

// TestMain is two programs, too: one that sends back whatever comes, and one that sends a
// line and waits for it.
func TestMain(m *testing.M) {
	switch address := os.Getenv("NETNS_TEST"); {
	case address == "":
		os.Exit(m.Run())
	case len(os.Args) > 1 && os.Args[1] == "serve":
		l, err := net.ListenPacket("udp", address)
		if err != nil {
			panic(err)
		}
		os.Stdout.WriteString("ready\n")
		for b := make([]byte, 100); ; {
			n, from, err := l.ReadFrom(b)
			if err != nil {
				panic(err)
			}
			os.Stdout.WriteString("came\n")
			l.WriteTo(b[:n], from)
		}
	default:
		c, err := net.Dial("udp", address)
		if err != nil {
			os.Exit(1)
		}
		c.SetDeadline(time.Now().Add(2 * time.Second))
		if _, err := c.Write([]byte("line")); err != nil {
			os.Exit(1)
		}
		if _, err := c.Read(make([]byte, 100)); err != nil {
			os.Exit(1)
		}
	}
}

func TestNetwork(t *testing.T) {
	n := New(t, 3)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	address := netip.AddrPortFrom(n.Address(1), 7).String()
	server := n.Command(1, self, "serve")
	server.Env = append(os.Environ(), "NETNS_TEST="+address)
	out, err := server.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { server.Process.Kill(); server.Wait() }()
	lines := bufio.NewScanner(out)
	lines.Scan()
	came := make(chan struct{}, 100)
	go func() {
		for lines.Scan() {
			came <- struct{}{}
		}
	}()

	// asks sends from a host, and reports whether it was answered, and whether it came.
	asks := func(from int) (answered, arrived bool) {
		for len(came) > 0 {
			<-came
		}
		c := n.Command(from, self, "ask")
		c.Env = append(os.Environ(), "NETNS_TEST="+address)
		if c.Run() == nil {
			<-came
			return true, true
		}
		return false, len(came) > 0 // which had two seconds to be seen
	}
	steps := []struct {
		what              string
		do                func() error
		answered, arrived bool
	}{
		{"at first", func() error { return nil }, true, true},
		{"cut to the server", func() error { return n.Cut(0, 1) }, false, false},
		{"healed", func() error { return n.Heal(0, 1) }, true, true},
		{"cut from the server", func() error { return n.Cut(1, 0) }, false, true},
		{"healed again", func() error { return n.Heal(1, 0) }, true, true},
		{"split", func() error { return n.Split(1) }, false, false},
		{"joined", func() error { return n.Join(1) }, true, true},
		{"down", func() error { return n.Down(1) }, false, false},
		{"up", func() error { return n.Up(1) }, true, true},
	}
	for _, s := range steps {
		if err := s.do(); err != nil {
			t.Fatalf("%s: %v", s.what, err)
		}
		if answered, arrived := asks(0); answered != s.answered || arrived != s.arrived {
			t.Errorf("%s: answered %v, arrived %v; want %v, %v", s.what, answered, arrived, s.answered, s.arrived)
		}
	}
	n.Cut(0, 1)
	if answered, _ := asks(2); !answered {
		t.Error("a cut between two hosts keeps a third from the server")
	}
}

// TestDelay has what goes to a host and what comes from it take longer, small pieces and large
// ones, and no longer again.
func TestDelay(t *testing.T) {
	n := New(t, 3)
	l, err := n.Listen(1, 7)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { io.Copy(c, c); c.Close() }()
		}
	}()
	// round sends some bytes and gets them back, after a connection was made.
	round := func(size int) time.Duration {
		t.Helper()
		c, err := n.Dial(t.Context(), 0, l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		sent := bytes.Repeat([]byte("0123456789abcde\n"), size/16)
		began := time.Now()
		go c.Write(sent)
		got := make([]byte, len(sent))
		if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, sent) {
			t.Fatalf("%d bytes do not come back as they went: %v", size, err)
		}
		return time.Since(began)
	}
	round(16)
	const by = 100 * time.Millisecond
	if err := n.Delay(1, by); err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{16, 2 << 20} {
		if took := round(size); took < 2*by {
			t.Errorf("%d bytes went and came within %v", size, took)
		}
	}
	if err := n.Delay(1, 0); err != nil {
		t.Fatal(err)
	}
	round(2 << 20)
}
