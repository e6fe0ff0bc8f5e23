package drivertest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/foretier/foretier/internal/servertest"
	"github.com/foretier/foretier/session"
	"github.com/foretier/foretier/session/sqlstore"
)

// A writer adds words of its own to one record, as fast as it can, and remembers what
// it was told of them.
type writer struct {
	name    string
	store   session.Store
	kept    []string // acknowledged: must be there, once
	unknown []string // failed: may be there, once
	err     error    // at last
	told    func()   // what is called when it was told of one; nil: nothing
}

// write adds words until ctx ends. What lost against another's change is made again;
// what failed is not.
func (w *writer) write(ctx context.Context, key string) {
	for n := 0; ctx.Err() == nil; n++ {
		word := fmt.Sprintf("%s.%d;", w.name, n)
		for {
			call, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
			err := w.add(call, key, word)
			cancel()
			if errors.Is(err, session.ErrConflict) && ctx.Err() == nil {
				continue
			}
			switch {
			case err == nil:
				w.kept = append(w.kept, word)
			case errors.Is(err, session.ErrConflict): // it was told that it was not done
			default:
				w.unknown, w.err = append(w.unknown, word), err
			}
			if w.told != nil {
				w.told()
			}
			break
		}
	}
}

func (w *writer) add(ctx context.Context, key, word string) error {
	records, err := w.store.Load(ctx, key)
	if err != nil {
		return fmt.Errorf("loading: %w", err)
	}
	if records[0].Version == 0 {
		return fmt.Errorf("loading: %w", session.ErrNotFound)
	}
	return w.store.Update(ctx, key, records[0], append(bytes.Clone(records[0].Data), word...), time.Hour)
}

