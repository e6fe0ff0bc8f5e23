package sqlstore

import (
	"context"
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

	doubt error // why it is not known whether it has been made; nil: it is
	cut   int   // how often that was so
}

const (
	lostTries = 3   // how often a statement is made whose connection is lost
	allTries  = 100 // and any, where a context has no end
)

// change makes c once, whatever becomes of the connections on the way.
func (s *Store) change(ctx context.Context, c change) error {
	if !isKey(c.key) {
		return fmt.Errorf("sqlstore: %w: key %.80q: want letters, digits, hyphens and underscores, 64 at most", session.ErrRefused, c.key)
	}
	return s.do(ctx, func() error {
		for try := 1; ; try++ {
			repeat, err := s.attempt(ctx, &c)
			if !repeat || try == allTries || !pause(ctx, try) {
				return err
			}
		}
	})
}

// attempt makes c, and finds out what came of it. repeat says that it has not been
// made and that it may be made again; then err is for whoever does not.
func (s *Store) attempt(ctx context.Context, c *change) (repeat bool, err error) {
	made, err := s.exec(ctx, c.stmt, c.text, c.args...)
	if err == nil && made > 0 {
		return false, nil
	}
	if err != nil {
		switch s.dialect.judge(err) {
		case again:
			return true, s.dialect.failure(err)
		case lost:
			c.doubt, c.cut = s.dialect.failure(err), c.cut+1
			if ctx.Err() != nil {
				return false, c.doubt
			}
		case duplicate:
		default:
			return false, s.dialect.failure(err)
		}
	}
	version, err := s.look(ctx, c.key)
	if err != nil {
		return false, err
	}
	if repeat, err := c.outcome(version); !repeat {
		return false, err
	}
	if s.dialect == MySQL && c.from == 0 { // which puts no row in the place of what has expired
		if _, err := s.exec(ctx, unprepared, s.texts.removeOld, c.key); err != nil {
			v := s.dialect.judge(err)
			return v == again || v == lost, s.dialect.failure(err)
		}
	}
	if c.doubt != nil {
		return c.cut < lostTries, c.doubt
	}
	return true, fmt.Errorf("sqlstore: key %q: neither there nor not there", c.key)
}

// outcome says what has become of a change that did nothing or, in doubt, may have
// done it, from the version that stands there now. Versions never come back.
func (c change) outcome(version int64) (repeat bool, err error) {
	doubt := c.doubt != nil
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
