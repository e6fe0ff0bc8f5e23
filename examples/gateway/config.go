package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/foretier/foretier/router"
)

// A config is what the flags say, checked: nothing listens before it is whole.
type config struct {
	args               []string // which it was made of
	listen             string
	backends           []string
	backendsFile       string // which holds these; empty: none does
	redirects          string // file
	block              string // file
	maintenance        string // file
	origin             string // empty: no server is special
	admin              []string
	media              []string // of files that the origin has first
	shop               string   // empty: none that is known
	probe              string   // empty: passive
	probeHost          string   // empty: each backend's own
	policy             string
	requests           int      // at a backend at once; 0: no limit
	streams            int      // likewise
	streaming          []string // paths whose answers are streams
	via                string   // empty: made at random
	sticky             string   // cookie name; empty: no pins
	stickyKey          []byte
	cacheSize          int64 // bytes; 0: off
	snapshot           string
	warm               []string // URLs
	cacheTTL           time.Duration
	lifetimes          map[int]time.Duration // by status, in place of cacheTTL
	ignoreNoStore      bool
	ignoreNoVarySearch bool
	esi                bool
	compress           string   // on, private or off
	devices            bool     // tell phones and desktops apart, and no browsers
	fill               []string // fields that may go along with what fills the cache; nil: all
	bypass             []string // cookies whose bearers are not cached for
	bypassVar          []string // PHP session variables, likewise
	redisCache         string   // what the caches of several gateways tell one another by
	redisPages         string   // where copies of their pages are; "": there too
	redis              string   // sessions
	memcached          []string
	purgeFrom          []netip.Prefix
	purgeByHost        bool
	trust              []netip.Prefix
	trace              string         // pass, begin or clients
	observers          []netip.Prefix // who are shown how their requests went
	cert, key          string
	acme               acmeConfig
	http3              http3Config
	redirect           string // plain HTTP that is redirected; empty: none
	httpsPort          int    // to which
	pages              map[int][]byte
	errorPages         map[int][]byte       // in place of backends' errors
	answers            router.AnswerOptions // what else is changed of answers
	limits             []limitRule
	limitRedis         string
	guard              guardConfig
	status             string
	statusHosts        []string // further names of the status page
	actFrom            []netip.Prefix
	act                string // for a gateway that runs; empty: this one is to
	log                string
	logHits            int // of so many hits one has its line
	linger             time.Duration
	plainHTTP2         bool
	// In tests: what answers in place of the server at a URL, without a port.
	handlers map[string]http.Handler
}

const (
	maxPage       = 64 << 10
	minStickyKey  = 32
	defaultAdmin  = "/admin,/cron.php"
	minCacheBytes = 1 << 20
	defaultLinger = 10 * time.Second
)

// flags are what was given, and the configuration that is made of it.
type flags struct {
	c                                                        config
	backends, admin, media, bypass, bypassVar, keyFile, size string
	memcached, purge, trust, statusHosts, streaming, fill    string
	act, observers                                           string
	warm                                                     string
	basicPaths, askPaths, askFields, askCookies              string
	errorPages                                               string
	acme, acmeCA                                             string
	pages                                                    []string
	set                                                      map[string]bool // those that were given
	err                                                      error           // the first that check was told
}

// loopback is what whoever comes by a socket counts as.
var loopback = netip.AddrFrom4([4]byte{127, 0, 0, 1})

// noPages is the value of -redis-pages that keeps no copies anywhere.
const noPages = "none"

// parse reads the flags. Its errors say what is wrong and what would be right;
// [flag.ErrHelp] means that help was asked for and printed to out.
func parse(args []string, out io.Writer) (config, error) {
	fs := flag.NewFlagSet("gateway", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	f := &flags{set: make(map[string]bool)}
	f.c.args = args
	f.register(fs)
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(out, "Usage: gateway -backends URL,URL [flags]")
			fs.SetOutput(out)
			fs.PrintDefaults()
			return f.c, err
		}
		return f.c, fmt.Errorf("%w (-h lists all flags)", err)
	}
	if fs.NArg() > 0 {
		return f.c, fmt.Errorf("%q is no flag: the gateway takes flags only", fs.Arg(0))
	}
	fs.Visit(func(given *flag.Flag) { f.set[given.Name] = true })
	f.lists()
	if f.c.act != "" {
		f.checkStatus()
		if f.c.status == "" {
			f.check("act", f.c.act, errors.New("it needs the -status of the gateway that is meant, such as -status unix:/run/gateway/status.sock"))
		}
		return f.c, f.err
	}
	if file, ok := strings.CutPrefix(f.backends, "@"); ok {
		if err := f.readBackends(file); err != nil {
			return f.c, err
		}
	}
	if len(f.c.backends) == 0 {
		return f.c, errors.New("-backends is missing: want the application servers, such as -backends http://10.0.0.11:8080,http://10.0.0.12:8080")
	}
	f.checkBackends()
	f.checkLimits()
	f.checkLimitRules()
	f.checkGuards()
	f.checkAnswers()
	f.checkListening()
	f.checkHTTPS()
	f.checkHTTP3()
	f.checkSessions()
	f.checkCache()
	f.checkShop()
	if f.err == nil {
		f.err = f.readFiles()
	}
	return f.c, f.err
}

