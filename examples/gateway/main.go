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
// SIGTERM drains it, SIGHUP has it read its files again, SIGUSR2 has another gateway, the
// program that lies there now, take over.
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
	// Who sends these while the gateway starts does not want it to end.
	hup, usr2 := make(chan os.Signal, 1), make(chan os.Signal, 1) // one that waits is enough
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	onHandOver(usr2)
	defer signal.Stop(usr2)
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
	on, err := listenOn(c)
	if err != nil {
		fmt.Fprintf(stderr, "gateway: %v\n", err)
		return 2
	}
	t, err := build(c, on, logger, lines)
	if err != nil {
		_ = on.close() // or the server has
		fmt.Fprintf(stderr, "gateway: %v\n", err)
		return 2
	}
	logger.Info("gateway", "what", describe(c), "status_addr", on.status.String()) // where it serves is said when it does
	t.files.hup = hup
	out, _ := stderr.(*os.File)
	if err := t.run(ctx, out, usr2); err != nil {
		fmt.Fprintf(lines, "gateway: %v\n", err)
		return 1
	}
	return 0
}

// run serves until ctx ends, or another gateway has taken over at usr2, and all is
// drained. out is where the log of another goes; nil: there can be none.
func (t *tier) run(ctx context.Context, out *os.File, usr2 <-chan os.Signal) error {
	on := t.sockets
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	over, isOver := context.WithCancel(context.Background())
	defer isOver()
	leave := func() {
		isOver()
		end(edge.ErrHandedOver) // nobody has to notice
	}
	background := append(t.background, before(ctx, succession{t.config.args, out, on, t.snapshot, t.log, usr2, leave}))
	if len(on.status) > 0 {
		background = append(background, t.status) // which keeps what its plots show
	}
	for _, l := range on.status {
		background = append(background, before(over, status.Server{Listener: on.gate.behind(l), Handler: t.status}))
	}
	var failed error
	if on.gate != nil {
		background = append(background, arrival{t.apps, on.gate, t.log, func(err error) {
			failed = err
			leave()
		}})
	}
	err := t.srv.Run(ctx, background...)
	if failed != nil && t.snapshot != nil {
		t.snapshot.passed = true // of a cache that has served nobody
	}
	return errors.Join(err, failed, t.Close())
}

// silent keeps go-redis from writing lines of its own form among ours: whoever
// called it tells the failure.
type silent struct{}

func (silent) Printf(context.Context, string, ...any) {}
