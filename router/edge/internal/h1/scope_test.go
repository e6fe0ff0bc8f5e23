package h1_test

import (
	"context"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/foretier/foretier/internal/http1"
	"github.com/foretier/foretier/internal/testkit"
	"github.com/foretier/foretier/router/edge/internal/h1"
	"github.com/foretier/foretier/router/edge/internal/wire"
)

// TestARequestHasAPlaceForWhatIsCalledAtItsEnd, which a pool takes that asks a backend.
func TestARequestHasAPlaceForWhatIsCalledAtItsEnd(t *testing.T) {
	begun, ended := make(chan string, 1), make(chan error, 1)
	later := make(chan http1.Ending, 1)
	srv := &h1.Server{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		ctx := r.Context()
		e := ctx.(http1.Ending)
		what := ""
		if !e.OnEnd(func() { t.Error("called though it was taken back") }) || !e.OffEnd() {
			what += "it cannot be taken back; "
		}
		if !e.OnEnd(func() { ended <- context.Cause(ctx) }) {
			what += "the place is not free again; "
		}
		if e.OnEnd(func() {}) {
			what += "two have it; "
		}
		begun <- what
		<-ctx.Done()
		later <- e
	})}
	c := testkit.Dial(t, serve(t, srv, wire.Options{}))
	io.WriteString(c, get())
	if what := <-begun; what != "" {
		t.Error(what)
	}
	c.Close()
	select {
	case err := <-ended:
		if err != h1.ErrGone {
			t.Errorf("cause %v", err)
		}
	case <-time.After(testkit.Patience):
		t.Fatal("not called")
	}
	if e := <-later; e.OffEnd() || e.OnEnd(func() {}) {
		t.Error("a request that has ended still has a place")
	}
}
