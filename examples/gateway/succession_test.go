//go:build unix

package main

import (
	"errors"
	"net"
	"os"
	"syscall"
	"testing"

	"github.com/foretier/foretier/internal/testkit"
)

// A gateway that cannot be taken over from says why, and goes on.
func TestNobodyTakesOver(t *testing.T) {
	addr, log, _ := startServe(t, "-backends", visitorBackend(t, "web1"))
	usr2 := func(cause string) {
		t.Helper()
		if err := syscall.Kill(os.Getpid(), syscall.SIGUSR2); err != nil {
			t.Fatal(err)
		}
		log.Wants(t, "level=ERROR", "no other gateway has taken over, this one goes on", cause)
		if code, body, err := get(t, "http://"+addr+"/"); code != 200 || body != "web1" || err != nil {
			t.Errorf("got %d %q, %v", code, body, err)
		}
	}
	usr2("the log is no file")
	t.Setenv("INVOCATION_ID", "3aa2b7c5")
	usr2("want systemctl restart")
}

// Behind a gate connections wait, until it opens or the listener is closed.
func TestGate(t *testing.T) {
	g, l := newGate(), testkit.Listen(t)
	first, second := g.behind(l), g.behind(testkit.Listen(t))
	accepted := make(chan error, 1)
	accept := func(l net.Listener) {
		c, err := l.Accept()
		if err == nil {
			err = c.Close()
		}
		accepted <- err
	}
	c := testkit.Dial(t, l.Addr().String())
	defer c.Close()
	go accept(first)
	select {
	case err := <-accepted:
		t.Errorf("it was open: %v", err)
	default:
	}
	g.open()
	g.open()
	if err := <-accepted; err != nil {
		t.Error(err)
	}
	if err := errors.Join(first.Close(), second.Close()); err != nil {
		t.Error(err)
	}

	g, l = newGate(), testkit.Listen(t)
	first = g.behind(l)
	go accept(first)
	if err := first.Close(); err != nil {
		t.Error(err)
	}
	if err := <-accepted; !errors.Is(err, net.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
	if got := (*gate)(nil).behind(l); got != l {
		t.Errorf("without a gate: %v", got)
	}
}
