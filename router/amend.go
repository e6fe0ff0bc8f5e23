package router

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/internal/fields"
	"github.com/foretier/foretier/internal/target"
)

// AnswerOptions says what [Answers] changes. The zero value changes nothing. It happens
// in the order of the fields.
type AnswerOptions struct {
	// Hosts are what backends call themselves, such as app.internal:8080; without a port
	// they mean every one. An address on one of them, in Location, Content-Location and
	// Refresh, loses scheme and host, so that the visitor stays where he is, and cookies
	// lose a Domain that is one.
	Hosts []string
	// From is the path under which backends take themselves to be, empty for the root,
	// and To the one under which the tier shows them: /app and /shop make /shop/cart of
	// /app/cart, in the same fields, on the tier's own host, and in the Path of cookies.
	// What is not below From stays as it is, and so do cookies called __Host- and those of
	// the tier's own. Relative paths need none of it.
	From, To string
	// Delete names fields that are taken off; "X-Debug-*" names all that begin so.
	Delete []string
	// Set has fields that stand in place of the answer's own, Add those that come on top.
	Set, Add http.Header
	// Change may change the final header as it likes, but keep nothing of it. It is called
	// concurrently; status is final, and 101 among those. Nil changes nothing.
	Change func(r *http.Request, status int, h http.Header)
}

// Answers is middleware that changes the header of answers, errors of the tier's own
// below it among them: fixed fields, and addresses of backends that know neither the
// tier's name nor its paths.
//
//	internal, err := router.NewAnswers(router.AnswerOptions{
//		Hosts: []string{"app.internal"}, To: "/blog",
//		Set: http.Header{"X-Robots-Tag": {"noindex"}},
//	})
//
// In [Rule.Use] it changes each answer. Between a cache and its pool,
// pages.Handler(internal.Handler(apps)), it changes what is stored, once, and the cache
// judges what comes of it. Interim answers, trailers and bodies stay as they are.
type Answers struct {
	opts  AnswerOptions
	names fields.Names
}

// NewAnswers returns an Answers, or an error that says what of the options no answer can
// have.
func NewAnswers(opts AnswerOptions) (*Answers, error) {
	a := &Answers{opts: opts, names: fields.Names(slices.Clone(opts.Delete))}
	o := &a.opts
	o.Hosts = slices.Clone(o.Hosts)
	for i, host := range o.Hosts {
		if !fields.Host(host) {
			return nil, fmt.Errorf("router: answers: Hosts: %q is no host: want one such as app.internal:8080", host)
		}
		o.Hosts[i] = bareHost(host)
	}
	for _, dir := range [...]*string{&o.From, &o.To} {
		var err error
		if *dir, err = checkBase(*dir); err != nil {
			return nil, err
		}
	}
	for i, name := range a.names {
		if !fields.Token(strings.TrimSuffix(name, "*")) {
			return nil, fmt.Errorf("router: answers: Delete: %q is no name of a field", name)
		}
		star := strings.HasSuffix(name, "*")
		if name = http.CanonicalHeaderKey(strings.TrimSuffix(name, "*")); star {
			name += "*"
		}
		a.names[i] = name
	}
	var err error
	if o.Set, err = checkFields("Set", o.Set); err != nil {
		return nil, err
	}
	o.Add, err = checkFields("Add", o.Add)
	return a, err
}

// checkBase returns a base path without its last slash, as it is sent.
func checkBase(base string) (string, error) {
	if base == "" || base == "/" {
		return "", nil
	}
	dir, err := checkDir("From, To", base)
	if err != nil {
		return "", fmt.Errorf("router: answers: %q is no base path: want one such as /shop", base)
	}
	return target.EscapeAll(dir), nil
}

