package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/foretier/foretier/balancer"
	"github.com/foretier/foretier/balancer/fcgi"
	"github.com/foretier/foretier/cache"
	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/health/metrics"
	"github.com/foretier/foretier/health/status"
	"github.com/foretier/foretier/router"
	"github.com/foretier/foretier/router/edge"
	"github.com/foretier/foretier/session"
)

var policies = map[string]func() balancer.Policy{
	"adaptive":   balancer.Adaptive,
	"roundrobin": balancer.RoundRobin,
	"least":      balancer.LeastInFlight,
	"hash":       func() balancer.Policy { return balancer.Hash(nil, 0) },
}

// Exports and image imports take their time, and their uploads are large.
var (
	adminTimeouts       = router.Timeouts{Header: 30 * time.Minute, Idle: 10 * time.Minute}
	adminBody     int64 = 2 << 30
)

// Who finds all places of a backend taken waits, up to here.
const (
	queueLen  = 128
	queueWait = 5 * time.Second
)

// A tier is the gateway, built and not yet serving.
type tier struct {
	config     config
	sockets    sockets
	log        *slog.Logger
	srv        *edge.Server
	background []edge.Runner
	reporters  []health.Reporter // what the status page shows behind the server and the router
	status     *status.Handler
	closers    []io.Closer

	apps          *balancer.Pool
	site          *fcgi.Site     // of those of them that are php-fpm; nil: none is
	said          string         // what their URLs say of it
	cache         *cache.Cache   // nil: there is none
	origin        *balancer.Pool // nil: no server is special
	originFiles   http.Handler   // that pool, behind its site's files
	admin         router.Matcher // what is its alone
	purge         http.Handler   // nil: nobody may
	below         http.Handler   // what the cache has in it
	shop, streams http.Handler   // the pool, and what stands before it
	front         *router.Router
	claims        []router.Claim                    // proved before anything is served
	guards        []guard                           // who is asked first
	basic         *router.Basic                     // nil: nobody needs a password
	shows         []func(http.Handler) http.Handler // -error-pages
	certificates  *edge.CertificateSource           // nil: plain
	snapshot      *snapshot                         // nil: none

	// What follows is what files have said last; it belongs to whoever takes them up.
	files    files
	mutable  mutable
	backends []string
	blocked  int
}

// Close ends what outlives the serving.
func (t *tier) Close() error {
	var err error
	for _, c := range t.closers {
		err = errors.Join(err, c.Close())
	}
	return err
}

// build joins the packages as the configuration says. The status page shows the
// others too.
func build(c config, on sockets, logger *slog.Logger, others ...health.Reporter) (*tier, error) {
	t := &tier{config: c, sockets: on, log: logger, reporters: others, admin: c.adminPaths(), backends: c.backends, files: files{log: logger}}
	var err error
	if t.apps, err = t.newApps(); err != nil {
		return nil, err
	}
	if t.below, err = t.amended(filesOf(t.site, t.apps)); err != nil {
		return nil, err
	}
	shop := t.below
	if c.cacheSize > 0 {
		if shop, err = t.cached(shop); err != nil {
			return nil, err
		}
	}
	if c.esi {
		if shop, err = t.composed(shop); err != nil {
			return nil, err
		}
	}
	t.streams = shop // which go on as they come
	if t.shop, err = t.compressed(shop); err != nil {
		return nil, err
	}
	if c.onOrigin() {
		at, said, err := splitBackends([]string{c.origin})
		if err != nil {
			return nil, fmt.Errorf("-origin: %w", err)
		}
		site, err := newSite(said, t.log)
		if err != nil {
			return nil, fmt.Errorf("-origin: %w", err)
		}
		if t.origin, err = t.pool("origin", at, site, balancer.Options{}); err != nil {
			return nil, fmt.Errorf("-origin: %w", err)
		}
		t.originFiles = filesOf(site, t.origin)
		t.claims = append(t.claims, router.Only(t.origin).For(t.admin))
	}
	if err := errors.Join(t.shareLimits(), t.newGuards()); err != nil {
		return nil, err
	}
	if t.shows, err = c.shown(); err != nil {
		return nil, err
	}
	if t.front, err = router.New(router.Options{Claims: t.claims}, t.rules(t.shop, t.streams, t.mutable)...); err != nil {
		return nil, fmt.Errorf("-admin: %w", err)
	}
	if len(c.warm) > 0 {
		t.background = append(t.background, warmer{t.front, t.apps, c.warm, t.log})
	}
	t.background = append(t.background, &t.files)
	if c.changeable() {
		t.reporters = append(t.reporters, &t.files)
	}
	if err := t.listen(); err != nil {
		return nil, err
	}
	if err := t.watch(); err != nil {
		return nil, errors.Join(err, t.srv.Close())
	}
	return t, nil
}

// rules are what becomes of a request.
func (t *tier) rules(shop, streams http.Handler, m mutable) []router.Rule {
	var rules []router.Rule
	if t.purge != nil { // in maintenance, too
		rules = append(rules, router.Rule{Name: "purge", When: router.Method(cache.PurgeMethods()...), To: t.purge})
	}
	rules = append(rules, m.maintenance()...)
	return append(rules, t.guarded(t.shown(shop, streams, m))...)
}