// judge holds what is there against what the writers were told.
func judge(t *testing.T, store session.Store, key string, writers []*writer) (kept, unknown int) {
	t.Helper()
	records, err := store.Load(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	found := make(map[string]int)
	for word := range strings.SplitAfterSeq(string(records[0].Data), ";") {
		found[word]++
	}
	delete(found, "")
	for _, w := range writers {
		for _, word := range w.kept {
			if found[word] != 1 {
				t.Errorf("%s was acknowledged, and is there %d times", word, found[word])
			}
			delete(found, word)
		}
		for _, word := range w.unknown {
			if found[word] > 1 {
				t.Errorf("%s failed, and is there %d times", word, found[word])
			}
			delete(found, word)
		}
		kept, unknown = kept+len(w.kept), unknown+len(w.unknown)
		if w.err != nil {
			t.Logf("%s: %d kept, %d failed, at last: %v", w.name, len(w.kept), len(w.unknown), w.err)
		}
	}
	if len(found) > 0 {
		t.Errorf("there is what lost against others: %v", found)
	}
	return kept, unknown
}

// TestNoUpdateIsLost: three gateways, each with connections at another isolation
// level, change one record at once; and then, while their network cuts off one answer in
// fifteen. What is acknowledged is kept, and nothing is made twice.
func TestNoUpdateIsLost(t *testing.T) {
	onEach(t, func(t *testing.T, d *database) {
		settings := [][]string{nil, nil, nil}
		if d.server != nil {
			settings = [][]string{{d.isolate("REPEATABLE-READ")}, {d.isolate("READ-COMMITTED")}, {d.isolate("SERIALIZABLE")}}
		}
		var stores []session.Store
		for _, s := range settings {
			stores = append(stores, d.store(t, d.open(s...)))
		}
		for _, faulty := range []bool{false, true} {
			if faulty && d.link == nil {
				continue // a file has no network
			}
			t.Run(fmt.Sprintf("faulty=%t", faulty), func(t *testing.T) {
				key := fmt.Sprintf("s-%t", faulty)
				if err := stores[0].Create(t.Context(), key, nil, time.Hour); err != nil {
					t.Fatal(err)
				}
				if faulty {
					d.link.set(func() { d.link.worry = 15 })
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				var writers []*writer
				var wg sync.WaitGroup
				var told atomic.Int32
				for i := range 9 {
					w := &writer{name: fmt.Sprintf("w%d", i), store: stores[i%len(stores)], told: func() {
						if told.Add(1) == 400 {
							cancel()
						}
					}}
					writers = append(writers, w)
					wg.Go(func() { w.write(ctx, key) })
				}
				wg.Wait()
				if faulty {
					d.link.set(func() { d.link.worry = 0 })
				}
				kept, unknown := judge(t, stores[0], key, writers)
				t.Logf("%d kept, %d failed", kept, unknown)
				if kept+unknown < 400 || kept < 50 || faulty != (unknown > 0) {
					t.Error("want 400 changes, fifty kept at least, and none failed but where answers are cut off")
				}
			})
		}
	})
}

// onServers is onEach without the file.
func onServers(t *testing.T, test func(t *testing.T, d *database)) {
	t.Run("MariaDB", func(t *testing.T) { test(t, mariaDB(t)) })
	t.Run("PostgreSQL", func(t *testing.T) { test(t, postgreSQL(t)) })
}

// TestAnAnswerIsLost: what was done is known for done by what is there.
func TestAnAnswerIsLost(t *testing.T) {
	onServers(t, func(t *testing.T, d *database) {
		store := d.store(t, d.open())
		ctx := t.Context()
		load := func(key string) session.Record {
			t.Helper()
			records, err := store.Load(ctx, key)
			if err != nil {
				t.Fatal(err)
			}
			return records[0]
		}
		// All is prepared once, so that the next answer is that of the statement.
		calls := func(key string, sever func()) {
			t.Helper()
			must := func(what string, err error) {
				t.Helper()
				if err != nil {
					t.Errorf("%s: %v", what, err)
				}
			}
			sever()
			must("Create", store.Create(ctx, key, []byte("a"), time.Minute))
			first := load(key)
			sever()
			must("Update", store.Update(ctx, key, first, []byte("b"), time.Minute))
			second := load(key)
			if string(second.Data) != "b" || second.Version == first.Version {
				t.Errorf("holds %q", second.Data)
			}
			sever()
			must("Touch", store.Touch(ctx, key, second, time.Hour))
			if left := time.Until(load(key).Expires); left < 59*time.Minute {
				t.Errorf("touched: %v left", left)
			}
			sever()
			must("Delete", store.Delete(ctx, key, second))
			if r := load(key); r.Version != 0 {
				t.Errorf("deleted: %q", r.Data)
			}
			sever()
			if r := load(key); r.Version != 0 {
				t.Errorf("deleted: %q", r.Data)
			}
		}
		calls("s-warm", func() {})
		severed := 0
		calls("s-cold", func() {
			d.link.set(func() { d.link.sever = 1 })
			severed++
		})
		d.link.set(func() {
			if d.link.sever != 0 || severed != 5 {
				t.Errorf("%d answers to be cut off are left", d.link.sever)
			}
		})
	})
}

// TestAHungDatabaseIsBounded: a call ends with its context, and all is well once the
// database is.
func TestAHungDatabaseIsBounded(t *testing.T) {
	onServers(t, func(t *testing.T, d *database) {
		store := d.store(t, d.open())
		if err := store.Create(t.Context(), "s-a", []byte("a"), time.Hour); err != nil {
			t.Fatal(err)
		}
		records, err := store.Load(t.Context(), "s-a")
		if err != nil {
			t.Fatal(err)
		}
		end := d.link.hang()
		for what, call := range map[string]func(context.Context) error{
			"Load":   func(ctx context.Context) error { _, err := store.Load(ctx, "s-a"); return err },
			"Create": func(ctx context.Context) error { return store.Create(ctx, "s-b", nil, time.Minute) },
			"Touch":  func(ctx context.Context) error { return store.Touch(ctx, "s-a", records[0], time.Hour) },
			"Sweep":  func(ctx context.Context) error { _, err := store.Sweep(ctx); return err },
		} {
			ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
			begun := time.Now()
			err := call(ctx)
			cancel()
			if took := time.Since(begun); took > time.Second || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: %v after %v", what, err, took)
			}
		}
		end()
		working(t, store, "s-a", records[0])
	})
}

// working waits until a store works again, and has what it had.
func working(t *testing.T, store session.Store, key string, want session.Record) {
	t.Helper()
	servertest.Until(t, "the store works again", func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		records, err := store.Load(ctx, key)
		if err == nil && (records[0].Version != want.Version || !bytes.Equal(records[0].Data, want.Data)) {
			t.Fatalf("holds version %d, %q, want %d, %q", records[0].Version, records[0].Data, want.Version, want.Data)
		}
		return err
	})
	if err := store.Update(t.Context(), key, want, []byte("anew"), time.Hour); err != nil {
		t.Errorf("a change: %v", err)
	}
}

// TestALockedRow: who waits for another's transaction waits no longer than its call,
// and what it wanted is then made once or not at all.
func TestALockedRow(t *testing.T) {
	onEach(t, func(t *testing.T, d *database) {
		var settings []string
		if d.dialect == sqlstore.SQLite {
			settings = []string{"_pragma=busy_timeout(5000)"} // longer than the call has
		}
		store := d.store(t, d.open(settings...))
		if err := store.Create(t.Context(), "s-a", []byte("a"), time.Hour); err != nil {
			t.Fatal(err)
		}
		records, err := store.Load(t.Context(), "s-a")
		if err != nil {
			t.Fatal(err)
		}
		tx, err := d.open().BeginTx(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tx.ExecContext(t.Context(), "UPDATE sessions SET data = 'locked' WHERE id = 's-a'"); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		begun := time.Now()
		err = store.Update(ctx, "s-a", records[0], []byte("ab"), time.Hour)
		if took := time.Since(begun); took > time.Second || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v after %v", err, took)
		}
		if err := tx.Rollback(); err != nil {
			t.Fatal(err)
		}
		// What was left behind may still come to be done: a change of what is there then
		// is made on top of it, or before it, when it comes too late.
		w := &writer{name: "w", store: store}
		for {
			if err := w.add(t.Context(), "s-a", "c"); err == nil {
				break
			} else if !errors.Is(err, session.ErrConflict) {
				t.Fatal(err)
			}
		}
		records, err = store.Load(t.Context(), "s-a")
		if data := string(records[0].Data); err != nil || data != "ac" && data != "abc" {
			t.Errorf("holds %q, %v", data, err)
		}
	})
}

