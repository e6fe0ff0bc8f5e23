package drivertest

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/foretier/foretier/session"
	"github.com/foretier/foretier/session/sqlstore"
)

// TestTables: several gateways make a table at once, and the next time nothing is
// done, not even by one who may not.
func TestTables(t *testing.T) {
	onEach(t, func(t *testing.T, d *database) {
		db := d.open()
		schema := "shop"
		switch d.dialect {
		case sqlstore.SQLite:
			schema = "main"
		default:
			d.do(t, db, "CREATE SCHEMA shop")
		}
		for _, table := range []string{"order", schema + ".Select", schema + "." + strings.Repeat("a", 55)} {
			stores := make([]*sqlstore.Store, 8)
			for i := range stores {
				s, err := sqlstore.New(db, d.dialect, sqlstore.Options{Table: table})
				if err != nil {
					t.Fatal(err)
				}
				defer s.Close()
				stores[i] = s
			}
			if err := stores[0].Check(t.Context()); err == nil || errors.Is(err, session.ErrRefused) {
				t.Errorf("%s: without a table: %v", table, err)
			}
			if err := stores[0].Create(t.Context(), "s-a", nil, time.Minute); err == nil || errors.Is(err, session.ErrRefused) {
				t.Errorf("%s: without a table: %v", table, err)
			}
			var wg sync.WaitGroup
			for _, s := range stores {
				wg.Go(func() {
					if err := s.CreateTable(t.Context()); err != nil {
						t.Errorf("%s: %v", table, err)
					}
				})
			}
			wg.Wait()
			if err := errors.Join(stores[1].Check(t.Context()), stores[1].Create(t.Context(), "s-a", []byte("a"), time.Minute)); err != nil {
				t.Errorf("%s: %v", table, err)
			}
			// As a DBA would.
			for _, s := range strings.Split(strings.TrimSpace(stores[2].Schema()), ";\n") {
				d.do(t, db, s)
			}
			if r, err := stores[2].Load(t.Context(), "s-a"); err != nil || string(r[0].Data) != "a" {
				t.Errorf("%s: %v, %v", table, r, err)
			}
		}
	})
}

// TestAForeignTable: what no store wrote is unreadable, or not there, and stays.
func TestAForeignTable(t *testing.T) {
	onEach(t, func(t *testing.T, d *database) {
		db := d.open()
		d.do(t, db, "CREATE TABLE sessions (id VARCHAR(64) PRIMARY KEY, version BIGINT, expires BIGINT, data "+
			map[sqlstore.Dialect]string{sqlstore.MySQL: "MEDIUMBLOB", sqlstore.PostgreSQL: "BYTEA", sqlstore.SQLite: "BLOB"}[d.dialect]+")",
			"INSERT INTO sessions (id, version, expires) VALUES ('no-version', NULL, 9999999999999), ('no-expiry', 7, NULL), ('zero', 0, 9999999999999)")
		s := d.store(t, db)
		if err := s.Create(t.Context(), "good", []byte("a"), time.Minute); err != nil {
			t.Fatal(err)
		}
		for _, keys := range [][]string{{"no-version"}, {"zero"}, {"good", "zero"}, {"good", "absent", "zero"}} {
			if r, err := s.Load(t.Context(), keys...); !errors.Is(err, session.ErrUnreadable) {
				t.Errorf("%q: %v, %v", keys, r, err)
			}
		}
		if r, err := s.Load(t.Context(), "no-expiry"); err != nil || r[0].Version != 0 {
			t.Errorf("without an expiry: %v, %v", r, err)
		}
		if err := s.Create(t.Context(), "no-expiry", nil, time.Minute); err == nil {
			t.Error("without an expiry: overwritten")
		}
		var n int
		if err := db.QueryRow("SELECT COUNT(*) FROM sessions").Scan(&n); err != nil || n != 4 {
			t.Errorf("%d rows, %v", n, err)
		}
	})
}

// TestConnectionsThatDoNotCommit are told of before anything is lost.
func TestConnectionsThatDoNotCommit(t *testing.T) {
	d := mariaDB(t)
	d.store(t, d.open())
	s, err := sqlstore.New(d.open("autocommit=0"), d.dialect, sqlstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for what, err := range map[string]error{"Check": s.Check(t.Context()), "CreateTable": s.CreateTable(t.Context())} {
		if !errors.Is(err, sqlstore.ErrAutocommitOff) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestSweep: of three gateways that want to delete what has expired one does so, and
// deletes that, by the index.
func TestSweep(t *testing.T) {
	const dead, live = 250, 30
	onEach(t, func(t *testing.T, d *database) {
		db := d.open()
		stores := []*sqlstore.Store{d.store(t, d.open()), d.store(t, d.open()), d.store(t, d.open())}
		for i := range dead + live {
			ttl := time.Hour
			if i < dead {
				ttl = time.Millisecond
			}
			if err := stores[0].Create(t.Context(), strings.Repeat("x", i/60+1)+string("-_ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz01234567"[i%60]), nil, ttl); err != nil {
				t.Fatal(err)
			}
		}
		<-time.After(5 * time.Millisecond) // the last one's time, by the database's clock
		deleted := make([]int, len(stores))
		var wg sync.WaitGroup
		for i, s := range stores {
			wg.Go(func() {
				n, err := s.Sweep(t.Context())
				if deleted[i] = n; err != nil {
					t.Errorf("gateway %d: %v", i, err)
				}
			})
		}
		wg.Wait()
		sum, who := 0, 0
		for _, n := range deleted {
			if sum += n; n > 0 {
				who++
			}
		}
		if sum != dead || who != 1 {
			t.Errorf("deleted %v, want %d by one of them", deleted, dead)
		}
		var left int
		if err := db.QueryRow("SELECT COUNT(*) FROM sessions").Scan(&left); err != nil || left != live+1 { // and whose turn it is
			t.Errorf("%d rows left, %v", left, err)
		}
		if n, err := stores[1].Sweep(t.Context()); n != 0 || err != nil {
			t.Errorf("again within the minute: %d, %v", n, err)
		}
	})
}
