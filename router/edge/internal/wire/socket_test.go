package wire

import (
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/foretier/foretier/internal/testkit"
)

// A shelf lends one piece of memory.
type shelf struct {
	mem   [16]byte
	taken atomic.Int32 // times
	lent  atomic.Bool
}

func (s *shelf) Take() []byte {
	s.taken.Add(1)
	s.lent.Store(true)
	return s.mem[:]
}

func (s *shelf) Return() { s.lent.Store(false) }

func TestWhoWaitsHasNoMemory(t *testing.T) {
	c, client := onLoopback(t, Options{})
	var s shelf
	type result struct {
		n   int
		err error
	}
	read := make(chan result, 1)
	next := func() { n, err := c.ReadLate(&s); read <- result{n, err} }

	go next()
	testkit.Within(t, time.Second, "a reader that waits holds no memory", func() bool { return s.taken.Load() == 1 && !s.lent.Load() })
	if _, err := client.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	if got := <-read; got.n != 5 || got.err != nil || string(s.mem[:5]) != "hello" || !s.lent.Load() {
		t.Errorf("got %d %q, %v", got.n, s.mem[:5], got.err)
	}

	s.Return()
	go next()
	if err := c.SetReadDeadline(time.Now()); err != nil {
		t.Fatal(err)
	}
	if got := <-read; got.n != 0 || !errors.Is(got.err, os.ErrDeadlineExceeded) || s.lent.Load() {
		t.Errorf("at its deadline: got %d, %v; memory kept: %t", got.n, got.err, s.lent.Load())
	}

	if err := errors.Join(c.SetReadDeadline(time.Time{}), client.CloseWrite()); err != nil {
		t.Fatal(err)
	}
	if n, err := c.ReadLate(&s); n != 0 || err != io.EOF || s.lent.Load() {
		t.Errorf("at the end: got %d, %v; memory kept: %t", n, err, s.lent.Load())
	}

	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if n, err := c.ReadLate(&s); n != 0 || !errors.Is(err, net.ErrClosed) || s.lent.Load() {
		t.Errorf("once closed: got %d, %v; memory kept: %t", n, err, s.lent.Load())
	}
}

func TestWhatWrapsASocketIsReadItself(t *testing.T) {
	l := testkit.Listen(t)
	testkit.Dial(t, l.Addr().String())
	nc, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	set := NewSet(Options{})
	defer set.Close()
	c := set.Add(readAhead{nc.(*net.TCPConn)})
	var s shelf
	if n, err := c.ReadLate(&s); n != 5 || err != nil {
		t.Errorf("got %d, %v", n, err)
	}
}

// readAhead is a connection whose bytes are not the socket's.
type readAhead struct{ *net.TCPConn }

func (readAhead) Read(p []byte) (int, error) { return copy(p, "hello"), nil }

// TestADescriptorThatBlocks: whoever has taken a connection over may have made its socket
// block, by asking for its descriptor. A read of it holds up nobody else.
func TestADescriptorThatBlocks(t *testing.T) {
	c, client := onLoopback(t, Options{Tick: time.Hour})
	f, err := c.NetConn().(*net.TCPConn).File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	f.Fd()
	read := make(chan error, 1)
	go func() {
		_, err := io.ReadFull(c, make([]byte, 1))
		read <- err
	}()
	runtime.Gosched()
	collected := make(chan bool)
	go func() { runtime.GC(); close(collected) }()
	select {
	case <-collected:
	case <-time.After(testkit.Patience):
		t.Error("the process stands still")
	}
	client.Write([]byte("x"))
	if err := <-read; err != nil {
		t.Error(err)
	}
}

// TestTwoReaders of a connection that was taken over, whose reads the sweep interrupts.
func TestTwoReaders(t *testing.T) {
	c, client := onLoopback(t, Options{Tick: time.Hour, Crowd: -1})
	c.Parks()
	c.Rest(time.Hour)
	c.Busy()
	var read atomic.Int32
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			b := make([]byte, 4)
			for {
				n, err := c.Read(b)
				if read.Add(int32(n)); err != nil {
					if err != io.EOF {
						t.Error(err)
					}
					return
				}
			}
		})
	}
	const many = 200
	for range many {
		client.Write([]byte("x"))
		_ = c.Conn.SetReadDeadline(past) // as look does for one that was late until just now
		runtime.Gosched()
	}
	client.CloseWrite()
	readers.Wait()
	if n := read.Load(); n != many {
		t.Errorf("%d bytes were read, of %d", n, many)
	}
}
