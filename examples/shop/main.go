// Shop is a whole web shop with a tier in front, in one process: three shop
// servers, of which web0 is the origin, sessions, a cache, and the rules that
// send each request where it belongs.
//
//	go run ./examples/shop             # then open http://localhost:8080
//	go run ./examples/shop -tour       # checks what the tier promises, row by row
//	go run ./examples/shop -redis redis://127.0.0.1:6379/0
//	go run ./examples/shop -memcached 127.0.0.1:11211
//
// Garbage is collected at four times Go's usual distance (GOGC=400), up to a memory
// limit. Set GOGC or GOMEMLIMIT to have it otherwise.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/bradfitz/gomemcache/memcache"
	"github.com/redis/go-redis/v9"

	"github.com/foretier/foretier/health/status"
	"github.com/foretier/foretier/router/edge"
	"github.com/foretier/foretier/session"
	"github.com/foretier/foretier/session/memcachestore"
	"github.com/foretier/foretier/session/redisstore"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the drain
	tuneMemory(cacheBytes)
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	fs := flag.NewFlagSet("shop", flag.ContinueOnError)
	fs.SetOutput(stderr)
	listen := fs.String("listen", ":8080", "`HOST:PORT` of the tier")
	redisURL := fs.String("redis", "", "redis:// `URL` for the sessions (empty: in memory)")
	memcached := fs.String("memcached", "", "`HOST:PORT,...` for the sessions (empty: in memory)")
	statusAt := fs.String("status", "127.0.0.1:0", "`HOST:PORT` of the page that shows how the tier is, and takes orders: of the loopback (port 0: any free one)")
	linger := fs.Duration("linger", 0, "`TIME` for which connections are still accepted after Ctrl-C, so that a balancer in front can notice (0: none)")
	tour := fs.Bool("tour", false, "check what the tier promises, print a table, exit 1 if a row failed")
	verbose := fs.Bool("v", false, "log every request")
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return 0
		}
		return 2
	}
	if fs.NArg() > 0 {
		fmt.Fprintf(stderr, "shop: %q is no flag: the shop takes flags only\n", fs.Arg(0))
		return 2
	}
	if err := checkFlags(*listen, *redisURL, *memcached); err != nil {
		fmt.Fprintf(stderr, "shop: %v\n", err)
		return 2
	}
	if host, _, err := net.SplitHostPort(*statusAt); err != nil || host != "localhost" && !net.ParseIP(host).IsLoopback() {
		fmt.Fprintf(stderr, "shop: -status %q: want a port of the loopback, such as 127.0.0.1:8081: whoever reaches it may take servers out\n", *statusAt)
		return 2
	}
	if *linger < 0 {
		fmt.Fprintf(stderr, "shop: -linger %s: want a time such as 10s, or 0\n", *linger)
		return 2
	}
	level := slog.LevelWarn
	if *verbose {
		level = slog.LevelInfo
	}
	lines := edge.NewLogWriter(stderr, nil) // nobody waits for whoever reads the log
	defer lines.Close()
	logger := slog.New(edge.NewLogHandler(lines, edge.LogOptions{Level: level}))
	store, shared, err := openStore(ctx, *redisURL, *memcached, logger)
	if err != nil {
		fmt.Fprintf(lines, "shop: %v\n", err)
		return 2
	}
	if *tour {
		return tourTable(ctx, store, shared, stdout, slog.New(slog.DiscardHandler))
	}
	page, err := net.Listen("tcp", *statusAt)
	if err != nil {
		fmt.Fprintf(lines, "shop: -status %q: %v: want a free port of this machine\n", *statusAt, err)
		return 2
	}
	defer page.Close()
	f, err := newFarm(*listen, *linger, store, logger)
	if err != nil {
		fmt.Fprintf(lines, "shop: %v\n", err)
		return 2
	}
	f.run = append(f.run, f.page, status.Server{Listener: page, Handler: f.page})
	greet(stdout, local(f.srv.Addr().String()), "http://"+page.Addr().String())
	if err := f.Run(ctx); err != nil {
		fmt.Fprintf(lines, "shop: %v\n", err)
		return 1
	}
	return 0
}

