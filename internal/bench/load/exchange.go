//go:build linux

package load

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"runtime/debug"
	"syscall"
	"time"
	"unsafe"
)

// A conn is one connection: what it waits for and since when.
type conn struct {
	fd     int
	busy   bool
	due    time.Time
	answer answer
}

// An exchanger is one thread on an epoll of its own: Go's scheduler wakes for
// timers to a millisecond, which is longer than what is measured.
type exchanger struct {
	Spec
	res       Result
	poller    int
	conns     []*conn
	free      []*conn
	due       []time.Time // those for which no connection was free
	turn      int
	latencies []time.Duration
	buf       []byte
}

// Exchange sends requests over kept connections, each once the one before it is
// answered. With a Rate they are due at random times (a Poisson process, the
// same at each run) whatever the server does, and wait for a free connection.
func Exchange(s Spec) (Result, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	poller, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return Result{}, err
	}
	e := &exchanger{Spec: s, poller: poller, buf: make([]byte, 256<<10)}
	e.latencies = make([]time.Duration, 0, max(1<<16, int(1.2*s.Rate*s.Seconds)))
	defer e.close()
	for range s.Conns {
		if err := e.dial(); err != nil {
			return Result{}, err
		}
	}
	if err := e.run(); err != nil {
		return Result{}, err
	}
	e.res.latencies(e.latencies)
	return e.res, nil
}

func (e *exchanger) close() {
	for _, c := range e.conns {
		_ = syscall.Close(c.fd)
	}
	_ = syscall.Close(e.poller)
}

func (e *exchanger) dial() error {
	fd, err := connect(e.Addr)
	if err != nil {
		return err
	}
	c := &conn{fd: fd}
	e.conns = append(e.conns, c)
	if len(e.Hello) > 0 {
		if _, err := syscall.Write(fd, e.Hello); err != nil {
			return err
		}
		for !c.answer.whole {
			n, err := syscall.Read(fd, e.buf)
			if err != nil || n == 0 {
				return fmt.Errorf("no answer to the first request: %v", err)
			}
			c.answer.take(e.buf[:n])
		}
		if c.answer.status != 101 {
			return fmt.Errorf("the first request was answered %d", c.answer.status)
		}
	}
	if err := syscall.SetNonblock(fd, true); err != nil {
		return err
	}
	e.free = append(e.free, c)
	return syscall.EpollCtl(e.poller, syscall.EPOLL_CTL_ADD, fd, &syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: int32(len(e.conns) - 1)})
}

// connect dials without Go's poller, which would watch the socket too.
func connect(addr string) (int, error) {
	to, err := netip.ParseAddrPort(addr)
	if err != nil {
		return 0, err
	}
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	if err := syscall.Connect(fd, &syscall.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()}); err != nil {
		_ = syscall.Close(fd)
		return 0, fmt.Errorf("connect %s: %w", addr, err)
	}
	return fd, syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1)
}

func (e *exchanger) run() error {
	begun := time.Now()
	end := begun.Add(time.Duration(e.Seconds * float64(time.Second)))
	arrivals := arrivals{next: begun, rate: e.Rate, rnd: rand.New(rand.NewPCG(1, 2))}
	events := make([]syscall.EpollEvent, 256)
	for {
		now := time.Now()
		ended := now.After(end) || e.Count > 0 && e.turn >= e.Count
		if ended && (len(e.free) == len(e.conns) && len(e.due) == 0 || now.After(end.Add(2*time.Second))) {
			break
		}
		wait := 100 * time.Millisecond
		if !ended && e.Rate > 0 {
			e.due = arrivals.until(now, e.due)
			wait = max(0, time.Until(arrivals.next))
		}
		e.sendAll(now, ended)
		n, err := epollWait(e.poller, events, wait)
		if err != nil {
			return err
		}
		for _, ev := range events[:n] {
			if err := e.read(e.conns[ev.Fd]); err != nil {
				return err
			}
		}
	}
	e.res.Seconds = min(time.Since(begun), end.Sub(begun)).Seconds()
	e.unanswered()
	return nil
}

// arrivals are the times at which requests are due.
type arrivals struct {
	next time.Time
	rate float64
	rnd  *rand.Rand
}

// until appends those that have come.
func (a *arrivals) until(now time.Time, due []time.Time) []time.Time {
	for !a.next.After(now) {
		due = append(due, a.next)
		a.next = a.next.Add(time.Duration(a.rnd.ExpFloat64() / a.rate * 1e9))
	}
	return due
}

// sendAll sends what is due on the connections that are free; without a rate,
// something always is until the end.
func (e *exchanger) sendAll(now time.Time, ended bool) {
	for len(e.free) > 0 {
		switch {
		case len(e.due) > 0:
			due := e.due[0]
			e.due = e.due[1:]
			e.send(due)
		case e.Rate == 0 && !ended && (e.Count == 0 || e.turn < e.Count):
			e.send(now)
		default:
			return
		}
	}
}

// unanswered counts what has no answer in the end: it waits at least until then.
func (e *exchanger) unanswered() {
	for _, c := range e.conns {
		if c.busy {
			e.due = append(e.due, c.due)
		}
	}
	for _, due := range e.due {
		e.latencies = append(e.latencies, time.Since(due))
		e.fail("unanswered in the end")
	}
}

func (e *exchanger) fail(why string) {
	if e.res.Failed++; e.res.Failed == 1 {
		e.res.Why = why
	}
}

// send asks on the connection that was used last, as browsers' pools do.
func (e *exchanger) send(due time.Time) {
	c := e.free[len(e.free)-1]
	e.free = e.free[:len(e.free)-1]
	i := e.turn % len(e.Ask)
	if len(e.Order) > 0 {
		i = int(e.Order[e.turn%len(e.Order)])
	}
	e.turn++
	c.busy, c.due, c.answer = true, due, answer{frame: e.Frame}
	if n, err := syscall.Write(c.fd, e.Ask[i]); err != nil || n < len(e.Ask[i]) {
		e.fail(fmt.Sprintf("%d bytes of a request written: %v", n, err)) // its answer will not come, either
	}
}

func (e *exchanger) read(c *conn) error {
	for {
		n, err := syscall.Read(c.fd, e.buf)
		switch {
		case err == syscall.EAGAIN || err == syscall.EINTR:
			return nil
		case err != nil:
			return err
		case n == 0:
			return fmt.Errorf("a connection was closed after %d answers", e.res.Done)
		}
		c.answer.take(e.buf[:n])
		if c.answer.whole && c.busy {
			c.busy = false
			e.free = append(e.free, c)
			e.latencies = append(e.latencies, time.Since(c.due))
			if e.res.Done++; c.answer.status >= 400 {
				e.fail(fmt.Sprintf("status %d", c.answer.status))
			}
		}
		if n < len(e.buf) {
			return nil
		}
	}
}

// epollWait waits to the nanosecond, which syscall.EpollWait does not.
func epollWait(fd int, events []syscall.EpollEvent, d time.Duration) (int, error) {
	const epollPwait2 = 441 // on all systems; since Linux 5.11
	ts := syscall.NsecToTimespec(d.Nanoseconds())
	n, _, errno := syscall.RawSyscall6(epollPwait2, uintptr(fd), uintptr(unsafe.Pointer(&events[0])), uintptr(len(events)), uintptr(unsafe.Pointer(&ts)), 0, 0)
	switch errno {
	case 0:
		return int(n), nil
	case syscall.EINTR:
		return 0, nil
	}
	return 0, fmt.Errorf("epoll_pwait2: %w", errno)
}
