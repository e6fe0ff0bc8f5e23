package sqlstore

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"

	"github.com/foretier/foretier/session"
)

// A verdict is what an error of the database's means for a statement.
type verdict uint8

const (
	lost      verdict = iota // nobody knows whether it was done
	again                    // it was not done, since it met another; it may be next time
	duplicate                // it was not done: there is such a key already
	refused                  // it was not done, but other things may be
	full                     // it was not done for want of room
	outage                   // it was not done, and nothing is
)

// judge reads an error. What has no code was not said by the database: the
// connection is gone.
func (d Dialect) judge(err error) verdict {
	code := d.code(err)
	if code == "" {
		return lost
	}
	for _, list := range codes[d] {
		if slices.ContainsFunc(list.codes, func(c string) bool {
			return code == c || d == PostgreSQL && len(c) == 2 && code[:min(2, len(code))] == c // a class
		}) {
			return list.verdict
		}
	}
	return refused
}

// codes says what is not merely refused. A server that is going down cuts off what
// it has in hand, done or not.
var codes = map[Dialect][]struct {
	verdict verdict
	codes   []string
}{
	MySQL: { // https://mariadb.com/kb/en/mariadb-error-codes/
		{lost, []string{"1053", "1317", "1927", "1969", "3024"}}, // shutdown, interrupted, killed, out of time (MariaDB, MySQL)
		{again, []string{"1020", "1213", "1615"}},                // changed since it was read, deadlock, to be prepared anew
		{duplicate, []string{"1062"}},
		{full, []string{"1021", "1114"}},
		// Too many connections, not allowed in, no such database, a node without its cluster, no table, other
		// columns, blocked hosts, a lock that was waited for in vain, too much asked for.
		{outage, []string{"1040", "1041", "1042", "1043", "1044", "1045", "1046", "1047", "1049", "1054", "1064", "1129", "1130",
			"1146", "1203", "1205", "1226", "1698", "4151"}},
	},
	PostgreSQL: { // https://www.postgresql.org/docs/current/errcodes-appendix.html
		{lost, []string{"08", "57P01", "57P02", "57014"}}, // connection, shutdown, crash, canceled
		{again, []string{"40001", "40P01"}},               // serialization failure, deadlock
		{duplicate, []string{"23505"}},
		{full, []string{"53100"}},
		{outage, []string{"28", "3D", "3F", "42601", "42703", "42P01", "53", "55P03", "57", "58", "XX", "F0"}},
	},
	SQLite: { // https://www.sqlite.org/rescode.html
		{again, []string{"5", "6", "15"}}, // busy, locked, lost a race for a lock
		{lost, []string{"9"}},             // interrupted
		{full, []string{"13"}},
		{outage, []string{"1", "7", "10", "11", "14", "26"}}, // no table, no memory, broken or missing files
	},
}

// code returns what the database has said, as a number or an SQLSTATE, or "" if the
// error is none of its own. No driver is imported here: their errors are known by
// their methods (pgx, lib/pq, modernc.org/sqlite) and fields (go-sql-driver/mysql,
// mattn/go-sqlite3).
func (d Dialect) code(err error) string {
	switch d {
	case PostgreSQL:
		if e := (interface{ SQLState() string })(nil); errors.As(err, &e) {
			return e.SQLState()
		}
	case MySQL:
		if n, ok := numberIn(err, "Number"); ok {
			return strconv.FormatInt(n, 10)
		}
	case SQLite:
		if e := (interface{ Code() int })(nil); errors.As(err, &e) {
			return strconv.Itoa(e.Code() & 0xff) // what is above says more than is asked
		}
		if n, ok := numberIn(err, "Code"); ok {
			return strconv.FormatInt(n&0xff, 10)
		}
	}
	return ""
}

// numberIn returns the number in the named field of an error, or of one that it wraps.
func numberIn(err error, field string) (int64, bool) {
	for ; err != nil; err = errors.Unwrap(err) {
		v := reflect.Indirect(reflect.ValueOf(err))
		if v.Kind() != reflect.Struct {
			continue
		}
		switch f := v.FieldByName(field); {
		case !f.IsValid():
		case f.CanInt():
			return f.Int(), true
		case f.CanUint():
			return int64(f.Uint()), true
		}
	}
	return 0, false
}

// failure is what a [session.Store] says of an error.
func (d Dialect) failure(err error) error {
	switch d.judge(err) {
	case full:
		return fmt.Errorf("sqlstore: %w: %w", session.ErrFull, err)
	case refused, duplicate:
		return fmt.Errorf("sqlstore: %w: %w", session.ErrRefused, err)
	}
	return fmt.Errorf("sqlstore: %w", err)
}
