package cache

import (
	"net/http"
	"slices"
	"strings"

	"github.com/foretier/foretier/cache/internal/memory"
	"github.com/foretier/foretier/internal/given"
)

// A cookieOwner is a layer below that has cookies of its own, a pool that pins
// visitors.
type cookieOwner interface{ OwnsCookie(name string) bool }

// A looper is a layer below that knows a request again which has been through
// it, a pool. Such a request must not wait for the fetch that it comes from.
type looper interface{ Looped(*http.Request) bool }

// findOwners looks for owners of cookies in what next wraps, and for loopers.
func (h *handler) findOwners(next http.Handler) {
	if given.Nil(next) {
		return // whoever serves with it is told when it is made
	}
	if o, ok := next.(cookieOwner); ok {
		h.owners = append(h.owners, o)
	}
	if l, ok := next.(looper); ok {
		h.loopers = append(h.loopers, l)
	}
	if w, ok := next.(interface{ Wraps() []http.Handler }); ok {
		for _, below := range w.Wraps() {
			h.findOwners(below)
		}
	}
}

func (h *handler) looped(r *http.Request) bool {
	for _, l := range h.loopers {
		if l.Looped(r) {
			return true
		}
	}
	return false
}

// owned reports whether a cookie is the tier's own. Such stay on what is sent
// below, which takes them off itself.
func (h *handler) owned(name string) bool {
	for _, o := range h.owners {
		if o.OwnsCookie(name) {
			return true
		}
	}
	return false
}

// ignored reports whether a cookie has no bearing on the response.
func (h *handler) ignored(name string) bool {
	return names(h.cache.opts.IgnoreCookies).match(name) || h.owned(name)
}

func (h *handler) ignoresAny() bool { return len(h.cache.opts.IgnoreCookies) > 0 || len(h.owners) > 0 }

// countAgents counts a response that is stored for one User-Agent, of which
// there are as many as versions of browsers, and says so once: the backend
// means phones and desktops, as a rule.
func (h *handler) countAgents(a *ask, e *memory.Entry) {
	vary, _ := e.Vary()
	if _, class := a.plan.Classes["User-Agent"]; class || !slices.Contains(strings.Split(vary, ","), "User-Agent") {
		return
	}
	h.cache.figures.agents.Add(1)
	h.warned.Do(func() {
		h.cache.opts.Logger.Warn("cache: pages vary on User-Agent, so that each version of a browser fetches and stores its own",
			"url", a.url, "rule", a.plan.Why, "instead", "Plan.Classes, such as cache.Devices gives, if they differ by device only")
	})
}
