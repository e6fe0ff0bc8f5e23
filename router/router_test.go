package router_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/foretier/foretier/internal/transit"
	"github.com/foretier/foretier/router"
)

// say answers with a name and the path as it came.
func say(name string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %s", name, r.URL.EscapedPath())
	})
}

func mustNew(t testing.TB, rules ...router.Rule) *router.Router {
	t.Helper()
	rt, err := router.New(router.Options{Logger: slog.New(slog.DiscardHandler)}, rules...)
	if err != nil {
		t.Fatal(err)
	}
	return rt
}

func get(h http.Handler, target string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, request("GET", target))
	return w
}

// request is what the standard server makes of a target.
func request(method, target string) *http.Request {
	r := httptest.NewRequest(method, "/", nil)
	r.RequestURI = target
	u, err := r.URL.Parse("http://shop.example/")
	if err != nil {
		panic(err)
	}
	if v, err := http.ReadRequest(newReader(method + " " + target + " HTTP/1.1\r\nHost: shop.example\r\n\r\n")); err == nil {
		v.RemoteAddr = r.RemoteAddr
		return v
	}
	r.URL = u
	return r
}

func TestNewRefuses(t *testing.T) {
	to := say("x")
	last := router.Rule{Name: "shop", To: to}
	path := router.Path
	cases := map[string]struct {
		rules []router.Rule
		want  string
	}{
		"none":         {nil, "there are none"},
		"no name":      {[]router.Rule{{To: to}}, "has no name"},
		"no handler":   {[]router.Rule{{Name: "a"}}, `rule "a" has no To`},
		"no default":   {[]router.Rule{{Name: "a", When: path("/a"), To: to}}, `the last, "a", must have a nil When`},
		"two names":    {[]router.Rule{{Name: "shop", When: path("/a"), To: to}, last}, `two rules are named "shop"`},
		"after all":    {[]router.Rule{last, {Name: "a", When: path("/a"), To: to}}, `"a" is never reached: "shop" before it takes everything`},
		"same":         {[]router.Rule{{Name: "a", When: path("/a"), To: to}, {Name: "b", When: path("/a"), To: to}, last}, `"b" is never reached: "a" before it has the same condition`},
		"wider path":   {[]router.Rule{{Name: "a", When: path("/m/*"), To: to}, {Name: "b", When: path("/m/x/*"), To: to}, last}, `"b" is never reached`},
		"literal":      {[]router.Rule{{Name: "a", When: path("/p/{id}"), To: to}, {Name: "b", When: path("/p/1"), To: to}, last}, `"b" is never reached`},
		"part of All":  {[]router.Rule{{Name: "a", When: path("/m/*"), To: to}, {Name: "b", When: router.All(router.Method("PUT"), path("/m/*")), To: to}, last}, `"b" is never reached`},
		"all of Any":   {[]router.Rule{{Name: "a", When: router.Any(path("/m/*"), path("/n")), To: to}, {Name: "b", When: path("/n", "/m/1"), To: to}, last}, `"b" is never reached`},
		"host":         {[]router.Rule{{Name: "a", When: router.Host("*.x.example"), To: to}, {Name: "b", When: router.Host("a.x.example"), To: to}, last}, `"b" is never reached`},
		"GET and HEAD": {[]router.Rule{{Name: "a", When: router.Method("GET"), To: to}, {Name: "b", When: router.Method("HEAD"), To: to}, last}, `"b" is never reached`},
		"bad pattern":  {[]router.Rule{{Name: "a", When: path("/a/{id"), To: to}, last}, `rule "a": Path("/a/{id")`},
		"not rooted":   {[]router.Rule{{Name: "a", When: path("a"), To: to}, last}, `rule "a": Path("a") never matches`},
		"dots":         {[]router.Rule{{Name: "a", When: path("/a/../b"), To: to}, last}, `never matches`},
		"bad admin":    {[]router.Rule{{Name: "a", When: router.Admin("admin"), To: to}, last}, `Admin("admin")`},
		"root admin":   {[]router.Rule{{Name: "a", When: router.Admin("/"), To: to}, last}, `Admin("/")`},
		"bad except":   {[]router.Rule{{Name: "a", When: router.Admin("/admin").Except("/x"), To: to}, last}, `Except("/x") is not below`},
		"empty":        {[]router.Rule{{Name: "a", When: router.Any(), To: to}, last}, `Any is empty`},
		"nil inside":   {[]router.Rule{{Name: "a", When: router.Not(nil), To: to}, last}, `Not holds a nil Matcher`},
		"nil test":     {[]router.Rule{{Name: "a", When: router.Test("t", nil), To: to}, last}, `has no function`},
		"host:port":    {[]router.Rule{{Name: "a", When: router.Host("x.example:80"), To: to}, last}, `is no host`},
		"bad client":   {[]router.Rule{{Name: "a", When: router.Client(netip.Prefix{}), To: to}, last}, `not a prefix`},
		"bad allow":    {[]router.Rule{{Name: "shop", To: to, Allow: make([]netip.Prefix, 1)}}, `Allow holds an invalid prefix`},
		"nil use":      {[]router.Rule{{Name: "shop", To: to, Use: []func(http.Handler) http.Handler{func(http.Handler) http.Handler { return nil }}}}, `returned nil`},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := router.New(router.Options{}, c.rules...)
			if !errors.Is(err, router.ErrRules) || !strings.Contains(fmt.Sprint(err), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestRules(t *testing.T) {
	rt := mustNew(t,
		router.Rule{Name: "admin", When: router.Admin("/admin").Except("/admin/ajax.php", "/admin/pub/*"), To: say("origin")},
		router.Rule{Name: "put", When: router.All(router.Method("PUT", "POST"), router.Path("/media/*")), To: say("put")},
		router.Rule{Name: "media", When: router.Path("/media/*"), To: say("media")},
		router.Rule{Name: "shop", To: say("shop")},
	)
	cases := map[string]struct{ method, target, want string }{
		"default":                   {"GET", "/x", "shop /x"},
		"prefix":                    {"GET", "/media/a.png", "media /media/a.png"},
		"method":                    {"PUT", "/media/a.png", "put /media/a.png"},
		"prefix itself":             {"GET", "/media", "shop /media"},
		"admin as sent":             {"GET", "/%61dmin", "origin /%61dmin"},
		"admin through a script":    {"GET", "/index.php/admin", "origin /index.php/admin"},
		"exception":                 {"GET", "/admin/ajax.php", "shop /admin/ajax.php"},
		"exception in another case": {"GET", "/Admin/ajax.php", "origin /Admin/ajax.php"},
		"around the exception":      {"GET", "/admin/ajax.php/../users", "origin /admin/ajax.php/../users"},
		"behind the exception":      {"GET", "/admin/ajax.php/admin", "origin /admin/ajax.php/admin"},
		"exception's tree":          {"GET", "/admin/pub/a", "shop /admin/pub/a"},
		"out of the tree":           {"GET", "/admin/pub/..;/users", "origin /admin/pub/..;/users"},
		"signed URL unchanged":      {"GET", "/media/https:%2F%2Fcdn//a%2520b.png", "media /media/https:%2F%2Fcdn//a%2520b.png"},
		"slash hides the rule":      {"GET", "/media%2fa.png", "media /media/a.png"},
		"dots hide the rule":        {"GET", "/x/../media/a.png", "media /media/a.png"},
		"dots leave the rule":       {"GET", "/media/../x", "shop /x"},
		"parameter hides the rule":  {"GET", "/media;v=1/a.png", "media /media/a.png"},
		"authority hides the rule":  {"GET", "//media/media/a", "media /media/media/a"},
		"absolute form":             {"GET", "http://shop.example/media/a", "media /media/a"},
		"one rule, many readings":   {"GET", "/a//b/%2e%2e/c;d", "shop /a//b/%2e%2e/c;d"},
		"no honest reading":         {"GET", "/../x", "400 Bad Request\n"},
		"percent for ever":          {"GET", "/%2525252525", "400 Bad Request\n"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			w := httptest.NewRecorder()
			rt.ServeHTTP(w, request(c.method, c.target))
			if got := w.Body.String(); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// A pool's guard sees the request as it goes out, and what it was.
func TestAdminJudgesRewrittenRequests(t *testing.T) {
	admin := router.Admin("/admin", "/shop/backend", "/cron.php")
	cases := map[string]struct {
		change func(*http.Request)
		want   bool
	}{
		"as it came":             {func(r *http.Request) {}, false},
		"rewritten":              {func(r *http.Request) { r.URL.Path = "/admin/x" }, true},
		"rewritten and encoded":  {func(r *http.Request) { r.URL.Path, r.URL.RawPath = "/a%64min", "/a%2564min" }, true},
		"stale RawPath":          {func(r *http.Request) { r.URL.RawPath = "/admin" }, true},
		"rewritten to no path":   {func(r *http.Request) { r.URL.Path = "/../x" }, true},
		"opaque":                 {func(r *http.Request) { r.URL.Opaque = "//x/y" }, true},
		"fragment in the query":  {func(r *http.Request) { r.URL.RawQuery = "a#b" }, true},
		"away from admin":        {func(r *http.Request) { r.RequestURI = "/admin" }, true},
		"outgoing, no target":    {func(r *http.Request) { r.RequestURI = ""; r.URL.Path = "/x/../ADMIN" }, true},
		"outgoing, empty path":   {func(r *http.Request) { r.RequestURI = ""; r.URL.Path = "" }, false},
		"two segments":           {func(r *http.Request) { r.URL.Path = "/shop//Backend;x/y" }, true},
		"two segments, one here": {func(r *http.Request) { r.URL.Path = "/shop/x/backend" }, false},
		"a script":               {func(r *http.Request) { r.URL.Path = "/index.php/cron.php" }, true},
		"a longer script":        {func(r *http.Request) { r.URL.Path = "/cron.phpx" }, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			r := request("GET", "/shop")
			c.change(r)
			if got := admin.Match(r); got != c.want {
				t.Errorf("got %t, want %t", got, c.want)
			}
		})
	}
}

func TestMatchers(t *testing.T) {
	r := request("HEAD", "/p/1?x")
	r.Host = "WWW.Shop.example.:8080"
	r.Header.Set("X-A", "1")
	r.Header.Set("Cookie", `s=1; t=2; cart={"sku":1}; q="3"`)
	r.RemoteAddr = "192.0.2.7:5"
	in := netip.MustParsePrefix("192.0.2.0/24")
	yes := router.Test("yes", func(*http.Request) bool { return true })
	cases := []struct {
		m    router.Matcher
		want bool
	}{
		{router.Method("GET"), true},
		{router.Method("head"), false},
		{router.Host("www.shop.example"), true},
		{router.Host("*.shop.example"), true},
		{router.Host("shop.example", "*.www.shop.example"), false},
		{router.Header("x-a"), true},
		{router.Header("X-A", "2"), false},
		{router.Cookie("t", "2"), true},
		{router.Cookie("t", "1"), false},
		{router.Cookie("S"), false},
		{router.Cookie("cart"), true}, // net/http refuses its value
		{router.Cookie("q", "3"), true},
		{router.Client(in), true},
		{router.Not(router.Client(in)), false},
		{router.All(yes, router.Path("/p/{id:[0-9]+}")), true},
		{router.Any(router.Path("/q", "/p/{id:[a-z]+}"), router.Not(yes)), false},
	}
	for _, c := range cases {
		if got := c.m.Match(r); got != c.want {
			t.Errorf("%s: got %t, want %t", c.m, got, c.want)
		}
	}
}

// TestHostsHaveOneForm: a rule for a host takes what names that host, however it
// is spelled, and nothing that merely looks like it.
func TestHostsHaveOneForm(t *testing.T) {
	cases := []struct {
		rule, host string
		want       bool
	}{
		{"kiosk.example", "KIOSK.example.:80", true},
		{"kiosk.example", "\u212aiosk.example", false}, // U+212A, a k only to Unicode
		{"2001:DB8::1", "[2001:db8:0::1]:8080", true},
		{"[2001:db8::1]", "2001:db8::1", true},
		{"[fe80::1]", "[fe80::1%eth0]", true}, // who sent it means an interface of their own
		{"[fe80::1%eth0]", "[fe80::1]", true},
	}
	for _, c := range cases {
		r := request("GET", "/")
		r.Host = c.host
		if got := router.Host(c.rule).Match(r); got != c.want {
			t.Errorf("%s takes %s: %t", c.rule, c.host, got)
		}
	}
}

func TestMaxBody(t *testing.T) {
	var read error
	reads := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { _, read = io.Copy(io.Discard, r.Body) })
	rt := mustNew(t,
		router.Rule{Name: "small", When: router.Path("/small"), To: reads, MaxBody: 10},
		router.Rule{Name: "any", When: router.Path("/any"), To: reads, MaxBody: -1},
		router.Rule{Name: "shop", To: reads},
	)
	cases := map[string]struct {
		path   string
		length int64 // -1: not told
		size   int64
		status int
		cut    bool
	}{
		"within":               {"/small", 10, 10, 200, false},
		"told":                 {"/small", 11, 11, 413, false},
		"not told":             {"/small", -1, 11, 200, true},
		"default":              {"/", -1, router.DefaultMaxBody, 200, false},
		"default, told":        {"/", 64<<20 + 1, 0, 413, false},
		"default, one more":    {"/", -1, router.DefaultMaxBody + 1, 200, true},
		"no limit":             {"/any", -1, router.DefaultMaxBody + 1, 200, false},
		"no limit, told":       {"/any", 1 << 40, 1, 200, false},
		"nothing at all to do": {"/small", 0, 0, 200, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			read = nil
			r := httptest.NewRequest("POST", c.path, io.LimitReader(zeros{}, c.size))
			r.ContentLength = c.length
			w := httptest.NewRecorder()
			rt.ServeHTTP(w, r)
			var tooLarge *http.MaxBytesError
			if w.Code != c.status || errors.As(read, &tooLarge) != c.cut {
				t.Errorf("got %d, %v", w.Code, read)
			}
		})
	}
}

func TestAllowTermsAndUse(t *testing.T) {
	var rec *transit.Record
	var order []string
	mark := func(name string) func(http.Handler) http.Handler {
		return func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				order = append(order, name)
				next.ServeHTTP(w, r)
			})
		}
	}
	rt := mustNew(t,
		router.Rule{Name: "office", When: router.Path("/office"), To: say("office"), Allow: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}},
		router.Rule{Name: "cron", When: router.Path("/cron"), Retry: router.RetryNever, Timeouts: router.Timeouts{Header: time.Minute, Idle: -1},
			Use: []func(http.Handler) http.Handler{mark("a"), mark("b")},
			To:  http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { rec = transit.From(r.Context()) })},
		router.Rule{Name: "shop", To: say("shop")},
	)
	if w := get(rt, "/office"); w.Code != http.StatusForbidden {
		t.Errorf("a stranger got %d", w.Code)
	}
	r := request("GET", "/office")
	r.RemoteAddr = "10.1.2.3:4"
	w := httptest.NewRecorder()
	rt.ServeHTTP(w, r)
	if w.Code != http.StatusOK {
		t.Errorf("the office got %d", w.Code)
	}
	get(rt, "/cron")
	if want := (transit.Terms{Header: time.Minute, Idle: -1, Retry: transit.RetryNever}); rec == nil || rec.Terms != want {
		t.Errorf("terms: got %+v, want %+v", rec, want)
	}
	if fmt.Sprint(order) != "[a b]" {
		t.Errorf("middleware ran in the order %v", order)
	}
}

