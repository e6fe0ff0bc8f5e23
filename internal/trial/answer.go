package trial

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/textproto"
	"strings"
)

// An Answer is what a client got.
type Answer struct {
	Status int // 0: the connection broke off
	Header http.Header
	Body   string
}

// Ask has h serve r.
func Ask(h http.Handler, r *http.Request) Answer {
	w := httptest.NewRecorder()
	if aborted(func() { h.ServeHTTP(w, r) }) {
		return Answer{}
	}
	return Answer{w.Code, w.Header(), w.Body.String()}
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

// Clone returns r for who explains it, and reads no body.
func Clone(r *http.Request) *http.Request {
	c := r.Clone(r.Context())
	c.Body = http.NoBody
	return c
}

// A Want is what is expected of an answer. What is empty is not looked at.
type Want struct {
	Status int
	Body   string   // is in the body
	Has    []string // "Name: value", which is in a field of that name; "!Name": there is none
}

// Differs says what of an answer is another than what is wanted, a line each.
func (w *Want) Differs(a Answer) (lines []string) {
	if w.Status != 0 && a.Status != w.Status {
		lines = append(lines, fmt.Sprintf("status: got %s, want %s", status(a.Status), status(w.Status)))
	}
	if !strings.Contains(a.Body, w.Body) {
		lines = append(lines, fmt.Sprintf("body: got %s, want %q in it", Shown(a.Body), w.Body))
	}
	for _, field := range w.Has {
		if line := differs(field, a.Header); line != "" {
			lines = append(lines, line)
		}
	}
	return lines
}

// differs says how a header has not what is wanted of a field, or "".
func differs(field string, h http.Header) string {
	if name, absent := strings.CutPrefix(field, "!"); absent {
		if got := h.Values(name); got != nil {
			return fmt.Sprintf("%s: got %q, want no such field", name, strings.Join(got, ", "))
		}
		return ""
	}
	name, value, _ := strings.Cut(field, ":")
	value = textproto.TrimString(value)
	got := h.Values(name)
	switch {
	case got == nil && value == "":
		return fmt.Sprintf("%s: got no such field, want one", name)
	case got == nil:
		return fmt.Sprintf("%s: got no such field, want %q in it", name, value)
	case !strings.Contains(strings.Join(got, ", "), value):
		return fmt.Sprintf("%s: got %q, want %q in it", name, strings.Join(got, ", "), value)
	}
	return ""
}

// status names a status.
func status(code int) string {
	if code == 0 {
		return "a connection that broke off"
	}
	return strings.TrimSpace(fmt.Sprintf("%d %s", code, http.StatusText(code)))
}

// Shown is a body as a failure shows it: its beginning.
func Shown(body string) string {
	if len(body) > 200 {
		return fmt.Sprintf("%q and %d bytes more", body[:200], len(body)-200)
	}
	return fmt.Sprintf("%q", body)
}

// Failure is what a test is told: which request, what differed, and why.
func Failure(what string, differs []string, why string) string {
	var b strings.Builder
	b.WriteString(what)
	for _, line := range differs {
		b.WriteString("\n\t" + line)
	}
	if why = strings.TrimSpace(why); why != "" {
		b.WriteString("\n\tbecause ")
		b.WriteString(strings.ReplaceAll(why, "\n", "\n\t"))
	}
	return b.String()
}
