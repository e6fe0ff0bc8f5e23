package drivertest

import (
	"context"
	"database/sql"
	"fmt"
	"io"
	"log"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite"

	"github.com/foretier/foretier/internal/servertest"
	"github.com/foretier/foretier/session/sqlstore"
)

// A database is one that runs for the test.
type database struct {
	name    string
	dialect sqlstore.Dialect
	server  *servertest.Server // nil: a file
	link    *link              // between the driver and the server
	open    func(settings ...string) *sql.DB
}

// isolate returns what sets a connection's isolation level.
func (d *database) isolate(level string) string {
	switch d.dialect {
	case sqlstore.MySQL:
		return "tx_isolation='" + level + "'"
	case sqlstore.PostgreSQL:
		return "default_transaction_isolation=" + strings.ToLower(strings.ReplaceAll(level, "-", " "))
	}
	return ""
}

func mariaDB(t *testing.T, args ...string) *database {
	server := servertest.MariaDB(t, 1, args...)
	d := &database{name: "MariaDB", dialect: sqlstore.MySQL, server: server, link: newLink(t, server.Addr)}
	d.open = func(settings ...string) *sql.DB {
		c := mysql.NewConfig()
		c.User, c.Net, c.Addr, c.DBName = "admin", "tcp", "database", "mysql"
		c.DialFunc = d.link.DialContext
		c.Logger = log.New(io.Discard, "", 0)
		c.Params = make(map[string]string)
		for _, s := range settings {
			switch name, value := cut(s); name {
			case "user":
				c.User = value
			case "clientFoundRows":
				c.ClientFoundRows = true
			case "interpolateParams":
				c.InterpolateParams = true
			default:
				c.Params[name] = value
			}
		}
		connector, err := mysql.NewConnector(c)
		if err != nil {
			t.Fatal(err)
		}
		return kept(t, sql.OpenDB(connector))
	}
	return d
}

func postgreSQL(t *testing.T) *database {
	server := servertest.PostgreSQL(t, "-c", "max_connections=300")
	d := &database{name: "PostgreSQL", dialect: sqlstore.PostgreSQL, server: server, link: newLink(t, server.Addr)}
	d.open = func(settings ...string) *sql.DB {
		c, err := pgx.ParseConfig("postgres://admin@127.0.0.1:1/postgres?sslmode=disable")
		if err != nil {
			t.Fatal(err)
		}
		c.DialFunc = func(ctx context.Context, network, _ string) (net.Conn, error) {
			return d.link.DialContext(ctx, network, "")
		}
		for _, s := range settings {
			switch name, value := cut(s); value {
			case "exec":
				c.DefaultQueryExecMode = pgx.QueryExecModeExec
			case "simple_protocol":
				c.DefaultQueryExecMode = pgx.QueryExecModeSimpleProtocol
			default:
				c.RuntimeParams[name] = value
			}
		}
		return kept(t, stdlib.OpenDB(*c))
	}
	return d
}

func sqlite(t *testing.T) *database {
	file := filepath.Join(t.TempDir(), "sessions.db")
	d := &database{name: "SQLite", dialect: sqlstore.SQLite}
	d.open = func(settings ...string) *sql.DB {
		if settings == nil {
			settings = []string{"_pragma=journal_mode(WAL)"} // which the file then keeps
		}
		db, err := sql.Open("sqlite", "file:"+file+"?"+strings.Join(settings, "&"))
		if err != nil {
			t.Fatal(err)
		}
		return kept(t, db)
	}
	return d
}

func cut(setting string) (name, value string) {
	name, value, _ = strings.Cut(setting, "=")
	return name, value
}

// kept closes db with the test. Its connections are kept, as a gateway's should be.
func kept(t *testing.T, db *sql.DB) *sql.DB {
	db.SetMaxOpenConns(20)
	db.SetMaxIdleConns(20)
	t.Cleanup(func() { db.Close() })
	return db
}

// onEach runs test on each kind of database.
func onEach(t *testing.T, test func(t *testing.T, d *database)) {
	t.Run("MariaDB", func(t *testing.T) { test(t, mariaDB(t)) })
	t.Run("PostgreSQL", func(t *testing.T) { test(t, postgreSQL(t)) })
	t.Run("SQLite", func(t *testing.T) { test(t, sqlite(t)) })
}

// store returns a store on db, with its table.
func (d *database) store(t *testing.T, db *sql.DB) *sqlstore.Store {
	t.Helper()
	s, err := sqlstore.New(db, d.dialect, sqlstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.CreateTable(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("%s: closing: %v", d.name, err)
		}
	})
	return s
}

// do runs statements as the database's owner.
func (d *database) do(t *testing.T, db *sql.DB, statements ...string) {
	t.Helper()
	for _, s := range statements {
		if _, err := db.ExecContext(t.Context(), s); err != nil {
			t.Fatal(fmt.Errorf("%s: %s: %w", d.name, s, err))
		}
	}
}