// shown are the rules for what visitors and admins are shown.
func (t *tier) shown(shop, streams http.Handler, m mutable) (rules []router.Rule) {
	c := t.config
	if t.origin != nil {
		admin := router.Rule{Name: "admin", When: t.admin, To: t.originFiles, Timeouts: adminTimeouts, MaxBody: adminBody}
		rules = append(rules, admin)
		if writes := presets[c.shop].write; writes != nil {
			admin.Name, admin.When = "editor", writes
			rules = append(rules, admin)
		}
	}
	rules = append(rules, m.redirects()...)
	if len(c.streaming) > 0 {
		rules = append(rules, router.Rule{Name: "streams", When: router.Path(c.streaming...), To: streams, Streams: true})
	}
	rules = append(rules, presets[c.shop].own...)
	rules = append(rules, t.mediaRules()...)
	return append(rules, c.limited(router.Rule{Name: "shop", To: shop, Use: t.shows})...)
}

// newApps returns the pool of the application servers, which admin must not reach if
// there is an origin.
func (t *tier) newApps() (*balancer.Pool, error) {
	c := t.config
	opts := balancer.Options{Policy: policies[c.policy]()}
	if c.onOrigin() {
		opts.Refuse = t.admin
	}
	if c.sticky != "" {
		sticky, err := session.NewSticky(c.stickyKey, session.StickyOptions{Name: c.sticky})
		if err != nil {
			return nil, fmt.Errorf("-sticky: %w", err)
		}
		opts.Affinity = sticky
	}
	at, said, err := splitBackends(c.backends)
	if err == nil {
		t.said = said
		t.site, err = newSite(said, t.log)
	}
	var apps *balancer.Pool
	if err == nil {
		apps, err = t.pool("apps", at, t.site, opts)
	}
	if err != nil {
		return nil, fmt.Errorf("-backends: %w", err)
	}
	return apps, nil
}

// pool returns a pool as the flags want all of them, of which some may be php-fpm of a
// site.
func (t *tier) pool(name string, urls []string, site *fcgi.Site, opts balancer.Options) (*balancer.Pool, error) {
	opts.Transport = transportOf(site)
	switch c := t.config; {
	case c.probe != "" && site != nil:
		opts.Probe = fcgi.Ping(c.probe)
	case c.probe != "":
		opts.Probe = &health.HTTPProbe{Path: c.probe, Host: c.probeHost}
	}
	return t.poolOf(name, urls, opts)
}

// poolOf returns a pool of servers that -probe is not for.
func (t *tier) poolOf(name string, urls []string, opts balancer.Options) (*balancer.Pool, error) {
	c := t.config
	opts.Name, opts.Logger = name, t.log
	if opts.Via = c.via; c.via == "off" {
		opts.Via = balancer.NoVia
	}
	opts.Limits = balancer.Limits{InFlight: c.requests, Streams: c.streams}
	if c.requests > 0 { // else nobody waits
		opts.Limits.Queue, opts.Limits.Wait = queueLen, queueWait
	}
	opts.Source, urls = sourceOf(urls)
	p, err := balancer.New(c.servers(urls), opts)
	if err != nil {
		return nil, err
	}
	t.background = append(t.background, p)
	t.reporters = append(t.reporters, p)
	return p, nil
}

// servers are the backends at these URLs.
func (c config) servers(urls []string) []balancer.Backend {
	servers := balancer.Backends(urls...)
	for i, url := range urls {
		if h := c.handlers[url]; h != nil {
			servers[i] = balancer.Backend{Name: strings.TrimPrefix(url, "http://"), Handler: h}
		}
	}
	return servers
}

// listen makes the server in front of the router, and the status page of all.
func (t *tier) listen() error {
	c := t.config
	opts := edge.Options{
		Listener:    t.sockets.gate.behind(t.sockets.main),
		Trusted:     c.trust,
		Observers:   c.observers,
		Tracing:     edge.Tracing{Begin: c.trace != "pass", Anybody: c.trace == "clients"},
		Pages:       c.ownPages(),
		Linger:      cmp.Or(c.linger, -1), // of which edge knows 0 as its default
		Logger:      t.log,
		NoAccessLog: c.log == "off",
		PlainHTTP2:  c.plainHTTP2,
		SampleHits:  c.logHits,
	}
	var err error
	if t.certificates, err = certificatesOf(c); err != nil {
		return err
	}
	opts.Certificates = t.certificates
	issued, err := t.issuer()
	if err != nil {
		return err
	}
	if issued != nil {
		opts.Issuer = issued
	}
	quic, err := t.http3()
	if err != nil {
		return err
	}
	if quic != nil {
		opts.HTTP3 = quic
	}
	if t.srv, err = edge.New(t.front, opts); err != nil {
		if quic != nil {
			err = errors.Join(err, quic.Close())
		}
		return err
	}
	if err := t.redirect(issued, opts); err != nil {
		return errors.Join(err, t.srv.Close())
	}
	parts := append([]health.Reporter{t.srv, t.front}, t.reporters...)
	t.status, err = status.New(parts, status.Options{Ready: t.srv.Ready, Hosts: c.statusHosts, Explain: t.srv, Act: mayAct(c), Metrics: metrics.Handler(t.log, parts...), Logger: t.log})
	if err != nil {
		return errors.Join(fmt.Errorf("-status-hosts: %w", err), t.srv.Close())
	}
	return nil
}

// describe says in a line what the gateway does.
func describe(c config) string {
	s := fmt.Sprintf("pages from %s", strings.Join(c.backends, ", "))
	if c.onOrigin() {
		paths := strings.Join(c.admin, ", ")
		if c.shop != "" {
			paths = c.adminPaths().String()
		}
		s += fmt.Sprintf("; %s from %s alone", paths, c.origin)
	}
	return s
}