// TestARestart: a database that is gone fails at once, and a restarted one is used by
// the same store.
func TestARestart(t *testing.T) {
	onServers(t, func(t *testing.T, d *database) {
		store := d.store(t, d.open())
		if err := store.Create(t.Context(), "s-a", []byte("a"), time.Hour); err != nil {
			t.Fatal(err)
		}
		records, err := store.Load(t.Context(), "s-a")
		if err != nil {
			t.Fatal(err)
		}
		if err := store.Update(t.Context(), "s-a", records[0], []byte("b"), time.Hour); err != nil {
			t.Fatal(err)
		}
		if records, err = store.Load(t.Context(), "s-a"); err != nil {
			t.Fatal(err)
		}
		d.server.Kill()
		for range 3 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			begun := time.Now()
			_, loading := store.Load(ctx, "s-a")
			for what, err := range map[string]error{"Load": loading, "Update": store.Update(ctx, "s-a", records[0], nil, time.Hour)} {
				if err == nil || errors.Is(err, session.ErrConflict) || errors.Is(err, session.ErrNotFound) || errors.Is(err, session.ErrRefused) {
					t.Errorf("%s: %v", what, err)
				}
			}
			if took := time.Since(begun); took > 900*time.Millisecond {
				t.Errorf("a database that refuses connections is tried for %v", took)
			}
			cancel()
		}
		d.server.Restart()
		working(t, store, "s-a", records[0])
	})
}

// TestADatabaseThatRefuses: what may only be read can be read, and is no outage.
func TestADatabaseThatRefuses(t *testing.T) {
	onEach(t, func(t *testing.T, d *database) {
		owner := d.open()
		store := d.store(t, owner)
		if err := store.Create(t.Context(), "s-a", []byte("a"), time.Hour); err != nil {
			t.Fatal(err)
		}
		readers := map[string]string{"read-only": ""}
		switch d.dialect {
		case sqlstore.MySQL:
			readers = map[string]string{"read-only": "tx_read_only=1", "not allowed": "user=reader"}
			d.do(t, owner, "CREATE USER reader@'%'", "GRANT SELECT ON mysql.sessions TO reader@'%'")
		case sqlstore.PostgreSQL:
			readers = map[string]string{"read-only": "default_transaction_read_only=on", "not allowed": "role=reader"}
			d.do(t, owner, "CREATE ROLE reader", "GRANT SELECT ON sessions TO reader")
		case sqlstore.SQLite:
			readers = map[string]string{"read-only": "mode=ro"}
		}
		for name, setting := range readers {
			s := d.store(t, d.open(setting))
			records, err := s.Load(t.Context(), "s-a")
			if err != nil || string(records[0].Data) != "a" {
				t.Errorf("%s: a look: %v", name, err)
				continue
			}
			for what, err := range map[string]error{
				"Create": s.Create(t.Context(), "s-b", nil, time.Minute),
				"Update": s.Update(t.Context(), "s-a", records[0], nil, time.Minute),
				"Touch":  s.Touch(t.Context(), "s-a", records[0], time.Minute),
				"Delete": s.Delete(t.Context(), "s-a", records[0]),
			} {
				if !errors.Is(err, session.ErrRefused) {
					t.Errorf("%s: %s: %v, want ErrRefused", name, what, err)
				}
			}
		}
		if records, err := store.Load(t.Context(), "s-a", "s-b"); err != nil || string(records[0].Data) != "a" || records[1].Version != 0 {
			t.Errorf("afterwards: %v, %v", records, err)
		}
	})
}

// TestADatabaseWhoseClockIsWrong: an hour ahead of its gateways, or a year behind.
func TestADatabaseWhoseClockIsWrong(t *testing.T) {
	d := mariaDB(t)
	for _, off := range []time.Duration{time.Hour, -365 * 24 * time.Hour} {
		store := d.store(t, d.open(fmt.Sprintf("timestamp=%d.5", time.Now().Add(off).Unix()))) // stands still
		key := fmt.Sprintf("s-%d", off)
		if err := store.Create(t.Context(), key, nil, time.Minute); err != nil {
			t.Fatal(err)
		}
		records, err := store.Load(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		if left := time.Until(records[0].Expires); left < 59*time.Second || left > time.Minute {
			t.Errorf("%v off: expires in %v", off, left)
		}
	}
}