func TestUpdate(t *testing.T) {
	rt := mustNew(t, router.Rule{Name: "shop", To: say("old")})
	get(rt, "/")
	if err := rt.Update(router.Rule{Name: "shop"}); err == nil {
		t.Error("a rule without a handler was taken up")
	}
	if got := get(rt, "/").Body.String(); got != "old /" {
		t.Errorf("after a refused update: %q", got)
	}
	if err := rt.Update(router.Rule{Name: "x", When: router.Path("/x"), To: say("x")}, router.Rule{Name: "shop", To: say("new")}); err != nil {
		t.Fatal(err)
	}
	if got := get(rt, "/").Body.String(); got != "new /" {
		t.Errorf("after an update: %q", got)
	}
	parts := rt.Report().Parts
	if len(parts) != 2 || parts[1].Name != "shop" || parts[1].Metrics[0].Value != 3 {
		t.Errorf("the count did not outlive the rule: %+v", parts)
	}
}

func TestExplain(t *testing.T) {
	rt := mustNew(t,
		router.Rule{Name: "admin", When: router.Admin("/admin"), To: say("origin")},
		router.Rule{Name: "media", When: router.Path("/media/*"), To: router.Fallback(say("apps"), say("origin"))},
		router.Rule{Name: "shop", To: say("apps")},
	)
	cases := map[string][]string{
		"/x/../media/a": {`router: rule "media"`, `Path("/media/*") matches /media/a`, `rule "admin" does not match: Admin("/admin")`, `"/media/a" goes on`, "fallback: asks the first"},
		"/ADMIN":        {`router: rule "admin"`},
		"/y":            {`rule "shop" (it takes what the others leave)`, "http.HandlerFunc does not explain itself"},
		"/../y":         {"router: 400 (the path leads above the root)"},
	}
	for target, wants := range cases {
		got := rt.Explain(request("GET", target)).String()
		for _, want := range wants {
			if !strings.Contains(got, want) {
				t.Errorf("%s: %q is not in\n%s", target, want, got)
			}
		}
	}
}

