package balancer

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

// Run probes the backends and follows the Source until ctx ends or the pool is closed, and returns
// once all probes have ended. Without it, or without a Probe, the pool learns
// from its requests alone. It is called once at a time.
func (p *Pool) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(p.closing, cancel)()
	if p.of != nil { // the whole does it
		<-ctx.Done()
		return nil
	}

	running := make(map[*member]context.CancelFunc)
	var wg sync.WaitGroup
	defer wg.Wait()
	if p.opts.Source != nil {
		wg.Go(func() { p.follow(ctx) })
	}
	for {
		p.mu.Lock()
		changed := p.changed
		snap := p.snap.Load()
		p.mu.Unlock()
		if p.opts.Probe != nil {
			p.watch(ctx, &wg, running, snap)
		}
		p.tellChanges()
		select {
		case <-changed:
		case <-ctx.Done():
			return nil
		}
	}
}

// watch starts a prober for each new member and ends those of removed ones.
func (p *Pool) watch(ctx context.Context, wg *sync.WaitGroup, running map[*member]context.CancelFunc, snap *snapshot) {
	there := make(map[*member]bool, len(snap.all))
	for _, e := range snap.all {
		there[e.member] = true
		if running[e.member] == nil {
			own, stop := context.WithCancel(ctx)
			running[e.member] = stop
			wg.Go(func() { p.probe(own, e) })
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
func (p *Pool) probe(ctx context.Context, e *entry) {
	schedule := p.opts.Schedule
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
		began := time.Now()
		once, cancel := context.WithTimeout(ctx, schedule.Timeout)
		res, err := p.opts.Probe.Probe(once, e.target)
		cancel()
		if ctx.Err() != nil {
			return
		}
		now := time.Now()
		ended = now
		if err == nil && (!(res.Weight >= 0) || math.IsInf(res.Weight, 0)) { // not full, which is what 0 means
			res.Note += fmt.Sprintf(", weight %v: want a positive number", res.Weight)
			res.Weight, res.LastResort = 0, true
		}
		changed := e.tracker.Probed(now, res, err)
		if err == nil {
			changed = e.heard(now, res) || changed
		}
		if p.probed(e, began, now, res, err) || changed {
			p.refresh(now)
		}
		if v := e.tracker.Verdict(now); v.Await && !told {
			told = true
			p.log.LogAttrs(ctx, slog.LevelWarn, "the probe does not succeed, so the backend is judged by its requests alone",
				slog.String("backend", e.Name), slog.String("answer", res.Note), slog.Any("error", err))
		}
		every := schedule.Every
		if e.tracker.Changing() || p.roles.vacant.Load() {
			every = min(every, schedule.Changing)
		}
		timer.Reset(time.Duration(float64(every) * (0.8 + 0.4*rand.Float64())))
	}
}

// Ready returns once the pool has been told by its probes that a backend is
// up. A pool without a Probe is ready at once. It needs [Pool.Run] to be
// running, and returns the cause of ctx's end if that comes first.
func (p *Pool) Ready(ctx context.Context) error {
	for {
		p.mu.Lock()
		changed := p.changed
		p.mu.Unlock()
		if p.opts.Probe == nil {
			return nil
		}
		for _, e := range p.current(time.Now()).use {
			if e.verdict.State == health.Up {
				return nil
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return errors.Join(ErrNoBackend, context.Cause(ctx))
		case <-p.closing.Done():
			return ErrClosed
		}
	}
}
