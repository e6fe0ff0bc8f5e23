package transit

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

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
			w.Header().Set("Surrogate-Control", `content="ESI/1.0"`)
			w.Header().Set("Foretier-Cache-Control", "public, max-age=60")
			cause := errors.New("why")
			Fail(w, r.WithContext(ctx), c.status, cause)
			if w.Code != c.status || w.Body.String() != c.want {
				t.Errorf("got %d %q, want %d %q", w.Code, w.Body, c.status, c.want)
			}
			if got := w.Header().Get("Retry-After"); got != c.retry {
				t.Errorf("Retry-After: got %q, want %q", got, c.retry)
			}
			if w.Header().Get("Cache-Control") != "no-store" || w.Header().Get("Etag") != "" || w.Header().Get("Surrogate-Control") != "" || w.Header().Get("Foretier-Cache-Control") != "" {
				t.Errorf("header of another answer, or storable: %v", w.Header())
			}
			if rec.Cause() != cause {
				t.Errorf("Cause: got %v", rec.Cause())
			}
		})
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
		waiter.Link(&rec.Journal)
		if w.Code != c.want || rec.Gone() != c.gone || waiter.Gone() != c.gone || (c.want == 400) != errors.Is(rec.Cause(), bad) {
			t.Errorf("%s: got %d, gone %t, %v", name, w.Code, rec.Gone(), rec.Cause())
		}
	}
	if new(Record).Gone() {
		t.Error("nobody has gone")
	}
}
