package edge

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/foretier/foretier/internal/given"
	"github.com/foretier/foretier/internal/ranges"
	"github.com/foretier/foretier/internal/transit"
	"github.com/foretier/foretier/router/edge/internal/h1"
	"github.com/foretier/foretier/router/edge/internal/h2"
	"github.com/foretier/foretier/router/edge/internal/memo"
	"github.com/foretier/foretier/router/edge/internal/wire"
)

// A Runner works in the background until its context ends, as pools and caches
// do.
type Runner interface{ Run(context.Context) error }

// A RunnerFunc is a function as a [Runner]: another server, for example, that
// redirects to this one.
type RunnerFunc func(context.Context) error

// Run calls f.
func (f RunnerFunc) Run(ctx context.Context) error { return f(ctx) }

var (
	// ErrNotServing is why a server is not ready before Run and after it.
	ErrNotServing = errors.New("edge: not serving")
	// ErrDraining is why a server is not ready once Run's context has ended.
	ErrDraining = errors.New("edge: draining")
	// ErrHandedOver is the cause with which a context of Run is cancelled once another
	// process serves on the same socket: nobody has to notice, so Run does not wait for
	// Linger. See [HandOver].
	ErrHandedOver = errors.New("edge: another process has taken over")
	// ErrRun is what a second Run returns.
	ErrRun = errors.New("edge: a server runs once")
)

// A Server is the listening end of a tier. It is safe for concurrent use.
type Server struct {
	opts     Options
	handler  http.Handler
	listener net.Listener // nil: there is none
	wires    *wire.Set
	h1       h1.Server
	h2       h2.Server
	tls      *tls.Config     // nil: plain
	http     *http.Server    // net/http's
	standard *handover       // from which that gets its connections
	base     context.Context // of all connections
	opening  openings
	mounted  openings // requests that others serve, where there is no listener
	start    time.Time
	page     func(http.ResponseWriter, *http.Request, int) bool // writePage, bound once
	phase    atomic.Int32                                       // one of the phases below
	warned   atomic.Bool
	hsts     string                 // the field's value; empty for none
	names    *names                 // nil: all names ask for the same client certificates
	altSvc   atomic.Pointer[string] // what answers say of HTTP/3; nil: nothing
	quicTLS  *tls.Config            // what HTTP/3 shakes hands with
	upgrades upgrades
	crowd    crowd
	lines    *LogWriter  // to Options.Combined; nil: there is none
	plain    *LogHandler // Options.Logger's, if lines need no slog.Record; else nil
	stats    stats
	memos    memo.Table                 // of what is answered from the head
	blocked  atomic.Pointer[ranges.Set] // nil: nobody

	unreadable, unfinished transit.Lines // what is logged of those who send no request

	mu     sync.Mutex
	failed []string // guarded by mu: what runners said when they ended early
}

const (
	phaseNew int32 = iota
	phaseServing
	phaseDraining
	phaseEnded
)

// New listens and returns a server for handler, which serves once Run is
// called: until then connections wait. With [Options.NoPort] it does not listen. A
// server that never runs must be closed.
func New(handler http.Handler, opts Options) (*Server, error) {
	if given.Nil(handler) {
		return nil, errors.New("edge: no handler")
	}
	if err := given.Chain(handler); err != nil {
		return nil, fmt.Errorf("edge: %w", err)
	}
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Server{opts: opts, handler: handler, start: time.Now()}
	s.page = s.writePage
	s.crowd.srv = s
	if opts.Combined != nil {
		s.lines = NewLogWriter(opts.Combined, func(n uint64) {
			opts.Logger.Error("lines of the combined log were dropped: its reader stands still", "lines", n)
		})
	}
	if h, ok := opts.Logger.Handler().(*LogHandler); ok && h.own {
		s.plain = h
	}
	s.unreadable.Burst, s.unfinished.Burst = 20, 20
	if opts.HSTS > 0 {
		s.hsts = "max-age=" + strconv.Itoa(int(opts.HSTS/time.Second))
	}
	s.http = opts.http(s)
	s.base = context.WithValue(context.Background(), http.ServerContextKey, s.http)
	s.wires = wire.NewSet(wire.Options{WriteStall: opts.Limits.WriteStall, HalfClosed: opts.HalfClosed, Tick: opts.tick()})
	s.h1.Handler, s.h1.Panicked = s, s.broken
	s.h1.HeadTime, s.h1.BodyStall, s.h1.UpgradeIdle = opts.Limits.Header, opts.Limits.BodyStall, opts.Limits.UpgradeIdle
	s.h1.Head = opts.head()
	s.h2.Handler, s.h2.Panicked, s.h2.Head, s.h2.Streams = s, s.broken, s.h1.Head, opts.Limits.Streams
	s.h2.HeadTime, s.h2.BodyStall, s.h2.WriteStall, s.h2.UpgradeIdle = opts.Limits.Header, opts.Limits.BodyStall, opts.Limits.WriteStall, opts.Limits.UpgradeIdle
	if opts.PlainHTTP2 {
		s.h1.Prior = s.prior
	}
	s.http.ConnState = s.state
	s.tls = opts.tlsConfig()
	if s.tls != nil && !hasCertificate(s.tls) {
		return nil, errors.New("edge: TLS without a certificate")
	}
	s.names = configure(s.tls, &s.opts)
	s.http.TLSConfig, s.quicTLS = s.tls, s.tls.Clone() // since net/http changes its own
	s.standard = newHandover()
	l := opts.Listener
	if l == nil && !opts.NoPort {
		if l, err = net.Listen("tcp", opts.Addr); err != nil {
			return nil, fmt.Errorf("edge: %w", err)
		}
	}
	if l != nil {
		s.listen(l)
	}
	return s, nil
}

