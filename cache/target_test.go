package cache

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/foretier/foretier/internal/target"
)

// as returns a request for a target as a server would read it.
func as(t *testing.T, method, host, line string) *http.Request {
	t.Helper()
	r := httptest.NewRequest(method, "http://"+host+"/", nil)
	u, err := url.ParseRequestURI(line)
	if err != nil {
		t.Fatal(err)
	}
	r.URL, r.RequestURI = u, line
	return r
}

// The key is what is forwarded, to the byte: what differs there is two pages,
// and what is fetched is what was asked for.
func TestKeyIsTheTargetAsForwarded(t *testing.T) {
	b := &backend{header: control("max-age=60"), answer: func(w http.ResponseWriter, r *http.Request, _ int) {
		_, _ = io.WriteString(w, target.Of(r.URL).String()+" "+r.RequestURI)
	}}
	_, h := open(t, Options{Rules: Rules{Plan: func(*http.Request) Plan { return Plan{Query: Query{Drop: Tracking()}} }}}, b)
	for range 2 {
		for line, want := range map[string]string{
			"/a%2Fb{c}":                  "/a%2Fb%7Bc%7D /a%2Fb{c}",
			"/a/b{c}":                    "/a/b%7Bc%7D /a/b{c}",
			"/a%2Fb{c}?utm_x=1&q=100%&;": "/a%2Fb%7Bc%7D?q=100%&; /a%2Fb%7Bc%7D?q=100%&;",
			"/a%2Fb{c}?gclid=1":          "/a%2Fb%7Bc%7D /a%2Fb{c}", // which is stored
			"/caf%c3%a9":                 "/caf%c3%a9 /caf%c3%a9",
			"/caf%C3%A9":                 "/caf%C3%A9 /caf%C3%A9",
			"/a?q=100%&page=2":           "/a?q=100%&page=2 /a?q=100%&page=2",
			"/a?a=1;b=2":                 "/a?a=1;b=2 /a?a=1;b=2",
		} {
			if line == "/a%2Fb{c}?gclid=1" {
				do(h, as(t, "GET", "a.example", "/a%2Fb{c}"))
			}
			if w := do(h, as(t, "GET", "a.example", line)); w.Body.String() != want {
				t.Errorf("%s: got %q, want %q", line, w.Body, want)
			}
		}
	}
	if n := b.calls.Load(); n != 7 {
		t.Errorf("%d fetches", n)
	}
}
