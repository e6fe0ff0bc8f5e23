package scope

import (
	"context"
	"errors"
	"runtime"
	"testing"

	"github.com/foretier/foretier/internal/transit"
)

// TestAskingForAValueMakesNoContext, since every layer asks; but package context finds
// what it can add to, without a goroutine for each that waits.
func TestAskingForAValueMakesNoContext(t *testing.T) {
	type outer struct{}
	s := new(Scope)
	s.Context = context.WithValue(t.Context(), outer{}, "outer")
	if rec, _ := transit.Lookup(s); rec != s.Record() || s.Value(outer{}) != "outer" {
		t.Errorf("record %v, value %v", rec, s.Value(outer{}))
	}
	if s.inner != nil {
		t.Error("a context is made for who asks for a value")
	}
	before := runtime.NumGoroutine()
	var waits []context.Context
	for range 20 {
		ctx, cancel := context.WithCancel(s)
		defer cancel()
		waits = append(waits, ctx)
	}
	if n := runtime.NumGoroutine() - before; n > 5 { // 20, if each had one; others come and go
		t.Errorf("%d goroutines more", n)
	}
	cause := errors.New("the client left")
	s.End(cause)
	for _, ctx := range waits {
		if <-ctx.Done(); context.Cause(ctx) != cause {
			t.Errorf("cause %v", context.Cause(ctx))
		}
	}
}
