package foretier_test

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/foretier/foretier/health"
)

// TestATierServesWhatItHasExplained: tiers, what happens to them and requests are
// made up; each request is explained, then served, and what comes of it must be
// what was said: which rules took it, who answered, whether from the cache, and
// which server was asked. And a tier that was asked must have become what its twin
// is that was not.
//
// What nobody can foretell is known by what Explain says of it, and by nothing else:
// "drawn", where a policy draws among equals, or a refresh near the end of a page;
// "waits", where a place may come free; "under way", where another's fetch may be
// for that one alone; and "turns out to be", where it is for the answer to say.
func TestATierServesWhatItHasExplained(t *testing.T) {
	seen := make(map[string]int)
	for seed := range uint64(plays) {
		p := newPlay(seed)
		if wrong := p.wrong(t, seen); wrong != "" {
			p, wrong = p.smaller(t, wrong)
			t.Fatalf("seed %d: after\n%s%s", seed, p, wrong)
		}
	}
	for _, of := range outcomes {
		if seen[of] < 5 {
			t.Errorf("%s: only %d times", of, seen[of])
		}
	}
	t.Log(seen)
}

// outcomes are those of which some must have come.
var outcomes = []string{
	"cache hit", "cache miss", "cache pass", "cache refuse", "stored", "not stored",
	"stale within grace, refreshed meanwhile", "stale, and the backend is sick", "under way",
	"edge", "same origin", "redirect", "maintenance", "not the authority", "asked nobody", "asked one", "drawn", "waits",
	"400", "403", "404", "405", "413", "414", "429", "503", "504", "508",
}

// wrong plays p, and says what is wrong with it, or "".
func (p play) wrong(t *testing.T, seen map[string]int) string {
	explained, wrong := p.act(t, true, seen)
	if wrong != "" || !p.calm() {
		return wrong
	}
	if unasked, _ := p.act(t, false, nil); explained != unasked {
		return "to have been asked has changed the tier: " + firstDifference(explained, unasked)
	}
	return ""
}

// act plays p, with or without asking before it serves. It returns what came of
// it all, and where the tier did otherwise than it had said.
func (p play) act(t *testing.T, asks bool, seen map[string]int) (transcript, wrong string) {
	synctest.Test(t, func(t *testing.T) {
		ti := newTier(t, p.seed)
		defer ti.close()
		var all strings.Builder
		chance := false
		for i, s := range p.steps {
			ti.change(s.change)
			r := ti.request(s)
			var d health.Decision
			if asks {
				d = health.Explain(ti.srv, r)
				if again := health.Explain(ti.srv, r); !ti.same(d, again) {
					wrong = fmt.Sprintf("explained as\n%s\nand then as\n%s", d, again)
					return
				}
			}
			got := ti.serve(r)
			// Whether the place of a fetch is free before who followed it asks for
			// one is chance, and so is all that comes after.
			if chance = chance || got.followed; !chance {
				fmt.Fprintf(&all, "%d: %s\n", i, got)
			}
			if !asks {
				continue
			}
			f := fate{ti: ti, r: ti.request(s)}
			f.read(d)
			if wrong = f.differs(got, seen); wrong != "" {
				wrong = fmt.Sprintf("%s\nexplained was\n%sserved was\n%s", wrong, d, got)
				return
			}
		}
		if ti.release(); !chance {
			all.WriteString(ti.reports())
		}
		transcript = all.String()
	})
	return transcript, wrong
}

// A result is what came of one request.
type result struct {
	status   int
	location string
	cached   []string // Cache-Status
	rules    []string // that took it, by their counts
	asked    []string // servers, in order, and what each was sent
	waited   time.Duration
	aborted  bool
	followed bool // it has waited for another's fetch
}

func (r result) String() string {
	return fmt.Sprintf("%d %s aborted=%t cache=%q rules=%q waited=%v\n  asked: %s\n",
		r.status, r.location, r.aborted, r.cached, r.rules, r.waited, strings.Join(r.asked, "\n         "))
}

// covered reports whether what is stored was served in place of an error.
func (r result) covered() bool { return strings.Contains(strings.Join(r.cached, ""), "stale: ") }

// A fate is what a decision says will come of a request.
type fate struct {
	ti        *tier
	r         *http.Request
	rules     []string // that take it
	own       bool     // the tier answers by itself
	by        string   // who does, if not a rule, the cache or a pool
	status    int      // with this; 0: it is the server's to say
	cache     string   // the cache's verdict on it; empty: it comes by none
	why       string   // of the cache's
	stores    string   // what the request leaves of storing its answer: all, public, nothing
	unstored  bool     // what stands below the cache keeps it from being stored
	first     string   // the server that is asked first; empty: none
	drawn     []string // the servers of which it may be one
	waits     bool
	covers    bool // what is stored is served in place of an error
	follows   bool // it waits for another's fetch, which may be for that one alone
	refreshes bool // it may be fetched anew, by chance
}