func (f *flags) register(fs *flag.FlagSet) {
	f.c.linger = defaultLinger
	fs.StringVar(&f.c.listen, "listen", ":8080", "`HOST:PORT` to serve on (not looked at if a service manager passes a socket; a second one is -status's); unix:/run/gateway/gateway.sock is a socket of this machine, for a proxy of the same user before the gateway, with :0660 behind it for one of its group")
	fs.StringVar(&f.backends, "backends", "", "`URL,URL` of the application servers, or @FILE with one a line (required); php-fpm is fcgi://10.0.0.11:9000?root=/var/www/shop or fcgi:///run/php/php8.2-fpm.sock?root=/var/www/shop, whose files are served from there (files=DIR: from there; files=none: they are not here). http+dns://shop:8080 stands for all addresses of a name, http+srv://shop.service.consul for its services (SRV), asked for each 5 s: in Kubernetes, Docker, Consul")
	fs.StringVar(&f.c.redirects, "redirects", "", "`FILE` of what has moved, CSV with a line such as /old,/new or shop.example/old,https://new.example/,308 for each")
	fs.StringVar(&f.c.block, "block", "", "`FILE` of addresses and networks, one a line, whose requests are answered 403")
	fs.StringVar(&f.c.maintenance, "maintenance", "", "`FILE` that puts the tier in maintenance while it is there: all get 503, but for the addresses and networks in it, one a line")
	fs.StringVar(&f.c.origin, "origin", "", "`URL` of the authoritative server: it alone gets -admin paths")
	fs.StringVar(&f.admin, "admin", defaultAdmin, "`PATHS` that only the origin may serve, whatever their spelling")
	fs.StringVar(&f.media, "media", "", "`PATHS` of files that are written at -origin and copied to the others, such as /media/*: what an application server does not have yet (404) is asked for there (default those of -shop; none: nothing is)")
	fs.StringVar(&f.c.shop, "shop", "", "`SHOP` that runs behind: magento, shopware, wordpress or oxid. Sets at once what is admin's (-admin adds to that; for magento it is the path of the admin pages), what is cached and under which key, and how purges are read (oxid: admin's alone)")
	fs.StringVar(&f.c.probe, "probe", "", "`PATH` that healthy backends answer with 2xx, such as /healthz, for php-fpm its ping.path (empty: judge by real requests alone)")
	fs.StringVar(&f.c.probeHost, "probe-host", "", "`HOST` that the probe asks for, such as shop.example (empty: each backend's own host and port, which many shops redirect)")
	fs.StringVar(&f.c.policy, "policy", "adaptive", "how a backend is picked: adaptive, roundrobin, least or hash")
	fs.IntVar(&f.c.requests, "max-requests", 100, "`NUMBER` of requests at each backend at once, beyond which they wait (0: no limit)")
	fs.IntVar(&f.c.streams, "max-streams", 1000, "`NUMBER` of websockets and event streams at each backend at once, which are not counted as requests (0: no limit)")
	fs.StringVar(&f.streaming, "streams", "", "`PATHS` whose answers last as long as their clients want, such as /poll,/live/*: they count as streams (websockets and event streams do by themselves)")
	fs.StringVar(&f.c.via, "via", "", "`NAME` of this tier in the Via of requests, by which loops end with 508 (empty: made at random; off: CDN-Loop in its place, for an nginx that compresses nothing behind a Via)")
	fs.StringVar(&f.c.sticky, "sticky", "", "`NAME` of the cookie that pins visitors to a backend (empty: none)")
	fs.StringVar(&f.keyFile, "sticky-key-file", "", "`FILE` with the key that signs pins, the same on every gateway (empty: from -redis, or new at each start)")
	fs.StringVar(&f.size, "cache", "256MiB", "`SIZE` of the cache in memory (0: off); the process takes 1.4 to 2.7 times as much and up to 512 MiB, unless GOMEMLIMIT says less or GOGC otherwise")
	fs.StringVar(&f.c.snapshot, "cache-snapshot", "", "`FILE` to which the cache is written after the drain, and from which it is read at the start (empty: it starts empty); each gateway has one of its own")
	fs.StringVar(&f.warm, "warm", "", "`FILE` of URLs as visitors ask for them, one a line, or a sitemap: what is in it is asked for at the start, four at once, so that it is cached")
	fs.Func("cache-ttl", "`LIFETIME` for answers that succeed and state none, such as 60s; errors such as 404 get 10s of it; other statuses by name, such as 60s,404=5s,302=10m (default 0: they are not stored)", func(s string) (err error) {
		f.c.cacheTTL, f.c.lifetimes, err = parseLifetimes(s)
		return err
	})
	fs.BoolVar(&f.c.ignoreNoStore, "cache-ignore-no-store", false, "store what visitors get who say no-store, as some scripts do with every reload (no-cache of theirs is ignored anyway)")
	fs.BoolVar(&f.c.ignoreNoVarySearch, "cache-ignore-no-vary-search", false, "tell URLs apart by their whole query, though answers say by No-Vary-Search that parts of it mean nothing")
	fs.BoolVar(&f.c.esi, "esi", false, "compose pages of the fragments that they include (esi:include), each of which is cached on its own; done where Surrogate-Control asks for ESI/1.0, with -shop magento in all HTML (default true with -shop magento and shopware)")
	fs.BoolVar(&f.c.devices, "cache-devices", false, "pages with Vary: User-Agent differ between phones and desktops only: store two of each, and not one for every version of every browser")
	fs.StringVar(&f.c.compress, "compress", "on", "`WHAT` text is compressed where clients accept that and backends have not done it: on (what is stored, once; the rest on its way, but for what sets a session or needs one, whose length would tell of its secrets: BREACH), private (that too) or off")
	fs.StringVar(&f.fill, "cache-fields", "", "`NAMES` of the fields that your pages depend on, such as X-Store,X-Shop-*, or none: a request with any but these and those that browsers send does not fill the cache, unless the answer's Vary names its fields (empty: any may)")
	fs.StringVar(&f.bypass, "cache-bypass-cookie", "", "`NAMES` of cookies whose bearers always get a fresh answer, such as cart,wordpress_logged_in_*")
	fs.StringVar(&f.bypassVar, "cache-bypass-session", "", "`VARIABLES` of PHP's sessions on -redis or -memcached, such as user,cart/items: a visitor who has any of them always gets a fresh answer")
	fs.StringVar(&f.c.redisCache, "redis-cache", "", "redis:// `URL` by which gateways tell one another what is purged: a PURGE at one is one at all (Prefer: wait=10 has it answered when that is so); they keep copies of their pages there for one another, too")
	fs.StringVar(&f.c.redisPages, "redis-pages", "", "redis:// `URL` of another Redis for those copies, or none (empty: that of -redis-cache)")
	fs.StringVar(&f.c.redis, "redis", "", "redis:// `URL` for sessions: gateways on one Redis share the key that signs pins, and can see who is logged in")
	fs.StringVar(&f.memcached, "memcached", "", "`HOST:PORT,...` of memcached servers for sessions, in place of -redis")
	fs.StringVar(&f.purge, "purge-from", "", "`CIDR,...` of clients who may PURGE a URL, or tags by PURGE, BAN and PURGEKEYS, and whose Cache-Control and Pragma the cache obeys (empty: nobody)")
	fs.BoolVar(&f.c.purgeByHost, "purge-by-host", false, "a purge by tags counts for the host that it is sent to alone: for several shops behind one gateway")
	fs.StringVar(&f.trust, "trust", "", "`CIDR,...` of proxies in front whose X-Forwarded-For and -Proto count (empty: nobody)")
	fs.StringVar(&f.c.trace, "trace", "pass", "`WHAT` becomes of traceparent and tracestate (W3C Trace Context): pass (as they came), begin (that of -trust counts, of all others a trace is begun; the log has its id) or clients (that of all counts, as for pages measured in the browser)")
	fs.StringVar(&f.observers, "observers", "", "`CIDR,...` of clients who are shown how their requests went: Server-Timing on every answer, and X-Route-Trace if they send a field of that name (empty: nobody)")
	fs.StringVar(&f.c.cert, "tls-cert", "", "`FILE` with the certificate chain in PEM: serve HTTPS")
	fs.StringVar(&f.c.key, "tls-key", "", "`FILE` with the certificate's key in PEM")
	f.registerHTTPS(fs)
	f.registerHTTP3(fs)
	f.registerLimits(fs)
	f.registerGuards(fs)
	f.registerAnswers(fs)
	fs.Func("error-page", "`STATUS=FILE`: a self-contained HTML page for the tier's own errors, such as 503=sorry.html (may be repeated)", func(s string) error {
		f.pages = append(f.pages, s)
		return nil
	})
	fs.StringVar(&f.c.status, "status", "", "`HOST:PORT,...` of the page on how the gateway is, of /healthz, /readyz, /status.json and /metrics (empty: none); unix:/run/gateway/status.sock is a socket of this machine, by which its user may steer, with :0660 behind it its group too")
	fs.StringVar(&f.statusHosts, "status-hosts", "", "`NAMES` under which /status.json and /metrics are asked for, such as gw1.internal (localhost, the host's name and its addresses always are)")
	fs.StringVar(&f.act, "act-from", "", "`CIDR,...` of clients who may steer at -status, by its page or by -act: drain and ready backends, purge (empty: nobody, but over a socket)")
	fs.StringVar(&f.c.act, "act", "", "`ORDER` for the gateway that runs with this -status, such as 'drain web2', 'maintenance web2', 'ready web2', 'purge tag product-7', 'purge url https://shop.example/a', 'purge host shop.example' or 'purge all' ('soft purge tag product-7' makes stale what the other removes); all other flags mean nothing then")
	fs.Func("linger", "`TIME` for which connections are still accepted after SIGTERM, while /readyz says no, so that balancers in front notice (default 10s; 0: none)", func(s string) (err error) {
		if f.c.linger, err = time.ParseDuration(s); err != nil || f.c.linger < 0 {
			return errors.New("want a time with its unit, such as 10s, or 0")
		}
		return nil
	})
	fs.BoolVar(&f.c.plainHTTP2, "plain-http2", false, "serve HTTP/2 without TLS too, to load balancers that begin with it (prior knowledge, h2c)")
	fs.StringVar(&f.c.log, "log", "text", "access log on standard error: text, json or off")
	fs.IntVar(&f.c.logHits, "log-hits", 1, "`NUMBER` of hits in the cache of which one, by chance, has its line in the log, which says so by sampled=NUMBER; what fails, takes a second or asks a backend has its line always")
}

