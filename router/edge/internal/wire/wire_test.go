package wire

import (
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/foretier/foretier/internal/testkit"
)

// inMemory runs f on a fake clock with both ends of a connection.
func inMemory(t *testing.T, opts Options, f func(c *Conn, client net.Conn)) {
	synctest.Test(t, func(t *testing.T) {
		set := NewSet(opts)
		defer set.Close()
		client, server := net.Pipe()
		defer client.Close()
		c := set.Add(server)
		defer c.Close()
		f(c, client)
	})
}

// onLoopback returns both ends of a connection.
func onLoopback(t *testing.T, opts Options) (*Conn, *net.TCPConn) {
	set := NewSet(opts)
	t.Cleanup(set.Close)
	l := testkit.Listen(t)
	client := testkit.Dial(t, l.Addr().String())
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	c := set.Add(server)
	t.Cleanup(func() { c.Close() })
	return c, client
}

func readsFor(c *Conn) (time.Duration, error) {
	began := time.Now()
	_, err := c.Read(make([]byte, 1))
	return time.Since(began), err
}

func near(t *testing.T, what string, got, want time.Duration) {
	t.Helper()
	if got < want || got > want+time.Second {
		t.Errorf("%s: %v, want %v and at most a second more", what, got, want)
	}
}

func TestAReadHasItsTime(t *testing.T) {
	inMemory(t, Options{}, func(c *Conn, client net.Conn) {
		for _, limit := range []time.Duration{3 * time.Second, 700 * time.Millisecond} {
			c.Allow(limit)
			took, err := readsFor(c)
			if near(t, "a silent client", took, limit); !errors.Is(err, os.ErrDeadlineExceeded) || !c.Late() {
				t.Errorf("err %v, late %t", err, c.Late())
			}
		}
		c.Allow(0)
		go func() {
			time.Sleep(time.Hour) // on the fake clock
			client.Write([]byte("x"))
		}()
		took, err := readsFor(c)
		if near(t, "without limit", took, time.Hour); err != nil {
			t.Error(err)
		}
	})
}

func TestADeadlineAskedForHoldsBesideTheLimit(t *testing.T) {
	inMemory(t, Options{}, func(c *Conn, _ net.Conn) {
		c.Allow(10 * time.Second)
		c.SetReadDeadline(time.Now().Add(2 * time.Second))
		took, err := readsFor(c)
		if near(t, "the deadline is earlier", took, 2*time.Second); !errors.Is(err, os.ErrDeadlineExceeded) || c.Late() || !c.Bounded() {
			t.Errorf("err %v, late %t, bounded %t", err, c.Late(), c.Bounded())
		}
		c.SetReadDeadline(time.Now().Add(time.Hour))
		took, _ = readsFor(c)
		near(t, "the limit is earlier", took, 8*time.Second)
		c.SetReadDeadline(time.Time{})
		if c.Bounded() {
			t.Error("a deadline that was lifted bounds")
		}
	})
}

func TestASweepThatMeantAnotherReadChangesNothing(t *testing.T) {
	inMemory(t, Options{}, func(c *Conn, client net.Conn) {
		c.SetReadDeadline(time.Now().Add(time.Hour))
		c.Conn.SetReadDeadline(past) // as the sweep does
		go func() {
			time.Sleep(time.Minute)
			client.Write([]byte("x"))
		}()
		if took, err := readsFor(c); err != nil || took < time.Minute {
			t.Errorf("%v after %v", err, took)
		}
		took, err := readsFor(c)
		if near(t, "the deadline still holds", took, 59*time.Minute); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error(err)
		}
	})
}

func TestAClientThatTakesNothingIsGivenUp(t *testing.T) {
	inMemory(t, Options{WriteStall: 5 * time.Second, Tick: 50 * time.Millisecond}, func(c *Conn, client net.Conn) {
		began := time.Now()
		n, err := c.Write([]byte("hello"))
		if near(t, "stalled", time.Since(began), 5*time.Second); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%d bytes, %v", n, err)
		}
	})
}

// TestASlowClientIsNotGivenUp: what is written at once takes longer than the
// limit, and the client takes some of it all the time.
func TestASlowClientIsNotGivenUp(t *testing.T) {
	inMemory(t, Options{WriteStall: 5 * time.Second, Tick: 50 * time.Millisecond}, func(c *Conn, client net.Conn) {
		text := strings.Repeat("0123456789", 10)
		got := make(chan string)
		go func() {
			var b strings.Builder
			for range len(text) {
				time.Sleep(time.Second)
				io.CopyN(&b, client, 1)
			}
			got <- b.String()
		}()
		n, err := c.Write([]byte(text))
		if err != nil || n != len(text) || <-got != text {
			t.Errorf("%d bytes, %v", n, err)
		}
	})
}

func TestRollingEndsWhenBothAreSilent(t *testing.T) {
	inMemory(t, Options{WriteStall: time.Second}, func(c *Conn, client net.Conn) {
		c.Roll(time.Minute)
		go io.Copy(io.Discard, client)
		began := time.Now()
		go func() {
			for range 3 {
				time.Sleep(50 * time.Second)
				c.Write([]byte("x"))
			}
		}()
		_, err := c.Read(make([]byte, 1))
		if near(t, "silent", time.Since(began), 210*time.Second); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error(err)
		}
	})
}

