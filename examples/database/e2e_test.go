//go:build e2e

package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
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
)

// These tests kill a real primary under load, promote its replica as an
// operator would, and bring the old one back by mistake:
//
//	make e2e

// resume is how long after the promotion writers may still be without one.
const resume = 3 * time.Second

// serve runs the program until the test ends, with a status page at the
// address that it returns, and waits until it is ready.
func serve(t *testing.T, args ...string) (*program, string) {
	t.Helper()
	status := freeAddr(t)
	p := start(t, append(args, "-status", status)...)
	testkit.Within(t, patience, "the program is ready", func() bool {
		res, err := http.Get("http://" + status + "/readyz")
		if err != nil {
			return false
		}
		defer res.Body.Close()
		return res.StatusCode == http.StatusOK
	})
	return p, status
}

// fenced reports whether the status page says that addr is fenced.
func fenced(t *testing.T, status, addr string) bool {
	t.Helper()
	res, err := http.Get("http://" + status + "/status.json")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var tier struct {
		Parts []struct{ Parts []struct{ Name, Why string } }
	}
	if err := json.NewDecoder(res.Body).Decode(&tier); err != nil {
		t.Fatal(err)
	}
	for _, part := range tier.Parts[0].Parts {
		if part.Name == addr && strings.HasPrefix(part.Why, "fenced: ") {
			return true
		}
	}
	return false
}

