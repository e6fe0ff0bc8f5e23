// Package transit holds what the stages of one request need of one another.
//
// A request passes through edge, router, cache and balancer, none of which
// import each other. What one of them must tell another travels in a [Record]
// in the request's context, which has three parts: who asks ([Visitor]), what
// is ordered of the stages below ([Orders]) and what these tell ([Journal]).
//
// The first two go down the chain. They are plain values, which whoever goes on
// with a copy of the request copies whole, so that no field is forgotten: see
// [Detach] and [Aside]. The third comes up. Others may read and write it
// meanwhile, so it has a mutex, and it is not copied: what has happened to a
// request has not happened to its copy. That has a journal of its own, to which
// the request's is linked once nobody writes it any more: see [Journal.Link].
package transit

import (
	"context"
	"net/http"
)

// A Record accompanies one request down the chain.
//
// The exported fields are written by the stage named with each, before it
// calls the next one, and read below, or before the response's header is handed
// up, and read above; they need no lock because a request is handed from stage
// to stage. The methods are safe for concurrent use.
type Record struct {
	Visitor
	Orders
	Journal
	// Lesson is this request's alone: whoever goes on with a copy of it teaches
	// nothing.
	Lesson Lesson
	// Loan is this request's alone, too: a copy's memory is its maker's affair.
	Loan Loan
}

// A Carrier is a context with a record: one allocation for both, and for what else
// whoever embeds it in a context of its own needs for a request.
type Carrier struct {
	context.Context
	record Record
}

type key struct{}

// Value implements [context.Context].
func (c *Carrier) Value(k any) any {
	if c.Carries(k) {
		return &c.record
	}
	return c.Context.Value(k)
}

// Record returns the record.
func (c *Carrier) Record() *Record { return &c.record }

// Carries reports whether k finds the record.
func (c *Carrier) Carries(k any) bool { return k == (key{}) }

// Lookup returns the record in ctx, if there is one.
func Lookup(ctx context.Context) (*Record, bool) {
	r, ok := ctx.Value(key{}).(*Record)
	return r, ok
}

// From returns the record in ctx. It is never nil: where nobody has made one, it
// is one that nobody reads.
func From(ctx context.Context) *Record {
	if r, ok := Lookup(ctx); ok {
		return r
	}
	return new(Record)
}

// With returns the record in ctx, or ctx with a new one.
func With(ctx context.Context) (context.Context, *Record) {
	if r, ok := Lookup(ctx); ok {
		return ctx, r
	}
	c := &Carrier{Context: ctx}
	return c, &c.record
}

// Detach returns a context for work that outlives the request of ctx which caused
// it, a cache's fetch, and the record of its own in that context: of the same
// visitor and under the same orders.
//
// The context carries nothing else of the request's but its span and [http.ServerContextKey]:
// httputil.ReverseProxy reports a truncated body, by panicking with
// [http.ErrAbortHandler], only to a server.
func Detach(ctx context.Context) (context.Context, *Record) {
	srv, _ := ctx.Value(http.ServerContextKey).(*http.Server)
	if srv == nil {
		srv = new(http.Server)
	}
	detached := context.WithValue(context.Background(), http.ServerContextKey, srv)
	if r, ok := Lookup(ctx); ok && r.Span != nil {
		detached = r.Span.Context(detached)
	}
	return renew(detached, ctx)
}

// Aside returns r with a record of its own, of the same visitor and under the
// same orders: what is asked about a request that is being served must not change
// what is served.
func Aside(r *http.Request) (*http.Request, *Record) {
	ctx, rec := renew(r.Context(), r.Context())
	return r.WithContext(ctx), rec
}

// renew returns ctx with a copy of the record in from, whose journal is empty.
func renew(ctx, from context.Context) (context.Context, *Record) {
	c := &Carrier{Context: ctx}
	if r, ok := Lookup(from); ok {
		c.record.Visitor, c.record.Orders = r.Visitor, r.Orders
	}
	return c, &c.record
}
