package h3

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/router/edge"
)

// A Server serves HTTP/3 for an [edge.Server]. It is an [edge.HTTP3], and safe for
// concurrent use.
type Server struct {
	opts  Options
	reset *quic.StatelessResetKey
	token *quic.TokenGeneratorKey
	lent  edge.Lent
	http  http3.Server
	leave context.Context // ends when the server drains
	drain context.CancelFunc

	opening atomic.Int64  // handshakes under way
	retries atomic.Uint64 // clients who had to show that they receive what is sent to them
	granted atomic.Int64  // bytes that may wait unread, beyond what every connection may have

	mu       sync.Mutex
	addr     *net.UDPAddr       // guarded by mu: where it listens, or will
	socket   net.PacketConn     // guarded by mu; nil: another process has the address
	began    bool               // guarded by mu: Serve has been called
	closed   bool               // guarded by mu
	quic     *quic.Transport    // guarded by mu; nil: nothing is served
	listener *quic.Listener     // guarded by mu; likewise
	accepted chan struct{}      // guarded by mu: closed once nothing is accepted any more
	conns    map[*conn]struct{} // guarded by mu: those of which the handshake is done
}

// New listens and returns a server, which serves once an [edge.Server] runs that has it
// among its options. One that never does must be closed.
//
// In a process that takes over from another (see [edge.HandOver]), an address that is in
// use is not an error: that other's clients are there until they have gone.
func New(opts Options) (*Server, error) {
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Server{opts: opts, socket: opts.Conn, conns: make(map[*conn]struct{})}
	s.leave, s.drain = context.WithCancel(context.Background())
	if s.reset, s.token, err = opts.keys(); err != nil {
		return nil, err
	}
	if s.socket != nil {
		s.addr, _ = s.socket.LocalAddr().(*net.UDPAddr)
		return s, nil
	}
	if s.addr, err = net.ResolveUDPAddr("udp", opts.Addr); err != nil {
		return nil, fmt.Errorf("h3: %w", err)
	}
	switch l, err := net.ListenUDP("udp", s.addr); {
	case err == nil:
		s.socket, s.addr = l, l.LocalAddr().(*net.UDPAddr)
	case !errors.Is(err, syscall.EADDRINUSE) || !edge.Succeeds():
		return nil, fmt.Errorf("h3: %w", err)
	}
	return s, nil
}

// Addr is where the server listens, or will; nil: Conn does not say.
func (s *Server) Addr() net.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.addr == nil {
		return nil
	}
	return s.addr
}

var errTwice = errors.New("h3: a server serves once")

// Serve serves until Shutdown or Close. The edge.Server calls it.
func (s *Server) Serve(lent edge.Lent) error {
	s.mu.Lock()
	if s.began {
		s.mu.Unlock()
		return errTwice
	}
	s.began, s.lent = true, lent
	s.mu.Unlock()
	if err := s.bind(); err != nil || s.over() {
		return err
	}
	l, accepted, err := s.listen()
	if l == nil {
		return err
	}
	lent.Announce(altSvc(cmp.Or(s.opts.Port, portOf(l.Addr()))))
	err = s.http.ServeListener(listener{l, s})
	lent.Announce("")
	close(accepted)
	if !s.over() {
		return fmt.Errorf("h3: %w", err)
	}
	// Who comes too late is told so, and need not wait: see greet.
	for {
		q, err := l.Accept(context.Background())
		if err != nil {
			return nil // the server has been closed
		}
		_ = q.CloseWithError(quic.ApplicationErrorCode(http3.ErrCodeRequestRejected), "") // it is closed
	}
}

// over reports whether Shutdown or Close has been called.
func (s *Server) over() bool { return s.leave.Err() != nil }