// Listen gives a server that was made with [Options.NoPort] its listener, which it
// closes. It is called before anything else, and once; other calls are an error, and
// leave l open.
func (s *Server) Listen(l net.Listener) error {
	switch {
	case given.Nil(l):
		return errors.New("edge: no listener")
	case s.phase.Load() != phaseNew:
		return ErrRun
	case s.listener != nil:
		return errors.New("edge: the server has a listener")
	}
	s.listen(l)
	return nil
}

func (s *Server) listen(l net.Listener) {
	s.listener = l
	s.opts.Name = cmp.Or(s.opts.Name, l.Addr().String())
}

func hasCertificate(c *tls.Config) bool {
	return len(c.Certificates) > 0 || c.GetCertificate != nil || c.GetConfigForClient != nil
}

// Addr is what the server listens on; nil: nothing.
func (s *Server) Addr() net.Addr {
	if s.listener == nil {
		return nil
	}
	return s.listener.Addr()
}

// where names what the server listens on, for the log.
func (s *Server) where() slog.Attr {
	if s.listener == nil {
		return slog.String("addr", "none")
	}
	return slog.String("addr", s.Addr().String())
}

// Ready returns why the server should get no new connections, or nil.
func (s *Server) Ready() error {
	switch s.phase.Load() {
	case phaseServing:
		return nil
	case phaseDraining:
		return ErrDraining
	}
	return ErrNotServing
}

func (s *Server) draining() bool { return s.phase.Load() == phaseDraining }

// Run serves until ctx ends. Then Ready answers ErrDraining, connections are
// still accepted for Linger, requests may take Drain to end, and upgraded
// connections are closed.
//
// The background runs along. Its context ends only after the last connection
// has, so that purges and probes go on through the drain; Run returns when all
// of it has returned. A Runner that ends with an error is logged and reported,
// and never ends serving. A Server in the background, by a [RunnerFunc] or
// within another Runner, does not wait for that: it drains as soon as this one
// does, so that their times to linger run side by side.
//
// A server without a listener waits for its context, and then, as long as Drain
// says, for the requests that its [Server.ServeHTTP] serves.
//
// Run returns nil after a drain in which every request could end, and
// otherwise what went wrong. It can be called once.
func (s *Server) Run(ctx context.Context, background ...Runner) error {
	if !s.phase.CompareAndSwap(phaseNew, phaseServing) {
		return ErrRun
	}
	defer s.phase.Store(phaseEnded)
	s.opts.Logger.LogAttrs(ctx, slog.LevelInfo, "serving", s.where(), slog.String("scheme", s.scheme()))

	base := context.WithoutCancel(ctx)
	draining := make(chan struct{})
	bg, stop := context.WithCancel(context.WithValue(base, drainKey{}, draining))
	var wg sync.WaitGroup
	for _, r := range background {
		wg.Go(func() { s.run(bg, r) })
	}
	if s.opts.Certificates != nil {
		wg.Go(func() { s.opts.Certificates.run(bg, s.opts.Logger) })
	}
	if s.opts.Issuer != nil {
		wg.Go(func() { s.run(bg, s.opts.Issuer) })
	}
	served, accepted := make(chan error, 1), make(chan struct{})
	if s.listener != nil {
		wg.Go(func() {
			defer close(accepted)
			served <- s.serve()
		})
	}
	wg.Go(s.serveStandard)
	if s.opts.HTTP3 != nil {
		wg.Go(s.serveHTTP3)
	}

	above, _ := ctx.Value(drainKey{}).(chan struct{}) // of the server that runs this one; nil: none does
	var err error
	broken := false
	select {
	case err = <-served: // the listener broke
		broken = true
	case <-ctx.Done():
	case <-above:
	}
	close(draining)
	linger := max(s.opts.Linger, 0)
	if errors.Is(context.Cause(ctx), ErrHandedOver) {
		linger = 0
	}
	s.opts.Logger.LogAttrs(base, slog.LevelInfo, "draining", s.where(),
		slog.Float64("linger_s", linger.Seconds()), slog.Float64("drain_s", max(s.opts.Drain, 0).Seconds()))
	if !broken {
		s.drain(linger, served)
	}
	s.phase.Store(phaseDraining)
	s.announce("")
	err = errors.Join(err, s.shutdown(base, accepted))
	s.upgrades.closeAll()
	_ = s.standard.Close() // which cannot fail
	s.wires.Close()
	stop()
	wg.Wait()
	if s.lines != nil {
		err = errors.Join(err, s.lines.Close())
	}
	return err
}

