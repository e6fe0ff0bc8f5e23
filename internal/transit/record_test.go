package transit

import (
	"context"
	"net/http"
	"net/netip"
	"testing"
)

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
