package cache

import (
	"math"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/foretier/foretier/cache/internal/law"
	"github.com/foretier/foretier/cache/internal/memory"
	"github.com/foretier/foretier/internal/target"
	"github.com/foretier/foretier/internal/transit"
)

// judge asks the law and then the operator's rule.
func (a *ask) judge(r *http.Request, status int, h http.Header, asked, now time.Time) (Retention, law.Judgement) {
	opts := &a.site.cache.opts
	j := a.law(r, status, h, asked, now)
	v := Retention{Store: j.Store, Stated: j.Stated, Fresh: j.Fresh, ErrorFresh: law.ErrorLifetime, Why: j.Why}
	if lifetime, ok := opts.Lifetimes[status]; ok && j.Store && !j.Stated && !j.Validate {
		v.Fresh, v.ErrorFresh = lifetime, lifetime
	}
	if !j.NoStale {
		v.Grace, v.ErrorGrace = opts.graces(j)
	}
	if hasValidator(h) {
		v.Keep = opts.Keep
	}
	if v.Tags = law.Tags(h); len(v.Tags) > 0 {
		v.Strip = law.TagFields[:]
	}
	v.Tags = append(v.Tags, a.depends(r, h)...)
	if opts.Rules.Retention != nil {
		v.SetsCookie = !j.Store && h["Set-Cookie"] != nil && a.law(r, status, without(h, "Set-Cookie"), asked, now).Store
		v = opts.Rules.Retention(r, Head{Status: status, Header: h, Key: a.plan.Key}, v)
	}
	if status >= 400 && !j.Stated {
		v.Fresh = min(v.Fresh, max(v.ErrorFresh, 0))
	}
	if v.Store && !a.told(h) { // not even by a rule
		v.Store, v.Why = false, "asked for with fields that may fill nothing"
	}
	return v, j
}

// law asks RFC 9111.
func (a *ask) law(r *http.Request, status int, h http.Header, asked, now time.Time) law.Judgement {
	_, given := a.site.cache.opts.Lifetimes[status]
	j := law.Judge(
		law.Request{
			Method: r.Method, Range: r.Header["Range"] != nil, NoStore: a.noStore, Authorization: a.auth, Cookie: a.cookie,
			SameLocation: r.Method == http.MethodPost && a.sameLocation(h), Trusted: a.obeyed,
			Lifetime: given,
		},
		law.Response{Status: status, Header: h, Asked: asked, Now: now, Cache: a.site.cache.called},
	)
	if j.Store && variesUnseen(r, h) {
		j.Store, j.Why = false, "varies on what the pool writes"
	}
	return j
}

// graces returns for how long a response is served stale, where it may be.
func (o *Options) graces(j law.Judgement) (grace, errorGrace time.Duration) {
	grace, errorGrace = o.Grace, o.ErrorGrace
	if j.Stated {
		grace = 0
	}
	if j.While >= 0 {
		grace = j.While
	}
	if j.IfError >= 0 {
		errorGrace = j.IfError
	}
	return grace, errorGrace
}

// depends returns the tags of a response that are in none of the fields for tags.
func (a *ask) depends(r *http.Request, h http.Header) (tags []string) {
	if d, ok := r.Context().Value(dependsKey{}).(*depends); ok {
		tags = d.list()
	}
	for _, group := range law.Groups(h["Cache-Groups"]) {
		tags = append(tags, groupTag(a.r.Host, a.https, group))
	}
	return tags
}

// variesUnseen reports whether a response varies on a field that the pool has
// made or changed on the way to the backend, by its user's Rewrite for one:
// variants would be matched by what the client sent, which is not what the
// response depends on. What follows from scheme and host is in the key.
func variesUnseen(r *http.Request, h http.Header) bool {
	rec := transit.From(r.Context())
	if rec.Sent == nil || h["Vary"] == nil {
		return false
	}
	for name := range strings.SplitSeq(law.Selecting(h), ",") {
		switch name {
		case "Host", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Forwarded-Port":
			continue
		}
		sent := rec.Sent[name]
		if name == "User-Agent" && len(sent) == 1 && sent[0] == "" {
			sent = nil // how net/http is told to send none
		}
		if !slices.Equal(sent, r.Header[name]) {
			return true
		}
	}
	return false
}

