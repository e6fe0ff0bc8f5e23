package sqlstore

import (
	"context"
	"database/sql"
)

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
