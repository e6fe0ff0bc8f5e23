package main

import (
	"bufio"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/foretier/foretier/internal/servertest"
	"github.com/foretier/foretier/internal/testkit"
)

// A redisClient speaks to a Redis, or through the program to one.
type redisClient struct {
	net.Conn
	answers *bufio.Reader
}

func redisTo(t *testing.T, addr string) redisClient {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	return redisClient{c, bufio.NewReader(c)}
}

// say sends a command and wants the first line of its answer to be want.
func (c redisClient) say(t *testing.T, command, want string) {
	t.Helper()
	if _, err := io.WriteString(c, command+"\r\n"); err != nil {
		t.Fatalf("%s: %v", command, err)
	}
	if got, err := c.answers.ReadString('\n'); err != nil || got != want+"\r\n" {
		t.Fatalf("%s: got %q, %v, want %s", command, got, err, want)
	}
}

// TestProbeTurnedAway holds that a Redis that has no place for the probe, or
// another password, keeps its connections.
func TestProbeTurnedAway(t *testing.T) {
	server := servertest.Redis(t)
	p := start(t, "-kind", "redis", "-listen", "127.0.0.1:0", "-backends", "tcp://"+server.Addr)
	p.log.Wants(t, "is primary")
	client := redisTo(t, p.ports[0])
	client.say(t, "SET cart 3", "+OK")
	admin := redisTo(t, server.Addr)
	admin.say(t, "CONFIG SET maxclients 2", "+OK")
	p.log.Wants(t, "level=ERROR", "backend is degraded", "max number of clients")
	client.say(t, "INCR cart", ":4")

	admin.say(t, "CONFIG SET maxclients 100", "+OK")
	testkit.Within(t, patience, "it is up again", func() bool { return strings.Count(p.log.String(), "backend is up") == 2 })
	admin.say(t, "CONFIG SET requirepass changed", "+OK")
	p.log.Wants(t, "level=ERROR", "backend is degraded", "NOAUTH")
	client.say(t, "INCR cart", ":5")
	fresh := redisTo(t, p.ports[0])
	fresh.say(t, "AUTH changed", "+OK")
	fresh.say(t, "INCR cart", ":6")
}
