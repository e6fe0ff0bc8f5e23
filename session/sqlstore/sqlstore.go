package sqlstore

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"time"

	"github.com/foretier/foretier/internal/breaker"
	"github.com/foretier/foretier/internal/given"
	"github.com/foretier/foretier/session"
)

// Options for [New]. The zero value is valid.
type Options struct {
	// Table is the table's name, or a schema's and its, as in "shop.sessions": letters,
	// digits and underscores, at most 55 each. It stands in quotes, and so is taken with
	// its case. Empty means "sessions".
	Table string
	// Logger gets what goes wrong in Run; nil means [slog.Default].
	Logger *slog.Logger
}

// A Store is a [session.Store] in a SQL database. A change is one round trip, and two
// if it lost against another. It is safe for concurrent use.
type Store struct {
	db      *sql.DB
	dialect Dialect
	table   table
	logger  *slog.Logger
	texts   texts
	leash   *breaker.Leash

	// Prepared when they are first used; nil: not yet, or not at all (see stmt).
	stmts [7]atomic.Pointer[sql.Stmt]

	swept, stumbled atomic.Uint64         // rows that were deleted; sweeps that failed
	trouble         atomic.Pointer[error] // why the last one did; nil: it did not
}

// New returns a Store on db, which stays the caller's to close. It does not call the
// database: see [Store.CreateTable], or [Store.Check].
func New(db *sql.DB, dialect Dialect, opts Options) (*Store, error) {
	if given.Nil(db) {
		return nil, errors.New("sqlstore: no database")
	}
	if dialect < MySQL || dialect > SQLite {
		return nil, fmt.Errorf("sqlstore: there is no %v: want MySQL, PostgreSQL or SQLite", dialect)
	}
	t, err := parseTable(cmp.Or(opts.Table, "sessions"))
	if err != nil {
		return nil, err
	}
	return &Store{
		db: db, dialect: dialect, table: t, texts: dialect.texts(t),
		logger: cmp.Or(opts.Logger, slog.Default()),
		leash:  breaker.NewLeash(1024),
	}, nil
}

// Close waits for calls that were left behind, and gives up what was prepared. It
// does not close the database.
func (s *Store) Close() error {
	errs := []error{s.leash.Close()}
	for i := range s.stmts {
		if stmt := s.stmts[i].Swap(nil); stmt != nil {
			errs = append(errs, stmt.Close())
		}
	}
	return errors.Join(errs...)
}

// Schema returns the statements that make the table, for whoever makes it by hand.
// The gateways then need to be granted SELECT, INSERT, UPDATE and DELETE on it.
func (s *Store) Schema() string {
	return strings.Join(s.dialect.schema(s.table), ";\n") + ";\n"
}

// CreateTable makes the table unless it is there. Several gateways may do so at once.
func (s *Store) CreateTable(ctx context.Context) error {
	return s.do(ctx, func() error {
		err := s.check(ctx)
		for try := 0; err != nil && !errors.Is(err, ErrAutocommitOff); try++ {
			made := s.create(ctx)
			if err = s.check(ctx); err != nil && made != nil {
				err = made
			}
			// Of several that make it at once, others may fail, and perhaps while they are at it.
			if (try > 0 && s.dialect.judge(err) != again) || try > 100 || !pause(ctx, try) {
				break
			}
		}
		return err
	})
}

func (s *Store) create(ctx context.Context) error {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("sqlstore: creating the table: %w", err)
	}
	for _, statement := range s.dialect.schema(s.table) {
		if _, err := tx.ExecContext(ctx, statement); err != nil {
			_ = tx.Rollback() // which is over either way
			return fmt.Errorf("sqlstore: creating the table: %w", err)
		}
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("sqlstore: creating the table: %w", err)
	}
	return nil
}

// ErrAutocommitOff means that the connections to MySQL do not commit by themselves: nothing
// that is written would be kept.
var ErrAutocommitOff = errors.New("sqlstore: the connections have autocommit off: take it out of the DSN, and out of init_connect")

// Check asks the database, which New does not, whether it answers and has the table.
func (s *Store) Check(ctx context.Context) error {
	return s.do(ctx, func() error { return s.check(ctx) })
}

