package session_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/foretier/foretier/session"
)

// A client of an API sends in a field what it was given in it.
type client struct {
	handler      http.Handler
	field, given string
}

func (c *client) do(method, target string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "https://api.example"+target, nil)
	if c.given != "" {
		r.Header.Set(c.field, c.given)
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	c.handler.ServeHTTP(w, r)
	if given, ok := w.Header()[http.CanonicalHeaderKey(c.field)]; ok {
		c.given = given[0]
	}
	return w
}

// TestHeader: a session in a field is what it is in a cookie, of which there is none.
func TestHeader(t *testing.T) {
	for field, begins := range map[string]string{"X-Session": "", "x-session": "", "Authorization": "Bearer "} {
		t.Run(field, func(t *testing.T) {
			store := session.Memory()
			c := &client{handler: manager(t, store, session.Options{Header: field}).Handler(app()), field: field}
			if w := c.do("GET", "/read"); len(w.Header()[http.CanonicalHeaderKey(field)]) > 0 {
				t.Errorf("without a session: %v", w.Header())
			}
			w := c.do("POST", "/add?sku=tea", "Origin", "https://app.example", "Sec-Fetch-Site", "cross-site")
			if w.Code != http.StatusOK || !strings.HasPrefix(c.given, begins) || len(c.given) < 48 || len(w.Header()["Set-Cookie"]) > 0 {
				t.Fatalf("a change: %d, %v", w.Code, w.Header())
			}
			first := *c
			w = c.do("GET", "/read")
			if body(w) != `{"tea":1}` || w.Header().Get("Cache-Control") != "private, no-store" || len(w.Header()[http.CanonicalHeaderKey(field)]) > 0 {
				t.Errorf("a look: %s, %v", body(w), w.Header())
			}
			if c.do("POST", "/login?user=ann"); c.given == first.given {
				t.Error("a login left it as it was")
			}
			if got := body(c.do("GET", "/whoami")); got != `"ann"` {
				t.Errorf("after the login: %s", got)
			}
			if got := body(first.do("GET", "/whoami")); got != `""` {
				t.Errorf("what was given before the login: %s", got)
			}
			// A browser's sessions are the same ones, and its cookie is none here.
			web := newBrowser(manager(t, store, session.Options{}).Handler(app()))
			web.cookies["__Host-sid"] = strings.TrimPrefix(c.given, begins)
			if got := body(web.do("GET", "/whoami")); got != `"ann"` {
				t.Errorf("in a cookie of the same store: %s", got)
			}
			if got := body((&client{handler: c.handler}).do("GET", "/whoami", "Cookie", "__Host-sid="+web.cookies["__Host-sid"])); got != `""` {
				t.Errorf("a cookie: %s", got)
			}
			if w := c.do("POST", "/logout"); c.given != "" || len(w.Header()[http.CanonicalHeaderKey(field)]) != 1 {
				t.Errorf("a logout: %v", w.Header())
			}
		})
	}
}

// TestHeadersThatAreNone: what is no ticket is no session, and harms nothing.
func TestHeadersThatAreNone(t *testing.T) {
	c := &client{handler: manager(t, session.Memory(), session.Options{Header: "Authorization"}).Handler(app()), field: "Authorization"}
	c.do("POST", "/login?user=ann")
	good := c.given
	ticket := strings.TrimPrefix(good, "Bearer ")
	c.given = ""
	for name, sent := range map[string][]string{
		"a ticket alone":   {ticket},
		"another scheme":   {"Basic " + ticket},
		"a scheme alone":   {"Bearer"},
		"and nothing":      {"Bearer "},
		"two fields":       {good, good},
		"a list":           {good + ", " + good},
		"two tickets":      {good + " " + ticket},
		"10,000 bytes":     {"Bearer " + strings.Repeat("a", 10_000)},
		"a ticket and NUL": {good + "\x00"},
		"without its tag":  {good[:len("Bearer ")+48]},
		"not base64":       {"Bearer " + strings.Repeat("ä", 24)},
	} {
		var header []string
		for _, s := range sent {
			header = append(header, "Authorization", s)
		}
		if w := c.do("GET", "/whoami", header...); w.Code != http.StatusOK || body(w) != `""` || len(w.Header()["Authorization"]) > 0 {
			t.Errorf("%s: %d %s, %v", name, w.Code, body(w), w.Header())
		}
	}
	for _, sent := range []string{good, "bearer " + ticket, "BEARER  " + ticket} {
		if got := body(c.do("GET", "/whoami", "Authorization", sent)); got != `"ann"` {
			t.Errorf("%q: %s", sent, got)
		}
	}
}
