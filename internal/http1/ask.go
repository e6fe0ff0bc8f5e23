package http1

import (
	"cmp"
	"errors"
)

// An asking is how a request that is all here, its body too, is sent over a kept
// connection: that is looked at, the request written, and its answer waited for, in one
// call of raw.Read. A look of its own would be one system call more: a read before there
// is anything to read finds out that one has to wait, and so has the look already.
type asking struct {
	cn    *conn
	call  *Call // nil: it was sent
	err   error
	again func(fd uintptr) bool // step; made once a connection
	once  func(fd uintptr) bool // look, likewise
}

// errClosed means that a kept connection was closed, or has bytes that nobody asked
// for, and that nothing was sent over it.
var errClosed = errors.New("http1: the server closed an idle connection")

// plain reports whether the connection's bytes are the socket's, which can be asked for
// them without a wait.
func (cn *conn) plain() bool { return sockets && cn.raw != nil && !cn.tls }

// looksLate reports whether the connection is looked at when a request is sent over it,
// instead of before. Of one over TLS more has to be looked at than its socket; and a body
// that is not here may come slowly, while nobody could close the connection.
func (cn *conn) looksLate(call *Call) bool {
	return cn.plain() && (call.Body == nil || call.enclosed)
}

// asks returns the connection's asking.
func (cn *conn) asks() *asking {
	if cn.asking == nil {
		a := &asking{cn: cn}
		a.again, a.once = a.step, a.look
		cn.asking = a
	}
	return cn.asking
}

// ask sends the request over a kept connection and waits until something has come,
// which it reads.
func (cn *conn) ask(call *Call) error {
	a := cn.asks()
	a.call, a.err = call, nil
	for {
		err := cn.raw.Read(a.again)
		if a.err == nil && err != nil && cn.early(err) {
			continue
		}
		a.call = nil
		return cmp.Or(a.err, err)
	}
}

// step is called when there may be something to read. It reports whether to wait no
// more.
func (a *asking) step(fd uintptr) bool {
	call := a.call
	if call == nil {
		return a.read(fd)
	}
	a.call = nil
	if !silent(fd) {
		a.err = errClosed
		return true
	}
	head := call.head
	if n := put(fd, head); n > 0 {
		call.sent.Store(true)
		head = head[n:]
	}
	if len(head) > 0 { // more than a socket takes at once, or an error
		if a.err = a.cn.exact(); a.err == nil {
			a.err = a.cn.write(call, head)
		}
	}
	return a.err != nil
}

// arrive reads what has come of a response of which nothing is waited for, and reports
// whether that was anything. An end, and errors, are left to the next read.
func (cn *conn) arrive() bool {
	before := cn.in.Buffered()
	return cn.raw.Read(cn.asks().once) == nil && cn.in.Buffered() > before
}

// look is read for who does not wait.
func (a *asking) look(fd uintptr) bool {
	a.read(fd)
	return true
}

// read reads what has come, and reports whether to wait no more. Of an end, and of
// errors, the next read tells.
func (a *asking) read(fd uintptr) bool {
	cn := a.cn
	if cn.interrupted.Load() {
		return true
	}
	n, waits := take(fd, cn.in.Room())
	cn.in.Filled(n)
	cn.heard = cn.heard || n > 0
	return !waits
}
