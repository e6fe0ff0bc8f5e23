package sqlstore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
)

// A fake is a database of one row, whose statements fail as a test wants. What it does
// is what a real one would: those are in drivertest.
type fake struct {
	mu      sync.Mutex
	version int64    // guarded by mu; 0: no row
	done    []string // guarded by mu; what changes were asked for
	fault   func(f *fake, do func()) error
}

var errCut = errors.New("connection reset by peer")

// An errNumber is an error as go-sql-driver/mysql has it.
type errNumber struct{ Number uint16 }

func (errNumber) Error() string { return "the server says no" }

// newStore returns a store on f that speaks MySQL.
func (f *fake) newStore(t *testing.T) *Store {
	t.Helper()
	db := sql.OpenDB(f)
	s, err := New(db, MySQL, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(s.Close(), db.Close()); err != nil {
			t.Error(err)
		}
	})
	return s
}

func (f *fake) Connect(context.Context) (driver.Conn, error) { return conn{f}, nil }
func (f *fake) Driver() driver.Driver                        { return nil }

type conn struct{ *fake }

func (c conn) Prepare(query string) (driver.Stmt, error) { return stmt{c.fake, query}, nil }
func (c conn) Close() error                              { return nil }
func (c conn) Begin() (driver.Tx, error)                 { return nil, errors.New("no transactions here") }

type stmt struct {
	*fake
	query string
}

func (s stmt) Close() error  { return nil }
func (s stmt) NumInput() int { return -1 }

func (s stmt) Query([]driver.Value) (driver.Rows, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return &rows{s.version}, nil
}

// Exec makes a change, if it is of the version that is there.
func (s stmt) Exec(args []driver.Value) (driver.Result, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.done = append(s.done, strings.Fields(s.query)[0])
	changed := int64(0)
	do := func() {
		from, to := int64(0), int64(0)
		switch {
		case strings.HasPrefix(s.query, "INSERT"):
			to = args[1].(int64)
		case strings.Contains(s.query, "SET version"):
			to, from = args[0].(int64), args[4].(int64)
		case strings.HasPrefix(s.query, "UPDATE"):
			from = args[2].(int64)
			to = from
		case len(args) == 2:
			from = args[1].(int64)
		}
		if s.version == from {
			s.version, changed = to, 1
		}
	}
	if s.fault != nil {
		if err := s.fault(s.fake, do); err != nil {
			return nil, err
		}
	} else {
		do()
	}
	return driver.RowsAffected(changed), nil
}

type rows struct{ version int64 }

func (r *rows) Columns() []string { return []string{"version"} }
func (r *rows) Close() error      { return nil }

func (r *rows) Next(dest []driver.Value) error {
	if r.version == 0 {
		return io.EOF
	}
	dest[0], r.version = r.version, 0
	return nil
}
