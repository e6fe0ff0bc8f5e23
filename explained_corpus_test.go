package foretier_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/foretier/foretier/balancer"
	"github.com/foretier/foretier/cache"
	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/router"
	"github.com/foretier/foretier/router/edge"
	"github.com/foretier/foretier/session"
)

// plays is how many tiers are made up.
const plays = 200

// A play is a tier, which its seed makes up, and what happens to it.
type play struct {
	seed  uint64
	steps []step
}

// A step is what happens, and then a request.
type step struct {
	change  string // in words: see tier.change
	from    string // the request's peer
	request string // as it comes; <web1> stands for the cookie that binds to web1
}

func (p play) String() string {
	var b strings.Builder
	for _, s := range p.steps {
		if s.change != "" {
			fmt.Fprintf(&b, "  %s\n", s.change)
		}
		fmt.Fprintf(&b, "  from %s: %q\n", s.from, s.request)
	}
	return b.String()
}

// calm reports whether nothing in p goes by chance, so that two tiers that play it
// are alike: no policy draws, and nobody is ejected, which is for a time that is
// drawn, too.
func (p play) calm() bool { return p.seed%2 == 0 }

// A maker makes up things.
type maker struct{ *rand.Rand }

func oneOf[T any](m maker, of ...T) T { return of[m.IntN(len(of))] }

// someOf returns one to three of a list.
func someOf[T any](m maker, of ...T) []T {
	of = slices.Clone(of)
	m.Shuffle(len(of), func(i, j int) { of[i], of[j] = of[j], of[i] })
	return of[:1+m.IntN(min(3, len(of)))]
}

func newPlay(seed uint64) play {
	m := maker{rand.New(rand.NewPCG(seed, 1))}
	p := play{seed: seed}
	often := someOf(m, targets...) // so that what is stored is asked for
	for range 25 {
		s := step{from: oneOf(m, peers...), request: m.request(often)}
		if m.IntN(3) == 0 {
			s.change = m.change(p.calm())
		}
		p.steps = append(p.steps, s)
	}
	return p
}

func (m maker) change(calm bool) string {
	server := oneOf(m, "web1", "web2", "web3")
	if !calm && m.IntN(3) == 0 {
		return oneOf(m, "sick ", "dying ", "well ", "eject ") + server
	}
	switch m.IntN(8) {
	case 0, 1:
		return "sleep " + oneOf(m, "1s", "5s", "15s", "70s", "200s")
	case 2:
		return "purge " + oneOf(m, "all", "tag", "hard")
	case 3:
		return oneOf(m, "drain ", "maintenance ", "ready ", "ready ") + server
	case 4:
		return oneOf(m, "down ", "up ", "up ") + server
	case 5:
		return "release"
	}
	return "occupy " + oneOf(m, peers...) + " " + oneOf(m, "/hold/1", "/hold/2", "/hold/3", "/stream/1")
}

