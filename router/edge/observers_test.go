package edge_test

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/foretier/foretier/cache"
	"github.com/foretier/foretier/internal/testkit"
	"github.com/foretier/foretier/internal/transit"
	"github.com/foretier/foretier/router/edge"
)

type note string

func (n note) LogValue() slog.Value { return slog.StringValue(string(n)) }

// TestObserversAreShown how their requests went, and nobody else is.
func TestObserversAreShown(t *testing.T) {
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Route-Trace") != "" {
			t.Error("the wish went on to a backend")
		}
		rec := transit.From(r.Context())
		rec.Note("router", note("shop"))
		rec.Note("a b", note("no token"))
		rec.Note("pool", timed{"web1\r\nX: \"y\\"})
		w.Header().Set("Server-Timing", "db;dur=1")
		io.WriteString(w, "ok")
	})
	const trace = "router=shop; a b=no token; pool=web1??X: \"y\\"
	timing := regexp.MustCompile(`^router;desc="shop", pool;dur=1\.5;desc="web1\?\?X: \\"y\\\\", edge;dur=\d+(\.\d+)?$`)
	office := []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	for name, c := range map[string]struct {
		observers, trusted []netip.Prefix
		from               string // as a proxy says
		observes, asks     bool
	}{
		"nobody is":               {nil, loopback, "192.0.2.1", false, true},
		"the peer":                {loopback, nil, "", true, true},
		"who does not ask":        {loopback, nil, "", true, false},
		"a client":                {office, loopback, "192.0.2.1", true, true},
		"another":                 {office, loopback, "198.51.100.1", false, true},
		"who says so":             {office, nil, "192.0.2.1", false, true},
		"the client of a proxy's": {loopback, loopback, "192.0.2.1", false, true},
	} {
		t.Run(name, func(t *testing.T) {
			overEach(t, h, edge.Options{Observers: c.observers, Trusted: c.trusted}, func(t *testing.T, url string, client *http.Client) {
				req, err := http.NewRequest("GET", url, nil)
				if err != nil {
					t.Fatal(err)
				}
				if c.asks {
					req.Header.Set("X-Route-Trace", "1")
				}
				if c.from != "" {
					req.Header.Set("X-Forwarded-For", c.from)
				}
				res, err := client.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				res.Body.Close()
				want := ""
				if c.observes && c.asks {
					want = trace
				}
				if got := res.Header.Get("X-Route-Trace"); got != want {
					t.Errorf("got %q, want %q", got, want)
				}
				lines := res.Header["Server-Timing"]
				if lines[0] != "db;dur=1" || len(lines) > 1 != c.observes || c.observes && !timing.MatchString(lines[1]) {
					t.Errorf("Server-Timing: %q", lines)
				}
			})
		})
	}
}

type timed struct{ note }

func (timed) Took() time.Duration { return 1500 * time.Microsecond }

// TestWhatObserversAreShownIsNobodyElses: nothing of it is learned.
func TestWhatObserversAreShownIsNobodyElses(t *testing.T) {
	shop := newShop(t, edge.Options{Trusted: loopback, Observers: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}}, cache.Options{})
	c := testkit.Dial(t, shop.srv.Addr().String())
	defer c.Close()
	for i := range 20 {
		observes := i%2 == 1 || i > 3 && i < 8
		from := "198.51.100.1"
		if observes {
			from = "192.0.2.1"
		}
		if _, err := io.WriteString(c, "GET /1000 HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: "+from+"\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		var came bytes.Buffer
		readAnswer(t, io.TeeReader(c, &came))
		if got := strings.Contains(came.String(), "Server-Timing"); got != observes {
			t.Errorf("request %d: shown %t, want %t", i, got, observes)
		}
	}
	if n := shop.instant(); n < 5 {
		t.Errorf("%d answers from heads", n)
	}
}
