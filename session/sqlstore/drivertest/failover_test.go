package drivertest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/foretier/foretier/balancer/sqlprobe"
	"github.com/foretier/foretier/balancer/tcp"
	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/internal/servertest"
	"github.com/foretier/foretier/internal/testkit"
	"github.com/foretier/foretier/session/sqlstore"
)

// opened returns a pool of connections as user, which dial is asked for.
func opened(t *testing.T, user, name string, dial func(ctx context.Context, network, addr string) (net.Conn, error)) *sql.DB {
	t.Helper()
	c := mysql.NewConfig()
	c.User, c.Net, c.Addr, c.DBName = user, "tcp", "database", name
	c.DialFunc, c.Logger = dial, log.New(io.Discard, "", 0)
	connector, err := mysql.NewConnector(c)
	if err != nil {
		t.Fatal(err)
	}
	return kept(t, sql.OpenDB(connector))
}

// primary returns a way to whichever server is the primary.
func primary(t *testing.T, servers ...*servertest.Server) *tcp.Excerpt {
	t.Helper()
	probe := sqlprobe.New(func(target health.Target) (*sql.DB, error) {
		c := mysql.NewConfig()
		c.User, c.Net, c.Addr, c.Logger = "admin", "tcp", target.Address(), log.New(io.Discard, "", 0)
		connector, err := mysql.NewConnector(c)
		if err != nil {
			return nil, err
		}
		return sql.OpenDB(connector), nil
	}, sqlprobe.Options{})
	var backends []string
	for _, s := range servers {
		backends = append(backends, "tcp://"+s.Addr)
	}
	pool, err := tcp.New(tcp.Backends(backends...), tcp.Options{
		Probe: probe, Logger: slog.New(slog.DiscardHandler),
		Schedule: health.Schedule{Every: time.Second, Changing: 250 * time.Millisecond, Timeout: time.Second},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- pool.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-done, pool.Close(), probe.Close()); err != nil {
			t.Error(err)
		}
	})
	return pool.Only("writes", tcp.Primary)
}

// TestAFailover: the primary is killed under two gateways that write, and its replica
// is promoted. What was acknowledged before, during and after it is kept, once; what
// failed is there once at most.
func TestAFailover(t *testing.T) {
	semi := []string{"--sync-binlog=1", "--gtid-strict-mode=1", "--rpl-semi-sync-master-timeout=60000",
		"--rpl-semi-sync-master-wait-point=AFTER_SYNC", "--rpl-semi-sync-slave-enabled=1"}
	first := servertest.MariaDB(t, 1, append(semi, "--rpl-semi-sync-master-enabled=1")...)
	second := servertest.MariaDB(t, 2, append(semi, "--read-only=1")...)
	to := func(s *servertest.Server) *sql.DB {
		return opened(t, "admin", "", func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, s.Addr)
		})
	}
	d := &database{name: "MariaDB", dialect: sqlstore.MySQL}
	one, two := to(first), to(second)
	_, port, err := net.SplitHostPort(first.Addr)
	if err != nil {
		t.Fatal(err)
	}
	d.do(t, two, fmt.Sprintf("CHANGE MASTER TO master_host='127.0.0.1', master_port=%s, master_user='admin', master_use_gtid=slave_pos", port), "START REPLICA")
	d.do(t, one, "CREATE DATABASE shop", "CREATE USER shop@'%'", "GRANT ALL ON shop.* TO shop@'%'")

	way := primary(t, first, second)
	testkit.Within(t, 20*time.Second, "the first is the primary", func() bool {
		c, err := way.DialContext(t.Context(), "tcp", "")
		if err != nil {
			return false
		}
		return c.Close() == nil
	})
	var writers []*writer
	stores := []*sqlstore.Store{
		d.store(t, opened(t, "shop", "shop", way.DialContext)),
		d.store(t, opened(t, "shop", "shop", way.DialContext)),
	}
	const key = "s-cart"
	if err := stores[0].Create(t.Context(), key, nil, time.Hour); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var writing sync.WaitGroup
	for i := range 4 {
		w := &writer{name: fmt.Sprintf("w%d", i), store: stores[i%2]}
		writers = append(writers, w)
		writing.Go(func() { w.write(ctx, key) })
	}
	words := func() int { // as a reader sees them
		r, err := stores[0].Load(t.Context(), key)
		if err != nil {
			return -1
		}
		return strings.Count(string(r[0].Data), ";")
	}
	testkit.Within(t, 20*time.Second, "they write", func() bool { return words() > 100 })

	first.Kill()
	d.do(t, two, "STOP REPLICA IO_THREAD")
	testkit.Within(t, 20*time.Second, "the replica has applied all", func() bool {
		var state string
		row := two.QueryRow("SELECT state FROM information_schema.processlist WHERE user='system user' AND command='Slave_SQL'")
		return row.Scan(&state) == nil && strings.Contains(state, "has read all relay log")
	})
	d.do(t, two, "STOP REPLICA", "RESET REPLICA ALL", "SET GLOBAL read_only=0")
	before := -1
	testkit.Within(t, 20*time.Second, "they read again", func() bool { before = words(); return before >= 0 })
	testkit.Within(t, 20*time.Second, "they write again", func() bool { return words() > before+100 })
	stop()
	writing.Wait()
	kept, unknown := judge(t, stores[1], key, writers)
	t.Logf("%d kept, %d failed", kept, unknown)
	if unknown == 0 {
		t.Error("nothing failed: what was there to fail over?")
	}
}