var (
	servers = []string{"web0", "web1", "web2", "web3"}
	peers   = []string{"192.0.2.1:1", "192.0.2.2:1", "198.51.100.7:1", "10.0.0.1:1", "10.0.0.2:1", "[2001:db8::1]:1"}
	trusted = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}

	targets = []string{
		"/", "/page/1", "/page/1", "/page/2", "/page/2?utm_source=a", "/page/2?b=1", "/vary/1", "/swr/1", "/swr/1", "/public/1", "/private/1", "/private/1",
		"/login", "/cart", "/media/1", "/media/gone", "/gone", "/hold/1", "/hold/4", "/stream/1", "/old/1", "/base/secret",
		"/page/1", "/page/2", "/swr/1", "/public/1", "/vary/1", "/media/1", "/hold/1", "/hold/2", "/stream/1", "/private/1", "/cart",
		"/admin", "/admin/x", "/%61dmin", "//admin", "/x/../admin", "/admin;x", "/index.php/admin", "/ADMIN", "/%2561dmin", "/page/../media/1", "/media/%2e%2e/page/1",
		"/page/%2F1", "/page/1;v=2", "/../x", "/a%00", "/t%C3%BCr", "/page/1#x", "http://shop.example/page/1", "*", "/secret", "/" + strings.Repeat("long", 60),
	}
	hosts  = []string{"shop.example:80", "SHOP.example", "www.shop.example", "other.example", "[::1]:8080", "a b", "..", ""}
	fields = []string{
		"Cookie: <web1>", "Cookie: <web2>", "Cookie: <web3>; a=b", "Cookie: route=forged", "Cookie: arm=b", "Cookie: arm=a; sid=1", "Cookie: sid=1", "Cookie: _ga=1", "Cookie: group=b", "Cookie: PHPSESSID=7",
		"Authorization: Basic x", "Range: bytes=0-1", "Range: bytes=0-1,3-4", `If-None-Match: "a"`, `If-Match: "a"`, `If-Range: "a"`,
		"Accept-Language: de", "Accept-Language: en", "Accept-Encoding: gzip", "Accept-Encoding: gzip, br;q=0", "Accept: text/event-stream", "X-V: 1", "X-V: 2", "X-New: 1",
		"Cache-Control: no-cache", "Cache-Control: only-if-cached", "Cache-Control: max-stale", "Cache-Control: no-store", "Pragma: no-cache",
		"X-Forwarded-For: 192.0.2.9", "X-Forwarded-For: 198.51.100.7, 10.0.0.9", "X-Forwarded-Proto: https", "X-Forwarded-Host: other.example", "X-Original-URL: /admin", "Forwarded: for=192.0.2.9",
		"X-Route-Trace: 1", "X-Request-Id: 1", "Via: 1.1 apps", "Connection: X-V", "Connection: Upgrade\r\nUpgrade: websocket", "Connection: close", "Max-Forwards: 0", "X-Refuse: 1",
		"Origin: https://other.example", "Sec-Fetch-Site: cross-site",
	}
)

