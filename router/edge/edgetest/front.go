package edgetest

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"sync"
	"testing"

	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/router/edge"
)

// A Front is a whole front that serves, without a port. It is an [http.Handler] that
// passes requests on over a connection to it, from their RemoteAddr, so that the tables of
// routertest and cachetest are asked of it as clients would. Safe for concurrent use.
type Front struct {
	*Listener
	tb      testing.TB
	explain health.Explainer
	stop    func() error
}

// Serve serves a handler, behind an edge with these options, until [Front.Stop] or the
// test's end, which fails the test if the edge does not end well. The background runs along
// as in [edge.Server.Run]: pools, which probe, and caches. The listener is Serve's;
// Logger's nil means the test's own output, shown if it fails.
//
// Call it in a bubble of testing/synctest: hours of freshness, a drain, and the limits of
// slow clients then take no time.
func Serve(tb testing.TB, handler http.Handler, opts edge.Options, background ...edge.Runner) *Front {
	tb.Helper()
	l := Listen()
	opts.Listener = l
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.NewTextHandler(tb.Output(), nil))
	}
	srv, err := edge.New(handler, opts)
	if err != nil {
		tb.Fatal(err)
	}
	return Run(tb, l, srv, func(ctx context.Context) error { return srv.Run(ctx, background...) })
}

// Run is Serve for a program that makes its own edge, on a listener of [Listen], and has a
// function that runs it. What the front would do it is to explain: the edge, as a rule.
func Run(tb testing.TB, l *Listener, explain health.Explainer, run func(context.Context) error) *Front {
	tb.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(tb.Context())) // which ends before what is cleaned up
	ended := make(chan error, 1)
	go func() { ended <- run(ctx) }()
	f := &Front{Listener: l, tb: tb, explain: explain}
	f.stop = sync.OnceValue(func() error {
		cancel()
		return <-ended
	})
	tb.Cleanup(func() {
		if err := f.Stop(); err != nil {
			tb.Errorf("edgetest: the front has not ended well: %v", err)
		}
	})
	return f
}

// Stop drains the front as a signal does, and returns what its Run returns once all of it
// has ended: after Linger at least. Connections are accepted until then, so call it in a
// goroutine to see who is served meanwhile.
func (f *Front) Stop() error { return f.stop() }

// Explain says what the front would do with a request.
func (f *Front) Explain(r *http.Request) health.Decision { return f.explain.Explain(r) }

// ServeHTTP implements [http.Handler]: r goes over a connection of its own, from its
// RemoteAddr, over TLS if it has come so, its target as it was sent. An answer that breaks
// off panics with [http.ErrAbortHandler], as handlers do.
func (f *Front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	res, done, err := f.pass(r)
	if err != nil {
		f.tb.Logf("edgetest: %s %s: %v", r.Method, r.RequestURI, err)
		panic(http.ErrAbortHandler)
	}
	defer done()
	maps.Copy(w.Header(), res.Header)
	w.WriteHeader(res.StatusCode)
	if _, err := io.Copy(w, res.Body); err != nil {
		f.tb.Logf("edgetest: %s %s: the answer broke off: %v", r.Method, r.RequestURI, err)
		panic(http.ErrAbortHandler)
	}
}

// pass sends r over a connection of its own. Done ends that.
func (f *Front) pass(r *http.Request) (res *http.Response, done func(), err error) {
	c, err := f.dial(r.Context(), r.RemoteAddr)
	if err != nil {
		return nil, nil, err
	}
	var sender sync.WaitGroup
	end := func() {
		_ = c.Close() // what was asked for is there
		sender.Wait()
	}
	defer func() {
		if err != nil {
			end()
		}
	}()
	if r.TLS != nil {
		secure := tls.Client(c, anyCertificate(r.TLS.ServerName))
		if err := secure.HandshakeContext(r.Context()); err != nil {
			return nil, nil, fmt.Errorf("over TLS, which the edge may not speak (behind a proxy that does, https is X-Forwarded-Proto): %w", err)
		}
		c = secure
	}
	sender.Go(func() { send(c, r) }) // an answer may come before all is sent
	in := bufio.NewReader(c)
	for {
		if res, err = http.ReadResponse(in, r); err != nil {
			return nil, nil, err
		}
		if res.StatusCode >= 200 || res.StatusCode == http.StatusSwitchingProtocols {
			return res, end, nil
		}
	}
}

// send writes r as it came. Who does not take it has answered before, or breaks off.
func send(c net.Conn, r *http.Request) {
	var head bytes.Buffer
	fmt.Fprintf(&head, "%s %s HTTP/1.1\r\nHost: %s\r\n", r.Method, r.RequestURI, r.Host)
	_ = r.Header.Write(&head) // to memory
	if r.ContentLength > 0 {
		fmt.Fprintf(&head, "Content-Length: %d\r\n", r.ContentLength)
	}
	head.WriteString("\r\n")
	if _, err := head.WriteTo(c); err == nil && r.ContentLength > 0 {
		_, _ = io.CopyN(c, r.Body, r.ContentLength)
	}
}
