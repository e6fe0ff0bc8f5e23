// Package tracker judges one backend from its probes and from what became of its
// requests.
package tracker

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/foretier/foretier/health"
)

// A Tracker judges one backend from its probes and from what became of its
// requests. It takes the time as a value, starts nothing, and is safe for
// concurrent use.
type Tracker struct {
	schedule health.Schedule
	outlier  health.Outlier
	probed   bool

	mu     sync.Mutex
	health Health // guarded by mu, like the rest
	// probes
	proven bool // a probe has succeeded once
	failed bool // the latest verdict of the probes is that it fails
	deaf   bool // and it did not even answer
	rise   int  // good probes in a row
	fall   int  // bad probes in a row
	turned int  // probes turned away since the latest good one
	last   bool // the latest good one asks to be used last
	note   string
	// outcomes
	rate     rate
	failures int
	refusals int
	ejected  Outcome // Failed or Refused while until is set
	until    time.Time
	times    int // ejections in a row
	trial    bool
}

// A Health is what a [Tracker] thinks of its backend.
type Health struct {
	State health.State
	Hard  bool      // Down, and not even answering
	Await bool      // Unknown, and a probe will tell
	Fails bool      // Unknown, and the probe has failed so often that it would be Down, had one succeeded
	Last  bool      // Degraded, and only because it asks to be used last: see [health.Result]
	Mute  bool      // Degraded only because it turns the probes away: see [health.ErrTurnedAway]
	Trial bool      // back from an ejection and not proven yet: one request at a time
	Since time.Time // when State was entered; zero: from the start
	Until time.Time // when an ejection ends; zero: none
	Risen time.Time // when it last came back, from which a slow start counts; zero: never was away
	Why   string
}

// New returns a tracker without an opinion yet. probed says that
// [Tracker.Probed] will be called.
func New(s health.Schedule, o health.Outlier, probed bool) *Tracker {
	t := &Tracker{schedule: s.WithDefaults(), outlier: o.WithDefaults(), probed: probed}
	t.rate.part = max(t.outlier.Window/windowParts, 1)
	t.health.Await = probed
	t.health.Why = "not used yet"
	if probed {
		t.health.Why = "not probed yet"
	}
	return t
}

// Health returns what is to be thought of the backend at now.
func (t *Tracker) Health(now time.Time) Health {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.judgeLocked(now)
	return t.health
}

// Probed takes what a probe brought and reports whether the health changed.
func (t *Tracker) Probed(now time.Time, res health.Result, err error) (changed bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.note = res.Note
	if err != nil {
		t.note = err.Error()
	}
	switch {
	case err == nil && (res.State == health.Up || res.State == health.Unknown):
		t.last = res.LastResort
		t.passedLocked()
	case errors.Is(err, health.ErrTurnedAway):
		t.turnedAwayLocked()
	default:
		t.failedLocked(err != nil)
	}
	return t.judgeLocked(now)
}

func (t *Tracker) passedLocked() {
	t.fall = 0
	t.rise++
	// The first result needs no confirmation: nothing is known yet that could
	// flap.
	if t.rise >= t.schedule.Rise || !t.proven && !t.failed {
		t.proven, t.failed, t.turned = true, false, 0
		if t.ejected == Refused && t.rise >= t.schedule.Rise {
			t.until = time.Time{}
		}
	}
}

func (t *Tracker) turnedAwayLocked() {
	t.rise, t.fall = 0, 0
	t.turned++
	if t.deaf { // whoever refuses is there
		t.turned = max(t.turned, t.schedule.Fall)
	}
	if t.turned >= t.schedule.Fall {
		t.failed, t.deaf = false, false
	}
}

// failedLocked takes a probe that failed; deaf says that it was not even answered.
func (t *Tracker) failedLocked(deaf bool) {
	t.rise = 0
	t.fall++
	// A probe that never succeeded may be a wrong path: only if nobody is there
	// at all does it say something about the backend.
	if t.fall >= t.schedule.Fall && (t.proven || deaf) {
		t.failed, t.deaf = true, deaf
	}
}

// Changing reports whether the health may change soon, so that the next probe
// should follow after [health.Schedule.Changing].
func (t *Tracker) Changing() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.failed || t.turned > 0 {
		return true // it may rise at any time, and each second counts
	}
	return t.fall > 0 && t.fall < t.schedule.Fall || t.rise > 0 && t.rise < t.schedule.Rise || !t.until.IsZero()
}

// Observe takes what became of a request. eject says that the outcomes ask for
// an ejection, which the caller then grants with [Tracker.Eject], unless too
// many of the pool are out already. changed says that the health changed.
func (t *Tracker) Observe(now time.Time, o Outcome) (eject, changed bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.rate.add(now, o == Answered)
	switch o {
	case Answered:
		t.failures, t.refusals = 0, 0
		if t.trial || !t.until.IsZero() && t.ejected == Refused {
			t.trial, t.until = false, time.Time{}
			t.rate.reset() // what was before belongs to another life
			t.rate.add(now, true)
			t.health.Risen = now
		}
		if t.health.State == health.Up && !t.health.Trial {
			return false, false // by far the most frequent way
		}
		if !t.probed {
			t.proven = true
		}
	case Failed:
		t.failures++
		t.refusals = 0
	case Refused:
		t.failures++
		t.refusals++
	}
	eject = o != Answered && t.until.IsZero() && t.sickLocked(now)
	return eject, t.judgeLocked(now)
}

