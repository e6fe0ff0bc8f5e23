package servertest

import (
	"bufio"
	"io"
	"net"
	"testing"
	"time"
)

func TestRedis(t *testing.T) {
	s := Redis(t)
	if got := ask(t, s.Addr, "PING\r\n"); got != "+PONG\r\n" {
		t.Errorf("PING: got %q", got)
	}
	s.Kill()
	if c, err := net.DialTimeout("tcp", s.Addr, time.Second); err == nil {
		c.Close()
		t.Error("listens after Kill")
	}
	s.Restart()
	if got := ask(t, s.Addr, "PING\r\n"); got != "+PONG\r\n" {
		t.Errorf("PING after Restart: got %q", got)
	}
}

func TestMemcached(t *testing.T) {
	s := Memcached(t)
	if got := ask(t, s.Addr, "mn\r\n"); got != "MN\r\n" {
		t.Errorf("mn: got %q", got)
	}
}

func TestPostgreSQL(t *testing.T) {
	s := PostgreSQL(t)
	s.Kill()
	if c, err := net.DialTimeout("tcp", s.Addr, time.Second); err == nil {
		c.Close()
		t.Error("listens after Kill")
	}
	s.Restart() // its children have ended with it, or it would not
}

func ask(t *testing.T, addr, question string) string {
	t.Helper()
	c, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := io.WriteString(c, question); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(c).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return line
}
