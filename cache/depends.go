package cache

import (
	"context"
	"sync"
)

type dependsKey struct{}

// depends collects the tags of one response while it is made.
type depends struct {
	mu   sync.Mutex
	tags []string // guarded by mu
}

// Depends adds tags to the response that is being made under ctx, the context
// of a request that came through a [Cache] in this process: call it where the
// data is read, before the header is written. Elsewhere it does nothing. Safe
// for concurrent use.
func Depends(ctx context.Context, tags ...string) {
	if d, ok := ctx.Value(dependsKey{}).(*depends); ok {
		d.mu.Lock()
		d.tags = append(d.tags, tags...)
		d.mu.Unlock()
	}
}

func (d *depends) list() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]string(nil), d.tags...)
}
