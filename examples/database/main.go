// Database stands between application servers and a database with replicas:
// it carries each connection to the primary, follows a failover, and keeps a
// primary of former times out.
//
//	go run ./examples/database -kind mysql -listen 127.0.0.1:3306 \
//	    -backends tcp://10.0.0.31:3306,tcp://10.0.0.32:3306 \
//	    -user probe -password-file /etc/shop/probe-password -memory /var/lib/shop/primary \
//	    -replicas-listen 127.0.0.1:3307 -status 127.0.0.1:8081
//
// The same for Redis, which may hold PHP's sessions; php.ini is in README.md:
//
//	go run ./examples/database -kind redis -listen 127.0.0.1:6379 \
//	    -backends tcp://10.0.0.41:6379,tcp://10.0.0.42:6379 -memory /var/lib/shop/redis-primary
//
// Over a wire that is not trusted, one on each side makes a tunnel:
//
//	database -kind tcp -listen 10.0.0.30:3300 -tls -cert far.pem -key far.key -ca ca.pem -backends tcp://127.0.0.1:3306
//	database -kind tcp -listen 127.0.0.1:3306 -cert near.pem -key near.key -ca ca.pem -backends tls://10.0.0.30:3300
//
// It never promotes: that is for the operator, or for what watches the
// databases. Garbage is collected at four times Go's usual distance (GOGC=400), up to
// a memory limit: set GOGC or GOMEMLIMIT to have it otherwise. Wrong flags and files are told before anything listens, with exit
// code 2.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/foretier/foretier/router/edge"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the drain
	tuneMemory(0)
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run is main with its surroundings as parameters. It returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	c, err := parse(args, stdout)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintf(stderr, "database: %v\n", err)
		return 2
	}
	lines := edge.NewLogWriter(stderr, nil) // nobody waits for whoever reads the log
	defer lines.Close()
	f, err := build(c, slog.New(edge.NewLogHandler(lines, edge.LogOptions{})))
	if err != nil {
		fmt.Fprintf(lines, "database: %v\n", err)
		return 2
	}
	if err := f.run(ctx); err != nil {
		fmt.Fprintf(lines, "database: %v\n", err)
		return 1
	}
	return 0
}
