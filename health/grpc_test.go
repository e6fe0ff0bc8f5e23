package health

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestGRPC(t *testing.T) {
	var asked []byte
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked, _ = io.ReadAll(r.Body)
		if r.URL.Path != "/grpc.health.v1.Health/Check" || r.ProtoMajor != 2 || r.Header.Get("Te") != "trailers" {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		w.Header().Set("Content-Type", "application/grpc")
		w.Header().Set("Trailer", "Grpc-Status")
		status, answer := "0", []byte{0, 0, 0, 0, 2, 1 << 3, 1}
		switch service := string(asked[min(7, len(asked)):]); service {
		case "down":
			answer[6] = 2
		case "default":
			answer = []byte{0, 0, 0, 0, 0}
		case "garbage":
			answer = []byte{0, 0, 0, 0, 9, 1}
		case "unknown":
			status, answer = "5", nil
		case "none":
			status, answer = "12", nil
		}
		_, _ = w.Write(answer)
		w.Header().Set("Grpc-Status", status)
	}))
	srv.Config.Protocols = new(http.Protocols)
	srv.Config.Protocols.SetUnencryptedHTTP2(true)
	srv.Start()
	defer srv.Close()
	to := target(t, strings.Replace(srv.URL, "http", "h2c", 1))
	for service, want := range map[string]Result{
		"":        {State: Up, Note: "serving"},
		"shop":    {State: Up, Note: "serving"},
		"down":    {State: Degraded, Note: "not serving"},
		"default": {State: Degraded, Note: "unknown"},
		"garbage": {State: Degraded, Note: "an answer that is none"},
		"unknown": {State: Degraded, Note: `has no service "unknown"`},
		"none":    {State: Degraded, Note: "has no health service"},
	} {
		if got, err := GRPC(service).Probe(context.Background(), to); err != nil || got != want {
			t.Errorf("%q: got %+v, %v; want %+v", service, got, err, want)
		}
	}
	if _, err := GRPC("shop").Probe(context.Background(), to); err != nil || !bytes.Equal(asked, []byte("\x00\x00\x00\x00\x06\x0a\x04shop")) {
		t.Errorf("asked %q, %v", asked, err)
	}
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	if _, err := GRPC("").Probe(context.Background(), target(t, strings.Replace(plain.URL, "http", "h2c", 1))); err == nil {
		t.Error("a server without HTTP/2 is content")
	}
}

func TestHTTPProbeTellsWeightAndDrain(t *testing.T) {
	weight, there := "0.25", true
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if !there {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		w.Header().Set("Backend-Weight", weight)
	}))
	defer srv.Close()
	to := target(t, srv.URL)
	for value, want := range map[string]float64{"0.25": 0.25, "1": 1, "70": 10, "-1": 0, "NaN": 0, "much": 0, "": 0} {
		weight = value
		if got, err := HTTP("/").Probe(context.Background(), to); err != nil || got.Weight != want {
			t.Errorf("%q: got %v, %v; want %v", value, got.Weight, err, want)
		}
	}
	p := &HTTPProbe{Path: "/up.html", Drain: true}
	want := func(what string, state State, drain bool) {
		t.Helper()
		if got, err := p.Probe(context.Background(), to); err != nil || got.State != state || got.Drain != drain {
			t.Errorf("%s: got %+v, %v", what, got, err)
		}
	}
	there = false
	want("never there", Degraded, false)
	there = true
	want("there", Up, false)
	there = false
	want("removed", Up, true)
}
