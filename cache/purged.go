package cache

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/foretier/foretier/internal/fields"
	"github.com/foretier/foretier/internal/transit"
)

// longestWait bounds what a PURGE may prefer to wait.
const longestWait = 60 * time.Second

// answerPurge applies what a PURGE names and answers it.
func (c *Cache) answerPurge(w http.ResponseWriter, r *http.Request, list ...order) {
	wait := preferredWait(r.Header["Prefer"])
	done, err := c.purge(r.Context(), transit.Client(r).String(), wait > 0, list...)
	h := w.Header()
	fields.CacheControl(h, "no-store")
	h.Set("Content-Type", "text/plain; charset=utf-8")
	status, where := http.StatusOK, fmt.Sprintf("at %d", done.Position)
	var rest string
	switch {
	case err != nil:
		transit.From(r.Context()).Fail(err)
		status, where, rest = http.StatusAccepted, "here", "; the other gateways learn of it once they can be told"
	case wait > 0 && c.follower != nil:
		h.Set("Preference-Applied", "wait="+strconv.Itoa(int(wait/time.Second)))
		status, rest = c.awaitOthers(r.Context(), wait, done.Position)
	}
	w.WriteHeader(status)
	fmt.Fprintf(w, "%d purged %s, responses: %d%s\n", status, where, done.Responses, rest)
}

// awaitOthers waits until the other gateways have applied what stands at p, and says
// what came of it.
func (c *Cache) awaitOthers(ctx context.Context, wait time.Duration, p Position) (status int, words string) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	late, err := c.follower.lagging(ctx, p)
	switch {
	case err != nil:
		return http.StatusAccepted, "; whether by all gateways is not known"
	case len(late) > 0:
		return http.StatusAccepted, "; not yet by " + strings.Join(late, ", ")
	}
	return http.StatusOK, ", by all gateways"
}

// preferredWait returns for how long a client prefers to wait (RFC 7240, section 4.3),
// of several times the first (section 2), and 0 if it says nothing that is understood.
func preferredWait(lines []string) time.Duration {
	for member := range fields.Members(lines) {
		pref, _, _ := strings.Cut(member, ";")
		name, value, _ := strings.Cut(pref, "=")
		if !strings.EqualFold(strings.TrimSpace(name), "wait") {
			continue
		}
		n, err := strconv.ParseUint(strings.Trim(strings.TrimSpace(value), `"`), 10, 31)
		if err != nil {
			return 0
		}
		return min(time.Duration(n)*time.Second, longestWait)
	}
	return 0
}
