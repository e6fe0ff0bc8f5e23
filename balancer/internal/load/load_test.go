package load

import (
	"math/rand/v2"
	"testing"
	"time"
)

var epoch = time.Unix(1000, 0)

// serve counts one request that took d.
func serve(l *Load, at time.Time, d time.Duration, bad bool) {
	var t Ticket
	l.Start(&t, at)
	t.Header(at.Add(d), bad)
	t.Done()
}

func TestLatency(t *testing.T) {
	const ms = time.Millisecond
	cases := []struct {
		name    string
		samples []time.Duration // negative: bad
		least   time.Duration
		most    time.Duration
	}{
		{"nobody has tried", nil, 0, 0},
		{"a cold start", []time.Duration{50 * ms, ms, ms}, 900 * time.Microsecond, 2 * ms},
		{"one slow page", []time.Duration{ms, ms, ms, ms, 500 * ms, ms}, 900 * time.Microsecond, 2 * ms},
		{"two in a row", []time.Duration{ms, ms, ms, ms, 500 * ms, 400 * ms}, 9 * ms, 400 * ms},
		{"one failure", []time.Duration{ms, ms, ms, ms, -ms}, 9 * ms, 10 * time.Second},
	}
	for _, c := range cases {
		var pool Pool
		other := New(&pool)
		for i := range 50 {
			serve(other, epoch.Add(time.Duration(i)*ms), ms, false)
		}
		l, now := New(&pool), epoch.Add(time.Second)
		for _, d := range c.samples {
			serve(l, now, max(d, -d), d < 0)
			now = now.Add(10 * ms)
		}
		if got := l.Latency(now); got < c.least || got > c.most {
			t.Errorf("%s: got %v, want %v to %v", c.name, got, c.least, c.most)
		}
		if got := l.Latency(now.Add(time.Minute)); len(c.samples) > 0 && got > 2*ms {
			t.Errorf("%s: after a minute %v, want the pool's typical", c.name, got)
		}
	}
}

func TestOldestIsTheFirstThatWaits(t *testing.T) {
	var pool Pool
	l := New(&pool)
	var tickets [3]Ticket
	at := func(s int) time.Time { return epoch.Add(time.Duration(s) * time.Second) }
	for i := range tickets {
		l.Start(&tickets[i], at(i))
	}
	want := func(now int, oldest time.Duration, waiting, inflight int) {
		t.Helper()
		if got := l.Oldest(at(now)); got != oldest || l.Waiting() != waiting || l.InFlight() != inflight {
			t.Errorf("oldest %v, %d wait, %d in flight; want %v, %d, %d", got, l.Waiting(), l.InFlight(), oldest, waiting, inflight)
		}
	}
	want(5, 5*time.Second, 3, 3)
	tickets[1].Header(at(5), false)
	want(5, 5*time.Second, 2, 3)
	tickets[0].Leave()
	want(5, 3*time.Second, 1, 3)
	tickets[0].Done()
	tickets[1].Done()
	want(500, 10*time.Second, 1, 1) // ten times what a pool is taken to need
	tickets[2].Done()
	want(500, 0, 0, 0)
}

func TestTryStartHoldsTheLimit(t *testing.T) {
	var pool Pool
	l := New(&pool)
	var a, b Ticket
	if !l.TryStart(&a, epoch, 1) || l.TryStart(&b, epoch, 1) {
		t.Error("the limit of one does not hold")
	}
	a.Done()
	if !l.TryStart(&b, epoch, 1) {
		t.Error("a place that came free is not given")
	}
}

func TestQuantiles(t *testing.T) {
	var pool Pool
	if pool.Median() != 10*time.Millisecond || pool.P90() != time.Second {
		t.Errorf("unknown: %v, %v", pool.Median(), pool.P90())
	}
	l := New(&pool)
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range 5000 {
		d := time.Duration(rng.IntN(1000)) * time.Millisecond
		serve(l, epoch.Add(time.Duration(i)*time.Second), d, false)
	}
	if m, p := pool.Median(), pool.P90(); m < 350*time.Millisecond || m > 550*time.Millisecond || p < 700*time.Millisecond || p > 950*time.Millisecond {
		t.Errorf("of 0 to 1 s evenly: median %v, 90%% %v", m, p)
	}
	// What is typical changes with the times.
	for i := range 5000 {
		serve(l, epoch.Add(time.Duration(5000+i)*time.Second), time.Millisecond, false)
	}
	if m := pool.Median(); m > 2*time.Millisecond {
		t.Errorf("later: median %v", m)
	}
}

// A stream takes no place of those for requests, before its header or after,
// and nothing is learned of its wait.
func TestStreams(t *testing.T) {
	var pool Pool
	l := New(&pool)
	want := func(inflight, streams, waiting, owners int) {
		t.Helper()
		if l.InFlight() != inflight || l.Streams() != streams || l.Waiting() != waiting || owned(l) != owners {
			t.Errorf("%d in flight, %d streams, %d wait, %d owners; want %d, %d, %d, %d",
				l.InFlight(), l.Streams(), l.Waiting(), owned(l), inflight, streams, waiting, owners)
		}
	}
	var page, found, declared, over Ticket
	l.Start(&page, epoch)
	l.Start(&found, epoch)
	if !l.TryStream(&declared, epoch, 2) {
		t.Error("no place for a stream")
	}
	want(2, 1, 2, 3)
	for range 2 { // the second time it is one already
		if !found.Stream(2) {
			t.Error("no place for a second stream")
		}
	}
	want(1, 2, 1, 2)
	if l.TryStream(&over, epoch, 2) || page.Stream(2) {
		t.Error("a place for a third stream of two")
	}
	declared.Header(epoch.Add(time.Hour), false)
	if l.samples.Load() != 0 || l.Oldest(epoch.Add(time.Second)) != time.Second {
		t.Errorf("latency %v, oldest %v", l.Latency(epoch), l.Oldest(epoch.Add(time.Second)))
	}
	want(1, 2, 1, 1)
	declared.Done()
	found.Done()
	page.Done()
	want(0, 0, 0, 0)
	if l.Oldest(epoch.Add(time.Second)) != 0 {
		t.Error("somebody waits")
	}
}

// TestBroke: headers that come fast, with nothing behind them, are no speed.
func TestBroke(t *testing.T) {
	const ms = time.Millisecond
	var pool Pool
	l := New(&pool)
	for i := range 50 {
		serve(l, epoch.Add(time.Duration(i)*ms), ms, false)
	}
	now := epoch.Add(time.Second)
	var ticket Ticket
	l.Start(&ticket, now)
	ticket.Header(now.Add(ms), false)
	ticket.Broke(now.Add(2 * ms))
	ticket.Done()
	if got := l.Latency(now.Add(2 * ms)); got < 9*ms {
		t.Errorf("got %v, want that of a failure", got)
	}
}

// owned returns how many owners there are.
func owned(l *Load) (n int) {
	l.EachOwner(func(any) { n++ })
	return n
}
