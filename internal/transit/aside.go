package transit

import (
	"context"
	"net/http"
)

// Aside returns r with a copy of its record, for a question about r: what is
// asked about a request that is being served must not change what is served.
// Unlike what [Record.Detach] returns, its context is r's in all else.
func Aside(r *http.Request) (*http.Request, *Record) {
	copied, rec := From(r.Context()).Detach(r.Context())
	return r.WithContext(asideContext{r.Context(), copied}), rec
}

type asideContext struct {
	context.Context
	copied context.Context // has the record
}

// Value implements [context.Context].
func (c asideContext) Value(key any) any {
	if rec, ok := c.copied.Value(key).(*Record); ok {
		return rec
	}
	return c.Context.Value(key)
}
