package foretier_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"strings"
	"testing"

	"github.com/foretier/foretier/balancer"
	"github.com/foretier/foretier/cache"
	"github.com/foretier/foretier/internal/testkit"
	"github.com/foretier/foretier/router/edge"
)

// TestConnectionNamesWhatGoesNoFurther: what Connection lists is for one connection (RFC
// 9110, section 7.6.1), of a request and of an answer, whatever way they go.
func TestConnectionNamesWhatGoesNoFurther(t *testing.T) {
	var asked http.Header
	app, _ := testkit.HTTPBackend(t, func(c net.Conn, r *http.Request) {
		asked = r.Header
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nConnection: close, x-b\r\nX-B: 1\r\nX-D: 1\r\nCache-Control: max-age=60\r\nContent-Length: 2\r\n\r\nok")
	})
	quiet := slog.New(slog.DiscardHandler)
	pool := func(opts balancer.Options) http.Handler {
		opts.Logger = quiet
		p := must(balancer.New(balancer.Backends(app), opts))
		t.Cleanup(func() { _ = p.Close() })
		return p
	}
	pages := must(cache.New(cache.Options{}))
	t.Cleanup(func() { _ = pages.Close() })
	direct := pool(balancer.Options{})
	ways := map[string]http.Handler{
		"directly":          direct,
		"by a ReverseProxy": pool(balancer.Options{Rewrite: func(*httputil.ProxyRequest) {}}),
		"by a cache":        pages.Handler(direct),
	}
	for name, way := range ways {
		bare := httptest.NewServer(way)
		t.Cleanup(bare.Close)
		srv := must(edge.New(way, edge.Options{Addr: "127.0.0.1:0", Linger: -1, Logger: quiet}))
		ctx, stop := context.WithCancel(context.Background())
		done := make(chan error)
		go func() { done <- srv.Run(ctx) }()
		t.Cleanup(func() { stop(); <-done })
		for front, addr := range map[string]string{"edge": srv.Addr().String(), "net/http": bare.Listener.Addr().String()} {
			for _, more := range []string{"", "Upgrade: websocket\r\n"} {
				connection := "close, x-a"
				if more != "" {
					connection += ", upgrade"
				}
				asked = nil
				answer := testkit.Send(t, addr, "GET /"+strings.ReplaceAll(name+front+more[:min(1, len(more))], " ", "/")+" HTTP/1.1\r\nHost: a\r\nConnection: "+connection+"\r\n"+more+"X-A: 1\r\nX-C: 1\r\n\r\n")
				if asked["X-A"] != nil || asked["X-C"] == nil {
					t.Errorf("%s, %s before it, %q: the backend is sent %v", name, front, more, asked)
				}
				if strings.Contains(answer, "X-B") || !strings.Contains(answer, "X-D: 1\r\n") || !strings.HasSuffix(answer, "\r\n\r\nok") {
					t.Errorf("%s, %s before it, %q: the client is sent %q", name, front, more, answer)
				}
			}
		}
	}
}
