package transit

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/foretier/foretier/internal/testkit"
)

func TestTheChainBeginsOnce(t *testing.T) {
	r := httptest.NewRequest("GET", "/", nil)
	in, rec, made := Enter(r)
	if !made || in == r || From(in.Context()) != rec {
		t.Errorf("the first: made %t, a request of its own %t", made, in != r)
	}
	again, second, made := Enter(in)
	if made || again != in || second != rec {
		t.Errorf("one below: made %t, the same request %t", made, again == in)
	}
	if _, ok := Lookup(r.Context()); ok {
		t.Error("the request that came was changed")
	}
	From(r.Context()).Fail(errors.New("told to nobody")) // must not panic
}

// TestLog: whoever begins a chain has one line for what went wrong, and none for
// anything else.
func TestLog(t *testing.T) {
	boom := errors.New("boom")
	answer := func(status int, cause error) func(*http.Request, *Record) {
		return func(r *http.Request, _ *Record) { Fail(httptest.NewRecorder(), r, status, cause) }
	}
	cases := map[string]struct {
		f    func(*http.Request, *Record)
		want string // after the request; empty: no line
	}{
		"nothing":      {func(*http.Request, *Record) {}, ""},
		"no cause":     {answer(405, nil), ""},
		"failed":       {answer(502, boom), `level=ERROR msg="request failed" % status=502 cause=boom`},
		"refused":      {answer(403, boom), `level=WARN msg=request % status=403 cause=boom`},
		"ordered":      {answer(503, Meant(boom)), `level=DEBUG msg=request % status=503 cause=boom`},
		"gone":         {answer(StatusGone, boom), `level=DEBUG msg="client gone" % status=499 cause=boom`},
		"broke off":    {func(_ *http.Request, rec *Record) { rec.Fail(boom) }, `level=ERROR msg="request failed" % cause=boom`},
		"with notes":   {func(_ *http.Request, rec *Record) { rec.Note("pool", text("a")); rec.Fail(boom) }, `level=ERROR msg="request failed" % pool=a cause=boom`},
		"of a fetch":   {func(_ *http.Request, rec *Record) { rec.Link(failed(502, boom)) }, `level=ERROR msg="request failed" % status=502 pool=a cause=boom`},
		"covered":      {func(_ *http.Request, rec *Record) { rec.Answered(200); rec.Link(failed(502, boom)) }, `level=WARN msg=request % status=200 pool=a cause=boom`},
		"by a program": {func(r *http.Request, rec *Record) { r.RequestURI = ""; rec.Fail(boom) }, `level=ERROR msg="request failed" % cause=boom`},
	}
	for name, c := range cases {
		r := httptest.NewRequest("GET", "/cart?sku=1", nil)
		r.Host = "shop.example"
		r, rec, _ := Enter(r)
		c.f(r, rec)
		var log testkit.Log
		Log(log.Logger(), "front", r, rec)
		_, got, _ := strings.Cut(strings.TrimSpace(log.String()), " ") // the time
		if want := strings.Replace(c.want, "%", `part=front method=GET host=shop.example target="/cart?sku=1"`, 1); got != want {
			t.Errorf("%s:\ngot  %s\nwant %s", name, got, want)
		}
	}
}

// failed is the journal of a fetch that failed.
func failed(status int, cause error) *Journal {
	j := new(Journal)
	j.Note("pool", text("a"))
	j.Answered(status)
	j.Fail(cause)
	return j
}

// A client that has left is no failure, whatever it is told to.
func TestLogOfAClientThatLeft(t *testing.T) {
	ctx, leave := context.WithCancel(t.Context())
	r, rec, _ := Enter(httptest.NewRequestWithContext(ctx, "GET", "/", nil))
	leave()
	Fail(httptest.NewRecorder(), r, 503, ctx.Err())
	var log testkit.Log
	Log(log.Logger(), "front", r, rec)
	log.Wants(t, "level=DEBUG", "client gone", "status=499")
}
