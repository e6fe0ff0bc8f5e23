package router

import (
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"maps"
	"net/http"

	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/internal/fields"
	"github.com/foretier/foretier/internal/given"
	"github.com/foretier/foretier/internal/transit"
)

// An Arm is one of the handlers that a [Split] divides visitors among.
type Arm struct {
	Name   string // letters, digits and hyphens: the cookie's value
	Weight int    // share of new visitors; 0 takes only those who belong to it
	To     http.Handler
}

// A Split divides visitors among handlers, for a canary or a test. A visitor
// stays with an arm by a cookie, and before there is one by the address, so
// that the pictures of a first page come from where the page came.
//
// The arms after the first keep their answers apart in every cache below. The
// cookie goes no further than here. An answer that sets it is not stored
// anywhere.
//
// A pool below tells its backends in a field, Foretier-Split: canary=b, which no client
// can send: for statistics, and for one application that serves both arms. The log line
// has it as split. What a backend says varies on that field is not stored.
type Split struct {
	cookie string
	arms   []arm
	total  uint64
}

// An arm is one that tells its name in log lines.
type arm struct {
	Arm
	told string
}

// LogValue implements [slog.LogValuer]: the cookie as it would be.
func (a *arm) LogValue() slog.Value { return slog.StringValue(a.told) }

// splitAge is how long a visitor stays with an arm, in seconds: 30 days.
const splitAge = 30 * 24 * 60 * 60

// NewSplit returns a Split whose cookie is named cookie.
func NewSplit(cookie string, arms ...Arm) (*Split, error) {
	s := &Split{cookie: cookie}
	if !isName(cookie) {
		return nil, fmt.Errorf("router: split: %q is no name for a cookie", cookie)
	}
	seen := make(map[string]bool)
	for _, a := range arms {
		switch {
		case !isName(a.Name) || seen[a.Name]:
			return nil, fmt.Errorf("router: split: arm name %q: want letters, digits and hyphens, each name once", a.Name)
		case a.Weight < 0:
			return nil, fmt.Errorf("router: split: arm %s has a negative weight", a.Name)
		case given.Nil(a.To):
			return nil, fmt.Errorf("router: split: arm %s has no handler", a.Name)
		}
		seen[a.Name] = true
		s.arms = append(s.arms, arm{a, cookie + "=" + a.Name})
		s.total += uint64(a.Weight)
	}
	if s.total == 0 {
		return nil, errors.New("router: split: no arm has a weight")
	}
	return s, nil
}

// isName reports whether s is a name that needs no quoting in a cookie or a key:
// letters, digits, hyphens and underscores, fewer than a token has.
func isName(s string) bool {
	for i := range len(s) {
		if !isWord(s[i]) {
			return false
		}
	}
	return s != ""
}

// ServeHTTP implements [http.Handler].
func (s *Split) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	r, rec, made := transit.Enter(r)
	if made {
		defer transit.Log(slog.Default(), "split "+s.cookie, r, rec)
	}
	arm, pinned := s.choose(r)
	rec.Note("split", arm)
	out := s.forward(r, rec, arm)
	if !pinned {
		cookie := &http.Cookie{Name: s.cookie, Value: arm.Name, Path: "/", MaxAge: splitAge,
			HttpOnly: true, SameSite: http.SameSiteLaxMode, Secure: transit.Scheme(r) == "https"}
		w = &headWriter{ResponseWriter: w, final: func(_ int, h http.Header) {
			h.Add("Set-Cookie", cookie.String())
			fields.CacheControl(h, "no-store")
		}}
	}
	arm.To.ServeHTTP(w, out)
}

// forward returns r, whose record is rec, as an arm gets it.
func (s *Split) forward(r *http.Request, rec *transit.Record, arm *arm) *http.Request {
	if arm != &s.arms[0] {
		rec.Space += arm.told + ";"
	}
	if rec.Arms != "" {
		rec.Arms += ", "
	}
	rec.Arms += arm.told
	if r.Header["Cookie"] != nil {
		out := *r
		out.Header = maps.Clone(r.Header)
		fields.DropCookies(out.Header, func(name string) bool { return name == s.cookie })
		return &out
	}
	return r
}

// choose returns the arm that r belongs to, and whether its cookie says so.
func (s *Split) choose(r *http.Request) (_ *arm, pinned bool) {
	for name, pair := range fields.Cookies(r.Header) {
		if name != s.cookie {
			continue
		}
		_, value := fields.CookieValue(pair)
		for i := range s.arms {
			if s.arms[i].Name == value {
				return &s.arms[i], true
			}
		}
	}
	h := fnv.New64a()
	client, _ := transit.Client(r).MarshalBinary() // never fails
	_, _ = h.Write(append([]byte(s.cookie), client...))
	n := mix(h.Sum64()) % s.total
	for i := range s.arms {
		weight := uint64(s.arms[i].Weight)
		if n < weight {
			return &s.arms[i], false
		}
		n -= weight
	}
	return &s.arms[0], false // not reached: the weights add up to total
}

// mix spreads a hash over all its bits (the finalizer of MurmurHash3).
func mix(n uint64) uint64 {
	n = (n ^ n>>33) * 0xff51afd7ed558ccd
	n = (n ^ n>>33) * 0xc4ceb9fe1a85ec53
	return n ^ n>>33
}

// Wraps returns the arms' handlers.
func (s *Split) Wraps() []http.Handler {
	out := make([]http.Handler, len(s.arms))
	for i, a := range s.arms {
		out[i] = a.To
	}
	return out
}

// aside returns r as an arm would get it, for a question about it.
func (s *Split) aside(r *http.Request, arm *arm) *http.Request {
	r, rec := transit.Aside(r)
	return s.forward(r, rec, arm)
}

// Healthy reports whether the arm that r belongs to could serve it.
func (s *Split) Healthy(r *http.Request) bool {
	arm, _ := s.choose(r)
	return health.Healthy(arm.To, s.aside(r, arm))
}

// Explain implements [health.Explainer].
func (s *Split) Explain(r *http.Request) health.Decision {
	arm, pinned := s.choose(r)
	d := health.Decision{Part: "split " + s.cookie, Verdict: "arm " + arm.Name, Why: "by its cookie", Next: []health.Decision{health.Explain(arm.To, s.aside(r, arm))}}
	if !pinned {
		d.Why = "by the client's address"
		d.Steps = []string{"not stored: the answer sets the cookie"}
	}
	return d
}