// What the router refuses is logged once: by it, or by an edge above.
func TestRefusalsAreLogged(t *testing.T) {
	var log strings.Builder
	rt, err := router.New(router.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))}, router.Rule{Name: "shop", To: say("shop")})
	if err != nil {
		t.Fatal(err)
	}
	get(rt, "/../x")
	if !strings.Contains(log.String(), "leads above the root") {
		t.Errorf("log: %q", log.String())
	}
	log.Reset()
	r := request("GET", "/../x")
	ctx, rec := transit.With(r.Context())
	rt.ServeHTTP(httptest.NewRecorder(), r.WithContext(ctx))
	if log.Len() > 0 || rec.Cause() == nil {
		t.Errorf("log: %q, cause: %v", log.String(), rec.Cause())
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func newReader(s string) *bufio.Reader { return bufio.NewReader(strings.NewReader(s)) }

// What could never do what it looks like is refused when it is made, with words
// that say what would be right.
func TestMistakesAreToldAtTheStart(t *testing.T) {
	to := say("x")
	when := func(m router.Matcher) []router.Rule {
		return []router.Rule{{Name: "a", When: m, To: to}, {Name: "shop", To: to}}
	}
	goes := func(m router.Matcher, to http.Handler) []router.Rule {
		return []router.Rule{{Name: "a", When: m, To: to}, {Name: "shop", To: say("x")}}
	}
	path := router.Path
	for name, c := range map[string]struct {
		rules []router.Rule
		want  string // "": it is right
	}{
		"redirect to nobody's parameter": {goes(path("/p/{id}"), router.Redirect(301, "/product/{nope}")), `always has a parameter of {id}, {path}, {query}, none is {nope}`},
		"redirect without a path":        {goes(router.Host("a"), router.Redirect(301, "/product/{id}")), `none is {id}`},
		"redirect from one of two":       {goes(path("/p/{id}", "/q"), router.Redirect(301, "/product/{id}")), `none is {id}`},
		"redirect from both":             {goes(path("/p/{id}", "/{id}/q"), router.Redirect(301, "/product/{id}")), ""},
		"redirect by expression":         {goes(path("/p/{id:[0-9]{1,3}}"), router.Redirect(301, "/product/{id}")), ""},
		"redirect from any":              {goes(router.Any(path("/p/{id}"), router.Host("a")), router.Redirect(301, "/product/{id}")), `none is {id}`},
		"redirect from all":              {goes(router.All(router.Host("a"), path("/p/{id}")), router.Redirect(301, "/product/{id}")), ""},
		"redirect to the rest":           {goes(path("/p/*"), router.Redirect(301, "/product/{*}")), ""},
		"redirect in a fallback":         {goes(path("/p/{id}"), router.Fallback(to, router.Redirect(301, "/{nope}"))), `none is {nope}`},
		"redirect with a brace":          {goes(path("/p/{id}"), router.Redirect(301, "/product/{id")), "is not closed"},
		"redirect without braces":        {goes(path("/p/{id}"), router.Redirect(301, "/product/{}")), "none is {}"},
		"redirect to a port":             {goes(path("/p"), router.Redirect(301, "localhost:8080/x")), "want one such as https://"},
		"redirect to no host":            {goes(path("/p"), router.Redirect(301, "https:///x")), "want one such as https://"},
		"redirect to a name":             {goes(path("/p"), router.Redirect(301, "www.shop.example/x")), "want one such as https://"},
		"redirect with a line":           {goes(path("/p"), router.Redirect(301, "/x\r\nSet-Cookie: a=b")), "want one such as https://"},
		"redirect, 300":                  {goes(path("/p"), router.Redirect(300, "/x")), "300 is no redirect"},
		"redirect to the path":           {goes(path("/p"), router.Redirect(308, "https://www.shop.example{path}{query}")), ""},
		"redirect to the path alone":     {goes(path("/p"), router.Redirect(308, "{path}?a=b")), ""},
		"method in lower case":           {when(router.Method("get")), `Method("get") never matches, methods are case-sensitive: want "GET"`},
		"method in mixed case":           {when(router.Method("GET", "Post")), `want "POST"`},
		"methods in one":                 {when(router.Method("GET,POST")), `want each by itself, such as Method("GET", "POST")`},
		"a method of one's own":          {when(router.Method("m-search")), ""},
		"host with a scheme":             {when(router.Host("https://shop.example")), "without scheme and port"},
		"host with dots":                 {when(router.Host("shop..example")), "without scheme and port"},
		"host with a star":               {when(router.Host("shop.*")), "or *.shop.example"},
		"host in letters":                {when(router.Host("bücher.example")), "xn--"},
		"host with a character":          {when(router.Host("shop,example")), "letters, digits"},
		"header with a colon":            {when(router.Header("X-Beta: 1")), "without colon and value"},
		"header Host":                    {when(router.Header("host", "a")), "want Host(...)"},
		"header that is taken off":       {when(router.Header("Transfer-Encoding")), "takes it off"},
		"header value with blanks":       {when(router.Header("X-Beta", " 1")), "without blanks"},
		"cookie with a value":            {when(router.Cookie("a=b")), "without value"},
		"cookie with a star":             {when(router.Cookie("wordpress_*")), "and whole"},
		"cookie value with blanks":       {when(router.Cookie("a", "b ")), "without blanks"},
		"a rate in years":                {[]router.Rule{{Name: "shop", To: to, Limit: router.Limit{Rate: 1e-9}}}, "one a day, or more"},
		"a nil matcher of a type":        {when((*router.AdminMatcher)(nil)), "When is a nil *router.AdminMatcher"},
		"a nil matcher inside":           {when(router.Not((*router.AdminMatcher)(nil))), "Not holds a nil Matcher"},
		"a nil pool":                     {goes(nil, (*pool)(nil)), "To is a nil *router_test.pool: the constructor"},
		"a nil func":                     {goes(nil, http.HandlerFunc(nil)), "To is a nil http.HandlerFunc"},
		"a fallback of nothing":          {goes(nil, router.Fallback(nil, to)), "fallback wraps a nil handler"},
		"a fallback to nothing":          {goes(nil, router.Fallback(to, nil)), "fallback wraps a nil handler"},
		"a fallback of a nil pool":       {goes(nil, router.Fallback((*pool)(nil), to)), "fallback wraps a nil handler"},
		"a nil pool below":               {goes(nil, wrapping{(*pool)(nil)}), "wraps a nil handler"},
		"a nil router":                   {goes(nil, (*router.Router)(nil)), "To is a nil *router.Router"},
		"a nil middleware":               {[]router.Rule{{Name: "shop", To: to, Use: []func(http.Handler) http.Handler{nil}}}, "Use holds a nil middleware"},
	} {
		rules := c.rules
		if rules[0].When == nil {
			rules = rules[:1]
		}
		_, err := router.New(router.Options{}, rules...)
		if c.want == "" && err != nil || c.want != "" && (!errors.Is(err, router.ErrRules) || !strings.Contains(fmt.Sprint(err), c.want)) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
	if _, err := router.NewSplit("try", router.Arm{Name: "a", Weight: 1, To: (*pool)(nil)}); err == nil || !strings.Contains(err.Error(), "arm a has no handler") {
		t.Errorf("a split to a nil pool: %v", err)
	}
	if err := router.NewMirror(nil).Run(context.Background()); err == nil {
		t.Error("a mirror to nobody runs")
	}
	rt := mustNew(t, router.Rule{Name: "shop", To: to})
	if err := rt.Prove(router.Only(to).For((*router.AdminMatcher)(nil))); err == nil || !strings.Contains(err.Error(), "nil *router.AdminMatcher") {
		t.Errorf("a claim about nothing: %v", err)
	}
}
