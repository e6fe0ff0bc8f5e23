package balancer

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/http/httputil"
	"net/netip"
	"net/textproto"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/foretier/foretier/internal/http1"
	"github.com/foretier/foretier/internal/testkit"
	"github.com/foretier/foretier/internal/transit"
)

// front returns the URL of a server before a pool of one backend that runs h,
// once over a socket and once in this process.
func fronts(t *testing.T, h http.HandlerFunc) map[string]string {
	t.Helper()
	back := httptest.NewServer(h)
	t.Cleanup(back.Close)
	urls := map[string]string{}
	for name, backends := range map[string][]Backend{"socket": Backends(back.URL), "handler": here(h)} {
		srv := httptest.NewServer(newPool(t, backends, Options{}))
		t.Cleanup(srv.Close)
		urls[name] = srv.URL
	}
	return urls
}

func TestForwarded(t *testing.T) {
	vetted := func(r *http.Request) {
		ctx, rec := transit.With(r.Context())
		rec.Vetted, rec.Client, rec.Scheme = true, netip.MustParseAddr("203.0.113.9"), "https"
		*r = *r.WithContext(ctx)
	}
	both := func(fs ...func(*http.Request)) func(*http.Request) {
		return func(r *http.Request) {
			for _, f := range fs {
				f(r)
			}
		}
	}
	cases := []struct {
		name string
		edit func(*http.Request)
		want map[string]string
	}{
		{"a client", func(*http.Request) {}, map[string]string{
			"X-Forwarded-For": "192.0.2.1", "X-Forwarded-Proto": "http", "X-Forwarded-Host": "shop.example", "X-Forwarded-Port": "80",
			"Forwarded": "for=192.0.2.1;host=shop.example;proto=http",
		}},
		{"one that claims to be another", both(header("X-Forwarded-For", "10.0.0.1"), header("X-Forwarded-Port", "1"), header("Forwarded", "for=x"),
			header("X-Real-Ip", "10.0.0.1"), header("X-Original-Url", "/admin"), header("X_forwarded_for", "10.0.0.1"), header("Upgrade", "h2c"), header("Connection", "Upgrade")), map[string]string{
			"X-Forwarded-For": "192.0.2.1", "X-Forwarded-Port": "80", "Forwarded": "for=192.0.2.1;host=shop.example;proto=http",
			"X-Real-Ip": "", "X-Original-Url": "", "X_forwarded_for": "", "Upgrade": "", "Connection": "",
		}},
		{"behind an edge", vetted, map[string]string{
			"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "shop.example", "X-Forwarded-Port": "443",
		}},
		// A load balancer that is trusted for the address it appends may hand on
		// all else that its client says.
		{"through a trusted peer", both(vetted, header("X-Forwarded-For", "203.0.113.9"), header("X-Forwarded-Host", "www.example"),
			header("X-Forwarded-Port", "1"), header("Forwarded", "for=10.0.0.1;host=www.example")), map[string]string{
			"X-Forwarded-For": "203.0.113.9, 192.0.2.1", "X-Forwarded-Host": "shop.example", "X-Forwarded-Port": "443",
			"Forwarded": "for=203.0.113.9, for=192.0.2.1;host=shop.example;proto=https",
		}},
		{"a chain of all kinds", both(vetted, header("X-Forwarded-For", "evil\";host=x, 203.0.113.9:80, [2001:db8::2]:80,, 2001:db8::1, [2001:db8::3], ::ffff:192.0.2.9")), map[string]string{
			"X-Forwarded-For": "evil\";host=x, 203.0.113.9:80, [2001:db8::2]:80, 2001:db8::1, [2001:db8::3], ::ffff:192.0.2.9, 192.0.2.1",
			"Forwarded":       `for=unknown, for=203.0.113.9, for="[2001:db8::2]", for="[2001:db8::1]", for="[2001:db8::3]", for=192.0.2.9, for=192.0.2.1;host=shop.example;proto=https`,
		}},
		{"IPv6 and a port", func(r *http.Request) { r.RemoteAddr, r.Host = "[2001:db8::1]:99", "shop.example:8443" }, map[string]string{
			"X-Forwarded-For": "2001:db8::1", "X-Forwarded-Port": "8443", "Forwarded": `for="[2001:db8::1]";host="shop.example:8443";proto=http`,
		}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var got *http.Request
			p := newPool(t, here(func(_ http.ResponseWriter, r *http.Request) { got = r }), Options{})
			get(p, "GET", "/", nil, c.edit)
			for name, want := range c.want {
				if v := strings.Join(got.Header.Values(name), "|"); v != want {
					t.Errorf("%s: got %q, want %q", name, v, want)
				}
			}
			if !strings.HasPrefix(got.Host, "shop.example") {
				t.Errorf("Host: got %q", got.Host)
			}
		})
	}
}