// checkFields returns a copy of h with canonical names.
func checkFields(what string, h http.Header) (http.Header, error) {
	out := make(http.Header, len(h))
	for as, values := range h {
		name := http.CanonicalHeaderKey(as)
		switch {
		case !fields.Token(name):
			return nil, fmt.Errorf("router: answers: %s: %q is no name of a field", what, as)
		case fields.HopByHop(name) || name == "Content-Length":
			return nil, fmt.Errorf("router: answers: %s: %s is for the tier to say", what, name)
		case what == "Set" && name == "Set-Cookie":
			return nil, fmt.Errorf("router: answers: Set: Set-Cookie would take off all cookies: want it in Add, or a Change")
		case len(values) == 0:
			return nil, fmt.Errorf("router: answers: %s: %s has no value: want it in Delete", what, name)
		}
		for _, v := range values {
			if !fields.Value(v) {
				return nil, fmt.Errorf("router: answers: %s: %s cannot be %q", what, name, v)
			}
		}
		out[name] = append(out[name], values...)
	}
	return out, nil
}

// Handler returns next with its answers changed. The returned handler also has the
// methods Explain, Healthy and Wraps, by which a layer above asks what lies below.
func (a *Answers) Handler(next http.Handler) http.Handler {
	h := &amending{Answers: a, next: next}
	for below := range health.Chain(next) {
		if o, ok := below.(health.CookieOwner); ok {
			h.owners = append(h.owners, o)
		}
	}
	return h
}

type amending struct {
	*Answers
	next   http.Handler
	owners []health.CookieOwner
}

// ServeHTTP implements [http.Handler].
func (h *amending) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	hw := &headWriter{ResponseWriter: w, final: func(status int, header http.Header) { h.amend(r, status, header) }}
	h.next.ServeHTTP(hw, r)
	hw.change(http.StatusOK) // of one that has written nothing
}

// Wraps returns whose answers are changed.
func (h *amending) Wraps() []http.Handler { return []http.Handler{h.next} }

// Healthy reports whether that could serve r.
func (h *amending) Healthy(r *http.Request) bool { return health.Healthy(h.next, r) }

// Explain implements [health.Explainer].
func (h *amending) Explain(r *http.Request) health.Decision {
	return health.Decision{Part: "answers", Verdict: "header changed", Next: []health.Decision{health.Explain(h.next, r)}}
}

// amend changes the header of an answer to r.
func (h *amending) amend(r *http.Request, status int, header http.Header) {
	o := &h.opts
	if len(o.Hosts) > 0 || o.From != o.To {
		h.move(r, header)
	}
	if len(h.names) > 0 {
		for name := range header {
			if h.names.Match(http.CanonicalHeaderKey(name)) {
				delete(header, name)
			}
		}
	}
	for name, values := range o.Set {
		header[name] = slices.Clone(values)
	}
	for name, values := range o.Add {
		header[name] = append(slices.Clip(header[name]), values...)
	}
	if o.Change != nil {
		o.Change(r, status, header)
	}
}

// move has addresses and cookies be of the tier.
func (h *amending) move(r *http.Request, header http.Header) {
	for _, name := range [...]string{"Location", "Content-Location"} {
		if lines := header[name]; len(lines) == 1 {
			if to := h.address(r, lines[0]); to != lines[0] {
				header[name] = []string{to}
			}
		}
	}
	if lines := header["Refresh"]; len(lines) == 1 {
		if i := strings.Index(strings.ToLower(lines[0]), "url="); i >= 0 && len(lines[0]) == len(strings.ToLower(lines[0])) {
			before, to := lines[0][:i+4], lines[0][i+4:]
			if quote := strings.Trim(to, `"'`); len(quote) < len(to) {
				to = quote
			}
			if moved := h.address(r, to); moved != to {
				header["Refresh"] = []string{before + moved}
			}
		}
	}
	if lines := header["Set-Cookie"]; len(lines) > 0 {
		moved := make([]string, len(lines))
		for i, line := range lines {
			moved[i] = h.cookie(line)
		}
		header["Set-Cookie"] = moved
	}
}