// read reads d.
func (f *fate) read(d health.Decision) {
	part, _, _ := strings.Cut(d.Part, " ")
	switch part {
	case "router", "inner":
		f.readRule(d)
	case "split", "handler":
		f.unstored = f.unstored || len(d.Steps) > 0
		f.next(d, 0)
	case "fallback":
		f.next(d, 0)
		if len(d.Next) == 2 && f.status == 404 {
			first := f.first
			f.status, f.cache, f.why, f.first, f.own = 0, "", "", "", false
			f.next(d, 1)
			if first != "" {
				f.first = first
			}
		}
	case "cache":
		f.readCache(d)
	case "pool":
		f.readPool(d)
	default: // edge, same origin, redirect, maintenance, not the authority
		if len(d.Next) > 0 {
			f.next(d, 0)
			return
		}
		f.own, f.by = true, d.Part
		f.status, _ = strconv.Atoi(d.Verdict)
	}
}

func (f *fate) next(d health.Decision, i int) {
	if i < len(d.Next) {
		f.read(d.Next[i])
	}
}

func (f *fate) readRule(d health.Decision) {
	name, took := strings.CutPrefix(d.Verdict, "rule ")
	if !took {
		f.own = true
		f.status, _ = strconv.Atoi(d.Verdict)
		return
	}
	f.rules = append(f.rules, d.Part+"/"+strings.Trim(name, `"`))
	if len(d.Next) > 0 {
		f.next(d, 0)
		return
	}
	status, _, _ := strings.Cut(d.Steps[len(d.Steps)-1], ":")
	f.own = true
	f.status, _ = strconv.Atoi(status)
}

func (f *fate) readCache(d health.Decision) {
	f.cache, f.why, f.stores = d.Verdict, strings.TrimPrefix(d.Why, "rule: "), "all"
	for _, step := range d.Steps {
		if status, ok := strings.CutPrefix(step, "stored: status "); ok && f.cache == "hit" {
			f.status, _ = strconv.Atoi(status[:3])
		}
		if step == "what is stored is served if the backend fails" {
			f.covers = true
		} else if strings.Contains(step, "not stored") {
			f.stores = "nothing"
		} else if strings.Contains(step, "waits for a fetch that is under way") {
			f.follows = true
		} else if strings.Contains(step, "drawn") {
			f.refreshes = true
		} else if strings.Contains(step, "stored only with public") && f.stores == "all" {
			f.stores = "public"
		}
	}
	below := *f
	below.unstored = false
	below.next(d, 0)
	if below.unstored {
		f.stores = "nothing"
	}
	f.first, f.drawn, f.rules, f.waits = below.first, below.drawn, below.rules, below.waits
	switch f.cache {
	case "hit":
		f.waits = false // behind the client's back
	case "refuse":
		f.own, f.status = true, http.StatusGatewayTimeout
	case "miss", "pass":
		f.own, f.status = below.own, below.status
	}
}

func (f *fate) readPool(d health.Decision) {
	f.own = true
	switch d.Verdict {
	case "waits":
		f.waits = true
	case "none":
		f.status = http.StatusServiceUnavailable
	case "refused":
		f.status = http.StatusForbidden
	case "503", "508", "405":
		f.status, _ = strconv.Atoi(d.Verdict)
	case "answered here":
		f.status = http.StatusOK
	default:
		f.own, f.first, f.status = false, d.Verdict, f.ti.answers(d.Verdict, f.r)
		if strings.Contains(d.Why, "503 if its answer turns out to be a stream") && kind(f.r) == "stream" && f.status == 200 {
			f.status = http.StatusServiceUnavailable
		}
		if !strings.Contains(d.Why, "drawn") {
			return
		}
		for _, step := range d.Steps {
			name, rest, _ := strings.Cut(step, ":")
			if strings.Contains(rest, "not picked") {
				continue
			}
			f.drawn = append(f.drawn, name)
			if f.status = min(f.status, f.ti.answers(name, f.r)); kind(f.r) == "stream" {
				f.status = 0 // there may be no place for it at another
			}
		}
	}
}

