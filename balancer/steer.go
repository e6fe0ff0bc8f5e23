package balancer

import (
	"net/http"
	"time"

	"github.com/foretier/foretier/balancer/internal/pool"
	"github.com/foretier/foretier/health"
)

// tells reports whether the try's failure says something of how much its backend
// can do. Where the policy picks, what fails everywhere makes all look alike; but
// whoever picks could make any of them look slow, so several clients' must fail.
func (t *try) tells(now time.Time) bool {
	return !t.steered || t.exchange.pool.view.Set.Blamed(t.entry, now)
}

// begs notes that the backend has answered by a wish for patience, and reports
// whether that is for all: some say it to the one visitor who asks too much.
func (t *try) begs(now time.Time) bool {
	several := t.exchange.pool.view.Set.Begged(t.entry, now, witness(now, t.exchange.req, health.Erred))
	return !t.steered || several
}

// witness returns whose request r was, which failed.
func witness(now time.Time, r *http.Request, o health.Outcome) pool.Witness {
	return pool.Testify(now, clientOf(r), r.URL.Path+"?"+r.URL.RawQuery, o)
}
