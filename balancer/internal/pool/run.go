package pool

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/foretier/foretier/health"
)

// Run probes the members and follows the source until ctx ends or the set is
// ended, and returns once all probes have ended. It is called once at a time.
func (s *Set) Run(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.closing, cancel)()

	running := make(map[*Member]context.CancelFunc)
	var wg sync.WaitGroup
	defer wg.Wait()
	if s.Opts.Source != nil {
		wg.Go(func() { s.follow(ctx) })
	}
	for {
		s.mu.Lock()
		changed := s.Whole.changed
		snap := s.Whole.Snap.Load()
		s.mu.Unlock()
		if s.Opts.Probe != nil {
			s.watch(ctx, &wg, running, snap)
		}
		s.tellChanges()
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// watch starts a prober for each new member and ends those of removed ones.
func (s *Set) watch(ctx context.Context, wg *sync.WaitGroup, running map[*Member]context.CancelFunc, snap *Snapshot) {
	there := make(map[*Member]bool, len(snap.All))
	for _, e := range snap.All {
		there[e.Member] = true
		if running[e.Member] == nil {
			own, stop := context.WithCancel(ctx)
			running[e.Member] = stop
			wg.Go(func() { s.probe(own, e) })
		}
	}
	for m, stop := range running {
		if !there[m] {
			stop()
			delete(running, m)
		}
	}
}

// nudgeRest is how long a prober rests at least, however often it is nudged.
const nudgeRest = 50 * time.Millisecond

// probe asks one backend again and again, the first time at once. Each backend
// has its own prober, so that one that hangs delays none of the others.
func (s *Set) probe(ctx context.Context, e *Entry) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	told := false
	var ended time.Time // of the latest probe
	for {
		select {
		case <-timer.C:
		case <-e.nudged:
			if rest := nudgeRest - time.Since(ended); rest > 0 {
				timer.Reset(rest)
				continue
			}
		case <-ctx.Done():
			return
		}
		res, err := s.ask(ctx, e)
		if ctx.Err() != nil {
			return
		}
		ended = time.Now()
		if v := e.Tracker.Health(ended); v.Await && !told {
			told = true
			s.Opts.Log.LogAttrs(ctx, slog.LevelWarn, "the probe does not succeed, so the backend is judged by its requests alone",
				slog.String("backend", e.Name), slog.String("answer", res.Note), slog.Any("error", err))
		}
		every := s.Opts.Schedule.Every
		if e.Tracker.Changing() || s.Opts.Judge != nil && s.Opts.Judge.Vacant() {
			every = min(every, s.Opts.Schedule.Changing)
		}
		timer.Reset(time.Duration(float64(every) * (0.8 + 0.4*rand.Float64())))
	}
}

// ask probes e once, and has what it is told take effect.
func (s *Set) ask(ctx context.Context, e *Entry) (health.Result, error) {
	began := time.Now()
	once, cancel := context.WithTimeout(ctx, s.Opts.Schedule.Timeout)
	defer cancel()
	res, err := s.Opts.Probe.Probe(once, e.Target)
	if ctx.Err() != nil {
		return res, err
	}
	now := time.Now()
	if err == nil && (!(res.Weight >= 0) || math.IsInf(res.Weight, 0)) { // not full, which is what 0 means
		res.Note += fmt.Sprintf(", weight %v: want a positive number", res.Weight)
		res.Weight, res.LastResort = 0, true
	}
	changed := e.Tracker.Probed(now, res, err)
	if err == nil {
		changed = e.heard(now, res) || changed
	}
	if s.Opts.Judge != nil {
		changed = s.Opts.Judge.Probed(e, began, now, res, err) || changed
	}
	if changed {
		s.Refresh(now)
	}
	if s.Opts.Judge != nil {
		s.Opts.Judge.Tell()
	}
	return res, err
}

// Nudge has the member probed soon, if it is probed at all.
func (m *Member) Nudge() {
	select {
	case m.nudged <- struct{}{}:
	default: // it will be
	}
}

// follow updates the set from its source until ctx ends.
func (s *Set) follow(ctx context.Context) {
	for specs, err := range s.Opts.Source(ctx) {
		if part, ok := errors.AsType[leftOut](err); ok {
			s.Opts.Log.LogAttrs(ctx, slog.LevelWarn, "some of what the source of backends named is left out", slog.Any("error", part.error))
			err = nil
		}
		if err == nil && len(specs) > 0 {
			err = s.Update(specs)
		}
		if err != nil && ctx.Err() == nil {
			s.Opts.Log.LogAttrs(ctx, slog.LevelWarn, "the source of backends failed, so they stay as they are", slog.Any("error", err))
		}
	}
}

// tellChanges tells the changes that have come up, and returns once there are none.
func (s *Set) tellChanges() {
	if s.Opts.Changed == nil {
		return
	}
	s.mu.Lock()
	changes := s.changes
	s.changes = nil
	s.mu.Unlock()
	for _, c := range changes {
		s.Opts.Changed(c.entry, c.now)
	}
}