func TestRewriteAndErrorOptions(t *testing.T) {
	var got *http.Request
	p := newPool(t, here(func(w http.ResponseWriter, r *http.Request) {
		got = r
		if r.URL.Path == "/broken" {
			panic("broken")
		}
	}), Options{
		Rewrite: func(pr *httputil.ProxyRequest) { pr.Out.Header.Set("X-Tenant", pr.Out.Header.Get("X-Forwarded-Host")) },
		Error:   func(w http.ResponseWriter, _ *http.Request, err error) { w.WriteHeader(599); fmt.Fprint(w, err) },
		Retries: Retries{Max: -1},
	})
	get(p, "GET", "/", nil)
	if v := got.Header.Get("X-Tenant"); v != "shop.example" {
		t.Errorf("Rewrite: got %q", v)
	}
	if w := get(p, "GET", "/broken", nil); w.Code != 599 || !strings.Contains(w.Body.String(), "backend a: ") {
		t.Errorf("Error: got %d %s", w.Code, w.Body)
	}
}

func TestOneLogLineWithTheCause(t *testing.T) {
	var log bytes.Buffer
	backends, way := ways(refused)
	p := newPool(t, backends, Options{Transport: way, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	get(p, "GET", "/cart", nil)
	if got := log.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "status=502") || !strings.Contains(got, "backend a: connection refused") || !strings.Contains(got, "target=http://shop.example/cart") {
		t.Errorf("got %s", got)
	}
	log.Reset()
	ctx, rec := transit.With(context.Background())
	get(p, "GET", "/", nil, func(r *http.Request) { *r = *r.WithContext(ctx) })
	if strings.Contains(log.String(), "request failed") {
		t.Errorf("logged twice: %s", log.String())
	}
	if rec.Cause() == nil {
		t.Error("no cause for the one who logs")
	}
}

func TestABrokenBodyAbortsTheClient(t *testing.T) {
	urls := fronts(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		fmt.Fprint(w, "half")
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
	for name, url := range urls {
		res, err := http.Get(url)
		if err != nil {
			continue // not even the header had gone out
		}
		if _, err := io.ReadAll(res.Body); err == nil && res.StatusCode == http.StatusOK {
			t.Errorf("%s: the client takes half an answer for a whole one", name)
		}
		res.Body.Close()
	}
}

func TestEventsAreNotHeldBack(t *testing.T) {
	next := map[string]chan bool{"socket": make(chan bool), "handler": make(chan bool)}
	urls := fronts(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for {
			fmt.Fprint(w, "data: x\n\n")
			_ = http.NewResponseController(w).Flush()
			select {
			case <-next[r.URL.Path[1:]]:
			case <-r.Context().Done():
				return
			}
		}
	})
	for name, url := range urls {
		res, err := http.Get(url + "/" + name)
		if err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewReader(res.Body)
		for i := range 3 {
			for _, want := range []string{"data: x\n", "\n"} {
				if line, err := lines.ReadString('\n'); err != nil || line != want {
					t.Fatalf("%s: event %d: %q, %v", name, i, line, err)
				}
			}
			if i < 2 {
				next[name] <- true
			}
		}
		res.Body.Close()
	}
}

func TestTrailersBothWays(t *testing.T) {
	urls := fronts(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "X-Sum")
		_, _ = io.Copy(w, r.Body)
		w.Header().Set("X-Sum", "got "+r.Trailer.Get("X-Sent"))
		w.Header().Set(http.TrailerPrefix+"X-Late", "1")
	})
	for name, url := range urls {
		req, err := http.NewRequest("POST", url, io.MultiReader(strings.NewReader("body")))
		if err != nil {
			t.Fatal(err)
		}
		req.Trailer = http.Header{"X-Sent": {"7"}}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(res.Body)
		if err != nil || string(b) != "body" || res.Trailer.Get("X-Sum") != "got 7" || res.Trailer.Get("X-Late") != "1" {
			t.Errorf("%s: %q, %v, %v", name, b, res.Trailer, err)
		}
		res.Body.Close()
	}
}

func TestEarlyHintsPassThrough(t *testing.T) {
	urls := fronts(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", "</style.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		fmt.Fprint(w, "page")
	})
	for name, url := range urls {
		hint := ""
		ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
			hint = fmt.Sprint(code, h.Get("Link"))
			return nil
		}})
		req, err := http.NewRequestWithContext(ctx, "GET", url, nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if hint != "103</style.css>; rel=preload" {
			t.Errorf("%s: got %q", name, hint)
		}
	}
}

