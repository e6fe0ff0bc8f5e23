package wire

import (
	"os"
	"sync"
	"sync/atomic"
	"syscall"
)

// A watch hears from the kernel (epoll) which clients have closed their
// connection, and on which there is something to read. Its own descriptor is
// waited for by Go's poller, so that no thread stands still for it.
type watch struct {
	events uint32   // by which a client has left
	file   *os.File // the epoll descriptor
	raw    syscall.RawConn
	done   chan struct{} // closed when run has returned; nil: it never began

	mu    sync.Mutex
	conns map[int32]*Conn // guarded by mu: by token
	last  int32           // guarded by mu
}

// watched is what the watch keeps of a connection.
type watched struct {
	token atomic.Int32 // 0: it is not watched; set under the watch's lock
	left  atomic.Bool
	gone  atomic.Pointer[func()] // called when the client leaves
}

// Edge-triggered: whoever has left has left for good, and is told of once.
const edge = 1 << 31 // syscall.EPOLLET, which is negative

func newWatch(halfClosed bool) *watch {
	fd, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return nil // no descriptor left, or none such: what it serves is done without
	}
	if err := syscall.SetNonblock(fd, true); err != nil { // so that os.File gives it to Go's poller
		_ = syscall.Close(fd) // the server goes without
		return nil
	}
	w := &watch{file: os.NewFile(uintptr(fd), "epoll"), conns: make(map[int32]*Conn)}
	if w.raw, err = w.file.SyscallConn(); err != nil {
		_ = w.file.Close() // likewise
		return nil
	}
	w.events = edge // HUP and ERR are always told
	if !halfClosed {
		w.events |= syscall.EPOLLRDHUP
	}
	return w
}

// add begins to watch c, once.
func (w *watch) add(c *Conn) bool {
	if c.watched.token.Load() != 0 {
		return true
	}
	if w == nil || c.raw == nil {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if c.watched.token.Load() != 0 { // by whoever was woken before its reader had parked
		return true
	}
	if w.conns == nil {
		return false // closed
	}
	if w.done == nil {
		w.done = make(chan struct{})
		go w.run()
	}
	for w.last++; w.last <= 0 || w.conns[w.last] != nil; {
		w.last = max(1, w.last+1)
	}
	token := w.last
	err := control(c.raw, func(fd int32) error {
		return w.ctl(syscall.EPOLL_CTL_ADD, fd, token, w.events)
	})
	if err != nil {
		return false
	}
	c.watched.token.Store(token)
	w.conns[token] = c
	return true
}

// await has c unparked as soon as there is something to read.
func (w *watch) await(c *Conn) bool {
	return w.add(c) && w.change(c, w.events|syscall.EPOLLIN|syscall.EPOLLRDHUP) == nil
}

func (w *watch) change(c *Conn, events uint32) error {
	return control(c.raw, func(fd int32) error { return w.ctl(syscall.EPOLL_CTL_MOD, fd, c.watched.token.Load(), events) })
}

func (w *watch) ctl(op int, fd, token int32, events uint32) error {
	var err error
	cerr := w.raw.Control(func(epfd uintptr) {
		err = syscall.EpollCtl(int(epfd), op, int(fd), &syscall.EpollEvent{Events: events, Fd: token})
	})
	if cerr != nil {
		return cerr
	}
	return err
}

// control calls f with the descriptor of raw, which stays open meanwhile.
func control(raw syscall.RawConn, f func(fd int32) error) error {
	var err error
	if cerr := raw.Control(func(fd uintptr) { err = f(int32(fd)) }); cerr != nil {
		return cerr
	}
	return err
}

// forget ends the watching of c. The kernel does so when c is closed.
func (w *watch) forget(c *Conn) {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.conns, c.watched.token.Load())
}

// run hands on what the kernel tells, until the watch is closed.
func (w *watch) run() {
	defer close(w.done)
	events := make([]syscall.EpollEvent, 128)
	for {
		// Each call makes Go's poller forget what it has heard, before anything
		// is asked for: nothing that comes in between is lost.
		err := w.raw.Read(func(fd uintptr) bool {
			n, err := syscall.EpollWait(int(fd), events, 0)
			for _, e := range events[:max(n, 0)] {
				w.tell(e)
			}
			return n > 0 || err != nil && err != syscall.EINTR
		})
		if err != nil {
			return
		}
	}
}

func (w *watch) tell(e syscall.EpollEvent) {
	w.mu.Lock()
	c := w.conns[e.Fd]
	w.mu.Unlock()
	if c == nil {
		return
	}
	if c.park.parked.Load() {
		// Nobody wants to hear of every byte.
		_ = w.change(c, w.events) // an error is the connection's, which its reader sees
		c.unpark()
	}
	const ended = syscall.EPOLLHUP | syscall.EPOLLERR
	if e.Events&(w.events|ended)&^uint32(edge) == 0 {
		return
	}
	c.watched.left.Store(true)
	if gone := c.watched.gone.Load(); gone != nil {
		(*gone)()
	}
}

func (w *watch) close() {
	if w == nil {
		return
	}
	w.mu.Lock()
	w.conns = nil
	done := w.done
	w.mu.Unlock()
	_ = w.file.Close() // wakes run
	if done != nil {
		<-done
	}
}