// scheme is what the server speaks itself.
func (s *Server) scheme() string {
	if s.tls != nil {
		return "https"
	}
	return "http"
}

// drainKey finds the channel that is closed when the server whose background a
// context is of begins to drain.
type drainKey struct{}

// serve accepts until the listener is closed.
func (s *Server) serve() error {
	l := s.listener
	if s.opts.Wrap != nil {
		l = s.opts.Wrap(l)
	}
	if err := s.accept(l); !errors.Is(err, net.ErrClosed) || s.phase.Load() == phaseServing {
		return fmt.Errorf("edge: %w", err)
	}
	return nil
}

// drain says that the server should get no more connections, and waits for the
// balancers in front to see it.
func (s *Server) drain(linger time.Duration, served <-chan error) {
	s.phase.Store(phaseDraining)
	s.announce("")
	if linger == 0 {
		return
	}
	over := time.NewTimer(linger)
	defer over.Stop()
	select {
	case <-over.C:
	case <-served:
	}
}

// shutdown lets requests end, then closes what is left. Accepted is closed once no
// connection is accepted any more.
func (s *Server) shutdown(ctx context.Context, accepted <-chan struct{}) error {
	ctx, cancel := context.WithTimeout(ctx, max(s.opts.Drain, settle))
	defer cancel()
	var wg sync.WaitGroup
	var quic error
	wg.Go(func() { quic = s.shutdownHTTP3(ctx) })
	err := s.shutdownTCP(ctx, accepted)
	wg.Wait()
	return errors.Join(err, quic)
}

// shutdownTCP is shutdown of what comes by the listener, or by somebody else's server.
func (s *Server) shutdownTCP(ctx context.Context, accepted <-chan struct{}) error {
	if s.listener == nil {
		if err := s.mounted.wait(ctx); err != nil {
			return fmt.Errorf("edge: requests go on after %s: %w", s.opts.Drain, err)
		}
		return nil
	}
	_ = s.listener.Close() // one that does not close cannot be helped
	select {
	case <-accepted: // so that one which was accepted just now is not forgotten
	case <-ctx.Done():
	}
	s.opening.subside(ctx, freshWait) // who takes longer is closed
	var wg sync.WaitGroup
	var standard, second error
	wg.Go(func() { standard = s.shutdownStandard(ctx) })
	wg.Go(func() { second = s.h2.Shutdown(ctx) })
	err := s.h1.Shutdown(ctx)
	wg.Wait()
	if err = errors.Join(err, second, standard); err != nil {
		return s.cutOff(err)
	}
	return nil
}

const (
	freshWait = time.Second           // for the next handshake of connections accepted last
	settle    = 50 * time.Millisecond // for idle connections to end, whatever Drain is
)

// shutdownStandard lets the requests of the standard server end.
func (s *Server) shutdownStandard(ctx context.Context) error {
	for {
		// Shutdown tells HTTP/2 connections to end, but not one that began when it
		// was called: that one hears it from the next call.
		once, cancel := context.WithTimeout(ctx, time.Second)
		err := s.http.Shutdown(once)
		cancel()
		if err == nil || ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded) {
			return err
		}
	}
}

// cutOff closes what is left, and waits a while for the handlers, which hear of it.
func (s *Server) cutOff(err error) error {
	s.h1.Close()
	s.h2.Close()
	soon, cancel := context.WithTimeout(context.Background(), freshWait)
	defer cancel()
	_ = s.h1.Shutdown(soon) // one that does not hear it cannot be waited for
	_ = s.h2.Shutdown(soon) // likewise
	return errors.Join(fmt.Errorf("edge: requests were cut off after %s: %w", s.opts.Drain, err), s.http.Close())
}

// run runs one Runner.
func (s *Server) run(ctx context.Context, r Runner) {
	err := r.Run(ctx)
	if err == nil || ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return
	}
	s.opts.Logger.LogAttrs(ctx, slog.LevelError, "background work ended", slog.String("part", fmt.Sprintf("%T", r)), slog.Any("cause", err))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failed = append(s.failed, fmt.Sprintf("%T ended: %v", r, err))
}

// Close closes the listener and every connection at once. It is not needed
// after Run has returned, and is idempotent.
func (s *Server) Close() error {
	err := s.http.Close()
	if s.opts.HTTP3 != nil {
		err = errors.Join(err, s.opts.HTTP3.Close())
	}
	s.h1.Close()
	s.h2.Close()
	s.upgrades.closeAll()
	_ = s.standard.Close() // which cannot fail
	if s.listener != nil {
		if lerr := s.listener.Close(); !errors.Is(lerr, net.ErrClosed) {
			err = errors.Join(err, lerr)
		}
	}
	s.wires.Close()
	if s.lines != nil {
		err = errors.Join(err, s.lines.Close())
	}
	return err
}

// broken logs a panic of the edge's own.
func (s *Server) broken(v any) {
	s.opts.Logger.LogAttrs(s.base, slog.LevelError, "panic", slog.Any("panic", v))
}
