// Gateway is a front tier from flags: balancing, sticky visitors, a cache, an
// origin that alone serves admin pages.
//
//	go run ./examples/gateway -backends http://10.0.0.11:8080,http://10.0.0.12:8080 \
//	    -origin http://10.0.0.10:8080 -admin /admin,/cron.php -probe /healthz -sticky pin
//
// With -shop magento, shopware, wordpress or oxid it knows what is admin's, what is
// cached, and how the shop purges: see README.md.
//
// Garbage is collected at four times Go's usual distance (GOGC=400), up to a memory
// limit that grows with -cache. Set GOGC or GOMEMLIMIT to have it otherwise.
//
// Wrong flags, URLs, sizes, networks, files and ports in use are told before
// anything is served, with exit code 2.
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

	"github.com/redis/go-redis/v9"

	"github.com/foretier/foretier/health/status"
	"github.com/foretier/foretier/router/edge"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the drain
	redis.SetLogger(silent{})
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run is main with its surroundings as parameters. It returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	c, err := parse(args, stdout)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintf(stderr, "gateway: %v\n", err)
		return 2
	}
	if c.act != "" {
		if err := order(ctx, c.status, c.act, stdout); err != nil {
			fmt.Fprintf(stderr, "gateway: %v\n", err)
			return 1
		}
		return 0
	}
	return serve(ctx, c, stderr)
}

// serve builds the gateway and serves until ctx ends and all is drained.
func serve(ctx context.Context, c config, stderr io.Writer) int {
	tuneMemory(c.cacheSize)
	var logger *slog.Logger
	// Nobody waits for whoever reads the log.
	lines := edge.NewLogWriter(stderr, func(n uint64) { logger.Error("lines of the log were dropped: its reader stands still", "lines", n) })
	defer lines.Close()
	logger = slog.New(edge.NewLogHandler(lines, edge.LogOptions{JSON: c.log == "json"}))
	if c.sticky != "" && c.stickyKey == nil {
		c.stickyKey = sharedKey(ctx, c, logger)
	}
	// Every mistake shows before the first connection is accepted: a port in
	// use, too.
	pages, err := listenStatus(c.status)
	if err != nil {
		fmt.Fprintf(stderr, "gateway: %v\n", err)
		return 2
	}
	t, err := build(c, logger, lines)
	if err != nil {
		err = errors.Join(err, pages.Close())
		fmt.Fprintf(stderr, "gateway: %v\n", err)
		return 2
	}
	hup := make(chan os.Signal, 1) // one that waits is enough: files are read when it is heard
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	t.files.hup = hup
	background := t.background
	if len(pages) > 0 {
		background = append(background, t.status) // which keeps what its plots show
	}
	for _, l := range pages {
		background = append(background, status.Server{Listener: l, Handler: t.status})
	}
	logger.Info("gateway", "what", describe(c), "status_addr", pages.String()) // where it serves is said when it does
	err = errors.Join(t.srv.Run(ctx, background...), t.Close())
	if err != nil {
		fmt.Fprintf(lines, "gateway: %v\n", err)
		return 1
	}
	return 0
}

// silent keeps go-redis from writing lines of its own form among ours: whoever
// called it tells the failure.
type silent struct{}

func (silent) Printf(context.Context, string, ...any) {}
