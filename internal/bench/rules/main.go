// Rules is a tier with as many rules as asked for, of which a request for
// /n1024/section-LAST/ takes the last: what the gateway's flags cannot say.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/foretier/foretier/balancer"
	"github.com/foretier/foretier/router"
	"github.com/foretier/foretier/router/edge"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:8080", "`HOST:PORT` to serve on")
	backend := flag.String("backend", "", "`URL` of the application server")
	n := flag.Int("rules", 5, "`NUMBER` of rules")
	flag.Parse()
	debug.SetGCPercent(400) // as the examples do
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	apps := must(balancer.New(balancer.Backends(*backend), balancer.Options{}))
	var rules []router.Rule
	for i := range *n {
		rules = append(rules, router.Rule{Name: fmt.Sprint("section-", i), When: router.Path(fmt.Sprintf("/n1024/section-%d/*", i)), To: apps})
	}
	rules = append(rules, router.Rule{Name: "rest", To: apps}) // a table needs one
	front := must(router.New(router.Options{}, rules...))
	srv := must(edge.New(front, edge.Options{Addr: *listen, Linger: -1, NoAccessLog: true}))
	must(0, srv.Run(ctx, apps))
}

func must[T any](v T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return v
}
