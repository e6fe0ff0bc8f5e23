package fcgi

import (
	"bytes"
	"context"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/foretier/foretier/internal/transit"
)

// paramsOf returns the parameters of a request as a server reads them.
func paramsOf(t *testing.T, r *http.Request, run found) map[string]string {
	t.Helper()
	b, err := appendParams(appendBegin(nil), r, run, "/var/www/shop")
	if err != nil {
		t.Fatal(err)
	}
	in := bytes.NewReader(b)
	params, err := readParams(in)
	if err != nil {
		t.Fatal(err)
	}
	if rest, _ := io.ReadAll(in); len(rest) > 0 {
		t.Fatalf("behind the parameters there is %q", rest)
	}
	return params
}

func TestParams(t *testing.T) {
	r := httptest.NewRequest("POST", "/a%2Fb/../%7Bc?d=%zz;e&f=1", nil)
	r.Host, r.RemoteAddr, r.ContentLength = "shop.example:8443", "10.0.0.1:4711", 4
	r.Header = http.Header{
		"Content-Type": {"text/plain"}, "Content-Length": {"4"}, "Cookie": {"a=1", "b=2"}, "Accept": {"a", "b"}, "X-Long": {strings.Repeat("x", 200)},
		"Proxy": {"evil:80"}, "X_forwarded_for": {"1.2.3.4"}, "X.y": {"1"}, "Connection": {"close"}, "Te": {"trailers"}, "Transfer-Encoding": {"chunked"}, "User-Agent": {""},
		"X-Empty": {""}, "X-None": nil, "Authorization": {"Basic YTpi"},
	}
	ctx, rec := transit.With(context.Background())
	rec.Client, rec.Scheme = netip.MustParseAddr("2001:db8::7"), "https"
	r = r.WithContext(ctx)
	want := map[string]string{
		"GATEWAY_INTERFACE": "CGI/1.1", "SERVER_SOFTWARE": "foretier", "SERVER_PROTOCOL": "HTTP/1.1", "REDIRECT_STATUS": "200",
		"REQUEST_METHOD": "POST", "REQUEST_URI": "/a%2Fb/../%7Bc?d=%zz;e&f=1", "QUERY_STRING": "d=%zz;e&f=1", "REQUEST_SCHEME": "https", "HTTPS": "on",
		"DOCUMENT_ROOT": "/var/www/shop", "DOCUMENT_URI": "/index.php/x", "SCRIPT_NAME": "/index.php", "SCRIPT_FILENAME": "/var/www/shop/index.php", "PATH_INFO": "/x",
		"CONTENT_TYPE": "text/plain", "CONTENT_LENGTH": "4", "REMOTE_ADDR": "2001:db8::7", "SERVER_NAME": "shop.example", "SERVER_PORT": "8443",
		"HTTP_HOST": "shop.example:8443", "HTTP_COOKIE": "a=1; b=2", "HTTP_ACCEPT": "a, b", "HTTP_X_LONG": strings.Repeat("x", 200), "HTTP_X_EMPTY": "", "HTTP_AUTHORIZATION": "Basic YTpi",
	}
	got := paramsOf(t, r, found{script: "/index.php", info: "/x"})
	if !maps.Equal(got, want) {
		for name := range maps.Keys(want) {
			if v, ok := got[name]; !ok || v != want[name] {
				t.Errorf("%s: %q, want %q", name, v, want[name])
			}
			delete(got, name)
		}
		t.Errorf("and beyond: %q", got)
	}
}

// TestParamsOfAPlainRequest: what the client has not said is not made up.
func TestParamsOfAPlainRequest(t *testing.T) {
	r := httptest.NewRequest("GET", "/", nil)
	r.RemoteAddr = "192.0.2.7:4711"
	got := paramsOf(t, r, found{script: "/index.php"})
	for name, want := range map[string]string{"REMOTE_ADDR": "192.0.2.7", "REMOTE_PORT": "4711", "SERVER_PORT": "80", "CONTENT_LENGTH": "", "CONTENT_TYPE": "", "QUERY_STRING": ""} {
		if v, ok := got[name]; !ok || v != want {
			t.Errorf("%s: %q, want %q", name, v, want)
		}
	}
	for _, name := range []string{"HTTPS", "PATH_INFO", "HTTP_PROXY", "HTTP_USER_AGENT"} {
		if v, ok := got[name]; ok {
			t.Errorf("%s: %q, want none", name, v)
		}
	}
	r.RemoteAddr = "@"
	if got := paramsOf(t, r, found{script: "/index.php"}); got["REMOTE_ADDR"] != "" || got["REMOTE_PORT"] != "" {
		t.Errorf("of nobody: %q", got["REMOTE_ADDR"])
	}
}

// TestParamsBeyondARecord: PHP wants each parameter whole in its record.
func TestParamsBeyondARecord(t *testing.T) {
	for _, n := range []int{127, 128, 30_000, 65_000, maxContent - 4 - 4 - len("HTTP_X_A") + 3} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header = http.Header{"X-A": {strings.Repeat("a", n)}, "X-B": {strings.Repeat("b", n)}, "X-C": {strings.Repeat("c", n)}}
		got := paramsOf(t, r, found{script: "/index.php"})
		for name, c := range map[string]string{"HTTP_X_A": "a", "HTTP_X_B": "b", "HTTP_X_C": "c"} {
			if got[name] != strings.Repeat(c, n) {
				t.Errorf("%d bytes: %s has %d", n, name, len(got[name]))
			}
		}
	}
	r := httptest.NewRequest("GET", "/", nil)
	r.Header = http.Header{"X-A": {strings.Repeat("a", maxContent)}}
	if _, err := appendParams(nil, r, found{script: "/index.php"}, "/var/www/shop"); err != errLarge {
		t.Errorf("a field that fits into no record: %v", err)
	}
}
