package balancer

import (
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/foretier/foretier/balancer/internal/tracker"
	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/internal/http1"
	"github.com/foretier/foretier/internal/transit"
)

// judge tells the backend's load what a response's header means, and returns
// what it says to the tracker, if its body comes as well.
func (t *try) judge(now time.Time, a *answer) tracker.Outcome {
	o := tracker.Answered
	status := a.status
	patience := status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable && a.header.Get("Retry-After") != ""
	switch {
	case patience && status == http.StatusServiceUnavailable:
		o = tracker.Erred // it works, and has too much of it
	case status == 502 || status == 503 || status == 504:
		o = tracker.Failed
	case status >= 500:
		o = tracker.Erred
	}
	if patience && t.begs(now) {
		t.exchange.pool.view.Set.Spare(t.entry, now, now.Add(asked(a.header.Get("Retry-After"))))
	}
	if o != tracker.Answered && !t.tells(now) {
		t.place.Pardon(now)
	} else {
		t.place.Header(now, o != tracker.Answered)
	}
	return o
}

// asked returns for how long a backend that is overloaded is given less: what
// it says, from one second to thirty.
func asked(retryAfter string) time.Duration {
	n, _ := strconv.Atoi(retryAfter) // a date, or nothing: the least
	return min(max(time.Duration(n), 1), 30) * time.Second
}

// judgeError judges a try that has brought no response. What the client did, or
// the disk of this side, is nobody's fault here.
func (t *try) judgeError(now time.Time, err error) {
	if t.exchange.gone() || ownFault(err) || err == errRescued {
		t.place.Leave()
		return
	}
	o := tracker.Failed
	switch {
	case health.Unreachable(err):
		o = tracker.Refused
	case unprocessed(err) && !t.answered:
		o = tracker.Erred // it works, and says what it does not do
	}
	if o != tracker.Refused && !t.tells(now) {
		t.place.Pardon(now)
	} else {
		if t.answered {
			t.place.Broke(now)
		}
		t.place.Header(now, true)
	}
	t.exchange.pool.observe(t.entry, now, t.exchange.req, o)
}

// mayRepeat reports whether the request may be sent to another backend, after
// it got this response or error.
func (t *try) mayRepeat(a *answer, err error) bool {
	x := t.exchange
	if err == nil && a.status < 500 { // nearly always: nobody need be asked whether the client is there
		return false
	}
	if x.gone() || err != nil && ownFault(err) || x.spool != nil && !x.spool.replayable() {
		return false
	}
	switch {
	case err != nil && t.unsent(err):
		return true
	case err != nil:
		return x.repeatable() && !errors.Is(err, ErrTimeout) && !isTimeout(err)
	case a.status == 502 || a.status == 503:
		return x.repeatable()
	case a.status == 500:
		return x.repeatable() && (x.anonymous() || x.retry == transit.RetryReplayable)
	}
	return false
}

// ownFault reports whether err is the request's own, or this side's, and would be
// so at any backend.
func ownFault(err error) bool {
	var client *clientError
	return errors.Is(err, ErrRefused) || errors.Is(err, http1.ErrInvalid) || errors.Is(err, errLost) || errors.As(err, &client)
}

// unsent reports whether an attempt that ended with err provably sent nothing,
// or nothing that the backend has looked at. One that has begun to answer has,
// whatever it says afterwards.
func (t *try) unsent(err error) bool {
	return !t.answered && (health.Unreachable(err) || unprocessed(err) || !t.sent.Load() && !t.call.Sent())
}

// tells reports whether the try's failure says something of how much its backend
// can do. Where the policy picks, what fails everywhere makes all look alike; but
// whoever picks could make any of them look slow, so several clients' must fail.
func (t *try) tells(now time.Time) bool {
	return !t.steered || t.exchange.pool.view.Set.Blamed(t.entry, now)
}

// begs notes that the backend has answered by a wish for patience, and reports
// whether that is for all: some say it to the one visitor who asks too much.
func (t *try) begs(now time.Time) bool {
	several := t.exchange.pool.view.Set.Begged(t.entry, now, witness(now, t.exchange.req, tracker.Erred))
	return !t.steered || several
}