func greet(w io.Writer, base, status string) {
	fmt.Fprint(w, strings.NewReplacer("BASE", base, "STATUS", status).Replace(`STATUS shows how all of it is, live: take a server out there, and watch.
A shop on three servers with a tier in front: BASE

  BASE/              the catalogue, 30 ms to render, then from the cache
  BASE/product/1     X-Served-By says who rendered it, Cache-Status why it was fast
  BASE/cart          yours alone, in the session
  BASE/admin         web0 alone answers, also as /%61dmin, //admin or /index.php/admin

Try:
  curl -i BASE/product/1
  curl -i -b jar -c jar -X POST 'BASE/cart?sku=1'
  curl -i -b jar -H 'Accept: application/json' BASE/cart
  curl -i --path-as-is BASE//%61dmin
  curl -X POST 'BASE/admin/price?sku=1&price=5' && curl BASE/product/1
  curl -T picture.png BASE/admin/media/picture.png && curl -i BASE/media/picture.png
  curl BASE/cron.php

Ctrl-C ends it.
`))
}

// checkFlags says what is wrong with a flag, and what would be right, before
// anything is started.
func checkFlags(listen, redisURL, memcached string) error {
	if !hostPort(listen) {
		return fmt.Errorf("-listen %q: want HOST:PORT, such as :8080 or 127.0.0.1:8080", listen)
	}
	if redisURL != "" && memcached != "" {
		return errors.New("sessions live in one place: want -redis or -memcached, not both")
	}
	if redisURL != "" {
		if _, err := redis.ParseURL(redisURL); err != nil {
			var whole *url.Error // says the URL, with its password
			if errors.As(err, &whole) {
				err = whole.Err
			}
			return fmt.Errorf("-redis: %w: want a URL such as redis://127.0.0.1:6379/0", err)
		}
	}
	if memcached != "" {
		for server := range strings.SplitSeq(memcached, ",") {
			if !hostPort(server) {
				return fmt.Errorf("-memcached %q: %q is no server: want HOST:PORT,..., such as 127.0.0.1:11211", memcached, server)
			}
		}
	}
	return nil
}

func hostPort(s string) bool {
	_, port, err := net.SplitHostPort(s)
	if err != nil {
		return false
	}
	_, err = strconv.ParseUint(port, 10, 16)
	return err == nil
}

// openStore returns the store for sessions, and whether other processes can
// share it. A store that is down is no reason not to start: pages that use no
// session are served without it.
func openStore(ctx context.Context, redisURL, servers string, logger *slog.Logger) (store session.Store, shared bool, err error) {
	switch {
	case redisURL != "":
		opts, err := redis.ParseURL(redisURL)
		if err != nil {
			return nil, false, fmt.Errorf("-redis: %w", err)
		}
		opts.ContextTimeoutEnabled = true // a hung Redis costs a second, not more
		opts.DialerRetries = 1            // the next request tries again
		store := redisstore.New(redis.NewClient(opts))
		ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
		defer cancel()
		switch err := store.Check(ctx); {
		case errors.Is(err, redisstore.ErrEvicts):
			logger.Warn("sessions are not safe on this Redis", "cause", err)
		case err != nil:
			logger.Warn("Redis does not answer: there are no carts until it does", "cause", err)
		}
		return store, true, nil
	case servers != "":
		var list memcache.ServerList
		if err := list.SetServers(strings.Split(servers, ",")...); err != nil {
			return nil, false, fmt.Errorf("-memcached %q: %w: want HOST:PORT,..., such as 127.0.0.1:11211", servers, err)
		}
		client := memcache.NewFromSelector(&list)
		client.MaxIdleConns = 64 // its default of 2 would dial for nearly every request
		return memcachestore.New(client), true, nil
	}
	return session.Memory(), false, nil
}
