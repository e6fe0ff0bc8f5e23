package health

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
)

func target(t *testing.T, rawURL string) Target {
	t.Helper()
	u, err := url.Parse(rawURL)
	if err != nil {
		t.Fatal(err)
	}
	return Target{Name: "web", URL: u}
}

func TestHTTPProbe(t *testing.T) {
	var got *http.Request
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r
		switch r.URL.Path {
		case "/elsewhere":
			http.Redirect(w, r, "/ok", http.StatusFound)
		case "/sick":
			w.WriteHeader(http.StatusServiceUnavailable)
		case "/empty":
			w.WriteHeader(http.StatusNoContent)
		}
	}))
	defer srv.Close()
	cases := []struct {
		path string
		want State
		note string
	}{
		{"", Up, "200 OK"},
		{"/ok?deep=1", Up, "200 OK"},
		{"/empty", Up, "204 No Content"},
		{"/elsewhere", Degraded, "302 Found"},
		{"/sick", Degraded, "503 Service Unavailable"},
	}
	for _, c := range cases {
		res, err := HTTP(c.path).Probe(context.Background(), target(t, srv.URL+"/base"))
		if err != nil || res.State != c.want || res.Note != c.note {
			t.Errorf("%s: got %v, %v; want %v %s", c.path, res, err, c.want, c.note)
		}
	}
	if got.Header.Get("X-Forwarded-Proto") != "https" {
		t.Error("the probe does not look like a request over TLS: it would be redirected")
	}
	p := HTTP("/ok")
	p.Host = "shop.example"
	if _, err := p.Probe(context.Background(), target(t, srv.URL)); err != nil || got.Host != "shop.example" {
		t.Errorf("Host: got %q, %v", got.Host, err)
	}
}