// request makes up a request, of often most of the time.
func (m maker) request(often []string) string {
	method, target, version, host := "GET", oneOf(m, often...), "HTTP/1.1", "shop.example"
	if m.IntN(4) == 0 {
		method = oneOf(m, "HEAD", "HEAD", "POST", "POST", "POST", "OPTIONS", "PURGE", "TRACE")
	}
	if m.IntN(3) == 0 {
		target = oneOf(m, targets...)
	}
	if m.IntN(8) == 0 {
		version = "HTTP/1.0"
	}
	if m.IntN(4) == 0 {
		host = oneOf(m, hosts...)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s %s\r\nHost: %s\r\n", method, target, version, host)
	for range m.IntN(4) {
		b.WriteString(oneOf(m, fields...) + "\r\n")
	}
	if body := oneOf(m, "", "0123456789", "0123456789abc"); method == "POST" {
		fmt.Fprintf(&b, "Content-Length: %d\r\n\r\n%s", len(body), body)
		return b.String()
	}
	return b.String() + "\r\n"
}

// A tier is a chain from edge to servers, all in this process.
type tier struct {
	maker
	srv                 *edge.Server
	routers             []*router.Router
	pages               *cache.Cache
	apps, origin, based *balancer.Pool
	blue                *balancer.Excerpt
	sticky, pins        *session.Sticky // the pool's, and one that makes the cookies that it takes
	sessions            *session.Manager
	calm                bool
	names               int // of routers
	stop                context.CancelFunc
	running, holding    sync.WaitGroup

	mu     sync.Mutex
	asked  []string          // guarded by mu: what servers were asked
	states map[string]string // guarded by mu: of servers
	hold   chan struct{}     // guarded by mu: closed when what servers hold is let go
}

func newTier(t *testing.T, seed uint64) *tier {
	ti := &tier{maker: maker{rand.New(rand.NewPCG(seed, 2))}, states: make(map[string]string), hold: make(chan struct{}), calm: play{seed: seed}.calm()}
	quiet := slog.New(slog.DiscardHandler)
	ti.sticky = must(session.NewSticky(make([]byte, 32), session.StickyOptions{Always: ti.IntN(3) == 0}))
	ti.pins = must(session.NewSticky(make([]byte, 32), session.StickyOptions{}))
	ti.sessions = must(session.New(session.Memory(), session.Options{}))
	admin := router.Admin("/admin")
	opts := balancer.Options{
		Name: "apps", Via: "apps", Logger: quiet, Policy: ti.policy(), Affinity: ti.sticky,
		Refuse: oneOf[router.Matcher](ti.maker, admin, router.Any(admin, router.Header("X-Refuse")), router.Any(admin, router.Header("X-V", "2"), router.Header("X-Forwarded-Proto", "https"))),
		Probe:  health.ProbeFunc(ti.probe),
		Limits:  balancer.Limits{Streams: oneOf(ti.maker, 0, 1)},
	}
	if ti.IntN(4) > 0 {
		opts.Limits.InFlight, opts.Limits.Queue, opts.Limits.Wait = 1+ti.IntN(2), oneOf(ti.maker, -1, 1, 4), time.Second
	}
	backend := func(name string, tier int) balancer.Backend {
		return balancer.Backend{Name: name, Handler: ti.server(name), Tier: tier, Weight: 1 + ti.IntN(2)}
	}
	ti.apps = must(balancer.New([]balancer.Backend{backend("web1", 0), backend("web2", 0), backend("web3", ti.IntN(2))}, opts))
	ti.blue = ti.apps.Only("blue", func(s balancer.Status) bool { return s.Name == "web2" })
	ti.origin = must(balancer.New([]balancer.Backend{backend("web0", 0)}, balancer.Options{Name: "origin", Via: "origin", Logger: quiet}))
	ti.based = must(balancer.New([]balancer.Backend{{Name: "web1", URL: "http://web1.example/base"}}, balancer.Options{
		Name: "based", Via: "based", Logger: quiet, Refuse: router.Path("/base/secret", "/base/base/secret"),
		Transport: func(b balancer.Backend) http.RoundTripper { return direct{ti.server(b.Name)} },
	}))
	pages := cache.Options{Logger: quiet, IgnoreCookies: cache.Analytics(), Rules: cache.Rules{Plan: ti.plan()}}
	if ti.IntN(2) == 0 {
		pages.Orders = trusted
	}
	if ti.IntN(3) == 0 {
		pages.FillFields = cache.BrowserFields()
	}
	ti.pages = must(cache.New(pages))
	front := ti.router("router", func(name string) http.Handler { return ti.handler(name, 2) })
	ti.srv = must(edge.New(front, edge.Options{
		Logger: quiet, Trusted: trusted, Listener: nobodyComes{}, Limits: edge.Limits{Target: 200},
	}))
	ctx, stop := context.WithCancel(context.Background())
	ti.stop = stop
	ti.running.Go(func() { _ = ti.apps.Run(ctx) })
	time.Sleep(2 * time.Minute) // until all are known to be up, for long
	return ti
}

func (ti *tier) close() {
	ti.release()
	ti.stop()
	ti.running.Wait()
	ti.holding.Wait()
	for _, c := range []io.Closer{ti.apps, ti.origin, ti.based, ti.pages, ti.sessions, ti.srv} {
		_ = c.Close()
	}
	synctest.Wait()
}

// policy is one that draws in every other tier.
func (ti *tier) policy() balancer.Policy {
	if !ti.calm {
		return oneOf(ti.maker, balancer.Adaptive(), balancer.LeastInFlight(), balancer.First())
	}
	byPath := func(r *http.Request) string {
		return r.URL.Path + r.Header.Get("Cookie") + r.Header.Get("X-Forwarded-Proto")
	}
	return oneOf(ti.maker, balancer.First(), balancer.RoundRobin(), balancer.Hash(nil, -1), balancer.Hash(byPath, 0))
}

func (ti *tier) plan() func(*http.Request) cache.Plan {
	cookies := oneOf(ti.maker, nil, []string{"group"})
	return func(r *http.Request) cache.Plan {
		return cache.Plan{Pass: strings.HasPrefix(r.URL.Path, "/cart"), Why: "a rule", Key: r.Header["X-V"], Cookies: cookies, Query: cache.Query{Drop: cache.Tracking()}}
	}
}

// handler makes up what a rule leads to.
func (ti *tier) handler(name string, depth int) http.Handler {
	below := func(more string) http.Handler { return ti.handler(name+more, depth-1) }
	if depth > 0 {
		switch ti.IntN(12) {
		case 0:
			return router.Fallback(ti.bottom(), ti.origin)
		case 1:
			return must(router.NewSplit("arm", router.Arm{Name: "a", Weight: 1, To: below(".a")}, router.Arm{Name: "b", Weight: 1, To: below(".b")}))
		case 2:
			return ti.router(ti.inner(), func(inner string) http.Handler { return below("." + inner) })
		case 3:
			return oneOf(ti.maker, router.Maintenance(time.Minute), router.NotAuthority("web0"), router.Redirect(308, "https://shop.example{path}{query}"))
		case 4:
			return ti.sessions.Handler(below(".s"))
		case 5:
			h := below(".w")
			return health.Wrap(compressed(h), h)
		}
	}
	return ti.cached(ti.below())
}

// below makes up what stands below a cache.
func (ti *tier) below() http.Handler {
	switch ti.IntN(8) {
	case 0:
		return router.Fallback(ti.apps, ti.origin)
	case 1:
		return must(router.NewSplit("arm", router.Arm{Name: "a", Weight: 1, To: ti.apps}, router.Arm{Name: "b", Weight: 1, To: ti.blue}))
	case 2:
		return health.Wrap(compressed(ti.apps), ti.apps)
	case 3:
		return ti.router(ti.inner(), func(string) http.Handler { return ti.bottom() })
	}
	return ti.bottom()
}

func (ti *tier) bottom() http.Handler {
	return oneOf[http.Handler](ti.maker, ti.apps, ti.apps, ti.apps, ti.blue, ti.origin, ti.based)
}

func (ti *tier) cached(h http.Handler) http.Handler {
	if ti.IntN(4) == 0 {
		return h
	}
	return ti.pages.Handler(h)
}

// inner names one more router.
func (ti *tier) inner() string {
	ti.names++
	return fmt.Sprint("inner ", ti.names)
}

// router makes up a table of rules that router.New takes.
func (ti *tier) router(name string, to func(string) http.Handler) *router.Router {
	for {
		rules := []router.Rule{{Name: "admin", When: router.Admin("/admin"), To: ti.origin}}
		for i := range ti.IntN(5) {
			rule := router.Rule{Name: fmt.Sprint("r", i), When: ti.matcher(1)}
			rule.To = to(rule.Name)
			switch ti.IntN(8) {
			case 0:
				rule.Allow = []netip.Prefix{netip.MustParsePrefix(oneOf(ti.maker, "10.0.0.0/8", "192.0.2.0/25"))}
			case 1:
				rule.MaxBody = 3
			case 2:
				rule.Limit = router.Limit{Rate: 0.05, Burst: 1 + ti.IntN(3)}
			case 3:
				rule.Limit.InFlight = 1
			case 4:
				rule.Use = []func(http.Handler) http.Handler{traced}
			case 5:
				rule.Use = []func(http.Handler) http.Handler{traced, router.SameOrigin()}
			case 6:
				rule.Streams = true
			}
			rules = append(rules, rule)
		}
		rules = append(rules, router.Rule{Name: "rest", To: to("rest")})
		if rt, err := router.New(router.Options{Name: name, Logger: slog.New(slog.DiscardHandler)}, rules...); err == nil {
			ti.routers = append(ti.routers, rt)
			return rt
		}
	}
}

func (ti *tier) matcher(depth int) router.Matcher {
	n := 6
	if depth > 0 {
		n = 10
	}
	parts := func() []router.Matcher { return []router.Matcher{ti.matcher(depth - 1), ti.matcher(depth - 1)} }
	switch ti.IntN(n) {
	case 0:
		return router.Method(someOf(ti.maker, "GET", "HEAD", "POST")...)
	case 1:
		return router.Host(someOf(ti.maker, "shop.example", "*.shop.example", "other.example")...)
	case 2:
		return oneOf(ti.maker, router.Header("X-V"), router.Header("X-V", "1"))
	case 3:
		return oneOf(ti.maker, router.Cookie("sid"), router.Cookie("_ga"), router.Cookie("group", "b"))
	case 4:
		return router.Client(netip.MustParsePrefix(oneOf(ti.maker, "10.0.0.0/8", "192.0.2.0/24", "2001:db8::/32")))
	case 6:
		return router.All(parts()...)
	case 7:
		return router.Any(parts()...)
	case 8:
		return router.Not(ti.matcher(depth - 1))
	}
	return router.Path(someOf(ti.maker, "/page/*", "/media/*", "/private/*", "/hold/*", "/swr/*", "/secret", "/{x}/1")...)
}

var errDown = errors.New("down")

func (ti *tier) probe(_ context.Context, to health.Target) (health.Result, error) {
	if ti.state(to.Name) == "down" {
		return health.Result{}, errDown
	}
	return health.Result{State: health.Up}, nil
}

func (ti *tier) state(name string) string {
	ti.mu.Lock()
	defer ti.mu.Unlock()
	return ti.states[name]
}

// kind is what a server makes of a path: the first part of it.
func kind(r *http.Request) string {
	for _, k := range []string{"gone", "vary", "swr", "public", "private", "login", "cart", "hold", "stream"} {
		if strings.Contains(r.URL.Path, "/"+k) {
			return k
		}
	}
	return "page"
}

// answers is the status with which a server answers, or 0 if that cannot be told.
func (ti *tier) answers(name string, r *http.Request) int {
	switch s := ti.state(name); {
	case s == "sick" || s == "dying":
		return 0
	case kind(r) == "gone" && name != "web0":
		return http.StatusNotFound
	}
	return http.StatusOK
}

// storable reports whether what servers answer to r may be stored, as far as the
// request leaves it.
func (ti *tier) storable(r *http.Request, leaves string) bool {
	switch kind(r) {
	case "public":
		return leaves != "nothing"
	case "private", "login", "cart", "stream":
		return false
	}
	return leaves == "all"
}

// server is one of a shop's, whose answers go by the path.
func (ti *tier) server(name string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ti.note(name, r)
		switch ti.state(name) {
		case "sick":
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		case "dying":
			panic(http.ErrAbortHandler)
		}
		h := w.Header()
		h.Set("Cache-Control", "max-age=60")
		h.Set("Etag", `"a"`)
		h.Set("Cache-Tag", "t")
		switch kind(r) {
		case "gone":
			if name != "web0" {
				w.WriteHeader(http.StatusNotFound)
				return
			}
		case "vary":
			h.Set("Vary", "Accept-Language")
		case "swr":
			h.Set("Cache-Control", "max-age=10, stale-while-revalidate=20, stale-if-error=100")
		case "public":
			h.Set("Cache-Control", "public, max-age=60")
		case "private", "cart":
			h.Set("Cache-Control", "private")
		case "login":
			h.Set("Cache-Control", "no-store")
			h.Set("Set-Cookie", "sid=1")
		case "stream":
			h.Set("Cache-Control", "no-store")
			h.Set("Content-Type", "text/event-stream")
			_ = http.NewResponseController(w).Flush()
			ti.wait(r)
		case "hold":
			ti.wait(r)
		}
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader("0123456789"))
	})
}