// lists splits what holds several.
func (f *flags) lists() {
	c := &f.c
	c.backends, c.admin, c.bypass, c.memcached = list(f.backends), list(f.admin), list(f.bypass), list(f.memcached)
	c.bypassVar, c.statusHosts = list(f.bypassVar), list(f.statusHosts)
	c.streaming = list(f.streaming)
	f.listMedia()
	if c.shop != "" && !f.set["admin"] {
		c.admin = nil
	}
	if !f.set["esi"] {
		c.esi = presets[c.shop].esi
	}
	if c.fill = list(f.fill); f.fill == "none" {
		c.fill = []string{}
	}
}

// check takes what is wrong with a flag's value, or nil.
func (f *flags) check(name, value string, err error) {
	if err != nil && f.err == nil {
		f.err = fmt.Errorf("-%s %q: %w", name, shown(value), err)
	}
}

// readBackends reads the servers that are there at the start.
func (f *flags) readBackends(file string) error {
	content, err := readFile(file)
	if err == nil {
		f.c.backends, err = parseBackends(content)
	}
	if err != nil {
		return fmt.Errorf("-backends @%s: %w", file, err)
	}
	f.c.backendsFile = file
	return nil
}

// shown is a flag's value as an error shows it: without a user and password.
func shown(value string) string {
	if at := strings.LastIndexByte(value, '@'); at > 0 {
		return "..." + value[at:]
	}
	return value
}

func (f *flags) readFiles() (err error) {
	c := &f.c
	if c.stickyKey, err = readKey(c.sticky, f.keyFile); err != nil {
		return err
	}
	if err := checkPair(c.cert, c.key); err != nil {
		return err
	}
	if c.acme.roots, err = readRoots(f.acmeCA); err != nil {
		return err
	}
	if c.warm, err = readURLs(f.warm); err != nil {
		return err
	}
	if c.errorPages, err = readErrorPages(f.errorPages); err != nil {
		return err
	}
	c.pages, err = readPages(f.pages)
	return err
}
