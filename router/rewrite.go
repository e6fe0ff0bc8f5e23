package router

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/go-chi/chi/v5"

	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/internal/target"
	"github.com/foretier/foretier/internal/transit"
	"github.com/foretier/foretier/router/internal/proof"
)

// StripPrefix is middleware for [Rule.Use]: it takes prefix off the path, such as /shop,
// and hands on /x of /shop/x and / of /shop. What is not below it is answered 404. The
// query stays.
//
// Like a rule it goes by the canonical path; what stands behind the prefix is handed on
// as the client sent it if that says the same by itself, else in canonical form.
//
// It is followed by [Router.Prove], with what is below it and what a claim says of the
// paths that come out, and by Explain. [health.Wrap] must not be put around it, nor must
// it be within other middleware, which would hide that from proofs.
func StripPrefix(prefix string) func(http.Handler) http.Handler {
	dir, err := checkDir("StripPrefix", prefix)
	sent := target.EscapeAll(dir)
	return (&turning{
		words: list("StripPrefix", []string{prefix}), err: err, looks: Path(dir, dir+"/*"),
		turn: func(path string) (string, bool) { return below(path, dir) },
		keep: func(path string) (string, bool) { return below(path, sent) },
		back: func(path string) (string, bool) { return sent + path, true },
	}).use
}

// AddPrefix is middleware for [Rule.Use]: it puts prefix before the path, such as /shop,
// and hands on /shop/x of /x. The rest is as with [StripPrefix].
func AddPrefix(prefix string) func(http.Handler) http.Handler {
	dir, err := checkDir("AddPrefix", prefix)
	sent := target.EscapeAll(dir)
	return (&turning{
		words: list("AddPrefix", []string{prefix}), err: err,
		turn: func(path string) (string, bool) { return dir + path, true },
		keep: func(path string) (string, bool) { return sent + path, true },
		back: func(path string) (string, bool) { return below(path, sent) },
	}).use
}

// Rewrite is middleware for [Rule.Use]: a path that matches pattern is handed on as to
// says, with the pattern's parameters where to names them, others as they are:
//
//	router.Rewrite("/old/{id}", "/new/{id}")
//	router.Rewrite("/blog/*", "/wordpress/*")
//
// Patterns are those of [Path], without regular expressions, each parameter once. What is rewritten goes on
// in canonical form; an escaped slash is a slash. Of what to would make no canonical
// path the answer is 404. The query stays. The rest is as with [StripPrefix].
func Rewrite(pattern, to string) func(http.Handler) http.Handler {
	from, into := compile(pattern), compile(to)
	return (&turning{
		words: list("Rewrite", []string{pattern, to}), err: checkRewrite(&from, &into), looks: Path(pattern),
		only: from.match,
		turn: func(path string) (string, bool) { return from.turnInto(path, to) },
		back: func(path string) (string, bool) {
			rd := target.Read(path)
			if rd.Refusal != "" || !into.match(rd.Canonical) {
				return "", false
			}
			out, ok := into.turnInto(rd.Canonical, pattern)
			return target.EscapeAll(out), ok
		},
	}).use
}

// checkDir returns a prefix of paths without its last slash.
func checkDir(name, prefix string) (string, error) {
	dir := strings.TrimSuffix(prefix, "/")
	switch path, ok := target.Resolve(dir); {
	case dir == "":
		return dir, fmt.Errorf("%s(%q) changes no path: want a prefix such as /shop", name, prefix)
	case !strings.HasPrefix(dir, "/") || !ok || path != dir || strings.ContainsAny(dir, "?#{}*\\;"):
		return dir, fmt.Errorf("%s(%q) is no prefix of a canonical path: want one such as /shop", name, prefix)
	}
	return dir, nil
}

func checkRewrite(from, into *pattern) error {
	for _, p := range [...]*pattern{from, into} {
		if p.err != nil {
			return fmt.Errorf("Rewrite(%q, %q): %w", from.text, into.text, p.err)
		}
		if p.regular() {
			return fmt.Errorf("Rewrite(%q, %q): a regular expression may stand in the rule's Path, not here", from.text, into.text)
		}
	}
	known := paramNames(from.text)
	for _, name := range paramNames(into.text) {
		if !slices.Contains(known, name) {
			return fmt.Errorf("Rewrite(%q, %q): %q has no parameter %s", from.text, into.text, from.text, name)
		}
	}
	return nil
}

