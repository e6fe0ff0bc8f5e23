package cache

import (
	"bytes"
	"context"
	"io"
)

// Blind makes the cache forget what it knows of invalidations when it asks whether one
// of them has overtaken a fetch.
func (c *Cache) Blind() { c.log.blind = true }

// SaveTo writes a snapshot, as Save does, and LoadFrom loads one.
func (c *Cache) SaveTo(ctx context.Context, w io.Writer) (int, error) { return c.save(ctx, w) }

func (c *Cache) LoadFrom(ctx context.Context, data []byte) (int, error) {
	return c.load(ctx, bytes.NewReader(data), int64(len(data)))
}

// BlindToCopies makes it forget them when it asks whether one has overtaken a copy from
// the second level.
func (c *Cache) BlindToCopies() { c.follower.past.blind = true }
