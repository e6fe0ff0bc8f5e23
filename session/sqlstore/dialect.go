package sqlstore

import (
	"fmt"
	"strconv"
	"strings"
)

// A Dialect is the SQL that a database speaks. There is no default.
type Dialect uint8

const (
	MySQL      Dialect = iota + 1 // MySQL from 5.7, MariaDB from 10.2, and clusters of theirs
	PostgreSQL                    // from 10
	SQLite                        // from 3.24
)

// String returns the database's name.
func (d Dialect) String() string {
	switch d {
	case MySQL:
		return "MySQL"
	case PostgreSQL:
		return "PostgreSQL"
	case SQLite:
		return "SQLite"
	}
	return fmt.Sprintf("Dialect(%d)", uint8(d))
}

// A table is a name that has been checked, and so can stand in a statement.
type table struct {
	schema string // or empty: the connection's
	name   string
}

// The longest names that all three take: PostgreSQL's are cut off at 63 bytes, and
// the index has the table's with an end.
const maxName = 63 - len(indexEnd)

const indexEnd = "_expires"

// parseTable reads what [Options.Table] says.
func parseTable(s string) (table, error) {
	t := table{name: s}
	if schema, name, ok := strings.Cut(s, "."); ok {
		t = table{schema, name}
		if !isName(schema) {
			t.name = ""
		}
	}
	if !isName(t.name) {
		return table{}, fmt.Errorf("sqlstore: table %.100q: want letters, digits and underscores, at most %d, such as sessions or shop.sessions", s, maxName)
	}
	return t, nil
}

func isName(s string) bool {
	if s == "" || len(s) > maxName || s[0] >= '0' && s[0] <= '9' {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if c != '_' && (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') {
			return false
		}
	}
	return true
}

// quote returns a name in the dialect's quotes: it may be a word of SQL's.
func (d Dialect) quote(schema, name string) string {
	mark := `"`
	if d == MySQL {
		mark = "`"
	}
	name = mark + name + mark
	if schema != "" {
		name = mark + schema + mark + "." + name
	}
	return name
}

// now is the database's time in milliseconds since 1970. It must be one value in all
// of a statement, or no index helps; and no daylight saving may be in it.
func (d Dialect) now() string {
	switch d {
	case MySQL:
		return "TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(3)) DIV 1000"
	case PostgreSQL:
		return "CAST(EXTRACT(EPOCH FROM statement_timestamp()) * 1000 AS BIGINT)"
	default:
		return "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)"
	}
}

// schema returns the statements that make the table. They make all of it or, for
// PostgreSQL and SQLite in one transaction, nothing.
func (d Dialect) schema(t table) []string {
	name, index := d.quote(t.schema, t.name), t.name+indexEnd
	switch d {
	case MySQL: // a BLOB is too short by one byte
		return []string{"CREATE TABLE IF NOT EXISTS " + name + ` (
  id VARBINARY(64) NOT NULL PRIMARY KEY,
  version BIGINT NOT NULL,
  expires BIGINT NOT NULL COMMENT 'milliseconds since 1970',
  data MEDIUMBLOB NOT NULL,
  INDEX ` + d.quote("", index) + ` (expires)
) ENGINE=InnoDB`}
	case PostgreSQL: // its index is in the schema of its table
		return []string{"CREATE TABLE IF NOT EXISTS " + name + ` (
  id VARCHAR(64) COLLATE "C" NOT NULL PRIMARY KEY,
  version BIGINT NOT NULL,
  expires BIGINT NOT NULL, -- milliseconds since 1970
  data BYTEA NOT NULL
)`, "CREATE INDEX IF NOT EXISTS " + d.quote("", index) + " ON " + name + " (expires)"}
	default:
		return []string{"CREATE TABLE IF NOT EXISTS " + name + ` (
  id TEXT NOT NULL PRIMARY KEY,
  version INTEGER NOT NULL,
  expires INTEGER NOT NULL, -- milliseconds since 1970
  data BLOB NOT NULL
)`, "CREATE INDEX IF NOT EXISTS " + d.quote(t.schema, index) + " ON " + d.quote("", t.name) + " (expires)"}
	}
}

// sweepStep is how many rows a sweep deletes in a statement, of up to 64 KiB each.
const sweepStep = 100

// texts are the statements of a store.
type texts struct {
	load1, load2             string // of one key, of two
	look                     string // the version under a key
	create, update           string
	touch, remove, removeOld string
	expired                  string // some keys of what has expired
	check                    string
}

// texts returns the statements on a table. Each is one transaction by itself.
func (d Dialect) texts(t table) texts {
	name, now := d.quote(t.schema, t.name), d.now()
	create := "INSERT INTO " + name + " (id, version, expires, data) VALUES (?, ?, " + now + " + ?, ?)"
	if d != MySQL {
		// MySQL has ON DUPLICATE KEY, but does not tell what came of it.
		create += " ON CONFLICT (id) DO UPDATE SET version = excluded.version, expires = excluded.expires, data = excluded.data" +
			" WHERE " + d.quote("", t.name) + ".expires <= " + now
	}
	return texts{
		load1:     d.number(d.load(t, 1)),
		load2:     d.number(d.load(t, 2)),
		look:      d.number("SELECT version FROM " + name + " WHERE id = ? AND expires > " + now),
		create:    d.number(create),
		update:    d.number("UPDATE " + name + " SET version = ?, expires = " + now + " + ?, data = ? WHERE id = ? AND version = ? AND expires > " + now),
		touch:     d.number("UPDATE " + name + " SET expires = " + now + " + ? WHERE id = ? AND version = ? AND expires > " + now),
		remove:    d.number("DELETE FROM " + name + " WHERE id = ? AND version = ? AND expires > " + now),
		removeOld: d.number("DELETE FROM " + name + " WHERE id = ? AND expires <= " + now),
		expired:   "SELECT id FROM " + name + " WHERE expires <= " + now + " ORDER BY expires LIMIT " + strconv.Itoa(sweepStep),
		check:     "SELECT id, version, expires, data FROM " + name + " WHERE 1 = 0",
	}
}

// load returns the statement that loads n keys.
func (d Dialect) load(t table, n int) string {
	return "SELECT id, version, expires - " + d.now() + ", data FROM " + d.quote(t.schema, t.name) +
		" WHERE id IN (?" + strings.Repeat(", ?", n-1) + ") AND expires > " + d.now()
}

// number writes the places of a statement as the dialect has them.
func (d Dialect) number(text string) string {
	if d != PostgreSQL {
		return text
	}
	var b strings.Builder
	n := 0
	for _, c := range text {
		if c != '?' {
			b.WriteRune(c)
			continue
		}
		n++
		b.WriteString("$" + strconv.Itoa(n))
	}
	return b.String()
}
