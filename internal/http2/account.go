package http2

import "time"

// An Account is what a peer may make one do for nothing: frames that ask for nothing,
// streams that are given up before they are answered. It refills with time, and with
// what is of use; who has spent it is no peer that means well, and is sent away. So
// floods need no bound of their own each: rapid reset and what makes the server reset
// (CVE-2023-44487, CVE-2025-8671), pings, settings, empty frames (CVE-2019-9512 and those
// beside it).
type Account struct {
	spent   int64
	settled int64 // when it was refilled last, or first spent of, in ns
}

// What it costs, in units. A stream that is given up, by whomever, is paid for with the
// work that its request has begun.
const (
	CostFrame    = 5    // that asks for nothing
	CostWindow   = 1    // WINDOW_UPDATE: two for each frame of DATA are usual
	CostSettings = 20   // which are looked at in each stream
	CostReset    = 50   // of a stream that was not answered
	CostRefused  = 20   // a request beyond what may be asked at once
	EarnRequest  = 10   // that was answered: what comes with it, such as PRIORITY
	EarnData     = 4    // a frame of DATA that was sent: what the peer says when it takes it
	mostSpent    = 25e3 // 500 streams that are given up, say
	refill       = 2000 // a second
)

// Spend takes cost off, at now, and reports whether there was enough.
func (a *Account) Spend(cost int64, now time.Time) bool {
	at := now.UnixNano()
	if a.settled == 0 {
		a.settled = at // or the first who comes near the end would have had no time
	}
	if a.spent += cost; a.spent <= mostSpent {
		return true
	}
	a.Earn(min(int64(mostSpent), (at-a.settled)/int64(time.Second/refill)))
	a.settled = at
	return a.spent <= mostSpent
}

// Earn gives units back.
func (a *Account) Earn(units int64) { a.spent = max(0, a.spent-units) }
