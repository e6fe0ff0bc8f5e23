package fcgi

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/foretier/foretier/health"
)

// Ping returns a probe that asks php-fpm for its ping.path, such as /ping, or for a script
// at that path, such as /health.php, and wants a status from 200 to 299. Visitors do not
// get there by it: for them /ping is a path like any other. A backend that is none of a
// [Site] is asked over HTTP, as by [health.HTTP]. A path that is none is an error of
// [balancer.New].
func Ping(path string) health.Probe { return &ping{health.HTTPProbe{Path: path}} }

type ping struct{ http health.HTTPProbe }

// Validate says what is wrong with the path: pools ask when they are made.
func (p *ping) Validate() error {
	if err := p.http.Validate(); err != nil {
		return err
	}
	if u, err := url.Parse(p.http.Path); err != nil || !isScript(u) {
		return fmt.Errorf("fcgi: ping %q: want php-fpm's ping.path, such as /ping", p.http.Path)
	}
	return nil
}

func isScript(u *url.URL) bool {
	_, slash, ok := local(u)
	return ok && !slash
}

// Probe implements [health.Probe].
func (p *ping) Probe(ctx context.Context, target health.Target) (health.Result, error) {
	t, ok := target.Transport.(*transport)
	if !ok {
		return p.http.Probe(ctx, target)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://localhost"+p.http.Path, nil)
	if err != nil {
		return health.Result{}, fmt.Errorf("fcgi: ping: %w", err)
	}
	r.RemoteAddr = "127.0.0.1:0"
	r.Header.Set("User-Agent", "foretier-probe")
	res, err := t.run(r, found{script: r.URL.Path}, t.site.root)
	if err != nil {
		return health.Result{}, fmt.Errorf("fcgi: ping: %w", err)
	}
	defer res.Body.Close()
	_, _ = io.CopyN(io.Discard, res.Body, 4<<10) // what it says beyond its status is of no matter
	result := health.Result{State: health.Up, Note: res.Status}
	switch {
	case res.StatusCode == http.StatusNotFound || res.StatusCode == http.StatusForbidden:
		result = health.Result{State: health.Degraded, Note: res.Status + ": is ping.path set to it?"}
	case res.StatusCode < 200 || res.StatusCode > 299:
		result.State = health.Degraded
	}
	return result, nil
}
