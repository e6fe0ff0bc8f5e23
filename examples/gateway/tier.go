package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/foretier/foretier/balancer"
	"github.com/foretier/foretier/cache"
	"github.com/foretier/foretier/cache/codings"
	"github.com/foretier/foretier/cache/esi"
	"github.com/foretier/foretier/cache/redistier"
	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/health/metrics"
	"github.com/foretier/foretier/health/status"
	"github.com/foretier/foretier/router"
	"github.com/foretier/foretier/router/compress"
	"github.com/foretier/foretier/router/edge"
	"github.com/foretier/foretier/session"
	"github.com/foretier/foretier/session/php"
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
	origin        *balancer.Pool // nil: no server is special
	admin         router.Matcher // what is its alone
	purge         http.Handler   // nil: nobody may
	shop, streams http.Handler   // the pool, and what stands before it
	front         *router.Router
	claims        []router.Claim          // proved before anything is served
	certificates  *edge.CertificateSource // nil: plain
	snapshot      *snapshot               // nil: none

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
	var shop http.Handler = t.apps
	if c.cacheSize > 0 {
		if shop, err = t.cached(t.apps); err != nil {
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
		if t.origin, err = t.pool("origin", []string{c.origin}, balancer.Options{}); err != nil {
			return nil, fmt.Errorf("-origin: %w", err)
		}
		t.claims = append(t.claims, router.Only(t.origin).For(t.admin))
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
	c := t.config
	var rules []router.Rule
	if t.purge != nil { // in maintenance, too
		rules = append(rules, router.Rule{Name: "purge", When: router.Method(cache.PurgeMethods()...), To: t.purge})
	}
	rules = append(rules, m.maintenance()...)
	if t.origin != nil {
		rules = append(rules, router.Rule{Name: "admin", When: t.admin, To: t.origin, Timeouts: adminTimeouts, MaxBody: adminBody})
	}
	rules = append(rules, m.redirects()...)
	if len(c.streaming) > 0 {
		rules = append(rules, router.Rule{Name: "streams", When: router.Path(c.streaming...), To: streams, Streams: true})
	}
	rules = append(rules, presets[c.shop].own...)
	return append(rules, router.Rule{Name: "shop", To: shop})
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
	apps, err := t.pool("apps", c.backends, opts)
	if err != nil {
		return nil, fmt.Errorf("-backends: %w", err)
	}
	return apps, nil
}

// pool returns a pool as the flags want all of them.
func (t *tier) pool(name string, urls []string, opts balancer.Options) (*balancer.Pool, error) {
	c := t.config
	opts.Name, opts.Logger = name, t.log
	if opts.Via = c.via; c.via == "off" {
		opts.Via = balancer.NoVia
	}
	opts.Limits = balancer.Limits{InFlight: c.requests, Streams: c.streams, Queue: queueLen, Wait: queueWait}
	if c.probe != "" {
		opts.Probe = &health.HTTPProbe{Path: c.probe, Host: c.probeHost}
	}
	p, err := balancer.New(balancer.Backends(urls...), opts)
	if err != nil {
		return nil, err
	}
	t.background = append(t.background, p)
	t.reporters = append(t.reporters, p)
	return p, nil
}

// compressed returns the shop with what is not stored compressed, if that is wanted.
func (t *tier) compressed(shop http.Handler) (http.Handler, error) {
	if t.config.compress == "off" {
		return shop, nil
	}
	zip, err := compress.New(compress.Options{Private: t.config.compress == "private", IgnoreCookies: cache.Analytics()})
	if err != nil {
		return nil, fmt.Errorf("-compress: %w", err)
	}
	t.reporters = append(t.reporters, zip)
	return zip.Handler(shop), nil
}

// cached returns the shop with the cache before it, and has purges go to that.
func (t *tier) cached(shop http.Handler) (http.Handler, error) {
	pages, err := t.pages()
	if err != nil {
		return nil, err
	}
	if from := t.config.purgeFrom; len(from) > 0 {
		if t.purge, err = pages.PurgeHandler(from); err != nil {
			return nil, fmt.Errorf("-purge-from: %w", err)
		}
	}
	return pages.Handler(shop), nil
}

// pages returns the cache.
func (t *tier) pages() (*cache.Cache, error) {
	c := t.config
	loggedIn := func(*http.Request) bool { return false }
	if len(c.bypassVar) > 0 {
		visitors, err := t.phpSessions()
		if err != nil {
			return nil, err
		}
		loggedIn = visitors.Has(c.bypassVar...)
		t.reporters = append(t.reporters, visitors)
	}
	fill := c.fill
	if fill != nil {
		fill = slices.Concat(cache.BrowserFields(), fill)
		if len(c.trust) > 0 {
			fill = append(fill, "Via") // of the proxies in front
		}
	}
	feed, store, err := t.share()
	if err != nil {
		return nil, err
	}
	var coders []cache.Coder
	if c.compress != "off" {
		coders = codings.All()
	}
	pages, err := cache.New(cache.Options{
		MaxBytes:      c.cacheSize,
		Rules:         cacheRules(c, loggedIn),
		IgnoreCookies: cache.Analytics(),
		Orders:        c.purgeFrom,
		PurgeByHost:   c.purgeByHost,
		Lifetimes:     c.lifetimes,
		IgnoreNoStore: c.ignoreNoStore,
		Compress:      coders,
		FillFields:    fill,
		Feed:          feed,
		Store:         store,
		Logger:        t.log,
	})
	if err != nil {
		return nil, fmt.Errorf("-cache, -cache-ttl: %w", err)
	}
	t.background = append(t.background, pages)
	t.reporters = append(t.reporters, pages)
	if c.snapshot != "" {
		t.snapshot = &snapshot{pages: pages, path: c.snapshot, log: t.log}
		t.snapshot.load()
		t.closers = append(t.closers, t.snapshot)
	}
	return pages, nil
}

// composed returns the shop with its pages composed. Their fragments go through all
// rules, as what the visitor asks for does.
func (t *tier) composed(shop http.Handler) (http.Handler, error) {
	opts := esi.Options{Logger: t.log}
	if presets[t.config.shop].mute {
		opts.Also = esi.HTML
	}
	processor, err := esi.New(opts)
	if err != nil {
		return nil, fmt.Errorf("-esi: %w", err)
	}
	t.reporters = append(t.reporters, processor)
	return processor.Handler(shop), nil
}

// listen makes the server in front of the router, and the status page of all.
func (t *tier) listen() error {
	c := t.config
	opts := edge.Options{
		Listener:    t.sockets.gate.behind(t.sockets.main),
		Trusted:     c.trust,
		Observers:   c.observers,
		Tracing:     edge.Tracing{Begin: c.trace != "pass", Anybody: c.trace == "clients"},
		Pages:       c.pages,
		Linger:      cmp.Or(c.linger, -1), // of which edge knows 0 as its default
		Logger:      t.log,
		NoAccessLog: c.log == "off",
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
	if t.srv, err = edge.New(t.front, opts); err != nil {
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

// share opens what the gateways have in common: what they tell one another by what is
// purged, and where the copies of their pages are; nil for what there is not.
func (t *tier) share() (feed cache.Feed, store cache.Store, err error) {
	c := t.config
	if c.redisCache == "" {
		return nil, nil, nil
	}
	log, err := t.redisTier("redis-cache", c.redisCache, c.redisPages == "")
	if err != nil {
		return nil, nil, err
	}
	switch c.redisPages {
	case "":
		return log, log, nil
	case noPages:
		return log, nil, nil
	}
	pages, err := t.redisTier("redis-pages", c.redisPages, true)
	if err != nil {
		return nil, nil, err
	}
	return log, pages, nil
}

// redisTier opens a Redis that gateways share.
func (t *tier) redisTier(flag, url string, pages bool) (*redistier.Tier, error) {
	opts, err := redis.ParseURL(url)
	if err != nil {
		return nil, fmt.Errorf("-%s: %w", flag, err)
	}
	opts.ContextTimeoutEnabled = true
	opts.MaxRetries, opts.DialerRetries = -1, 1 // the cache asks again itself
	client := redis.NewClient(opts)
	shared, err := redistier.New(client, redistier.Options{Gateway: gatewayName(t.config.listen)})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("-%s: %w", flag, err), client.Close())
	}
	t.closers = append([]io.Closer{shared, client}, t.closers...)
	if flag == "redis-pages" {
		return shared, nil // which may evict and refuse what it likes
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	switch err := shared.Check(ctx); {
	case errors.Is(err, redistier.ErrEvicts):
		t.log.Warn("give the cache a Redis that does not evict its log", "cause", err)
	case pages && errors.Is(err, redistier.ErrFills):
		t.log.Warn("give the cache a Redis that evicts pages, or another one for those by -redis-pages", "cause", err)
	}
	return shared, nil
}

// gatewayName is how the others call this gateway: by its host and port, or "" if it
// has no port of its own.
func gatewayName(listen string) string {
	host, err := os.Hostname()
	_, port, _ := net.SplitHostPort(listen)
	if err != nil || port == "" || port == "0" {
		return ""
	}
	name := net.JoinHostPort(host, port)
	if edge.Succeeds() { // the one before is still there, and will say that it leaves
		name += "/" + strconv.Itoa(os.Getpid())
	}
	return name
}

// phpSessions opens the store where PHP keeps its sessions.
func (t *tier) phpSessions() (*php.Reader, error) {
	c := t.config
	var source php.Source
	if c.redis != "" {
		opts, err := redis.ParseURL(c.redis)
		if err != nil {
			return nil, fmt.Errorf("-redis: %w", err)
		}
		opts.ContextTimeoutEnabled = true
		client := redis.NewClient(opts)
		t.closers = append(t.closers, client)
		source = php.Redis(client, "")
	} else {
		var err error
		if source, err = php.Memcached(c.memcached...); err != nil {
			return nil, fmt.Errorf("-memcached: %w", err)
		}
	}
	visitors, err := php.New(source, php.Options{Logger: t.log})
	if err != nil {
		return nil, fmt.Errorf("-cache-bypass-session: %w", err)
	}
	t.closers = append([]io.Closer{visitors}, t.closers...)
	return visitors, nil
}

// cacheRules are what the flags add to RFC 9111: the shop's, and what is said besides.
func cacheRules(c config, loggedIn func(*http.Request) bool) cache.Rules {
	rules := cache.Rules{
		// Cookies that are ignored, those of the pool among them, must not be looked at.
		PlanByURL: !c.devices && !overlap(c.bypass, append(cache.Analytics(), c.sticky)),
		Plan:      func(*http.Request) cache.Plan { return cache.Plan{Query: cache.Query{Drop: cache.Tracking()}} },
		Retention: func(_ *http.Request, _ cache.Head, v cache.Retention) cache.Retention { return v },
	}
	if shop := presets[c.shop].rules; shop != nil {
		rules = shop()
	}
	rules.Version = rulesVersion(c)
	plan, retention := rules.Plan, rules.Retention
	rules.Plan = func(r *http.Request) cache.Plan {
		switch {
		case cache.HasCookie(r, c.bypass...):
			return cache.Plan{Pass: true, Why: "cookie"}
		case loggedIn(r):
			return cache.Plan{Pass: true, Why: "session"}
		}
		p := plan(r)
		if c.devices {
			p.Classes = cache.Devices(r)
		}
		return p
	}
	rules.Retention = func(r *http.Request, head cache.Head, v cache.Retention) cache.Retention {
		if _, own := c.lifetimes[head.Status]; v.Store && !v.Stated && c.cacheTTL > 0 && !own {
			v.Fresh = c.cacheTTL
		}
		return retention(r, head, v)
	}
	return rules
}

// overlap reports whether a name of one list may be one of the other's: "_ga*" is
// all that begin so.
func overlap(some, others []string) bool {
	begins := func(name, with string) bool {
		prefix, many := strings.CutSuffix(with, "*")
		return name == with || many && strings.HasPrefix(name, prefix)
	}
	for _, a := range some {
		for _, b := range others {
			if begins(strings.TrimSuffix(a, "*"), b) || begins(strings.TrimSuffix(b, "*"), a) {
				return true
			}
		}
	}
	return false
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