func admin(t *testing.T, addr string) *sql.DB {
	t.Helper()
	db, err := config{user: "admin"}.open(health.Target{Name: addr, URL: &url.URL{Scheme: "tcp", Host: addr}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func do(t *testing.T, db *sql.DB, statements ...string) {
	t.Helper()
	for _, s := range statements {
		if _, err := db.Exec(s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
}

// A writer inserts orders, and remembers which were acknowledged when.
type writer struct {
	name string
	db   *sql.DB

	mu     sync.Mutex
	acked  map[string]time.Time // when it was sent
	failed int
	err    error
}

// write sends 50 orders a second until ctx ends, each once.
func (w *writer) write(ctx context.Context) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		id := fmt.Sprintf("%s-%d", w.name, n)
		sent := time.Now()
		once, cancel := context.WithTimeout(ctx, 2*time.Second)
		err := w.insert(once, id)
		cancel()
		w.mu.Lock()
		if err == nil {
			w.acked[id] = sent
		} else if ctx.Err() == nil {
			w.failed++
			w.err = err
		}
		w.mu.Unlock()
	}
}

func (w *writer) insert(ctx context.Context, id string) error {
	tx, err := w.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, "INSERT INTO shop.orders VALUES (?, @@server_id)", id); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return tx.Commit()
}

// after returns when the first order that was sent after t was sent; zero:
// none was acknowledged yet.
func (w *writer) after(t time.Time) (first time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, sent := range w.acked {
		if sent.After(t) && (first.IsZero() || sent.Before(first)) {
			first = sent
		}
	}
	return first
}

func TestE2EMariaDBFailover(t *testing.T) {
	semi := []string{"--sync-binlog=1", "--gtid-strict-mode=1", "--rpl-semi-sync-master-timeout=60000", "--rpl-semi-sync-master-wait-point=AFTER_SYNC", "--rpl-semi-sync-slave-enabled=1"}
	first := servertest.MariaDB(t, 1, append(semi, "--rpl-semi-sync-master-enabled=1")...)
	second := servertest.MariaDB(t, 2, append(semi, "--read-only=1")...)
	one, two := admin(t, first.Addr), admin(t, second.Addr)
	_, port, err := net.SplitHostPort(first.Addr)
	if err != nil {
		t.Fatal(err)
	}
	do(t, two, fmt.Sprintf("CHANGE MASTER TO master_host='127.0.0.1', master_port=%s, master_user='admin', master_use_gtid=slave_pos", port), "START REPLICA")
	do(t, one,
		"CREATE DATABASE shop", "CREATE TABLE shop.orders (id VARCHAR(40) PRIMARY KEY, server INT) ENGINE=InnoDB",
		"CREATE USER shop@'%' IDENTIFIED BY 'secret'", "GRANT SELECT, INSERT ON shop.* TO shop@'%'",
		"CREATE USER probe@'%' IDENTIFIED BY 'hush'", "GRANT REPLICA MONITOR ON *.* TO probe@'%'")

	dir := t.TempDir()
	password := filepath.Join(dir, "password")
	if err := os.WriteFile(password, []byte("hush\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	backends := "tcp://" + first.Addr + ",tcp://" + second.Addr
	listen, reads := freeAddr(t), freeAddr(t)
	testkit.Within(t, 20*time.Second, "the probe's user is on the replica", func() bool {
		var n int
		return two.QueryRow("SELECT COUNT(*) FROM mysql.user WHERE user='probe'").Scan(&n) == nil && n == 1
	})
	p, status := serve(t, "-kind", "mysql", "-listen", listen, "-replicas-listen", reads, "-backends", backends,
		"-user", "probe", "-password-file", password, "-memory", filepath.Join(dir, "primary"))

	// Writers through the program's port, and by DialContext of a pool of their
	// own; each way one that keeps its connection, as Go programs do, which must
	// be cut, and one that connects anew for each order, as PHP does, which must
	// not be led astray.
	conf := mysql.NewConfig()
	conf.Logger = log.New(io.Discard, "", 0)
	conf.User, conf.Passwd, conf.Net, conf.Addr = "shop", "secret", "tcp", listen
	through := connector(t, conf)
	own := ownPool(t, backends)
	direct := conf.Clone()
	direct.Addr = "primary"
	direct.DialFunc = own.DialContext
	writers := []*writer{
		{name: "through", db: through, acked: make(map[string]time.Time)},
		{name: "direct", db: connector(t, direct), acked: make(map[string]time.Time)},
		{name: "through, anew", db: connector(t, conf), acked: make(map[string]time.Time)},
		{name: "direct, anew", db: connector(t, direct), acked: make(map[string]time.Time)},
	}
	for _, w := range writers[2:] {
		w.db.SetMaxIdleConns(-1)
	}
	ctx, stop := context.WithCancel(context.Background())
	var writing sync.WaitGroup
	for _, w := range writers {
		writing.Go(func() { w.write(ctx) })
	}
	begun := time.Now()
	everybody := func(since time.Time) func() bool {
		return func() bool {
			return !slices.ContainsFunc(writers, func(w *writer) bool { return w.after(since).IsZero() })
		}
	}
	testkit.Within(t, 20*time.Second, "all write", everybody(begun))
	testkit.Within(t, patience, "reads go to the replica", func() bool { return serverOf(t, conf, reads) == 2 })
	time.Sleep(2 * time.Second) // a load to be interrupted: the servers know no fake clock

	first.Kill()
	time.Sleep(time.Second) // nobody is primary for as long as an operator takes
	// What an operator does: let the replica finish what it has, then let it
	// take writes.
	do(t, two, "STOP REPLICA IO_THREAD")
	testkit.Within(t, 20*time.Second, "the replica has applied all", func() bool {
		var state string
		row := two.QueryRow("SELECT state FROM information_schema.processlist WHERE user='system user' AND command='Slave_SQL'")
		return row.Scan(&state) == nil && strings.Contains(state, "has read all relay log")
	})
	do(t, two, "STOP REPLICA", "RESET REPLICA ALL", "SET GLOBAL read_only=0")
	promoted := time.Now()
	testkit.Within(t, 20*time.Second, "all write again", everybody(promoted))
	for _, w := range writers {
		took := w.after(promoted).Sub(promoted)
		t.Logf("%s wrote again %v after the promotion", w.name, took.Round(time.Millisecond))
		if took > resume {
			t.Errorf("want at most %v", resume)
		}
	}
	time.Sleep(2 * time.Second) // writes that the old primary must not see

	// Back by mistake: nothing on its command line says read_only. A write that
	// it got by mistake must not wait for a replica, or nobody would see it.
	first.Restart()
	back := time.Now()
	do(t, one, "SET GLOBAL rpl_semi_sync_master_enabled=0")
	testkit.Within(t, 20*time.Second, "the old primary is fenced", func() bool { return fenced(t, status, first.Addr) })
	time.Sleep(2 * time.Second) // a wrong write would need some time to show
	testkit.Within(t, 20*time.Second, "all write on", everybody(time.Now()))
	stop()
	writing.Wait()

	t.Logf("the old primary was back for %v", time.Since(back).Round(time.Millisecond))
	found := orders(t, two)
	old := orders(t, one)
	for _, w := range writers {
		lost, strayed := 0, 0
		for id, sent := range w.acked {
			if _, ok := found[id]; !ok {
				lost++
			}
			if _, ok := old[id]; ok && sent.After(promoted) {
				strayed++
			}
		}
		t.Logf("%s: %d acknowledged, %d failed (at last: %v), %d lost, %d on the old primary after the promotion", w.name, len(w.acked), w.failed, w.err, lost, strayed)
		if lost > 0 || strayed > 0 || len(w.acked) < 100 {
			t.Error("want none lost, none strayed, and a hundred at least")
		}
	}
	if told := p.log.String(); !strings.Contains(told, "is primary in the place of "+first.Addr) || !strings.Contains(told, "fenced: claims to be primary beside "+second.Addr) {
		t.Error("the log does not tell what happened")
	}
}

func connector(t *testing.T, c *mysql.Config) *sql.DB {
	t.Helper()
	con, err := mysql.NewConnector(c)
	if err != nil {
		t.Fatal(err)
	}
	db := sql.OpenDB(con)
	t.Cleanup(func() { db.Close() })
	return db
}

// ownPool is what a Go program has in the place of the proxy.
func ownPool(t *testing.T, backends string) *tcp.Excerpt {
	t.Helper()
	probe := sqlprobe.New(config{user: "probe", password: "hush"}.open, sqlprobe.Options{})
	pool, err := tcp.New(tcp.Backends(strings.Split(backends, ",")...), tcp.Options{
		Name: "own", Probe: probe, Logger: slog.New(slog.DiscardHandler),
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
	return pool.Only("own primary", tcp.Primary)
}

// serverOf returns the id of the server that addr leads to.
func serverOf(t *testing.T, conf *mysql.Config, addr string) (id int) {
	t.Helper()
	c := conf.Clone()
	c.Addr = addr
	db := connector(t, c)
	defer db.Close()
	if err := db.QueryRow("SELECT @@server_id").Scan(&id); err != nil {
		t.Error(err)
	}
	return id
}

// orders returns the servers on which the orders in db were written.
func orders(t *testing.T, db *sql.DB) map[string]int {
	t.Helper()
	rows, err := db.Query("SELECT id, server FROM shop.orders")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	out := make(map[string]int)
	for rows.Next() {
		var id string
		var server int
		if err := rows.Scan(&id, &server); err != nil {
			t.Fatal(err)
		}
		out[id] = server
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}