func TestWebsocket(t *testing.T) {
	back := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer c.CloseNow()
		for {
			kind, msg, err := c.Read(r.Context())
			if err != nil {
				return
			}
			if c.Write(r.Context(), kind, append([]byte("echo "), msg...)) != nil {
				return
			}
		}
	}))
	defer back.Close()
	p := newPool(t, Backends(back.URL), Options{Affinity: cookie{}, Timeouts: Timeouts{Idle: time.Millisecond}})
	srv := httptest.NewServer(p)
	defer srv.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	c, res, err := websocket.Dial(ctx, srv.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	if res.Header.Get("Set-Cookie") == "" {
		t.Error("the 101 does not bind the client")
	}
	for i := range 3 {
		msg := fmt.Sprint(i)
		if err := c.Write(ctx, websocket.MessageText, []byte(msg)); err != nil {
			t.Fatal(err)
		}
		if _, got, err := c.Read(ctx); err != nil || string(got) != "echo "+msg {
			t.Fatalf("got %q, %v", got, err)
		}
	}
	if s := p.Backends()[0]; s.InFlight != 0 || s.Streams != 1 || s.Waiting != 0 {
		t.Errorf("an open websocket counts as %+v", s)
	}
	if err := c.Close(websocket.StatusNormalClosure, ""); err != nil {
		t.Fatal(err)
	}
	testkit.Within(t, patience, "a closed websocket is out of hand", func() bool { // the other end's goroutine ends it
		return p.Backends()[0].Streams == 0
	})
}

func TestHTTP2Backends(t *testing.T) {
	var proto string
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		proto = r.Proto
		_, _ = io.Copy(w, r.Body)
	})
	tls := httptest.NewUnstartedServer(h)
	tls.EnableHTTP2 = true
	tls.StartTLS()
	defer tls.Close()
	plain := httptest.NewUnstartedServer(h)
	plain.Config.Protocols = new(http.Protocols)
	plain.Config.Protocols.SetUnencryptedHTTP2(true)
	plain.Start()
	defer plain.Close()
	config := tls.Client().Transport.(*http.Transport).TLSClientConfig
	for _, url := range []string{tls.URL, strings.Replace(plain.URL, "http", "h2c", 1)} {
		p := newPool(t, Backends(url), Options{TLS: config})
		w := get(p, "POST", "/", strings.NewReader("body"))
		if w.Code != 200 || w.Body.String() != "body" || proto != "HTTP/2.0" {
			t.Errorf("%s: %d %q over %s", url, w.Code, w.Body, proto)
		}
	}
}

func TestARequestWithoutAHostStaysWithout(t *testing.T) {
	var host, forwarded string
	var has bool
	back := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		host, forwarded = r.Host, r.Header.Get("Forwarded")
		_, has = r.Header["X-Forwarded-Host"]
	}))
	defer back.Close()
	get(newPool(t, Backends(back.URL), Options{}), "GET", "/", nil, func(r *http.Request) { r.Host, r.URL.Host = "", "" })
	if host != "" || has || forwarded != "for=192.0.2.1;proto=http" {
		t.Errorf("Host %q, X-Forwarded-Host there: %v, Forwarded %q", host, has, forwarded)
	}
}

func TestBasePaths(t *testing.T) {
	got := newPool(t, Backends("http://a/shop/", "http://b/shop", "http://c/", "http://d/x%20y"), Options{}).BasePaths()
	if strings.Join(got, " | ") != "/shop | /x y" {
		t.Errorf("got %q", got)
	}
}