// bind waits for the address, if another process has it, whose place this one takes.
func (s *Server) bind() error {
	s.mu.Lock()
	bound := s.socket != nil || s.closed
	s.mu.Unlock()
	if bound {
		return nil
	}
	const pause = 100 * time.Millisecond
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for {
		l, err := net.ListenUDP("udp", s.addr)
		if err == nil {
			s.mu.Lock()
			defer s.mu.Unlock()
			if s.closed {
				return l.Close()
			}
			s.socket = l
			return nil
		}
		if !errors.Is(err, syscall.EADDRINUSE) {
			return fmt.Errorf("h3: %w", err)
		}
		select {
		case <-tick.C:
		case <-s.leave.Done():
			return nil
		}
	}
}

// listen begins to take connections. A nil listener without an error means that the
// server was closed meanwhile.
func (s *Server) listen() (*quic.Listener, chan struct{}, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over() {
		return nil, nil, nil
	}
	limits := s.lent.Limits
	s.http.Handler = s
	s.http.MaxHeaderBytes = maxHeader(limits)
	s.quic = &quic.Transport{
		Conn:                s.socket,
		VerifySourceAddress: s.verify,
		ConnContext:         s.greet,
		StatelessResetKey:   s.reset,
		TokenGeneratorKey:   s.token,
	}
	var err error
	if s.listener, err = s.quic.Listen(http3.ConfigureTLSConfig(s.lent.TLS), s.config(limits)); err != nil {
		return nil, nil, fmt.Errorf("h3: %w", err)
	}
	s.accepted = make(chan struct{})
	return s.listener, s.accepted, nil
}

// maxHeader is what the protocol's own limit of a header is. The handler measures on its
// own, to say what was too large; here each field counts 32 bytes more (RFC 9114, section
// 4.2.2).
func maxHeader(l edge.Limits) int {
	if l.Headers <= 0 || l.Target <= 0 || l.Fields <= 0 {
		return 1 << 20
	}
	const perField, pseudo, cookies = 32, 8, 2
	return l.Headers + l.Target + perField*((1+cookies)*l.Fields+pseudo)
}

// What waits of requests' bodies until it is read.
const (
	streamWindow    = 64 << 10  // of a request, at first
	connWindow      = 128 << 10 // of all on a connection, at first
	maxWindow       = 1 << 20   // of a connection
	maxGranted      = 64 << 20  // of all connections, beyond connWindow of each
	maxUniStreams   = 10        // a client needs 3
	keepAlive       = 20 * time.Second
	retryFrom       = 64   // handshakes under way
	mostHandshakes  = 1024 // likewise
	handshakeRounds = 2    // a handshake may take so many times its idle timeout
)

// config is QUIC's.
func (s *Server) config(l edge.Limits) *quic.Config {
	c := &quic.Config{
		MaxIncomingStreams:             int64(l.Streams),
		MaxIncomingUniStreams:          maxUniStreams,
		InitialStreamReceiveWindow:     streamWindow,
		MaxStreamReceiveWindow:         maxWindow,
		InitialConnectionReceiveWindow: connWindow,
		MaxConnectionReceiveWindow:     maxWindow,
		AllowConnectionWindowIncrease:  s.widen,
		MaxIdleTimeout:                 l.Idle,
		// Who waits for a slow page may say nothing for longer than its own limit is. An
		// idle connection costs three of these before it is closed.
		KeepAlivePeriod: keepAlive,
	}
	if l.Idle < 0 {
		c.MaxIdleTimeout = time.Hour // of silence, which is a client that has gone
	}
	if l.Header > 0 {
		c.HandshakeIdleTimeout = l.Header / handshakeRounds
	}
	return c
}

// verify reports whether a client has to show first that it receives what is sent to its
// address.
func (s *Server) verify(net.Addr) bool {
	if s.opening.Load() < retryFrom {
		return false
	}
	s.retries.Add(1)
	return true
}

var (
	errCrowd   = errors.New("h3: too many handshakes or connections")
	errLeaving = errors.New("h3: draining")
)

