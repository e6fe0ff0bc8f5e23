package health

import (
	"fmt"
	"log/slog"
	"net/http"
	"strings"
)

// A Decision says what a part would do, or did, with a request, and why.
type Decision struct {
	Part    string     `json:"part"`            // router, cache, pool and its name
	Verdict string     `json:"verdict"`         // rule "shop", hit, web2
	Why     string     `json:"why,omitempty"`   // in words
	Steps   []string   `json:"steps,omitempty"` // what was weighed on the way, in order
	Next    []Decision `json:"next,omitempty"`  // the layers below, asked in turn
}

// String renders the decision and those below it, a line each, indented.
func (d Decision) String() string {
	var b strings.Builder
	d.write(&b, "")
	return b.String()
}

func (d Decision) write(b *strings.Builder, indent string) {
	fmt.Fprintf(b, "%s%s: %s", indent, d.Part, d.Verdict)
	if d.Why != "" {
		fmt.Fprintf(b, " (%s)", d.Why)
	}
	b.WriteByte('\n')
	for _, step := range d.Steps {
		fmt.Fprintf(b, "%s  - %s\n", indent, step)
	}
	for _, next := range d.Next {
		next.write(b, indent+"  ")
	}
}

// LogValue implements [slog.LogValuer].
func (d Decision) LogValue() slog.Value {
	if d.Why == "" {
		return slog.StringValue(d.Verdict)
	}
	return slog.StringValue(d.Verdict + ": " + d.Why)
}

// An Explainer tells what it would do with a request, without doing it.
type Explainer interface {
	Explain(*http.Request) Decision
}

// Explain asks h what it would do with r. A handler that cannot tell is
// reported by its type.
func Explain(h http.Handler, r *http.Request) Decision {
	if e, ok := h.(Explainer); ok {
		return e.Explain(r)
	}
	return Decision{Part: "handler", Verdict: "called", Why: typeName(h) + " does not explain itself"}
}

// typeName is what a handler is called that has no name of its own.
func typeName(h http.Handler) string { return fmt.Sprintf("%T", h) }

// Healthy asks h whether it could serve r now. A handler that does not know is
// taken to be healthy.
func Healthy(h http.Handler, r *http.Request) bool {
	if c, ok := h.(Checker); ok {
		return c.Healthy(r)
	}
	return true
}