// sickLocked reports whether so many requests failed that the backend should be out.
func (t *Tracker) sickLocked(now time.Time) bool {
	if t.trial || t.refusals >= 2 || t.outlier.Consecutive > 0 && t.failures >= t.outlier.Consecutive {
		return true
	}
	share, n := t.rate.share(now, t.outlier.MinSamples)
	return t.outlier.MinSuccess > 0 && n >= t.outlier.MinSamples && share < t.outlier.MinSuccess
}

// Suspect returns on what evidence an ejection is asked for: hard if the latest
// request could not even connect, share if it is only the share of answers
// that is too low.
func (t *Tracker) Suspect() (hard, share bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.refusals > 0, t.failures < t.outlier.Consecutive && !t.trial
}

// Share returns the share of the latest requests that were answered, and how
// many those are.
func (t *Tracker) Share(now time.Time) (float64, int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.rate.share(now, t.outlier.MinSamples)
}

// Eject takes the backend out for a while that grows each time. jitter, from 0
// to 1, spreads it: see period.
func (t *Tracker) Eject(now time.Time, jitter float64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.until.IsZero() {
		return
	}
	if t.health.Since.Before(now.Add(-t.outlier.Max)) && !t.trial {
		t.times = 0
	}
	t.ejected = Failed
	if t.refusals > 0 {
		t.ejected = Refused
	}
	t.until = now.Add(period(t.outlier, t.times, jitter))
	t.times++
	t.failures, t.refusals, t.rise = 0, 0, 0
	t.trial = false
	t.rate.reset()
	t.judgeLocked(now)
}

// judgeLocked brings the health up to date and reports whether it changed.
func (t *Tracker) judgeLocked(now time.Time) bool {
	if !t.until.IsZero() && !now.Before(t.until) {
		t.until = time.Time{}
		t.trial = true
	}
	h := t.opinionLocked()
	if h.State != t.health.State {
		h.Since = now
		if h.State == health.Up && !h.Trial && t.health.State != health.Unknown {
			h.Risen = now
		}
	}
	changed := h.class() != t.health.class()
	t.health = h
	return changed
}

// class is what of a health picks depend on.
func (h Health) class() Health {
	return Health{State: h.State, Hard: h.Hard, Fails: h.Fails, Last: h.Last, Mute: h.Mute, Trial: h.Trial}
}

// opinionLocked is the health, as what is known gives it; the first that applies.
func (t *Tracker) opinionLocked() Health {
	h := Health{Since: t.health.Since, Risen: t.health.Risen}
	switch {
	case t.failed:
		h.State, h.Hard = health.Down, t.deaf
		h.Why = "fails its probes: " + t.note
	case !t.until.IsZero() && t.ejected == Refused:
		h.State, h.Hard, h.Until = health.Down, true, t.until
		h.Why = "refuses connections"
	case !t.until.IsZero():
		h.State, h.Until = health.Degraded, t.until
		h.Why = "too many requests failed"
	case t.proven && t.last:
		h.State, h.Last = health.Degraded, true
		h.Why = "asks to be used last: " + t.note
	case t.trial:
		h.State, h.Trial = health.Up, true
		h.Why = "on trial after an ejection"
	case t.proven && t.turned >= t.schedule.Fall:
		h.State, h.Mute = health.Degraded, true
		h.Why = "does not serve the probe, so what it was still holds: " + t.note
	case t.proven:
		h.State = health.Up
	case t.probed && t.fall+t.turned > 0:
		h.Await, h.Fails = true, t.fall >= t.schedule.Fall
		h.Why = fmt.Sprintf("the probe has never succeeded (%s): judged by its requests alone", t.note)
	default:
		h.Await, h.Why = t.probed, t.health.Why
	}
	return h
}

// Usable appends to dst the indexes of those whose backends should get requests:
// those that are up; below half of them, also the degraded and the not yet judged,
// since that many cannot all be ill by themselves; if none is up, also those that
// ask to be used last; if there are none of all these, those that fail their
// probes and yet answer; and last, when nothing else is left, those that do not
// answer.
func Usable(dst []int, all []Health) []int {
	const classes = 5
	class := func(h Health) int {
		switch {
		case h.State == health.Up, h.State == health.Unknown && !h.Await:
			return 0
		case h.Last:
			return 2
		case h.State == health.Unknown, h.State == health.Degraded:
			return 1
		case !h.Hard:
			return 3
		}
		return 4
	}
	var count [classes]int
	for _, h := range all {
		count[class(h)]++
	}
	first, last := 0, 0
	switch {
	case count[0]+count[1]+count[2] == 0:
		first = 3
		if count[3] == 0 {
			first = 4
		}
		last = first
	case count[0] == 0:
		last = 2
	case 2*count[0] < len(all)-count[2]:
		last = 1
	}
	for i, h := range all {
		if c := class(h); c >= first && c <= last {
			dst = append(dst, i)
		}
	}
	return dst
}