// A client of HTTP/1.0 gets neither informational responses nor upgrades,
// whoever serves the pool.
func TestHTTP10ClientGetsOneResponse(t *testing.T) {
	for name, url := range fronts(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "" {
			t.Error("an upgrade went on")
		}
		w.Header().Set("Link", "</a.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		fmt.Fprint(w, "page")
	}) {
		got := testkit.Send(t, strings.TrimPrefix(url, "http://"), "GET / HTTP/1.0\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
		if strings.Contains(got, " 103 ") || !strings.HasSuffix(got, "\r\n\r\npage") {
			t.Errorf("%s: %s", name, got)
		}
	}
}

// Over HTTP/2 informational responses are bounded in bytes, too, also over a user's own
// transport.
func TestInformationalResponsesWithoutEndOverHTTP2(t *testing.T) {
	t.Run("ours", func(t *testing.T) { informsWithoutEnd(t, "h2c", nil, "the response's header has more") })
	t.Run("a user's", func(t *testing.T) { informsWithoutEnd(t, "http", usersHTTP2, "informational") })
}

// usersHTTP2 is a transport of net/http's that speaks HTTP/2 to URLs of http.
func usersHTTP2(Backend) http.RoundTripper {
	tr := &http.Transport{Protocols: new(http.Protocols), DisableCompression: true}
	tr.Protocols.SetUnencryptedHTTP2(true)
	return tr
}

func informsWithoutEnd(t *testing.T, scheme string, transport func(Backend) http.RoundTripper, want string) {
	for _, n := range []int{1000, http1.MaxHeader/150 + 1000} {
		srv := perConn(t, false, func(_ *sync.Map, w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Link", "</"+strings.Repeat("a", 150)+">; rel=preload")
			for range n {
				w.WriteHeader(http.StatusEarlyHints)
			}
			fmt.Fprint(w, "page")
		})
		var cause error
		p := newPool(t, Backends(strings.Replace(srv.URL, "http", scheme, 1)), Options{Transport: transport, Retries: Retries{Max: -1}, Error: func(w http.ResponseWriter, _ *http.Request, err error) {
			cause = err
			w.WriteHeader(502)
		}})
		w := get(p, "GET", "/", nil)
		if n == 1000 && w.Body.String() != "page" || n > 1000 && (cause == nil || !strings.Contains(cause.Error(), want)) {
			t.Errorf("%d of them: got %d, %v", n, w.Code, cause)
		}
	}
}

// TestInformationalResponsesTakeNothingAlong: what layers above have put on the
// answer is neither told beforehand nor lost.
func TestInformationalResponsesTakeNothingAlong(t *testing.T) {
	for _, path := range []string{"http", "h2c"} {
		t.Run(path, func(t *testing.T) {
			back := perConn(t, false, func(_ *sync.Map, w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Link", "</a.css>; rel=preload")
				for range 2 {
					w.WriteHeader(http.StatusEarlyHints)
				}
				w.Header().Del("Link")
				w.Header().Set("Vary", "Accept")
				_, _ = io.WriteString(w, "page")
			})
			p := newPool(t, Backends(strings.Replace(back.URL, "http", path, 1)), Options{})
			above := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Set-Cookie", "arm=b")
				w.Header().Set("Vary", "Cookie")
				w.Header().Set("Link", "</all.css>")
				p.ServeHTTP(w, r)
			}))
			defer above.Close()
			var told []string
			ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got1xxResponse: func(_ int, h textproto.MIMEHeader) error {
				told = append(told, fmt.Sprint(h["Link"], h["Set-Cookie"], h["Vary"]))
				return nil
			}})
			r, err := http.NewRequestWithContext(ctx, "GET", above.URL, nil)
			if err != nil {
				t.Fatal(err)
			}
			res, err := above.Client().Do(r)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			if got, want := fmt.Sprint(told), "[[</a.css>; rel=preload] [] [] [</a.css>; rel=preload] [] []]"; got != want {
				t.Errorf("told %s, want %s", got, want)
			}
			if got, want := fmt.Sprint(res.Header["Set-Cookie"], res.Header["Vary"], res.Header["Link"]), "[arm=b] [Cookie Accept] [</all.css>]"; got != want {
				t.Errorf("answered %s, want %s", got, want)
			}
		})
	}
}

// Seen in golang/go #50580, CVE-2026-39825. See also TestForwarded. ReverseProxy
// drops parameters that Go cannot parse, for proxies that judge parameters; no
// rule here does, and to backends they are as good as others.
func TestAClientSmugglesNoFieldAndLosesNoQuery(t *testing.T) {
	var got *http.Request
	p := newPool(t, here(func(_ http.ResponseWriter, r *http.Request) { got = r }), Options{})
	get(p, "GET", "/?a=1;b=2&c=%zz&d=4", nil, header("Connection", "X-Forwarded-For, Cookie"), header("Cookie", "cart=1"))
	if got.URL.RawQuery != "a=1;b=2&c=%zz&d=4" {
		t.Errorf("query: got %q, which nobody sent", got.URL.RawQuery)
	}
	if got.Header.Get("X-Forwarded-For") == "" {
		t.Error("Connection took X-Forwarded-For away")
	}
}

func TestQuote(t *testing.T) {
	for in, want := range map[string]string{
		"shop.example":      `shop.example`,
		"shop.example:8080": `"shop.example:8080"`,
		"[2001:db8::1]:80":  `"[2001:db8::1]:80"`,
		`a"b\c`:             `"a\"b\\c"`,
		"":                  `""`,
	} {
		if got := string(appendQuoted(nil, in)); got != want {
			t.Errorf("appendQuoted(%q) = %s, want %s", in, got, want)
		}
	}
}
