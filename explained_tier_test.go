package foretier_test

import (
	"bufio"
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
	held   []chan struct{}   // guarded by mu: what servers hold goes on once it is closed
}

func newTier(t *testing.T, seed uint64) *tier {
	ti := &tier{maker: maker{rand.New(rand.NewPCG(seed, 2))}, states: make(map[string]string), calm: play{seed: seed}.calm()}
	quiet := slog.New(slog.DiscardHandler)
	ti.sticky = must(session.NewSticky(make([]byte, 32), session.StickyOptions{Always: ti.IntN(3) == 0}))
	ti.pins = must(session.NewSticky(make([]byte, 32), session.StickyOptions{}))
	ti.sessions = must(session.New(session.Memory(), session.Options{}))
	admin := router.Admin("/admin")
	opts := balancer.Options{
		Name: "apps", Via: "apps", Logger: quiet, Policy: ti.policy(), Affinity: ti.sticky,
		Refuse: oneOf[router.Matcher](ti.maker, admin, router.Any(admin, router.Header("X-Refuse")), router.Any(admin, router.Header("X-V", "2"), router.Header("X-Forwarded-Proto", "https"))),
		Probe:  health.ProbeFunc(ti.probe),
		Limits: balancer.Limits{Streams: oneOf(ti.maker, 0, 1)},
	}
	if ti.IntN(4) > 0 {
		opts.Limits.InFlight, opts.Limits.Queue, opts.Limits.Wait = oneOf(ti.maker, 1, 1, 2), oneOf(ti.maker, -1, 1, 4, 4), time.Second
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
			switch ti.IntN(13) {
			case 9:
				rule.Use = []func(http.Handler) http.Handler{oneOf(ti.maker, router.StripPrefix("/page"), router.AddPrefix("/page"), router.Rewrite("/page/{x}", "/media/{x}"))}
			case 10:
				rule.To = must(router.NewAnswers(router.AnswerOptions{To: "/x", Set: http.Header{"X-Tier": {"1"}}})).Handler(rule.To)
			case 11:
				rule.Use = []func(http.Handler) http.Handler{must(router.NewErrorPages(map[int][]byte{404: []byte("none")})).Handler}
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
			case 5, 8:
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
	n := 8
	if depth > 0 {
		n = 12
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
	case 5:
		return oneOf(ti.maker, router.Query("b"), router.Query("b", "2"), router.PathSuffix("/1"), router.Scheme("https"), router.HeaderContains("X-V", "1"))
	case 8:
		return router.All(parts()...)
	case 9:
		return router.Any(parts()...)
	case 10:
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
				h.Del("Etag")
				w.WriteHeader(http.StatusNotFound)
				return
			}
		case "page":
			h.Set("No-Vary-Search", `params=("b")`)
		case "vary":
			h.Set("Vary", "Accept-Language")
		case "swr":
			h.Set("Cache-Control", "max-age=10, stale-while-revalidate=20, stale-if-error=1000")
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
	goesOn := make(chan struct{})
	ti.mu.Lock()
	ti.held = append(ti.held, goesOn)
	ti.mu.Unlock()
	select {
	case <-goesOn:
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

// serve has the tier answer r.
func (ti *tier) serve(r *http.Request) (out result) {
	rules, asked, began := ti.counts(), len(ti.journal()), time.Now()
	w := httptest.NewRecorder()
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() { out.aborted = recover() != nil }()
		ti.srv.ServeHTTP(w, r)
	}()
	synctest.Wait()
	if len(ti.journal()) == asked {
		select {
		case <-done:
		case <-time.After(2 * time.Second): // longer than for a place: it waits for another's fetch
			out.followed = true
		}
	}
	select {
	case <-done:
	default:
		ti.release()
		<-done
	}
	synctest.Wait() // for what goes on behind the client's back
	if strings.Contains(strings.Join(w.Header()["Cache-Status"], ""), "; hit") && ti.queued() {
		time.Sleep(2 * time.Second) // longer than it waits for a place
	}
	out.status, out.cached, out.location = w.Code, w.Header()["Cache-Status"], w.Header().Get("Location")
	out.waited, out.asked = time.Since(began), ti.journal()[asked:]
	for name, n := range ti.counts() {
		if n > rules[name] {
			out.rules = append(out.rules, name)
		}
	}
	slices.Sort(out.rules)
	return out
}

// request makes a request as a server reads it.
func (ti *tier) request(s step) *http.Request {
	text := s.request
	for _, name := range servers {
		if pin := "<" + name + ">"; strings.Contains(text, pin) {
			text = strings.ReplaceAll(text, pin, ti.pin(name))
		}
	}
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(text)))
	if err != nil {
		panic(fmt.Sprintf("%q: %v", text, err))
	}
	r.RemoteAddr = s.from
	return r
}

// pin returns the cookie that binds a client to a server.
func (ti *tier) pin(name string) string {
	h := http.Header{}
	ti.pins.Bind(h, &http.Request{Method: "POST", Header: http.Header{}}, name)
	c := must(http.ParseSetCookie(h.Get("Set-Cookie")))
	return c.Name + "=" + c.Value
}

// change has something happen to the tier.
func (ti *tier) change(what string) {
	verb, of, _ := strings.Cut(what, " ")
	switch verb {
	case "sleep":
		ti.release() // nothing is held for so long that it is given up
		time.Sleep(must(time.ParseDuration(of)))
	case "purge":
		_ = must(ti.pages.Invalidate(context.Background(), map[string]cache.Invalidation{
			"all": {All: true}, "tag": {Tags: []string{"t"}}, "hard": {All: true, Hard: true},
		}[of]))
	case "drain", "maintenance", "ready":
		mode := map[string]balancer.Mode{"drain": balancer.Drain, "maintenance": balancer.Maintenance, "ready": balancer.Ready}[verb]
		_ = ti.apps.SetMode(of, mode)
	case "down", "up": // as its probe says, until that is settled
		ti.release()
		for _, name := range strings.Split(of, ",") {
			ti.become(name, verb)
		}
		time.Sleep(2 * time.Minute)
	case "sick", "dying", "well": // as visitors notice
		ti.become(of, verb)
	case "eject":
		ti.become(of, "sick")
		for i := range 40 {
			r := httptest.NewRequest("GET", fmt.Sprintf("/page/%d", i), nil)
			r.RemoteAddr = fmt.Sprintf("192.0.2.%d:1", i%8)
			r.Header.Set("Cookie", ti.pin(of))
			ti.apps.ServeHTTP(httptest.NewRecorder(), r)
		}
	case "occupy":
		from, target, _ := strings.Cut(of, " ")
		r := ti.request(step{from: from, request: "GET " + target + " HTTP/1.1\r\nHost: shop.example\r\n\r\n"})
		ti.holding.Go(func() {
			defer func() { _ = recover() }() // cut off at the end
			ti.srv.ServeHTTP(httptest.NewRecorder(), r)
		})
	case "release":
		ti.release()
	}
	synctest.Wait()
}

// release lets those go on who hold something, one after the other, and those who
// have waited for them.
func (ti *tier) release() {
	for {
		ti.mu.Lock()
		if len(ti.held) == 0 {
			ti.mu.Unlock()
			return
		}
		goesOn := ti.held[0]
		ti.held = ti.held[1:]
		ti.mu.Unlock()
		close(goesOn)
		synctest.Wait()
	}
}

func (ti *tier) become(name, state string) {
	ti.mu.Lock()
	defer ti.mu.Unlock()
	ti.states[name] = state
}

func (ti *tier) journal() []string {
	ti.mu.Lock()
	defer ti.mu.Unlock()
	return slices.Clone(ti.asked)
}

// queued reports whether somebody waits for a place.
func (ti *tier) queued() bool {
	waiting := 0.0
	for _, pool := range []health.Reporter{ti.apps, ti.blue} {
		metrics := pool.Report().Metrics
		i := slices.IndexFunc(metrics, func(m health.Metric) bool { return m.Name == "requests_queued" })
		waiting += metrics[i].Value
	}
	return waiting > 0
}

// counts is how many requests each rule has taken.
func (ti *tier) counts() map[string]float64 {
	out := make(map[string]float64)
	for _, rt := range ti.routers {
		report := rt.Report()
		for _, rule := range report.Parts {
			out[report.Name+"/"+rule.Name] = rule.Metrics[0].Value
		}
	}
	return out
}

// reports is what all parts count. Events have times, and probes come at random.
func (ti *tier) reports() string {
	var b strings.Builder
	var write func(within string, r health.Report)
	write = func(within string, r health.Report) {
		within += "/" + r.Name
		for _, m := range r.Metrics {
			fmt.Fprintln(&b, within, m.Name, m.Labels, m.Value)
		}
		for _, part := range r.Parts {
			write(within, part)
		}
	}
	for _, part := range []health.Reporter{ti.srv, ti.apps, ti.origin, ti.based, ti.pages, ti.sticky, ti.sessions} {
		write("", part.Report())
	}
	for _, rt := range ti.routers {
		write("", rt.Report())
	}
	return b.String()
}