func TestALargeFileGoesToASlowClient(t *testing.T) {
	name := filepath.Join(t.TempDir(), "file")
	content := strings.Repeat("0123456789abcdef", 1<<16) // 1 MiB, more than the kernel takes at once
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	c, client := onLoopback(t, Options{WriteStall: time.Second, Tick: 5 * time.Millisecond})
	c.Conn.(*net.TCPConn).SetWriteBuffer(32 << 10)
	done := make(chan error, 1)
	go func() {
		n, err := c.ReadFrom(&io.LimitedReader{R: file, N: int64(len(content) - 10)})
		if err == nil && n != int64(len(content)-10) {
			err = errors.New("too little was sent")
		}
		c.CloseWrite()
		done <- err
	}()
	var got strings.Builder
	for buf := make([]byte, 16<<10); ; time.Sleep(20 * time.Millisecond) { // the slowness that is tested
		n, err := client.Read(buf)
		if got.Write(buf[:n]); err != nil {
			break
		}
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	if got.String() != content[:len(content)-10] {
		t.Errorf("%d bytes came, of %d, or others", got.Len(), len(content)-10)
	}
}

// counter counts calls.
func counter() (f *func(), n *atomic.Int32) {
	n = new(atomic.Int32)
	call := func() { n.Add(1) }
	return &call, n
}

func TestAClientThatLeavesIsNoticed(t *testing.T) {
	for name, c := range map[string]struct {
		half  bool
		leave func(*net.TCPConn)
		gone  bool
	}{
		"closes":                     {false, func(c *net.TCPConn) { c.Close() }, true},
		"closes its direction":       {false, func(c *net.TCPConn) { c.CloseWrite() }, true},
		"resets":                     {false, func(c *net.TCPConn) { c.SetLinger(0); c.Close() }, true},
		"closes its direction, may":  {true, func(c *net.TCPConn) { c.CloseWrite() }, false},
		"closes and resets, if may":  {true, func(c *net.TCPConn) { c.SetLinger(0); c.Close() }, true},
		"sends more and stays":       {false, func(c *net.TCPConn) { c.Write([]byte("more")) }, false},
		"sends more and then leaves": {false, func(c *net.TCPConn) { c.Write([]byte("more")); c.Close() }, true},
	} {
		t.Run(name, func(t *testing.T) {
			conn, client := onLoopback(t, Options{HalfClosed: c.half})
			leave, n := counter()
			if !conn.Watch(leave) {
				t.Skip("connections are watched on Linux only")
			}
			c.leave(client)
			if c.gone {
				testkit.Within(t, testkit.Patience, "the leaving is noticed", func() bool { return n.Load() > 0 })
				conn.Unwatch()
				later, n := counter()
				if conn.Watch(later); n.Load() != 1 {
					t.Error("a client that has left is not known to have")
				}
				return
			}
			// Whatever the watch hears, it hears before the leaving of a second connection.
			other, second := onLoopback(t, Options{})
			leave, m := counter()
			other.Watch(leave)
			second.Close()
			testkit.Within(t, testkit.Patience, "another leaves", func() bool { return m.Load() > 0 })
			if n.Load() != 0 {
				t.Error("it is said to have left")
			}
		})
	}
}

func TestNobodyHearsWhoHasStoppedWatching(t *testing.T) {
	c, client := onLoopback(t, Options{})
	leave, n := counter()
	if !c.Watch(leave) {
		t.Skip("connections are watched on Linux only")
	}
	c.Unwatch()
	client.Close()
	testkit.Within(t, testkit.Patience, "the watch hears of it", c.watched.left.Load)
	if n.Load() != 0 {
		t.Error("told though it was not asked any more")
	}
}

// TestAParkedReaderIsWoken tries all that may wake it.
func TestAParkedReaderIsWoken(t *testing.T) {
	for name, wake := range map[string]func(c *Conn, client *net.TCPConn){
		"by bytes":         func(_ *Conn, client *net.TCPConn) { client.Write([]byte("x")) },
		"by the end":       func(_ *Conn, client *net.TCPConn) { client.CloseWrite() },
		"by a reset":       func(_ *Conn, client *net.TCPConn) { client.SetLinger(0); client.Close() },
		"by being closed":  func(c *Conn, _ *net.TCPConn) { c.Close() },
		"by its time":      func(c *Conn, _ *net.TCPConn) { c.Allow(time.Millisecond) },
		"by who wakes it":  func(c *Conn, _ *net.TCPConn) { c.Wake() },
		"by earlier bytes": nil,
	} {
		t.Run(name, func(t *testing.T) {
			for _, half := range []bool{false, true} {
				c, client := onLoopback(t, Options{Tick: time.Millisecond, HalfClosed: half})
				if wake == nil {
					client.Write([]byte("x"))
				}
				woken := make(chan struct{}, 9)
				if !c.Park(func() { woken <- struct{}{} }) {
					t.Skip("readers park on Linux only") // elsewhere there is no watch that could wake them
				}
				if wake != nil {
					wake(c, client)
				}
				select {
				case <-woken:
				case <-time.After(testkit.Patience):
					t.Fatal("nobody woke it")
				}
				c.Wake()
				if len(woken) > 0 {
					t.Error("it was woken twice")
				}
			}
		})
	}
}

// TestADescriptorThatIsAnothersNow: a connection gets the number of one that was
// watched and is closed.
func TestADescriptorThatIsAnothersNow(t *testing.T) {
	set := NewSet(Options{})
	defer set.Close()
	l := testkit.Listen(t)
	for range 50 {
		old := testkit.Dial(t, l.Addr().String())
		a, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		first := set.Add(a)
		leave, _ := counter()
		if !first.Watch(leave) {
			t.Skip("connections are watched on Linux only")
		}
		old.Close()
		first.Close()
		client := testkit.Dial(t, l.Addr().String())
		b, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		second := set.Add(b)
		stays, n := counter()
		second.Watch(stays)
		client.Write([]byte("x"))
		second.Read(make([]byte, 1))
		if n.Load() != 0 {
			t.Fatal("it is said to have left")
		}
		second.Close()
		client.Close()
	}
	if n := len(set.All()); n != 0 {
		t.Errorf("%d connections are left", n)
	}
}
