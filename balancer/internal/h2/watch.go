package h2

import (
	"time"

	x "golang.org/x/net/http2"

	"github.com/foretier/foretier/internal/http1"
	"github.com/foretier/foretier/internal/http2"
)

// wakeLocked has tick come when next is over, if it does not come before.
func (c *conn) wakeLocked(now time.Time, next time.Duration) {
	if due := now.Add(next); due.Before(c.due) || !now.Before(c.due) {
		c.due = due
		c.timer.Reset(next)
	}
}

// tick closes a connection that has idled, and looks whether the backend of one that has not
// is still there.
func (c *conn) tick() {
	now := time.Now()
	c.mu.Lock()
	if c.broken != nil || c.closing {
		c.mu.Unlock()
		return
	}
	c.due = now
	if len(c.streams) == 0 {
		if left := http1.KeepIdle - now.Sub(c.idle); left > 0 {
			c.wakeLocked(now, left)
		} else {
			c.byeLocked(x.ErrCodeNo)
		}
		c.mu.Unlock()
		return
	}
	err := c.watchLocked(now)
	c.mu.Unlock()
	if err != nil {
		c.fail(err)
	}
}

// watchLocked asks a backend that is silent whether it is there, and returns an error if it
// was asked and is not.
func (c *conn) watchLocked(now time.Time) error {
	for _, s := range c.streams {
		if !s.orphaned.IsZero() && now.Sub(s.orphaned) >= orphanWait {
			s.resetLocked(x.ErrCodeCancel)
		}
	}
	if c.waits && !c.heard.Before(c.pinged) {
		c.waits = false
	}
	silent := now.Sub(c.heard)
	switch {
	case !c.begun.IsZero() && now.Sub(c.begun) >= blockWait:
		return &http1.TimeoutError{What: "a header that is not whole", Limit: blockWait} // and nothing else may come meanwhile
	case c.waits && now.Sub(c.pinged) >= pingWait:
		return &http1.TimeoutError{What: "nothing over the connection, not even an answer to a PING,", Limit: silent.Round(time.Second)}
	case c.waits:
		c.wakeLocked(now, pingWait-now.Sub(c.pinged))
	case silent < pingAfter:
		c.wakeLocked(now, pingAfter-silent)
	case !c.pinged.IsZero() && c.spoke.Before(c.pinged) && now.Sub(c.pinged) < pingPause:
		c.wakeLocked(now, min(pingPause-now.Sub(c.pinged), pingAfter))
	default:
		c.pinged, c.waits = now, true
		c.out = http2.AppendPing(c.out, false, []byte("foretier"))
		c.flushLocked()
		c.wakeLocked(now, pingWait)
	}
	return nil
}
