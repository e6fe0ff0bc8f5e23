package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/foretier/foretier/balancer"
	"github.com/foretier/foretier/cache"
	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/health/status"
	"github.com/foretier/foretier/router"
	"github.com/foretier/foretier/router/edge"
	"github.com/foretier/foretier/session"
)

// cacheBytes is how much the tier's cache holds in memory.
const cacheBytes = 64 << 20

// A farm is a shop on three servers with a tier in front: what stands on four
// machines in a data centre, in one process.
type farm struct {
	web   [3]*server // web0 is the origin
	srv   *edge.Server
	pages *cache.Cache
	page  *status.Handler // how all of it is
	run   []edge.Runner
}

// newFarm listens, so that a port in use shows before anything is started,
// starts the three servers and builds the tier in front of them. The tier
// serves once Run is called.
func newFarm(listen string, linger time.Duration, store session.Store, logger *slog.Logger) (*farm, error) {
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return nil, fmt.Errorf("-listen: %w: want a free port of this machine, such as :8081", err)
	}
	return newFarmOn(l, serve, linger, store, logger)
}

// newFarmOn is newFarm on a listener of the caller's, which it closes if it fails, and
// with servers that serve starts.
func newFarmOn(l net.Listener, serve func(http.Handler) (*server, error), linger time.Duration, store session.Store, logger *slog.Logger) (*farm, error) {
	f := new(farm)
	err := f.start(serve, store, logger)
	if err == nil {
		err = f.build(l, linger, logger)
	}
	if err != nil {
		return nil, errors.Join(err, l.Close(), f.stop())
	}
	return f, nil
}

// start starts the shop's servers.
func (f *farm) start(serve func(http.Handler) (*server, error), store session.Store, logger *slog.Logger) error {
	goods, media := newCatalogue(), newDocroots(len(f.web))
	for i := range f.web {
		sessions, err := session.New(store, sessionOptions(logger))
		if err != nil {
			return err
		}
		s := &shop{name: fmt.Sprintf("web%d", i), server: i, goods: goods, media: media, purge: f.purge}
		if f.web[i], err = serve(s.Handler(sessions)); err != nil {
			return err
		}
	}
	return nil
}

// stop ends the shop's servers, as far as they were started.
func (f *farm) stop() error {
	var err error
	for _, w := range f.web {
		if w != nil {
			err = errors.Join(err, w.stop())
		}
	}
	return err
}

func sessionOptions(logger *slog.Logger) session.Options {
	opts := session.ShopOptions()
	opts.AllowInsecure = true // the tour is on http://localhost; a shop is on HTTPS
	opts.Logger = logger
	return opts
}

// build is the tier: this is what to copy.
func (f *farm) build(l net.Listener, linger time.Duration, logger *slog.Logger) error {
	admin := router.Admin("/admin", "/cron.php")
	key := make([]byte, 32) // a real tier reads it from a file: pins outlive a restart
	_, _ = rand.Read(key)   // never fails
	sticky, err := session.NewSticky(key, session.StickyOptions{})
	if err != nil {
		return err
	}
	origin, err := balancer.New([]balancer.Backend{f.web[0].backend("web0")},
		balancer.Options{Name: "origin", Probe: health.HTTP("/healthz"), Logger: logger})
	if err != nil {
		return err
	}
	apps, err := balancer.New([]balancer.Backend{f.web[1].backend("web1"), f.web[2].backend("web2")},
		balancer.Options{
			Name:     "apps",
			Probe:    health.HTTP("/healthz"),
			Schedule: health.Schedule{Every: 500 * time.Millisecond, Changing: 250 * time.Millisecond}, // for who watches; the default, 5 s, does for others
			Affinity: sticky,
			Refuse:   admin, // whatever happens on the way, these servers never get an admin request
			Logger:   logger,
		})
	if err != nil {
		return err
	}
	if f.pages, err = cache.New(cache.Options{MaxBytes: cacheBytes, Logger: logger}); err != nil {
		return err
	}
	// That no spelling of an admin request reaches another server is proved
	// before the first one arrives.
	front, err := router.New(router.Options{Claims: []router.Claim{router.Only(origin).For(admin)}},
		router.Rule{Name: "admin", When: admin, To: origin},
		router.Rule{Name: "upload", When: router.All(router.Method("POST", "PUT"), router.Path("/media/*")), To: f.pages.Handler(origin)},
		// A picture uploaded a second ago is only at the origin yet.
		router.Rule{Name: "media", When: router.Path("/media/*"), To: f.pages.Handler(router.Fallback(apps, origin))},
		router.Rule{Name: "shop", To: f.pages.Handler(apps)},
	)
	if err != nil {
		return err
	}
	f.srv, err = edge.New(front, edge.Options{
		Listener: l,
		Linger:   cmp.Or(linger, -1), // none: unless somebody balances over several of these, stop at once
		Logger:   logger,
	})
	f.run = []edge.Runner{origin, apps, f.pages}
	if err != nil {
		return err
	}
	// Whoever reaches the loopback may take a server out, and watch what happens.
	f.page, err = status.New([]health.Reporter{f.srv, front, apps, origin, f.pages}, status.Options{
		Name: "shop", Ready: f.srv.Ready, Explain: f.srv, Act: func(*http.Request) error { return nil }, Logger: logger,
	})
	return err
}

// Run serves until ctx ends, then drains and stops the shop's servers.
func (f *farm) Run(ctx context.Context) error {
	return errors.Join(f.srv.Run(ctx, f.run...), f.stop())
}

// purge makes the tier forget what depends on tags: the shop calls it in the
// request that changed the data.
func (f *farm) purge(ctx context.Context, tags ...string) error {
	_, err := f.pages.Invalidate(ctx, cache.Invalidation{Tags: tags, Hard: true})
	return err
}

// A server runs a shop on a loopback port of its own, or in a test on none.
type server struct {
	addr    string
	handler http.Handler
	http    *http.Server
	done    chan error
}

func serve(h http.Handler) (*server, error) {
	// The tier in front ends TLS and knows the client; on a real server, list
	// its address here.
	s := &server{addr: "127.0.0.1:0", handler: h}
	if err := s.start(); err != nil {
		return nil, err
	}
	return s, nil
}

// start listens at the server's address: at first at a free port, later at the
// same again.
func (s *server) start() error {
	l, err := net.Listen("tcp", s.addr)
	if err != nil {
		return err
	}
	s.addr = l.Addr().String()
	s.http = &http.Server{Handler: s.handler, ReadHeaderTimeout: 10 * time.Second}
	s.done = make(chan error, 1)
	go func() { s.done <- s.http.Serve(l) }()
	return nil
}

// stop ends the server as a crash would: connections are cut.
func (s *server) stop() error {
	if s.addr == "" {
		return nil
	}
	err := s.http.Close()
	if e := <-s.done; !errors.Is(e, http.ErrServerClosed) {
		err = errors.Join(err, e)
	}
	s.done <- http.ErrServerClosed // a second stop finds it stopped
	return err
}

func (s *server) url() string { return "http://" + s.addr }

// backend is how the tier reaches the server: without a port it is a handler.
func (s *server) backend(name string) balancer.Backend {
	if s.addr == "" {
		return balancer.Backend{Name: name, Handler: s.handler}
	}
	return balancer.Backend{Name: name, URL: s.url()}
}

// local returns the URL at which a browser on this machine finds addr.
func local(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return "http://" + addr
	}
	if ip, err := netip.ParseAddr(strings.Trim(host, "[]")); host == "" || err == nil && ip.IsUnspecified() {
		host = "localhost"
	}
	return "http://" + net.JoinHostPort(host, port)
}
