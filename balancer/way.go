package balancer

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"time"

	"github.com/foretier/foretier/balancer/internal/inprocess"
	"github.com/foretier/foretier/balancer/internal/pool"
	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/internal/target"
)

// A way is how a backend is reached over HTTP.
type way struct {
	transport http.RoundTripper
	url       *url.URL // of what it serves
	base      string   // the URL's path, escaped
}

func wayTo(e *pool.Entry) *way { return e.Way.(*way) }

// A placed backend is one as it is configured, and its URL as it is read.
type placed struct {
	Backend
	url *url.URL
}

// makeWay makes the way to a new backend.
func (o Options) makeWay(c pool.Spec) (any, health.Target) {
	b := c.Own.(*placed)
	w := &way{url: b.url}
	switch {
	case b.url.Host == "":
		w.url = &url.URL{Scheme: "http", Host: "localhost"} // which nobody sees
	case b.url.Scheme == "fcgi":
		w.url = &url.URL{Scheme: "http", Host: b.url.Host}
	}
	w.base = target.Sent(w.url)
	t := health.Target{Name: b.Name, URL: b.url, TLS: o.TLS}
	switch {
	case b.Handler != nil:
		t.Transport = inprocess.Transport{Handler: b.Handler}
	case o.Transport != nil:
		t.Transport = o.Transport(b.Backend)
	}
	if w.transport = t.Transport; w.transport == nil {
		w.transport = newTransport(b.url, o)
	}
	return w, t
}

// An idleCloser is a transport that keeps connections, as [http.Client] knows it.
type idleCloser interface{ CloseIdleConnections() }

// release closes a transport's idle connections.
func release(rt http.RoundTripper) {
	if c, ok := rt.(idleCloser); ok {
		c.CloseIdleConnections()
	}
}

// specOf returns a backend as a set wants it, checked.
func (o Options) specOf(b Backend) (pool.Spec, error) {
	b, u, err := b.resolve()
	if err == nil && u.Scheme == "fcgi" && o.Transport == nil {
		err = fmt.Errorf("balancer: backend %s: the pool has no way there: want Options.Transport of balancer/fcgi", b.label())
	}
	s := pool.Spec{Name: b.Name, Weight: b.Weight, Tier: b.Tier, Own: &placed{b, u}}
	if err == nil && b.Handler == nil { // two handlers of one name may be two
		s.At = u.String()
	}
	return s, err
}

// statusAt returns how e is.
func statusAt(e *pool.Entry, now time.Time) Status {
	b := e.Own.(*placed).Backend
	b.Labels = maps.Clone(b.Labels)
	return Status{
		Backend:  b,
		Mode:     Mode(e.Wanted()),
		State:    e.Health.State,
		Why:      e.Health.Why,
		Since:    e.Health.Since,
		Until:    e.Health.Until,
		InFlight: e.Load.InFlight(),
		Streams:  e.Load.Streams(),
		Waiting:  e.Load.Waiting(),
		Latency:  e.Load.Latency(now),
		Requests: e.Requests.Load(),
		Failures: e.Failures.Load(),
	}
}