// TestHTTPProbeOfConnections holds that a target for connections can be asked in
// HTTP: at its own port, with the preface that this wants, or at another.
func TestHTTPProbeOfConnections(t *testing.T) {
	var host string
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host = r.Host
		if r.URL.Path != "/primary" {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	plain, secure := httptest.NewServer(h), httptest.NewTLSServer(h)
	defer plain.Close()
	defer secure.Close()
	addr := func(srv *httptest.Server) string { return srv.Listener.Addr().String() }
	_, text, err := net.SplitHostPort(addr(plain))
	if err != nil {
		t.Fatal(err)
	}
	plainPort, _ := strconv.Atoi(text)
	_, text, _ = net.SplitHostPort(addr(secure))
	securePort, _ := strconv.Atoi(text)
	trust := secure.Client().Transport.(*http.Transport).TLSClientConfig

	prefaced, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer prefaced.Close()
	go func() { // takes a preface off and hands the rest on
		c, err := prefaced.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		if _, err := io.ReadFull(c, make([]byte, 4)); err != nil {
			return
		}
		b, err := net.Dial("tcp", addr(plain))
		if err != nil {
			return
		}
		defer b.Close()
		go func() { _, _ = io.Copy(b, c) }()
		_, _ = io.Copy(c, b)
	}()

	nowhere := "127.0.0.1:1"
	cases := []struct {
		name  string
		url   string
		probe *HTTPProbe
		want  State
		asked string
	}{
		{"its own port", "tcp://" + addr(plain), &HTTPProbe{Path: "/primary"}, Up, addr(plain)},
		{"which says no", "tcp://" + addr(plain), &HTTPProbe{Path: "/replica"}, Degraded, addr(plain)},
		{"in TLS", "tls://" + addr(secure), &HTTPProbe{Path: "/primary"}, Up, addr(secure)},
		{"behind a preface", "tcp://" + prefaced.Addr().String(), &HTTPProbe{Path: "/primary"}, Up, prefaced.Addr().String()},
		{"another port", "tcp://" + nowhere, &HTTPProbe{Path: "/primary", Port: plainPort}, Up, addr(plain)},
		{"of a target in TLS", "tls://" + nowhere, &HTTPProbe{Path: "/primary", Port: plainPort}, Up, addr(plain)},
		{"of a web server", "https://" + nowhere, &HTTPProbe{Path: "/primary", Port: plainPort}, Up, addr(plain)},
		{"of one in HTTP/2", "h2c://" + nowhere, &HTTPProbe{Path: "/primary", Port: plainPort}, Up, addr(plain)},
		{"another port in TLS", "tcp://" + nowhere, &HTTPProbe{Path: "/primary", Port: securePort, Secure: true}, Up, addr(secure)},
		{"a name of its own", "tcp://" + nowhere, &HTTPProbe{Path: "/primary", Port: plainPort, Host: "db1"}, Up, "db1"},
	}
	for _, c := range cases {
		to := target(t, c.url)
		to.TLS = trust
		if strings.Contains(c.name, "preface") || c.probe.Port != 0 {
			to.Preface = []byte("HELO") // not for another port
		}
		res, err := c.probe.Probe(context.Background(), to)
		if err != nil || res.State != c.want || host != c.asked {
			t.Errorf("%s: got %v, %v, asked as %q", c.name, res, err, host)
		}
	}
	for name, p := range map[string]*HTTPProbe{"a path": {Path: "/%zz"}, "a port": {Port: 70000}, "TLS of no port": {Secure: true}} {
		if p.Validate() == nil {
			t.Errorf("%s that cannot be is accepted", name)
		}
	}
}

// TestBackendWeight holds that a backend that asks for less than all is not
// given all.
func TestBackendWeight(t *testing.T) {
	cases := []struct {
		says   string
		weight float64
		last   bool
	}{
		{"", 0, false},
		{"0.5", 0.5, false},
		{"10%", 0.1, false},
		{" 50 % ", 0.5, false},
		{"100%", 1, false},
		{"3", 3, false},
		{"1e9", 10, false},
		{"2000%", 10, false},
		{"0", 0, true},
		{"0%", 0, true},
		{"0.0", 0, true},
		{"-0", 0, true},
		{"0,1", 0, true},
		{"-1", 0, true},
		{"none", 0, true},
		{"NaN", 0, true},
		{"inf", 0, true},
		{"1e999", 0, true},
		{"%", 0, true},
		{"50%%", 0, true},
	}
	for _, c := range cases {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Backend-Weight", c.says)
		}))
		res, err := HTTP("/").Probe(context.Background(), target(t, srv.URL))
		srv.Close()
		if err != nil || res.State != Up || res.Weight != c.weight || res.LastResort != c.last {
			t.Errorf("%q: got %+v, %v", c.says, res, err)
		}
		if c.last && !strings.Contains(res.Note, "Backend-Weight") {
			t.Errorf("%q: nothing tells why: %q", c.says, res.Note)
		}
	}
}

func TestProbesOfNobody(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	to := target(t, "http://"+l.Addr().String())
	if res, err := TCP().Probe(context.Background(), to); err != nil || res.State != Up {
		t.Errorf("TCP: got %v, %v", res, err)
	}
	l.Close()
	for name, p := range map[string]Probe{"HTTP": HTTP("/"), "TCP": TCP()} {
		_, err := p.Probe(context.Background(), to)
		if !Unreachable(err) {
			t.Errorf("%s: %v is not taken for a refusal", name, err)
		}
	}
	if Unreachable(errors.New("malformed response")) {
		t.Error("any error is taken for a refusal")
	}
}

func TestAddressHasThePortOfTheScheme(t *testing.T) {
	for in, want := range map[string]string{
		"http://web":      "web:80",
		"https://web":     "web:443",
		"h2c://[::1]":     "[::1]:80",
		"http://web:8080": "web:8080",
	} {
		if got := target(t, in).Address(); got != want {
			t.Errorf("%s: got %s, want %s", in, got, want)
		}
	}
}
