package pool

import (
	"context"
	"errors"
	"math"
	"slices"
	"time"

	"github.com/foretier/foretier/health"
)

// Only returns a view of those that pass a filter: with several, those that
// pass the first are used as long as one of them is alive, then those that pass
// the second, and so on. It ends with v.
func (v *View) Only(filters []Filter) *View {
	if outer := v.filters; outer != nil { // of an excerpt, less
		for i, inner := range filters {
			filters[i] = func(e *Entry, now time.Time, atBest bool) bool {
				return inner(e, now, atBest) && slices.ContainsFunc(outer, func(f Filter) bool { return f(e, now, atBest) })
			}
		}
	}
	s := v.Set
	out := newView(v.Closing, s, v.Limits, v.policy, filters)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.views = append(s.views, out)
	out.showLocked(s.Whole.Snap.Load(), time.Now())
	return out
}

// Watch has f told each snapshot from now on, the present one at once, under the
// set's lock: it must not block, nor call the set.
func (v *View) Watch(f func(*Snapshot)) {
	v.Set.mu.Lock()
	defer v.Set.mu.Unlock()
	v.published = f
	f(v.Snap.Load())
}

// End takes the view off its set, and refuses further requests.
func (v *View) End() {
	v.close()
	v.Set.mu.Lock()
	defer v.Set.mu.Unlock()
	v.Set.views = slices.DeleteFunc(v.Set.views, func(o *View) bool { return o == v })
}

// Current returns the snapshot that holds at now.
func (v *View) Current(now time.Time) *Snapshot {
	snap := v.Snap.Load()
	if now.UnixNano() < snap.until {
		return snap
	}
	v.Set.Refresh(now)
	return v.Snap.Load()
}

// showLocked publishes what the filters leave of the whole.
func (v *View) showLocked(whole *Snapshot, now time.Time) {
	snap := whole
	if v.filters != nil {
		snap = v.narrow(whole, now)
	}
	v.Snap.Store(snap)
	if v.published != nil {
		v.published(snap)
	}
	close(v.changed)
	v.changed = make(chan struct{})
}

// narrow returns what the filters leave of the whole.
func (v *View) narrow(whole *Snapshot, now time.Time) *Snapshot {
	snap := &Snapshot{names: make(map[string]int), until: whole.until}
	pass := make([]int, len(whole.All))      // the first filter that each passes
	first, alive := math.MaxInt, math.MaxInt // that somebody well, or alive, passes
	for i, e := range whole.All {
		pass[i] = v.passes(e, now, false)
		if pass[i] < 0 {
			snap.Others = append(snap.Others, e)
			if v.passes(e, now, true) >= 0 {
				snap.Kept = append(snap.Kept, e)
			}
			continue
		}
		snap.names[e.Name] = len(snap.All)
		snap.All = append(snap.All, e)
		if !e.available() || e.Health.State == health.Down {
			continue
		}
		alive = min(alive, pass[i])
		if e.Health.State != health.Degraded {
			first = min(first, pass[i])
		}
	}
	if first == math.MaxInt {
		first = alive
	}
	var list []*Entry
	for i, e := range whole.All {
		if pass[i] >= 0 && (first == math.MaxInt || pass[i] == first) {
			list = append(list, e)
		}
	}
	snap.choose(list, &v.Set.weights)
	return snap
}

// passes returns the first filter that e passes, or -1.
func (v *View) passes(e *Entry, now time.Time, atBest bool) int {
	return slices.IndexFunc(v.filters, func(f Filter) bool { return f(e, now, atBest) })
}

// Healthy reports whether there is one to serve that is not down.
func (v *View) Healthy(now time.Time) bool {
	for _, e := range v.Current(now).Use {
		if e.Health.State != health.Down {
			return true
		}
	}
	return false
}

// Change returns what is closed at the next change.
func (v *View) Change() <-chan struct{} {
	v.Set.mu.Lock()
	defer v.Set.mu.Unlock()
	return v.changed
}

// WaitReady returns once a probe has told that one of those who serve is up; at once
// without probes.
func (v *View) WaitReady(ctx context.Context) error {
	for {
		changed := v.Change()
		if v.Set.Opts.Probe == nil {
			return nil
		}
		for _, e := range v.Current(time.Now()).Use {
			if e.Health.State == health.Up {
				return nil
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return errors.Join(ErrNoBackend, context.Cause(ctx))
		case <-v.Closing.Done():
			return ErrClosed
		}
	}
}
