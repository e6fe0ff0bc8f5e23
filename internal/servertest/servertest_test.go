package servertest

import (
	"bufio"
	"io"
	"net"
	"os"
	"runtime"
	"strconv"
	"strings"
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

// TestFreePortIsNobodyElses until the test ends: nobody else's who asks here, and none
// that a system gives away.
func TestFreePortIsNobodyElses(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux has names that end with a process")
	}
	var port int
	t.Run("one", func(t *testing.T) {
		port = FreePort(t)
		given, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
		if err != nil {
			t.Fatal(err)
		}
		if first, _ := strconv.Atoi(strings.Fields(string(given))[0]); port >= first {
			t.Errorf("%d is given to whoever asks for any, from %d on", port, first)
		}
		t.Run("another", func(t *testing.T) {
			if reserve(t, port) {
				t.Error("another may have it")
			}
		})
	})
	if !reserve(t, port) {
		t.Error("nobody ever gets it again")
	}
}
