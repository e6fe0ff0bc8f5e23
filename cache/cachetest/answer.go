package cachetest

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/internal/trial"
)

// An Answer is what a client got.
type Answer struct {
	URL    string
	Status int // 0: the connection broke off
	Body   string
	Header http.Header

	why string // what the front has said it would do
}

// Get asks front for a URL; fields are "Name: value" each.
func Get(tb testing.TB, front http.Handler, url string, fields ...string) Answer {
	tb.Helper()
	a, err := ask(tb, front, &trial.Request{Target: url, Fields: fields})
	if err != nil {
		tb.Fatalf("%s: %v", url, err)
	}
	return a
}

// ask has front serve what is asked, and explain it before: afterwards it knows more.
func ask(tb testing.TB, front http.Handler, q *trial.Request) (Answer, error) {
	if strings.HasPrefix(q.Target, "/") {
		q.Target = "http://shop.example" + q.Target
	}
	q.Secure = strings.HasPrefix(q.Target, "https:")
	r, err := q.HTTP(tb.Context())
	if err != nil {
		return Answer{}, err
	}
	why := health.Explain(front, trial.Clone(r)).String()
	a := trial.Ask(front, r)
	return Answer{URL: q.Target, Status: a.Status, Body: a.Body, Header: a.Header, why: why}, nil
}

// From says where the answer came from: "hit", "stale" (stored, and past its
// lifetime or purged softly), "miss" (asked for, now or by another's fetch), "pass" (asked
// for without a look at what is stored), or "nowhere", if no cache says: Cache-Status has
// it, RFC 9211.
func (a Answer) From() string {
	lines := a.Header["Cache-Status"]
	if len(lines) == 0 {
		return "nowhere"
	}
	status := lines[len(lines)-1]
	switch {
	case strings.Contains(status, "; hit") && strings.Contains(status, "; ttl=-"), strings.Contains(status, `detail="stale`):
		return "stale"
	case strings.Contains(status, "; hit"):
		return "hit"
	case strings.Contains(status, "; fwd=bypass"):
		return "pass"
	}
	return "miss"
}

// Want fails the test if the answer is another.
func (a Answer) Want(tb testing.TB, status int, body, from string) {
	tb.Helper()
	if a.Status != status || a.Body != body || a.From() != from {
		tb.Error(trial.Failure(a.URL, []string{
			fmt.Sprintf("got %d %s (%s), want %d %s (%s)", a.Status, trial.Shown(a.Body), a.From(), status, trial.Shown(body), from),
			a.said(),
		}, a.why))
	}
}

// said is what the caches on the way have said.
func (a Answer) said() string {
	if len(a.Header["Cache-Status"]) == 0 {
		return "Cache-Status: none"
	}
	return "Cache-Status: " + strings.Join(a.Header["Cache-Status"], ", ")
}
