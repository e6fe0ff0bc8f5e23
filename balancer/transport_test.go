package balancer

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// transportOf answers for backends of FastCGI, and has no way to others.
type transportOf struct{ chunks bool }

func (f transportOf) to(b Backend) http.RoundTripper {
	if !strings.HasPrefix(b.URL, "fcgi:") {
		return nil
	}
	return f
}

func (f transportOf) NoChunks() bool { return !f.chunks }

func (f transportOf) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	told := fmt.Sprintf("%s %s %d %s", r.URL, r.Host, r.ContentLength, body)
	return &http.Response{StatusCode: 200, ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(told)), ContentLength: int64(len(told))}, nil
}

// TestTransportOfSomeBackends: whoever brings a way to servers of FastCGI leaves all
// others to the pool, and gets bodies with a length if it says so.
func TestTransportOfSomeBackends(t *testing.T) {
	plain := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "plain") }))
	defer plain.Close()
	p, err := New(Backends("fcgi://10.0.0.11:9000", "fcgi:///run/php.sock", plain.URL), Options{Policy: RoundRobin(), Transport: transportOf{}.to})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	seen := make(map[string]bool)
	for range 3 {
		w := httptest.NewRecorder()
		r := httptest.NewRequest("POST", "http://shop.example/a?b", struct{ io.Reader }{strings.NewReader("body")})
		r.ContentLength = -1
		p.ServeHTTP(w, r)
		seen[w.Body.String()] = true
	}
	for _, want := range []string{"http://10.0.0.11:9000/a?b shop.example 4 body", "http://localhost/a?b shop.example 4 body", "plain"} {
		if !seen[want] {
			t.Errorf("want %q among %v", want, seen)
		}
	}
	if got := p.Backends()[1].Name; got != "/run/php.sock" {
		t.Errorf("the socket is named %q", got)
	}
}

func TestURLsOfFastCGI(t *testing.T) {
	cases := []struct {
		url, says string
		way       bool
	}{
		{"fcgi://10.0.0.11:9000", "", true},
		{"fcgi:///run/php.sock", "", true},
		{"fcgi://10.0.0.11:9000", "want Options.Transport of balancer/fcgi", false},
		{"fcgi://10.0.0.11", "want a host and a port, such as fcgi://10.0.0.11:9000, or a socket, such as fcgi:///run/shop.sock", true},
		{"fcgi://10.0.0.11:9000/shop", "want a host and a port", true},
		{"fcgi://10.0.0.11:9000?root=/var/www", "no query", true},
		{"fcgi:///run/php.sock?root=/var/www", "such as fcgi:///run/shop.sock", true},
		{"fcgi:///" + strings.Repeat("a", 200), "at most 103 bytes", true},
		{"fcgi:/run/php.sock", "has no scheme", true},
	}
	for _, c := range cases {
		opts := Options{}
		if c.way {
			opts.Transport = transportOf{}.to
		}
		p, err := New(Backends(c.url), opts)
		if c.says == "" && err == nil {
			p.Close()
			continue
		}
		if err == nil || c.says == "" || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s, with a way %t: %v, want %q", c.url, c.way, err, c.says)
		}
	}
}
