package edge_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/foretier/foretier/internal/testkit"
	"github.com/foretier/foretier/router/edge"
)

// TestNothingSecretIsLogged of a request, in any form of the log, whoever has read it:
// neither what its fields have nor a login in a URL, though its handler panics.
func TestNothingSecretIsLogged(t *testing.T) {
	h := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("a bug") })
	for _, netHTTP := range []bool{false, true} {
		var log, combined lines
		srv := serve(t, h, edge.Options{Logger: log.Logger(), Combined: &combined, NetHTTP: netHTTP})
		for _, raw := range []string{
			"GET http://u:s3cr3t@a/ HTTP/1.1\r\nHost: a\r\n", "GET / HTTP/1.1\r\nHost: u:s3cr3t@a\r\n",
			"GET /fine HTTP/1.1\r\nHost: a\r\nCookie: s3cr3t\r\nAuthorization: s3cr3t\r\nX-Request-Id: s3cr3t\r\nTraceparent: s3cr3t\r\nReferer: https://u:s3cr3t@a/b\r\n",
		} {
			out := testkit.Send(t, srv.Addr().String(), raw+"Connection: close\r\n\r\n")
			if !strings.HasPrefix(out, "HTTP/1.1 ") {
				t.Errorf("answered %q", out)
			}
		}
		waitFor(t, func() bool {
			return strings.Contains(combined.String(), "/fine") && strings.Contains(log.String(), "/fine")
		})
		for line := range strings.Lines(log.String() + combined.String()) {
			if strings.Contains(line, "s3cr3t") {
				t.Errorf("net/http %t: %s", netHTTP, line)
			}
		}
		if !strings.Contains(combined.String(), `"https://...@a/b"`) {
			t.Errorf("what may be told is not: %s", combined.String())
		}
	}
}
