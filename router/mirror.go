package router

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/internal/given"
	"github.com/foretier/foretier/internal/transit"
)

const (
	mirrorAtOnce  = 8  // copies being served
	mirrorQueue   = 64 // copies waiting
	mirrorTimeout = 30 * time.Second
)

// A Mirror sends copies of requests to a second handler and throws its answers
// away, to try a new server with real traffic. It copies only GET and HEAD
// requests without body, cookies and Authorization: a mirrored order would be
// a second order.
//
// Nobody waits for a copy: 8 are served at once, 64 wait, more are dropped. It
// works while Run does; without it nothing is copied.
type Mirror struct {
	to            http.Handler
	queue         chan *http.Request
	running       atomic.Bool
	sent, dropped atomic.Uint64
}

// NewMirror returns a Mirror that sends copies to a handler.
func NewMirror(to http.Handler) *Mirror {
	return &Mirror{to: to, queue: make(chan *http.Request, mirrorQueue)}
}

// Handler is middleware for Rule.Use.
func (m *Mirror) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if m.running.Load() && mirrorable(r) {
			m.enqueue(r)
		}
		next.ServeHTTP(w, r)
	})
}

func mirrorable(r *http.Request) bool {
	return retryable(r) && r.Header["Cookie"] == nil && r.Header["Authorization"] == nil
}

// enqueue puts a copy of r in the queue: r itself lives no longer than its handler.
func (m *Mirror) enqueue(r *http.Request) {
	ctx, rec := transit.Detach(r.Context())
	rec.Turn = nil     // the place is r's
	rec.Storable = nil // a fetch answers that of its own answer, and on its own goroutine
	c := r.Clone(ctx)
	c.Body = http.NoBody
	select {
	case m.queue <- c:
	default:
		m.dropped.Add(1)
	}
}

// Run serves copies until ctx ends. It is an error to have no handler for them.
func (m *Mirror) Run(ctx context.Context) error {
	if given.Nil(m.to) {
		return errors.New("router: mirror: there is no handler to send copies to")
	}
	m.running.Store(true)
	defer m.running.Store(false)
	var wg sync.WaitGroup
	for range mirrorAtOnce {
		wg.Go(func() {
			for {
				select {
				case r := <-m.queue:
					m.serve(ctx, r)
				case <-ctx.Done():
					return
				}
			}
		})
	}
	wg.Wait()
	return nil
}

// serve serves one copy, for as long as Run may run.
func (m *Mirror) serve(run context.Context, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), mirrorTimeout)
	defer cancel()
	defer context.AfterFunc(run, cancel)()
	defer func() { _ = recover() }() // nobody waits for what a copy brings
	m.sent.Add(1)
	m.to.ServeHTTP(&sink{h: http.Header{}}, r.WithContext(ctx))
}

// Report implements [health.Reporter]. It has the name of the handler that gets
// the copies.
func (m *Mirror) Report() health.Report {
	return health.Report{Kind: "mirror", Name: handlerName(m.to), State: health.Up, Metrics: []health.Metric{
		health.Count("copies_sent_total", "Copies of requests that were served.", m.sent.Load()),
		health.Count("copies_dropped_total", "Copies of requests that were dropped because too many waited.", m.dropped.Load()),
	}}
}

// A sink is a ResponseWriter for answers that nobody reads.
type sink struct{ h http.Header }

func (s *sink) Header() http.Header         { return s.h }
func (s *sink) Write(p []byte) (int, error) { return len(p), nil }
func (s *sink) WriteHeader(int)             {}
