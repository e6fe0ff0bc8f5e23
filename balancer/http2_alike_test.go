package balancer

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/foretier/foretier/internal/testkit"
)

// overHTTP2 carries a request to a backend over HTTP/2, on the pool's own connections or
// net/http's.
func overHTTP2(t *testing.T, request string, answer http.HandlerFunc, ours bool) (got carried) {
	t.Helper()
	var mu sync.Mutex // guards got.asked
	back := perConn(t, false, func(_ *sync.Map, w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		var head []string
		for name, values := range r.Header {
			head = append(head, fmt.Sprintf("%s: %q", name, values))
		}
		slices.Sort(head)
		mu.Lock()
		got.asked = append(got.asked, fmt.Sprintf("%s %s %s %s %d\n%s\n%d bytes %v %v", r.Method, r.RequestURI, r.Host, r.Proto, r.ContentLength, strings.Join(head, "\n"), len(body), err, r.Trailer))
		mu.Unlock()
		answer(w, r)
	})
	scheme, transport := "h2c", (func(Backend) http.RoundTripper)(nil)
	if !ours {
		scheme, transport = "http", usersHTTP2
	}
	var log bytes.Buffer
	backends := Backends(strings.Replace(back.URL, "http", scheme, 1) + "/base")
	backends[0].Name = "a"
	pool := newPool(t, backends, Options{Transport: transport, Via: "tier", Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{ReplaceAttr: sameLog}))})
	pool.depot.hold = patience // that of a slow machine makes no difference
	front := httptest.NewServer(pool)
	client := testkit.Dial(t, front.Listener.Addr().String())
	defer client.Close()
	if _, err := io.WriteString(client, request); err != nil {
		t.Fatal(err)
	}
	got.listen(client, request[:strings.Index(request, " ")])
	front.Close()
	for _, s := range pool.Backends() {
		got.evidence += fmt.Sprintln(s.Name, s.Requests, s.Failures, s.InFlight, s.State)
	}
	got.evidence += fmt.Sprintln(pool.retried.metrics(), pool.inflight.Load())
	mu.Lock()
	defer mu.Unlock()
	got.log = log.String()
	return got
}