// differs says how what came of a request is not what was said, or "".
func (f *fate) differs(got result, seen map[string]int) string {
	rules := slices.Sorted(slices.Values(f.rules))
	if f.follows { // what it would do by itself was not said
		if seen != nil {
			seen["under way"]++
		}
		return ""
	}
	if !slices.Equal(rules, got.rules) {
		return fmt.Sprintf("taken by %q, said was by %q", got.rules, rules)
	}
	first := ""
	if len(got.asked) > 0 {
		first, _, _ = strings.Cut(got.asked[0], " ")
	}
	switch {
	case f.waits:
		if got.waited == 0 {
			return "it waits for nothing"
		}
		if first == "" && got.status != http.StatusServiceUnavailable && !(f.covers && got.covered()) {
			return fmt.Sprintf("after a wait it got %d of nobody", got.status)
		}
	case f.refreshes && first == "":
	case len(f.drawn) > 0 && !slices.Contains(f.drawn, first), len(f.drawn) == 0 && first != f.first:
		return fmt.Sprintf("asked %q, said was %q %q", first, f.first, f.drawn)
	}
	if f.status != 0 && !f.waits && got.status != f.status && !f.mayDiffer(got) {
		return fmt.Sprintf("answered with %d, said was %d", got.status, f.status)
	}
	if wrong := f.differsInCache(got, seen); wrong != "" {
		return wrong
	}
	if seen != nil {
		f.count(got, seen)
	}
	return ""
}

// mayDiffer reports whether the client's condition makes another status of the one
// that was said, which is for a server to say, or for what is stored.
func (f *fate) mayDiffer(got result) bool {
	if f.covers && got.covered() {
		return true
	}
	switch got.status {
	case http.StatusNotModified, http.StatusPartialContent, http.StatusRequestedRangeNotSatisfiable, http.StatusPreconditionFailed:
		return !f.own && (f.r.Header["Range"] != nil || f.r.Header["If-None-Match"] != nil || f.r.Header["If-Match"] != nil)
	}
	return f.status == http.StatusPartialContent // it is stored as a part
}

func (f *fate) differsInCache(got result, seen map[string]int) string {
	if len(got.cached) > 1 {
		return "it has been through the cache twice"
	}
	if len(got.cached) == 0 { // of an upgrade and of an error nothing is said
		if f.cache == "" || got.status >= 400 || f.r.Header["Upgrade"] != nil {
			return ""
		}
		return "the cache says nothing of itself"
	}
	status, stored := got.cached[0], strings.Contains(got.cached[0], "; stored")
	did := "miss"
	switch _, detail, _ := strings.Cut(status, "; detail="); {
	case strings.Contains(status, "; hit"):
		did = "hit"
	case got.status == http.StatusGatewayTimeout && detail == "only-if-cached":
		did = "refuse"
	case strings.Contains(status, "fwd=bypass"), f.cache == "pass" && strings.Trim(detail, `"`) == f.why:
		did = "pass"
	}
	if did != f.cache {
		return fmt.Sprintf("the cache's verdict was %q, said was %q", did, f.cache)
	}
	if got.covered() && !f.covers {
		return "what is stored was served in place of an error"
	}
	if may := f.ti.storable(f.r, f.stores); did == "miss" && len(got.asked) > 0 && strings.Contains(status, "fwd-status=200") && stored != may && got.status == 200 {
		return fmt.Sprintf("it was stored: %t, said was %t", stored, may)
	}
	if seen != nil && did == "miss" && got.status == 200 {
		seen[map[bool]string{true: "stored", false: "not stored"}[stored]]++
	}
	return ""
}

// count counts the outcomes, which a corpus must have some of.
func (f *fate) count(got result, seen map[string]int) {
	seen[strconv.Itoa(got.status)]++
	if f.cache != "" {
		seen["cache "+f.cache]++
		if f.cache == "hit" && f.why != "" {
			seen[f.why]++
		}
	}
	if f.by != "" {
		seen[f.by]++
	}
	if f.waits {
		seen["waits"]++
	}
	if len(f.drawn) > 0 {
		seen["drawn"]++
	}
	seen[map[bool]string{true: "asked nobody", false: "asked one"}[len(got.asked) == 0]]++
}

// same reports whether two explanations are one, as far as nothing is drawn.
func (ti *tier) same(a, b health.Decision) bool {
	return a.String() == b.String() || strings.Contains(a.String(), "drawn")
}

func firstDifference(a, b string) string {
	x, y := strings.Split(a, "\n"), strings.Split(b, "\n")
	for i := range min(len(x), len(y)) {
		if x[i] != y[i] {
			return fmt.Sprintf("asked:\n%s\nunasked:\n%s", x[i], y[i])
		}
	}
	return "one is longer"
}
