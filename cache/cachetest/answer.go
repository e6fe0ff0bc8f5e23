package cachetest

import (
	"net/http"
	"net/http/httptest"
	"net/textproto"
	"strings"
	"testing"
)

// An Answer is what a client got.
type Answer struct {
	URL    string
	Status int // 0: the connection broke off
	Body   string
	Header http.Header
}

// Get asks front for a URL; fields are "Name: value" each.
func Get(tb testing.TB, front http.Handler, url string, fields ...string) Answer {
	tb.Helper()
	r := httptest.NewRequestWithContext(tb.Context(), http.MethodGet, url, nil)
	for _, field := range fields {
		name, value, _ := strings.Cut(field, ":")
		r.Header.Add(name, textproto.TrimString(value))
	}
	w := httptest.NewRecorder()
	if aborted(func() { front.ServeHTTP(w, r) }) {
		return Answer{URL: url}
	}
	return Answer{url, w.Code, w.Body.String(), w.Header()}
}

// aborted runs f and reports whether it broke the connection off.
func aborted(f func()) (aborted bool) {
	defer func() {
		switch v := recover(); v {
		case nil:
		case http.ErrAbortHandler:
			aborted = true
		default:
			panic(v)
		}
	}()
	f()
	return false
}

// From says where the answer came from: "hit", "stale" (stored, and past its
// lifetime), "miss" (asked for, now or by another's fetch) or "pass".
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
		tb.Errorf("%s: got %d %q (%s), want %d %q (%s); Cache-Status: %s",
			a.URL, a.Status, a.Body, a.From(), status, body, from, a.Header["Cache-Status"])
	}
}