// wait holds a request until it is let go.
func (ti *tier) wait(r *http.Request) {
	ti.mu.Lock()
	hold := ti.hold
	ti.mu.Unlock()
	select {
	case <-hold:
	case <-r.Context().Done():
	}
}

// note writes into the journal what a server was asked.
func (ti *tier) note(name string, r *http.Request) {
	var fields []string
	for as, values := range r.Header {
		if as != "X-Request-Id" && as != "Cookie" { // which are random, as pins are sealed
			fields = append(fields, fmt.Sprint(as, values))
		}
	}
	for _, c := range r.Cookies() {
		fields = append(fields, "cookie "+c.Name)
	}
	slices.Sort(fields)
	ti.mu.Lock()
	defer ti.mu.Unlock()
	ti.asked = append(ti.asked, fmt.Sprint(name, " ", r.Method, " ", r.Host, " ", r.RequestURI, " ", fields))
}

// direct is the way to a handler that waits for nothing.
type direct struct{ http.Handler }

func (d direct) RoundTrip(r *http.Request) (*http.Response, error) {
	in := r.Clone(r.Context())
	in.RequestURI = r.URL.RequestURI()
	if in.Body == nil {
		in.Body = http.NoBody
	}
	w := httptest.NewRecorder()
	if d.serve(w, in) != nil {
		return nil, io.ErrUnexpectedEOF
	}
	res := w.Result()
	res.Request = r
	return res, nil
}

func (d direct) serve(w http.ResponseWriter, r *http.Request) (broken any) {
	defer func() { broken = recover() }()
	d.ServeHTTP(w, r)
	return nil
}

// nobodyComes is a listener to which nobody connects.
type nobodyComes struct{}

func (nobodyComes) Accept() (net.Conn, error) { return nil, net.ErrClosed }
func (nobodyComes) Close() error              { return nil }
func (nobodyComes) Addr() net.Addr            { return &net.TCPAddr{} }
