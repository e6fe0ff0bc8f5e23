package main

import (
	"context"
	"crypto/tls"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/foretier/foretier/balancer/sqlprobe"
	"github.com/foretier/foretier/balancer/tcp"
	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/health/metrics"
	"github.com/foretier/foretier/health/status"
)

// A front is the program, listening and not yet serving.
type front struct {
	log   *slog.Logger
	db    *tcp.Pool
	probe io.Closer // nil: nothing to close
	ports []port
	pages []net.Listener // where page is to be had
	page  *status.Handler

	linger   time.Duration
	draining atomic.Bool
}

// A port is a listener and the pool that serves it.
type port struct {
	net.Listener
	pool backends
}

// backends are the database, or those of it that a port is for.
type backends interface {
	Serve(context.Context, net.Listener) error
	Healthy() bool
}

// build joins the packages as the configuration says, and listens.
func build(c config, logger *slog.Logger) (f *front, err error) {
	f = &front{log: logger, linger: c.linger}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.close())
		}
	}()
	opts := tcp.Options{
		Name: "database", Logger: logger, Policy: tcp.LeastInFlight(),
		// A second without a primary is a second without a shop.
		Schedule: health.Schedule{Every: time.Second, Changing: 250 * time.Millisecond, Timeout: time.Second},
		Memory:   c.memory,
		TLS:      &tls.Config{RootCAs: c.authorities, Certificates: c.certificate},
		Conns:    c.maxConns,
		Announce: c.announce,
		Refusal:  refusals[c.kind],
	}
	switch c.kind {
	case "mysql", "galera":
		p := sqlprobe.New(c.open, sqlprobe.Options{Galera: c.kind == "galera"})
		opts.Probe, f.probe = p, p
	case "redis":
		opts.Probe = &sqlprobe.Redis{User: c.user, Password: c.password}
	default:
		opts.Probe = health.TCP()
	}
	if f.db, err = tcp.New(tcp.Backends(c.backends...), opts); err != nil {
		return f, err
	}
	var writes backends = f.db
	reporters := []health.Reporter{f.db}
	if kinds[c.kind].roles {
		primary := f.db.Only("primary", tcp.Primary)
		writes, reporters = primary, append(reporters, primary)
	}
	if err := f.listen(c, "listen", c.listen, writes); err != nil {
		return f, err
	}
	if c.replicasListen != "" {
		reads := f.db.Only("replicas", tcp.Replicas(c.maxLag), tcp.Primary)
		reporters = append(reporters, reads)
		if err := f.listen(c, "replicas-listen", c.replicasListen, reads); err != nil {
			return f, err
		}
	}
	f.page, err = status.New(reporters, status.Options{Hosts: c.statusHosts, Metrics: metrics.Handler(logger, reporters...), Logger: logger, Act: mayAct, Ready: func() error {
		if f.draining.Load() {
			return errDraining
		}
		if !writes.Healthy() {
			return tcp.ErrNoBackend
		}
		return nil
	}})
	if err != nil {
		return f, fmt.Errorf("-status-hosts: %w", err)
	}
	if c.status != "" {
		l, err := net.Listen("tcp", c.status)
		if err != nil {
			return f, fmt.Errorf("-status: %w", err)
		}
		f.pages = append(f.pages, l)
	}
	if c.steer != "" {
		l, err := status.ListenUnix(c.steer, 0o600)
		if err != nil {
			return f, fmt.Errorf("-steer: %w", err)
		}
		f.pages = append(f.pages, l)
	}
	return f, nil
}

// mayAct lets those steer who may connect to -steer.
func mayAct(r *http.Request) error {
	if !status.OverSocket(r) {
		return errors.New("orders are taken over -steer alone")
	}
	return nil
}

// open is how a server is asked for its role: by the way that clients take,
// TLS included.
func (c config) open(t health.Target) (*sql.DB, error) {
	m := mysql.NewConfig()
	m.Net, m.Addr, m.User, m.Passwd = "tcp", t.Address(), c.user, c.password
	m.DialFunc = func(ctx context.Context, _, _ string) (net.Conn, error) { return t.Dial(ctx, nil) }
	m.Logger = log.New(io.Discard, "", 0) // its errors are the probe's
	connector, err := mysql.NewConnector(m)
	if err != nil {
		return nil, err
	}
	return sql.OpenDB(connector), nil
}

// listen opens one of the ports: PROXY header, then TLS, then bytes.
func (f *front) listen(c config, flag, addr string, pool backends) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("-%s: %w", flag, err)
	}
	if len(c.proxyFrom) > 0 {
		l = announced(l, c.proxyFrom)
	}
	if c.serveTLS {
		conf := &tls.Config{Certificates: c.certificate, ClientCAs: c.authorities}
		if c.authorities != nil {
			conf.ClientAuth = tls.RequireAndVerifyClientCert
		}
		l = tls.NewListener(l, conf)
	}
	f.ports = append(f.ports, port{l, pool})
	f.log.Info("listening", "flag", flag, "address", l.Addr().String())
	return nil
}

var errDraining = errors.New("draining")

// run serves until stop ends and f.linger is over, or a listener fails.
func (f *front) run(stop context.Context) error {
	ctx, cancel := context.WithCancel(context.WithoutCancel(stop))
	defer cancel()
	defer context.AfterFunc(stop, func() {
		f.draining.Store(true)
		time.AfterFunc(f.linger, cancel)
	})()
	// Probes go on until the last connection has ended.
	probing, end := context.WithCancel(context.WithoutCancel(ctx))
	probed := make(chan error, 1)
	go func() { probed <- f.db.Run(probing) }()

	serving := len(f.ports)
	ended := make(chan error)
	for _, p := range f.ports {
		go func() { ended <- p.pool.Serve(ctx, p) }()
	}
	if len(f.pages) > 0 {
		serving += 1 + len(f.pages)
		go func() { ended <- f.page.Run(ctx) }()
	}
	for _, l := range f.pages {
		go func() { ended <- status.Server{Listener: l, Handler: f.page}.Run(ctx) }()
	}
	var errs []error
	for range serving {
		errs = append(errs, <-ended)
		cancel() // one that ends ends all
	}
	end()
	return errors.Join(append(errs, <-probed, f.close())...)
}

// close lets go of what build opened. Listeners that have been closed before
// are fine.
func (f *front) close() error {
	for _, p := range f.ports {
		_ = p.Close()
	}
	for _, l := range f.pages {
		_ = l.Close()
	}
	var errs []error
	if f.db != nil {
		errs = append(errs, f.db.Close())
	}
	if f.probe != nil {
		errs = append(errs, f.probe.Close())
	}
	return errors.Join(errs...)
}

// refusals say in a protocol's words why a client is not served.
var refusals = map[string]func(error) []byte{
	"mysql":  refuseMySQL,
	"galera": refuseMySQL,
	"redis":  func(err error) []byte { return fmt.Appendf(nil, "-ERR %v\r\n", err) },
}

// refuseMySQL returns the packet that a server sends in the place of its
// greeting: error 1040, too many connections, or 1105, unknown.
func refuseMySQL(err error) []byte {
	code := uint16(1105)
	if errors.Is(err, tcp.ErrBusy) {
		code = 1040
	}
	text := err.Error()
	text = text[:min(len(text), 400)]
	body := append([]byte{0xff, byte(code), byte(code >> 8)}, text...)
	return append([]byte{byte(len(body)), byte(len(body) >> 8), 0, 0}, body...)
}
