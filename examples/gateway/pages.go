package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/foretier/foretier/cache"
	"github.com/foretier/foretier/cache/codings"
	"github.com/foretier/foretier/cache/esi"
	"github.com/foretier/foretier/cache/redistier"
	"github.com/foretier/foretier/router/compress"
	"github.com/foretier/foretier/router/edge"
	"github.com/foretier/foretier/session/php"
)

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
	t.cache = pages
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
		MaxBytes:           c.cacheSize,
		Rules:              cacheRules(c, loggedIn),
		IgnoreCookies:      cache.Analytics(),
		Orders:             c.purgeFrom,
		PurgeByHost:        c.purgeByHost,
		Lifetimes:          c.lifetimes,
		IgnoreNoStore:      c.ignoreNoStore,
		IgnoreNoVarySearch: c.ignoreNoVarySearch,
		Compress:           coders,
		FillFields:         fill,
		Feed:               feed,
		Store:              store,
		Logger:             t.log,
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