func (s *Store) check(ctx context.Context) error {
	rows, err := s.db.QueryContext(ctx, s.texts.check)
	if err == nil {
		err = errors.Join(rows.Close(), rows.Err())
	}
	if err != nil {
		return fmt.Errorf("sqlstore: table %s: %w", s.dialect.quote(s.table.schema, s.table.name), err)
	}
	if s.dialect != MySQL {
		return nil
	}
	var auto bool
	if err := s.db.QueryRowContext(ctx, "SELECT @@autocommit").Scan(&auto); err != nil {
		return fmt.Errorf("sqlstore: %w", err)
	}
	if !auto {
		return ErrAutocommitOff
	}
	return nil
}

// do makes one call, within its context's time whatever the driver does.
func (s *Store) do(ctx context.Context, f func() error) error {
	_, err := breaker.Call(ctx, s.leash, func() (struct{}, error) { return struct{}{}, f() })
	return err
}

// Load implements [session.Store].
func (s *Store) Load(ctx context.Context, keys ...string) ([]session.Record, error) {
	return breaker.Call(ctx, s.leash, func() (records []session.Record, err error) {
		err = s.persist(ctx, func() (err error) {
			records, err = s.load(ctx, keys)
			return err
		})
		return records, err
	})
}

func (s *Store) load(ctx context.Context, keys []string) ([]session.Record, error) {
	args := make([]any, len(keys))
	for i, key := range keys {
		args[i] = key
	}
	records := make([]session.Record, len(keys))
	var rows *sql.Rows
	var err error
	switch len(keys) {
	case 0:
		return records, nil
	case 1:
		rows, err = s.query(ctx, load1, s.texts.load1, args...)
	case 2:
		rows, err = s.query(ctx, load2, s.texts.load2, args...)
	default:
		rows, err = s.query(ctx, unprepared, s.dialect.number(s.dialect.load(s.table, len(keys))), args...)
	}
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	now := time.Now()
	for rows.Next() {
		var id string
		var version, left sql.NullInt64
		var data []byte
		if err := rows.Scan(&id, &version, &left, &data); err != nil {
			return nil, fmt.Errorf("%w: %w", session.ErrUnreadable, err)
		}
		if version.Int64 <= 0 {
			return nil, fmt.Errorf("a row that is no session: use a table of its own: %w", session.ErrUnreadable)
		}
		for i, key := range keys {
			if key == id {
				records[i] = session.Record{
					Data: data, Version: uint64(version.Int64),
					Expires: now.Add(time.Duration(left.Int64) * time.Millisecond),
				}
			}
		}
	}
	return records, rows.Err()
}

// Create implements [session.Store].
func (s *Store) Create(ctx context.Context, key string, data []byte, ttl time.Duration) error {
	version := newVersion()
	return s.change(ctx, change{
		key: key, stmt: create, text: s.texts.create, args: []any{key, version, millis(ttl), own(data)},
		to: version, lost: session.ErrExists,
	})
}

// Update implements [session.Store].
func (s *Store) Update(ctx context.Context, key string, old session.Record, data []byte, ttl time.Duration) error {
	from, version := versionOf(old), newVersion()
	return s.change(ctx, change{
		key: key, stmt: update, text: s.texts.update, args: []any{version, millis(ttl), own(data), key, from},
		from: from, to: version, lost: session.ErrConflict,
	})
}

// Touch implements [session.Store]. It answers ErrConflict if the record has been
// changed since it was loaded.
func (s *Store) Touch(ctx context.Context, key string, old session.Record, ttl time.Duration) error {
	from := versionOf(old)
	return s.change(ctx, change{
		key: key, stmt: touch, text: s.texts.touch, args: []any{millis(ttl), key, from},
		from: from, to: from, lost: session.ErrConflict,
	})
}

// Delete implements [session.Store].
func (s *Store) Delete(ctx context.Context, key string, old session.Record) error {
	from := versionOf(old)
	return s.change(ctx, change{
		key: key, stmt: remove, text: s.texts.remove, args: []any{key, from},
		from: from, to: 0, lost: session.ErrConflict,
	})
}

// newVersion is random and never 0. The one that a change makes is sent along with it,
// so that it is known again whoever asks.
func newVersion() int64 { return 1 + rand.Int64N(1<<63-1) }

// versionOf returns the version of a record that was loaded, or one that no row has.
func versionOf(old session.Record) int64 {
	if old.Version == 0 || old.Version > math.MaxInt64 {
		return -1
	}
	return int64(old.Version)
}

// own returns a copy: a call that is left behind goes on reading it. It is not nil,
// which drivers send as NULL.
func own(data []byte) []byte { return append([]byte{}, data...) }

func millis(ttl time.Duration) int64 { return max(1, ttl.Milliseconds()) }
