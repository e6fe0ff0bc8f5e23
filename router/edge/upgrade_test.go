package edge_test

import (
	"bufio"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"testing"
	"time"

	"github.com/foretier/foretier/internal/testkit"
	"github.com/foretier/foretier/internal/transit"
	"github.com/foretier/foretier/router"
	"github.com/foretier/foretier/router/edge"
)

// An upgrade is answered past the tier's writers, and is a 101 all the same:
// in the log, in the figures, and with what the tier adds to every answer.
func TestUpgradeIsA101(t *testing.T) {
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/no" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		c, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSet-Cookie: own=1\r\n\r\nhello")
	}))
	t.Cleanup(backend.Close)
	u, err := url.Parse(backend.URL)
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{Rewrite: func(pr *httputil.ProxyRequest) { pr.SetURL(u) }}
	split, err := router.NewSplit("arm", router.Arm{Name: "now", Weight: 1, To: proxy})
	if err != nil {
		t.Fatal(err)
	}
	// A handler in this process that asks for the interface, as some libraries do.
	own := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "5") // of an answer that it does not give
		c, rw, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		_, _ = rw.WriteString("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nhello")
		_ = rw.Flush()
	})
	mux := http.NewServeMux()
	mux.Handle("/", split)
	mux.Handle("/own", own)
	for _, c := range []struct {
		path, proto   string
		status        int
		hsts, cookies bool
	}{
		{"/live", "wss", 101, true, true},
		{"/live", "WSS", 101, true, true},
		{"/live", "https", 101, true, true},
		{"/live", "ws", 101, false, true},
		{"/live", "http, wss", 101, true, true},
		{"/no", "wss", 403, true, true},
		{"/own", "wss", 101, false, false}, // it writes its own head
	} {
		var log lines
		srv := serve(t, mux, edge.Options{Trusted: loopback, HSTS: time.Minute, Logger: log.Logger()})
		conn := testkit.Dial(t, srv.Addr().String())
		if _, err := io.WriteString(conn, "GET "+c.path+" HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX-Forwarded-Proto: "+c.proto+"\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		in := bufio.NewReader(conn)
		res, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatal(err)
		}
		if res.StatusCode == 101 {
			if rest, err := io.ReadAll(in); err != nil || string(rest) != "hello" {
				t.Errorf("%+v: then %q, %v", c, rest, err)
			}
		}
		conn.Close()
		names := map[string]bool{}
		for _, cookie := range res.Cookies() {
			names[cookie.Name] = cookie.Secure
		}
		secure, split := names["arm"]
		if hsts := res.Header.Get("Strict-Transport-Security") == "max-age=60"; res.StatusCode != c.status || hsts != c.hsts || split != c.cookies || secure != (c.hsts && c.cookies) {
			t.Errorf("%+v: got %s, %v", c, res.Status, res.Header)
		}
		waitFor(t, func() bool { return len(requests(log.all(t))) == 1 })
		if got := requests(log.all(t))[0]["status"]; got != float64(c.status) {
			t.Errorf("%+v: logged as %v", c, got)
		}
		for _, m := range srv.Report().Metrics {
			if m.Name == "responses_total" && m.Labels[0].Value == "1xx" && (m.Value == 1) != (c.status == 101) {
				t.Errorf("%+v: %v answers of 1xx", c, m.Value)
			}
		}
	}
}

// requests returns the lines of requests.
func requests(all []map[string]any) (out []map[string]any) {
	for _, line := range all {
		if line["target"] != nil {
			out = append(out, line)
		}
	}
	return out
}

// Nobody takes over an HTTP/2 connection; the answer is then an ordinary one.
func TestHijackOverHTTP2(t *testing.T) {
	certs, err := edge.Certificates(pair(t, t.TempDir(), "a.example", time.Now().Add(time.Hour)))
	if err != nil {
		t.Fatal(err)
	}
	srv := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, _, err := http.NewResponseController(w).Hijack(); err == nil {
			t.Error("it was taken over")
		}
		transit.Fail(w, r, http.StatusTeapot, nil)
	}), edge.Options{Certificates: certs})
	res, err := http2Client(t).Get("https://" + srv.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusTeapot {
		t.Errorf("got %s", res.Status)
	}
}
