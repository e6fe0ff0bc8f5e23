package cache

import "context"

// An Invalidation names stored responses that are out of date. Of Tags, URL,
// Host with or without PathPrefix, and All, it uses exactly one.
//
// It is soft unless Hard is set: what matches is stale from now on and is
// served for [Options.Grace] more while it is refreshed, and longer while the
// backend is sick. Hard removes it.
type Invalidation struct {
	// Tags matches a response that carries any of them.
	Tags []string
	// URL is absolute: http://shop.example/a?b=c. It matches that URL under
	// http and https and all its variants.
	URL string
	// Host matches all of one host, or, with PathPrefix, the path /a and all
	// below it: /a matches /a and /a/b, not /ab. PathPrefix without Host
	// matches on every host.
	Host, PathPrefix string
	// All matches everything.
	All bool
	// Hard removes what matches, and is not to be undone by the backend being
	// sick.
	Hard bool
}

// A Position is a place in the log of invalidations. Positions grow; zero is
// before all of them.
type Position uint64

// Invalidate applies the invalidations, each of them whole, and returns the
// position of the last one. Once it has returned, no request that arrives is
// answered with what they match, not even by a fetch that was running then,
// except as soft invalidations allow.
//
// An invalidation that names nothing, or more than one thing, is an error, and
// then none is applied. Safe for concurrent use.
func (c *Cache) Invalidate(ctx context.Context, list ...Invalidation) (Position, error) {
	return 0, ctx.Err()
}
