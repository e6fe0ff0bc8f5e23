package edge_test

import (
	"bufio"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/foretier/foretier/router/edge"
)

func TestRedirect(t *testing.T) {
	for _, c := range []struct{ host, target, want string }{
		{"shop.example", "/a?b=c", "https://shop.example/a?b=c"},
		{"shop.example:80", "/", "https://shop.example/"},
		{"[::1]:80", "/", "https://[::1]/"},
		{"[::1]", "/", "https://[::1]/"},
		{"shop.example", "//evil.example/", "https://shop.example//evil.example/"},
		{"shop.example", "/a%0d%0aX:%20y", "https://shop.example/a%0d%0aX:%20y"},
		{"shop.example", "/a%2Fb{c}?q=100%&a;b", "https://shop.example/a%2Fb%7Bc%7D?q=100%&a;b"},
		{"shop.example", "http://shop.example", "https://shop.example/"},
		{"shop.example", "http://shop.example?a=/b", "https://shop.example/?a=/b"},
		{"shop.example", "http://shop.example/a?b", "https://shop.example/a?b"},
		{"shop.example", "*", "https://shop.example/"},
		{"shop.example", "/a%2Fb{c}%7e?q=100%&x={y};z", "https://shop.example/a%2Fb%7Bc%7D%7e?q=100%&x=%7By%7D;z"},
		{"shop.example", "/it's(a)?", "https://shop.example/it's(a)?"},
	} {
		for port, h := range map[string]http.Handler{"": edge.HTTPSRedirect(), ":8443": redirectPort(t, 8443), ":443": redirectPort(t, 443)} {
			r, err := http.ReadRequest(bufio.NewReader(strings.NewReader("OPTIONS " + c.target + " HTTP/1.1\r\nHost: " + c.host + "\r\n\r\n")))
			if err != nil {
				t.Fatal(err)
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			want := c.want
			if port == ":8443" {
				host := strings.TrimSuffix(c.host, ":80")
				want = strings.Replace(want, host, host+port, 1)
			}
			if got := w.Header().Get("Location"); got != want || w.Code != http.StatusPermanentRedirect {
				t.Errorf("%s %s: %d %q, want %q", c.host, c.target, w.Code, got, want)
			}
		}
	}
}

func redirectPort(t *testing.T, port int) http.Handler {
	t.Helper()
	h, err := edge.HTTPSRedirectPort(port)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// There is nowhere to send a request without a host.
func TestRedirectWithoutHost(t *testing.T) {
	srv := serve(t, edge.HTTPSRedirect(), edge.Options{})
	if got := ask(t, srv.Addr().String(), "GET /a HTTP/1.0\r\n\r\n"); got != 400 {
		t.Errorf("without a host: %d, want 400", got)
	}
	if got := ask(t, srv.Addr().String(), "GET /a HTTP/1.0\r\nHost: shop.example\r\n\r\n"); got != 308 {
		t.Errorf("with one: %d, want 308", got)
	}
	w := httptest.NewRecorder() // where no edge has looked at it
	edge.HTTPSRedirect().ServeHTTP(w, &http.Request{Host: "a/b", URL: &url.URL{Path: "/"}})
	if w.Code != 400 {
		t.Errorf("a host that is none: %d, want 400", w.Code)
	}
	for _, port := range []int{0, -1, 65536} {
		if _, err := edge.HTTPSRedirectPort(port); err == nil || !strings.Contains(err.Error(), "from 1 to 65535") {
			t.Errorf("port %d: got %v", port, err)
		}
	}
}
