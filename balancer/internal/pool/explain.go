package pool

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/internal/transit"
)

// Explain tells what becomes of a now: the name of who gets it, "waits", "503",
// or "none", and how each member stands.
func (v *View) Explain(a *Ask, now time.Time) (Choice, health.Decision) {
	c := v.Choose(a, now, true)
	d := c.Decision(v.Set.Opts.Name, now)
	waits := worthAWait(c.Err)
	// Who has a place goes through the queue, too, if others wait.
	full := (waits || c.Err == nil && v.behind(a) > 0) && !v.queue.admits(v.Limits, transit.Network(a.Client))
	switch before := v.Waiting(); {
	case waits || full:
		d.Why = c.Why
		switch {
		case c.Err == nil:
			d.Why = "others wait for a place"
		case c.Err == ErrShare:
			d.Why = v.explainShare(a, c)
		case c.Entry != nil:
			d.Why = fmt.Sprintf("the client is bound to %s, which has %d of %d requests in hand", c.Entry.Name, c.Entry.Load.InFlight(), v.Limits.InFlight)
		}
		if full {
			d.Verdict = "503"
			d.Why += fmt.Sprintf(", and the queue is full, with %d of %d", before, max(v.Limits.Queue, 0))
		} else {
			d.Verdict = "waits"
			d.Why += fmt.Sprintf(": behind %d others for up to %v, then 503", before, v.Limits.Wait)
		}
		c.Entry = nil
	case c.Err == ErrNoBackend:
		d.Verdict, d.Why = "none", c.Why
	case c.Err != nil:
		d.Verdict, d.Why = "503", c.Err.Error()
	default:
		d.Verdict, d.Why = c.Entry.Name, c.Because()
		if a.Pin != "" && d.Verdict != a.Pin {
			d.Why += fmt.Sprintf("; the client is bound to %q, which is not to be had", a.Pin)
		}
		if as := *a; v.Limits.Streams > 0 && !a.Stream {
			as.Stream = true
			if v.full(&as, c.Entry) != nil || v.crowds(&as, c.Snap.Use) != nil {
				d.Why += "; 503 if its answer turns out to be a stream"
			}
		}
	}
	return c, d
}

// explainShare tells of which places the client has its share.
func (v *View) explainShare(a *Ask, c Choice) string {
	mine, list, where := v.places(a.who, false), c.List, "in all"
	switch {
	case c.Entry != nil:
		list, where = []*Entry{c.Entry}, "at "+c.Entry.Name+", to which it is bound"
	case !mine.over(c.Snap.Use, 0):
		list, where = c.Snap.Use, "at each"
	}
	free := 0
	for _, e := range list {
		free += mine.free(e)
	}
	return fmt.Sprintf("the client has its share of the places %s: it holds %d, and the %d that are free are kept for others", where, mine.held(list), free)
}

// Decision tells of every member how it stands.
func (c Choice) Decision(name string, now time.Time) health.Decision {
	d := health.Decision{Part: "pool " + name}
	for _, e := range c.Snap.All {
		var b strings.Builder
		fmt.Fprintf(&b, "%s: %s, weight %s, %d in hand, %v to a response", e.Name, e.Health.State,
			strconv.FormatFloat(e.Share(now), 'g', 3, 64), e.Load.InFlight(), e.Load.Latency(now).Round(time.Microsecond))
		if n := e.Load.Streams(); n > 0 {
			fmt.Fprintf(&b, ", %d streams", n)
		}
		switch {
		case e.Wanted() != Ready:
			b.WriteString("; not picked: set to " + e.Wanted().String())
		case slices.Contains(c.List, e):
		case slices.Contains(c.Snap.Use, e):
			b.WriteString("; not picked: tried already, full, or on trial")
		default:
			b.WriteString("; not picked: " + cmp.Or(e.Standing.Barred, e.Health.Why, "of a higher tier"))
		}
		d.Steps = append(d.Steps, b.String())
	}
	return d
}
