package balancer

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/foretier/foretier/internal/transit"
)

// Idle streams leave the places of a backend to pages, and have a limit of
// their own, for which nobody waits.
func TestStreamsTakeNoPlaceOfPages(t *testing.T) {
	release := make(chan struct{})
	p := newPool(t, here(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/events":
			w.Header().Set("Content-Type", "Text/Event-Stream ; charset=utf-8")
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		case "/poll":
			<-release
		}
		fmt.Fprint(w, "page")
	}), Options{Limits: Limits{InFlight: 1, Streams: 2, Queue: -1}})
	want := func(inflight, streams int) {
		t.Helper()
		if s := p.Backends()[0]; s.InFlight != inflight || s.Streams != streams {
			t.Errorf("%d in flight, %d streams, want %d, %d", s.InFlight, s.Streams, inflight, streams)
		}
		if w := get(p, "GET", "/", nil); w.Code != 200 && inflight == 0 || w.Code != 503 && inflight > 0 {
			t.Errorf("a page beside %d requests and %d streams: %d", inflight, streams, w.Code)
		}
	}
	ask := func(path string, edit ...func(*http.Request)) (*http.Response, error) {
		r := httptest.NewRequest("GET", path, nil)
		for _, f := range edit {
			f(r)
		}
		return p.RoundTrip(r)
	}
	var open []*http.Response
	for range 2 {
		res, err := ask("/events", header("Accept", "text/event-stream"))
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, res)
	}
	want(0, 2)
	if got := p.Explain(httptest.NewRequest("GET", "/", nil)).String(); !strings.Contains(got, ", 2 streams") {
		t.Errorf("Explain: %s", got)
	}
	metric := -1.0
	for _, m := range p.Report().Parts[0].Metrics {
		if m.Name == "streams_open" {
			metric = m.Value
		}
	}
	if metric != 2 {
		t.Errorf("Report: %v streams", metric)
	}
	asked := p.Backends()[0].Requests
	if _, err := ask("/events", header("Accept", "text/event-stream")); !errors.Is(err, ErrBusy) || p.Backends()[0].Requests != asked {
		t.Errorf("a third that asks for events: %v", err)
	}
	if _, err := ask("/", header("Connection", "upgrade"), header("Upgrade", "websocket")); !errors.Is(err, ErrBusy) || p.Backends()[0].Requests != asked {
		t.Errorf("an upgrade: %v", err)
	}
	if _, err := ask("/events"); !errors.Is(err, ErrBusy) { // which shows only in the answer
		t.Errorf("a third that does not say so: %v", err)
	}
	want(0, 2)
	_ = open[0].Body.Close()
	want(0, 1)

	// What a rule calls a stream is one from the start; a long poll is work.
	got := make(chan int)
	poll := func(edit ...func(*http.Request)) {
		before := p.Backends()[0].Requests
		go func() { got <- get(p, "GET", "/poll", nil, edit...).Code }()
		for p.Backends()[0].Requests == before { // it is not there yet
		}
	}
	poll(terms(transit.Terms{Streams: true}))
	want(0, 2)
	poll()
	want(1, 2)
	close(release)
	if a, b := <-got, <-got; a != 200 || b != 200 {
		t.Errorf("polls: %d, %d", a, b)
	}
	_ = open[1].Body.Close()
	want(0, 0)
}

// A stream request counts the streams in hand, so that they are spread too.
func TestStreamsAreSpread(t *testing.T) {
	events := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}
	for name, policy := range map[string]Policy{"adaptive": Adaptive(), "least": LeastInFlight()} {
		p := newPool(t, here(events, events, events), Options{Policy: policy})
		for range 30 {
			r := httptest.NewRequest("GET", "/", nil)
			r.Header.Set("Accept", "text/event-stream")
			res, err := p.RoundTrip(r)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
		}
		for _, s := range p.Backends() {
			if s.Streams < 8 || s.Streams > 12 {
				t.Errorf("%s: %s has %d of 30 streams", name, s.Name, s.Streams)
			}
		}
	}
}

// TestWhatIsAStream: what counts as a stream is not held back either, whatever
// its parameters are.
func TestWhatIsAStream(t *testing.T) {
	for value, want := range map[string]bool{
		"text/event-stream":                              true,
		"Text/Event-Stream ;charset=utf-8":               true,
		"text/event-stream; charset=utf-8; charset=utf8": true,
		"text/event-stream; =":                           true,
		"text/event-streams":                             false,
		"text/html; a=text/event-stream":                 false,
		"":                                               false,
	} {
		h := http.Header{"Content-Type": {value}}
		a := answerOf(&http.Response{StatusCode: 200, Header: h})
		if counts, passes := isStream(&a), a.streams(); counts != want || passes != want {
			t.Errorf("%q: counts as a stream: %t, is not held: %t, want %t", value, counts, passes, want)
		}
	}
}
