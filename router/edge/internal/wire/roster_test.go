package wire

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

type served struct{ parked bool }

func (s *served) Parked() bool { return s.parked }

func TestRoster(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r Roster[*served]
		if err := r.Drain(t.Context(), func(*served) { t.Error("nobody is there") }); err != nil {
			t.Errorf("an empty one: %v", err)
		}
		r = Roster[*served]{}
		a, b := &served{}, &served{parked: true}
		r.Add(a)
		r.Add(b)
		if len(r.All()) != 2 || r.Parked() != 1 || r.Draining() {
			t.Errorf("%d, %d, %t", len(r.All()), r.Parked(), r.Draining())
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		left, began := 0, time.Now()
		err := r.Drain(ctx, func(c *served) {
			if left++; c == b {
				r.Remove(b)
			}
		})
		if err != context.DeadlineExceeded || left != 2 || !r.Draining() || time.Since(began) != time.Minute {
			t.Errorf("one does not end: %v, %d, %t, after %v", err, left, r.Draining(), time.Since(began))
		}
		time.AfterFunc(time.Hour, func() { r.Remove(a); r.Remove(a) })
		if err := r.Drain(t.Context(), func(*served) {}); err != nil || time.Since(began) != time.Minute+time.Hour {
			t.Errorf("it ends: %v, after %v", err, time.Since(began))
		}
	})
}
