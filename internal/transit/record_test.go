package transit

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"reflect"
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
	ctx, cancel := context.WithCancel(context.WithValue(context.Background(), private{}, 1))
	ctx, rec := With(ctx)
	rec.Client = netip.MustParseAddr("192.0.2.1")
	rec.Terms.Retry = RetryNever
	rec.Space = "canary"
	rec.Note("router", text("shop"))
	cancel()

	fetch, d := Detach(ctx)
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

// TestCopiesForgetNoField: each part that goes down goes down whole, and what is
// told stays where it was told.
func TestCopiesForgetNoField(t *testing.T) {
	ctx, rec := With(context.WithValue(context.Background(), private{}, 1))
	fill(t, reflect.ValueOf(&rec.Visitor).Elem())
	fill(t, reflect.ValueOf(&rec.Orders).Elem())
	rec.Unproven, rec.Sent = true, http.Header{}
	rec.Note("router", text("shop"))
	rec.Fail(errors.New("refused"))
	aside := func(ctx context.Context) (context.Context, *Record) {
		r, rec := Aside(new(http.Request).WithContext(ctx))
		return r.Context(), rec
	}
	for name, copied := range map[string]func(context.Context) (context.Context, *Record){"Detach": Detach, "Aside": aside} {
		its, d := copied(ctx)
		if From(its) != d || d == rec {
			t.Errorf("%s: the record in the context is not the new one", name)
		}
		whole(t, name, reflect.ValueOf(d.Visitor))
		whole(t, name, reflect.ValueOf(d.Orders))
		if d.Unproven || d.Sent != nil || d.Cause() != nil {
			t.Errorf("%s: what was told of the request is told of the copy", name)
		}
		for range d.Notes() {
			t.Errorf("%s: the copy starts with notes of the request", name)
		}
		if asked := its.Value(private{}) != nil; asked != (name == "Aside") {
			t.Errorf("%s: the context has the request's values: %t", name, asked)
		}
		d.Space, d.Terms = "", Terms{}
		d.Fail(errors.New("of the copy's"))
		if rec.Space == "" || rec.Terms == (Terms{}) || rec.Cause().Error() != "refused" {
			t.Errorf("%s: the copy changes the request", name)
		}
	}
	if _, d := Detach(context.Background()); d == nil || d.Client.IsValid() {
		t.Error("Detach without a record")
	}
}

type private struct{}

type span struct{}

func (span) Context(ctx context.Context) context.Context {
	return context.WithValue(ctx, span{}, "its")
}

func (span) Try(string) (traceparent, tracestate string, end func(int, error)) { return "", "", nil }

// TestAFetchIsPartOfItsLeadersTrace: it finds the span where the leader does.
func TestAFetchIsPartOfItsLeadersTrace(t *testing.T) {
	ctx, rec := With(context.Background())
	if d, _ := Detach(ctx); d.Value(span{}) != nil {
		t.Error("there is none")
	}
	rec.Span = span{}
	if d, _ := Detach(ctx); d.Value(span{}) != "its" {
		t.Error("it finds none")
	}
}

// fill sets all fields of v to something.
func fill(t *testing.T, v reflect.Value) {
	for i := range v.NumField() {
		f := v.Field(i)
		switch name := v.Type().Field(i).Name; {
		case f.Type() == reflect.TypeFor[netip.Addr]():
			f.Set(reflect.ValueOf(netip.MustParseAddr("192.0.2.1")))
		case f.Type() == reflect.TypeFor[Turn]():
			f.Set(reflect.ValueOf(turn{}))
		case f.Type() == reflect.TypeFor[Span]():
			f.Set(reflect.ValueOf(span{}))
		case f.Type() == reflect.TypeFor[http.Handler]():
			f.Set(reflect.ValueOf(http.NotFoundHandler()))
		case f.Kind() == reflect.Struct:
			fill(t, f)
		case f.Kind() == reflect.Func:
			f.Set(reflect.MakeFunc(f.Type(), nil))
		case f.Kind() == reflect.String:
			f.SetString(name)
		case f.Kind() == reflect.Bool:
			f.SetBool(true)
		case f.CanInt():
			f.SetInt(1)
		case f.CanUint():
			f.SetUint(1)
		default:
			t.Fatalf("no value for %s, a %v", name, f.Type())
		}
	}
}

// whole fails the test for each field of v that has nothing in it.
func whole(t *testing.T, name string, v reflect.Value) {
	for i := range v.NumField() {
		if f := v.Field(i); f.IsZero() {
			t.Errorf("%s: %v.%s was forgotten", name, v.Type(), v.Type().Field(i).Name)
		} else if f.Kind() == reflect.Struct && f.Type() != reflect.TypeFor[netip.Addr]() {
			whole(t, name, f)
		}
	}
}

// turn is a [Turn] that does nothing.
type turn struct{ Turn }

// A record and the notes that the stages leave in it are one allocation.
func TestARecordIsOneAllocation(t *testing.T) {
	ctx, noted := context.Background(), slog.LogValuer(text("shop"))
	if n := testing.AllocsPerRun(100, func() {
		_, rec := With(ctx)
		rec.Note("router", noted)
		rec.Note("cache", noted)
		rec.Note("pool", noted)
	}); n != 1 {
		t.Errorf("%v allocations", n)
	}
}
