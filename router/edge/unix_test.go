package edge_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/foretier/foretier/internal/testkit"
	"github.com/foretier/foretier/router/edge"
)

// TestASocketOfThisMachine: who comes over it is as one who comes over the loopback,
// trusted if that is.
func TestASocketOfThisMachine(t *testing.T) {
	authority := testkit.NewAuthority(t)
	page := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.Proto, " ", r.RemoteAddr, " ", edge.Client(r))
	})
	for name, c := range map[string]struct {
		trusted []netip.Prefix
		secure  bool
		h2      bool
		want    string
	}{
		"plain":              {nil, false, false, "HTTP/1.1 127.0.0.1:0 127.0.0.1"},
		"of a proxy":         {[]netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, false, false, "HTTP/1.1 127.0.0.1:0 192.0.2.7"},
		"of a proxy, by TLS": {[]netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, true, false, "HTTP/1.1 127.0.0.1:0 192.0.2.7"},
		"of a proxy, HTTP/2": {[]netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, true, true, "HTTP/2.0 127.0.0.1:0 192.0.2.7"},
	} {
		t.Run(name, func(t *testing.T) {
			dir, err := os.MkdirTemp("", "s") // a test's own is too long for a socket
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { os.RemoveAll(dir) })
			path := filepath.Join(dir, "gateway.sock")
			l, err := edge.ListenUnix(path, 0o600)
			if err != nil {
				t.Fatal(err)
			}
			opts := edge.Options{Listener: l, Trusted: c.trusted}
			url := "http://shop.example/"
			if c.secure {
				opts.TLS = &tls.Config{Certificates: []tls.Certificate{authority.Issue(t, "shop.example")}}
				url = "https://shop.example/"
			}
			serve(t, page, opts)
			tr := &http.Transport{
				DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
					return new(net.Dialer).DialContext(ctx, "unix", path)
				},
				TLSClientConfig: &tls.Config{RootCAs: authority.Pool}, ForceAttemptHTTP2: c.h2,
			}
			defer tr.CloseIdleConnections()
			for range 3 {
				req, err := http.NewRequest("GET", url, nil)
				if err != nil {
					t.Fatal(err)
				}
				req.Header.Set("X-Forwarded-For", "192.0.2.7")
				res, err := tr.RoundTrip(req)
				if err != nil {
					t.Fatal(err)
				}
				body, err := io.ReadAll(res.Body)
				res.Body.Close()
				if string(body) != c.want || err != nil {
					t.Errorf("%s, %v, want %s", body, err, c.want)
				}
			}
		})
	}
}

// TestASocketIsTakenOver: what was passed on goes by its path, and its file goes with it.
func TestASocketIsTakenOver(t *testing.T) {
	dir, err := os.MkdirTemp("", "s") // a test's own is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "gateway.sock")
	first, err := edge.ListenUnix(path, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	f, err := first.(interface{ File() (*os.File, error) }).File()
	if err != nil {
		t.Fatal(err)
	}
	passed, err := net.FileListener(f)
	f.Close()
	if err != nil {
		t.Fatal(err)
	}
	second, err := edge.TakeOverUnix(passed, path)
	if err != nil {
		t.Fatal(err)
	}
	if second.Addr().String() != path {
		t.Errorf("it is at %s", second.Addr())
	}
	first.(interface{ Leave() }).Leave()
	first.Close()
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("the first has taken it away: %v", err)
	}
	second.Close()
	if _, err := os.Lstat(path); err == nil {
		t.Error("it is still there")
	}
	if _, err := edge.TakeOverUnix(testkit.Listen(t), path); err == nil {
		t.Error("a port was taken over as a socket")
	}
}
