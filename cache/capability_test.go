package cache

import (
	"cmp"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/foretier/foretier/internal/transit"
)

// TestWhatBackendsAreToldOf: what is made of their answers by the cache and by the
// stage above, and not what a client has sent.
func TestWhatBackendsAreToldOf(t *testing.T) {
	const sent = `evil="ESI/1.0"`
	var told string
	c, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	h := c.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { told = r.Header.Get("Surrogate-Capability") }))
	for above, want := range map[string]string{
		"":            `Foretier="Surrogate/1.0"`,
		`a="ESI/1.0"`: `Foretier="Surrogate/1.0", a="ESI/1.0"`,
	} {
		r := httptest.NewRequest("GET", "http://h/"+url.PathEscape(above), nil)
		r.Header.Set("Surrogate-Capability", sent)
		ctx, rec := transit.With(r.Context())
		rec.Composes = above
		h.ServeHTTP(httptest.NewRecorder(), r.WithContext(ctx))
		if told != want {
			t.Errorf("below %q a fetch tells of %q, want %q", above, told, want)
		}
		r.Method = "POST"
		h.ServeHTTP(httptest.NewRecorder(), r.WithContext(ctx))
		if want := cmp.Or(above, sent); told != want || r.Header.Get("Surrogate-Capability") != sent {
			t.Errorf("below %q what passes tells of %q, want %q", above, told, want)
		}
	}
}
