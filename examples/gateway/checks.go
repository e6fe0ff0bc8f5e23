package main

import (
	"errors"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

func (f *flags) checkBackends() {
	c := &f.c
	for _, b := range c.backends {
		f.check("backends", b, checkBackend(b))
		if _, ok := lookup(b); ok && len(c.backends) > 1 {
			f.check("backends", b, errors.New("a name server knows which backends there are: want it alone"))
		}
	}
	switch {
	case c.origin != "":
		f.check("origin", c.origin, checkBackend(c.origin))
		if _, ok := lookup(c.origin); ok {
			f.check("origin", c.origin, errors.New("the origin is one server: want its own URL, such as http://10.0.0.10:8080"))
		}
		if len(c.admin) == 0 && c.shop == "" {
			f.check("admin", f.admin, errors.New("want the paths that -origin alone may answer, such as "+defaultAdmin))
		}
	case f.set["admin"] && len(c.admin) > 0:
		f.check("admin", f.admin, errors.New("it needs -origin URL, the server that alone may answer these paths"))
	}
	for _, p := range c.admin {
		f.check("admin", p, checkPath(p, "/admin"))
	}
	f.checkMedia()
	if c.probe != "" {
		f.check("probe", c.probe, checkPath(c.probe, "/healthz"))
	}
	if c.probeHost != "" {
		f.check("probe-host", c.probeHost, checkProbeHost(c.probeHost, c.probe))
		if slices.ContainsFunc(c.backends, isFCGI) {
			f.check("probe-host", c.probeHost, errors.New("it means nothing with backends of fcgi://, whose -probe is php-fpm's ping.path"))
		}
	}
	if _, _, err := splitBackends(c.backends); err != nil {
		f.check("backends", f.backends, err)
	}
	if _, ok := policies[c.policy]; !ok {
		f.check("policy", c.policy, errors.New("want adaptive, roundrobin, least or hash"))
	}
}

func (f *flags) checkLimits() {
	c := &f.c
	for _, p := range c.streaming {
		f.check("streams", p, checkPath(strings.TrimSuffix(p, "/*"), "/live/*"))
	}
	if c.requests < 0 {
		f.check("max-requests", strconv.Itoa(c.requests), errors.New("want a number such as 100, or 0 for no limit"))
	}
	if c.streams < 0 {
		f.check("max-streams", strconv.Itoa(c.streams), errors.New("want a number such as 1000, or 0 for no limit"))
	}
}

func (f *flags) checkListening() {
	c := &f.c
	f.check("listen", c.listen, checkPlace(c.listen, "unix:/run/gateway/gateway.sock"))
	f.checkStatus()
	for _, h := range c.statusHosts {
		f.check("status-hosts", h, checkHost(h))
	}
	if len(c.statusHosts) > 0 && c.status == "" {
		f.check("status-hosts", f.statusHosts, errors.New("it needs -status HOST:PORT"))
	}
	var err error
	c.actFrom, err = prefixes(f.act)
	f.check("act-from", f.act, err)
	if f.act != "" && c.status == "" {
		f.check("act-from", f.act, errors.New("it needs -status HOST:PORT"))
	}
	if c.compress != "on" && c.compress != "private" && c.compress != "off" {
		f.check("compress", c.compress, errors.New("want on, private or off"))
	}
	if c.log != "text" && c.log != "json" && c.log != "off" {
		f.check("log", c.log, errors.New("want text, json or off"))
	}
	if c.logHits < 1 {
		f.check("log-hits", strconv.Itoa(c.logHits), errors.New("want a number such as 100, or 1 for a line of each"))
	}
	c.trust, err = prefixes(f.trust)
	f.check("trust", f.trust, err)
	if isSocket(c.listen) && !slices.ContainsFunc(c.trust, func(p netip.Prefix) bool { return p.Contains(loopback) }) {
		f.check("listen", c.listen, errors.New("whoever comes by a socket counts as 127.0.0.1, so it needs -trust 127.0.0.1: the proxy before it says who asks"))
	}
	if c.trace != "pass" && c.trace != "begin" && c.trace != "clients" {
		f.check("trace", c.trace, errors.New("want pass, begin or clients"))
	}
	c.observers, err = prefixes(f.observers)
	f.check("observers", f.observers, err)
}

func (f *flags) checkStatus() {
	for _, at := range list(f.c.status) {
		f.check("status", at, checkPlace(at, "unix:/run/gateway/status.sock"))
	}
}

func (f *flags) checkSessions() {
	c := &f.c
	if c.sticky != "" {
		f.check("sticky", c.sticky, checkCookie(c.sticky))
	}
	for _, a := range c.memcached {
		f.check("memcached", a, checkListen(a))
	}
	if c.redis != "" {
		f.check("redis", c.redis, checkRedis(c.redis))
	}
	switch {
	case c.redis != "" && len(c.memcached) > 0:
		f.check("memcached", f.memcached, errors.New("sessions live in one place: want -redis or -memcached, not both"))
	case len(c.bypassVar) > 0 && c.redis == "" && len(c.memcached) == 0:
		f.check("cache-bypass-session", f.bypassVar, errors.New("it needs -redis URL or -memcached HOST:PORT, where PHP keeps its sessions"))
	}
	if c.sticky == "" && len(c.bypassVar) == 0 {
		f.unused(map[string]string{"redis": c.redis, "memcached": f.memcached},
			"nothing would use it: want -sticky NAME, whose key it keeps, or -cache-bypass-session")
	}
}

func (f *flags) checkCache() {
	c := &f.c
	for _, name := range c.bypass {
		f.check("cache-bypass-cookie", name, checkCookie(name))
	}
	for _, name := range c.fill {
		f.check("cache-fields", name, checkField(name))
	}
	var err error
	c.cacheSize, err = parseSize(f.size)
	f.check("cache", f.size, err)
	if c.redisCache != "" {
		f.check("redis-cache", c.redisCache, checkRedis(c.redisCache))
	}
	if c.snapshot != "" && c.cacheSize > 0 {
		f.check("cache-snapshot", c.snapshot, checkSnapshot(c.snapshot))
	}
	if c.redisPages != "" && c.redisPages != noPages {
		f.check("redis-pages", c.redisPages, checkRedis(c.redisPages))
	}
	if c.redisPages != "" && c.redisCache == "" {
		f.check("redis-pages", c.redisPages, errors.New("it needs -redis-cache URL, which says what of them is out of date"))
	}
	c.purgeFrom, err = prefixes(f.purge)
	f.check("purge-from", f.purge, err)
	if c.purgeByHost && f.purge == "" {
		f.check("purge-by-host", "true", errors.New("it needs -purge-from CIDR, the servers that send purges"))
	}
	if c.cacheSize == 0 {
		const why = "it means nothing with -cache 0: want one of the two"
		f.unused(map[string]string{"cache-snapshot": c.snapshot, "warm": f.warm, "redis-cache": c.redisCache, "redis-pages": c.redisPages, "purge-from": f.purge, "cache-fields": f.fill, "cache-bypass-cookie": f.bypass, "cache-bypass-session": f.bypassVar}, why)
		if c.cacheTTL > 0 || len(c.lifetimes) > 0 {
			f.check("cache-ttl", c.cacheTTL.String(), errors.New(why))
		}
		for name, set := range map[string]bool{"cache-ignore-no-store": c.ignoreNoStore, "cache-ignore-no-vary-search": c.ignoreNoVarySearch} {
			if set {
				f.check(name, "true", errors.New(why))
			}
		}
	}
}

// unused refuses flags that are given and mean nothing.
func (f *flags) unused(values map[string]string, why string) {
	for name, value := range values {
		if value != "" {
			f.check(name, value, errors.New(why))
		}
	}
}
