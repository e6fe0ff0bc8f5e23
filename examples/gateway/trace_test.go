package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestTraces: by -trace a request is part of a trace, of which backends and the log know.
func TestTraces(t *testing.T) {
	const brought = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	for what, c := range map[string]struct{ asSent, logged bool }{"pass": {true, false}, "begin": {false, true}, "clients": {true, true}} {
		var told http.Header
		web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			told = r.Header
			_, _ = io.WriteString(w, "page")
		}))
		addr, log := startGateway(t, "-backends", web.URL, "-trace", what)
		r, err := http.NewRequest("GET", "http://"+addr+"/", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Traceparent", brought)
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		web.Close()
		got := told.Get("Traceparent")
		if (got == brought) != c.asSent || len(got) != len(brought) {
			t.Errorf("-trace %s: the backend is told %q", what, got)
		}
		log.Wants(t, "msg=request", "target=/")
		if logged := strings.Contains(log.String(), "trace="+got[3:35]); logged != c.logged {
			t.Errorf("-trace %s: logged %t, want %t", what, logged, c.logged)
		}
	}
}
