package foretier_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"

	"github.com/foretier/foretier/balancer"
	"github.com/foretier/foretier/cache"
	"github.com/foretier/foretier/internal/transit"
	"github.com/foretier/foretier/router"
	"github.com/foretier/foretier/session"
)

// TestWhatIsOneVisitorsIsNoHit: an answer that a part of the tier has made one
// visitor's own is not served to the next one by the tier's cache, by whatever
// field of its own or another's name the application tells caches to keep it.
func TestWhatIsOneVisitorsIsNoHit(t *testing.T) {
	sessions := must(session.New(session.Memory(), session.Options{}))
	parts := map[string]func(app http.Handler) http.Handler{
		"a session's page": func(app http.Handler) http.Handler {
			return sessions.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _, _ = session.Value[string](session.From(r.Context()), "user")
				app.ServeHTTP(w, r)
			}))
		},
		"a split's arm": func(app http.Handler) http.Handler {
			return must(router.NewSplit("arm", router.Arm{Name: "a", Weight: 1, To: app}, router.Arm{Name: "b", Weight: 1, To: app}))
		},
		"a pin": func(app http.Handler) http.Handler {
			sticky := must(session.NewSticky(make([]byte, 32), session.StickyOptions{Always: true}))
			return pinning{sticky, app}
		},
		"an error of the tier's own": func(app http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				app.ServeHTTP(headerOnly{w}, r)
				transit.Fail(w, r, http.StatusNotFound, errors.New("test"))
			})
		},
	}
	orders := []string{
		"Cache-Control", "Foretier-Cache-Control", "Edge7-Cache-Control", "CDN-Cache-Control", "Surrogate-Control", "Expires",
	}
	for part, wrap := range parts {
		for _, order := range orders {
			for _, name := range []string{"", "Edge7"} { // the cache's
				t.Run(part+"/"+order+"/"+name, func(t *testing.T) {
					answers := 0
					pages := must(cache.New(cache.Options{Name: name}))
					t.Cleanup(func() { _ = pages.Close() })
					h := pages.Handler(wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						answers++
						value := "public, max-age=60"
						switch order {
						case "Expires":
							value = "Fri, 01 Jan 2100 00:00:00 GMT"
						case "CDN-Cache-Control", "Foretier-Cache-Control", "Edge7-Cache-Control":
							value = "public, max-age=60, must-understand"
						}
						w.Header().Set(order, value)
						_, _ = io.WriteString(w, strconv.Itoa(answers))
					})))
					for range 2 {
						h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "https://shop.example/", nil))
					}
					if answers != 2 {
						t.Errorf("the second visitor got what was made for the first")
					}
				})
			}
		}
	}
}

// pinning binds as a pool does that has no cache in front of it in its process.
type pinning struct {
	affinity balancer.Affinity
	next     http.Handler
}

func (p pinning) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.next.ServeHTTP(pinWriter{w, p, r}, r)
}

type pinWriter struct {
	http.ResponseWriter
	p pinning
	r *http.Request
}

func (w pinWriter) Write(b []byte) (int, error) {
	w.p.affinity.Bind(w.Header(), w.r, "web1")
	return w.ResponseWriter.Write(b)
}

// headerOnly keeps an answer's header and drops its body.
type headerOnly struct{ http.ResponseWriter }

func (headerOnly) Write(b []byte) (int, error) { return len(b), nil }
