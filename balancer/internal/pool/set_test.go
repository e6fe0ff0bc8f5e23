package pool

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
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
// TestFirstAnswersShow: each first answer is in the snapshots at once, and they are as
// if all had been made anew.
func TestFirstAnswersShow(t *testing.T) {
	s := newSet(t, Limits{}, new(RoundRobin))
	part := s.Whole.Only([]Filter{func(e *Entry, _ time.Time, _ bool) bool { return e.Name != "c" }})
	var specs []Spec
	for _, name := range []string{"a", "b", "c", "backup"} {
		specs = append(specs, Spec{Name: name, At: name, Weight: 1})
	}
	specs[3].Tier = 1
	if err := s.Update(specs); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	for _, name := range []string{"b", "c", "backup", "a"} {
		before := s.Whole.Snap.Load()
		s.Observe(before.ByName(name), now, Result{Outcome: tracker.Answered, Request: true})
		if got := before.ByName(name).Health.State; got != health.Unknown {
			t.Errorf("%s: a snapshot was modified: %v", name, got)
		}
		after := s.Whole.Snap.Load()
		if got := after.ByName(name).Health.State; got != health.Up {
			t.Errorf("%s: %v after its answer", name, got)
		}
		quick := [][]*Entry{after.All, after.Use, after.rest, after.shut, part.Snap.Load().All, part.Snap.Load().Use, part.Snap.Load().rest}
		s.Refresh(now)
		again := s.Whole.Snap.Load()
		for i, want := range [][]*Entry{again.All, again.Use, again.rest, again.shut, part.Snap.Load().All, part.Snap.Load().Use, part.Snap.Load().rest} {
			if !slices.EqualFunc(quick[i], want, func(a, b *Entry) bool { return a.Member == b.Member && a.Health == b.Health }) {
				t.Errorf("%s, list %d: what is shown differs from what is made anew", name, i)
			}
		}
		for _, list := range quick[:4] {
			for _, e := range list {
				if e != after.ByName(e.Name) {
					t.Errorf("%s: lists and names of one snapshot differ at %s", name, e.Name)
				}
			}
		}
	}
}

// BenchmarkFirstAnswer is what each first answer costs.
func BenchmarkFirstAnswer(b *testing.B) {
	for _, n := range []int{10, 100, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s := newSet(b, Limits{}, new(RoundRobin))
			specs := make([]Spec, n)
			for i := range specs {
				specs[i] = Spec{Name: fmt.Sprint("web", i), Weight: 1} // of no place: it is new with each update
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if i%n == 0 {
					b.StopTimer()
					if err := s.Update(specs); err != nil {
						b.Fatal(err)
					}
					b.StartTimer()
				}
				s.Observe(s.Whole.Snap.Load().ByName(specs[i%n].Name), time.Now(), Result{Outcome: tracker.Answered})
			}
		})
	}
}

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
		a := s.Whole.Snap.Load().ByName("a")
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
