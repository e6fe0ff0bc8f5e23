package balancer

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"strings"
	"testing"

	"github.com/foretier/foretier/internal/testkit"
)

// TestTargetGoesOnAsSent: whatever way leads to a backend, and whatever stands
// before the path there, no escape is undone and no parameter lost.
func TestTargetGoesOnAsSent(t *testing.T) {
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.RequestURI) })
	plain := httptest.NewServer(h)
	defer plain.Close()
	h2c := httptest.NewUnstartedServer(h)
	h2c.Config.Protocols = new(http.Protocols)
	h2c.Config.Protocols.SetUnencryptedHTTP2(true)
	h2c.Start()
	defer h2c.Close()
	h2 := strings.Replace(h2c.URL, "http", "h2c", 1)
	rewrite := Options{Rewrite: func(pr *httputil.ProxyRequest) {
		pr.Out.URL.Path, pr.Out.URL.RawPath = "/r"+pr.Out.URL.Path, "/r"+pr.Out.URL.EscapedPath()
	}}
	own := Options{Transport: func(Backend) http.RoundTripper { return http.DefaultTransport }}
	ways := map[string]struct {
		backends []Backend
		opts     Options
		base     string
	}{
		"HTTP/1":                 {Backends(plain.URL), Options{}, ""},
		"HTTP/2":                 {Backends(h2), Options{}, ""},
		"a handler":              {here(h), Options{}, ""},
		"a user's transport":     {Backends(plain.URL), own, ""},
		"a user's Rewrite":       {Backends(plain.URL), rewrite, "/r"},
		"a base path":            {Backends(plain.URL + "/shop/"), Options{}, "/shop"},
		"a base path over h2":    {Backends(h2 + "/shop"), Options{}, "/shop"},
		"an escaped base path":   {Backends(plain.URL + "/a%2Fb{c}/"), Options{}, "/a%2Fb%7Bc%7D"},
		"the same over h2":       {Backends(h2 + "/a%2Fb{c}%2F/"), Options{}, "/a%2Fb%7Bc%7D%2F"},
		"base, user's transport": {Backends(plain.URL + "/x%2Fy"), own, "/x%2Fy"},
	}
	for name, way := range ways {
		p := newPool(t, way.backends, way.opts)
		front := httptest.NewServer(p)
		defer front.Close()
		for sent, want := range map[string]string{
			"/a%2Fb{c}":             "/a%2Fb%7Bc%7D",
			"/a%2fb%7e\"^|":         "/a%2fb%7e%22%5E%7C",
			"/caf\xc3\xa9%2F%c3%a9": "/caf%C3%A9%2F%c3%a9",
			"/it's(a)!*[b];x":       "/it's(a)!*[b];x",
			"/?q=100%&page=2":       "/?q=100%&page=2",
			"/?a=1;b=2":             "/?a=1;b=2",
			"/?a={b}&c=%2f&%zz&=&":  "/?a={b}&c=%2f&%zz&=&",
			"/a?":                   "/a?",
			"/":                     "/",
		} {
			answer := testkit.Send(t, front.Listener.Addr().String(), "GET "+sent+" HTTP/1.0\r\nHost: shop.example\r\n\r\n")
			if _, got, _ := strings.Cut(answer, "\r\n\r\n"); got != way.base+want {
				t.Errorf("%s: %q came as %q, want %q", name, sent, got, way.base+want)
			}
		}
	}
}
