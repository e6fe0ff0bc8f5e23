package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/foretier/foretier/cache/cachetest"
	"github.com/foretier/foretier/router/edge/edgetest"
	"github.com/foretier/foretier/router/routertest"
)

// inVirtualTime runs f in a bubble with the gateway that flags make, without a port: the
// servers at these URLs are handlers.
func inVirtualTime(t *testing.T, servers map[string]http.Handler, args []string, f func(t *testing.T, log *edgetest.Log, gateway *edgetest.Front)) {
	t.Helper()
	c, err := parse(args, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	c.handlers = servers
	synctest.Test(t, func(t *testing.T) {
		log, l := new(edgetest.Log), edgetest.Listen()
		tier, err := build(c, sockets{main: l}, slog.New(slog.NewTextHandler(log, nil)))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := tier.Close(); err != nil {
				t.Error(err)
			}
		})
		f(t, log, edgetest.Run(t, l, tier.srv, func(ctx context.Context) error { return tier.srv.Run(ctx, tier.background...) }))
	})
}

// TestTheGatewaysFrontInVirtualTime: flags, asked of as clients do, for hours.
func TestTheGatewaysFrontInVirtualTime(t *testing.T) {
	app, origin := new(cachetest.Origin), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "origin for %s", r.Header.Get("X-Forwarded-For"))
	})
	app.Set("/product/42", "10 €", "Cache-Control: max-age=3600", "Cache-Tag: product-42")
	app.Set("/healthz", "ok")
	moved := filepath.Join(t.TempDir(), "moved.csv")
	if err := os.WriteFile(moved, []byte("/old,/new\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	servers := map[string]http.Handler{"http://10.0.0.11": app, "http://10.0.0.10": origin}
	flags := []string{
		"-backends", "http://10.0.0.11", "-origin", "http://10.0.0.10", "-admin", "/admin", "-probe", "/healthz", "-redirects", moved,
		"-purge-from", "10.0.0.0/8", "-trust", "192.0.2.0/24", "-compress", "off",
	}
	inVirtualTime(t, servers, flags, func(t *testing.T, log *edgetest.Log, gateway *edgetest.Front) {
		time.Sleep(time.Minute) // of the bubble's: the probes have passed
		routertest.Reaches(t, gateway, "origin", "/admin")
		routertest.Table(t, gateway,
			routertest.Row{Target: "/old", Status: 301, Has: []string{"Location: /new"}, Pool: routertest.None},
			routertest.Row{Target: "/%61dmin", Client: "203.0.113.9", Peer: "192.0.2.1", Status: 200, Body: "origin for 203.0.113.9"},
		)
		purge := cachetest.Row{Method: "PURGE", Target: "/product/42", Client: "10.0.0.7", Fields: []string{"Soft-Purge: 1"}, Status: 200, Body: "responses: 1"}
		away := purge
		away.Client, away.Status, away.Body = "203.0.113.9", 403, ""
		cachetest.Table(t, gateway,
			cachetest.Row{Target: "/product/42", Body: "10 €", From: "miss"},
			cachetest.Row{After: 59 * time.Minute, Target: "/product/42", From: "hit"},
			away,
			purge,
			cachetest.Row{Target: "/product/42", From: "stale"}, // and is fetched behind that
			cachetest.Row{Target: "/product/42", From: "hit"},
			cachetest.Row{Do: app.Die, After: 3 * time.Hour, Target: "/product/42", Body: "10 €", From: "stale"},
			cachetest.Row{Do: app.Live, After: time.Minute, Target: "/product/42", From: "miss"},
		)
		if down := log.Lines("backend is down", "10.0.0.11"); len(down) != 1 {
			t.Errorf("the log has %q of a server that died", down)
		}
		if lines := log.Lines("msg=request", "client=203.0.113.9", "status=403"); len(lines) != 1 {
			t.Errorf("the log has %q of a client that may not purge", lines)
		}
	})
}
