package balancer

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"time"

	"github.com/foretier/foretier/internal/fields"
	"github.com/foretier/foretier/internal/http1"
)

// through sends the request through any other transport, and again to the same
// backend if that took a kept connection that turned out to be closed, or if the
// backend did not process it.
func (t *try) through(rt http.RoundTripper) error {
	ctx := t.ctx
	res, err := t.once(ctx, rt)
	const most = 3 // times; then the others, if there are any
	for n := 1; n < most && err != nil && ctx.Err() == nil && context.Cause(t.ctx) == nil && t.onceMore(err); n++ {
		t.interrupt(nil)
		t.sent.Store(false)
		res, err = t.once(ctx, rt)
	}
	if err == nil {
		t.answer = answerOf(res)
	}
	return err
}

// onceMore reports whether the same backend may give the request that ended
// with err a fair hearing.
func (t *try) onceMore(err error) bool {
	if unprocessed(err) {
		return t.exchange.spool == nil || t.exchange.spool.replayable()
	}
	return t.stale.Load() && t.exchange.again()
}

// once sends the request through rt, once as far as this end knows.
func (t *try) once(ctx context.Context, rt http.RoundTripper) (*http.Response, error) {
	x := t.exchange
	ctx, cancel := context.WithCancelCause(ctx)
	t.mu.Lock()
	t.interrupt = cancel
	t.mu.Unlock()
	t.timer = time.AfterFunc(time.Hour, func() {
		cancel(fmt.Errorf("%w: no response for %v", ErrTimeout, x.timeouts.Header))
	})
	t.timer.Stop()
	t.ctx = httptrace.WithClientTrace(ctx, t.trace())
	out := t.request()
	if x.passage != nil { // x.req is the server's
		out.Header, out.Close = x.header.Clone(), false
		if x.spool == nil {
			out.Body = nil
		}
	}
	out.Close = out.Close || http1.LogsIn(out.Header)
	out.Trailer = nil
	if x.spool != nil {
		out.GetBody = nil
		trailers := x.trailers
		if c, ok := rt.(chunkless); ok && c.NoChunks() {
			r, err := t.measured(c)
			if err != nil {
				return nil, err
			}
			out.ContentLength, trailers = r.ContentLength, nil
		}
		out.Body = x.spool.body()
		if len(trailers) > 0 {
			out.Trailer = make(http.Header)
			for _, name := range trailers {
				out.Trailer[name] = nil
			}
			out.Body = &trailing{out.Body, x, out.Trailer}
		}
	}
	res, err := rt.RoundTrip(out)
	err = fields.Mute(err)
	t.timer.Stop()
	if err == nil {
		if err = http1.Sound(x.header, res); err != nil {
			_ = res.Body.Close() // nobody wants it
			return nil, err
		}
	}
	return res, err
}

// trace learns from the transport what was sent, on what, and when the wait
// begins.
func (t *try) trace() *httptrace.ClientTrace {
	limit := t.exchange.timeouts.Header
	told := 0 // bytes of informational responses
	return &httptrace.ClientTrace{
		Got1xxResponse: func(status int, h textproto.MIMEHeader) error {
			told += len("HTTP/1.1 100 \r\n\r\n")
			for name, values := range h {
				for _, v := range values {
					told += len(name) + len(v) + len(": \r\n")
				}
			}
			if told > http1.MaxHeader { // an error would not count beside another trace's
				t.interrupt(errTalks)
			} else if d := t.exchange.passage; d != nil {
				return d.Tell(status, http.Header(h))
			}
			return nil
		},
		GotConn:              func(i httptrace.GotConnInfo) { t.stale.Store(i.Reused) },
		GotFirstResponseByte: func() { t.stale.Store(false) },
		WroteHeaders:         func() { t.sent.Store(true) },
		WroteRequest: func(httptrace.WroteRequestInfo) {
			if limit > 0 {
				t.timer.Reset(limit)
			}
		},
	}
}
