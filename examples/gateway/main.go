// Gateway is a front tier from flags: balancing, sticky visitors, a cache, an
// origin that alone serves admin pages.
//
//	go run ./examples/gateway -backends http://10.0.0.11:8080,http://10.0.0.12:8080 \
//	    -origin http://10.0.0.10:8080 -admin /admin,/cron.php -probe /healthz -sticky pin
//
// Wrong flags, URLs, sizes, networks and files are told before anything
// listens, with exit code 2.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/foretier/foretier/router/edge"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the drain
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
	var handler slog.Handler = slog.NewTextHandler(stderr, nil)
	if c.log == "json" {
		handler = slog.NewJSONHandler(stderr, nil)
	}
	logger := slog.New(handler)
	if c.sticky != "" && c.stickyKey == nil {
		c.stickyKey = sharedKey(ctx, c, logger)
	}
	t, err := build(c, logger)
	if err != nil {
		fmt.Fprintf(stderr, "gateway: %v\n", err)
		if op := (*net.OpError)(nil); errors.As(err, &op) {
			return 1 // the flag is right, but the port is taken
		}
		return 2
	}
	background := t.background
	if c.status != "" {
		l, err := net.Listen("tcp", c.status)
		if err != nil {
			fmt.Fprintf(stderr, "gateway: -status: %v\n", err)
			return 1
		}
		background = append(background, statusServer{l, t.status})
	}
	logger.Info("serving", "addr", t.srv.Addr().String(), "what", describe(c))
	err = errors.Join(t.srv.Run(ctx, background...), t.Close())
	if err != nil {
		fmt.Fprintf(stderr, "gateway: %v\n", err)
		return 1
	}
	return 0
}

// statusServer serves the status page as long as the tier lives, through its
// drain too.
type statusServer struct {
	net.Listener
	http.Handler
}

var _ edge.Runner = statusServer{}

func (s statusServer) Run(ctx context.Context) error {
	srv := &http.Server{Handler: s.Handler, ReadHeaderTimeout: 5 * time.Second, WriteTimeout: 10 * time.Second, IdleTimeout: time.Minute}
	stop := context.AfterFunc(ctx, func() { srv.Close() })
	defer stop()
	if err := srv.Serve(s.Listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
