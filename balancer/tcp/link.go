package tcp

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/foretier/foretier/balancer/internal/pool"
	"github.com/foretier/foretier/balancer/internal/relay"
	"github.com/foretier/foretier/balancer/internal/tracker"
	"github.com/foretier/foretier/health"
)

// A link is a connection to a backend that counts as in hand.
type link struct {
	of    *carrier
	entry *pool.Entry
	place pool.Place
	start time.Time
	conn  net.Conn
	once  sync.Once
	shed  atomic.Bool // the backend hung up at once, which has been told
	heard atomic.Bool // of DialContext: something was read
	wrote atomic.Bool // likewise, written

	mu    sync.Mutex
	proof *time.Timer // guarded by mu: tells that it has lasted; nil: nobody needs to know
	cutBy func(error) // guarded by mu: closes it
	why   error       // guarded by mu: that it was cut
}

// onCut says how the link is closed from outside. It reports false if that
// has been asked for already.
func (l *link) onCut(f func(error)) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cutBy = f
	return l.why == nil
}

// cut closes the link because its backend must no longer be used. It does not
// block.
func (l *link) cut(why error) {
	l.mu.Lock()
	f := l.cutBy
	first := l.why == nil
	if first {
		l.why = why
	}
	l.mu.Unlock()
	if first {
		l.of.cut.Add(1)
		if f != nil {
			f(why)
		}
	}
}

// cause returns why the link was cut, or nil.
func (l *link) cause() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.why
}

// read takes note of what a read of DialContext's brought, and puts the reason
// of a cut in the place of the error that it led to. An error may be the first
// sign of more.
func (l *link) read(n int, err error) error {
	if n > 0 && !l.heard.Load() {
		l.heard.Store(true)
	}
	if err == nil {
		return nil
	}
	l.of.roles.doubt(l.entry)
	if (err == io.EOF || errors.Is(err, syscall.ECONNRESET)) && (!l.heard.Load() || !l.wrote.Load()) {
		l.hungUp(time.Now())
	}
	return cmp.Or(l.cause(), err)
}

// write takes note that something is written.
func (l *link) write() {
	if !l.wrote.Load() {
		l.wrote.Store(true)
	}
}

// end judges the backend by a connection of DialContext's that its user is about to
// close.
func (l *link) end() {
	heard, wrote := l.heard.Load(), l.wrote.Load()
	switch {
	case !heard && !wrote:
		l.free() // it says nothing
		return
	case !wrote && relay.Ended(l.conn): // it was told why it is not served
		l.hungUp(time.Now())
	}
	l.finish(tracker.Answered)
}

// soon is within what time a backend that ends a connection by itself may not
// have served it at all, and how long one must last to prove the contrary.
const soon = time.Second

// hungUp takes note that the backend ended the connection by itself, before its
// client had said a word, or without one of its own, or with a reset. If that
// was soon, it looks idle and fast, and serves nobody: for a while, longer each
// time, it gets nothing new where another is left. That this is how its
// protocol goes is for the others to show, who then do no better.
func (l *link) hungUp(now time.Time) {
	if now.Sub(l.start) >= soon || l.cause() != nil || l.shed.Swap(true) {
		return
	}
	e := l.entry
	times := wayTo(e).shed.Add(1) - 1
	l.of.view.Set.Avoid(e, now.Add(soon<<min(times, 4)))
	l.of.observe(e, now, pool.Result{Outcome: tracker.Failed, Doubtful: true})
}

// prove tells the tracker once the connection has lasted.
func (l *link) prove() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.proof = time.AfterFunc(soon, func() { l.of.observe(l.entry, time.Now(), pool.Result{Outcome: tracker.Answered}) })
}

// finish tells how the link ended, and gives back its place.
func (l *link) finish(o tracker.Outcome) {
	l.once.Do(func() {
		l.release()
		if l.cause() != nil || l.shed.Load() {
			return
		}
		if w := wayTo(l.entry); o == tracker.Answered && w.shed.Load() != 0 {
			w.shed.Store(0)
		}
		l.of.observe(l.entry, time.Now(), pool.Result{Outcome: o})
	})
}

// free gives back the place of a link that tells nothing of its backend.
func (l *link) free() { l.once.Do(l.release) }

func (l *link) release() {
	l.mu.Lock()
	if l.proof != nil {
		l.proof.Stop()
	}
	l.mu.Unlock()
	l.of.remove(l)
	l.of.view.Free(&l.place)
}

// cutCause returns why connections to m must end, or nil. Those to a backend
// that was removed, drains, or refuses new ones may go on.
func cutCause(s *pool.Snapshot, m *pool.Member) error {
	for _, e := range s.Others {
		switch {
		case e.Member != m:
		case slices.Contains(s.Kept, e) && !rankOf(e).Fenced:
			if e.Health.State == health.Down && e.Health.Until.IsZero() {
				return fmt.Errorf("%w: %s %s", ErrMoved, e.Name, e.Health.Why)
			}
			return nil
		default:
			return fmt.Errorf("%w: %s is now %s", ErrMoved, e.Name, cmp.Or(rankOf(e).Barred, rankOf(e).Role, "of another kind"))
		}
	}
	i := slices.IndexFunc(s.All, func(e *pool.Entry) bool { return e.Member == m })
	if i < 0 {
		return nil
	}
	e := s.All[i]
	if rankOf(e).Fenced {
		return fmt.Errorf("%w: %s is %s", ErrMoved, e.Name, rankOf(e).Barred)
	}
	if e.Health.State != health.Down || !e.Health.Until.IsZero() || slices.Contains(s.Use, e) {
		return nil
	}
	return fmt.Errorf("%w: %s %s", ErrMoved, e.Name, e.Health.Why)
}
