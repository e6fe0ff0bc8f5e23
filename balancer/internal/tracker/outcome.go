package tracker

import "time"

// An Outcome is what one request taught about the backend that got it.
type Outcome uint8

const (
	// Answered is any answer below 500.
	Answered Outcome = iota
	// Erred is a 500 and other errors that may be the application's own. It
	// counts in the success rate only: one broken page is no broken server.
	Erred
	// Failed is a reset, garbage, a timeout, or 502, 503 and 504: soft evidence.
	Failed
	// Refused means that no connection came about: hard evidence.
	Refused
)

// windowParts is into how many steps a rate's window is divided.
const windowParts = 10

// A rate counts outcomes over a sliding window.
type rate struct {
	part  time.Duration
	start [windowParts]int64 // which part of time, counted from the epoch, the counts are of
	good  [windowParts]int
	bad   [windowParts]int
}

func (r *rate) add(now time.Time, good bool) {
	n := now.UnixNano() / int64(r.part)
	i := int(n % windowParts)
	if r.start[i] != n {
		r.start[i], r.good[i], r.bad[i] = n, 0, 0
	}
	if good {
		r.good[i]++
	} else {
		r.bad[i]++
	}
}

// share returns the share of good outcomes and how many there were of both:
// over as much of the window, from now back, as holds at least enough, or over
// all of it.
func (r *rate) share(now time.Time, enough int) (float64, int) {
	n := now.UnixNano() / int64(r.part)
	good, bad := 0, 0
	for back := range int64(windowParts) {
		i := (n - back) % windowParts
		if r.start[i] == n-back {
			good, bad = good+r.good[i], bad+r.bad[i]
		}
		if good+bad >= enough {
			break
		}
	}
	if good+bad == 0 {
		return 1, 0
	}
	return float64(good) / float64(good+bad), good + bad
}

func (r *rate) reset() { *r = rate{part: r.part} }