// greet notes a connection of which the handshake begins. An error refuses it, and its
// client goes back to TCP at once.
func (s *Server) greet(ctx context.Context, info *quic.ClientInfo) (context.Context, error) {
	if s.over() {
		return nil, errLeaving
	}
	if s.opening.Add(1) > mostHandshakes {
		s.opening.Add(-1)
		return nil, errCrowd
	}
	c := &conn{srv: s, opening: true}
	ended := ctx
	ctx, c.guest = s.lent.Greet(ctx, info.RemoteAddr)
	context.AfterFunc(ended, c.gone)
	// Where it is not known whether the client is there, another's share could be used up.
	if info.AddrVerified && !c.guest.Admit() {
		return nil, errCrowd // which ends the connection's context
	}
	return context.WithValue(ctx, connKey{}, c), nil
}

// A listener takes those connections for which there is room.
type listener struct {
	*quic.Listener
	srv *Server
}

// Accept implements [http3.QUICListener]. It ends when the server drains, before http3's
// own server is told, which may not count connections while it is shut down.
func (l listener) Accept(context.Context) (*quic.Conn, error) {
	for {
		q, err := l.Listener.Accept(l.srv.leave)
		if l.srv.over() {
			err = quic.ErrServerClosed
			if q != nil {
				_ = q.CloseWithError(quic.ApplicationErrorCode(http3.ErrCodeRequestRejected), "") // it is closed
			}
		}
		if err != nil {
			return nil, err
		}
		if connOf(q.Context()).serve(q) {
			return q, nil
		}
		_ = q.CloseWithError(quic.ApplicationErrorCode(http3.ErrCodeExcessiveLoad), "") // it is closed
	}
}

// widen reports whether more may wait unread on a connection, as quic-go asks.
func (*Server) widen(q *quic.Conn, delta uint64) bool {
	c := connOf(q.Context())
	return c != nil && c.widen(int64(delta))
}

// all returns the connections of which the handshake is done.
func (s *Server) all() []*conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Keys(s.conns))
}

// Shutdown tells clients to leave, waits until their requests have ended, and leaves the
// address.
func (s *Server) Shutdown(ctx context.Context) error {
	s.drain()
	s.mu.Lock()
	l, accepted := s.listener, s.accepted
	s.mu.Unlock()
	if l == nil {
		return s.Close()
	}
	<-accepted
	for _, c := range s.all() {
		c.drain()
	}
	done := make(chan error, 1)
	go func() { done <- s.http.Shutdown(ctx) }()
	var err error
	select {
	case err = <-done:
	case <-ctx.Done():
		err = ctx.Err()
		soon := time.NewTimer(unwind)
		defer soon.Stop()
		select {
		case <-done: // the handlers have heard of it
		case <-soon.C: // one that does not cannot be waited for
		}
	}
	return errors.Join(err, s.Close())
}

// unwind is how long handlers may take that have been told to end.
const unwind = time.Second

// Close ends everything at once.
func (s *Server) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	s.drain()
	l, q, socket := s.listener, s.quic, s.socket
	s.mu.Unlock()
	var err error
	if l != nil {
		err = l.Close()
	}
	for _, c := range s.all() {
		c.close(http3.ErrCodeNoError, "")
	}
	if q != nil {
		err = errors.Join(err, q.Close())
	}
	if socket != nil {
		err = errors.Join(err, socket.Close())
	}
	return err
}

// Report implements [health.Reporter].
func (s *Server) Report() health.Report {
	s.mu.Lock()
	open, serving := len(s.conns), s.listener != nil && !s.closed
	s.mu.Unlock()
	out := health.Report{Kind: "http3", State: health.Up, Metrics: []health.Metric{
		health.Level("connections_open", "Connections over QUIC that are open.", "", float64(open)),
		health.Level("handshakes_open", "Handshakes of QUIC that are under way.", "", float64(s.opening.Load())),
		health.Level("window_bytes", "Window of what clients may send before it is read, beyond what each connection may have.", "bytes", float64(s.granted.Load())),
		health.Count("retries_total", "Retries that were sent, to see whether a client is at its address.", s.retries.Load()),
	}}
	if at := s.Addr(); at != nil {
		out.Name = at.String()
	}
	if !serving {
		out.State, out.Why = health.Degraded, "not serving"
	}
	return out
}

var _ edge.HTTP3 = (*Server)(nil)
