package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/foretier/foretier/session"
)

// A change is one statement that changes one row.
type change struct {
	key      string
	stmt     int // which to prepare
	text     string
	args     []any
	from, to int64 // the versions before and after it; 0: there is no row
	lost     error // against another
}

// lostTries is how often a statement is made whose connection is lost.
const lostTries = 3

// change makes c once, whatever becomes of the connections on the way.
func (s *Store) change(ctx context.Context, c change) error {
	if !isKey(c.key) {
		return fmt.Errorf("sqlstore: %w: key %.80q: want letters, digits, hyphens and underscores, 64 at most", session.ErrRefused, c.key)
	}
	return s.do(ctx, func() error {
		var doubt error // why it is not known whether c has been made
		for try, cut := 0, 0; ; try++ {
			done, err := s.exec(ctx, c.stmt, c.text, c.args...)
			if err == nil && done > 0 {
				return nil
			}
			if err != nil {
				switch s.dialect.judge(err) {
				case again:
					if !pause(ctx, try) {
						return s.dialect.failure(err)
					}
					continue
				case lost:
					doubt = err
					if cut++; ctx.Err() != nil {
						return s.dialect.failure(err)
					}
				case duplicate:
				default:
					return s.dialect.failure(err)
				}
			}
			version, err := s.look(ctx, c.key)
			if err != nil {
				return err
			}
			repeat, err := c.outcome(version, doubt != nil)
			if !repeat {
				return err
			}
			if doubt != nil && (cut == lostTries || !pause(ctx, try)) {
				return s.dialect.failure(doubt)
			}
			if c.from == 0 && s.dialect == MySQL { // what is there and not seen has expired
				if _, err := s.exec(ctx, unprepared, s.texts.removeOld, c.key); err != nil && s.dialect.judge(err) != again {
					return s.dialect.failure(err)
				}
			}
			if try > 100 {
				return fmt.Errorf("sqlstore: key %q: neither there nor not there", c.key)
			}
		}
	})
}

// outcome says what has become of a change that did nothing or, in doubt, may have
// done it, from the version that stands there now. Versions never come back.
func (c change) outcome(version int64, doubt bool) (repeat bool, err error) {
	switch {
	case version == c.to && c.from != c.to && (version != 0 || doubt):
		return false, nil // as c leaves it
	case version == c.from && c.from == c.to: // a touch to the millisecond that was there, or lost
		return doubt, nil
	case version == c.from:
		return true, nil
	case version == 0:
		return false, session.ErrNotFound
	case doubt:
		return false, session.ErrUnknown
	}
	return false, c.lost
}

// look returns the version under key, or 0.
func (s *Store) look(ctx context.Context, key string) (version int64, err error) {
	err = s.persist(ctx, func() error {
		rows, err := s.query(ctx, look, s.texts.look, key)
		if err != nil {
			return err
		}
		defer rows.Close()
		version = 0
		for rows.Next() {
			if err := rows.Scan(&version); err != nil {
				return fmt.Errorf("%w: %w", session.ErrUnreadable, err)
			}
		}
		return rows.Err()
	})
	return version, err
}

// persist reads, and reads again where that may help.
func (s *Store) persist(ctx context.Context, read func() error) error {
	for try, cut := 0, 0; ; try++ {
		err := read()
		if err == nil {
			return nil
		}
		if errors.Is(err, session.ErrUnreadable) {
			return fmt.Errorf("sqlstore: %w", err)
		}
		switch s.dialect.judge(err) {
		case again:
		case lost:
			if cut++; cut == lostTries {
				return s.dialect.failure(err)
			}
		default:
			return s.dialect.failure(err)
		}
		if !pause(ctx, try) {
			return s.dialect.failure(err)
		}
	}
}

// What is prepared; see [Store.stmts].
const (
	load1 = iota
	load2
	look
	create
	update
	touch
	remove
	unprepared
)

// prepared returns a statement that is prepared, or nil if it is not to be. A
// statement is a round trip then and not two or three; where several prepare it at
// once, one's stays. PostgreSQL's drivers keep what they have prepared by
// themselves, unless they are told that a pooler would lose it.
func (s *Store) prepared(ctx context.Context, i int, text string) (*sql.Stmt, error) {
	if i == unprepared || s.dialect == PostgreSQL {
		return nil, nil
	}
	if stmt := s.stmts[i].Load(); stmt != nil {
		return stmt, nil
	}
	stmt, err := s.db.PrepareContext(ctx, text)
	if err != nil {
		return nil, err
	}
	if !s.stmts[i].CompareAndSwap(nil, stmt) {
		_ = stmt.Close() // nobody has used it
		return s.stmts[i].Load(), nil
	}
	return stmt, nil
}

func (s *Store) query(ctx context.Context, i int, text string, args ...any) (*sql.Rows, error) {
	stmt, err := s.prepared(ctx, i, text)
	switch {
	case err != nil:
		return nil, err
	case stmt != nil:
		return stmt.QueryContext(ctx, args...)
	}
	return s.db.QueryContext(ctx, text, args...)
}

// exec returns how many rows a statement has changed.
func (s *Store) exec(ctx context.Context, i int, text string, args ...any) (int64, error) {
	stmt, err := s.prepared(ctx, i, text)
	if err != nil {
		return 0, err
	}
	var res sql.Result
	if stmt != nil {
		res, err = stmt.ExecContext(ctx, args...)
	} else {
		res, err = s.db.ExecContext(ctx, text, args...)
	}
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

// pause waits a moment, longer with each try, and reports whether to go on.
func pause(ctx context.Context, try int) bool {
	t := time.NewTimer(rand.N(time.Millisecond << min(try+1, 6)))
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// isKey holds a key to what [session.Store] says of keys: a database that is not
// strict would cut off what is too long.
func isKey(key string) bool {
	if key == "" || len(key) > 64 {
		return false
	}
	for i := range len(key) {
		c := key[i]
		if c != '-' && c != '_' && (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') {
			return false
		}
	}
	return true
}
