package transit

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
	"time"
)

type text string

func (t text) LogValue() slog.Value { return slog.StringValue(string(t)) }

func TestWithKeepsTheRecordThatIsThere(t *testing.T) {
	ctx, first := With(context.Background())
	again, second := With(ctx)
	if first != second || ctx != again {
		t.Error("With made a second record")
	}
}

func TestDetachKeepsNothingOfTheRequest(t *testing.T) {
	type private struct{}
	ctx, cancel := context.WithCancel(context.WithValue(context.Background(), private{}, 1))
	ctx, rec := With(ctx)
	rec.Client = netip.MustParseAddr("192.0.2.1")
	rec.Terms.Retry = RetryNever
	rec.Space = "canary"
	rec.Note("router", text("shop"))
	cancel()

	fetch, d := rec.Detach(ctx)
	if fetch.Err() != nil {
		t.Error("the detached context ended with its request")
	}
	if fetch.Value(private{}) != nil {
		t.Error("the detached context carries a value of the request's")
	}
	if fetch.Value(http.ServerContextKey) == nil {
		t.Error("without a server in the context ReverseProxy hides truncation")
	}
	if d.Client != rec.Client || d.Terms != rec.Terms || d.Space != rec.Space {
		t.Error("the fetch does not know the client, the terms and the space")
	}
	for range d.Notes() {
		t.Error("the fetch starts with notes of the request")
	}
}

func TestLinkShowsNotesAndCauseOfTheFetch(t *testing.T) {
	ctx, rec := With(context.Background())
	_, d := rec.Detach(ctx)
	cause := errors.New("refused")
	d.Note("pool", text("tried a"))
	d.Fail(cause)
	d.Fail(errors.New("a consequence"))
	rec.Note("router", text("shop"))
	rec.Link(d)
	rec.Link(rec) // must not loop

	var got []string
	for part, v := range rec.Notes() {
		got = append(got, part+"="+v.LogValue().String())
	}
	want := []string{"router=shop", "pool=tried a"}
	if len(got) != 2 || got[0] != want[0] || got[1] != want[1] {
		t.Errorf("Notes: got %q, want %q", got, want)
	}
	if rec.Cause() != cause {
		t.Errorf("Cause: got %v, want %v", rec.Cause(), cause)
	}
}

func TestFail(t *testing.T) {
	cases := map[string]struct {
		status int
		accept string
		page   bool
		want   string
		retry  string
	}{
		"text":                {status: 502, want: "502 Bad Gateway\n"},
		"503 says when":       {status: 503, want: "503 Service Unavailable\n", retry: "30"},
		"JSON for a program":  {status: 503, accept: "application/json", page: true, want: "{\"status\":503,\"error\":\"Service Unavailable\"}\n", retry: "30"},
		"a browser":           {status: 503, accept: "text/html, application/json, */*", page: true, want: "sorry", retry: "30"},
		"no page for that":    {status: 504, page: true, want: "504 Gateway Timeout\n"},
		"anything and a page": {status: 503, page: true, want: "sorry", retry: "30"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest("GET", "/", nil)
			r.Header.Set("Accept", c.accept)
			ctx, rec := With(r.Context())
			if c.page {
				rec.Page = func(w http.ResponseWriter, _ *http.Request, status int) bool {
					if status != 503 {
						return false
					}
					w.WriteHeader(status)
					_, err := w.Write([]byte("sorry"))
					return err == nil
				}
			}
			w := httptest.NewRecorder()
			w.Header().Set("Etag", `"half an answer"`)
			w.Header().Set("Foretier-Cache-Control", "public, max-age=60")
			cause := errors.New("why")
			Fail(w, r.WithContext(ctx), c.status, cause)
			if w.Code != c.status || w.Body.String() != c.want {
				t.Errorf("got %d %q, want %d %q", w.Code, w.Body, c.status, c.want)
			}
			if got := w.Header().Get("Retry-After"); got != c.retry {
				t.Errorf("Retry-After: got %q, want %q", got, c.retry)
			}
			if w.Header().Get("Cache-Control") != "no-store" || w.Header().Get("Etag") != "" || w.Header().Get("Foretier-Cache-Control") != "" {
				t.Errorf("header of another answer, or storable: %v", w.Header())
			}
			if rec.Cause() != cause {
				t.Errorf("Cause: got %v", rec.Cause())
			}
		})
	}
}

func TestClientAndSchemeWithoutEdge(t *testing.T) {
	r := httptest.NewRequest("GET", "http://shop.example/", nil)
	r.RemoteAddr = "[::ffff:192.0.2.7]:1234"
	if got := Client(r).String(); got != "192.0.2.7" {
		t.Errorf("Client: got %s", got)
	}
	if Scheme(r) != "http" {
		t.Errorf("Scheme: got %s", Scheme(r))
	}
	r.RemoteAddr = "pipe"
	if Client(r).IsValid() {
		t.Error("Client invented an address")
	}
}

func TestStalledIsNotGone(t *testing.T) {
	for name, c := range map[string]struct {
		await time.Duration // from now; 0: nothing awaited
		want  int
	}{
		"gone":               {0, 499},
		"gone while sending": {time.Hour, 499},
		"stalled":            {-time.Millisecond, 408},
	} {
		r := httptest.NewRequest("POST", "/", nil)
		ctx, rec := With(r.Context())
		rec.Await(time.Now().Add(time.Hour))
		rec.Await(time.Time{})
		if c.await != 0 {
			rec.Await(time.Now().Add(c.await))
		}
		w := httptest.NewRecorder()
		Fail(w, r.WithContext(ctx), StatusGone, context.Canceled)
		if w.Code != c.want || !errors.Is(rec.Cause(), context.Canceled) {
			t.Errorf("%s: got %d, %v", name, w.Code, rec.Cause())
		}
	}
}

func TestMalformedIsNotGone(t *testing.T) {
	bad := errors.New("no chunk")
	for name, c := range map[string]struct {
		bad    error
		status int
		want   int
		gone   bool
	}{
		"gone":              {nil, StatusGone, 499, true},
		"malformed":         {bad, StatusGone, 400, false},
		"malformed, beside": {bad, 502, 502, false},
	} {
		r := httptest.NewRequest("POST", "/", nil)
		ctx, rec := With(r.Context())
		if c.bad != nil {
			rec.Malformed(c.bad)
		}
		w := httptest.NewRecorder()
		Fail(w, r.WithContext(ctx), c.status, context.Canceled)
		waiter := new(Record)
		waiter.Link(rec)
		if w.Code != c.want || rec.Gone() != c.gone || waiter.Gone() != c.gone || (c.want == 400) != errors.Is(rec.Cause(), bad) {
			t.Errorf("%s: got %d, gone %t, %v", name, w.Code, rec.Gone(), rec.Cause())
		}
	}
	if (*Record)(nil).Gone() {
		t.Error("nobody has gone")
	}
}

// A peer on the link has a zone, and no prefix contains an address with one.
func TestPeerIsWithinPrefixes(t *testing.T) {
	for remote, network := range map[string]string{
		"[fe80::1%eth0]:80": "fe80::/10", "[::ffff:192.0.2.1]:80": "192.0.2.0/24", "[::ffff:192.0.2.1%1]:80": "192.0.2.0/24", "192.0.2.1:80": "192.0.2.1/32",
	} {
		if peer := Peer(&http.Request{RemoteAddr: remote}); !netip.MustParsePrefix(network).Contains(peer) {
			t.Errorf("%s is %v, which is not within %s", remote, peer, network)
		}
	}
}
