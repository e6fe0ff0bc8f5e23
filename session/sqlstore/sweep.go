package sqlstore

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/session"
)

const (
	sweepEvery = time.Minute           // how often one of all gateways sweeps
	sweepFor   = 50 * time.Second      // how long it does so at most: its turn ends after sweepEvery
	stepFor    = 10 * time.Second      // how long a statement may take
	sweepRest  = 20 * time.Millisecond // between two, for everybody else
	sweepKey   = "sweeper"             // whose turn it is: no session's key
)

// Run calls [Store.Sweep] about once a minute, until ctx ends. It fails at nothing:
// what goes wrong is logged, and tried again a minute later. Without it the table
// grows.
func (s *Store) Run(ctx context.Context) error {
	for {
		// Not all at once, also where all were started so.
		t := time.NewTimer(sweepEvery/2 + rand.N(sweepEvery/2))
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return nil
		}
		if _, err := s.Sweep(ctx); err != nil && ctx.Err() == nil {
			s.logger.Error("sqlstore: deleting what has expired: tried again in a minute", "table", s.table.name, "error", err)
		}
	}
}

// Sweep deletes what has expired, a hundred rows at a time, found by their index and
// deleted by their keys, for 50 seconds at most. It returns how many rows that were: 0
// if another gateway, or this one, has begun to do so within the last minute, of which
// the table has a row. It is for those who have a job for it instead of [Store.Run].
func (s *Store) Sweep(ctx context.Context) (deleted int, err error) {
	err = s.takeTurn(ctx)
	if errors.Is(err, session.ErrExists) {
		return 0, nil
	}
	defer func() { s.note(err) }()
	for until := time.Now().Add(sweepFor); err == nil && time.Now().Before(until); {
		var n, found int
		n, found, err = s.step(ctx)
		deleted += n
		s.swept.Add(uint64(n))
		if err != nil || found < sweepStep {
			break
		}
		select {
		case <-time.After(sweepRest):
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	return deleted, err
}

// note keeps how a sweep has ended, for the report.
func (s *Store) note(err error) {
	if err == nil {
		s.trouble.Store(nil)
		return
	}
	s.stumbled.Add(1)
	s.trouble.Store(&err)
}

// takeTurn is [session.ErrExists] while it is somebody else's.
func (s *Store) takeTurn(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, stepFor)
	defer cancel()
	return s.Create(ctx, sweepKey, nil, sweepEvery)
}

// step deletes some rows that have expired, unless they were touched or made anew
// since they were found.
func (s *Store) step(ctx context.Context) (deleted, found int, err error) {
	ctx, cancel := context.WithTimeout(ctx, stepFor)
	defer cancel()
	err = s.do(ctx, func() error {
		var keys []any
		err := s.persist(ctx, func() error {
			keys = nil
			rows, err := s.query(ctx, unprepared, s.texts.expired)
			if err != nil {
				return err
			}
			defer rows.Close()
			for rows.Next() {
				var key string
				if err := rows.Scan(&key); err != nil {
					return err
				}
				keys = append(keys, key)
			}
			return rows.Err()
		})
		if found = len(keys); err != nil || found == 0 {
			return err
		}
		return s.persist(ctx, func() error { // it may be done twice
			n, err := s.exec(ctx, unprepared, s.dialect.removeAll(s.table, found), keys...)
			deleted = int(n)
			return err
		})
	})
	return deleted, found, err
}

// removeAll returns the statement that deletes what has expired of n keys: found by
// these, hence the 0, and not once more by the index, in which MySQL would lock what
// lies between.
func (d Dialect) removeAll(t table, n int) string {
	return d.number("DELETE FROM " + d.quote(t.schema, t.name) + " WHERE id IN (?" + strings.Repeat(", ?", n-1) + ") AND expires + 0 <= " + d.now())
}

// Report implements [health.Reporter]: degraded while what has expired cannot be
// deleted. It is a part of the report of its [session.Manager].
func (s *Store) Report() health.Report {
	r := health.Report{Kind: "session_table", Name: s.table.name, State: health.Up, Metrics: []health.Metric{
		health.Count("rows_deleted_total", "Rows deleted since they had expired.", s.swept.Load()),
		health.Count("sweeps_failed_total", "Sweeps for what has expired that failed.", s.stumbled.Load()),
	}}
	if err := s.trouble.Load(); err != nil {
		r.State, r.Why = health.Degraded, "what has expired is not deleted: "+(*err).Error()
	}
	return r
}