// below returns what stands below dir in a path.
func below(path, dir string) (string, bool) {
	rest, ok := strings.CutPrefix(path, dir)
	switch {
	case !ok || rest != "" && rest[0] != '/':
		return "", false
	case rest == "":
		return "/", true
	}
	return rest, true
}

// turnInto returns another pattern with the parameters that p, which matches path, finds
// in it. Of those that p has not, none is known.
func (p *pattern) turnInto(path, to string) (string, bool) {
	found := chi.NewRouteContext()
	if !p.mux.Match(found, http.MethodGet, path) {
		return "", false
	}
	var b strings.Builder
	for to != "" {
		i := strings.IndexAny(to, "{*")
		if i < 0 {
			break
		}
		name := "*"
		b.WriteString(to[:i])
		if to = to[i:]; to[0] == '{' {
			end := closing(to)
			name, to = to[1:end], to[end:]
		}
		b.WriteString(found.URLParam(name))
		to = to[1:]
	}
	return b.String() + to, true
}

// A turning makes one path of another.
type turning struct {
	words string
	err   error                                 // why it cannot
	looks Matcher                               // what it tells paths apart by, if it does
	only  func(canonical string) bool           // which it changes; nil: all
	turn  func(canonical string) (string, bool) // not ok: there is no such path
	keep  func(sent string) (string, bool)      // the same of a path to the byte, where it can; may be nil
	back  func(sent string) (string, bool)      // a path that it makes this one of, if there is one
}

func (t *turning) use(next http.Handler) http.Handler { return &rewriting{t, next} }

// path returns what becomes of a path as it is sent.
func (t *turning) path(sent string) (string, bool) {
	rd := target.Read(sent)
	if rd.Refusal != "" {
		return "", false
	}
	if t.only != nil && !t.only(rd.Canonical) {
		return sent, true
	}
	to, ok := t.turn(rd.Canonical)
	if !ok {
		return "", false
	}
	if resolved, ok := target.Resolve(to); !ok || resolved != to {
		return "", false
	}
	if t.keep != nil && sent != rd.Canonical {
		if kept, ok := t.keep(sent); ok && !strings.HasPrefix(kept, "//") {
			if again := target.Read(kept); again.Refusal == "" && again.Canonical == to {
				return kept, true
			}
		}
	}
	return target.EscapeAll(to), true
}

// A rewriting is a turning before a handler.
type rewriting struct {
	*turning
	next http.Handler
}

// errNoPath is why a request is answered 404.
var errNoPath = errors.New("router: no such path")

// request returns r as next gets it.
func (h *rewriting) request(r *http.Request) (*http.Request, bool) {
	to := target.Of(r.URL)
	path, ok := h.path(to.Path)
	if !ok || path == to.Path {
		return r, ok
	}
	to.Path = path
	out := new(http.Request)
	*out = *r
	out.URL = new(*r.URL)
	to.Set(out.URL)
	return out, true
}

// ServeHTTP implements [http.Handler].
func (h *rewriting) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	out, ok := h.request(r)
	if !ok {
		transit.Fail(w, r, http.StatusNotFound, fmt.Errorf("%w: %s of %s", errNoPath, h.words, target.Of(r.URL).Path))
		return
	}
	h.next.ServeHTTP(w, out)
}

// Wraps returns what gets the other path.
func (h *rewriting) Wraps() []http.Handler { return []http.Handler{h.next} }

// Healthy reports whether that could serve it.
func (h *rewriting) Healthy(r *http.Request) bool {
	out, ok := h.request(r)
	return !ok || health.Healthy(h.next, out)
}

// Explain implements [health.Explainer].
func (h *rewriting) Explain(r *http.Request) health.Decision {
	out, ok := h.request(r)
	if !ok {
		return health.Decision{Part: "rewrite", Verdict: "404", Why: h.words}
	}
	return health.Decision{
		Part: "rewrite", Verdict: "to " + target.Of(out.URL).Path, Why: h.words,
		Next: []health.Decision{health.Explain(h.next, out)},
	}
}

// draw implements drawer.
func (h *rewriting) draw(c *chart, out *proof.Handler, above []http.Handler) {
	out.Turn = &proof.Turn{Path: h.path, Back: h.back, Looks: asCondition(h.looks)}
	out.Ways = []proof.Way{{To: c.handler(h.next, above)}}
}
