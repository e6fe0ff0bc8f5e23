package pool

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/foretier/foretier/balancer/internal/tracker"
	"github.com/foretier/foretier/health"
)

// A stopped log is one whose reader stands still.
type stopped struct {
	slog.Handler
	until <-chan bool
}

func (stopped) Enabled(context.Context, slog.Level) bool { return true }

func (s stopped) Handle(context.Context, slog.Record) error {
	<-s.until
	return nil
}

// TestALogThatStandsStillHidesNoState: who picks sees that a backend is down before
// that is logged.
func TestALogThatStandsStillHidesNoState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		until := make(chan bool)
		s := New(Options{
			Log:     slog.New(stopped{slog.DiscardHandler, until}),
			Outlier: health.Outlier{}.WithDefaults(), Schedule: health.Schedule{}.WithDefaults(),
			MakeWay: func(Spec) (any, health.Target) { return nil, health.Target{} },
			DropWay: func(any) {},
		}, Limits{}, First{})
		if err := s.Update([]Spec{{Name: "a", At: "a", Weight: 1}, {Name: "b", At: "b", Weight: 1}}); err != nil {
			t.Fatal(err)
		}
		a := s.Whole.Snap.Load().ByName["a"]
		done := make(chan bool)
		go func() {
			defer close(done)
			for range 20 {
				s.Observe(a, time.Now(), Result{Outcome: tracker.Refused, Request: true})
			}
		}()
		synctest.Wait() // until it is told
		select {
		case <-done:
			t.Fatal("the log was not written to")
		default:
		}
		if c := s.Whole.Choose(&Ask{}, time.Now(), false); c.Entry == nil || c.Entry.Name != "b" {
			t.Errorf("chose %+v", c)
		}
		close(until)
		<-done
		s.End()
	})
}
