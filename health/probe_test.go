package health

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
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