// TestOwnHTTP2CarriesAlike: both sides see the same as with net/http's client, and the log
// says the same.
func TestOwnHTTP2CarriesAlike(t *testing.T) {
	ask := func(head string) string { return strings.ReplaceAll(head, "\n", "\r\n") }
	post := func(fields, body string) string {
		return ask("POST /a%2Fb?x=1;y HTTP/1.1\nHost: shop.example\nConnection: close\n"+fields+"\n") + body
	}
	chunks := "1\r\nx\r\n2\r\nyz\r\n0\r\n"
	page := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		w.Header()["Set-Cookie"] = []string{"a=1", "b=2"}
		w.Header().Set("Content-Length", "4")
		_, _ = io.WriteString(w, "page")
	}
	with := func(status int, fields ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			for i := 0; i < len(fields); i += 2 {
				w.Header().Add(fields[i], fields[i+1])
			}
			w.WriteHeader(status)
		}
	}
	cases := map[string]struct {
		request string
		answer  http.HandlerFunc
	}{
		"a page":            {getPage, page},
		"HEAD":              {strings.Replace(getPage, "GET", "HEAD", 1), page},
		"HEAD of no length": {strings.Replace(getPage, "GET", "HEAD", 1), with(200, "X-A", "1")},
		"OPTIONS":           {ask("OPTIONS * HTTP/1.1\nHost: a\nMax-Forwards: 2\nConnection: close\n\n"), page},
		"an odd method":     {strings.Replace(getPage, "GET", "PURGE", 1), page},
		"an odd target":     {ask("GET //a/{b}/%7bc?q={d} HTTP/1.1\nHost: a\nConnection: close\n\n"), page},
		"HTTP/1.0":          {ask("GET / HTTP/1.0\nHost: a\n\n"), page},
		"fields":            {ask("GET / HTTP/1.1\nHost: a\nConnection: close, te, x-a\nTe: trailers, gzip\nX-A: 1\nKeep-Alive: 1\nUser-Agent: u\nCookie: a=1\nCookie: b=2\nAccept-Encoding: br\nX-Empty:\nX_Odd: 1\nAuthorization: Basic YQ==\n\n"), page},
		"no content":        {getPage, with(204, "X-A", "1")},
		"not modified":      {getPage, with(304, "Etag", `"a"`)},
		"nothing":           {getPage, with(200)},
		"nothing, stated":   {getPage, with(200, "Content-Length", "0")},
		"an error":          {getPage, with(500, "X-A", "1")},
		"busy":              {getPage, with(503, "Retry-After", "3")},
		"an odd status":     {getPage, with(599, "X-A", "1", "X-A", "2")},
		"a login":           {getPage, with(401, "Www-Authenticate", "Negotiate")},
		"no length": {getPage, func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "page")
			_ = http.NewResponseController(w).Flush()
			_, _ = io.WriteString(w, " and more")
		}},
		"a long one": {getPage, func(w http.ResponseWriter, _ *http.Request) {
			for range 100 {
				_, _ = io.WriteString(w, strings.Repeat("page ", 5000))
			}
		}},
		"informed": {getPage, func(w http.ResponseWriter, r *http.Request) {
			w.Header()["Link"] = []string{"</a>", "</b>"}
			w.WriteHeader(103)
			w.Header().Del("Link")
			page(w, r)
		}},
		"trailers": {getPage, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Trailer", "X-Sum, X-Not")
			_, _ = io.WriteString(w, "page")
			w.Header().Set("X-Sum", "7")
		}},
		"events": {getPage, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			_, _ = io.WriteString(w, "data: 1\n\n")
		}},
		"an order":         {post("Content-Length: 3\n", "abc"), page},
		"no body":          {post("Content-Length: 0\n", ""), page},
		"DELETE":           {ask("DELETE / HTTP/1.1\nHost: a\nConnection: close\n\n"), page},
		"chunks":           {post("Transfer-Encoding: chunked\n", chunks+"\r\n"), page},
		"a long upload":    {post("Content-Length: 300000\n", strings.Repeat("x", 300000)), page},
		"upload, trailers": {post("Transfer-Encoding: chunked\nTe: trailers\nTrailer: X-A, Cookie\n", chunks+"X-A: 1\r\nCookie: a\r\nX-B: 2\r\n\r\n"), page},
		"an order, failed": {post("Content-Length: 3\n", "abc"), with(502)},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			own, other := overHTTP2(t, c.request, c.answer, true), overHTTP2(t, c.request, c.answer, false)
			if fmt.Sprintf("%q", own) != fmt.Sprintf("%q", other) {
				t.Errorf("ours: %s\nnet/http's: %s", own, other)
			}
		})
	}
}

// TestOwnHTTP2ReadsHeadsAsHTTP1: where net/http's client of HTTP/2 differs from that of
// HTTP/1.1, it is the latter that counts.
func TestOwnHTTP2ReadsHeadsAsHTTP1(t *testing.T) {
	for name, c := range map[string]struct {
		status int
		fields map[string]string
		want   string
	}{
		"not modified, of a length": {304, map[string]string{"Etag": `"a"`, "Content-Length": "40"}, "HTTP/1.1 304 Not Modified\nConnection: close\nEtag: \"a\""},
		"pragma":                    {204, map[string]string{"Pragma": "no-cache"}, "HTTP/1.1 204 No Content\nCache-Control: no-cache\nConnection: close\nPragma: no-cache"},
	} {
		got := overHTTP2(t, getPage, func(w http.ResponseWriter, _ *http.Request) {
			for name, value := range c.fields {
				w.Header().Set(name, value)
			}
			w.WriteHeader(c.status)
		}, true)
		if len(got.told) != 1 || got.told[0] != c.want {
			t.Errorf("%s: %q, want %q", name, got.told, c.want)
		}
	}
}
