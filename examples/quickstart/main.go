// Quickstart is a whole front tier in one function. Start it with GOGC=400, and a
// GOMEMLIMIT of some 90% of what memory there is: with Go's own figures a heap of a
// few megabytes is collected over and over.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/foretier/foretier/balancer"
	"github.com/foretier/foretier/cache"
	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/router"
	"github.com/foretier/foretier/router/edge"
	"github.com/foretier/foretier/session"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends at once
	admin := router.Admin("/admin", "/cron.php")
	sticky := must(session.NewSticky(must(os.ReadFile("sticky.key")), session.StickyOptions{}))
	origin := must(balancer.New(balancer.Backends("http://10.0.0.10:8080"), balancer.Options{}))
	apps := must(balancer.New(balancer.Backends("http://10.0.0.11:8080", "http://10.0.0.12:8080"),
		balancer.Options{Probe: health.HTTP("/healthz"), Affinity: sticky, Refuse: admin}))
	pages := must(cache.New(cache.Options{MaxBytes: 256 << 20}))
	front := must(router.New(router.Options{},
		router.Rule{Name: "admin", When: admin, To: origin},
		router.Rule{Name: "upload", When: router.All(router.Method("POST", "PUT"), router.Path("/media/*")), To: pages.Handler(origin)},
		router.Rule{Name: "media", When: router.Path("/media/*"), To: pages.Handler(router.Fallback(apps, origin))},
		router.Rule{Name: "shop", To: pages.Handler(apps)},
	))
	srv := must(edge.New(front, edge.Options{Addr: ":8080", Linger: -1})) // nobody balances over several of these
	must(0, srv.Run(ctx, origin, apps, pages))
}
