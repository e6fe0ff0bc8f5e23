package edge_test

import (
	"bufio"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/internal/testkit"
	"github.com/foretier/foretier/router/edge"
)

// asked tells of whom, and with what, it was asked or served.
type asked struct{ got string }

func (h *asked) tell(r *http.Request) string {
	_, original := r.Header["X-Original-Url"]
	return strings.Join([]string{edge.Client(r).String(), r.Host, r.URL.String(), r.Header.Get("X-Forwarded-For"), strconv.FormatBool(original)}, " ")
}

func (h *asked) ServeHTTP(_ http.ResponseWriter, r *http.Request) { h.got = h.tell(r) }
func (h *asked) Explain(r *http.Request) health.Decision {
	return health.Decision{Part: "handler", Verdict: h.tell(r)}
}

// Who is asked about a request that has not been served gets it as who serves it:
// from the client whom edge believes, cleaned, or not at all.
func TestExplainAdmitsAsServingDoes(t *testing.T) {
	h := &asked{}
	srv, err := edge.New(h, edge.Options{Listener: testkit.Listen(t), Logger: slog.New(slog.DiscardHandler), Trusted: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, Limits: edge.Limits{Target: 100}})
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Close()
	for _, c := range []struct{ from, request string }{
		{"192.0.2.1:1", "GET /a HTTP/1.1\r\nHost: shop.example\r\nX-Forwarded-For: 192.0.2.9\r\nX-Original-URL: /admin"},
		{"10.0.0.1:1", "GET /a HTTP/1.1\r\nHost: shop.example\r\nX-Forwarded-For: 192.0.2.9, 10.0.0.2\r\nX-Route-Trace: 1"},
		{"192.0.2.1:1", "GET http://shop.example/a HTTP/1.1\r\nHost: shop.example"},
		{"192.0.2.1:1", "GET /a HTTP/1.1\r\nHost: a b"},
		{"192.0.2.1:1", "GET /a HTTP/1.1"},
		{"192.0.2.1:1", "GET /a HTTP/1.0"},
		{"192.0.2.1:1", "TRACE /a HTTP/1.1\r\nHost: shop.example"},
		{"192.0.2.1:1", "GET * HTTP/1.1\r\nHost: shop.example"},
		{"192.0.2.1:1", "GET /" + strings.Repeat("a", 100) + " HTTP/1.1\r\nHost: shop.example"},
	} {
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(c.request + "\r\n\r\n")))
		if err != nil {
			t.Fatal(err)
		}
		r.RemoteAddr = c.from
		d := srv.Explain(r)
		if again := srv.Explain(r); again.String() != d.String() {
			t.Errorf("%q: explained as %s, then as %s", c.request, d, again)
		}
		h.got = ""
		w := httptest.NewRecorder()
		srv.ServeHTTP(w, r)
		if did := h.got; d.Part == "handler" && did != d.Verdict || d.Part == "edge" && (did != "" || strconv.Itoa(w.Code) != d.Verdict) {
			t.Errorf("%q: explained was %s, served was %d %q", c.request, d, w.Code, did)
		}
	}
	if d := srv.Explain(&http.Request{Method: "GET", RequestURI: "/", Host: "shop.example", URL: &url.URL{Path: "/"}}); d.Part != "handler" {
		t.Errorf("a request without a header: %s", d)
	}
}
