package balancer

import (
	"context"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/foretier/foretier/balancer/internal/inprocess"
	"github.com/foretier/foretier/balancer/internal/tracker"
	"github.com/foretier/foretier/health"
)

func TestTrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got []string
		changed := make(chan string, 10)
		backends, way := ways(refused, inprocess.Transport{Handler: servedBy("b")}, inprocess.Transport{Handler: servedBy("c")})
		p := newPool(t, backends, Options{Transport: way, Policy: First(), Trace: &Trace{
			Picked: func(_ context.Context, d health.Decision) {
				got = append(got, fmt.Sprintf("picked %s (%s) of %d", d.Verdict, d.Why, len(d.Steps)))
			},
			Tried: func(_ context.Context, a Attempt) {
				got = append(got, fmt.Sprintf("tried %s: %d %v", a.Backend, a.Status, a.Err))
			},
			Changed: func(s Status) { changed <- fmt.Sprintf("%s %v", s.Name, s.State) },
		}})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- p.Run(ctx) }()
		get(p, "GET", "/", nil)
		want := []string{
			"picked a (the first in order) of 3", "tried a: 0 connection refused",
			"picked b (the first in order; attempt 2) of 3", "tried b: 200 <nil>",
		}
		if strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("got %q", got)
		}
		time.Sleep(time.Second)
		if first := <-changed; first != "b up" {
			t.Errorf("changed: %s", first)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestExplainTellsFigures(t *testing.T) {
	cases := []struct {
		policy Policy
		want   string
	}{
		{Adaptive(), "pool pool: b (the lowest cost; equals are drawn, and of many the three that are compared)\n  - a: up, weight 1, 1 in hand, 10ms to a response\n"},
		{LeastInFlight(), "pool pool: b (the fewest requests in hand for its weight; equals are drawn)\n  - a: up, weight 1, 1 in hand, 10ms to a response\n"},
		{First(), "pool pool: a (the first in order)\n"},
		{RoundRobin(), "pool pool: a (it is its turn)\n"},
		{Hash(nil, 0), "pool pool: "},
	}
	for _, c := range cases {
		p := newPool(t, here(servedBy("a"), servedBy("b")), Options{Policy: c.policy})
		now := time.Now()
		for _, e := range p.view.Snap.Load().All {
			e.Tracker.Observe(now, tracker.Answered)
			for range 4 {
				t := new(try)
				e.Load.Start(&t.place.Ticket, now)
				t.place.Header(now.Add(10*time.Millisecond), false)
				t.place.Done()
			}
		}
		var held try
		p.view.Snap.Load().All[0].Load.Start(&held.place.Ticket, now)
		p.set.Refresh(now)
		r := httptest.NewRequest("GET", "/", nil)
		got := p.Explain(r).String()
		if again := p.Explain(r).String(); line(got) != line(again) {
			t.Errorf("%T: asking changed the answer: %s, %s", c.policy, got, again)
		}
		if !strings.HasPrefix(got, c.want) {
			t.Errorf("%T: got %s", c.policy, got)
		}
	}
}

func line(s string) string { return s[:strings.IndexByte(s, '\n')] }
