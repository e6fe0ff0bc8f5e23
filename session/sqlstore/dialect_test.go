package sqlstore

import (
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/foretier/foretier/session"
)

func TestNew(t *testing.T) {
	db := sql.OpenDB(new(fake))
	defer db.Close()
	cases := []struct {
		name    string
		db      *sql.DB
		dialect Dialect
		table   string
		want    string // in the error; "": none
	}{
		{"no database", nil, MySQL, "", "no database"},
		{"no dialect", db, 0, "", "want MySQL, PostgreSQL or SQLite"},
		{"one too many", db, 4, "", "want MySQL, PostgreSQL or SQLite"},
		{"as it comes", db, SQLite, "", ""},
		{"a schema's", db, PostgreSQL, "shop.sessions", ""},
		{"a word of SQL's", db, MySQL, "order", ""},
		{"SQL", db, MySQL, "sessions; DROP TABLE users", "want letters"},
		{"quotes", db, PostgreSQL, `"sessions"`, "want letters"},
		{"backquotes", db, MySQL, "`a`.`b`", "want letters"},
		{"three parts", db, MySQL, "a.b.c", "want letters"},
		{"no schema", db, MySQL, ".sessions", "want letters"},
		{"no table", db, MySQL, "shop.", "want letters"},
		{"a number", db, MySQL, "1sessions", "want letters"},
		{"other letters", db, MySQL, "sitzungen_ä", "want letters"},
		{"as long as can be", db, MySQL, strings.Repeat("a", 55), ""},
		{"too long", db, MySQL, strings.Repeat("a", 56), "at most 55"},
		{"far too long", db, MySQL, strings.Repeat("a", 10_000), "at most 55"},
	}
	for _, c := range cases {
		_, err := New(c.db, c.dialect, Options{Table: c.table})
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want) || len(err.Error()) > 500) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

// TestStatements: names stand in quotes, and places are the dialect's.
func TestStatements(t *testing.T) {
	quoted := map[Dialect]string{MySQL: "`shop`.`order`", PostgreSQL: `"shop"."order"`, SQLite: `"shop"."order"`}
	for d, name := range quoted {
		texts := d.texts(table{"shop", "order"})
		for _, text := range []string{texts.load1, texts.load2, texts.look, texts.create, texts.update, texts.touch, texts.remove, texts.removeOld, texts.expired, texts.check} {
			if !strings.Contains(text, name) || strings.Contains(text, "?") == (d == PostgreSQL) && strings.Contains(text, "id =") {
				t.Errorf("%v: %s", d, text)
			}
		}
		if s := strings.Join(d.schema(table{"shop", "order"}), ";"); !strings.Contains(s, name) || !strings.Contains(s, "order_expires") {
			t.Errorf("%v: %s", d, s)
		}
	}
}

type errState string

func (e errState) Error() string    { return "the server says no" }
func (e errState) SQLState() string { return string(e) }

type errCode int

func (e errCode) Error() string { return "the library says no" }
func (e errCode) Code() int     { return int(e) }

// An errFields is an error as mattn/go-sqlite3 has it.
type errFields struct{ Code, ExtendedCode int }

func (errFields) Error() string { return "the library says no" }

// TestJudge reads what databases say through their drivers.
func TestJudge(t *testing.T) {
	cases := []struct {
		dialect Dialect
		err     error
		want    verdict
	}{
		{MySQL, errCut, lost},
		{MySQL, errNumber{1053}, lost},
		{MySQL, &errNumber{1213}, again},
		{MySQL, fmt.Errorf("wrapped: %w", &errNumber{1213}), again},
		{MySQL, &errNumber{1062}, duplicate},
		{MySQL, &errNumber{1290}, refused},
		{MySQL, &errNumber{1114}, full},
		{MySQL, &errNumber{1146}, outage},
		{PostgreSQL, errCut, lost},
		{PostgreSQL, errState("08006"), lost},
		{PostgreSQL, errState("57P01"), lost},
		{PostgreSQL, errState("57P03"), outage},
		{PostgreSQL, errState("40001"), again},
		{PostgreSQL, errState("40P01"), again},
		{PostgreSQL, errState("25006"), refused},
		{PostgreSQL, errState("42501"), refused},
		{PostgreSQL, errState("42P01"), outage},
		{PostgreSQL, errState("53100"), full},
		{PostgreSQL, errState("53300"), outage},
		{PostgreSQL, errState(""), lost},
		{SQLite, errCode(5), again},
		{SQLite, errCode(517), again}, // SQLITE_BUSY_SNAPSHOT
		{SQLite, errCode(13), full},
		{SQLite, errCode(8), refused},
		{SQLite, errCode(1), outage},
		{SQLite, errFields{5, 517}, again},
		{SQLite, errFields{8, 264}, refused},
		{SQLite, errors.Join(errFields{5, 5}), lost}, // a driver that says nothing that is known
	}
	for _, c := range cases {
		if got := c.dialect.judge(c.err); got != c.want {
			t.Errorf("%v: %v: %d, want %d", c.dialect, c.err, got, c.want)
		}
		err := c.dialect.failure(c.err)
		if errors.Is(err, session.ErrRefused) != (c.want == refused || c.want == duplicate) || errors.Is(err, session.ErrFull) != (c.want == full) || !errors.Is(err, c.err) {
			t.Errorf("%v: %v becomes %v", c.dialect, c.err, err)
		}
	}
}