// address returns a reference in an answer to r as the tier has it.
func (a *Answers) address(r *http.Request, ref string) string {
	before, path, dropped := "", ref, false
	if scheme, rest, ok := cutAuthority(ref); ok {
		n := strings.IndexAny(rest, `/\?#`)
		if n < 0 {
			n = len(rest)
		}
		authority := rest[:n]
		host := authority[strings.LastIndexByte(authority, '@')+1:]
		path = rest[n:]
		switch {
		case a.isBackend(host):
			dropped = true
			if path == "" || path[0] == '?' || path[0] == '#' {
				path = "/" + path
			}
		case bareHost(host) == bareHost(r.Host):
			before = scheme + authority
		default:
			return ref
		}
	}
	if path == "" || path[0] != '/' {
		return ref
	}
	path, moved := a.moved(path)
	if !moved && !dropped {
		return ref
	}
	if before == "" {
		// Two slashes, or what browsers take for them, would begin an authority: an
		// address on another host.
		path = "/" + strings.TrimLeft(path, "/\\\t")
	}
	return before + path
}

// cutAuthority returns what stands before the authority of a reference, and what begins
// with it.
func cutAuthority(ref string) (scheme, rest string, ok bool) {
	if rest, ok := strings.CutPrefix(ref, "//"); ok {
		return "//", rest, true
	}
	i := strings.Index(ref, "://")
	if i < 0 || !fields.EqualFold(ref[:i], "http") && !fields.EqualFold(ref[:i], "https") {
		return "", "", false
	}
	return ref[:i+3], ref[i+3:], true
}

// moved returns a path with To in place of From.
func (a *Answers) moved(path string) (string, bool) {
	end := strings.IndexAny(path, "?#")
	if end < 0 {
		end = len(path)
	}
	rest, ok := below(path[:end], a.opts.From)
	if !ok {
		return path, false
	}
	return a.opts.To + rest + path[end:], true
}

// isBackend reports whether a host is one of a backend's.
func (a *Answers) isBackend(host string) bool {
	if len(a.opts.Hosts) == 0 || host == "" {
		return false
	}
	bare := bareHost(host)
	name, _ := fields.SplitPort(bare)
	return slices.Contains(a.opts.Hosts, bare) || slices.Contains(a.opts.Hosts, name)
}

// bareHost returns a host in lower case, without a port that says nothing and without a
// final dot.
func bareHost(host string) string {
	name, port := fields.SplitPort(strings.ToLower(host))
	if port == ":80" || port == ":443" || port == ":" {
		port = ""
	}
	return strings.TrimSuffix(name, ".") + port
}

// cookie returns a Set-Cookie as the tier has it.
func (h *amending) cookie(line string) string {
	pair, attributes, ok := strings.Cut(line, ";")
	name, _, _ := strings.Cut(pair, "=")
	name = strings.TrimSpace(name)
	if !ok || h.owned(name) {
		return line
	}
	host := len(name) >= len(hostOnly) && fields.EqualFold(name[:len(hostOnly)], hostOnly)
	var b strings.Builder
	b.WriteString(pair)
	for text := range strings.SplitSeq(attributes, ";") {
		name, value, _ := strings.Cut(text, "=")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		switch {
		case fields.EqualFold(name, "Domain") && h.isBackend(strings.TrimPrefix(value, ".")):
			continue
		case fields.EqualFold(name, "Path") && !host:
			if moved, ok := h.moved(value); ok {
				if moved == h.opts.To+"/" && h.opts.To != "" {
					moved = h.opts.To // which is all below it, and that itself
				}
				text = " Path=" + moved
			}
		}
		b.WriteString(";" + text)
	}
	return b.String()
}

// hostOnly begins the names of cookies whose Path is / (RFC 6265bis, section 4.1.3.2).
const hostOnly = "__Host-"

func (h *amending) owned(name string) bool {
	return slices.ContainsFunc(h.owners, func(o health.CookieOwner) bool { return o.OwnsCookie(name) })
}