// worthKeeping reports whether a response that may be stored has a lifetime,
// or can be validated and says so.
func worthKeeping(v Retention, j law.Judgement, h http.Header) bool {
	stated := j.Stated || j.Validate
	return v.Fresh > 0 || stated && (v.Grace > 0 || v.Keep > 0 && hasValidator(h))
}

// sameLocation reports whether a response says that it is what a GET of the
// same URL would bring (RFC 9110, section 8.7).
func (a *ask) sameLocation(h http.Header) bool {
	lines := h["Content-Location"]
	if len(lines) != 1 {
		return false
	}
	u := refersTo(a.r, lines[0])
	return u != nil && sameOrigin(a.r, u) &&
		target.Normal(target.Of(u).String()) == target.Normal(target.Of(a.r.URL).String())
}

// entry makes what is stored of a response; its body is not known yet.
func (a *ask) entry(status int, answer http.Header, v Retention, j law.Judgement, asked, now time.Time) *memory.Entry {
	v.rewrite(answer)
	for _, name := range j.Private {
		answer.Del(name)
	}
	delete(answer, "Age")
	if answer["Date"] == nil {
		answer["Date"] = []string{now.UTC().Format(http.TimeFormat)} // RFC 9110, section 6.6.1
	}
	if lines := answer[noVarySearch]; len(lines) > 1 {
		answer[noVarySearch] = []string{strings.Join(lines, ", ")} // which is the same (RFC 9110, section 5.3)
	}
	e := &memory.Entry{
		URL: a.url, Head: memory.FormatHead(answer), Status: uint16(status), HTTPS: a.https,
		Born: now.Add(-j.Age).UnixNano(), FreshUntil: now.Add(v.Fresh).UnixNano(),
		Cost:  uint32(min(now.Sub(asked).Milliseconds(), math.MaxUint32)),
		Grace: int64(v.Grace), ErrorGrace: int64(v.ErrorGrace), Keep: int64(v.Keep),
	}
	if f := a.site.cache.follower; f != nil {
		e.Asked = f.doubt.ticks(asked)
	}
	if e.Flags = flags(v, j); status != http.StatusPartialContent && a.site.cache.coders.codable(answer) {
		e.Flags |= memory.Codable
	}
	vary := law.SelectingOf(a.r.Header, answer)
	name := nameOf(a.url)
	spreads := a.spreads(answer)
	if vary == "" && a.parts == "" && len(v.Tags) == 0 && name == a.url && !spreads {
		return e
	}
	e.More = &memory.More{Parts: a.parts, Vary: vary}
	if vary != "" {
		e.More.Variant = a.selecting().Variant(vary, answer)
	}
	e.More.Tags = hashTags(v.Tags)
	if name != a.url {
		e.More.Tags = append(e.More.Tags, nameTag(name))
	}
	if spreads {
		e.Flags |= memory.Spread
		e.More.Tags = append(e.More.Tags, family(name))
	}
	return e
}

// flags returns what is remembered of what was judged.
func flags(v Retention, j law.Judgement) (f memory.Flags) {
	if j.Validate || v.Fresh <= 0 && v.Grace <= 0 {
		f |= memory.Validate
	}
	if j.NoStale && v.Grace <= 0 && v.ErrorGrace <= 0 {
		f |= memory.NoStale
	}
	if j.Public {
		f |= memory.Public
	}
	if j.Immutable {
		f |= memory.Immutable
	}
	return f
}

// told reports whether the answer varies on all the strange fields of the
// request.
func (a *ask) told(h http.Header) bool {
	if len(a.strange) == 0 {
		return true
	}
	return len(except(a.strange, law.SelectingOf(a.r.Header, h))) == 0
}

// countAgents counts a response that is stored for one User-Agent, of which
// there are as many as versions of browsers, and says so once: the backend
// means phones and desktops, as a rule.
func (a *ask) countAgents(e *memory.Entry) {
	vary, _ := e.Vary()
	if _, class := a.plan.Classes["User-Agent"]; class || !slices.Contains(strings.Split(vary, ","), "User-Agent") {
		return
	}
	a.site.cache.figures.agents.Add(1)
	a.site.warned.Do(func() {
		a.site.cache.opts.Logger.Warn("cache: pages vary on User-Agent, so that each version of a browser fetches and stores its own",
			"url", a.url, "rule", a.plan.Why, "instead", "Plan.Classes, such as cache.Devices gives, if they differ by device only")
	})
}
